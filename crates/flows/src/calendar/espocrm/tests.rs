//! What is written comes back as it was meant, and what cannot be read says why.

use std::collections::{BTreeMap, BTreeSet};

use connector_espocrm::{EntityType, Patch, Record};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::needs::{Own, type_name};
use super::read::{Linked, Mails, linked, read};
use super::write;
use crate::calendar::crm::{CrmFound, CrmMeeting, Person, PersonKind};
use crate::calendar::event::{
    Attendee, Attendees, Busy, Event, Field, OriginalStart, Place, Reach, Response, When,
};
use crate::calendar::further::{Carried, Further, Importance};
use crate::calendar::series::Series;
use crate::calendar::sides::{MeetingKind, MeetingStatus};
use crate::calendar::zones;

const OWNER: &str = "owner";

fn zone(name: &str) -> TimeZone {
    zones::read(name, None).unwrap()
}

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(fields) = value else { panic!("{value} is no object") };
    fields
}

/// People by their mail addresses: `anna@x.org` is a user, `carl@x.org` a contact, `lea@x.org` a lead.
fn people() -> BTreeMap<String, Person> {
    let person = |mail: &str, kind| {
        let id = mail.split('@').next().unwrap().to_owned();
        (mail.to_owned(), Person { kind, name: id.to_uppercase(), id })
    };
    [
        person("anna@x.org", PersonKind::User),
        person("bert@x.org", PersonKind::User),
        person("carl@x.org", PersonKind::Contact),
        person("cora@x.org", PersonKind::Contact),
        person("lea@x.org", PersonKind::Lead),
    ]
    .into()
}

fn mails() -> Mails {
    let all = people().into_iter().map(|(mail, person)| ((person.kind, person.id), mail));
    all.chain([((PersonKind::User, OWNER.to_owned()), "owner@x.org".to_owned())]).collect()
}

/// A record of nothing.
fn blank(kind: MeetingKind) -> Map<String, Value> {
    let mut record = object(json!({
        "id": "m1", "name": "x", "status": "Planned", "description": null, "assignedUserId": OWNER, "versionNumber": 3,
        "createdAt": "2026-03-20 09:00:00", "modifiedAt": "2026-03-20 09:15:00",
        "dateStart": "2026-03-27 08:00:00", "dateEnd": "2026-03-27 09:00:00",
        "usersIds": [OWNER], "usersNames": {}, "usersColumns": {},
        "contactsIds": [], "contactsNames": {}, "contactsColumns": {}, "leadsIds": [], "leadsNames": {}, "leadsColumns": {},
    }));
    if kind == MeetingKind::Meeting {
        record.extend(object(json!({ "dateStartDate": null, "dateEndDate": null, "isAllDay": false })));
    }
    record.extend(Own::needed(&all()).map(|own| (own.attribute().to_owned(), Value::Null)));
    record
}

/// What EspoCRM makes of a write: dates bring times, a start that is written alone moves the end, the assigned user stays.
fn apply(record: &mut Map<String, Value>, patch: &Patch) {
    for (name, value) in patch.attributes() {
        assert!(record.contains_key(name), "{name} is no attribute, and would be dropped");
        record.insert(name.clone(), value.clone());
    }
    assert!(
        record["name"].as_str().is_some_and(|name| !name.is_empty() && !name.contains(['<', '>', '='])),
        "EspoCRM refuses the name {}",
        record["name"]
    );
    let alone = patch.attributes().contains_key("dateStart") && !patch.attributes().contains_key("dateEnd");
    assert!(!alone, "the end would move");
    if record.get("dateStartDate").is_some_and(Value::is_string) {
        record.insert("dateStart".into(), json!("2000-01-01 23:00:00"));
        record.insert("dateEnd".into(), json!("2000-01-02 23:00:00"));
    }
    let users = record["usersIds"].as_array_mut().unwrap();
    if !users.contains(&json!(OWNER)) {
        users.push(json!(OWNER));
    }
}

fn all() -> Carried {
    Carried::of(Carried::WORDS.map(|(word, _)| word))
}

fn to_record(kind: MeetingKind, attributes: &Map<String, Value>) -> Record {
    Record::new(EntityType::new(type_name(kind)).unwrap(), attributes.clone()).unwrap()
}

fn found(kind: MeetingKind, attributes: &Map<String, Value>) -> CrmFound {
    read(&to_record(kind, attributes), kind, &mails(), &zone("Europe/Berlin"), &all()).unwrap()
}

fn meeting(kind: MeetingKind, attributes: &Map<String, Value>) -> CrmMeeting {
    match found(kind, attributes) {
        CrmFound::Meeting(meeting) => *meeting,
        CrmFound::Unreadable { why, .. } => panic!("{why}: {attributes:?}"),
    }
}

/// What is read, without the user whose meeting it is.
fn event_of(kind: MeetingKind, attributes: &Map<String, Value>) -> Event {
    let mut event = meeting(kind, attributes).side.event;
    event.attendees.remove("owner@x.org");
    event
}

fn any_when() -> impl Strategy<Value = When> {
    let zones = prop::sample::select(vec![
        "Europe/Berlin",
        "America/New_York",
        "Asia/Kolkata",
        "UTC",
        "Europe/Vienna",
    ]);
    let timed = (0i64..40_000_000, 0i64..200_000, zones).prop_map(|(from, length, name)| {
        let start = Timestamp::from_second(1_770_000_000 + from).unwrap().to_zoned(zone(name));
        When::Timed { end: start.checked_add(length.seconds()).unwrap(), start }
    });
    let days = (0i64..400, 1i64..10).prop_map(|(first, length)| {
        let first = jiff::civil::date(2026, 2, 1).checked_add(first.days()).unwrap();
        When::AllDay { first, after: first.checked_add(length.days()).unwrap() }
    });
    prop_oneof![3 => timed, 1 => days]
}

fn any_rule() -> impl Strategy<Value = Option<Vec<&'static str>>> {
    let rules = vec![
        vec!["RRULE:FREQ=WEEKLY"],
        vec!["RRULE:FREQ=DAILY;INTERVAL=3;COUNT=10"],
        vec!["RRULE:FREQ=MONTHLY;BYDAY=-1FR;UNTIL=20271231"],
        vec!["RRULE:FREQ=YEARLY;BYYEARDAY=100", "EXDATE:20270410T090000Z"],
    ];
    prop::option::of(prop::sample::select(rules))
}

fn any_attendees() -> impl Strategy<Value = Attendees> {
    let response = prop::sample::select(vec![
        Response::None,
        Response::Accepted,
        Response::Tentative,
        Response::Declined,
    ]);
    let mails: Vec<String> = people().into_keys().collect();
    prop::collection::btree_map(prop::sample::select(mails), response, 0..5).prop_map(|said| {
        let attendee =
            |(mail, response)| (mail, Attendee { response, reach: Reach::Known, ..Attendee::default() });
        said.into_iter().map(attendee).collect()
    })
}

prop_compose! {
    fn any_event()(
        (when, rule, attendees) in (any_when(), any_rule(), any_attendees()),
        subject in "[a-zäü<>= \"]{0,12}",
        body in "[a-z<=ä\n ]{0,30}",
        location in "[a-z<ü ]{0,12}",
        busy in prop::sample::select(vec![Busy::Free, Busy::Tentative, Busy::Busy, Busy::OutOfOffice, Busy::Elsewhere]),
        private in any::<bool>(),
        reminders in prop::collection::btree_set(0u32..50_000, 0..20),
        link in prop::option::of("https://meet\\.example/[a-z]{0,300}"),
        categories in prop::collection::btree_set("[A-Z][a-zü ]{0,8}", 0..4),
        importance in prop::sample::select(vec![Importance::Low, Importance::Normal, Importance::High]),
        web_link in prop::option::of("https://calendar\\.example/[a-z]{0,300}"),
    ) -> Event {
        let place = match rule.map(|lines| Series::from_lines(&lines, &when)) {
            Some(Ok(series)) => Place::Master(series),
            Some(Err(_)) | None => Place::Single,
        };
        Event { subject, when, body, location, busy, private, reminders, online_link: link, attendees, place, further: Further { categories, importance, web_link } }.normalized()
    }
}

fn differ(a: &Event, b: &Event) -> bool {
    !a.differences(b).is_empty() || !a.is_in_zone_of(b)
}

proptest! {
    #[test]
    fn what_is_created_reads_as_it_was_meant(event in any_event()) {
        let mut record = blank(MeetingKind::Meeting);
        apply(&mut record, &write::create("key", &event, OWNER, &people(), &all()));
        let read = event_of(MeetingKind::Meeting, &record);
        prop_assert!(!differ(&event, &read), "{:?}\n{:#?}\n{:#?}", event.differences(&read), event, read);
        let side = meeting(MeetingKind::Meeting, &record).side;
        prop_assert_eq!((side.key.as_deref(), side.status, side.version), (Some("key"), MeetingStatus::Planned, Some(3)));
    }

    /// Only what differs is written, to a record in whatever state; and writing it again would change nothing.
    #[test]
    fn what_is_changed_reads_as_it_was_meant(before in any_event(), after in any_event()) {
        let mut record = blank(MeetingKind::Meeting);
        apply(&mut record, &write::create("key", &before, OWNER, &people(), &all()));
        let present = event_of(MeetingKind::Meeting, &record);
        let mut fields = present.differences(&after);
        // A rule counts from its start: of a series, both are written.
        if fields.contains(&Field::When) && !fields.contains(&Field::Recurrence) {
            fields.push(Field::Recurrence);
        }
        let mut target = after.clone();
        target.attendees.insert("owner@x.org".into(), Attendee { reach: Reach::Known, ..Attendee::default() });
        let patch = write::content(MeetingKind::Meeting, &target, &fields);
        let people_now = linked(&to_record(MeetingKind::Meeting, &record)).unwrap();
        let patch = write::attendees(patch, &people_now, &mails(), &target.attendees, &people());
        apply(&mut record, &patch);
        let read = event_of(MeetingKind::Meeting, &record);
        prop_assert_eq!(after.differences(&read), Vec::new(), "{:#?}\n{:#?}", after, read);
        let people_now = linked(&to_record(MeetingKind::Meeting, &record)).unwrap();
        prop_assert!(write::attendees(Patch::new(), &people_now, &mails(), &target.attendees, &people()).is_empty());
    }

    #[test]
    fn calls_hold_what_calls_can(event in any_event()) {
        let held = |field: &Field| crate::calendar::sides::can_hold(MeetingKind::Call, *field, &event);
        let fields: Vec<Field> = Field::ALL.into_iter().filter(held).filter(|field| *field != Field::Attendees).collect();
        let mut record = blank(MeetingKind::Call);
        apply(&mut record, &write::content(MeetingKind::Call, &event, &fields));
        let read = event_of(MeetingKind::Call, &record);
        let differing = event.differences(&read);
        prop_assert!(fields.iter().all(|field| !differing.contains(field)), "{differing:?} of {fields:?}");
    }
}

#[test]
fn one_of_a_series_keeps_its_place() {
    let when = When::Timed {
        start: "2026-03-27T09:00[Europe/Berlin]".parse().unwrap(),
        end: "2026-03-27T10:00[Europe/Berlin]".parse().unwrap(),
    };
    let originals = [
        OriginalStart::At("2026-03-26T08:00:00Z".parse().unwrap()),
        OriginalStart::On(jiff::civil::date(2026, 3, 26)),
    ];
    for original in originals {
        let place = Place::Exception { series_id: "s".repeat(300), original };
        let event = Event { place: place.clone(), ..Event::new("A", when.clone()) };
        let mut record = blank(MeetingKind::Meeting);
        apply(&mut record, &write::create("key", &event, OWNER, &people(), &all()));
        assert_eq!(event_of(MeetingKind::Meeting, &record).place, place);
        let patch = write::content(MeetingKind::Meeting, &event, &[Field::Recurrence]);
        assert!(patch.is_empty(), "{patch:?}");
    }
}

#[test]
fn a_meeting_of_people_reads_without_any_of_our_fields() {
    let mut record = blank(MeetingKind::Meeting);
    record["usersIds"] = json!([OWNER, "anna", "nobody"]);
    record["usersColumns"] = json!({ "anna": { "status": "Declined" }, OWNER: { "status": "Accepted" } });
    let CrmMeeting { side, user_mails } = meeting(MeetingKind::Meeting, &record);
    assert_eq!(side.event.zone().unwrap().iana_name(), Some("Europe/Berlin"));
    assert_eq!((side.event.busy, side.event.private, side.key), (Busy::Busy, false, None));
    assert_eq!(side.event.attendees["anna@x.org"].response, Response::Declined);
    assert_eq!(side.event.attendees.len(), 2, "who has no address is no attendee");
    assert_eq!(side.users, ["anna", "nobody", OWNER].map(str::to_owned).into());
    assert_eq!(user_mails.keys().collect::<Vec<_>>(), ["anna", OWNER]);
    assert_eq!(side.modified_at, Some("2026-03-20T09:15:00Z".parse().unwrap()));
}

#[test]
fn what_cannot_be_synchronised_says_why() {
    let crowd: Vec<String> = (0..5_000).map(|n| format!("c{n}")).collect();
    for (changes, why) in [
        (json!({ "dateEnd": "2026-03-27 07:00:00" }), "ends before it starts"),
        (json!({ "dateStartDate": "2026-03-27", "dateEndDate": "2026-03-25" }), "ends before it starts"),
        (json!({ "dateStart": null }), "no start"),
        (json!({ "cTimeZone": "Europe/Nowhere" }), "Europe/Nowhere"),
        (json!({ "cRecurrenceRule": "every Tuesday" }), "recurrence"),
        (json!({ "cRecurrenceRule": "RRULE:FREQ=HOURLY" }), "HOURLY"),
        (json!({ "cOriginalStart": "yesterday" }), "yesterday"),
        (json!({ "cBusyState": "asleep" }), "asleep"),
        (json!({ "cReminderMinutes": "15, soon" }), "soon"),
        (json!({ "status": "Postponed" }), "Postponed"),
        (json!({ "description": "x".repeat(1_000_000) }), "body"),
        (json!({ "contactsIds": crowd }), "attendees"),
    ] {
        let mut record = blank(MeetingKind::Meeting);
        record.extend(object(changes));
        match found(MeetingKind::Meeting, &record) {
            CrmFound::Unreadable { why: told, record } => {
                assert!(told.contains(why), "{told}");
                assert_eq!(record.id, "m1");
                assert!(told.len() < 300, "{told}");
            }
            CrmFound::Meeting(meeting) => panic!("{why}: {meeting:?}"),
        }
    }
}

#[test]
fn a_field_that_is_missing_is_a_fault_and_no_empty_value() {
    for name in ["cLocation", "cEventKey", "leadsIds", "status"] {
        let mut record = blank(MeetingKind::Meeting);
        record.shift_remove(name);
        let read = read(
            &to_record(MeetingKind::Meeting, &record),
            MeetingKind::Meeting,
            &mails(),
            &TimeZone::UTC,
            &all(),
        );
        let fault = read.unwrap_err();
        assert_eq!(fault.code, "attribute_missing");
        assert!(fault.text.contains(name), "{fault}");
    }
}

fn one(kind: PersonKind, id: &str, response: Response) -> Linked {
    Linked { kind, id: id.to_owned(), name: String::new(), response }
}

fn target(people: &[(&str, Response)]) -> Attendees {
    let attendee = |response| Attendee { response, ..Attendee::default() };
    people.iter().map(|(mail, response)| ((*mail).to_owned(), attendee(*response))).collect()
}

#[test]
fn removing_one_keeps_the_others_and_unknown_ones_are_not_written() {
    let present = [
        one(PersonKind::User, OWNER, Response::Accepted),
        one(PersonKind::Contact, "carl", Response::Declined),
        one(PersonKind::Contact, "cora", Response::Tentative),
        one(PersonKind::Contact, "mailless", Response::Accepted),
        one(PersonKind::Lead, "lea", Response::None),
    ];
    let owner = ("owner@x.org", Response::Accepted);
    let without_carl = target(&[
        owner,
        ("cora@x.org", Response::Tentative),
        ("lea@x.org", Response::None),
        ("stranger@x.org", Response::Accepted),
    ]);
    let patch = write::attendees(Patch::new(), &present, &mails(), &without_carl, &people());
    let columns = json!({ "cora": { "status": "Tentative" }, "mailless": { "status": "Accepted" } });
    let expected = json!({ "contactsIds": ["cora", "mailless"], "contactsColumns": columns });
    assert_eq!(Value::Object(patch.attributes().clone()), expected, "users and leads stay as they are");

    let answered = target(&[
        owner,
        ("carl@x.org", Response::Accepted),
        ("cora@x.org", Response::Tentative),
        ("lea@x.org", Response::None),
        ("anna@x.org", Response::None),
    ]);
    let patch = write::attendees(Patch::new(), &present, &mails(), &answered, &people());
    let written: BTreeSet<&String> = patch.attributes().keys().collect();
    assert_eq!(
        written,
        ["contactsColumns", "contactsIds", "usersColumns", "usersIds"].map(str::to_owned).iter().collect()
    );
    assert_eq!(patch.attributes()["usersIds"], json!(["anna", OWNER]));
    assert_eq!(patch.attributes()["contactsColumns"]["carl"]["status"], "Accepted");
}

#[test]
fn who_joins_comes_beside_those_who_are_there() {
    let mut record = blank(MeetingKind::Meeting);
    record["usersColumns"] = json!({ OWNER: { "status": "Tentative" } });
    let join = |record: &Map<String, Value>, user: &str, response: Response| {
        write::joined(&linked(&to_record(MeetingKind::Meeting, record)).unwrap(), user, response)
    };
    assert!(join(&record, OWNER, Response::Tentative).is_empty(), "what is there stays as it is");
    let patch = join(&record, "anna", Response::Accepted);
    apply(&mut record, &patch);
    let side = meeting(MeetingKind::Meeting, &record).side;
    assert_eq!(side.users, ["anna", OWNER].map(str::to_owned).into());
    assert_eq!(side.event.attendees["anna@x.org"].response, Response::Accepted);
    assert_eq!(side.event.attendees["owner@x.org"].response, Response::Tentative);
    let patch = join(&record, OWNER, Response::Declined);
    apply(&mut record, &patch);
    let answers = meeting(MeetingKind::Meeting, &record).side.event.attendees;
    assert_eq!(answers["owner@x.org"].response, Response::Declined);
    assert_eq!(answers["anna@x.org"].response, Response::Accepted);
}
