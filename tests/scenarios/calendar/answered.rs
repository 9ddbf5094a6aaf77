//! What a user answers to an invitation from outside is known in the CRM.

use super::affairs::Kind;
use super::says::Provider;
use super::script::Edit;
use super::time::{connected, meeting};
use super::world::World;
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
    let mut world = connected(&USERS).await;
    for user in USERS {
        let says = meeting(user);
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
