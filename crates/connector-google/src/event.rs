//! An event as Google says it: the members that we use. Read member by member where one that is odd must not spoil the
//! others.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a list or a read answers. One that cannot be read is told by itself, so that the others can be.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// An event.
    Event(Box<Event>),
    /// An event in no form that we know.
    Malformed {
        /// Its id.
        id: String,
        /// Its etag, empty where there is none.
        etag: String,
        /// What is wrong, without its content.
        what: String,
    },
}

/// An event. What is not said is empty.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Event {
    /// Its id.
    pub id: String,
    /// Its version, with its quotes.
    pub etag: String,
    /// `confirmed`, `tentative`, `cancelled`. Of cancelled ones no more is sure than this, the id, and their place in a
    /// series.
    pub status: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When it last changed; does not move for reminders.
    pub updated: Option<Timestamp>,
    /// Title.
    pub summary: String,
    /// Text, perhaps with HTML in it.
    pub description: String,
    /// Where.
    pub location: String,
    /// Where Google Calendar shows it in the browser.
    pub html_link: String,
    /// The organiser.
    pub organizer: Option<Organizer>,
    /// Start.
    pub start: Option<Time>,
    /// End, exclusive for days.
    pub end: Option<Time>,
    /// `RRULE`, `EXDATE`, `RDATE`.
    pub recurrence: Vec<String>,
    /// The series that it is one of.
    pub recurring_event_id: Option<String>,
    /// Its start by the rule of the series.
    pub original_start_time: Option<Time>,
    /// `opaque` (busy, also where nothing is said) or `transparent`.
    pub transparency: String,
    /// `default`, `public`, `private`, `confidential`.
    pub visibility: String,
    /// `default`, `outOfOffice`, `focusTime`, `workingLocation`, `birthday`, `fromGmail`.
    pub event_type: String,
    /// The same in all calendars, and within a series.
    #[serde(rename = "iCalUID")]
    pub ical_uid: String,
    /// Who is invited.
    pub attendees: Vec<Attendee>,
    /// Whether the list of attendees is cut.
    pub attendees_omitted: bool,
    /// Reminders of the account's user.
    pub reminders: Option<Reminders>,
    /// Where to join in a browser.
    pub hangout_link: Option<String>,
    /// Where to join.
    pub conference_data: Option<Conference>,
    /// What applications put with it.
    pub extended_properties: Option<ExtendedProperties>,
}

/// A person.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Organizer {
    /// Mail address.
    pub email: String,
    /// Whether it is the calendar that was read.
    #[serde(rename = "self")]
    pub is_self: bool,
}

/// Whole days by `date`, else an instant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Time {
    /// A day.
    pub date: Option<String>,
    /// A time, with an offset or in the zone.
    pub date_time: Option<String>,
    /// IANA's name of the zone.
    pub time_zone: Option<String>,
}

/// One who is invited. The whole of it is kept, since a list is only ever written whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attendee(Map<String, Value>);

impl Attendee {
    /// Somebody new.
    pub fn new(email: &str, name: &str) -> Self {
        let mut attendee = Map::new();
        attendee.insert("email".to_owned(), email.into());
        if !name.is_empty() {
            attendee.insert("displayName".to_owned(), name.into());
        }
        Self(attendee)
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn is(&self, name: &str) -> bool {
        self.0.get(name) == Some(&Value::Bool(true))
    }

    /// Mail address; empty where it is hidden.
    pub fn email(&self) -> &str {
        self.text("email")
    }

    /// Name to show.
    pub fn name(&self) -> &str {
        self.text("displayName")
    }

    /// `needsAction`, `declined`, `tentative`, `accepted`.
    pub fn response(&self) -> &str {
        self.text("responseStatus")
    }

    /// Whether it is the calendar that was read.
    pub fn is_self(&self) -> bool {
        self.is("self")
    }

    /// Whether it is a room or a thing.
    pub fn is_resource(&self) -> bool {
        self.is("resource")
    }
}

/// Reminders.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Reminders {
    /// Whether those of the calendar hold.
    pub use_default: bool,
    /// Those that hold instead, five at most.
    pub overrides: Vec<Reminder>,
}

/// A reminder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reminder {
    /// `popup` or `email`.
    pub method: String,
    /// How long before the start, up to 40,320.
    pub minutes: u32,
}

/// Where to join online.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Conference {
    /// Ways to join.
    pub entry_points: Vec<EntryPoint>,
}

/// A way to join.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EntryPoint {
    /// `video`, `phone`, `sip`, `more`.
    pub entry_point_type: String,
    /// Address.
    pub uri: String,
}

/// What applications put with an event.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ExtendedProperties {
    /// With this calendar's copy only.
    pub private: Map<String, Value>,
}

impl Event {
    /// A private property.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.extended_properties.as_ref()?.private.get(name)?.as_str()
    }

    /// Whether it is there no more.
    pub fn is_cancelled(&self) -> bool {
        self.status == "cancelled"
    }
}

impl Item {
    /// Reads one; none for what has no id, and is nothing that could be told of.
    pub(crate) fn read(value: Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (id, etag) = (text("id"), text("etag"));
        if id.is_empty() {
            return None;
        }
        Some(match serde_json::from_value(without_nulls(value)) {
            Ok(event) => Self::Event(Box::new(event)),
            // serde's own message may quote the value it stumbled over.
            Err(error) => {
                Self::Malformed { id, etag, what: format!("unexpected content at column {}", error.column()) }
            }
        })
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name, without_nulls(value)))
                .collect(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::fixtures;

    fn read(name: &str) -> Event {
        match Item::read(serde_json::from_str(&fixtures::text(name)).unwrap()) {
            Some(Item::Event(event)) => *event,
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn the_vendor_s_events_are_read() {
        let single = read("event-single.json");
        assert_eq!(single.etag, "\"3415467890000000\"");
        assert_eq!(single.property("crmId"), Some("5f0c2b7d1e3a4c5b6"));
        assert_eq!(single.attendees[0].email(), "guest@example.org");
        assert!(single.organizer.unwrap().is_self && !single.attendees[0].is_self());
        let master = read("event-recurring-master.json");
        assert_eq!(master.recurrence.len(), 2);
        let exception = read("event-recurring-exception.json");
        assert_eq!(exception.recurring_event_id.as_deref(), Some("master0123456789"));
        assert_eq!(exception.ical_uid, master.ical_uid);
        let day = read("event-allday.json").start.unwrap();
        assert_eq!((day.date.as_deref(), day.date_time), (Some("2026-04-03"), None));
        assert!(read("event-cancelled.json").is_cancelled());
        let gap = read("event-cancelled-instance.json");
        assert!(gap.is_cancelled() && gap.original_start_time.is_some());
    }

    #[test]
    fn what_is_odd_is_told_by_itself_and_not_quoted() {
        let odd = json!({"id": "a1", "etag": "\"1\"", "summary": {"secret": "Mustermann"}});
        let Some(Item::Malformed { id, etag, what }) = Item::read(odd) else { panic!("no event") };
        assert_eq!((id.as_str(), etag.as_str()), ("a1", "\"1\""));
        assert!(!what.contains("Muster"), "{what}");
        for nothing in [json!(null), json!([]), json!({"etag": "1"}), json!({"id": 7})] {
            assert_eq!(Item::read(nothing), None);
        }
        let nulls =
            json!({"id": "a1", "summary": null, "start": {"date": null, "dateTime": "x"}, "attendees": null});
        assert!(matches!(Item::read(nulls), Some(Item::Event(_))));
    }

    proptest! {
        #[test]
        fn an_attendee_is_written_as_it_was_read(name in "\\PC{0,10}", guests in any::<u8>(), comment in "\\PC{0,10}") {
            let value = json!({"email": "a@x.org", "displayName": name, "additionalGuests": guests, "comment": comment});
            let attendee: Attendee = serde_json::from_value(value.clone()).unwrap();
            prop_assert_eq!(serde_json::to_value(&attendee).unwrap(), value);
        }
    }
}
