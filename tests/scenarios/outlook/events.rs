//! Reading and writing events.

use std::collections::BTreeSet;

use flows::calendar::action::CreateToken;
use flows::calendar::client::{EventUpdate, Written};
use flows::calendar::cursor::Request;
use flows::calendar::event::{Attendee, Busy, Event, Field, OriginalStart, Place, When, list};
use flows::calendar::further::Importance;
use flows::calendar::series::Series;
use flows::calendar::sides::{EventSide, Guests, MeetingKind, MeetingRef, Stamp};
use http_client::may_have_taken_effect;
use jiff::civil::date;
use serde_json::{Value, json};
use simulators::{FaultKind, FaultRule};

use super::world::{World, event, found, hour, meeting, simple, weekly, window};

fn record(id: &str) -> MeetingRef {
    MeetingRef { kind: MeetingKind::Meeting, id: id.to_owned() }
}

fn token(id: &str) -> CreateToken {
    CreateToken { calendar_id: "microsoft/user/anna".to_owned(), record: record(id), after: None }
}

fn update<'a>(
    side: &'a EventSide,
    target: &'a Event,
    fields: &'a [Field],
    guests: Guests,
) -> EventUpdate<'a> {
    EventUpdate { id: &side.id, expected: &side.revision, target, fields, guests }
}

fn done<T: std::fmt::Debug>(written: Written<T>) -> T {
    match written {
        Written::Done(done) => done,
        other => panic!("{other:?}"),
    }
}

fn guest(name: &str) -> Attendee {
    Attendee { name: name.to_owned(), ..Attendee::default() }
}

#[tokio::test]
async fn what_is_created_reads_back_and_mails_nobody() {
    let world = World::new().await;
    let day = |n| date(2026, 3, n);
    let mut full = simple("Besprechung <Müller & Co>");
    full.body = "a < b\n\n  c & d".to_owned();
    full.location = "Zimmer 1; Haus 2".to_owned();
    full.busy = Busy::OutOfOffice;
    full.private = true;
    full.reminders = BTreeSet::from([60]);
    full.further.categories = BTreeSet::from(["Frist, wichtig".to_owned(), "Mandat".to_owned()]);
    full.further.importance = Importance::High;
    full.attendees.insert("erika@example.org".to_owned(), guest("Erika Muster"));
    full.attendees.insert("max@example.org".to_owned(), guest(""));
    let all_day = Event::new("Urlaub", When::AllDay { first: day(24), after: day(27) });
    for (id, wanted) in [("1", full.clone()), ("2", all_day)] {
        let created = world.calendar.create(&token(id), &wanted, Guests::Listed).await.unwrap();
        let read = world.get(&created.id).await;
        assert_eq!(read.event, created.event);
        let mut expected = wanted.clone();
        expected.attendees.clear();
        let web_link = read.event.further.web_link.clone();
        assert!(web_link.as_ref().is_some_and(|link| link.starts_with("https://outlook.office365.com/")));
        expected.further.web_link = web_link;
        assert_eq!(expected.differences(&read.event), [], "{read:#?}");
        assert_eq!(read.listed, list(&wanted.attendees));
        assert_eq!((&read.stamp, &created.stamp), (&Stamp::Of(record(id)), &Stamp::Of(record(id))));
        assert!(read.is_organizer && read.changed_at.is_some());
    }
    // A person writes above the list, and it stays apart.
    let found = world.calendar.find(&record("1")).await.unwrap();
    let side = event(found.into_iter().next().unwrap());
    let html =
        "<p>agenda</p><p>-- Attendees (kept by the CRM):</p><p>- Erika Muster &lt;erika@example.org&gt;</p>";
    world.edit(&side.id, json!({ "body": { "contentType": "html", "content": html } }));
    let read = world.get(&side.id).await;
    assert_eq!((read.event.body.as_str(), read.listed.len()), ("agenda", 1));
    let mut target = read.event.clone();
    target.attendees = full.attendees;
    let written =
        world.calendar.update(&update(&read, &target, &[Field::Attendees], Guests::Listed)).await.unwrap();
    let written = done(written);
    assert_eq!((written.event.body.as_str(), written.listed.len()), ("agenda", 2));
    assert_eq!(world.microsoft.mails_by_clients(), Vec::<Value>::new());
    world.check();
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_is_repeated_and_makes_one_event() {
    for fault in [FaultKind::CloseAfter, FaultKind::CutBody] {
        let world = World::new().await;
        world.microsoft.fault(FaultRule::new(fault).on("POST", "/v1.0/me/events").times(1));
        let wanted = simple("once");
        let lost = world.calendar.create(&token("1"), &wanted, Guests::Listed).await.unwrap_err();
        assert!(may_have_taken_effect(&lost) && lost.kind.may_pass(), "{lost:?}");
        let created = world.calendar.create(&token("1"), &wanted, Guests::Listed).await.unwrap();
        assert_eq!(world.events(), 1);
        // A person has edited it, and the CRM wants it otherwise: it is found all the same.
        world.edit(&created.id, json!({ "subject": "edited" }));
        let again = world.calendar.create(&token("1"), &simple("other"), Guests::Listed).await.unwrap();
        assert_eq!((again.id.as_str(), again.event.subject.as_str()), (created.id.as_str(), "edited"));
        assert_eq!(world.events(), 1);
        // It was deleted, and is wanted once more, while the service remembers it.
        world.microsoft.delete_as_person(&created.id).unwrap();
        let anew = world.calendar.create(&token("1"), &wanted, Guests::Listed).await.unwrap();
        assert_ne!(anew.id, created.id);
        let same = world.calendar.create(&token("1"), &wanted, Guests::Listed).await.unwrap();
        assert_eq!((same.id, world.events()), (anew.id, 1));
        world.check();
    }
}

#[tokio::test]
async fn what_was_edited_meanwhile_is_not_written_over() {
    let world = World::new().await;
    let side = world.calendar.create(&token("1"), &simple("a"), Guests::Listed).await.unwrap();
    world.edit(&side.id, json!({ "subject": "by a person" }));
    let target = simple("b");
    for fields in [&[Field::Subject][..], &[Field::Subject, Field::Body]] {
        let written = world.calendar.update(&update(&side, &target, fields, Guests::Listed)).await.unwrap();
        assert_eq!(written, Written::Changed);
    }
    assert_eq!(world.calendar.delete(&side.id, &side.revision).await.unwrap(), Written::Changed);
    let fresh = world.get(&side.id).await;
    assert_eq!(fresh.event.subject, "by a person");
    let fields = [Field::Subject, Field::Busy, Field::When];
    let written =
        done(world.calendar.update(&update(&fresh, &target, &fields, Guests::Listed)).await.unwrap());
    assert_eq!(written.event.subject, "b");
    assert_ne!(written.revision, fresh.revision);
    assert_eq!(world.calendar.delete(&side.id, &written.revision).await.unwrap(), Written::Done(()));
    assert_eq!(world.calendar.delete(&side.id, &written.revision).await.unwrap(), Written::Gone);
    assert!(world.calendar.get(&side.id).await.unwrap().is_none());
    for fields in [&[Field::Subject][..], &[Field::Body]] {
        let gone = world.calendar.update(&update(&written, &target, fields, Guests::Listed)).await.unwrap();
        assert_eq!(gone, Written::Gone);
    }
    assert_eq!(world.calendar.stamp(&side.id, &record("1")).await.unwrap(), Written::Gone);
    world.check();
}

#[tokio::test]
async fn a_stamp_brings_an_event_back() {
    let world = World::new().await;
    let id = world.seed(meeting("by a person", "2026-03-05", 9));
    assert_eq!(world.get(&id).await.stamp, Stamp::None);
    let stamped = done(world.calendar.stamp(&id, &record("65AbC")).await.unwrap());
    assert_eq!(stamped.stamp, Stamp::Of(record("65AbC")));
    assert_eq!(world.get(&id).await.stamp, Stamp::Of(record("65AbC")));
    let found = world.calendar.find(&record("65AbC")).await.unwrap();
    assert_eq!(found.iter().map(|found| found.id()).collect::<Vec<_>>(), [id.as_str()]);
    assert_eq!(world.calendar.find(&record("65abc")).await.unwrap(), [], "the service compares without case");
    let call = MeetingRef { kind: MeetingKind::Call, id: "65AbC".to_owned() };
    assert_eq!(world.calendar.find(&call).await.unwrap(), []);
    world.check();
}

#[tokio::test]
async fn a_series_has_its_rule_its_gaps_and_its_zone() {
    let world = World::new().await;
    let when = hour("2026-03-09T10:00");
    let at = |text: &str| OriginalStart::At(text.parse().unwrap());
    let mut series = Series::from_lines(&["RRULE:FREQ=WEEKLY;COUNT=6"], &when).unwrap();
    // One on either side of the change of the clocks.
    series.gaps = BTreeSet::from([at("2026-03-16T09:00:00Z"), at("2026-03-30T08:00:00Z")]);
    let mut wanted = Event { place: Place::Master(series.clone()), ..Event::new("Jour fixe", when) };
    let created = world.calendar.create(&token("1"), &wanted, Guests::Listed).await.unwrap();
    wanted.further.web_link.clone_from(&created.event.further.web_link);
    assert_eq!(wanted.differences(&created.event), [], "{created:#?}");
    assert!(created.gaps_known);
    let again = world.calendar.create(&token("1"), &wanted, Guests::Listed).await.unwrap();
    assert_eq!((again.id.as_str(), world.events()), (created.id.as_str(), 1));

    let instances = world.calendar.instances(&created.id, &window()).await.unwrap().unwrap();
    assert_eq!(instances.cancelled, series.gaps.iter().cloned().collect::<Vec<_>>());
    let starts: Vec<String> = instances
        .found
        .into_iter()
        .map(|found| {
            let side = event(found);
            assert!(
                matches!(&side.event.place, Place::Occurrence { series_id, .. } if *series_id == created.id)
            );
            side.event.place.original().unwrap().text()
        })
        .collect();
    assert_eq!(starts, ["2026-03-09T09:00:00Z", "2026-03-23T09:00:00Z"]);

    // One more gap: the rule is not written again, so that what was changed by itself stays.
    let instances = world.calendar.instances(&created.id, &window()).await.unwrap().unwrap();
    world.edit(instances.found[1].id(), json!({ "subject": "changed by itself" }));
    let fresh = world.get(&created.id).await;
    series.gaps.insert(at("2026-04-06T08:00:00Z"));
    wanted.place = Place::Master(series);
    let fields = [Field::Recurrence];
    let written =
        done(world.calendar.update(&update(&fresh, &wanted, &fields, Guests::Listed)).await.unwrap());
    assert_eq!(wanted.differences(&written.event), []);
    let (items, ..) = world.round(Request::Full(window()), 100).await;
    assert!(items.iter().any(|item| found(item).event.subject == "changed by itself"));

    // Another rule, at another time.
    let when = hour("2026-03-10T15:00");
    let series = Series::from_lines(&["RRULE:FREQ=MONTHLY;BYDAY=2TU;UNTIL=20261231T140000Z"], &when).unwrap();
    let moved = Event { place: Place::Master(series), when, ..wanted.clone() };
    let fields = [Field::When, Field::Recurrence];
    let written =
        done(world.calendar.update(&update(&written, &moved, &fields, Guests::Listed)).await.unwrap());
    assert_eq!(moved.differences(&written.event), [], "{written:#?}");

    // And none any more.
    let single = Event { place: Place::Single, ..moved };
    let fields = [Field::Recurrence];
    let written =
        done(world.calendar.update(&update(&written, &single, &fields, Guests::Listed)).await.unwrap());
    assert_eq!(written.event.place, Place::Single);
    assert!(world.calendar.instances(&created.id, &window()).await.unwrap().is_none());
    assert_eq!(world.microsoft.mails_by_clients(), Vec::<Value>::new());
    world.check();
}

#[tokio::test]
async fn one_of_a_series_is_written_and_deleted_by_itself() {
    let world = World::new().await;
    let series = world.seed(weekly("series", "2026-03-03", 14, "tuesday"));
    let instances = world.calendar.instances(&series, &window()).await.unwrap().unwrap();
    let side = event(instances.found.into_iter().nth(1).unwrap());
    let target =
        Event { subject: "by itself".to_owned(), when: hour("2026-03-11T16:00"), ..side.event.clone() };
    let fields = [Field::Subject, Field::When];
    let written = done(world.calendar.update(&update(&side, &target, &fields, Guests::Read)).await.unwrap());
    let original = side.event.place.original().unwrap().clone();
    assert_eq!(
        written.event.place,
        Place::Exception { series_id: series.clone(), original: original.clone() }
    );
    assert_eq!(target.differences(&written.event), []);
    assert_eq!(world.calendar.delete(&written.id, &written.revision).await.unwrap(), Written::Done(()));
    let instances = world.calendar.instances(&series, &window()).await.unwrap().unwrap();
    assert_eq!((instances.found.len(), instances.cancelled), (4, vec![original]));
    world.microsoft.delete_as_person(&series).unwrap();
    assert!(world.calendar.instances(&series, &window()).await.unwrap().is_none());
    world.check();
}

#[tokio::test]
async fn a_body_keeps_the_online_meeting_and_a_text_is_read_without_it() {
    let world = World::new().await;
    let mut online = meeting("x", "2026-03-05", 9);
    online["isOnlineMeeting"] = json!(true);
    online["body"] = json!({ "contentType": "html", "content": "<p>Agenda</p>" });
    let id = world.seed(online);
    let mut side = world.get(&id).await;
    let link = side.event.online_link.clone().unwrap();
    assert_eq!(side.event.body, "Agenda");
    for text in ["New <agenda>\nsecond", "And again"] {
        let target = Event { body: text.to_owned(), online_link: None, ..side.event.clone() };
        let fields = [Field::Body];
        side = done(world.calendar.update(&update(&side, &target, &fields, Guests::Read)).await.unwrap());
        assert_eq!((side.event.body.as_str(), side.event.online_link.as_ref()), (text, Some(&link)));
    }
    world.check();
}

#[tokio::test]
async fn attendees_are_written_only_where_told_and_answers_are_read() {
    let world = World::new().await;
    let mut wanted = simple("with guests");
    wanted.attendees.insert("bernd@kanzlei.example".to_owned(), guest("Bernd"));
    let side = world.calendar.create(&token("1"), &wanted, Guests::Written).await.unwrap();
    assert_eq!(side.event.attendees.len(), 1);
    assert_eq!(world.microsoft.mails_by_clients().len(), 1);
    // What is the user's own affair mails nobody.
    let fields = [Field::Busy, Field::Private, Field::Reminders];
    let target = Event { busy: Busy::Free, private: true, ..side.event.clone() };
    let side = done(world.calendar.update(&update(&side, &target, &fields, Guests::Read)).await.unwrap());
    done(world.calendar.stamp(&side.id, &record("1")).await.unwrap());
    assert_eq!(world.microsoft.mails_by_clients().len(), 1);
    assert_eq!((side.event.busy, side.event.private, side.event.reminders.len()), (Busy::Free, true, 0));
    world.check();
}
