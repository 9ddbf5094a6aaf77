//! Events that are created, changed, stamped and deleted.

use std::collections::BTreeSet;

use flows::calendar::client::EventUpdate;
use flows::calendar::event::{Attendee, Field, Place, Response};
use flows::calendar::series::Series;
use flows::calendar::sides::{EventStatus, Provider, Stamp};
use serde_json::json;
use shared::fault::FaultKind;
use simulators::{FaultKind as Wrong, FaultRule};

use super::*;

async fn update(
    client: &dyn CalendarClient,
    side: &EventSide,
    target: &Event,
    fields: &[Field],
) -> Result<Written<EventSide>, Fault> {
    let update =
        EventUpdate { id: &side.id, expected: &side.revision, target, fields, guests: Guests::Written };
    client.update(&update).await
}

#[tokio::test]
async fn what_is_created_is_read_back_and_found_by_its_record() {
    let world = World::new(options()).await;
    let client = world.open(ANNA);
    let mut event = meeting("Büro <b>1</b>", 2);
    event.body = "Line & <br>\nline".to_owned();
    event.location = "Room 1".to_owned();
    event.private = true;
    event.reminders = BTreeSet::from([5, 60]);
    event
        .attendees
        .insert("guest@example.org".to_owned(), Attendee { name: "Guest".to_owned(), ..Attendee::default() });
    event.attendees.insert(BERND.to_owned(), Attendee::default());
    let side = create(&*client, "m1", &event).await;
    let web_link = side.event.further.web_link.clone();
    assert!(web_link.as_ref().is_some_and(|link| link.starts_with("https://www.google.com/calendar/")));
    event.further.web_link = web_link;
    assert_eq!(side.event.differences(&Provider::Google.holds(&event).normalized()), []);
    assert_eq!(
        (side.is_organizer, side.status, &side.stamp),
        (true, EventStatus::Confirmed, &Stamp::Of(record("m1")))
    );
    assert_eq!(read(&*client, &side.id).await, side);
    // A person copies it: the copy has the original's properties, and is not taken for it.
    let stored = world.stored(&format!("{ANNA}:{}", side.id));
    world.person_adds(
        ANNA,
        with(hour("Copy", 3), json!({"extendedProperties": stored["extendedProperties"]})),
    );
    let found = client.find(&record("m1")).await.unwrap();
    assert_eq!(found, [Found::Event(Box::new(side.clone()))]);
    assert_eq!(client.find(&record("m2")).await.unwrap(), []);

    // A series, with whole days in it.
    let day = jiff::civil::date(2026, 3, 2);
    let whole = When::AllDay { first: day, after: day.tomorrow().unwrap() };
    let series =
        Series::from_lines(&["RRULE:FREQ=WEEKLY;BYDAY=MO", "EXDATE;VALUE=DATE:20260309"], &whole).unwrap();
    let event = Event { place: Place::Master(series), ..Event::new("Weekly", whole) };
    let side = create(&*client, "m2", &event).await;
    assert_eq!(side.event.differences(&event), [Field::WebLink], "which is Google's own");
    let timed = meeting("Monthly", 2);
    let series = Series::from_lines(&["RRULE:FREQ=MONTHLY;UNTIL=20260901"], &timed.when).unwrap();
    let event = Event { place: Place::Master(series), ..timed };
    assert_eq!(create(&*client, "m3", &event).await.event.differences(&event), [Field::WebLink]);
    world.check();
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_is_repeated_without_a_second_event() {
    let world = World::new(options()).await;
    let client = world.open(ANNA);
    client.owner().await.unwrap();
    world
        .google
        .fault(FaultRule::new(Wrong::CloseAfter).on("POST", "/calendar/v3/calendars/*/events").times(1));
    let lost = client.create(&token("m1"), &meeting("A", 2), Guests::Written).await.unwrap_err();
    assert!(connector_google::may_have_taken_effect(&lost), "{lost:?}");
    // A person is quicker than the second try: what stands there is answered.
    let id = format!("{ANNA}:{}", world.google.records()[0]["id"].as_str().unwrap());
    world.person_edits(&id, json!({"summary": "B"}));
    let side = create(&*client, "m1", &meeting("A", 2)).await;
    assert_eq!((side.event.subject.as_str(), side.stamp), ("B", Stamp::Of(record("m1"))));
    assert_eq!(world.google.records().len(), 1);
    let other = create(&*client, "m2", &meeting("A", 2)).await;
    assert_ne!(other.id, side.id);
    world.check();
}

#[tokio::test]
async fn what_was_deleted_is_not_revived_by_another_create() {
    let world = World::new(GoogleOptions { cancelled_days: 28, ..options() }).await;
    let client = world.open(ANNA);
    let side = create(&*client, "m1", &meeting("A", 2)).await;
    let id = format!("{ANNA}:{}", side.id);
    world.google.delete_as_person(&id).unwrap();
    for days in [0, 60] {
        // Later even Google does not know it any more, and keeps the id.
        world.google.set_clock_offset(jiff::SignedDuration::from_hours(24 * days));
        let client = world.open(ANNA);
        let again = client.create(&token("m1"), &meeting("A", 2), Guests::Written).await.unwrap();
        assert_eq!((again.status, again.id.as_str()), (EventStatus::Cancelled, side.id.as_str()), "{days}");
        assert_eq!(world.stored(&id)["status"], "cancelled");
        assert_eq!(client.get(&side.id).await.unwrap(), None);
    }
    world.check();
}

#[tokio::test]
async fn a_write_is_made_on_the_version_that_was_read_or_not_at_all() {
    let world = World::new(options()).await;
    let client = world.open(ANNA);
    let side = create(&*client, "m1", &meeting("A", 2)).await;
    let id = format!("{ANNA}:{}", side.id);
    world.person_edits(&id, json!({"location": "Room 7"}));
    let target = Event { subject: "B".to_owned(), ..side.event.clone() };
    assert_eq!(update(&*client, &side, &target, &[Field::Subject]).await.unwrap(), Written::Changed);
    assert_eq!(client.delete(&side.id, &side.revision).await.unwrap(), Written::Changed);
    for field in [Field::Attendees, Field::Reminders] {
        assert_eq!(update(&*client, &side, &target, &[field]).await.unwrap(), Written::Changed, "{field:?}");
    }
    let fresh = read(&*client, &side.id).await;
    let written = done(update(&*client, &fresh, &target, &[Field::Subject]).await.unwrap());
    assert_eq!((written.event.subject.as_str(), written.event.location.as_str()), ("B", "Room 7"));
    assert_eq!(written.stamp, Stamp::Of(record("m1")));
    // Nothing of it is ours to write: nothing is written.
    let writes = world.calls("calendar.events.patch");
    let same = done(update(&*client, &written, &target, &[Field::OnlineLink]).await.unwrap());
    assert_eq!((same.revision == written.revision, world.calls("calendar.events.patch")), (true, writes));

    // The lost answer of a delete is followed by another one, which finds nothing.
    world.google.fault(FaultRule::new(Wrong::CloseAfter).on("DELETE", "*").times(1));
    client.delete(&side.id, &written.revision).await.unwrap_err();
    assert_eq!(client.delete(&side.id, &written.revision).await.unwrap(), Written::Gone);
    assert_eq!(update(&*client, &written, &target, &[Field::Subject]).await.unwrap(), Written::Changed);
    let gone = EventSide { revision: "*".to_owned(), ..written };
    assert_eq!(update(&*client, &gone, &target, &[Field::Subject]).await.unwrap(), Written::Gone);
    assert_eq!(client.stamp(&side.id, &record("m1")).await.unwrap(), Written::Gone);
    assert_eq!(client.stamp("neverwas", &record("m1")).await.unwrap(), Written::Gone);
    assert_eq!(client.get(&side.id).await.unwrap(), None);
    assert_eq!(world.stored(&id)["status"], "cancelled");
    world.check();
}

#[tokio::test]
async fn every_field_is_written_by_itself_and_a_whole_day_becomes_an_hour() {
    let world = World::new(options()).await;
    let client = world.open(ANNA);
    let day = jiff::civil::date(2026, 3, 2);
    let whole = When::AllDay { first: day, after: day.tomorrow().unwrap() };
    let mut side = create(&*client, "m1", &Event::new("A", whole.clone())).await;
    let mut wanted = side.event.clone();
    let mut target = meeting("B", 5);
    target.body = "Agenda".to_owned();
    target.location = "Room 1".to_owned();
    target.busy = flows::calendar::event::Busy::Free;
    target.private = true;
    target.reminders = BTreeSet::from([30]);
    target.attendees.insert("guest@example.org".to_owned(), Attendee::default());
    target.place = Place::Master(Series::from_lines(&["RRULE:FREQ=DAILY;COUNT=3"], &target.when).unwrap());
    // Google's own, which nobody writes.
    for event in [&mut wanted, &mut target] {
        event.further.web_link.clone_from(&side.event.further.web_link);
    }
    for field in Field::ALL {
        side = done(update(&*client, &side, &target, &[field]).await.unwrap());
        wanted.take(field, &target);
        assert_eq!(side.event.differences(&wanted), [], "{field:?}");
    }
    // And back: the rule is taken away, and nobody is invited.
    let plain = Event::new("A", whole);
    let fields = [Field::When, Field::Recurrence, Field::Attendees, Field::Reminders];
    side = done(update(&*client, &side, &plain, &fields).await.unwrap());
    assert_eq!((side.event.place, side.event.attendees.len()), (Place::Single, 0));
    world.check();
}

#[tokio::test]
async fn attendees_and_reminders_keep_what_the_crm_does_not_know() {
    let world = World::new(options()).await;
    let client = world.open(ANNA);
    let attendees = json!([{"email": ANNA, "responseStatus": "accepted"},
        {"email": BERND, "comment": "late", "optional": true}, {"email": "old@example.org"}]);
    let reminders = json!({"useDefault": false, "overrides": [{"method": "email", "minutes": 60}]});
    let id =
        world.person_adds(ANNA, with(hour("A", 2), json!({"attendees": attendees, "reminders": reminders})));
    world.google.answer_invitation_as_person(&format!("{BERND}:{}", id_of(&id)), "tentative").unwrap();
    let side = read(&*client, id_of(&id)).await;
    assert_eq!(side.event.attendees.keys().collect::<Vec<_>>(), [BERND, "old@example.org"]);
    assert_eq!(side.event.attendees[BERND].response, Response::Tentative);
    let mut target = side.event.clone();
    target.attendees.remove("old@example.org");
    target
        .attendees
        .insert("new@example.org".to_owned(), Attendee { name: "New".to_owned(), ..Attendee::default() });
    target.reminders = BTreeSet::from([15]);
    // By a process that has read nothing of it yet, and so has to.
    let other = world.again().open(ANNA);
    let written = done(update(&*other, &side, &target, &[Field::Attendees, Field::Reminders]).await.unwrap());
    assert_eq!(written.event.attendees.keys().collect::<Vec<_>>(), [BERND, "new@example.org"]);
    let stored = world.stored(&id);
    assert_eq!(
        stored["attendees"],
        json!([
        {"email": ANNA, "responseStatus": "accepted"},
        {"email": BERND, "optional": true, "comment": "late", "responseStatus": "tentative"},
        {"email": "new@example.org", "displayName": "New", "responseStatus": "needsAction"}])
    );
    let overrides = stored["reminders"]["overrides"].as_array().unwrap();
    assert!(overrides.contains(&json!({"method": "email", "minutes": 60})), "{overrides:?}");
    world.check();
}

#[tokio::test]
async fn an_invited_user_writes_the_own_affairs_and_nothing_else() {
    let world = World::new(options()).await;
    let id = world.person_adds(ANNA, with(hour("A", 2), json!({"attendees": [{"email": BERND}]})));
    let client = world.open(BERND);
    let side = read(&*client, id_of(&id)).await;
    assert!(!side.is_organizer && side.event.attendees.is_empty(), "{side:?}");
    let target = Event {
        subject: "B".to_owned(),
        private: true,
        reminders: BTreeSet::from([7]),
        ..side.event.clone()
    };
    let refused = update(&*client, &side, &target, &[Field::Subject]).await.unwrap_err();
    assert_eq!((refused.code, refused.kind), ("not_organizer", FaultKind::Permanent));
    let written = done(update(&*client, &side, &target, &[Field::Private, Field::Reminders]).await.unwrap());
    assert_eq!(
        (written.event.subject.as_str(), written.event.private, written.event.reminders),
        ("A", true, BTreeSet::from([7]))
    );
    done(client.stamp(&side.id, &record("m1")).await.unwrap());
    assert_eq!(read(&*client, &side.id).await.stamp, Stamp::Of(record("m1")));
    assert_eq!(read(&*world.open(ANNA), &side.id).await.stamp, Stamp::None, "a stamp is the copy's own");
    world.check();
}

#[tokio::test]
async fn one_of_a_series_is_written_and_deleted_by_itself() {
    let world = World::new(options()).await;
    let client = world.open(ANNA);
    let timed = meeting("Weekly", 2);
    let series = Series::from_lines(&["RRULE:FREQ=WEEKLY;COUNT=4"], &timed.when).unwrap();
    let master = create(&*client, "m1", &Event { place: Place::Master(series), ..timed }).await;
    let instance = read(&*client, &format!("{}_20260309T090000Z", master.id)).await;
    assert_eq!(instance.stamp, Stamp::None, "its properties are its series'");
    let target = Event { subject: "Other".to_owned(), ..instance.event.clone() };
    let written = done(update(&*client, &instance, &target, &[Field::Subject]).await.unwrap());
    assert!(matches!(&written.event.place, Place::Exception { series_id, .. } if *series_id == master.id));
    let stamped = done(client.stamp(&written.id, &record("m2")).await.unwrap());
    assert_eq!(stamped.stamp, Stamp::Of(record("m2")));
    assert_eq!(client.find(&record("m2")).await.unwrap().len(), 1);
    assert_eq!(
        client.find(&record("m1")).await.unwrap().iter().map(Found::id).collect::<Vec<_>>(),
        [&master.id]
    );
    assert_eq!(client.delete(&stamped.id, &stamped.revision).await.unwrap(), Written::Done(()));
    assert_eq!(client.get(&stamped.id).await.unwrap(), None);
    assert_eq!(read(&*client, &master.id).await.event.subject, "Weekly");
    world.check();
}

#[tokio::test]
async fn mail_is_sent_only_where_it_is_wanted() {
    let mut event = meeting("A", 2);
    event.attendees.insert("guest@example.org".to_owned(), Attendee::default());
    for send_mail in [false, true] {
        let world = World::with_mail(options(), send_mail).await;
        let client = world.open(ANNA);
        let mut side = create(&*client, "m1", &event).await;
        let target = Event { subject: "B".to_owned(), private: true, ..side.event.clone() };
        for (field, mails) in [(Field::Private, 1), (Field::Subject, 2)] {
            side = done(update(&*client, &side, &target, &[field]).await.unwrap());
            assert_eq!(world.google.mails_by_clients().len(), if send_mail { mails } else { 0 }, "{field:?}");
        }
        done(client.stamp(&side.id, &record("m1")).await.unwrap());
        assert_eq!(world.google.mails_by_clients().len(), if send_mail { 2 } else { 0 });
        let side = read(&*client, &side.id).await;
        done(client.delete(&side.id, &side.revision).await.unwrap());
        assert_eq!(world.google.mails_by_clients().len(), if send_mail { 3 } else { 0 });
        assert_eq!(world.google.outside_description(), []);
    }
}
