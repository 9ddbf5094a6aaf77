//! A user takes a calendar out of the synchronisation.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::SignedDuration;
use shared::clock::Clock as _;

use super::affairs::Kind;
use super::crm;
use super::says::Change;
use super::script::Edit;
use super::time::{connected, meeting};
use super::world::World;

/// Users 0 and 1 have Outlook and Google.
const USERS: [usize; 2] = [0, 1];

/// Both sides are edited, the user's calendar last; answers what the meeting is called in the end.
async fn clash(world: &mut World, user: usize, round: u32) -> String {
    let calendar = world.calendars_of(user)[0];
    let change = |side: &str| Change::Subject(format!("{side} {round} #0."));
    let (here, there) = (change("calendar"), change("crm"));
    world.perform(&Edit::Clash { affair: 0, calendar, here, there, calendar_is_later: true, seconds: 20 });
    world.quiet().await;
    crm::all(&world.office.crm, Kind::Meeting)[0].subject.clone()
}

#[tokio::test]
async fn a_calendar_that_was_disconnected_has_no_say_and_is_left_alone() {
    let mut world = connected(&USERS).await;
    let says = meeting(0);
    let (kind, users, contacts) = (Kind::Meeting, BTreeSet::from(USERS), BTreeSet::new());
    world.perform(&Edit::Meeting { kind, assigned: USERS[0], users, contacts, says });
    world.rest("made").await;
    assert_eq!(clash(&mut world, USERS[1], 1).await, "crm 1 #0.", "the assigned user's event speaks for it");

    let outlook = world.calendars_of(USERS[0])[0];
    world.disconnect(outlook).await;
    // Processes know for a while what they have read.
    let later = world.clock.now() + SignedDuration::from_hours(1);
    world.advance_to(later).await;
    let (written, asked) = (world.office.microsoft.journal_sequence(), world.office.microsoft.counters());
    assert_eq!(clash(&mut world, USERS[1], 2).await, "calendar 2 #0.", "the other one's does");
    world.clock.advance(Duration::from_secs(3_600));
    world.sweep_now();
    world.quiet().await;
    assert_eq!(world.office.microsoft.journal_sequence(), written, "nothing is written");
    assert_eq!(world.office.microsoft.counters(), asked, "nor read");

    world.connect(outlook).await;
    world.quiet().await;
    let shown = world.office.microsoft.records();
    assert_eq!(shown.len(), 1);
    assert_eq!(shown[0]["subject"], "calendar 2 #0.", "it comes back as the meeting stands");
}
