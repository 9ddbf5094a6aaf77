//! Whoever has to connect a calendar again is told so once, with a link for it.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use reqwest::Url;
use serde_json::json;
use shared::clock::Clock as _;
use simulators::{FaultKind, FaultRule};
use vault::Connecting;

use super::affairs::Kind;
use super::script::Edit;
use super::time::{connected, meeting};
use super::world::World;

/// Users 0 and 1 have Outlook and Google.
const USERS: [usize; 2] = [0, 1];
/// Looks at a calendar in two days, at least.
const LOOKS: u64 = 10;

/// What the CRM told this user alone, after this entry of its journal.
fn told(world: &World, user: usize, after: u64) -> Vec<String> {
    let journal = world.office.crm.journal_after(after).into_iter();
    let notes = journal.filter(|entry| entry.entity == "Note").filter_map(|entry| entry.after);
    let readers = json!([world.office.users[user].crm_id]);
    let own = notes.filter(|note| note["usersIds"] == readers);
    own.map(|note| note["post"].as_str().unwrap().to_owned()).collect()
}

/// The link in it, with which the user's calendar can be connected.
async fn link(world: &World, user: usize, text: &str) -> Url {
    let link: Url = text.split_whitespace().next_back().unwrap().parse().unwrap();
    let accounts = world.installation.accounts(&world.office);
    let address = Url::parse("https://sync.example").unwrap();
    let connecting = Connecting::new(accounts.clone(), &address).unwrap();
    let provider = world.office.calendars[world.calendars_of(user)[0]].provider.name();
    assert_eq!(link.path(), format!("/connect/{provider}"));
    connecting.begin(provider, link.query().unwrap()).await.unwrap();
    accounts.leave().await;
    link
}

fn looks(world: &World, user: usize) -> u64 {
    let provider = world.office.calendars[world.calendars_of(user)[0]].provider.name();
    let key = world.engine.flow.key_of_account(provider, &world.office.users[user].crm_id).unwrap();
    world.engine.looks_at(&key)
}

fn lose_grants(world: &mut World) {
    for user in USERS {
        let calendar = world.calendars_of(user)[0];
        world.lose_grant(calendar);
    }
}

/// Half a day, with something that waits for both calendars.
async fn half_a_day(world: &mut World) {
    let says = meeting(world.office.affairs.len());
    let (kind, users, contacts) = (Kind::Meeting, BTreeSet::from(USERS), BTreeSet::new());
    world.perform(&Edit::Meeting { kind, assigned: USERS[0], users, contacts, says });
    let later = world.clock.now() + SignedDuration::from_hours(12);
    world.advance_to(later).await;
}

#[tokio::test]
async fn a_user_is_told_once_each_time_that_the_calendar_has_to_be_connected_again() {
    let mut world = connected(&USERS).await;
    let mut links = BTreeSet::new();
    for time in 1..=2 {
        let (before, looked) = (world.office.crm.journal_sequence(), USERS.map(|user| looks(&world, user)));
        lose_grants(&mut world);
        for _ in 0..4 {
            half_a_day(&mut world).await;
        }
        for user in USERS {
            assert!(looks(&world, user) >= looked[user] + LOOKS, "user {user}");
            let texts = told(&world, user, before);
            assert_eq!(texts.len(), 1, "user {user}, time {time}: {texts:?}");
            assert!(texts[0].contains("no longer connected"), "{texts:?}");
            links.insert(link(&world, user, &texts[0]).await);
        }
        assert_eq!(world.notices_after(before).len(), USERS.len(), "nobody is told anything else");
        for user in USERS {
            let calendar = world.calendars_of(user)[0];
            world.connect(calendar).await;
        }
        world.rest("connected again").await;
    }
    assert_eq!(links.len(), 2 * USERS.len(), "each time another one");
}

#[tokio::test]
async fn a_user_who_could_not_be_told_is_told_later() {
    let mut world = connected(&USERS).await;
    let before = world.office.crm.journal_sequence();
    let refused = FaultRule::new(FaultKind::Status { status: 503 }).on("POST", "/api/v1/Note");
    world.office.crm.fault(refused);
    lose_grants(&mut world);
    half_a_day(&mut world).await;
    assert_eq!(world.notices_after(before), Vec::<String>::new());
    world.office.crm.faults().clear();
    for _ in 0..2 {
        half_a_day(&mut world).await;
    }
    for user in USERS {
        assert_eq!(told(&world, user, before).len(), 1, "user {user}");
    }
}
