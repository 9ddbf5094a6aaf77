//! A calendar that hears nothing is counted, and is no longer when it has heard something.

use jiff::SignedDuration;
use shared::clock::Clock as _;

use super::script::Edit;
use super::time::{connected, meeting};
use super::world::World;

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
    let mut world = connected(&USERS).await;
    assert_eq!(after_hours(&mut world, 20).await, Some(0.0));
    assert_eq!(after_hours(&mut world, 5).await, Some(2.0), "a day");
    let says = meeting(0);
    let [outlook, google] = USERS.map(|user| world.calendars_of(user)[0]);
    world.perform(&Edit::Event { calendar: outlook, says, guests: Default::default(), rule: None });
    world.quiet().await;
    assert_eq!(after_hours(&mut world, 1).await, Some(1.0), "Outlook notified us");
    world.connect(google).await;
    world.quiet().await;
    assert_eq!(after_hours(&mut world, 1).await, Some(0.0), "who connects again is not silent at once");
}

/// It is read whole once a week, which tells nothing of whether changes arrive.
#[tokio::test]
async fn a_calendar_that_is_read_whole_stays_silent() {
    let mut world = connected(&USERS).await;
    for user in USERS {
        let calendar = world.calendars_of(user)[0];
        world.perform(&Edit::Event { calendar, says: meeting(user), guests: Default::default(), rule: None });
    }
    world.quiet().await;
    assert_eq!(after_hours(&mut world, 25).await, Some(2.0));
    for half_day in 0..18 {
        assert_eq!(after_hours(&mut world, 12).await, Some(2.0), "{half_day} half days later");
    }
}
