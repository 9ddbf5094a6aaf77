//! A user is taken out of a meeting in the CRM, and comes back.

use std::collections::BTreeSet;

use super::affairs::Kind;
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
    crm::set_users(&world.office.crm, who, (Kind::Meeting, &id), &users).unwrap();
    world.quiet().await;
}

#[tokio::test]
async fn who_is_taken_out_loses_the_event_and_has_it_again_when_back_wherever_a_process_dies() {
    for (stays, goes) in [(0, 1), (1, 0)] {
        let mut world = connected(&USERS).await;
        let says = meeting(0);
        let (kind, users, contacts) = (Kind::Meeting, BTreeSet::from(USERS), BTreeSet::new());
        world.perform(&Edit::Meeting { kind, assigned: stays, users, contacts, says });
        world.rest("made").await;
        assert_eq!(events(&world), [1, 1]);
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
