//! What a user answers to an invitation from outside is known in the CRM.

use jiff::ToSpan as _;

use super::affairs::Kind;
use super::says::{Provider, When, ZONES};
use super::script::Edit;
use super::time::{FEW, plain, seed};
use super::world::{Plan, World};
use super::{crm, google, outlook};

/// Users 0 and 1 have Outlook and Google.
const USERS: [usize; 2] = [0, 1];

async fn answer(world: &mut World, user: usize, accepts: bool) -> String {
    let at = world.calendars_of(user)[0];
    let event = world.office.affairs[user].copies[&at].id.clone().unwrap();
    match world.office.calendars[at].provider {
        Provider::Microsoft => outlook::answer(&world.office.microsoft, &event, accepts).unwrap(),
        Provider::Google => google::answer(&world.office.google, &event, accepts).unwrap(),
    }
    world.quiet().await;
    said(world, user)
}

fn said(world: &World, user: usize) -> String {
    let id = &world.office.users[user].crm_id;
    let meetings = crm::all(&world.office.crm, Kind::Meeting);
    let answers: Vec<&String> = meetings.iter().filter_map(|meeting| meeting.answers.get(id)).collect();
    assert_eq!(answers.len(), 1, "{meetings:#?}");
    answers[0].clone()
}

#[tokio::test]
async fn what_a_user_answers_to_somebody_outside_is_known_in_the_crm() {
    let mut world = World::open(Plan { seed: seed(1), affairs: 8, ..FEW }).await;
    for user in USERS {
        for at in world.calendars_of(user) {
            world.connect(at).await;
        }
    }
    world.rest("begin").await;
    let start = (FEW.first + 10.days()).at(10, 0, 0, 0);
    for user in USERS {
        let says = plain("Besprechung", user, When::Timed { start, minutes: 60, zone: ZONES[0] });
        world.perform(&Edit::Invitation { calendars: world.calendars_of(user), says });
    }
    world.rest("invited").await;
    for user in USERS {
        assert_eq!(said(&world, user), "None");
        let before = world.office.crm.journal_sequence();
        assert_eq!(answer(&mut world, user, true).await, "Accepted");
        assert_eq!(world.office.crm.journal_after(before).len(), 1, "one write");
    }
    world.rest("answered").await;
    // Outlook takes what is declined out of the calendar.
    assert_eq!(answer(&mut world, USERS[1], false).await, "Declined");
    world.rest("declined").await;
}
