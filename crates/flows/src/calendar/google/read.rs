//! Google's event in canonical form. Pure.

use std::collections::BTreeSet;

use connector_google as google;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::{html, stamp};
use crate::calendar::client::{Found, Item};
use crate::calendar::event::{Attendee, Attendees, Busy, Event, OriginalStart, Place, Response, Unfit, When};
use crate::calendar::further::Further;
use crate::calendar::series::Series;
use crate::calendar::sides::{EventSide, EventStatus, SharedKey};
use crate::calendar::zones;

/// What a calendar is like, as far as its events do not say it themselves.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The account's own mail address in lower case.
    pub mail: String,
    /// The calendar's id, in lower case: the same for the user's own one.
    pub calendar: String,
    /// Its zone.
    pub zone: TimeZone,
    /// The reminders of events that have none of their own.
    pub reminders: Vec<google::Reminder>,
}

impl Facts {
    /// Whether an attendee is the account's user, or the calendar itself.
    pub fn is_own(&self, attendee: &google::Attendee) -> bool {
        let mail = attendee.email().trim().to_lowercase();
        attendee.is_self() || mail == self.mail || mail == self.calendar
    }

    /// The zone of a name; UTC where there is none that anybody knows: instants are right in any.
    pub fn zone_of(name: Option<&str>) -> TimeZone {
        name.and_then(|name| zones::read(name, None).ok()).unwrap_or(TimeZone::UTC)
    }
}

/// From where an event was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// By itself, or from a list, in which there are no instances but those that were changed by themselves.
    Itself,
    /// From the instances of a series, changed or not.
    Instances,
}

/// An item of a list. One that was cancelled is no more, and nothing has to be read for that: one that merely left the
/// window never comes as such.
pub fn item(item: &google::Item, facts: &Facts) -> Item {
    let gone = match item {
        google::Item::Event(event) if event.is_cancelled() => event,
        google::Item::Event(_) | google::Item::Malformed { .. } => {
            return Item::Found(Box::new(found(item, facts, Seen::Itself)));
        }
    };
    let original = gone.original_start_time.as_ref().and_then(|time| original(time, facts).ok());
    Item::Removed {
        id: gone.id.clone(),
        is_certain: true,
        of_series: gone.recurring_event_id.clone().zip(original),
    }
}

/// The start by the rule of an instance that was cancelled.
pub fn gap(event: &google::Event, facts: &Facts) -> Option<OriginalStart> {
    original(event.original_start_time.as_ref()?, facts).ok()
}

/// An event.
pub fn found(item: &google::Item, facts: &Facts, from: Seen) -> Found {
    match item {
        google::Item::Event(event) => side(event, facts, from).map_or_else(
            |why| Found::Unreadable { id: event.id.clone(), revision: event.etag.clone(), why },
            |side| Found::Event(Box::new(side)),
        ),
        google::Item::Malformed { id, etag, what } => Found::Unreadable {
            id: id.clone(),
            revision: etag.clone(),
            why: format!("Google answered it in a form that is not known ({what}); it is left alone"),
        },
    }
}

/// An event, or why it cannot be synchronised and what its user can do.
pub fn side(event: &google::Event, facts: &Facts, from: Seen) -> Result<EventSide, String> {
    check_type(event)?;
    let when = when(event, facts)?;
    let place = place(event, &when, facts, from)?;
    let attendees = attendees(event, facts);
    let read = Event {
        subject: event.summary.clone(),
        when,
        body: html::to_text(&event.description),
        location: event.location.clone(),
        busy: if event.transparency == "transparent" { Busy::Free } else { Busy::Busy },
        private: matches!(event.visibility.as_str(), "private" | "confidential"),
        reminders: popups(event.reminders.as_ref(), &facts.reminders),
        online_link: online_link(event),
        attendees,
        place,
        further: Further { web_link: Some(event.html_link.clone()), ..Further::default() },
    }
    .normalized();
    if read.check() == Err(Unfit::EndBeforeStart) {
        return Err(Unfit::EndBeforeStart.to_string());
    }
    Ok(EventSide {
        id: event.id.clone(),
        revision: event.etag.clone(),
        key: SharedKey { ical_uid: event.ical_uid.clone(), original: read.place.original().cloned() },
        // Cancelled instances come as events of their own, not with their series.
        gaps_known: read.place.series().is_none(),
        status: match event.status.as_str() {
            "cancelled" => EventStatus::Cancelled,
            "tentative" => EventStatus::Tentative,
            _ => EventStatus::Confirmed,
        },
        is_organizer: event.organizer.as_ref().is_some_and(|organizer| organizer.is_self),
        organizer: event
            .organizer
            .as_ref()
            .filter(|organizer| !organizer.is_self)
            .map(|organizer| organizer.email.trim().to_lowercase())
            .filter(|mail| !mail.is_empty()),
        answer: answer(event, facts),
        attendees_cut: event.attendees_omitted,
        listed: Vec::new(),
        stamp: stamp::read(event),
        created_at: event.created,
        changed_at: event.updated,
        event: read,
    })
}

/// Only ordinary events are meetings. A place of work, time to concentrate, and a birthday meet nobody; an absence
/// declines meetings and has no more to write than a title; what Gmail made of a mail is Gmail's. Lists do not show them.
fn check_type(event: &google::Event) -> Result<(), String> {
    match event.event_type.as_str() {
        "" | "default" => Ok(()),
        other => {
            let other: String = other.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
            Err(format!(
                "it is of Google's type {other}, which is no meeting; only ordinary events are synchronised"
            ))
        }
    }
}

enum Moment {
    Day(Date),
    At(Zoned),
}

fn moment(time: &google::Time, facts: &Facts) -> Result<Moment, String> {
    let unreadable = |_| "its times cannot be read; set them anew".to_owned();
    if let Some(day) = &time.date {
        return day.parse().map(Moment::Day).map_err(unreadable);
    }
    let text = time.date_time.as_deref().ok_or("it has no start or no end; set its times")?;
    let zone = match &time.time_zone {
        Some(name) => zones::read(name, None).map_err(|error| error.to_string())?,
        None => facts.zone.clone(),
    };
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(Moment::At(at.to_zoned(zone)));
    }
    let wall: DateTime = text.parse().map_err(unreadable)?;
    zone.to_ambiguous_zoned(wall).compatible().map(Moment::At).map_err(unreadable)
}

fn when(event: &google::Event, facts: &Facts) -> Result<When, String> {
    let read = |time: &Option<google::Time>| moment(time.as_ref().unwrap_or(&google::Time::default()), facts);
    match (read(&event.start)?, read(&event.end)?) {
        (Moment::At(start), Moment::At(end)) => Ok(When::Timed { start, end }),
        (Moment::Day(first), Moment::Day(after)) => Ok(When::AllDay { first, after }),
        (Moment::At(_), Moment::Day(_)) | (Moment::Day(_), Moment::At(_)) => {
            Err("it starts at a time and ends on a day, or the other way round; set its times anew"
                .to_owned())
        }
    }
}

fn original(time: &google::Time, facts: &Facts) -> Result<OriginalStart, String> {
    Ok(match moment(time, facts)? {
        Moment::Day(day) => OriginalStart::On(day),
        Moment::At(at) => OriginalStart::At(at.timestamp()),
    })
}

fn place(event: &google::Event, when: &When, facts: &Facts, from: Seen) -> Result<Place, String> {
    let Some(series_id) = event.recurring_event_id.clone() else {
        if event.recurrence.is_empty() {
            return Ok(Place::Single);
        }
        let series = Series::from_lines(&event.recurrence, when);
        return series.map(Place::Master).map_err(|error| error.to_string());
    };
    let missing = "it is one of a series and does not say which; it is left alone";
    let original = original(event.original_start_time.as_ref().ok_or(missing)?, facts)?;
    let start = match when {
        When::Timed { start, .. } => OriginalStart::At(start.timestamp()),
        When::AllDay { first, .. } => OriginalStart::On(*first),
    };
    // Google does not say which instances were changed by themselves.
    Ok(match from {
        Seen::Instances if start == original => Place::Occurrence { series_id, original },
        Seen::Itself | Seen::Instances => Place::Exception { series_id, original },
    })
}

/// Rooms and things are no people; who hides the address cannot be known.
fn attendees(event: &google::Event, facts: &Facts) -> Attendees {
    let people = event.attendees.iter().filter(|one| is_person(one) && !facts.is_own(one));
    people
        .map(|one| {
            let attendee =
                Attendee { name: one.name().to_owned(), response: response(one), ..Attendee::default() };
            (one.email().trim().to_lowercase(), attendee)
        })
        .collect()
}

/// What the account's user answered to who invited them.
fn answer(event: &google::Event, facts: &Facts) -> Response {
    let is_invited = event.organizer.as_ref().is_some_and(|organizer| !organizer.is_self);
    let own = event.attendees.iter().find(|one| facts.is_own(one));
    own.filter(|_| is_invited).map_or(Response::None, response)
}

fn response(attendee: &google::Attendee) -> Response {
    match attendee.response() {
        "accepted" => Response::Accepted,
        "tentative" => Response::Tentative,
        "declined" => Response::Declined,
        _ => Response::None,
    }
}

/// Whether an attendee is somebody whom the canonical form names.
pub fn is_person(attendee: &google::Attendee) -> bool {
    !attendee.is_resource() && !attendee.email().trim().is_empty()
}

/// The reminders that pop up: those by mail are not the CRM's affair.
fn popups(reminders: Option<&google::Reminders>, defaults: &[google::Reminder]) -> BTreeSet<u32> {
    in_force(reminders, defaults).iter().filter(|one| one.method == "popup").map(|one| one.minutes).collect()
}

/// The reminders that hold: the event's own, or the calendar's.
pub fn in_force<'a>(
    reminders: Option<&'a google::Reminders>,
    defaults: &'a [google::Reminder],
) -> &'a [google::Reminder] {
    match reminders {
        Some(own) if own.use_default => defaults,
        Some(own) => &own.overrides,
        None => &[],
    }
}

fn online_link(event: &google::Event) -> Option<String> {
    let ways = event.conference_data.iter().flat_map(|conference| &conference.entry_points);
    let video = ways.filter(|way| way.entry_point_type == "video").map(|way| way.uri.clone()).next();
    video.or_else(|| event.hangout_link.clone())
}

#[cfg(test)]
mod tests;
