//! Meetings or calls may be left out: then those of the CRM do not go out, and those that did follow as ever.

use std::collections::BTreeSet;

use super::affairs::Kind;
use super::faults;
use super::says::{Change, mark};
use super::script::Edit;
use super::shown::Place;
use super::time::{connected, meeting};
use super::world::World;

/// Users 0 and 1 have Outlook and Google.
const USERS: [usize; 2] = [0, 1];

/// A record of both users; answers its number.
fn make(world: &mut World, kind: Kind) -> usize {
    let affair = world.office.affairs.len();
    let (says, users, contacts) = (meeting(affair), BTreeSet::from(USERS), BTreeSet::new());
    world.perform(&Edit::Meeting { kind, assigned: USERS[0], users, contacts, says });
    affair
}

/// What it is called, where it is.
fn shown(world: &World, affair: usize) -> Vec<(Place, String)> {
    let shown = world.office.shown().into_iter();
    let of_it = shown.filter(|one| one.number() == Some(affair) && !one.is_cancelled());
    let mut found: Vec<(Place, String)> = of_it.map(|one| (one.place, one.subject)).collect();
    found.sort();
    found
}

fn everywhere(world: &World, kind: Kind, subject: &str) -> Vec<(Place, String)> {
    let calendars = USERS.map(|user| Place::Calendar(world.calendars_of(user)[0]));
    [Place::Crm(kind)].into_iter().chain(calendars).map(|place| (place, subject.to_owned())).collect()
}

#[tokio::test]
async fn what_is_left_out_does_not_go_out_and_what_is_linked_follows() {
    for (kind, other) in [(Kind::Meeting, Kind::Call), (Kind::Call, Kind::Meeting)] {
        let mut world = connected(&USERS).await;
        let linked = make(&mut world, kind);
        world.rest("made").await;
        match kind {
            Kind::Meeting => world.installation.meetings = false,
            Kind::Call => world.installation.calls = false,
        }
        world.restart().await;
        world.quiet().await;
        let (left, out) = (make(&mut world, kind), make(&mut world, other));
        world.quiet().await;
        for user in USERS {
            let calendar = world.calendars_of(user)[0];
            faults::forget(&world.office, calendar, None, &mut world.script.dice);
        }
        world.sweep_now();
        world.quiet().await;
        assert_eq!(shown(&world, left), [(Place::Crm(kind), meeting(left).subject)]);
        assert_eq!(shown(&world, out), everywhere(&world, other, &meeting(out).subject));

        let subject = format!("Umbenannt {}", mark(linked));
        world.perform(&Edit::InCrm { affair: linked, change: Change::Subject(subject.clone()) });
        world.quiet().await;
        assert_eq!(shown(&world, linked), everywhere(&world, kind, &subject));

        let born = world.office.affairs.len();
        let calendar = world.calendars_of(USERS[0])[0];
        world.perform(&Edit::Event { calendar, says: meeting(born), guests: BTreeSet::new(), rule: None });
        world.quiet().await;
        let places: Vec<Place> = shown(&world, born).into_iter().map(|(place, _)| place).collect();
        assert_eq!(places, [Place::Crm(Kind::Meeting), Place::Calendar(calendar)], "events come in");
    }
}
