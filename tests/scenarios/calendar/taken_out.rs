//! A user is taken out of a meeting in the CRM, and comes back.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use shared::clock::Clock as _;

use super::affairs::{Kind, contact_mail};
use super::crm;
use super::script::Edit;
use super::time::{connected, meeting};
use super::world::World;

/// Users 0 and 1 have Outlook and Google.
const USERS: [usize; 2] = [0, 1];

/// Events in Outlook and at Google.
fn events(world: &World) -> [usize; 2] {
    let google = world.office.google.records();
    let is_there = |record: &&serde_json::Value| record["status"] != "cancelled";
    [world.office.microsoft.records().len(), google.iter().filter(is_there).count()]
}

async fn has_users(world: &mut World, assigned: usize, users: &[usize]) {
    let id = world.office.affairs[0].id.clone().unwrap();
    let users: Vec<&str> = users.iter().map(|user| world.office.users[*user].crm_id.as_str()).collect();
    let who = &world.office.users[assigned].crm_id;
    crm::set_people(&world.office.crm, who, (Kind::Meeting, &id), "usersIds", &users).unwrap();
    world.quiet().await;
}

/// One more meeting.
fn make(world: &mut World, assigned: usize, users: &[usize]) {
    let says = meeting(world.office.affairs.len());
    let (kind, users, contacts) = (Kind::Meeting, users.iter().copied().collect(), BTreeSet::new());
    world.perform(&Edit::Meeting { kind, assigned, users, contacts, says });
}

async fn hours_pass(world: &mut World) {
    let later = world.clock.now() + SignedDuration::from_hours(2);
    world.advance_to(later).await;
}

/// A meeting that both users have.
async fn shared(assigned: usize) -> World {
    let mut world = connected(&USERS).await;
    make(&mut world, assigned, &USERS);
    world.rest("made").await;
    assert_eq!(events(&world), [1, 1]);
    world
}

#[tokio::test]
async fn who_is_taken_out_while_away_loses_the_event_when_back() {
    for (stays, goes) in [(0, 1), (1, 0)] {
        let mut world = shared(stays).await;
        let calendar = world.calendars_of(goes)[0];
        world.disconnect(calendar).await;
        // Processes know for a while what they have read.
        hours_pass(&mut world).await;
        has_users(&mut world, stays, &[stays]).await;
        // Sweeps reach back a little behind what changed last.
        hours_pass(&mut world).await;
        make(&mut world, stays, &[stays]);
        for _ in 0..2 {
            world.sweep_now();
            hours_pass(&mut world).await;
        }
        let mut expected = [1, 1];
        expected[stays] = 2;
        assert_eq!(events(&world), expected, "nobody writes to a calendar that is away");
        world.connect(calendar).await;
        world.quiet().await;
        world.sweep_now();
        world.quiet().await;
        expected[goes] = 0;
        assert_eq!(events(&world), expected);
    }
}

#[tokio::test]
async fn who_is_taken_out_loses_the_event_and_has_it_again_when_back_wherever_a_process_dies() {
    for (stays, goes) in [(0, 1), (1, 0)] {
        let mut world = shared(stays).await;
        let (mut deaths, mut left) = (0, [1, 1]);
        left[goes] = 0;
        for n in 0..12 {
            world.store.arm(n / 2, n % 2 == 1);
            has_users(&mut world, stays, &[stays]).await;
            deaths += usize::from(!world.store.disarm());
            world.sweep_now();
            world.quiet().await;
            assert_eq!(events(&world), left, "taken out, write {n}");
            world.store.arm(n / 2, n % 2 == 1);
            has_users(&mut world, stays, &USERS).await;
            deaths += usize::from(!world.store.disarm());
            world.sweep_now();
            world.quiet().await;
            assert_eq!(events(&world), [1, 1], "back, write {n}");
            assert_eq!(crm::all(&world.office.crm, Kind::Meeting).len(), 1);
        }
        assert!(deaths > 6, "{deaths}");
    }
}

/// Outlook's event has its people in a list below its body, and none among its attendees.
#[tokio::test]
async fn the_last_contact_who_is_taken_out_is_listed_no_more() {
    let mut world = connected(&USERS[..1]).await;
    let (kind, users, contacts) = (Kind::Meeting, BTreeSet::from([0]), BTreeSet::from([0]));
    world.perform(&Edit::Meeting { kind, assigned: 0, users, contacts, says: meeting(0) });
    world.rest("made").await;
    let is_listed = |world: &World| {
        let body = &world.office.microsoft.records()[0]["body"]["content"];
        body.as_str().unwrap().contains(&contact_mail(0))
    };
    assert!(is_listed(&world));
    let id = world.office.affairs[0].id.clone().unwrap();
    let who = &world.office.users[0].crm_id;
    crm::set_people(&world.office.crm, who, (kind, &id), "contactsIds", &[]).unwrap();
    world.quiet().await;
    assert!(!is_listed(&world));
}
