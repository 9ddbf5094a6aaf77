//! An event of which no meeting can be made holds up nothing, and is carried over once its user has mended it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::ports::state::State as _;
use simulators::{ActorKind, JournalEntry};

use super::affairs::Kind;
use super::for_users::pages_read;
use super::says::Provider;
use super::script::Edit;
use super::time::{connected, meeting};
use super::world::World;
use super::{crm, object};

/// What spoils an event, and what mends it.
fn spoiling(provider: Provider) -> Vec<(Value, Value)> {
    let (long, huge) = ("x".repeat(256), "x".repeat(1_000_000));
    match provider {
        Provider::Microsoft => {
            let body = |text: &str| json!({ "body": { "contentType": "text", "content": text } });
            vec![(json!({ "subject": long }), json!({ "subject": "Kurz" })), (body(&huge), body("Kurz"))]
        }
        Provider::Google => {
            let crowd = (0..5_000).map(|n| json!({ "email": format!("gast{n}@draussen.example") }));
            let crowd: Vec<Value> = crowd.collect();
            let rule = json!(["RRULE:FREQ=WEEKLY;COUNT=3", "EXRULE:FREQ=MONTHLY"]);
            vec![
                (json!({ "summary": long }), json!({ "summary": "Kurz" })),
                (json!({ "description": huge }), json!({ "description": "Kurz" })),
                (json!({ "attendees": crowd }), json!({ "attendees": null })),
                (json!({ "recurrence": rule }), json!({ "recurrence": null })),
            ]
        }
    }
}

fn provider(world: &World, calendar: usize) -> Provider {
    world.office.calendars[calendar].provider
}

/// An event; answers its id.
fn add(world: &mut World, calendar: usize) -> String {
    let affair = world.office.affairs.len();
    let says = meeting(affair);
    world.perform(&Edit::Event { calendar, says, guests: BTreeSet::new(), rule: None });
    world.office.affairs[affair].copies[&calendar].id.clone().unwrap()
}

fn edit(world: &World, calendar: usize, id: &str, fields: Value) {
    let fields = object(fields);
    match provider(world, calendar) {
        Provider::Microsoft => world.office.microsoft.edit_as_person(id, &fields).unwrap(),
        Provider::Google => world.office.google.edit_as_person(id, &fields).unwrap(),
    }
}

/// Writes of ours into an event.
fn writes(world: &World, calendar: usize, id: &str) -> usize {
    let journal = match provider(world, calendar) {
        Provider::Microsoft => world.office.microsoft.journal(),
        Provider::Google => world.office.google.journal(),
    };
    let own = |entry: &&JournalEntry| entry.actor_kind == ActorKind::Api && entry.record_id == id;
    journal.iter().filter(own).count()
}

/// The token up to which the calendar was read; no round of pages is under way.
async fn token(world: &World, calendar: usize) -> String {
    let key = &world.office.calendars[calendar].key;
    let all = world.store.scan("calendar/standing/", None, 200).await.unwrap();
    let (_, standing) = all.iter().find(|(place, _)| place.contains(key.as_str())).unwrap();
    let standing: Value = serde_json::from_slice(&standing.value).unwrap();
    let cursor = &standing["cursor"];
    assert!(cursor["round"].is_null(), "{cursor}");
    cursor["token"]["text"].as_str().unwrap().to_owned()
}

fn names(world: &World) -> Vec<String> {
    let meetings = crm::all(&world.office.crm, Kind::Meeting).into_iter();
    let mut names: Vec<String> = meetings.map(|meeting| meeting.subject).collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_event_that_cannot_be_carried_over_is_passed_by_until_it_is_mended() {
    for user in [0, 1] {
        let mut world = connected(&[user]).await;
        let calendar = world.calendars_of(user)[0];
        let begun = token(&world, calendar).await;
        add(&mut world, calendar);
        let mut spoilt = Vec::new();
        for (spoils, mends) in spoiling(provider(&world, calendar)) {
            let id = add(&mut world, calendar);
            edit(&world, calendar, &id, spoils);
            spoilt.push((id, mends));
        }
        add(&mut world, calendar);
        world.quiet().await;
        let good = [meeting(0).subject, meeting(spoilt.len() + 1).subject];
        assert_eq!(names(&world), good, "those before and after it in its page");

        let read = token(&world, calendar).await;
        assert_ne!(read, begun, "what was read is known");
        let before = pages_read(&world);
        world.sweep_now();
        world.quiet().await;
        assert_eq!(pages_read(&world) - before, 1, "what changed since, which is nothing");
        assert_eq!(names(&world), good);
        for (id, _) in &spoilt {
            assert_eq!(writes(&world, calendar, id), 0, "{id}");
        }
        let again = world.store.scan("calendar/again/", None, 10).await.unwrap();
        assert!(again.is_empty(), "none has to be looked at again: {again:?}");

        let all = good.len() + spoilt.len();
        for (id, mends) in spoilt {
            edit(&world, calendar, &id, mends);
        }
        world.quiet().await;
        assert_eq!(names(&world).len(), all, "{:?}", names(&world));
    }
}
