//! People at EspoCRM.

use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};
use simulators::{EspocrmSimulator, Record};

use super::affairs::Kind;
use super::object;
use super::says::{Change, Says, Show, Span, When};
use super::shown::{Place, Shown};

/// The custom fields, as an administrator calls them on a built-in type.
pub const LOCATION: &str = "cLocation";
pub const SHOW: &str = "cBusyState";
pub const PRIVATE: &str = "cIsPrivate";
pub const RULE: &str = "cRecurrenceRule";
pub const ORIGINAL: &str = "cOriginalStart";

fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn times(when: &When, kind: Kind) -> Value {
    match (*when, when.span()) {
        (When::Days { first, days }, _) => json!({
            "isAllDay": true, "dateStartDate": first.to_string(), "dateEndDate": (first + (days - 1).days()).to_string(),
        }),
        (_, Span::Timed(start, end)) if kind == Kind::Call => {
            json!({ "dateStart": stamp(start), "dateEnd": stamp(end) })
        }
        (_, Span::Timed(start, end)) => json!({
            "isAllDay": false, "dateStartDate": null, "dateEndDate": null, "dateStart": stamp(start), "dateEnd": stamp(end),
        }),
        (When::Timed { .. }, Span::Days(..)) => Value::Null,
    }
}

fn show(show: Show) -> &'static str {
    match show {
        Show::Free => "free",
        Show::Tentative => "tentative",
        Show::Busy => "busy",
        Show::Out => "out of office",
    }
}

/// EspoCRM takes some characters in no name; people use what looks like them.
const LOOK_ALIKES: [(char, char); 2] = [('<', '\u{ff1c}'), ('>', '\u{ff1e}')];

fn typed(subject: &str) -> String {
    LOOK_ALIKES
        .iter()
        .fold(subject.to_owned(), |text, (meant, typed)| text.replace(*meant, &typed.to_string()))
}

fn meant(name: &str) -> String {
    LOOK_ALIKES.iter().fold(name.to_owned(), |text, (meant, typed)| text.replace(*typed, &meant.to_string()))
}

fn fields(says: &Says, kind: Kind) -> Record {
    let mut fields = object(times(&says.when, kind));
    fields.extend(object(json!({
        "name": typed(&says.subject), "description": says.body, LOCATION: says.location, SHOW: show(says.show),
        PRIVATE: says.private,
    })));
    fields
}

/// What an administrator has made for the flow.
pub fn provision(crm: &EspocrmSimulator) {
    let line = || json!({ "type": "varchar", "maxLength": 255 });
    let long = || json!({ "type": "text" });
    let shows = ["busy", "free", "tentative", "out of office", "working elsewhere"];
    let fields = json!({
        LOCATION: line(),
        "cTimeZone": line(),
        SHOW: { "type": "enum", "options": shows, "default": "busy" },
        PRIVATE: { "type": "bool", "default": false },
        "cReminderMinutes": line(),
        "cOnlineLink": long(),
        RULE: long(),
        "cSeriesId": { "type": "varchar", "maxLength": 1_024 },
        ORIGINAL: line(),
        "cEventKey": { "type": "varchar", "maxLength": 1_024 },
        "cRemovedFrom": long(),
    });
    let of_type = json!({ "fields": fields, "optimistic_concurrency": true });
    crm.configure(&object(json!({ "types": { "Meeting": of_type, "Call": of_type } }))).unwrap();
}

/// Of whose the record is, by ids.
pub struct Whose<'a> {
    pub assigned: &'a str,
    pub users: Vec<&'a str>,
    pub contacts: Vec<&'a str>,
}

pub fn make(crm: &EspocrmSimulator, kind: Kind, says: &Says, whose: &Whose<'_>) -> Result<String, String> {
    let mut fields = fields(says, kind);
    fields.extend(object(json!({
        "status": "Planned", "assignedUserId": whose.assigned, "usersIds": whose.users,
        "contactsIds": whose.contacts,
    })));
    crm.create_as(whose.assigned, kind.name(), &fields)
}

pub fn change(
    crm: &EspocrmSimulator,
    user: &str,
    (kind, id): (Kind, &str),
    change: &Change,
) -> Result<(), String> {
    let fields = match change {
        Change::Subject(subject) => json!({ "name": typed(subject) }),
        Change::When(when) => times(when, kind),
        Change::Body(body) => json!({ "description": body }),
        Change::Location(location) => json!({ LOCATION: location }),
        Change::Show(to) => json!({ SHOW: show(*to) }),
        Change::Private(private) => json!({ PRIVATE: private }),
    };
    crm.edit_as(user, kind.name(), id, &object(fields))
}

/// Sets who comes; `attribute` says as what: `usersIds` or `contactsIds`.
pub fn set_people(
    crm: &EspocrmSimulator,
    user: &str,
    (kind, id): (Kind, &str),
    attribute: &str,
    ids: &[&str],
) -> Result<(), String> {
    crm.edit_as(user, kind.name(), id, &object(json!({ attribute: ids })))
}

pub fn conclude(
    crm: &EspocrmSimulator,
    user: &str,
    (kind, id): (Kind, &str),
    held: bool,
) -> Result<(), String> {
    let status = if held { "Held" } else { "Not Held" };
    crm.edit_as(user, kind.name(), id, &object(json!({ "status": status })))
}

pub fn remove(crm: &EspocrmSimulator, user: &str, (kind, id): (Kind, &str)) -> Result<(), String> {
    crm.delete_as(user, kind.name(), id)
}

/// Everything of a kind that was not deleted.
pub fn all(crm: &EspocrmSimulator, kind: Kind) -> Vec<Shown> {
    let records = crm.records_of(kind.name());
    records.iter().filter(|record| record["deleted"] != true).map(|record| shown(record, kind)).collect()
}

fn shown(record: &Value, kind: Kind) -> Shown {
    let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
    let on = |name: &str| record[name].as_str().and_then(|day| day.parse::<Date>().ok());
    let at =
        |name: &str| format!("{}Z", text(name)).replace(' ', "T").parse::<Timestamp>().unwrap_or_default();
    let span = match (record["isAllDay"] == true, on("dateStartDate"), on("dateEndDate")) {
        (true, Some(first), Some(last)) => Span::Days(first, last),
        _ => Span::Timed(at("dateStart"), at("dateEnd")),
    };
    let ids = |name: &str| -> Vec<String> {
        record[name].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let answer = |(id, said): (&String, &Value)| Some((id.clone(), said["status"].as_str()?.to_owned()));
    let answers = record["usersColumns"].as_object().into_iter().flatten().filter_map(answer).collect();
    let original = text(ORIGINAL).replace(' ', "T");
    let people: BTreeSet<String> = ids("usersIds").into_iter().chain(ids("contactsIds")).collect();
    Shown {
        place: Place::Crm(kind),
        id: text("id"),
        subject: meant(&text("name")),
        span,
        body: text("description"),
        location: text(LOCATION),
        show: match record[SHOW].as_str() {
            Some("free") => Show::Free,
            Some("tentative") => Show::Tentative,
            Some("out of office") => Show::Out,
            _ => Show::Busy,
        },
        private: record[PRIVATE] == true,
        people,
        answers,
        assigned: text("assignedUserId"),
        original: original.get(..10).and_then(|day| day.parse().ok()),
        is_series: !text(RULE).is_empty(),
        rule: text(RULE),
        status: text("status"),
    }
}
