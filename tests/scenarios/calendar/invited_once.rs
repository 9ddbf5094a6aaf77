//! Who is invited to a meeting that several users have is invited once, whatever goes wrong while their events are made.

use std::collections::BTreeSet;

use simulators::{Dice, FaultKind, FaultRule};

use super::affairs::Kind;
use super::faults::{self, GOOGLE};
use super::script::Edit;
use super::time::{connected, meeting};

/// Both have Google.
const USERS: [usize; 2] = [1, 3];

#[tokio::test]
async fn two_events_that_are_made_at_once_and_know_nothing_of_each_other_invite_a_guest_once() {
    for assigned in USERS {
        let mut world = connected(&USERS).await;
        // The first user's event fails, the second one's is there, and nobody hears of it.
        faults::lose(&world.office, 1.0, &mut Dice::new(1));
        let creating = |fault| FaultRule::new(fault).on("POST", GOOGLE).times(1);
        world.office.google.fault(creating(FaultKind::Status { status: 503 }));
        world.office.google.fault(creating(FaultKind::CloseAfter));
        let says = meeting(0);
        let (kind, users, contacts) = (Kind::Meeting, BTreeSet::from(USERS), BTreeSet::from([0]));
        world.perform(&Edit::Meeting { kind, assigned, users, contacts, says });
        world.quiet().await;
        world.rest("made").await;
        let invitations = world.office.google.records();
        let guests = invitations.iter().filter_map(|event| event["attendees"].as_array()).flatten();
        assert_eq!(guests.count(), 1, "{invitations:#?}");
    }
}
