//! Graph's events in canonical form. Pure. What cannot be read says why, and hinders nothing else.

use std::collections::BTreeSet;

use connector_msgraph as wire;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

use super::{body, recurrence};
use crate::calendar::client::{Found, Item, Owner};
use crate::calendar::event::{
    Attendee, Attendees, Busy, Event, OriginalStart, Place, Response, Unfit, When, split_list,
};
use crate::calendar::further::{Further, Importance};
use crate::calendar::series::Series;
use crate::calendar::sides::{EventSide, EventStatus, MeetingKind, MeetingRef, SharedKey, Stamp};
use crate::calendar::zones::{self, ZoneError};

/// What has to be known beside an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    /// Whose mailbox it is: not among the attendees.
    pub owner: &'a Owner,
    /// The zone to take for one without a name.
    pub mailbox: Option<&'a TimeZone>,
}

/// Whether an event names a zone that only its mailbox knows.
pub(super) fn needs_mailbox_zone(event: &wire::Event) -> bool {
    let range = event.recurrence.as_ref().and_then(|rule| rule.range.recurrence_time_zone.as_ref());
    let names = [event.original_start_time_zone.as_ref(), event.original_end_time_zone.as_ref(), range];
    names.into_iter().flatten().any(|name| zones::read(name, None) == Err(ZoneError::Custom))
}

impl Reader<'_> {
    /// An item of a page; none for an occurrence that is as its series' rule makes it.
    pub(super) fn item(&self, item: &wire::PageItem) -> Option<Item> {
        match item {
            wire::PageItem::Event(event) if event.kind == Some(wire::EventType::Occurrence) => None,
            wire::PageItem::Removed { id } => {
                Some(Item::Removed { id: id.clone(), is_certain: false, of_series: None })
            }
            found => self.of_list(found).map(|found| Item::Found(Box::new(found))),
        }
    }

    /// An item of a list; none for what is reported as removed.
    pub(super) fn of_list(&self, item: &wire::PageItem) -> Option<Found> {
        match item {
            wire::PageItem::Event(event) => Some(self.found(event)),
            wire::PageItem::Removed { .. } => None,
            wire::PageItem::Unreadable { id, etag, why } => Some(Found::Unreadable {
                id: id.clone(),
                revision: etag.clone(),
                why: format!("Microsoft Graph describes it in a way that cannot be read: {why}"),
            }),
        }
    }

    /// An event.
    pub(super) fn found(&self, event: &wire::Event) -> Found {
        match self.side(event) {
            Ok(side) => Found::Event(Box::new(side)),
            Err(why) => Found::Unreadable {
                id: event.id.clone(),
                revision: event.etag.clone().unwrap_or_default(),
                why,
            },
        }
    }

    /// An event, or why it cannot be read.
    pub(super) fn side(&self, event: &wire::Event) -> Result<EventSide, String> {
        let when = self.when(event)?;
        let (place, gaps_known) = self.place(event, &when)?;
        let (body, listed) = split_list(&read_body(event));
        let location = event.location.as_ref().and_then(|location| location.display_name.clone());
        let canonical = Event {
            subject: event.subject.clone().unwrap_or_default(),
            when,
            body,
            location: location.unwrap_or_default(),
            busy: busy(event.show_as),
            private: matches!(
                event.sensitivity,
                Some(wire::Sensitivity::Private | wire::Sensitivity::Confidential)
            ),
            reminders: reminders(event),
            online_link: join_url(event).map(str::to_owned),
            attendees: self.attendees(event.attendees.as_deref().unwrap_or_default()),
            place,
            further: Further {
                categories: event.categories.iter().flatten().cloned().collect(),
                importance: match event.importance {
                    Some(wire::Importance::Low) => Importance::Low,
                    Some(wire::Importance::High) => Importance::High,
                    Some(wire::Importance::Normal | wire::Importance::Unknown) | None => Importance::Normal,
                },
                web_link: event.web_link.clone(),
            },
        }
        .normalized();
        let is_organizer = event.is_organizer.unwrap_or(true);
        Ok(EventSide {
            id: event.id.clone(),
            revision: event.etag.clone().ok_or("Microsoft Graph tells no version of it")?,
            key: SharedKey {
                ical_uid: event.i_cal_u_id.clone().unwrap_or_else(|| event.id.clone()),
                original: canonical.place.original().cloned(),
            },
            event: canonical,
            status: match event.is_cancelled {
                Some(true) => EventStatus::Cancelled,
                Some(false) | None => EventStatus::Confirmed,
            },
            is_organizer,
            organizer: organizer(event).filter(|_| !is_organizer),
            answer: event.response_status.filter(|_| !is_organizer).map_or(Response::None, response),
            // The others are hidden from an attendee.
            attendees_cut: event.hide_attendees == Some(true) && !is_organizer,
            gaps_known,
            listed,
            stamp: stamp(event),
            created_at: event.created_date_time,
            changed_at: event.last_modified_date_time,
        })
    }

    fn when(&self, event: &wire::Event) -> Result<When, String> {
        let (Some(start), Some(end)) = (&event.start, &event.end) else {
            return Err("it has no start or no end".to_owned());
        };
        let backwards = || Unfit::EndBeforeStart.to_string();
        if event.is_all_day == Some(true) {
            // Dates, whatever zone they are told in.
            let (first, after) = (wall(start)?.date(), wall(end)?.date());
            return if first < after { Ok(When::AllDay { first, after }) } else { Err(backwards()) };
        }
        let start = self.zoned(start, event.original_start_time_zone.as_deref())?;
        let end_zone = event.original_end_time_zone.as_deref().or(event.original_start_time_zone.as_deref());
        let end = self.zoned(end, end_zone)?;
        if start.timestamp() <= end.timestamp() { Ok(When::Timed { start, end }) } else { Err(backwards()) }
    }

    /// A time in the zone it was made in.
    fn zoned(&self, told: &wire::DateTimeTimeZone, made_in: Option<&str>) -> Result<Zoned, String> {
        let zone = |name: &str| zones::read(name, self.mailbox).map_err(|error| error.to_string());
        let at = wall(told)?.to_zoned(zone(&told.time_zone)?).map_err(|_| beyond())?;
        match made_in.filter(|name| !name.trim().is_empty()) {
            Some(name) => Ok(at.with_time_zone(zone(name)?)),
            None => Ok(at),
        }
    }

    /// What it is within a series, and whether all that is left out of one is known.
    fn place(&self, event: &wire::Event, when: &When) -> Result<(Place, bool), String> {
        let series_id = || {
            let id = event.series_master_id.clone().filter(|id| !id.is_empty());
            id.ok_or_else(|| "it is one of a series, and Microsoft Graph does not tell which".to_owned())
        };
        match (event.kind, &event.recurrence) {
            (Some(wire::EventType::Occurrence), _) => Ok((
                Place::Occurrence { series_id: series_id()?, original: self.original(event, when) },
                true,
            )),
            (Some(wire::EventType::Exception), _) => {
                Ok((Place::Exception { series_id: series_id()?, original: self.original(event, when) }, true))
            }
            (Some(wire::EventType::SeriesMaster), None) => {
                Err("it is a series, and Microsoft Graph does not tell its rule".to_owned())
            }
            (_, None) => Ok((Place::Single, true)),
            (_, Some(rule)) => {
                let read = |gaps| {
                    recurrence::read(rule)
                        .and_then(|rule| Series::from_graph(&rule, when, self.mailbox, gaps))
                        .map_err(|error| error.to_string())
                };
                let series = read(BTreeSet::new())?;
                match event.cancelled_occurrences.as_ref().map(|ids| gaps(ids, &series, when)) {
                    None | Some(None) => Ok((Place::Master(series), false)),
                    Some(Some(gaps)) => Ok((Place::Master(read(gaps)?), true)),
                }
            }
        }
    }

    /// The start by the rule. A series of whole days has dates; an exception is taken to be of the kind of its series.
    fn original(&self, event: &wire::Event, when: &When) -> OriginalStart {
        match (when, event.original_start) {
            (When::Timed { start, .. }, None) => OriginalStart::At(start.timestamp()),
            (When::Timed { .. }, Some(at)) => OriginalStart::At(at),
            (When::AllDay { first, .. }, None) => OriginalStart::On(*first),
            (When::AllDay { .. }, Some(at)) => {
                let zone = event.original_start_time_zone.as_deref();
                let zone = zone.and_then(|name| zones::read(name, self.mailbox).ok());
                OriginalStart::On(midnight_of(at, zone.as_ref().or(self.mailbox)))
            }
        }
    }

    fn attendees(&self, all: &[wire::Attendee]) -> Attendees {
        let read = |attendee: &wire::Attendee| {
            let mail = attendee.email_address.address.as_deref()?.trim().to_lowercase();
            let name = attendee.email_address.name.as_deref().unwrap_or_default().trim();
            // The service repeats the address where there is no name.
            let name = if name.to_lowercase() == mail { "" } else { name };
            let response = attendee.status.map_or(Response::None, response);
            let attendee = Attendee { name: name.to_owned(), response, ..Attendee::default() };
            (!mail.is_empty() && !is_owner(self.owner, &mail)).then_some((mail, attendee))
        };
        all.iter().filter_map(read).collect()
    }
}

fn response(status: wire::ResponseStatus) -> Response {
    match status.response {
        Some(wire::Response::Accepted | wire::Response::Organizer) => Response::Accepted,
        Some(wire::Response::TentativelyAccepted) => Response::Tentative,
        Some(wire::Response::Declined) => Response::Declined,
        Some(wire::Response::None) | None => Response::None,
    }
}

/// Whether an address in lower case is the mailbox's user.
pub(super) fn is_owner(owner: &Owner, mail: &str) -> bool {
    owner.mail == mail || owner.aliases.iter().any(|alias| alias == mail)
}

fn organizer(event: &wire::Event) -> Option<String> {
    let address = event.organizer.as_ref()?.email_address.address.as_deref()?;
    Some(address.trim().to_lowercase()).filter(|mail| !mail.is_empty())
}

/// Where the online meeting is joined.
pub(super) fn join_url(event: &wire::Event) -> Option<&str> {
    let url = event.online_meeting.as_ref().and_then(|meeting| meeting.join_url.as_deref());
    url.map(str::trim).filter(|url| !url.is_empty())
}

fn read_body(event: &wire::Event) -> String {
    let text = match &event.body {
        None => return String::new(),
        Some(wire::Body { content_type: wire::BodyType::Text, content }) => content.replace("\r\n", "\n"),
        Some(wire::Body { content_type: wire::BodyType::Html, content }) => body::plain(content),
    };
    let is_online = event.is_online_meeting == Some(true) || join_url(event).is_some();
    if is_online { body::without_join_block(&text, join_url(event).unwrap_or_default()) } else { text }
}

fn reminders(event: &wire::Event) -> BTreeSet<u32> {
    // One after the start is one at the start.
    let minutes = event.reminder_minutes_before_start.unwrap_or_default().max(0);
    let minutes = u32::try_from(minutes).unwrap_or_default();
    if event.is_reminder_on == Some(true) { BTreeSet::from([minutes]) } else { BTreeSet::new() }
}

fn busy(show_as: Option<wire::ShowAs>) -> Busy {
    match show_as {
        Some(wire::ShowAs::Free) => Busy::Free,
        Some(wire::ShowAs::Tentative) => Busy::Tentative,
        Some(wire::ShowAs::Oof) => Busy::OutOfOffice,
        Some(wire::ShowAs::WorkingElsewhere) => Busy::Elsewhere,
        Some(wire::ShowAs::Busy | wire::ShowAs::Unknown) | None => Busy::Busy,
    }
}

/// An extended property comes only where it was asked for; where others come and it does not, it is not there. An answer
/// to a read by [`wire::Calendar::get`] has what is deleted of a series, also where it is nothing.
fn stamp(event: &wire::Event) -> Stamp {
    match event.crm_id() {
        Some(text) => read_stamp(text).map_or(Stamp::None, Stamp::Of),
        None if event.cancelled_occurrences.is_some() => Stamp::None,
        None => Stamp::Unread,
    }
}

/// The CRM's record as it stands with an event.
pub(super) fn stamp_text(record: &MeetingRef) -> String {
    let kind = match record.kind {
        MeetingKind::Meeting => "Meeting",
        MeetingKind::Call => "Call",
    };
    format!("{kind}/{}", record.id)
}

fn read_stamp(text: &str) -> Option<MeetingRef> {
    let (kind, id) = text.split_once('/')?;
    let kind = match kind {
        "Meeting" => MeetingKind::Meeting,
        "Call" => MeetingKind::Call,
        _ => return None,
    };
    (!id.is_empty()).then(|| MeetingRef { kind, id: id.to_owned() })
}

fn beyond() -> String {
    "its times are beyond what can be counted".to_owned()
}

fn wall(told: &wire::DateTimeTimeZone) -> Result<DateTime, String> {
    told.date_time.parse().map_err(|_| "its times are none".to_owned())
}

/// The day whose beginning it is: in UTC, in the zone of the event, or about.
fn midnight_of(at: Timestamp, zone: Option<&TimeZone>) -> Date {
    let utc = at.to_zoned(TimeZone::UTC).datetime();
    if utc.time() == Time::midnight() {
        return utc.date();
    }
    let own = zone.map(|zone| at.to_zoned(zone.clone()).datetime());
    match own.filter(|own| own.time() == Time::midnight()) {
        Some(own) => own.date(),
        None => utc.checked_add(12.hours()).unwrap_or(utc).date(),
    }
}

/// `OID.{series}.{date}`, as starts by the rule; none where one of them is of another form.
fn gaps(ids: &[String], series: &Series, when: &When) -> Option<BTreeSet<OriginalStart>> {
    ids.iter()
        .map(|id| {
            let (_, date) = id.rsplit_once('.')?;
            series.original_on(when, date.parse().ok()?).ok()
        })
        .collect()
}
