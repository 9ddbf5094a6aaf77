//! Redis restarted, killed, frozen, slow, emptied.

use std::cell::Cell;
use std::time::Duration;

use serde_json::json;
use system_tests::{Backing, Fleet, Member, Proxy, Redis, shared_rabbitmq, shared_redis, wait};

use crate::damage::{calm, moment};
use crate::ledger;
use crate::people::{Office, People, object};
use crate::stage::{Stage, World};

/// Longer than the leases of the tests' settings.
const FROZEN: Duration = Duration::from_secs(5);
/// Long enough for anything that works, on a busy machine.
const SOON: Duration = Duration::from_secs(120);
/// For so long no request reaches a system: what was on its way when the fleet paused has come through.
const QUIET_FOR: Duration = Duration::from_millis(500);

/// The store is restarted, killed and frozen in turn.
pub async fn the_store_is_restarted_killed_and_frozen(stage: &mut Stage) {
    let mut redis = Redis::start().await.unwrap();
    let backing = Backing::Servers { rabbitmq: shared_rabbitmq().await.unwrap().url(), redis: redis.url() };
    let mut world = stage.open(stage.plan(backing, 2, 3)).await;
    let (mut blows, wanted) = (0, stage.sizes.or(4, 60));
    let blow = async |_: &mut [Member], stage: &mut Stage| {
        tokio::time::sleep(moment(&mut stage.dice, 300, 2_500)).await;
        match blows % 3 {
            0 => redis.restart().await.unwrap(),
            1 => {
                redis.kill_9();
                redis.restart().await.unwrap();
            }
            _ => {
                redis.freeze();
                tokio::time::sleep(FROZEN).await;
                redis.thaw();
            }
        }
        stage.counts.kills += 1;
        blows += 1;
        blows >= wanted
    };
    world.broken(stage, blow).await;
    stage.judge(world, &[]).await;
}

/// The store answers late, in changing degrees, and not at all for moments.
pub async fn the_store_is_slow(stage: &mut Stage) {
    let (rabbitmq, redis) = (shared_rabbitmq().await.unwrap(), shared_redis().await.unwrap());
    let proxy = Proxy::before(redis.port()).await.unwrap();
    let through = redis.url().replace(&redis.port().to_string(), &proxy.port().to_string());
    let backing = Backing::Servers { rabbitmq: rabbitmq.url(), redis: through };
    let mut world = stage.open(stage.plan(backing, 2, 3)).await;
    let (mut blows, wanted) = (0, stage.sizes.or(6, 100));
    let blow = async |_: &mut [Member], stage: &mut Stage| {
        let dice = &mut stage.dice;
        proxy.slow(moment(dice, 1, 60));
        tokio::time::sleep(moment(dice, 500, 1_500)).await;
        if dice.chance(0.4) {
            proxy.hold(true);
            tokio::time::sleep(moment(dice, 500, 4_000)).await;
            proxy.hold(false);
        }
        stage.counts.kills += 1;
        blows += 1;
        blows >= wanted
    };
    world.broken(stage, blow).await;
    proxy.slow(Duration::ZERO);
    stage.judge(world, &[]).await;
}

/// The store is emptied at a random moment while people work. The whole fleet pauses and says so, handles nothing while
/// people go on, and adopts what both sides hold when a person has released it: nothing is made twice, and at most
/// what was edited in Advoware alone is lost, until each record was looked at once.
pub async fn the_store_is_flushed(stage: &mut Stage) {
    let redis = Redis::start().await.unwrap();
    let backing = Backing::Servers { rabbitmq: shared_rabbitmq().await.unwrap().url(), redis: redis.url() };
    let mut world = stage.open(stage.plan(backing, 2, 3)).await;
    for _ in 0..stage.sizes.or(1, 20) {
        let World { fleet, people } = &world;
        let (asked, is_over) = (stage.sizes.syncs, Cell::new(false));
        let office = office(fleet);
        let working = people.work(office, |count| count < asked || !is_over.get());
        let emptying = async {
            tokio::time::sleep(moment(&mut stage.dice, 300, 2_500)).await;
            people.is_forgotten.set(true);
            redis.control(&["FLUSHALL"]).await.unwrap();
            fleet.paused().await.unwrap();
            people.forget(&fleet.crm);
            nothing_is_handled(fleet, moment(&mut stage.dice, 500, 2_000)).await;
            let printed = fleet.operate(&["release", "--store", "--by", "anna"]).await.unwrap();
            assert!(printed.contains("released by anna"), "{printed}");
            fleet.ready().await.unwrap();
            tokio::time::sleep(moment(&mut stage.dice, 300, 1_500)).await;
            is_over.set(true);
        };
        tokio::join!(working, emptying);
        stage.counts.kills += 1;
        adopted(&mut world, &redis).await;
    }
    // What people do from now on must all be there.
    world.broken(stage, calm).await;
    stage.judge(world, &[]).await;
}

fn office(fleet: &Fleet) -> Office<'_> {
    Office { crm: &fleet.crm, advoware: &fleet.advoware, http: &fleet.http, webhooks: &fleet.webhooks }
}

/// No request reaches either system for so long, once what was on its way has come through.
async fn nothing_is_handled(fleet: &Fleet, watched: Duration) {
    let requests = || (fleet.crm.counters(), fleet.advoware.counters());
    let before = wait::until("end of what was on its way", SOON, async || {
        let before = requests();
        tokio::time::sleep(QUIET_FOR).await;
        let after = requests();
        if before == after { Ok(after) } else { Err(after) }
    })
    .await;
    tokio::time::sleep(watched).await;
    assert_eq!(requests(), before, "a fleet that pauses reads and writes nothing");
}

/// A create was under way when the store was emptied, and somebody edited the record before the release: the dead
/// letter names the party that may be its own, and a person enters it.
async fn decide(fleet: &Fleet, people: &People) -> usize {
    let mut decided = 0;
    for letter in fleet.dead_letters().await.unwrap() {
        assert_eq!(letter.code, "lost_create_ambiguous", "{letter:?}");
        let id = letter.key.as_ref().unwrap().id();
        let (_, named) = letter.text.split_once("betNr ").unwrap();
        let bet_nr: u64 = named.split_once('.').unwrap().0.parse().expect("one party of that name");
        fleet.crm.edit_as_person(id, &object(json!({ "betnr": bet_nr, "syncStatus": "dirty" }))).unwrap();
        people.tell_of(office(fleet), id).await;
        let discard = ["dlq", "discard", &letter.id.to_string(), "--by", "anna", "--reason", "betNr entered"];
        if let Err(refused) = fleet.operate(&discard).await {
            // The run that the entry led to was faster than the person.
            assert!(refused.to_string().contains("a later run succeeded"), "{refused}");
        }
        decided += 1;
    }
    decided
}

/// Waits until both sides agree and every record is known again.
async fn adopted(world: &mut World, redis: &Redis) {
    let mut decided = 0;
    // What a worker holds is not seen in the queue, and may yet become a letter.
    wait::until("agreement", SOON, async || {
        ledger::until_dry(&world.fleet).await;
        decided += decide(&world.fleet, &world.people).await;
        let left = ledger::complaints(&world.fleet, &world.people);
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    println!("decided by a person: {decided}");
    ledger::until_settled(&mut world.fleet, &world.people).await;
    let World { fleet, people } = &*world;
    people.tell_of_all(office(fleet)).await;
    let (links, records) =
        (format!("{}/document/link/parties/*", fleet.namespace()), people.expected().len());
    wait::until("link of each record", SOON, async || {
        let counting = ["EVAL", "return #redis.call('KEYS', ARGV[1])", "0", &links];
        let found = redis.control(&counting).await.unwrap().parse::<usize>().unwrap();
        if found >= records { Ok(()) } else { Err((found, records)) }
    })
    .await;
    ledger::until_settled(&mut world.fleet, &world.people).await;
    world.people.is_forgotten.set(false);
}
