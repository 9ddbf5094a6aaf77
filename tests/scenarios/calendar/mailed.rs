//! Guests get mail only where that is asked for, and then once for each thing that happens.

use std::collections::BTreeSet;

use serde_json::Value;

use super::affairs::{Kind, contact_mail};
use super::says::{Change, Provider, mark};
use super::script::Edit;
use super::shown::{Place, Shown};
use super::time::{connected, meeting};
use super::world::World;

/// Users 0 and 1 have Outlook and Google.
const USERS: [usize; 2] = [0, 1];

async fn world_of(users: &[usize], send_mail: bool) -> World {
    let mut world = connected(users).await;
    world.installation.send_mail = send_mail;
    world.restart().await;
    world
}

/// A meeting with a contact.
fn make(world: &mut World, assigned: usize, users: &[usize]) {
    let says = meeting(world.office.affairs.len());
    let (kind, users, contacts) = (Kind::Meeting, users.iter().copied().collect(), BTreeSet::from([0]));
    world.perform(&Edit::Meeting { kind, assigned, users, contacts, says });
}

/// The events in all calendars.
fn events(world: &World) -> Vec<Shown> {
    let shown = world.office.shown().into_iter();
    shown.filter(|one| matches!(one.place, Place::Calendar(_)) && !one.is_cancelled()).collect()
}

/// Mails that our writes sent: what for, and to whom.
fn mails(world: &World) -> Vec<(String, String)> {
    let outlook = world.office.microsoft.mails_by_clients().into_iter();
    let google = world.office.google.mails_by_clients().into_iter().filter_map(|entry| entry.after);
    let text = |mail: &Value, name: &str| mail[name].as_str().unwrap().to_owned();
    outlook.chain(google).map(|mail| (text(&mail, "kind"), text(&mail, "to"))).collect()
}

#[tokio::test]
async fn guests_of_a_meeting_get_mail_where_that_is_asked_for_and_else_none() {
    for (user, send_mail) in [(0, false), (0, true), (1, false), (1, true)] {
        let mut world = world_of(&[user], send_mail).await;
        let mut expected = Vec::new();
        let mut happens = |kind: &str| {
            expected.extend(send_mail.then(|| (kind.to_owned(), contact_mail(0))));
            expected.clone()
        };
        make(&mut world, user, &[user]);
        world.quiet().await;
        let calendar = world.calendars_of(user)[0];
        // Outlook mails whoever is among the attendees.
        let is_invited = send_mail || world.office.calendars[calendar].provider == Provider::Google;
        let people: Vec<BTreeSet<String>> = events(&world).into_iter().map(|event| event.people).collect();
        let invited: BTreeSet<String> = is_invited.then(|| contact_mail(0)).into_iter().collect();
        assert_eq!(people, [invited], "user {user}");
        assert_eq!(mails(&world), happens("invitation"), "user {user}");

        let change = Change::Subject(format!("Umbenannt {}", mark(0)));
        world.perform(&Edit::InCrm { affair: 0, change });
        world.quiet().await;
        assert_eq!(mails(&world), happens("update"), "user {user}");

        world.perform(&Edit::DeleteMeeting { affair: 0 });
        world.quiet().await;
        assert_eq!(events(&world).len(), 0, "user {user}");
        assert_eq!(mails(&world), happens("cancellation"), "user {user}");
    }
}

#[tokio::test]
async fn a_guest_of_a_meeting_of_several_users_gets_one_invitation() {
    for assigned in USERS {
        let mut world = world_of(&USERS, true).await;
        make(&mut world, assigned, &USERS);
        world.quiet().await;
        assert_eq!(events(&world).len(), USERS.len());
        assert_eq!(mails(&world), [("invitation".to_owned(), contact_mail(0))], "assigned to {assigned}");
    }
}
