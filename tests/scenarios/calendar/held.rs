//! Many deletions at once wait for a person: a mailbox that was emptied, a CRM that was restored from an older backup.

use std::collections::BTreeSet;

use jiff::{SignedDuration, ToSpan as _};
use shared::clock::Clock as _;

use super::affairs::Kind;
use super::says::{Provider, When, ZONES};
use super::script::Edit;
use super::time::{FEW, plain, seed};
use super::world::{Plan, World};
use super::{crm, faults};

/// What is deleted.
const EVENTS: usize = 12;
/// What may be deleted without a person.
const FREE: u32 = 3;

/// Events of the calendar's user that are meetings as well; answers their numbers.
async fn with_meetings(at: usize) -> (World, Vec<usize>) {
    let mut world = World::open(Plan { seed: seed(1), affairs: 8, ..FEW }).await;
    world.installation.mass_change = (0.2, FREE);
    world.restart().await;
    for at in 0..world.office.calendars.len() {
        world.connect(at).await;
    }
    world.rest("begin").await;
    for n in 0..EVENTS {
        let start = (FEW.first + (2 + i64::try_from(n).unwrap()).days()).at(10, 0, 0, 0);
        let when = When::Timed { start, minutes: 60, zone: ZONES[0] };
        let says = plain("Verhandlung", n, when);
        world.perform(&Edit::Event { calendar: at, says, guests: BTreeSet::new(), rule: None });
    }
    world.rest("made").await;
    assert_eq!(crm::all(&world.office.crm, Kind::Meeting).len(), EVENTS);
    (world, (0..EVENTS).collect())
}

async fn pass(world: &mut World, time: SignedDuration) {
    world.advance_to(world.clock.now() + time).await;
}

/// Only so many are gone, and the operator is told of the others.
async fn is_held(world: &World, left: usize) {
    let gone = EVENTS - left;
    assert!((1..=usize::try_from(FREE).unwrap()).contains(&gone), "{gone} of {EVENTS} are gone");
    let held = world.engine.flow.held_back().await.unwrap();
    assert!(held.as_ref().is_some_and(|text| text.contains("syncfleet release calendar")), "{held:?}");
}

#[tokio::test]
async fn a_calendar_that_was_emptied_keeps_its_meetings_until_a_release() {
    // Outlook and Google; its changes are told, or its token is lost as well and it is compared as a whole.
    for (at, is_lost) in [(0, false), (0, true), (1, false), (1, true)] {
        let (mut world, numbers) = with_meetings(at).await;
        if is_lost {
            faults::forget(&world.office, at, None, &mut world.script.dice);
        }
        for affair in numbers {
            world.perform(&Edit::DeleteEvent { affair, calendar: at });
        }
        pass(&mut world, SignedDuration::from_mins(30)).await;
        is_held(&world, crm::all(&world.office.crm, Kind::Meeting).len()).await;
        assert_eq!(world.engine.flow.release("anna", world.clock.now()).await.unwrap(), 1);
        world.rest("released").await;
        assert_eq!(crm::all(&world.office.crm, Kind::Meeting).len(), 0, "{at} {is_lost}");
    }
}

#[tokio::test]
async fn a_crm_that_lost_its_meetings_leaves_their_events_until_a_release() {
    for at in [0, 1] {
        let (mut world, numbers) = with_meetings(at).await;
        let events = |world: &World| match world.office.calendars[at].provider {
            Provider::Microsoft => world.office.microsoft.records().len(),
            Provider::Google => {
                let records = world.office.google.records();
                records.iter().filter(|record| record["status"] != "cancelled").count()
            }
        };
        assert_eq!(events(&world), EVENTS);
        world.lose_webhooks();
        for affair in numbers {
            world.perform(&Edit::DeleteMeeting { affair });
        }
        // What is linked is compared with the CRM once a day.
        pass(&mut world, SignedDuration::from_hours(25)).await;
        is_held(&world, events(&world)).await;
        world.engine.flow.release("anna", world.clock.now()).await.unwrap();
        pass(&mut world, SignedDuration::from_hours(25)).await;
        world.rest("released").await;
        assert_eq!(events(&world), 0);
    }
}
