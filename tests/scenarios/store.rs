//! A fleet whose Redis is emptied, or comes back as an older copy: it pauses and says so, goes on when a person has
//! released it, and both sides agree in the end without anything being created twice.

use serde_json::json;
use simulators::demo_data::{self, Pair};
use simulators::{ActorKind, JournalEntry};
use system_tests::{Backing, Fleet, Plan, Redis, judge, shared_rabbitmq, wait};

use super::{SOON, created, person};

const PAIRS: usize = 40;
/// Beats of the store after which each of three programs has looked at it since the first of them.
const BEATS: usize = 4;

async fn fleet_on(redis: &Redis) -> (Fleet, Vec<Pair>) {
    let rabbitmq = shared_rabbitmq().await.unwrap().url();
    let backing = Backing::Servers { rabbitmq, redis: redis.url() };
    let fleet = Fleet::new(Plan::new(backing, 1, 2)).await.unwrap();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let pairs = demo_data::initial(seed, PAIRS);
    fleet.seed(&pairs).unwrap();
    (fleet, pairs)
}

async fn settled(fleet: &Fleet) {
    wait::until("agreement", SOON, async || {
        let left = judge::unsettled(&fleet.crm.records(), &fleet.advoware.records());
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}

fn writes(fleet: &Fleet) -> usize {
    let by_us = |journal: Vec<JournalEntry>| {
        journal.iter().filter(|entry| entry.actor_kind == ActorKind::Api).count()
    };
    by_us(fleet.crm.journal()) + by_us(fleet.advoware.journal())
}

async fn release(fleet: &Fleet) {
    let status = fleet.operate(&["status"]).await.unwrap_err().to_string();
    assert!(status.contains("the fleet pauses") && status.contains("release --store"), "{status}");
    let printed = fleet.operate(&["release", "--store", "--by", "anna"]).await.unwrap();
    assert!(printed.contains("released by anna"), "{printed}");
    fleet.ready().await.unwrap();
    let again = fleet.operate(&["release", "--store", "--by", "anna"]).await.unwrap();
    assert!(again.contains("nothing was done"), "{again}");
}

/// Both sides agree, nothing was created twice, and nothing became a dead letter by the pause.
async fn nothing_is_wrong(fleet: &mut Fleet) {
    settled(fleet).await;
    fleet.drain().await.unwrap();
    let wrong = judge::wrong_writes(&fleet.crm.journal(), &fleet.advoware.journal(), &fleet.crm.records());
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(fleet.leaks(), Vec::<String>::new());
    for letter in fleet.dead_letters().await.unwrap() {
        assert_eq!(letter.reason.name(), "permanent", "{letter:?}");
    }
}

#[tokio::test]
async fn a_fleet_whose_store_is_emptied_in_the_middle_pauses_until_it_is_released() {
    let redis = Redis::start().await.unwrap();
    let (mut fleet, _) = fleet_on(&redis).await;
    fleet.start_ready().await.unwrap();
    wait::until("some writes", SOON, async || match writes(&fleet) {
        20.. => Ok(()),
        few => Err(few),
    })
    .await;
    redis.control(&["FLUSHALL"]).await.unwrap();
    fleet.paused().await.unwrap();

    // Webhooks are taken, and wait; nothing is written meanwhile.
    let before = writes(&fleet);
    let webhooks = fleet.metric(&fleet.members[0], "syncfleet_messages_published_total").await.unwrap();
    let id = fleet.crm.create_as_person(&person("Wartend", "pending_sync")).unwrap();
    wait::until("webhook taken", SOON, async || {
        let taken = fleet.metric(&fleet.members[0], "syncfleet_messages_published_total").await;
        if taken.as_ref().is_ok_and(|taken| *taken > webhooks) { Ok(()) } else { Err(taken) }
    })
    .await;
    assert_eq!(writes(&fleet), before, "a fleet that pauses writes nothing");

    release(&fleet).await;
    created(&fleet, &id).await;
    nothing_is_wrong(&mut fleet).await;
    let said = |member: &system_tests::Member| member.log().matches("The fleet pauses").count();
    for member in &fleet.members {
        assert_eq!(said(member), 1, "said once in each program:\n{}", member.log());
    }
}

#[tokio::test]
async fn a_fleet_that_was_stopped_while_its_store_was_emptied_does_not_begin_anew() {
    let redis = Redis::start().await.unwrap();
    let (mut fleet, _) = fleet_on(&redis).await;
    fleet.start_ready().await.unwrap();
    settled(&fleet).await;
    fleet.drain().await.unwrap();
    redis.control(&["FLUSHALL"]).await.unwrap();
    let before = writes(&fleet);
    fleet.start().unwrap();
    fleet.paused().await.unwrap();
    assert_eq!(writes(&fleet), before);
    release(&fleet).await;
    nothing_is_wrong(&mut fleet).await;
}

#[tokio::test]
async fn a_fleet_whose_store_comes_back_as_an_older_copy_pauses_until_it_is_released() {
    let mut redis = Redis::start().await.unwrap();
    let (mut fleet, _) = fleet_on(&redis).await;
    fleet.start_ready().await.unwrap();
    settled(&fleet).await;
    let copy = redis.back_up().unwrap();
    // What was lost within the last second is not noticed: so many beats that every program has seen one.
    let key = format!("{}/document/generation", fleet.namespace());
    let version = async || redis.control(&["HGET", &key, "version"]).await.unwrap();
    for _ in 0..BEATS {
        let before = version().await;
        wait::until("beat", SOON, async || if version().await == before { Err("none") } else { Ok(()) })
            .await;
    }
    let id = fleet.crm.create_as_person(&person("Nachher", "pending_sync")).unwrap();
    created(&fleet, &id).await;
    redis.restore(&copy).await.unwrap();
    fleet.paused().await.unwrap();
    fleet.crm.edit_as_person(&id, &super::object(json!({ "firstName": "Berta" }))).unwrap();
    release(&fleet).await;
    nothing_is_wrong(&mut fleet).await;
}
