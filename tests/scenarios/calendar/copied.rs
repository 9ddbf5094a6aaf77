//! An event that was copied carries all that hangs on its original, also when that one is no more.

use std::collections::BTreeSet;

use jiff::ToSpan as _;

use shared::ports::state::State as _;

use super::affairs::Kind;
use super::says::{Change, When, ZONES};
use super::script::Edit;
use super::time::{FEW, plain, seed};
use super::world::{Plan, World};

fn on(days: i64) -> When {
    let start = (FEW.first + days.days()).at(10, 0, 0, 0);
    When::Timed { start, minutes: 60, zone: ZONES[0] }
}

/// A run dies after it has created an event in Outlook, so that stamps are read there from then on.
async fn leave_a_creation(world: &mut World) {
    for writes in 0..20 {
        let number = world.office.affairs.len();
        let (kind, users, contacts) = (Kind::Meeting, BTreeSet::from([0]), BTreeSet::new());
        world.perform(&Edit::Meeting {
            kind,
            assigned: 0,
            users,
            contacts,
            says: plain("Jour fixe", number, on(5)),
        });
        world.store.arm(writes, true);
        world.quiet().await;
        world.store.disarm();
        world.rest("made, though a process died").await;
        let links = world.store.scan("link/calendar/microsoft.", None, 200).await.unwrap();
        if links.iter().any(|(key, _)| key.contains(".meeting.")) {
            return;
        }
    }
    panic!("no creation is left");
}

/// The copy lies outside the window until its original has gone, with its meeting or without it.
#[tokio::test]
async fn a_copy_that_comes_into_the_window_late_has_a_meeting_of_its_own() {
    for calendar in [0, 1] {
        let mut world = World::open(Plan { seed: seed(1), affairs: 8, ..FEW }).await;
        world.begin().await;
        leave_a_creation(&mut world).await;
        for is_kept in [false, true] {
            let (affair, copy) = (world.office.affairs.len(), world.office.affairs.len() + 1);
            let says = plain("Verhandlung", affair, on(10));
            world.perform(&Edit::Event { calendar, says, guests: BTreeSet::new(), rule: None });
            world.rest("made").await;
            world.perform(&Edit::CopyEvent { affair, calendar, says: plain("Termin", copy, on(200)) });
            world.rest("copied").await;
            if is_kept {
                let change = Change::Body("geändert".to_owned());
                world.perform(&Edit::DeleteEventAgainst { affair, calendar, change });
            } else {
                world.perform(&Edit::DeleteMeeting { affair });
            }
            world.rest("the original has gone").await;
            world.perform(&Edit::InCalendar { affair: copy, calendar, change: Change::When(on(12)) });
            world.rest("the copy is in the window").await;
            assert!(world.office.affairs[copy].id.is_some(), "{calendar}, meeting kept: {is_kept}");
        }
    }
}
