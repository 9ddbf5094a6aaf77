//! One event as it is stored and as it is shown, and what of a client's text for it is refused.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::answers::{Refusal, invalid, required, time_range_empty};
use super::calendars::Access;
use super::description::Call;
use super::list::etag;
use super::options::AccessRole;
use super::recurrence::Series;
use super::times::When;
use crate::upstream::Record;

/// Members of our own, never shown.
pub(super) const CHANGE: &str = "_change";
pub(super) const REMOVED: &str = "_removed";
/// When it was last written, by anybody and anything.
pub(super) const WRITTEN: &str = "_written";

/// The order in which members are shown.
const SHOWN: [&str; 39] = [
    "kind",
    "etag",
    "id",
    "status",
    "htmlLink",
    "created",
    "updated",
    "summary",
    "description",
    "location",
    "colorId",
    "creator",
    "organizer",
    "start",
    "end",
    "endTimeUnspecified",
    "iCalUID",
    "sequence",
    "attendees",
    "anyoneCanAddSelf",
    "extendedProperties",
    "conferenceData",
    "gadget",
    "guestsCanInviteOthers",
    "guestsCanModify",
    "guestsCanSeeOtherGuests",
    "privateCopy",
    "reminders",
    "source",
    "attachments",
    "transparency",
    "visibility",
    "eventType",
    "workingLocationProperties",
    "outOfOfficeProperties",
    "focusTimeProperties",
    "recurrence",
    "recurringEventId",
    "originalStartTime",
];

/// Members that a client writes.
pub(super) const WRITABLE: [&str; 26] = [
    "status",
    "summary",
    "description",
    "location",
    "colorId",
    "start",
    "end",
    "endTimeUnspecified",
    "attendees",
    "anyoneCanAddSelf",
    "extendedProperties",
    "conferenceData",
    "gadget",
    "guestsCanInviteOthers",
    "guestsCanModify",
    "guestsCanSeeOtherGuests",
    "reminders",
    "source",
    "attachments",
    "transparency",
    "visibility",
    "eventType",
    "workingLocationProperties",
    "outOfOfficeProperties",
    "focusTimeProperties",
    "recurrence",
];

/// Members that are the same in the copies of all who take part. Of `extendedProperties` that is `shared`.
pub(super) const SHARED: [&str; 21] = [
    "status",
    "summary",
    "description",
    "location",
    "creator",
    "organizer",
    "start",
    "end",
    "endTimeUnspecified",
    "iCalUID",
    "sequence",
    "attendees",
    "anyoneCanAddSelf",
    "conferenceData",
    "guestsCanInviteOthers",
    "guestsCanModify",
    "guestsCanSeeOtherGuests",
    "source",
    "attachments",
    "recurrence",
    "originalStartTime",
];

const REMINDERS_MAX: usize = 5;
const REMINDER_MINUTES_MAX: i64 = 40_320;
/// `[A]`: the documented limit of guests for an ordinary event.
const ATTENDEES_MAX: usize = 200;
const ATTACHMENTS_MAX: usize = 25;
const PROPERTY_KEY_MAX: usize = 44;
const PROPERTY_VALUE_MAX: usize = 1_024;
const PROPERTIES_MAX: usize = 300;
const PROPERTIES_BYTES_MAX: usize = 32 * 1024;

pub(super) fn text<'a>(event: &'a Record, name: &str) -> &'a str {
    event.get(name).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn change(event: &Record) -> u64 {
    event.get(CHANGE).and_then(Value::as_u64).unwrap_or(0)
}

pub(super) fn etag_of(event: &Record) -> String {
    etag(change(event))
}

pub(super) fn is_cancelled(event: &Record) -> bool {
    text(event, "status") == "cancelled"
}

pub(super) fn organizer(event: &Record) -> &str {
    event.get("organizer").and_then(|organizer| organizer.get("email")?.as_str()).unwrap_or_default()
}

pub(super) fn attendees(event: &Record) -> &[Value] {
    event.get("attendees").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn email(person: &Value) -> &str {
    person.get("email").and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn attendee<'a>(event: &'a Record, address: &str) -> Option<&'a Value> {
    attendees(event).iter().find(|attendee| email(attendee).eq_ignore_ascii_case(address))
}

pub(super) fn when(event: &Record, name: &str) -> Option<When> {
    When::read(event.get(name)?, "UTC").ok()
}

pub(super) fn recurrence(event: &Record) -> Vec<String> {
    let lines = event.get("recurrence").and_then(Value::as_array).into_iter().flatten();
    lines.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The series that a master describes; none when the event is no master.
pub(super) fn series(event: &Record) -> Option<Series> {
    let lines = recurrence(event);
    if lines.is_empty() {
        return None;
    }
    Series::read(&when(event, "start")?, lines.iter().map(String::as_str)).ok()
}

/// Whether its end lies after `min` and its start before `max`; for a master, that of any occurrence.
pub(super) fn is_within(event: &Record, zone: &str, min: Option<Timestamp>, max: Option<Timestamp>) -> bool {
    let (start, end) = (when(event, "start").or(when(event, "originalStartTime")), when(event, "end"));
    let Some(start) = start else { return true };
    let duration = end.map(|end| start.duration_to(&end)).unwrap_or_default();
    let fits = |start: &When| {
        min.is_none_or(|min| start.plus(duration).instant(zone) > min)
            && max.is_none_or(|max| start.instant(zone) < max)
    };
    match series(event) {
        None => fits(&start),
        Some(series) if series.is_endless() => max.is_none_or(|max| start.instant(zone) < max),
        Some(series) => series.occurrences().iter().any(fits),
    }
}

/// Private properties that the request searches for, all of them.
pub(super) fn has_properties(event: &Record, kind: &str, call: &Call, parameter: &str) -> bool {
    let own = event.get("extendedProperties").and_then(|properties| properties.get(kind));
    call.parameters(parameter).all(|wanted| {
        wanted.split_once('=').is_some_and(|(name, value)| {
            own.and_then(|own| own.get(name)).and_then(Value::as_str) == Some(value)
        })
    })
}

/// How an event is shown to one who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) access: &'a Access,
    pub(super) zone: &'a str,
    pub(super) attendees_max: Option<usize>,
}

impl<'a> View<'a> {
    pub(super) fn new(access: &'a Access, call: &'a Call) -> Self {
        Self {
            access,
            zone: call.parameter("timeZone").unwrap_or(&access.time_zone),
            attendees_max: call.number("maxAttendees"),
        }
    }

    pub(super) fn show(&self, event: &Record) -> Value {
        let is_hidden = match self.access.role {
            AccessRole::FreeBusyReader => true,
            AccessRole::Reader => matches!(text(event, "visibility"), "private" | "confidential"),
            AccessRole::Writer | AccessRole::Owner => false,
        };
        let mut shown = Map::new();
        for name in SHOWN {
            let value = match name {
                "kind" => Some(json!("calendar#event")),
                "etag" => Some(json!(etag_of(event))),
                "start" | "end" | "originalStartTime" => {
                    when(event, name).map(|when| json!(when.shown(self.zone)))
                }
                "creator" | "organizer" => event.get(name).map(|person| self.person(person)),
                "attendees" => self.attendees(event, &mut shown),
                _ => event.get(name).cloned(),
            };
            let is_open = [
                "kind",
                "etag",
                "id",
                "status",
                "start",
                "end",
                "visibility",
                "transparency",
                "recurrence",
                "recurringEventId",
                "originalStartTime",
                "iCalUID",
                "created",
                "updated",
                "sequence",
            ];
            if let Some(value) = value.filter(|_| !is_hidden || is_open.contains(&name)) {
                shown.insert(name.to_owned(), value);
            }
        }
        Value::Object(shown)
    }

    /// As a list shows a cancelled one: what the vendor calls sure, and no more.
    pub(super) fn show_cancelled(&self, event: &Record) -> Value {
        let Value::Object(shown) = self.show(event) else { return Value::Null };
        let sure = ["kind", "etag", "id", "status", "recurringEventId", "originalStartTime"];
        Value::Object(shown.into_iter().filter(|(name, _)| sure.contains(&name.as_str())).collect())
    }

    fn person(&self, person: &Value) -> Value {
        let mut person = person.clone();
        if email(&person).eq_ignore_ascii_case(&self.access.id) {
            person["self"] = json!(true);
        }
        person
    }

    fn attendees(&self, event: &Record, shown: &mut Record) -> Option<Value> {
        let all = event.get("attendees")?.as_array()?;
        let mut seen: Vec<Value> = all.iter().map(|attendee| self.person(attendee)).collect();
        for attendee in &mut seen {
            if email(attendee).eq_ignore_ascii_case(organizer(event)) {
                attendee["organizer"] = json!(true);
            }
        }
        if self.attendees_max.is_some_and(|most| seen.len() > most) {
            seen.retain(|attendee| attendee["self"] == true);
            shown.insert("attendeesOmitted".to_owned(), json!(true));
        }
        Some(Value::Array(seen))
    }
}

/// RFC 7386: null removes, objects are merged, everything else replaces.
pub(super) fn merge(target: &mut Record, patch: &Record) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                target.shift_remove(name);
            }
            Value::Object(inner) => {
                let old = target.entry(name.clone()).or_insert_with(|| json!({}));
                match old.as_object_mut() {
                    Some(old) => merge(old, inner),
                    None => *old = super::description::without_nulls(value),
                }
            }
            other => {
                target.insert(name.clone(), other.clone());
            }
        }
    }
}

/// A client's text for an event: complete, checked, in the form in which it is stored. Answers the writable members.
pub(super) fn read(input: &Record, access: &Access, is_person: bool) -> Result<Record, Refusal> {
    let mut event = Record::new();
    for name in WRITABLE {
        if let Some(value) = input.get(name).filter(|value| !value.is_null()) {
            event.insert(name.to_owned(), super::description::without_nulls(value));
        }
    }
    let time = |name: &str| {
        let value = input.get(name).filter(|value| !value.is_null());
        let value = value.ok_or_else(|| required(format!("Missing {name} time.")))?;
        When::read(value, &access.time_zone).map_err(|why| invalid(format!("{why} ({name})")))
    };
    let (start, end) = (time("start")?, time("end")?);
    if start.is_day() != end.is_day() {
        return Err(invalid("Start and end times must either both be date or both be dateTime."));
    }
    let duration = start.duration_to(&end);
    if duration.is_negative() || (start.is_day() && duration.is_zero()) {
        return Err(time_range_empty("end"));
    }
    event.insert("start".to_owned(), start.stored());
    event.insert("end".to_owned(), end.stored());
    check_recurrence(&event, &start)?;
    read_attendees(&mut event, is_person)?;
    check_words(&mut event)?;
    check_reminders(&mut event)?;
    check_properties(&event)?;
    if event.get("attachments").and_then(Value::as_array).is_some_and(|all| all.len() > ATTACHMENTS_MAX) {
        return Err(invalid("Too many attachments."));
    }
    Ok(event)
}

fn check_recurrence(event: &Record, start: &When) -> Result<(), Refusal> {
    let lines = recurrence(event);
    if lines.is_empty() {
        return Ok(());
    }
    if matches!(start, When::At { is_zone_given: false, .. }) {
        return Err(required("Missing time zone definition for start time."));
    }
    Series::read(start, lines.iter().map(String::as_str)).map(|_| ()).map_err(invalid)
}

fn read_attendees(event: &mut Record, is_person: bool) -> Result<(), Refusal> {
    let Some(all) = event.get_mut("attendees").and_then(Value::as_array_mut) else { return Ok(()) };
    if all.len() > ATTENDEES_MAX && !is_person {
        return Err(invalid("The maximum number of attendees has been exceeded."));
    }
    let mut seen: Vec<String> = Vec::new();
    let mut kept = Vec::new();
    for attendee in all.drain(..) {
        let address = email(&attendee).to_lowercase();
        if address.is_empty() {
            return Err(required("Missing attendee email."));
        }
        let is_address =
            address.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
        if !is_address || address.contains(char::is_whitespace) {
            return Err(invalid("Invalid attendee email."));
        }
        if seen.contains(&address) {
            continue;
        }
        let mut read = json!({ "email": address });
        for name in ["displayName", "optional", "resource", "comment", "additionalGuests"] {
            if let Some(value) = attendee.get(name) {
                read[name] = value.clone();
            }
        }
        let status = attendee.get("responseStatus").and_then(Value::as_str).unwrap_or("needsAction");
        if !["needsAction", "declined", "tentative", "accepted"].contains(&status) {
            return Err(invalid("Invalid value for: responseStatus"));
        }
        read["responseStatus"] = json!(status);
        seen.push(address);
        kept.push(read);
    }
    let is_empty = kept.is_empty();
    *all = kept;
    if is_empty {
        event.shift_remove("attendees");
    }
    Ok(())
}

fn check_words(event: &mut Record) -> Result<(), Refusal> {
    for (name, allowed) in [
        ("status", ["confirmed", "tentative", "cancelled"].as_slice()),
        ("transparency", &["opaque", "transparent"]),
        ("visibility", &["default", "public", "private", "confidential"]),
        ("eventType", &["default", "outOfOffice", "focusTime", "workingLocation", "birthday", "fromGmail"]),
    ] {
        let first = allowed.first().copied().unwrap_or_default();
        let value = event.entry(name.to_owned()).or_insert_with(|| json!(first));
        if !value.as_str().is_some_and(|value| allowed.contains(&value)) {
            return Err(invalid(format!("Invalid value for: {name}")));
        }
    }
    Ok(())
}

fn check_reminders(event: &mut Record) -> Result<(), Refusal> {
    let reminders = event.entry("reminders".to_owned()).or_insert_with(|| json!({ "useDefault": true }));
    if reminders.get("useDefault").is_none() {
        reminders["useDefault"] = json!(false);
    }
    let Some(overrides) = reminders.get("overrides").and_then(Value::as_array) else { return Ok(()) };
    if overrides.is_empty() {
        return Ok(());
    }
    if reminders["useDefault"] == true {
        return Err(invalid("Cannot specify both default reminders and overrides at the same time."));
    }
    if overrides.len() > REMINDERS_MAX {
        return Err(invalid("Too many reminders."));
    }
    let is_right = |reminder: &Value| {
        matches!(reminder.get("method").and_then(Value::as_str), Some("popup" | "email"))
            && reminder
                .get("minutes")
                .and_then(Value::as_i64)
                .is_some_and(|minutes| (0..=REMINDER_MINUTES_MAX).contains(&minutes))
    };
    if overrides.iter().all(is_right) { Ok(()) } else { Err(invalid("Invalid reminder override.")) }
}

fn check_properties(event: &Record) -> Result<(), Refusal> {
    let kinds = event.get("extendedProperties").and_then(Value::as_object).into_iter().flatten();
    let all: Vec<(&String, &str)> = kinds
        .filter_map(|(_, properties)| properties.as_object())
        .flatten()
        .map(|(name, value)| (name, value.as_str().unwrap_or_default()))
        .collect();
    let bytes: usize = all.iter().map(|(name, value)| name.len() + value.len()).sum();
    let is_long = |(name, value): &(&String, &str)| {
        name.chars().count() > PROPERTY_KEY_MAX || value.chars().count() > PROPERTY_VALUE_MAX
    };
    if all.len() > PROPERTIES_MAX || bytes > PROPERTIES_BYTES_MAX || all.iter().any(is_long) {
        return Err(invalid("Extended properties are too large."));
    }
    Ok(())
}

/// An id that a client chose.
pub(super) fn check_id(id: &str) -> Result<(), Refusal> {
    let is_right = (5..=1_024).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'v').contains(&byte));
    if is_right { Ok(()) } else { Err(invalid("Invalid resource id value.")) }
}
