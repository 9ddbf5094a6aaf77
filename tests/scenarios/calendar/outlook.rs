//! People at Outlook.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde_json::{Value, json};
use simulators::{MicrosoftSimulator, Record};

use super::object;
use super::says::{Change, Rule, Says, Show, Span, When, instant};
use super::shown::{Place, Shown, plain};

fn wall(start: DateTime, zone: &str) -> Value {
    json!({ "dateTime": start.strftime("%Y-%m-%dT%H:%M:%S").to_string(), "timeZone": zone })
}

fn times(when: &When) -> Value {
    match *when {
        When::Timed { start, minutes, zone } => {
            let at = instant(start, zone);
            let end = at + SignedDuration::from_mins(minutes);
            let utc = |at: Timestamp| at.to_zoned(TimeZone::UTC).datetime();
            let shown = end.to_zoned(TimeZone::get(zone.0).unwrap()).datetime();
            // An hour that comes twice, or never, has no unambiguous name on that clock.
            let is_plain = instant(shown, zone) == end
                && at.to_zoned(TimeZone::get(zone.0).unwrap()).datetime() == start;
            let (start, end) = match is_plain {
                true => (wall(start, zone.1), wall(shown, zone.1)),
                false => (wall(utc(at), "UTC"), wall(utc(end), "UTC")),
            };
            json!({ "isAllDay": false, "start": start, "end": end })
        }
        When::Days { first, days } => {
            let day = |date: Date| wall(date.at(0, 0, 0, 0), "W. Europe Standard Time");
            json!({ "isAllDay": true, "start": day(first), "end": day(first + days.days()) })
        }
    }
}

fn text(body: &str) -> Value {
    json!({ "contentType": "text", "content": body })
}

fn show_as(show: Show) -> &'static str {
    match show {
        Show::Free => "free",
        Show::Tentative => "tentative",
        Show::Busy => "busy",
        Show::Out => "oof",
    }
}

fn sensitivity(private: bool) -> &'static str {
    if private { "private" } else { "normal" }
}

fn event(says: &Says) -> Record {
    let mut event = object(times(&says.when));
    event.extend(object(json!({
        "subject": says.subject, "body": text(&says.body), "location": { "displayName": says.location },
        "showAs": show_as(says.show), "sensitivity": sensitivity(says.private),
    })));
    event
}

fn recurrence(rule: Rule, first: Date) -> Value {
    let day = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
        [usize::try_from(first.weekday().to_monday_zero_offset()).unwrap()];
    let pattern = match rule.is_weekly {
        true => json!({ "type": "weekly", "interval": 1, "daysOfWeek": [day] }),
        false => json!({ "type": "daily", "interval": 1 }),
    };
    let range =
        json!({ "type": "numbered", "startDate": first.to_string(), "numberOfOccurrences": rule.times });
    json!({ "pattern": pattern, "range": range })
}

pub fn make(
    microsoft: &MicrosoftSimulator,
    mail: &str,
    says: &Says,
    guests: &BTreeSet<String>,
    rule: Option<Rule>,
) -> Result<String, String> {
    let mut event = event(says);
    event.insert("mailbox".to_owned(), json!(mail));
    let attendees: Vec<Value> = guests
        .iter()
        .map(|mail| json!({ "type": "required", "emailAddress": { "address": mail, "name": mail } }))
        .collect();
    event.insert("attendees".to_owned(), json!(attendees));
    if let Some(rule) = rule {
        event.insert("recurrence".to_owned(), recurrence(rule, says.when.date()));
    }
    microsoft.create_as_person(&event)
}

/// An invitation from outside comes into a mailbox.
pub fn receive(
    microsoft: &MicrosoftSimulator,
    mail: &str,
    says: &Says,
    (organizer, uid): (&str, &str),
    invited: &[&str],
) -> Result<String, String> {
    let mut event = event(says);
    let person = |mail: &str| json!({ "address": mail, "name": mail });
    let invited: Vec<Value> =
        invited.iter().map(|mail| json!({ "type": "required", "emailAddress": person(mail) })).collect();
    event.extend(object(json!({
        "mailbox": mail, "iCalUId": uid, "organizer": { "emailAddress": person(organizer) }, "attendees": invited,
    })));
    microsoft.create_as_person(&event)
}

pub fn change(microsoft: &MicrosoftSimulator, id: &str, change: &Change) -> Result<(), String> {
    let fields = match change {
        Change::Subject(subject) => json!({ "subject": subject }),
        Change::When(when) => times(when),
        Change::Body(body) => json!({ "body": text(body) }),
        Change::Location(location) => json!({ "location": { "displayName": location } }),
        Change::Show(show) => json!({ "showAs": show_as(*show) }),
        Change::Private(private) => json!({ "sensitivity": sensitivity(*private) }),
    };
    microsoft.edit_as_person(id, &object(fields))
}

pub fn answer(microsoft: &MicrosoftSimulator, id: &str, accepts: bool) -> Result<(), String> {
    let response = if accepts { "accepted" } else { "declined" };
    microsoft.edit_as_person(id, &object(json!({ "response": response })))
}

/// A copied event, with all that hangs on it.
pub fn copy(microsoft: &MicrosoftSimulator, id: &str, says: &Says) -> Result<String, String> {
    let original = microsoft.record(id).ok_or("the original is gone")?;
    let mut event = event(says);
    event.insert("mailbox".to_owned(), original["mailbox"].clone());
    let properties = original["singleValueExtendedProperties"].as_object().cloned().unwrap_or_default();
    let properties: Vec<Value> =
        properties.into_iter().map(|(id, value)| json!({ "id": id, "value": value })).collect();
    event.insert("singleValueExtendedProperties".to_owned(), json!(properties));
    microsoft.create_as_person(&event)
}

/// The id of what a series has on a day.
pub fn occurrence(master: &str, date: Date) -> String {
    let stem = master.strip_suffix("_BGAAA=").unwrap_or(master);
    format!("{stem}_FRAAgI{}==", date.strftime("%Y%m%d"))
}

pub fn shown(record: &Value, calendar: usize) -> Shown {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let at = |name: &str| {
        record[name]["dateTime"].as_str().unwrap().split('.').next().unwrap().parse::<DateTime>().unwrap()
    };
    let own = text(&record["mailbox"]).to_lowercase();
    let (start, end) = (at("start"), at("end"));
    let utc = |wall: DateTime| wall.to_zoned(TimeZone::UTC).unwrap().timestamp();
    let span = match record["isAllDay"] == true {
        true => Span::Days(start.date(), end.date().yesterday().unwrap()),
        false => Span::Timed(utc(start), utc(end)),
    };
    let mails = record["attendees"].as_array().into_iter().flatten();
    let original = record["originalStart"].as_str().filter(|_| record["type"] == "exception");
    Shown {
        place: Place::Calendar(calendar),
        id: text(&record["id"]),
        subject: text(&record["subject"]),
        span,
        body: plain(record["body"]["content"].as_str().unwrap_or_default()),
        location: text(&record["location"]["displayName"]),
        show: match record["showAs"].as_str() {
            Some("free") => Show::Free,
            Some("tentative") => Show::Tentative,
            Some("oof") => Show::Out,
            _ => Show::Busy,
        },
        private: record["sensitivity"] == "private",
        people: mails
            .map(|one| text(&one["emailAddress"]["address"]).to_lowercase())
            .filter(|mail| *mail != own)
            .collect(),
        answers: BTreeMap::new(),
        assigned: String::new(),
        original: original.map(|at| at.parse::<Timestamp>().unwrap().to_zoned(TimeZone::UTC).date()),
        is_series: record["type"] == "seriesMaster",
        rule: record["recurrence"].to_string(),
        status: if record["isCancelled"] == true { "cancelled".to_owned() } else { String::new() },
    }
}
