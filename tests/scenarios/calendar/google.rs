//! People at Google Calendar.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};
use simulators::{GoogleSimulator, Record};

use super::object;
use super::says::{Change, Rule, Says, Show, Span, When};
use super::shown::{Place, Shown};

fn times(when: &When) -> Value {
    match *when {
        When::Timed { zone, .. } => {
            let (start, end) = when.instants();
            let at = |at: Timestamp| {
                let shown = at.to_zoned(TimeZone::get(zone.0).unwrap());
                json!({ "date": null, "dateTime": shown.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(), "timeZone": zone.0 })
            };
            json!({ "start": at(start), "end": at(end) })
        }
        When::Days { first, days } => {
            let on = |date: Date| json!({ "date": date.to_string(), "dateTime": null, "timeZone": null });
            json!({ "start": on(first), "end": on(first + days.days()) })
        }
    }
}

fn transparency(show: Show) -> &'static str {
    if show == Show::Free { "transparent" } else { "opaque" }
}

fn visibility(private: bool) -> &'static str {
    if private { "private" } else { "default" }
}

fn event(says: &Says) -> Record {
    let mut event = object(times(&says.when));
    for time in ["start", "end"] {
        if let Some(time) = event.get_mut(time).and_then(Value::as_object_mut) {
            time.retain(|_, value| !value.is_null());
        }
    }
    event.extend(object(json!({
        "summary": says.subject, "description": says.body, "location": says.location,
        "transparency": transparency(says.show), "visibility": visibility(says.private),
    })));
    event
}

pub fn make(
    google: &GoogleSimulator,
    mail: &str,
    says: &Says,
    guests: &BTreeSet<String>,
    rule: Option<Rule>,
) -> Result<String, String> {
    let mut event = event(says);
    event.insert("calendarId".to_owned(), json!(mail));
    if !guests.is_empty() {
        let attendees: Vec<Value> = guests.iter().map(|mail| json!({ "email": mail })).collect();
        event.insert("attendees".to_owned(), json!(attendees));
    }
    if let Some(rule) = rule {
        let frequency = if rule.is_weekly { "WEEKLY" } else { "DAILY" };
        event
            .insert("recurrence".to_owned(), json!([format!("RRULE:FREQ={frequency};COUNT={}", rule.times)]));
    }
    google.create_as_person(&event)
}

/// An invitation from outside comes into a calendar.
pub fn receive(
    google: &GoogleSimulator,
    mail: &str,
    says: &Says,
    (organizer, uid): (&str, &str),
    invited: &[&str],
) -> Result<String, String> {
    let mut event = event(says);
    let invited: Vec<Value> =
        invited.iter().map(|mail| json!({ "email": mail, "responseStatus": "needsAction" })).collect();
    event.extend(object(json!({
        "calendarId": mail, "iCalUID": uid, "organizer": { "email": organizer },
        "creator": { "email": organizer }, "attendees": invited,
    })));
    google.seed(event).map_err(|error| error.to_string())
}

pub fn change(google: &GoogleSimulator, id: &str, change: &Change) -> Result<(), String> {
    let fields = match change {
        Change::Subject(subject) => json!({ "summary": subject }),
        Change::When(when) => times(when),
        Change::Body(body) => json!({ "description": body }),
        Change::Location(location) => json!({ "location": location }),
        Change::Show(show) => json!({ "transparency": transparency(*show) }),
        Change::Private(private) => json!({ "visibility": visibility(*private) }),
    };
    google.edit_as_person(id, &object(fields))
}

pub fn answer(google: &GoogleSimulator, id: &str, accepts: bool) -> Result<(), String> {
    google.answer_invitation_as_person(id, if accepts { "accepted" } else { "declined" })
}

/// A copied event, with all that hangs on it.
pub fn copy(google: &GoogleSimulator, id: &str, says: &Says) -> Result<String, String> {
    let original = google.record(id).ok_or("the original is gone")?;
    let mut event = event(says);
    event.insert("calendarId".to_owned(), original["calendarId"].clone());
    event.insert("extendedProperties".to_owned(), original["extendedProperties"].clone());
    google.create_as_person(&event)
}

/// The id of what a series has at its start by the rule.
pub fn occurrence(master: &str, when: &When) -> String {
    match when.span() {
        Span::Timed(start, _) => format!("{master}_{}", start.strftime("%Y%m%dT%H%M%SZ")),
        Span::Days(first, _) => format!("{master}_{}", first.strftime("%Y%m%d")),
    }
}

pub fn shown(record: &Value, calendar: usize) -> Shown {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let own = text(&record["calendarId"]).to_lowercase();
    let at = |name: &str| record[name]["dateTime"].as_str().map(|text| text.parse::<Timestamp>().unwrap());
    let on = |name: &str| record[name]["date"].as_str().map(|text| text.parse::<Date>().unwrap());
    let span = match (at("start"), at("end"), on("start"), on("end")) {
        (Some(start), Some(end), ..) => Span::Timed(start, end),
        (_, _, Some(first), Some(after)) => Span::Days(first, after.yesterday().unwrap()),
        _ => Span::Timed(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH),
    };
    let mails = record["attendees"].as_array().into_iter().flatten();
    let original = on("originalStartTime")
        .or_else(|| at("originalStartTime").map(|at| at.to_zoned(TimeZone::UTC).date()));
    Shown {
        place: Place::Calendar(calendar),
        id: format!("{own}:{}", text(&record["id"])),
        subject: text(&record["summary"]),
        span,
        body: text(&record["description"]),
        location: text(&record["location"]),
        show: if record["transparency"] == "transparent" { Show::Free } else { Show::Busy },
        private: matches!(record["visibility"].as_str(), Some("private" | "confidential")),
        people: mails.map(|one| text(&one["email"]).to_lowercase()).filter(|mail| *mail != own).collect(),
        answers: BTreeMap::new(),
        assigned: String::new(),
        original: original.filter(|_| record["recurringEventId"].is_string()),
        is_series: record["recurrence"].is_array(),
        rule: record["recurrence"].to_string(),
        status: if record["status"] == "cancelled" { "cancelled".to_owned() } else { String::new() },
    }
}
