use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::read::{Seen, side};
use super::*;
use crate::calendar::event::{Attendee, Busy, Reach, Response};
use crate::calendar::series::Series;
use crate::calendar::sides::{EventSide, Provider};

fn facts() -> Facts {
    let reminder = |method: &str, minutes| google::Reminder { method: method.to_owned(), minutes };
    Facts {
        mail: "user@example.com".to_owned(),
        calendar: "user@example.com".to_owned(),
        zone: TimeZone::get("Europe/Berlin").unwrap(),
        reminders: vec![reminder("popup", 10), reminder("email", 1_440)],
    }
}

/// What Google makes of a write (RFC 7386).
fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                target.remove(name);
            }
            Value::Object(members) => {
                let inner = target.entry(name.clone()).or_insert_with(|| json!({}));
                merge(inner.as_object_mut().unwrap(), members);
            }
            other => {
                target.insert(name.clone(), other.clone());
            }
        }
    }
}

/// An event at Google.
#[derive(Debug, Clone)]
struct There(Map<String, Value>);

impl There {
    fn new() -> Self {
        let fresh = json!({"id": "e1", "etag": "\"1\"", "status": "confirmed", "iCalUID": "u", "organizer": {"self": true}});
        Self(fresh.as_object().unwrap().clone())
    }

    fn wire(&self) -> google::Event {
        serde_json::from_value(Value::Object(self.0.clone())).unwrap()
    }

    fn write(&mut self, event: &Event, fields: &[Field]) {
        let kept = Kept::of(&self.wire());
        merge(&mut self.0, patch(event, fields, &kept, &facts()).body());
    }

    fn read(&self) -> EventSide {
        side(&self.wire(), &facts(), Seen::Itself).unwrap()
    }
}

fn when() -> impl Strategy<Value = When> {
    let zone = || prop_oneof!["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC", "Pacific/Apia"];
    let at = |seconds, zone: &str| {
        jiff::Timestamp::from_second(seconds).unwrap().to_zoned(TimeZone::get(zone).unwrap())
    };
    let timed = (1_700_000_000_i64..1_900_000_000, 0_i64..100_000, zone(), zone()).prop_map(
        move |(start, long, from, to)| When::Timed { start: at(start, &from), end: at(start + long, &to) },
    );
    let whole = (0_i64..2_000, 1_i64..20).prop_map(|(from, days)| {
        let day = |n: i64| jiff::civil::date(2024, 1, 1).checked_add(jiff::Span::new().days(n)).unwrap();
        When::AllDay { first: day(from), after: day(from + days) }
    });
    prop_oneof![3 => timed, 1 => whole]
}

fn place() -> impl Strategy<Value = Option<Vec<String>>> {
    let rule = prop_oneof![
        "RRULE:FREQ=DAILY",
        "RRULE:FREQ=WEEKLY;BYDAY=MO,FR;INTERVAL=2;WKST=SU",
        "RRULE:FREQ=MONTHLY;BYMONTHDAY=31",
        "RRULE:FREQ=MONTHLY;BYDAY=-1TU;COUNT=7",
        "RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29",
        "RRULE:FREQ=DAILY;UNTIL=20300101",
        "RRULE:FREQ=YEARLY;BYYEARDAY=100",
    ];
    let dates = prop_oneof!["", "EXDATE;VALUE=DATE:20260401,20260402", "RDATE;VALUE=DATE:20260501"];
    proptest::option::weighted(0.4, (rule, dates).prop_map(|(rule, dates)| vec![rule, dates]))
}

fn people() -> impl Strategy<Value = Attendees> {
    let mail = prop_oneof!["a@x\\.org", "b@x\\.org", "c@x\\.org"];
    proptest::collection::btree_map(mail, "[A-Z]?[a-z]{0,3}", 0..3).prop_map(|people| {
        let person = |name| Attendee {
            name,
            response: Response::Accepted,
            reach: Reach::Known,
            ..Attendee::default()
        };
        people.into_iter().map(|(mail, name)| (mail, person(name))).collect()
    })
}

prop_compose! {
    fn event()(
        subject in "[ -~ü\n]{0,20}", when in when(), body in "([ -~\n]|<b>|&lt;|<br>|ü){0,20}", location in "[ -~]{0,10}",
        busy in prop_oneof![Just(Busy::Free), Just(Busy::Busy), Just(Busy::OutOfOffice)], private: bool,
        reminders in proptest::collection::btree_set(prop_oneof![Just(10_u32), 0_u32..=40_320], 0..7),
        attendees in people(), lines in place(),
    ) -> Event {
        let series = lines.map(|lines| Series::from_lines(&lines, &when).unwrap());
        let place = series.map_or(Place::Single, Place::Master);
        Event { subject, body, location, busy, private, reminders, attendees, place, ..Event::new("", when) }
    }
}

/// What Google holds of an event that we write: nobody answers by us.
fn held(event: &Event) -> Event {
    let mut held = Provider::Google.holds(event).normalized();
    for attendee in held.attendees.values_mut() {
        (attendee.response, attendee.reach) = (Response::None, Reach::Unknown);
    }
    held
}

fn is_same(read: &Event, wanted: &Event) -> Result<(), TestCaseError> {
    prop_assert_eq!(read.differences(wanted), Vec::<Field>::new(), "{:?} {:?}", read, wanted);
    prop_assert!(read.is_in_zone_of(wanted), "{:?} {:?}", read.zone(), wanted.zone());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is written is what is read, whatever was there before; and writing it once more changes nothing.
    #[test]
    fn what_is_written_is_what_is_read(first in event(), second in event()) {
        let mut there = There::new();
        for wanted in [&first, &second, &second] {
            there.write(wanted, &Field::ALL);
            is_same(&there.read().event, &held(wanted))?;
        }
    }

    /// Only the fields that are named change; with a rule comes its clock.
    #[test]
    fn nothing_else_is_written(
        first in event(), second in event(), fields in proptest::collection::btree_set(proptest::sample::select(Field::ALL.to_vec()), 1..4),
    ) {
        let mut there = There::new();
        there.write(&first, &Field::ALL);
        let mut wanted = there.read().event;
        let mut fields: Vec<Field> = fields.into_iter().collect();
        // Times and rule of different kinds make no event.
        if fields.iter().any(|field| matches!(field, Field::When | Field::Recurrence)) {
            fields.extend([Field::When, Field::Recurrence]);
        }
        there.write(&second, &fields);
        fields.iter().for_each(|field| wanted.take(*field, &held(&second)));
        is_same(&there.read().event, &Event { online_link: None, ..wanted })?;
    }

    /// Who stays keeps all that is said of them, and of whom the CRM does not know stays.
    #[test]
    fn attendees_keep_what_the_crm_does_not_know(first in people(), second in people(), by_others: bool) {
        let mut there = There::new();
        let said = |mail: &String| json!({"email": mail, "responseStatus": "declined", "comment": "ill", "optional": true});
        let mut all: Vec<Value> = first.keys().map(said).collect();
        let others = [json!({"email": "user@example.com", "self": true, "responseStatus": "accepted"}),
            json!({"email": "room@x.org", "resource": true})];
        all.extend(others.iter().cloned());
        there.0.insert("attendees".to_owned(), json!(all));
        there.0.insert("start".to_owned(), json!({"date": "2026-03-01"}));
        there.0.insert("end".to_owned(), json!({"date": "2026-03-02"}));
        // The CRM may know them by other addresses.
        let known = |(mail, attendee): (&String, &Attendee)| match by_others {
            true => (format!("work-{mail}"), Attendee { address: Some(mail.clone()), ..attendee.clone() }),
            false => (mail.clone(), attendee.clone()),
        };
        let wanted = Event { attendees: second.iter().map(known).collect(), ..there.read().event };
        there.write(&wanted, &[Field::Attendees]);
        let written = there.0["attendees"].as_array().unwrap();
        prop_assert!(others.iter().all(|other| written.contains(other)));
        for mail in second.keys() {
            let count = written.iter().filter(|one| one["email"] == json!(mail)).count();
            prop_assert_eq!((count, written.contains(&said(mail))), (1, first.contains_key(mail)));
        }
        prop_assert_eq!(written.len(), second.len() + others.len());
    }
}

#[test]
fn reminders_by_mail_stay_as_long_as_there_is_room() {
    let mut there = There::new();
    let mail = json!({"method": "email", "minutes": 60});
    there.0.insert("reminders".to_owned(), json!({"useDefault": false, "overrides": [mail]}));
    let all_day = When::AllDay { first: jiff::civil::date(2026, 3, 1), after: jiff::civil::date(2026, 3, 2) };
    let mut event = Event::new("x", all_day);
    let mut written = |minutes: &[u32]| {
        event.reminders = minutes.iter().copied().collect();
        there.write(&event, &[Field::Reminders, Field::When]);
        (there.read().event.reminders.len(), there.0["reminders"].clone())
    };
    let (popups, reminders) = written(&[5, 30]);
    assert_eq!((popups, reminders["overrides"].as_array().unwrap().contains(&mail)), (2, true));
    let (popups, reminders) = written(&[1, 2, 3, 4, 5]);
    assert_eq!((popups, reminders["overrides"].as_array().unwrap().contains(&mail)), (5, false));
    let (_, reminders) = written(&[10]);
    assert_eq!(reminders["useDefault"], true, "the calendar's own");
    // Its own one by mail becomes the event's, where the popups do not.
    let (popups, reminders) = written(&[]);
    assert_eq!((popups, &reminders["overrides"]), (0, &json!([{"method": "email", "minutes": 1_440}])));
    assert_eq!(reminders["useDefault"], false);
}

#[test]
fn a_time_that_comes_twice_is_written_as_the_one_it_is() {
    let start: Zoned = "2026-10-25T02:30:00+01:00[Europe/Berlin]".parse().unwrap();
    let end = start.checked_add(jiff::Span::new().minutes(30)).unwrap();
    let mut there = There::new();
    there.write(&Event::new("x", When::Timed { start, end }), &[Field::When]);
    assert_eq!(there.0["start"], json!({"dateTime": "2026-10-25T01:30:00Z", "timeZone": "Europe/Berlin"}));
    // It becomes one of whole days, and nothing is left of the hour.
    let day = jiff::civil::date(2026, 10, 25);
    there
        .write(&Event::new("x", When::AllDay { first: day, after: day.tomorrow().unwrap() }), &[Field::When]);
    assert_eq!(there.0["start"], json!({"date": "2026-10-25"}));
}
