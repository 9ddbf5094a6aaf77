use jiff::Span;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::calendar::sides::Stamp;

/// One of the vendor's examples.
fn example(name: &str) -> Value {
    let path = format!("{}/../connector-google/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn facts() -> Facts {
    Facts {
        mail: "user@example.com".to_owned(),
        calendar: "user@example.com".to_owned(),
        zone: TimeZone::get("Europe/Berlin").unwrap(),
        reminders: vec![google::Reminder { method: "popup".to_owned(), minutes: 10 }],
    }
}

fn event(value: Value) -> google::Event {
    serde_json::from_value(value).unwrap()
}

fn with(mut value: Value, more: Value) -> Value {
    value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    value
}

fn read(value: Value) -> EventSide {
    side(&event(value), &facts(), Seen::Itself).unwrap()
}

fn why_not(more: Value) -> String {
    side(&event(with(example("event-single.json"), more)), &facts(), Seen::Itself).unwrap_err()
}

#[test]
fn the_vendor_s_event_is_read_whole() {
    let side = read(example("event-single.json"));
    assert_eq!(
        (side.id.as_str(), side.revision.as_str()),
        ("p8f3k2m5q7r9s1t3v5a7c9e1g3", "\"3415467890000000\"")
    );
    assert_eq!(side.key.text(), "p8f3k2m5q7r9s1t3v5a7c9e1g3@google.com");
    assert!(side.is_organizer && side.gaps_known && !side.attendees_cut && side.listed.is_empty());
    assert_eq!((side.status, side.stamp), (EventStatus::Confirmed, Stamp::None));
    assert_eq!(side.changed_at.unwrap().to_string(), "2026-03-01T08:05:45Z");
    let said = &side.event;
    assert_eq!(
        (said.subject.as_str(), said.body.as_str(), said.location.as_str()),
        ("Review contract", "Agenda", "Room 4")
    );
    assert_eq!(
        said.show(crate::calendar::event::Field::When),
        "2026-03-09T10:00:00+01:00[Europe/Berlin] to 2026-03-09T11:00:00+01:00[Europe/Berlin]"
    );
    assert_eq!((said.busy, said.private, &said.reminders), (Busy::Busy, true, &BTreeSet::from([15])));
    assert_eq!(said.attendees.keys().collect::<Vec<_>>(), ["guest@example.org"]);
}

#[test]
fn whole_days_are_dates_and_the_last_one_is_not_among_them() {
    let said = read(example("event-allday.json")).event;
    let day = jiff::civil::date(2026, 4, 3);
    assert_eq!(said.when, When::AllDay { first: day, after: day.checked_add(Span::new().days(1)).unwrap() });
    assert_eq!(said.busy, Busy::Free);
}

#[test]
fn a_series_its_exceptions_and_its_gaps_are_told_apart() {
    let master = read(example("event-recurring-master.json"));
    let series = master.event.place.series().unwrap();
    assert_eq!(series.to_lines(), ["RRULE:FREQ=WEEKLY;BYDAY=MO;COUNT=10", "EXDATE:20260323T090000Z"]);
    assert!(!master.gaps_known, "cancelled instances come by themselves");
    let exception = read(example("event-recurring-exception.json"));
    let original = OriginalStart::At("2026-03-16T09:00:00Z".parse().unwrap());
    let series_id = "master0123456789".to_owned();
    assert_eq!(exception.event.place, Place::Exception { series_id, original: original.clone() });
    assert_eq!(exception.key.text(), "master0123456789@google.com|2026-03-16T09:00:00Z");
    assert_eq!(exception.stamp, Stamp::None, "it has its series' properties");

    let removed = |name: &str| item(&google::Item::Event(Box::new(event(example(name)))), &facts());
    let gap = OriginalStart::At("2026-03-30T08:00:00Z".parse().unwrap());
    assert_eq!(
        removed("event-cancelled-instance.json"),
        Item::Removed {
            id: "master0123456789_20260330T080000Z".to_owned(),
            is_certain: true,
            of_series: Some(("master0123456789".to_owned(), gap)),
        }
    );
    let id = "p8f3k2m5q7r9s1t3v5a7c9e1g3".to_owned();
    assert_eq!(removed("event-cancelled.json"), Item::Removed { id, is_certain: true, of_series: None });
}

#[test]
fn an_instance_that_did_not_move_is_as_its_rule_makes_it() {
    let of_series = json!({
        "recurringEventId": "m1",
        "originalStartTime": {"dateTime": "2026-03-09T09:00:00Z", "timeZone": "Europe/Berlin"},
    });
    let instance = event(with(example("event-single.json"), of_series));
    let place = |from| side(&instance, &facts(), from).unwrap().event.place;
    assert!(matches!(place(Seen::Instances), Place::Occurrence { .. }));
    assert!(matches!(place(Seen::Itself), Place::Exception { .. }), "a list has no others");
}

#[test]
fn the_account_s_user_rooms_and_the_nameless_are_not_among_the_attendees() {
    let attendees = json!({"attendees": [
        {"email": "USER@example.com", "responseStatus": "accepted"},
        {"email": "alias@example.com", "self": true},
        {"email": "room@resource.calendar.google.com", "resource": true, "responseStatus": "accepted"},
        {"displayName": "hidden"},
        {"email": "Erika@Example.org", "displayName": "Erika", "responseStatus": "tentative", "organizer": true},
        {"email": "no@example.org", "responseStatus": "declined", "comment": "ill"},
    ], "organizer": {"email": "erika@example.org"}, "attendeesOmitted": true});
    let side = read(with(example("event-single.json"), attendees));
    let said: Vec<(&str, &str, Response)> = side
        .event
        .attendees
        .iter()
        .map(|(mail, one)| (mail.as_str(), one.name.as_str(), one.response))
        .collect();
    assert_eq!(
        said,
        [("erika@example.org", "Erika", Response::Tentative), ("no@example.org", "", Response::Declined)]
    );
    assert!(side.attendees_cut && !side.is_organizer);
}

#[test]
fn reminders_by_mail_are_not_told_and_the_calendar_s_hold_where_they_are_said_to() {
    let reminders = |reminders: Value| {
        read(with(example("event-single.json"), json!({"reminders": reminders}))).event.reminders
    };
    assert_eq!(reminders(json!({"useDefault": true})), BTreeSet::from([10]));
    let own = json!({"useDefault": false, "overrides": [{"method": "email", "minutes": 60}, {"method": "popup", "minutes": 5}]});
    assert_eq!(reminders(own), BTreeSet::from([5]));
    assert_eq!(reminders(json!({"useDefault": false})), BTreeSet::new());
}

#[test]
fn where_to_join_is_read() {
    let link = |more: Value| read(with(example("event-single.json"), more)).event.online_link;
    assert_eq!(link(json!({})), None);
    assert_eq!(
        link(json!({"hangoutLink": "https://meet.example/a"})).as_deref(),
        Some("https://meet.example/a")
    );
    let ways = json!({"hangoutLink": "https://meet.example/a", "conferenceData": {"entryPoints": [
        {"entryPointType": "phone", "uri": "tel:+49-1"}, {"entryPointType": "video", "uri": "https://zoom.example/b"}]}});
    assert_eq!(link(ways).as_deref(), Some("https://zoom.example/b"));
}

#[test]
fn what_cannot_be_synchronised_says_why() {
    let at = |text: &str, zone: &str| json!({"dateTime": text, "timeZone": zone});
    for (more, why) in [
        (json!({"start": at("2026-03-09T10:00:00+01:00", "Middle-earth/Shire")}), "no time zone"),
        (json!({"start": at("2026-03-09T10:00:00+01:00", "Middle-earth/Shire")}), "Middle-earth/Shire"),
        (json!({"end": at("2026-03-09T09:00:00+01:00", "Europe/Berlin")}), "ends before"),
        (json!({"end": {"date": "2026-03-10"}}), "the other way round"),
        (json!({"start": {}}), "no start"),
        (json!({"start": {"dateTime": "soon"}}), "cannot be read"),
        (json!({"start": {"date": "2026-02-30"}}), "cannot be read"),
        (json!({"recurrence": ["RRULE:FREQ=SOMETIMES"]}), "FREQ=SOMETIMES"),
        (json!({"recurrence": ["EXRULE:FREQ=DAILY"]}), "EXRULE"),
        (json!({"recurringEventId": "m1"}), "does not say which"),
        (json!({"eventType": "focusTime"}), "focusTime"),
        (json!({"eventType": "birthday"}), "no meeting"),
    ] {
        let found = why_not(more.clone());
        assert!(
            found.contains(why) || (why == "no time zone" && found.contains("name of no")),
            "{more}: {found}"
        );
    }
    let malformed = google::Item::Malformed { id: "e1".into(), etag: "\"1\"".into(), what: "odd".into() };
    let Found::Unreadable { id, revision, why } = found(&malformed, &facts(), Seen::Itself) else { panic!() };
    assert_eq!((id.as_str(), revision.as_str()), ("e1", "\"1\""));
    assert!(why.contains("odd"));
}

#[test]
fn a_time_without_zone_is_shown_in_the_calendar_s() {
    let bare = |text: &str| json!({"start": {"dateTime": text}});
    for text in ["2026-03-09T09:00:00Z", "2026-03-09T10:00:00"] {
        let said = read(with(example("event-single.json"), bare(text))).event;
        let When::Timed { start, .. } = &said.when else { panic!() };
        assert_eq!(start.to_string(), "2026-03-09T10:00:00+01:00[Europe/Berlin]");
    }
}

proptest! {
    /// Whatever Google answers, an event is read or left alone with a reason.
    #[test]
    fn nothing_that_comes_makes_it_panic(
        start in "[0-9TZ:+-]{0,25}", zone in "[A-Za-z/]{0,20}", lines in proptest::collection::vec("[A-Z=;:,0-9]{0,40}", 0..3),
        kind in "[a-zA-Z]{0,12}", body in "\\PC{0,80}",
    ) {
        let odd = json!({
            "id": "e1", "start": {"dateTime": start, "timeZone": zone}, "end": {"date": start}, "recurrence": lines,
            "eventType": kind, "description": body, "recurringEventId": zone, "originalStartTime": {"date": start},
        });
        let item = google::Item::Event(Box::new(event(odd)));
        let Found::Unreadable { why, .. } = found(&item, &facts(), Seen::Instances) else {
            return Err(TestCaseError::fail("it has no times"));
        };
        prop_assert!(!why.is_empty());
        let _ = super::item(&item, &facts());
    }
}
