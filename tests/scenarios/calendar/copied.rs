//! An event that was copied carries all that hangs on its original, also when that one is no more.

use std::collections::BTreeSet;

use jiff::ToSpan as _;
use serde_json::json;
use shared::clock::Clock as _;
use shared::ports::state::{State as _, Write};
use simulators::{FaultKind, FaultRule};

use super::affairs::Kind;
use super::says::{Change, When, ZONES};
use super::script::Edit;
use super::time::{FEW, plain, seed};
use super::world::{Plan, World};

/// Times that a meeting is refused at most.
const TIMES: u32 = 4;

fn on(days: i64) -> When {
    let start = (FEW.first + days.days()).at(10, 0, 0, 0);
    When::Timed { start, minutes: 60, zone: ZONES[0] }
}

/// In each calendar some other event is being created all the time, so that stamps are read there.
async fn leave_creations(world: &World) {
    let standing = world.store.scan("calendar/standing/", None, 200).await.unwrap();
    assert!(!standing.is_empty());
    for (key, _) in standing {
        let calendar = key.strip_prefix("calendar/standing/").unwrap();
        let place = format!("link/calendar/{calendar}.meeting.6b0a000000000dead");
        let link = json!({ "meeting": { "kind": "meeting", "id": "6b0a000000000dead" } }).to_string();
        world.store.write(Write::put(&place, link.as_bytes())).await.unwrap();
    }
}

/// The copy lies outside the window until its original has gone, with its meeting or without it.
#[tokio::test]
async fn a_copy_that_comes_into_the_window_late_has_a_meeting_of_its_own() {
    for calendar in [0, 1] {
        let mut world = World::open(Plan { seed: seed(1), affairs: 8, ..FEW }).await;
        world.begin().await;
        leave_creations(&world).await;
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

/// The original lies outside the window, so that nothing but the copy tells of the record that both name. Its own meeting may
/// be refused at first, or be made without an answer.
#[tokio::test]
async fn a_copy_has_a_meeting_of_its_own_after_the_store_was_emptied() {
    let troubles = [None, Some(FaultKind::Status { status: 403 }), Some(FaultKind::CloseAfter)];
    for (user, trouble) in [0, 1].into_iter().flat_map(|user| troubles.clone().map(|trouble| (user, trouble)))
    {
        let mut world = World::open(Plan { seed: seed(1), affairs: 8, ..FEW }).await;
        world.begin().await;
        let calendar = world.calendars_of(user)[0];
        let mut copies = Vec::new();
        for is_born_in_crm in [false, true] {
            let affair = world.office.affairs.len();
            let says = plain("Verhandlung", affair, on(10));
            let (users, contacts) = (BTreeSet::from([user]), BTreeSet::new());
            world.perform(&match is_born_in_crm {
                true => Edit::Meeting { kind: Kind::Meeting, assigned: user, users, contacts, says },
                false => Edit::Event { calendar, says, guests: BTreeSet::new(), rule: None },
            });
            world.rest("made").await;
            world.perform(&Edit::InCalendar { affair, calendar, change: Change::When(on(200)) });
            world.rest("the original has left the window").await;
            // Else the CRM's changes would tell of it.
            let later = world.clock.now() + 6.hours();
            world.advance_to(later).await;
            copies.push(affair + 1);
            world.perform(&Edit::CopyEvent { affair, calendar, says: plain("Termin", affair + 1, on(12)) });
            world.lose_memory().await;
            if let Some(fault) = trouble.clone() {
                let (method, path) = (Some("POST".to_owned()), Some("/api/v1/Meeting".to_owned()));
                world.office.crm.fault(FaultRule {
                    method,
                    path,
                    times: Some(TIMES),
                    ..FaultRule::new(fault)
                });
                world.quiet().await;
                let struck = world.office.crm.faults().list().iter().all(|rule| rule.times < Some(TIMES));
                assert!(struck, "{trouble:?}");
            }
            world.rest("after the store was emptied").await;
        }
        for copy in copies {
            assert!(world.office.affairs[copy].id.is_some(), "{user}, {copy}");
        }
    }
}
