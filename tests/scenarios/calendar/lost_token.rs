//! A calendar's token is lost, and with it what it would have told of the past.

use std::collections::BTreeSet;

use jiff::ToSpan as _;

use super::faults;
use super::says::{Change, mark, midnight};
use super::script::Edit;
use super::time::{FEW, connected, meeting};
use super::world::World;

/// Users 0 and 1 have Outlook and Google.
const USERS: [usize; 2] = [0, 1];
/// Days after which what is on the tenth has ended before the window.
const LATER: i64 = 50;
/// Days after which it has ended before what is read where a token was lost.
const LONG_AFTER: i64 = 140;

/// Requests for single events.
fn looks(world: &World) -> u64 {
    let of = |counters: std::collections::BTreeMap<String, u64>, name: &str| {
        counters.get(name).copied().unwrap_or_default()
    };
    of(world.office.microsoft.counters(), "GET /v1.0/me/events/{event-id}")
        + of(world.office.google.counters(), "calendar.events.get")
}

#[tokio::test]
async fn what_was_edited_before_the_window_is_read_with_it_and_not_one_by_one() {
    let mut world = connected(&USERS).await;
    for user in USERS {
        for _ in 0..5 {
            let (says, calendar) = (meeting(world.office.affairs.len()), world.calendars_of(user)[0]);
            world.perform(&Edit::Event { calendar, says, guests: BTreeSet::new(), rule: None });
        }
    }
    world.rest("made").await;
    world.advance_to(midnight(FEW.first + LATER.days())).await;
    world.rest("later").await;
    for user in USERS {
        let calendar = world.calendars_of(user)[0];
        let before = looks(&world);
        faults::forget(&world.office, calendar, None, &mut world.script.dice);
        let affair = user * 5;
        let subject = format!("Nachtrag {}", mark(affair));
        world.perform(&Edit::InCalendar { affair, calendar, change: Change::Subject(subject.clone()) });
        world.sweep_now();
        world.rest("edited").await;
        assert_eq!(world.office.affairs[affair].says.subject, subject);
        assert!(looks(&world) - before < 3, "{} and then {}", before, looks(&world));
    }
}

/// Users 2 and 3 are invited by users 0 and 1 to what has ended before all that a full round reads.
#[tokio::test]
async fn what_follows_a_colleagues_event_is_not_read_one_by_one_once_it_is_long_over() {
    let mut world = connected(&[0, 1, 2, 3]).await;
    for user in USERS {
        for _ in 0..5 {
            let (says, calendar) = (meeting(world.office.affairs.len()), world.calendars_of(user)[0]);
            let guest = world.calendars_of(user + 2)[0];
            let guests = BTreeSet::from([world.office.calendars[guest].mail.clone()]);
            world.perform(&Edit::Event { calendar, says, guests, rule: None });
        }
    }
    world.rest("made").await;
    world.advance_to(midnight(FEW.first + LONG_AFTER.days())).await;
    world.rest("long after").await;
    for user in USERS {
        let before = looks(&world);
        faults::forget(&world.office, world.calendars_of(user + 2)[0], None, &mut world.script.dice);
        world.sweep_now();
        world.rest("read as a whole").await;
        assert_eq!(looks(&world), before, "guest of user {user}");
    }
}
