//! A calendar that hears nothing is counted, and is no longer when it has heard something.

use jiff::{SignedDuration, ToSpan as _};
use shared::clock::Clock as _;

use super::says::{When, ZONES};
use super::script::Edit;
use super::time::{FEW, plain, seed};
use super::world::{Plan, World};

/// Users 0 and 1 have Outlook and Google.
const USERS: [usize; 2] = [0, 1];

async fn after_hours(world: &mut World, hours: i64) -> Option<f64> {
    let later = world.clock.now() + SignedDuration::from_hours(hours);
    world.advance_to(later).await;
    world.sweep_now();
    world.quiet().await;
    world.silent()
}

#[tokio::test]
async fn calendars_that_hear_nothing_for_a_day_are_counted_until_they_do() {
    let mut world = World::open(Plan { seed: seed(1), affairs: 8, ..FEW }).await;
    for user in USERS {
        for at in world.calendars_of(user) {
            world.connect(at).await;
        }
    }
    world.rest("begin").await;
    assert_eq!(after_hours(&mut world, 20).await, Some(0.0));
    assert_eq!(after_hours(&mut world, 5).await, Some(2.0), "a day");
    let start = (FEW.first + 10.days()).at(10, 0, 0, 0);
    let says = plain("Besprechung", 0, When::Timed { start, minutes: 60, zone: ZONES[0] });
    let [outlook, google] = USERS.map(|user| world.calendars_of(user)[0]);
    world.perform(&Edit::Event { calendar: outlook, says, guests: Default::default(), rule: None });
    world.quiet().await;
    assert_eq!(after_hours(&mut world, 1).await, Some(1.0), "Outlook notified us");
    world.connect(google).await;
    world.quiet().await;
    assert_eq!(after_hours(&mut world, 1).await, Some(0.0), "who connects again is not silent at once");
}
