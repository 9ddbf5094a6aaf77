//! A record of EspoCRM → its canonical form. Pure.

use std::collections::{BTreeMap, BTreeSet};

use connector_espocrm::Record;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::Value;
use shared::fault::Fault;

use super::needs::{BUSY, IMPORTANCE, Own, STATUSES};
use crate::calendar::crm::{CrmFound, CrmMeeting, PersonKind};
use crate::calendar::event::{
    ATTENDEES_MAX, Attendee, Attendees, Busy, Event, Field, OriginalStart, Place, Reach, Response, When,
};
use crate::calendar::further::{Carried, Further, Importance};
use crate::calendar::series::Series;
use crate::calendar::sides::{MeetingKind, MeetingRef, MeetingSide, MeetingStatus};
use crate::calendar::zones;

/// The subject of a meeting that has none: EspoCRM requires a name.
pub(super) const NO_SUBJECT: &str = "(no subject)";
/// Characters that EspoCRM refuses in names, and what stands for them there.
pub(super) const STAND_INS: [(char, char); 3] = [('<', '\u{ff1c}'), ('>', '\u{ff1e}'), ('=', '\u{ff1d}')];

/// Mail addresses in lower case, by kind and id; of who has none, there is nothing.
pub(super) type Mails = BTreeMap<(PersonKind, String), String>;

/// Someone who is linked to a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Linked {
    pub(super) kind: PersonKind,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) response: Response,
}

/// Why there is no meeting to be had of a record.
enum Unread {
    /// The record is not as it should be for any: a field is missing.
    Fault(Fault),
    /// This one cannot be synchronised as it is.
    Why(String),
}

impl From<Fault> for Unread {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The link of a kind of people.
pub(super) fn link(kind: PersonKind) -> &'static str {
    match kind {
        PersonKind::User => "users",
        PersonKind::Contact => "contacts",
        PersonKind::Lead => "leads",
    }
}

/// EspoCRM's words for what attendees answered.
const RESPONSES: [(Response, &str); 4] = [
    (Response::None, "None"),
    (Response::Accepted, "Accepted"),
    (Response::Tentative, "Tentative"),
    (Response::Declined, "Declined"),
];

/// EspoCRM's word for an answer.
pub(super) fn response_word(response: Response) -> &'static str {
    RESPONSES.iter().find(|(own, _)| *own == response).map_or("None", |(_, word)| word)
}

fn response(word: Option<&str>) -> Response {
    RESPONSES.iter().find(|(_, own)| Some(*own) == word).map_or(Response::None, |(own, _)| *own)
}

/// Who is linked to a record: its users, contacts and leads, in this order.
///
/// # Errors
/// A permanent fault where a link is missing: then nobody knows whom a write would remove.
pub(super) fn linked(record: &Record) -> Result<Vec<Linked>, Fault> {
    let mut all = Vec::new();
    for kind in [PersonKind::User, PersonKind::Contact, PersonKind::Lead] {
        let part = |part: &str| record.attributes().get(&format!("{}{part}", link(kind)));
        let Some(ids) = part("Ids") else {
            record.text(&format!("{}Ids", link(kind)))?;
            continue;
        };
        for id in ids.as_array().into_iter().flatten().filter_map(Value::as_str) {
            let name = part("Names").and_then(|names| names.get(id)).and_then(Value::as_str);
            let status = part("Columns").and_then(|columns| columns.get(id)?.get("status")?.as_str());
            let (id, name) = (id.to_owned(), name.unwrap_or_default().to_owned());
            all.push(Linked { kind, id, name, response: response(status) });
        }
    }
    Ok(all)
}

/// Who of them has to be asked for by mail address; nobody where they are too many to be synchronised.
pub(super) fn to_ask(linked: &[Linked]) -> BTreeSet<(PersonKind, String)> {
    let all = linked.iter().map(|one| (one.kind, one.id.clone()));
    if linked.len() > ATTENDEES_MAX { BTreeSet::new() } else { all.collect() }
}

/// A record as it was read. `mails` are those of its people, `zone` is that of times that name none.
///
/// # Errors
/// A permanent fault where a field is missing or of another type.
pub(super) fn read(
    record: &Record,
    kind: MeetingKind,
    mails: &Mails,
    zone: &TimeZone,
    carried: &Carried,
) -> Result<CrmFound, Fault> {
    let reference = MeetingRef { kind, id: record.id().to_string() };
    match meeting(record, &reference, mails, zone, carried) {
        Ok(meeting) => Ok(CrmFound::Meeting(Box::new(meeting))),
        Err(Unread::Why(why)) => Ok(CrmFound::Unreadable { record: reference, why }),
        Err(Unread::Fault(fault)) => Err(fault),
    }
}

fn meeting(
    record: &Record,
    reference: &MeetingRef,
    mails: &Mails,
    zone: &TimeZone,
    carried: &Carried,
) -> Result<CrmMeeting, Unread> {
    let linked = linked(record)?;
    if linked.len() > ATTENDEES_MAX {
        return Err(Unread::Why(format!("it has more than {ATTENDEES_MAX} attendees; it is left alone")));
    }
    let event = event(record, reference.kind, attendees(&linked, mails), zone)?;
    let event = Event { further: further(record, carried)?, ..event }.normalized();
    event.check().map_err(|unfit| Unread::Why(unfit.to_string()))?;
    let users = linked.iter().filter(|one| one.kind == PersonKind::User);
    let user_mails = users.clone().filter_map(|user| {
        let mail = mails.get(&(user.kind, user.id.clone()))?;
        Some((user.id.clone(), mail.clone()))
    });
    Ok(CrmMeeting {
        user_mails: user_mails.collect(),
        side: MeetingSide {
            record: reference.clone(),
            version: record.version().and_then(|version| i64::try_from(version).ok()),
            key: record.text(Own::EventKey.attribute())?.map(str::to_owned),
            event,
            status: status(record)?,
            users: users.map(|user| user.id.clone()).collect(),
            assigned_user_id: record.text("assignedUserId")?.map(str::to_owned),
            removed_from: removed_from(record.text(Own::RemovedFrom.attribute())?),
            created_at: record.timestamp("createdAt")?,
            modified_at: record.timestamp("modifiedAt")?,
        },
    })
}

/// Who can be invited; where several have one address, the first one answers for it.
fn attendees(linked: &[Linked], mails: &Mails) -> Attendees {
    let mut attendees = Attendees::new();
    for one in linked {
        if let Some(mail) = mails.get(&(one.kind, one.id.clone())) {
            let (name, reach) = (one.name.clone(), Reach::Known);
            let attendee = Attendee { name, response: one.response, reach, address: None };
            attendees.entry(mail.clone()).or_insert(attendee);
        }
    }
    attendees
}

fn event(record: &Record, kind: MeetingKind, attendees: Attendees, zone: &TimeZone) -> Result<Event, Unread> {
    let text = |attribute: &str| record.text(attribute).map(|text| text.unwrap_or_default().to_owned());
    let own = |field: Own| text(field.attribute());
    let when = when(record, kind, zone)?;
    let place = place(record, &when)?;
    let event = Event {
        subject: subject(record.text("name")?),
        when,
        body: text("description")?,
        location: own(Own::Location)?,
        busy: busy(record.text(Own::BusyState.attribute())?)?,
        private: record.boolean(Own::IsPrivate.attribute())?.unwrap_or_default(),
        reminders: reminders(record.text(Own::ReminderMinutes.attribute())?)?,
        online_link: record.text(Own::OnlineLink.attribute())?.map(str::to_owned),
        attendees,
        place,
        further: Further::default(),
    };
    Ok(event.normalized())
}

fn further(record: &Record, carried: &Carried) -> Result<Further, Fault> {
    let text = |field: Field, own: Own| match carried.has(field) {
        true => record.text(own.attribute()),
        false => Ok(None),
    };
    let categories = text(Field::Categories, Own::Categories)?.unwrap_or_default();
    let importance = text(Field::Importance, Own::Importance)?;
    let importance = IMPORTANCE.iter().find(|(_, word)| Some(*word) == importance);
    Ok(Further {
        categories: categories.lines().map(str::to_owned).collect(),
        importance: importance.map_or(Importance::default(), |(own, _)| *own),
        web_link: text(Field::WebLink, Own::WebLink)?.map(str::to_owned),
    })
}

/// A name as it stands in EspoCRM → the subject.
fn subject(name: Option<&str>) -> String {
    let name = name.filter(|name| *name != NO_SUBJECT).unwrap_or_default();
    let meant =
        |own: char| STAND_INS.iter().find(|(_, stand_in)| *stand_in == own).map_or(own, |(meant, _)| *meant);
    name.chars().map(meant).collect()
}

/// Dates, where there are both, are what EspoCRM shows: the times beside them are its own midnights.
fn when(record: &Record, kind: MeetingKind, zone: &TimeZone) -> Result<When, Unread> {
    if kind == MeetingKind::Meeting
        && let (Some(first), Some(last)) = (record.date("dateStartDate")?, record.date("dateEndDate")?)
    {
        let after =
            last.tomorrow().map_err(|_| Unread::Why("its last day is none; correct it".to_owned()))?;
        return Ok(When::AllDay { first, after });
    }
    let zone = match record.text(Own::TimeZone.attribute())? {
        None => zone.clone(),
        Some(name) => zones::read(name, None).map_err(|error| Unread::Why(error.to_string()))?,
    };
    let at = |attribute: &str, what: &str| -> Result<Timestamp, Unread> {
        record.timestamp(attribute)?.ok_or_else(|| Unread::Why(format!("it has no {what}; enter one")))
    };
    let (start, end) = (at("dateStart", "start")?, at("dateEnd", "end")?);
    Ok(When::Timed { start: start.to_zoned(zone.clone()), end: end.to_zoned(zone) })
}

/// Of one of a series, whether it was changed by itself, only the calendar knows.
fn place(record: &Record, when: &When) -> Result<Place, Unread> {
    let text = |field: Own| record.text(field.attribute());
    if let Some(original) = text(Own::OriginalStart)? {
        let original = original_start(original).ok_or_else(|| {
            Unread::Why(format!("\"{}\" is no start by the rule of its series; clear it", shorten(original)))
        })?;
        let series_id = text(Own::SeriesId)?.unwrap_or_default().to_owned();
        return Ok(Place::Exception { series_id, original });
    }
    let Some(rule) = text(Own::RecurrenceRule)? else { return Ok(Place::Single) };
    let lines: Vec<&str> = rule.lines().collect();
    let series = Series::from_lines(&lines, when).map_err(|error| Unread::Why(error.to_string()))?;
    Ok(Place::Master(series))
}

fn original_start(text: &str) -> Option<OriginalStart> {
    let at = text.parse::<Timestamp>().ok().map(OriginalStart::At);
    at.or_else(|| text.parse::<Date>().ok().map(OriginalStart::On))
}

fn busy(word: Option<&str>) -> Result<Busy, Unread> {
    let Some(word) = word else { return Ok(Busy::default()) };
    let found = BUSY.iter().find(|(_, own)| *own == word).map(|(busy, _)| *busy);
    found.ok_or_else(|| Unread::Why(format!("\"{}\" is no way to show it; choose another", shorten(word))))
}

fn reminders(list: Option<&str>) -> Result<BTreeSet<u32>, Unread> {
    let minutes = list.into_iter().flat_map(|list| list.split(',')).map(str::trim);
    let read = |minutes: &str| {
        minutes.parse::<u32>().map_err(|_| {
            Unread::Why(format!(
                "its reminders are no minutes: \"{}\"; enter 15, or 15, 60",
                shorten(minutes)
            ))
        })
    };
    minutes.filter(|minutes| !minutes.is_empty()).map(read).collect()
}

fn removed_from(list: Option<&str>) -> BTreeSet<String> {
    let calendars = list.into_iter().flat_map(str::lines).map(str::trim);
    calendars.filter(|calendar| !calendar.is_empty()).map(str::to_owned).collect()
}

fn status(record: &Record) -> Result<MeetingStatus, Unread> {
    let word = record.text("status")?;
    let found = STATUSES.iter().find(|(_, own)| Some(*own) == word).map(|(status, _)| *status);
    let why =
        || format!("its status \"{}\" is not known here; choose another", shorten(word.unwrap_or_default()));
    found.ok_or_else(|| Unread::Why(why()))
}

fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}
