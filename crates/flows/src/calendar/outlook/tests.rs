//! Reading the vendor's examples, and the property that what is written reads back as it was.

use std::collections::BTreeSet;

use connector_msgraph as wire;
use jiff::civil::{Date, DateTime, date};
use jiff::tz::TimeZone;
use jiff::{ToSpan, Zoned};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::read::{self, Reader};
use super::write::{self, Current};
use crate::calendar::client::{Found, Item, Owner};
use crate::calendar::event::{
    Attendee, Attendees, Busy, Event, Field, OriginalStart, Place, Response, When, list,
};
use crate::calendar::further::{Further, Importance};
use crate::calendar::series::{End, Series};
use crate::calendar::sides::{EventSide, EventStatus, Guests, MeetingKind, MeetingRef, Provider, Stamp};
use crate::calendar::zones;

macro_rules! recorded {
    ($name:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!(
            "../../../../connector-msgraph/fixtures/",
            $name,
            ".json"
        )))
        .unwrap()
    };
}

fn owner() -> Owner {
    Owner { mail: "anna@kanzlei.example".into(), aliases: vec!["a.anwalt@kanzlei.example".into()] }
}

fn read(value: &Value) -> Found {
    read_in(value, None)
}

fn read_in(value: &Value, mailbox: Option<&TimeZone>) -> Found {
    let event: wire::Event = serde_json::from_value(value.clone()).unwrap();
    Reader { owner: &owner(), mailbox }.found(&event)
}

fn side(value: &Value) -> EventSide {
    match read(value) {
        Found::Event(side) => *side,
        Found::Unreadable { why, .. } => panic!("{why}: {value:#}"),
    }
}

fn why_not(value: &Value) -> String {
    match read(value) {
        Found::Unreadable { why, id, .. } => {
            assert_eq!(id, value["id"].as_str().unwrap());
            why
        }
        Found::Event(side) => panic!("{side:#?}"),
    }
}

#[test]
fn a_single_event() {
    let side = side(&recorded!("event-single.response"));
    assert_eq!(side.revision, "W/\"ZlnW4RIAV06KYYwlrfNZvQAALfZeRQ==\"");
    assert_eq!(side.event.subject, "Let's go brunch");
    assert_eq!(side.event.body, "Does late morning work for you?");
    assert_eq!(side.event.location, "Harry's Bar");
    assert_eq!(side.event.reminders, BTreeSet::from([15]));
    let When::Timed { start, end } = &side.event.when else { panic!() };
    assert_eq!(start.to_string(), "2017-04-15T11:00:00-07:00[America/Los_Angeles]");
    assert_eq!((end - start).get_hours(), 1);
    assert_eq!(side.event.attendees["samanthab@contoso.onmicrosoft.com"].name, "Samantha Booth");
    assert!(side.is_organizer && side.gaps_known && !side.attendees_cut);
    assert_eq!((side.stamp, side.status), (Stamp::Unread, EventStatus::Confirmed));
}

#[test]
fn whole_days_are_dates_whatever_zone_they_are_told_in() {
    let mut value = recorded!("event-allday.response");
    for zone in ["UTC", "Eastern Standard Time", "Tonga Standard Time"] {
        value["start"]["timeZone"] = json!(zone);
        value["end"]["timeZone"] = json!(zone);
        let first = date(2019, 10, 19);
        assert_eq!(side(&value).event.when, When::AllDay { first, after: date(2019, 10, 20) });
    }
}

#[test]
fn a_series_and_one_of_it_that_was_changed() {
    let master = side(&recorded!("event-seriesmaster.response"));
    let series = master.event.place.series().unwrap();
    assert_eq!(series.zone.as_deref(), Some("America/Los_Angeles"));
    assert_eq!(series.end, End::On(date(2017, 12, 31)));
    assert!(!master.gaps_known, "changes do not tell what was deleted of it");

    let exception = side(&recorded!("event-exception.full"));
    let Place::Exception { series_id, original } = &exception.event.place else { panic!() };
    assert_eq!(series_id, "AAMkAGUzYRgWAAA=");
    assert_eq!(exception.key.original.as_ref(), Some(original));
    let When::Timed { start, .. } = &exception.event.when else { panic!() };
    assert_ne!(*original, OriginalStart::At(start.timestamp()), "it has moved");
}

#[test]
fn what_was_deleted_of_a_series_is_told_where_it_was_asked_for() {
    let mut value = recorded!("event-seriesmaster.response");
    value["cancelledOccurrences"] = json!(["OID.AAMkAG=.2017-09-11", "OID.AAMkAG=.2017-11-13"]);
    let master = side(&value);
    let gaps: Vec<String> =
        master.event.place.series().unwrap().gaps.iter().map(OriginalStart::text).collect();
    let When::Timed { start, .. } = &master.event.when else { panic!() };
    let at = |day: Date| {
        let wall = day.to_datetime(start.time());
        wall.to_zoned(start.time_zone().clone()).unwrap().timestamp().to_string()
    };
    assert_eq!(gaps, [at(date(2017, 9, 11)), at(date(2017, 11, 13))], "also beyond a change of the clocks");
    assert!(master.gaps_known);
    assert_eq!(master.stamp, Stamp::None, "it was asked for, and is not there");
    value["cancelledOccurrences"] = json!(["something else"]);
    assert!(!side(&value).gaps_known);
}

#[test]
fn a_cancelled_event_and_an_online_one() {
    assert_eq!(side(&recorded!("event-cancelled.attendee")).status, EventStatus::Cancelled);
    let online = side(&recorded!("event-onlinemeeting.response"));
    assert!(online.event.online_link.unwrap().starts_with("https://teams.microsoft.com/"));
}

#[test]
fn occurrences_are_left_out_of_changes() {
    let owner = owner();
    let reader = Reader { owner: &owner, mailbox: None };
    let event = |value: Value| wire::PageItem::Event(Box::new(serde_json::from_value(value).unwrap()));
    assert_eq!(reader.item(&event(recorded!("delta-events-05-occurrence.item"))), None);
    assert!(matches!(reader.item(&event(recorded!("event-exception.full"))), Some(Item::Found(_))));
    let removed = wire::PageItem::Removed { id: "x".into() };
    let expected = Item::Removed { id: "x".into(), is_certain: false, of_series: None };
    assert_eq!(reader.item(&removed), Some(expected));
    // One that was asked for by itself is what it is.
    let mut occurrence = recorded!("delta-events-05-occurrence.item");
    occurrence["originalStartTimeZone"] = json!("W. Europe Standard Time");
    assert!(matches!(side(&occurrence).event.place, Place::Occurrence { .. }));
}

#[test]
fn what_cannot_be_read_says_why_and_fails_nothing_else() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut value = recorded!("event-seriesmaster.response");
        change(&mut value);
        why_not(&value)
    };
    let zone = with(&|value| value["originalStartTimeZone"] = json!("Middle-earth Standard Time"));
    assert!(zone.contains("Middle-earth"), "{zone}");
    let custom = with(&|value| value["originalStartTimeZone"] = json!("tzone://Microsoft/Custom"));
    assert!(custom.contains("without a name"), "{custom}");
    assert!(
        with(&|value| value["end"]["dateTime"] = json!("2001-01-01T00:00:00.0000000"))
            .contains("ends before")
    );
    assert!(with(&|value| value["start"]["dateTime"] = json!("yesterday")).contains("times"));
    assert!(with(&|value| value["end"] = Value::Null).contains("no end"));
    assert!(with(&|value| value["recurrence"]["pattern"]["interval"] = json!(0)).contains("interval"));
    assert!(with(&|value| value["recurrence"] = Value::Null).contains("rule"));
    let rule_zone = with(&|value| value["recurrence"]["range"]["recurrenceTimeZone"] = json!("Nowhere"));
    assert!(rule_zone.contains("Nowhere"), "{rule_zone}");
}

#[test]
fn a_zone_without_a_name_is_that_of_the_mailbox() {
    let mut value = recorded!("event-single.response");
    value["originalStartTimeZone"] = json!("tzone://Microsoft/Custom");
    let event: wire::Event = serde_json::from_value(value.clone()).unwrap();
    assert!(read::needs_mailbox_zone(&event));
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    let Found::Event(side) = read_in(&value, Some(&berlin)) else { panic!() };
    assert_eq!(side.event.zone().unwrap().iana_name(), Some("Europe/Berlin"));
    let plain: wire::Event = serde_json::from_value(recorded!("event-single.response")).unwrap();
    assert!(!read::needs_mailbox_zone(&plain));
}

#[test]
fn the_mailboxes_user_is_no_attendee_and_hidden_ones_are_cut() {
    let mut value = recorded!("event-single.response");
    let person = |mail: &str, response: &str| {
        json!({"type": "required", "status": {"response": response},
                                                      "emailAddress": {"name": mail, "address": mail}})
    };
    value["attendees"] = json!([
        person("Anna@Kanzlei.example", "accepted"),
        person("A.Anwalt@kanzlei.example", "none"),
        person("Erika@Example.ORG", "tentativelyAccepted"),
    ]);
    let attendees = side(&value).event.attendees;
    let erika = Attendee { response: Response::Tentative, ..Attendee::default() };
    assert_eq!(attendees, Attendees::from([("erika@example.org".to_owned(), erika)]));
    value["hideAttendees"] = json!(true);
    assert!(!side(&value).attendees_cut, "its organiser sees them all");
    value["isOrganizer"] = json!(false);
    assert!(side(&value).attendees_cut);
}

#[test]
fn days_of_a_series_are_days_in_whatever_zone_they_began() {
    let mut value = recorded!("event-exception.full");
    value["isAllDay"] = json!(true);
    value["start"]["dateTime"] = json!("2026-03-11T00:00:00.0000000");
    value["end"]["dateTime"] = json!("2026-03-12T00:00:00.0000000");
    for (original, zone) in [
        ("2026-03-09T00:00:00Z", "Pacific Standard Time"),
        ("2026-03-09T07:00:00Z", "Pacific Standard Time"),
        ("2026-03-08T23:00:00Z", "W. Europe Standard Time"),
        ("2026-03-08T11:00:00Z", "Tonga Standard Time"),
        ("2026-03-08T22:00:00Z", "nobody knows"),
    ] {
        value["originalStart"] = json!(original);
        value["originalStartTimeZone"] = json!(zone);
        let place = side(&value).event.place;
        assert_eq!(place.original(), Some(&OriginalStart::On(date(2026, 3, 9))), "{original} {zone}");
    }
}

#[test]
fn a_stamp_names_a_record() {
    let mut value = recorded!("event-single.response");
    for (text, expected) in [
        ("Meeting/65a", Stamp::Of(MeetingRef { kind: MeetingKind::Meeting, id: "65a".into() })),
        ("Call/65a", Stamp::Of(MeetingRef { kind: MeetingKind::Call, id: "65a".into() })),
        ("Task/65a", Stamp::None),
        ("Meeting/", Stamp::None),
    ] {
        value["singleValueExtendedProperties"] = json!([{"id": wire::CRM_ID_PROPERTY, "value": text}]);
        assert_eq!(side(&value).stamp, expected, "{text}");
    }
}

#[test]
fn a_rule_that_stays_is_not_written_and_people_keep_how_they_are_invited() {
    let master = side(&recorded!("event-seriesmaster.response"));
    let series = master.event.place.series().unwrap().clone();
    let current = Current { series: Some((series, master.event.when.clone())), ..Current::default() };
    let mut target = master.event.clone();
    if let Place::Master(series) = &mut target.place {
        series.gaps.insert(OriginalStart::At("2017-09-11T21:00:00Z".parse().unwrap()));
    }
    let patch =
        |target: &Event, fields: &[Field]| write::patch(target, fields, Guests::Read, &current).unwrap();
    assert_eq!(patch(&target, &[Field::Recurrence]), wire::EventPatch::default());
    target.place = Place::Single;
    assert_eq!(patch(&target, &[Field::Recurrence]).recurrence, wire::Wanted::Nothing);

    let optional = wire::Attendee {
        email_address: wire::EmailAddress { name: Some("Erika".into()), address: Some("Erika@x.org".into()) },
        kind: Some(wire::AttendeeType::Optional),
        status: None,
    };
    let mut event = master.event.clone();
    event.attendees = ["erika@x.org", "new@x.org"].map(|mail| (mail.to_owned(), Attendee::default())).into();
    let current = Current { attendees: vec![optional.clone()], ..Current::default() };
    let fields = [Field::Attendees];
    let written = write::patch(&event, &fields, Guests::Written, &current).unwrap().attendees.unwrap();
    assert_eq!(written[0], optional);
    assert_eq!(written[1].email_address.address.as_deref(), Some("new@x.org"));
    assert_eq!(write::patch(&event, &fields, Guests::Read, &current).unwrap(), wire::EventPatch::default());
}

#[test]
fn a_series_is_never_written_in_utc_and_one_that_outlook_lacks_is_refused() {
    let when = hours("2026-03-09T10:00[Europe/Vienna]");
    let series = Series::from_lines(&["RRULE:FREQ=WEEKLY"], &when).unwrap();
    let event = Event { place: Place::Master(series), ..Event::new("x", when.clone()) };
    let patch = write::patch(&event, &Field::ALL, Guests::Listed, &Current::default()).unwrap();
    let start = patch.start.unwrap();
    assert_eq!(
        (start.date_time.as_str(), start.time_zone.as_str()),
        ("2026-03-09T10:00:00", "W. Europe Standard Time")
    );
    let wire::Wanted::This(rule) = patch.recurrence else { panic!() };
    assert_eq!(rule.range.recurrence_time_zone.as_deref(), Some("W. Europe Standard Time"));
    for (lines, zone) in
        [(&["RRULE:FREQ=HOURLY"][..], "Europe/Berlin"), (&["RRULE:FREQ=WEEKLY"][..], "Antarctica/Troll")]
    {
        let when = hours(&format!("2026-03-09T10:00[{zone}]"));
        let Ok(series) = Series::from_lines(lines, &when) else { continue };
        let event = Event { place: Place::Master(series), ..Event::new("x", when) };
        let fault = write::patch(&event, &Field::ALL, Guests::Listed, &Current::default()).unwrap_err();
        assert_eq!(fault.code, "rule_not_in_outlook", "{zone}");
    }
}

#[test]
fn a_body_carries_the_block_of_an_online_meeting_on() {
    let event = Event { body: "New <agenda>".into(), ..Event::new("x", hours("2026-03-09T10:00[UTC]")) };
    let block = "<div>join here</div>".to_owned();
    let current = Current { join_block: Some(block.clone()), ..Current::default() };
    let body = write::patch(&event, &[Field::Body], Guests::Read, &current).unwrap().body.unwrap();
    assert_eq!(body.content_type, wire::BodyType::Html);
    assert!(body.content.contains("New &lt;agenda&gt;") && body.content.contains(&block));
}

fn hours(start: &str) -> When {
    let start: Zoned = start.parse().unwrap();
    let end = start.checked_add(1.hour()).unwrap();
    When::Timed { start, end }
}

/// What Graph would answer to what was written, as far as it matters here: in UTC, bodies as text with its own line ends,
/// names where there are none.
fn answered(patch: &wire::EventPatch) -> Value {
    let mut event = json!(patch);
    let is_all_day = event["isAllDay"] == json!(true);
    for (name, made_in) in [("start", "originalStartTimeZone"), ("end", "originalEndTimeZone")] {
        let told = event[name]["timeZone"].as_str().unwrap().to_owned();
        let wall: DateTime = event[name]["dateTime"].as_str().unwrap().parse().unwrap();
        let zone = if is_all_day { TimeZone::UTC } else { zones::read(&told, None).unwrap() };
        let utc = wall.to_zoned(zone).unwrap().with_time_zone(TimeZone::UTC).datetime();
        let text = utc.strftime("%Y-%m-%dT%H:%M:%S.0000000").to_string();
        event[name] = json!({"dateTime": text, "timeZone": "UTC"});
        event[made_in] = json!(told);
    }
    let content = event["body"]["content"].as_str().unwrap().replace('\n', "\r\n") + "\r\n";
    event["body"]["content"] = json!(content);
    event["type"] = json!(if event["recurrence"].is_object() { "seriesMaster" } else { "singleInstance" });
    for attendee in event["attendees"].as_array_mut().into_iter().flatten() {
        let address = attendee["emailAddress"]["address"].clone();
        if attendee["emailAddress"]["name"].is_null() {
            attendee["emailAddress"]["name"] = address;
        }
        attendee["status"] = json!({"response": "none", "time": "0001-01-01T00:00:00Z"});
    }
    for (name, value) in [
        ("id", json!("AAMk")),
        ("@odata.etag", json!("W/\"1\"")),
        ("iCalUId", json!("04")),
        ("isOrganizer", json!(true)),
        ("isCancelled", json!(false)),
    ] {
        event[name] = value;
    }
    event
}

const ZONES: [&str; 7] = [
    "Europe/Berlin",
    "America/New_York",
    "Europe/Vienna",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "UTC",
];

fn when() -> impl Strategy<Value = When> {
    let timed = (0..ZONES.len(), 1_700_000_000_i64..1_900_000_000, 0_i64..100_000).prop_map(
        |(zone, start, length)| {
            let zone = TimeZone::get(ZONES[zone]).unwrap();
            let at = |second: i64| jiff::Timestamp::from_second(second).unwrap().to_zoned(zone.clone());
            When::Timed { start: at(start), end: at(start + length) }
        },
    );
    // The hour that clocks show twice in autumn.
    let twice = (0_i64..7_200).prop_map(|second| {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let at = |second: i64| jiff::Timestamp::from_second(second).unwrap().to_zoned(zone.clone());
        When::Timed { start: at(1_792_886_400 + second), end: at(1_792_886_400 + second + 1_800) }
    });
    let days = (0_i64..3_000, 1_i64..20).prop_map(|(first, length)| {
        let first = date(2024, 1, 1).checked_add(first.days()).unwrap();
        When::AllDay { first, after: first.checked_add(length.days()).unwrap() }
    });
    prop_oneof![3 => timed, 1 => twice, 2 => days]
}

const RULES: [&str; 12] = [
    "FREQ=DAILY",
    "FREQ=DAILY;INTERVAL=3;COUNT=7",
    "FREQ=WEEKLY;BYDAY=MO,WE,SU",
    "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU",
    "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=MO;COUNT=10",
    "FREQ=MONTHLY;BYMONTHDAY=17",
    "FREQ=MONTHLY;BYMONTHDAY=-1",
    "FREQ=MONTHLY;BYDAY=2TU",
    "FREQ=MONTHLY;BYDAY=-1FR;INTERVAL=2",
    "FREQ=YEARLY;BYMONTH=6;BYMONTHDAY=30",
    "FREQ=YEARLY;BYMONTH=11;BYDAY=4TH",
    "FREQ=DAILY;UNTIL=20300101T090000Z",
];

fn series() -> impl Strategy<Value = (When, Place)> {
    (0..RULES.len(), 0..5_usize, any::<bool>(), 0_i64..2_000).prop_map(|(rule, zone, all_day, day)| {
        let first = date(2024, 1, 1).checked_add(day.days()).unwrap();
        let when = if all_day {
            When::AllDay { first, after: first.tomorrow().unwrap() }
        } else {
            hours(&format!("{first}T09:30[{}]", ZONES[zone]))
        };
        let line = format!("RRULE:{}", RULES[rule]);
        let line = if all_day { line.replace("T090000Z", "") } else { line };
        let series = Series::from_lines(&[line.as_str()], &when).unwrap();
        (when, Place::Master(series))
    })
}

fn body() -> impl Strategy<Value = String> {
    "[a-zäü <>&\n_-]{0,40}"
}

fn guests() -> impl Strategy<Value = Attendees> {
    let named = proptest::collection::btree_map("[a-z]{1,5}@x\\.org", "[A-Z][a-z]{0,4}|", 0..4);
    named.prop_map(|named| {
        let guest = |(mail, name)| (mail, Attendee { name, ..Attendee::default() });
        named.into_iter().map(guest).collect()
    })
}

const BUSY: [Busy; 5] = [Busy::Free, Busy::Tentative, Busy::Busy, Busy::OutOfOffice, Busy::Elsewhere];

prop_compose! {
    fn event()(
        (when, place) in prop_oneof![2 => when().prop_map(|when| (when, Place::Single)), 1 => series()],
        subject in "[a-zäü <>&]{0,20}",
        body in body(),
        location in "[a-z ,]{0,10}",
        busy in proptest::sample::select(&BUSY[..]),
        private: bool,
        reminders in proptest::collection::btree_set(0_u32..50_000, 0..4),
        attendees in guests(),
        categories in proptest::collection::btree_set("[A-Z][a-zü ]{0,8}", 0..4),
        importance in proptest::sample::select(&[Importance::Low, Importance::Normal, Importance::High][..]),
    ) -> Event {
        let online_link = None;
        let further = Further { categories, importance, web_link: None };
        Event { subject, when, body, location, busy, private, reminders, online_link, attendees, place, further }
            .normalized()
    }
}

fn odd() -> impl Strategy<Value = Value> {
    let time = |text: &str, zone: &str| json!({ "dateTime": text, "timeZone": zone });
    proptest::sample::select(vec![
        json!(null),
        json!(""),
        json!("x"),
        json!({}),
        json!([]),
        json!(i32::MIN),
        json!("0001-01-01T00:00:00Z"),
        time("9999-12-31T23:59:59.9999999", "Pacific Standard Time"),
        time("-001-01-01T00:00:00", "UTC"),
    ])
}

const MEMBERS: [&str; 12] = [
    "start",
    "end",
    "originalStart",
    "originalStartTimeZone",
    "recurrence",
    "attendees",
    "body",
    "location",
    "reminderMinutesBeforeStart",
    "type",
    "isAllDay",
    "seriesMasterId",
];

proptest! {
    /// What is written reads back as it was, as far as Outlook can hold it.
    #[test]
    fn what_is_written_reads_back(event in event(), listed: bool) {
        let guests = if listed { Guests::Listed } else { Guests::Written };
        let held = Provider::Microsoft.holds(&event);
        let patch = write::patch(&event, &Field::ALL, guests, &Current::default()).unwrap();
        let got = side(&answered(&patch));
        let mut expected = held.clone();
        if listed {
            prop_assert_eq!(&got.listed, &list(&held.attendees));
            prop_assert!(got.event.attendees.is_empty());
            expected.attendees = Attendees::new();
        }
        prop_assert_eq!(expected.differences(&got.event), Vec::<Field>::new(), "{:#?}", got.event);
        if expected.place.series().is_some() {
            prop_assert!(expected.is_in_zone_of(&got.event));
        }
    }

    /// Nothing that a calendar can say stops the reading of others.
    #[test]
    fn no_event_is_too_odd(name in proptest::sample::select(&MEMBERS[..]), value in odd()) {
        for mut event in [recorded!("event-exception.full"), recorded!("event-seriesmaster.response")] {
            event[name] = value.clone();
            if let Ok(event) = serde_json::from_value::<wire::Event>(event) {
                let _ = Reader { owner: &owner(), mailbox: None }.found(&event);
            }
        }
    }
}

#[test]
fn who_is_known_by_another_address_stays_invited_by_the_calendars() {
    let mut event = side(&recorded!("event-single.response")).event;
    let anna = Attendee { address: Some("anna@home.example".into()), ..Attendee::default() };
    event.attendees = [("anna@work.example".to_owned(), anna)].into();
    let patch = write::patch(&event, &[Field::Attendees], Guests::Written, &Current::default()).unwrap();
    let addresses: Vec<_> =
        patch.attendees.unwrap().into_iter().map(|one| one.email_address.address.unwrap()).collect();
    assert_eq!(addresses, ["anna@home.example"]);
}
