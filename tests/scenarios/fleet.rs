//! Many producers and workers on real RabbitMQ and Redis bring both sides to agree, also while programs are killed
//! and servers restarted in the middle.

use std::time::Duration;

use simulators::demo_data::{self, Edit, Pair};
use simulators::{ActorKind, Dice, FaultKind, FaultRule};
use system_tests::{Backing, Fleet, Kind, Plan, Rabbitmq, Redis, judge, shared_rabbitmq, shared_redis, wait};

const PAIRS: usize = 120;
/// Long enough for anything that works, on a busy machine.
const SOON: Duration = Duration::from_secs(90);
/// Writes after which a round is in its middle.
const SOME_WRITES: usize = 25;

/// A seed of this run; printed, so that it can be put in here to see a failure again.
/// Another one each time; `SCENARIO_SEED` plays one again, as far as programs and people meet in the same way.
#[expect(clippy::disallowed_methods, reason = "no setting of the product")]
pub fn seed() -> u64 {
    let told = std::env::var("SCENARIO_SEED").ok();
    let seed =
        told.map_or_else(|| fastrand::u64(..), |seed| seed.parse().expect("a number as SCENARIO_SEED"));
    println!("seed {seed}");
    seed
}

fn on(rabbitmq: &Rabbitmq, redis: &Redis) -> Plan {
    let backing = Backing::Servers { rabbitmq: rabbitmq.url(), redis: redis.url() };
    Plan { settings: vec![("WORKER__CONCURRENCY_MAX", "8".to_owned())], ..Plan::new(backing, 2, 3) }
}

/// An installation with its parties laid out, on systems that are slow and fail now and then.
async fn laid_out(plan: Plan, seed: u64) -> (Fleet, Vec<Pair>) {
    let fleet = Fleet::new(plan).await.unwrap();
    let pairs = demo_data::initial(seed, PAIRS);
    fleet.seed(&pairs).unwrap();
    fleet.crm.fault(FaultRule::new(FaultKind::Latency { latency_ms: 20 }));
    fleet.advoware.fault(FaultRule::new(FaultKind::Latency { latency_ms: 20 }));
    let often = |kind| FaultRule::new(kind).sometimes(0.01, seed);
    fleet.crm.fault(often(FaultKind::Status { status: 503 }).on("GET", "/api/v1/CBeteiligte/*"));
    fleet.advoware.fault(often(FaultKind::HtmlBadGateway).on("GET", "*/Beteiligte/*"));
    // An answer that is lost after the write took effect: what makes careless programs create twice.
    let lost = |path| FaultRule::new(FaultKind::CloseAfter).on("POST", path).times(3);
    fleet.advoware.fault(lost("*/Beteiligte"));
    (fleet, pairs)
}

fn writes(fleet: &Fleet) -> usize {
    let by_us = |journal: Vec<simulators::JournalEntry>| {
        journal.iter().filter(|entry| entry.actor_kind == ActorKind::Api).count()
    };
    by_us(fleet.crm.journal()) + by_us(fleet.advoware.journal())
}

/// Waits until a round is in its middle.
async fn until_some_writes(fleet: &Fleet, before: usize) {
    wait::until("some writes", SOON, async || {
        let done = writes(fleet) - before;
        if done >= SOME_WRITES { Ok(()) } else { Err(done) }
    })
    .await;
    assert!(!unsettled(fleet).is_empty(), "the round was over before the trouble began");
}

fn unsettled(fleet: &Fleet) -> Vec<String> {
    judge::unsettled(&fleet.crm.records(), &fleet.advoware.records())
}

async fn until_settled(fleet: &Fleet) {
    let settled = wait::try_until("agreement", SOON, async || {
        let left = unsettled(fleet);
        if left.is_empty() { Ok(()) } else { Err((left.len(), left.into_iter().take(5).collect::<Vec<_>>())) }
    })
    .await;
    if let Err(error) = settled {
        let left = unsettled(fleet);
        let ids = left.iter().filter_map(|text| text.split('"').nth(1)).take(3);
        let logs: Vec<String> = ids.map(|id| fleet.log_about(id)).collect();
        panic!("{}\n{error}", logs.join("\n"));
    }
}

/// What people do in the second round.
fn edit(fleet: &Fleet, seed: u64) -> Vec<Edit> {
    let edits = demo_data::second_round(seed, &fleet.crm.records(), &fleet.advoware.records());
    for edit in &edits {
        edit.apply(&fleet.crm, &fleet.advoware).unwrap_or_else(|error| panic!("{edit:?}: {error}"));
    }
    edits
}

/// Both rounds, with trouble in the middle of each; then everything that must hold is looked at.
async fn play(plan: Plan, mut trouble: impl AsyncFnMut(&mut Fleet, &mut Dice)) {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let (mut fleet, pairs) = laid_out(plan, seed).await;
    fleet.start_ready().await.unwrap();

    until_some_writes(&fleet, 0).await;
    trouble(&mut fleet, &mut dice).await;
    until_settled(&fleet).await;
    let lost = judge::lost(&judge::kept_at_first(&pairs), &fleet.crm.records(), &fleet.advoware.records());
    assert_eq!(lost, Vec::<String>::new());

    let before = writes(&fleet);
    let edits = edit(&fleet, seed);
    until_some_writes(&fleet, before).await;
    trouble(&mut fleet, &mut dice).await;
    until_settled(&fleet).await;
    let lost = judge::lost(&judge::kept_of_edits(&edits), &fleet.crm.records(), &fleet.advoware.records());
    assert_eq!(lost, Vec::<String>::new());

    // What fails now and then may fail at the very end: the last word is said without faults.
    fleet.drain().await.unwrap();
    fleet.crm.faults().clear();
    fleet.advoware.faults().clear();
    fleet.start_ready().await.unwrap();
    until_settled(&fleet).await;
    fleet.drain().await.unwrap();
    look_at_the_traces(&fleet).await;
}

async fn look_at_the_traces(fleet: &Fleet) {
    assert_eq!(unsettled(fleet), Vec::<String>::new(), "after the programs ended");
    let records = fleet.crm.records();
    let wrong = judge::wrong_writes(&fleet.crm.journal(), &fleet.advoware.journal(), &records);
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(fleet.leaks(), Vec::<String>::new());
    let letters = fleet.dead_letters().await.unwrap();
    for letter in &letters {
        assert!(letter.attempts.len() <= 5, "{letter:?}");
    }
    // An open dead letter and the status say the same.
    let mut said: Vec<&str> = records
        .iter()
        .filter(|record| record["syncStatus"] == "permanently_failed" && record["deleted"] != true)
        .filter_map(|record| record["id"].as_str())
        .collect();
    let mut open: Vec<&str> = letters.iter().filter_map(|letter| Some(letter.key.as_ref()?.id())).collect();
    said.sort_unstable();
    open.sort_unstable();
    open.dedup();
    assert_eq!(open, said);
}

#[tokio::test]
async fn two_producers_and_three_workers_bring_both_sides_to_agree() {
    let plan = on(shared_rabbitmq().await.unwrap(), shared_redis().await.unwrap());
    play(plan, async |_, _| {}).await;
}

/// Kills one after the other, lets the others go on for a moment, starts it again.
async fn kill_workers(fleet: &mut Fleet, dice: &mut Dice) {
    for _ in 0..5 {
        let chosen = dice.below(3);
        let moment = Duration::from_millis(100 + dice.below(700) as u64);
        let worker = fleet.of_kind(Kind::Worker).nth(chosen).unwrap();
        println!("kill -9 of {}, {moment:?} pause", worker.name());
        worker.kill_9();
        tokio::time::sleep(moment).await;
        fleet.of_kind(Kind::Worker).nth(chosen).unwrap().start().unwrap();
        tokio::time::sleep(moment).await;
    }
}

#[tokio::test]
async fn workers_that_are_killed_in_the_middle_leave_no_trace() {
    let plan = on(shared_rabbitmq().await.unwrap(), shared_redis().await.unwrap());
    play(plan, kill_workers).await;
}

#[tokio::test]
async fn a_restart_of_rabbitmq_in_the_middle_leaves_no_trace() {
    let mut rabbitmq = Rabbitmq::start().await.unwrap();
    let plan = on(&rabbitmq, shared_redis().await.unwrap());
    play(plan, async |_, _| rabbitmq.restart().await.unwrap()).await;
}

#[tokio::test]
async fn a_restart_of_redis_in_the_middle_leaves_no_trace() {
    let mut redis = Redis::start().await.unwrap();
    let plan = on(shared_rabbitmq().await.unwrap(), &redis);
    play(plan, async |_, _| redis.restart().await.unwrap()).await;
}
