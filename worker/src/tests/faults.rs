//! The engine when queue, store or flow fail.

use shared::ports::state::Fence;
use shared::routing::{Shard, server_of, shard_of, shards_of};
use shared::{dead_mark, marks, membership, names, retry_mark};
use uuid::Uuid;

use super::doubles::{Counters, Faults, FaultyQueue};
use super::*;
use crate::pump::SETTLE_PAUSE;

fn faulty(flow: &Arc<Scripted>) -> (Bench, Arc<Faults>) {
    let (bench, faults, _) = counted(flow);
    (bench, faults)
}

fn counted(flow: &Arc<Scripted>) -> (Bench, Arc<Faults>, Arc<Counters>) {
    let (faults, counters) = (Arc::<Faults>::default(), Arc::<Counters>::default());
    let bench = Bench::changed(flow.clone(), |engine| {
        engine.queue = Arc::new(FaultyQueue { inner: engine.queue.clone(), faults: faults.clone() });
        engine.meter = counters.clone();
    });
    (bench, faults, counters)
}

/// Ids of records that share a shard.
pub(super) fn neighbours(count: usize) -> Vec<String> {
    let first = shard_of(&envelope("p0").key, 4);
    let ids = (0..).map(|n| format!("p{n}"));
    ids.filter(|id| shard_of(&envelope(id).key, 4) == first).take(count).collect()
}

#[tokio::test]
async fn a_report_that_panics_harms_nobody_else() {
    let ids = neighbours(2);
    let (bad, good) = (ids[0].as_str(), ids[1].as_str());
    let mut flow = Scripted::script(&[(bad, Behaviour::Fail(FaultKind::Permanent))], false);
    flow.report_panics = true;
    flow.spec.run_time_max = PATIENCE * 2;
    let flow = Arc::new(flow);
    let mut bench = Bench::new(flow.clone());
    bench.publish(&[bad]).await;
    bench.begin();
    bench.until("the run", || flow.runs_of(bad) == 1).await;
    bench.publish(&[good]).await;
    bench.until("the neighbour's run", || flow.runs_of(good) == 1).await;
    // The gate is fair: the bad one goes on, its neighbour waits.
    flow.gate.add_permits(1);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while bench.letters().await.is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "no dead letter");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    flow.gate.add_permits(1_000);
    bench.until_empty().await;
    let reasons: Vec<Reason> = bench.letters().await.iter().map(|letter| letter.reason).collect();
    assert_eq!(reasons, [Reason::Permanent]);
    assert_eq!((flow.runs_of(good), flow.runs_of(bad)), (1, 1));
    bench.end().await;
}

#[tokio::test]
async fn a_settlement_that_fails_pauses_the_shard_instead_of_running_the_record_in_a_loop() {
    let flow = Scripted::new(&[("a", Behaviour::Fail(FaultKind::Permanent))], true);
    let (mut bench, faults) = faulty(&flow);
    faults.settling_fails.store(true, Ordering::SeqCst);
    bench.publish(&["a"]).await;
    bench.begin();
    bench.until("the second try", || faults.failed_at().len() >= 2).await;
    faults.settling_fails.store(false, Ordering::SeqCst);
    bench.until_empty().await;
    let tries = faults.failed_at();
    assert!(tries[1] - tries[0] >= SETTLE_PAUSE, "{:?}", tries[1] - tries[0]);
    assert_eq!(bench.letters().await.len(), 1);
    bench.end().await;
}

#[tokio::test]
async fn an_unreadable_message_that_cannot_be_buried_is_not_offered_in_a_loop() {
    let flow = Scripted::new(&[], true);
    let (mut bench, faults, counters) = counted(&flow);
    faults.settling_fails.store(true, Ordering::SeqCst);
    bench.publish_bytes("a", b"no json").await;
    bench.begin();
    bench.until("the second try", || faults.failed_at().len() >= 2).await;
    faults.settling_fails.store(false, Ordering::SeqCst);
    bench.until_empty().await;
    let tries = faults.failed_at();
    assert!(tries[1] - tries[0] >= SETTLE_PAUSE, "{:?}", tries[1] - tries[0]);
    let opened = || counters.of(&names::DEAD_LETTERS_OPENED);
    bench.until("the letter to be counted", || opened() > 0).await;
    assert_eq!(opened(), 1, "letters were counted that were never written");
    bench.end().await;
}

#[tokio::test]
async fn a_consumer_that_is_lost_cuts_no_run_off_and_its_shard_is_consumed_again() {
    let mut flow = Scripted::script(&[], false);
    flow.spec.run_time_max = PATIENCE * 2;
    let flow = Arc::new(flow);
    let (mut bench, faults) = faulty(&flow);
    bench.publish(&["a"]).await;
    bench.begin();
    bench.until("the run", || flow.runs_of("a") == 1).await;
    let name = FlowName::new("parties").unwrap();
    faults.lose_consumers();
    let engine = bench.engine.clone();
    bench.until("the loss to be noticed", || engine.consuming.count(&name) < 4).await;
    flow.gate.add_permits(1_000);
    bench.until_empty().await;
    assert_eq!(flow.cut.load(Ordering::SeqCst), 0, "a run was cut off between two writes");
    bench.until("all shards", || engine.consuming.count(&name) == 4).await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_whose_time_is_over_has_ended_before_its_key_runs_again() {
    let flow = Scripted::new(&[("a", Behaviour::Block)], true);
    // Timers fire on time only while a thread is awake to look at them.
    let mut awake = tokio::task::JoinSet::new();
    for _ in 0..8 {
        awake.spawn(async {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
    let mut bench = Bench::new(flow.clone());
    bench.publish(&["a"]).await;
    bench.begin();
    bench.until("the third run", || flow.runs_of("a") >= 3).await;
    assert_eq!(flow.overlaps.load(Ordering::SeqCst), 0);
    bench.end().await;
}

#[tokio::test]
async fn a_shard_whose_drain_time_is_over_gives_its_lease_up() {
    let mut flow = Scripted::script(&[], false);
    flow.spec.run_time_max = PATIENCE * 2;
    let flow = Arc::new(flow);
    let mut bench = Bench::changed(flow.clone(), |engine| engine.settings.drain = Duration::from_millis(200));
    bench.publish(&["a"]).await;
    bench.begin();
    bench.until("the run", || flow.runs_of("a") == 1).await;
    bench.stop.cancel();
    bench.task.take().unwrap().await.unwrap();
    assert_eq!(flow.cut.load(Ordering::SeqCst), 1);
    let lease = format!("shard/{}", shard_of(&envelope("a").key, 4));
    let state = bench.engine.state.clone();
    let grant = state.acquire_lease(&lease, "another", Duration::from_secs(30)).await.unwrap();
    assert!(grant.is_some(), "{lease} is still held");
    assert_eq!(bench.depth().await, 1);
    assert!(bench.letters().await.is_empty());
}

#[tokio::test]
async fn a_shard_that_drains_does_not_count_as_consumed() {
    let mut flow = Scripted::script(&[], false);
    flow.spec.run_time_max = PATIENCE * 2;
    let flow = Arc::new(flow);
    let mut bench = Bench::new(flow.clone());
    let name = FlowName::new("parties").unwrap();
    let members = ["worker-test".to_owned(), "worker-second".to_owned()];
    let moves = |id: &str| server_of(&shard_of(&envelope(id).key, 4), &members) == Some(&members[1]);
    let id = (0..).map(|n| format!("m{n}")).find(|id| moves(id)).unwrap();
    let stays = shards_of(&name, 4).filter(|shard| server_of(shard, &members) == Some(&members[0])).count();
    bench.publish(&[&id]).await;
    bench.begin();
    bench.until("the run", || flow.runs_of(&id) == 1).await;
    let state = bench.engine.state.clone();
    membership::announce(state.as_ref(), &name, &members[1], "another", Duration::from_secs(60))
        .await
        .unwrap();
    let engine = bench.engine.clone();
    bench.until("the draining shard to be left out", || engine.consuming.count(&name) == stays).await;
    assert_eq!(flow.cut.load(Ordering::SeqCst), 0);
    flow.gate.add_permits(10);
    bench.end().await;
}

#[tokio::test]
async fn a_worker_that_drains_is_no_member_any_more() {
    let mut flow = Scripted::script(&[], false);
    flow.spec.run_time_max = PATIENCE * 2;
    let flow = Arc::new(flow);
    let mut bench = Bench::changed(flow.clone(), |engine| {
        engine.settings.member_ttl = Duration::from_secs(60);
        engine.settings.drain = PATIENCE * 2;
    });
    bench.publish(&["a"]).await;
    bench.begin();
    bench.until("the run", || flow.runs_of("a") == 1).await;
    let health = bench.engine.health.clone();
    bench.until("readiness, long before the next assignment", || health.readiness().ready).await;
    bench.stop.cancel();
    let name = FlowName::new("parties").unwrap();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !membership::members(bench.engine.state.as_ref(), &name).await.unwrap().is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "its shards stand idle until its last run ends");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(flow.cut.load(Ordering::SeqCst), 0);
    assert!(!health.readiness().ready, "a worker that takes nothing calls itself ready");
    flow.gate.add_permits(10);
    bench.end().await;
}

#[tokio::test]
async fn a_success_also_closes_the_letter_of_a_message_that_killed_its_workers() {
    let flow = Scripted::new(&[], true);
    let mut bench = Bench::new(flow.clone());
    bench.publish(&["k"]).await;
    let shard = shard_of(&envelope("k").key, 4);
    let mut consumer = bench.engine.queue.consume(&shard, 1).await.unwrap();
    while bench.letters().await.is_empty() {
        let next = tokio::time::timeout(Duration::from_millis(50), consumer.next()).await;
        drop(next.map(Result::unwrap));
    }
    drop(consumer);
    assert_eq!(bench.letters().await[0].reason, Reason::Poison);
    bench.begin();
    let key = envelope("k").key;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while dead_mark::load(bench.engine.state.as_ref(), &key).await.unwrap().is_none() {
        assert!(tokio::time::Instant::now() < deadline, "the letter is not marked");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    bench.publish(&["k"]).await;
    bench.until_empty().await;
    assert!(bench.letters().await.is_empty());
    bench.end().await;
}

#[tokio::test]
async fn a_success_ends_the_wait_that_an_earlier_failure_was_marked_with() {
    let flow = Scripted::new(&[], true);
    let mut bench = Bench::new(flow.clone());
    let (state, key) = (bench.engine.state.clone(), envelope("a").key);
    retry_mark::set(state.as_ref(), &key, Uuid::nil(), Duration::from_secs(3_600)).await.unwrap();
    bench.publish(&["a"]).await;
    bench.begin();
    bench.until_empty().await;
    assert!(marks::load(state.as_ref(), &key).await.unwrap().retry.is_none(), "sweeps pass the record by");
    bench.end().await;
}

#[tokio::test]
async fn a_queue_that_never_answers_makes_the_worker_not_ready() {
    let flow = Scripted::new(&[], true);
    let (mut bench, faults) = faulty(&flow);
    faults.ping_hangs.store(true, Ordering::SeqCst);
    bench.begin();
    let health = bench.engine.health.clone();
    let is_not_ready = || health.readiness().parts.get("queue").is_some_and(|part| !part.ready);
    bench.until("the queue to be found away", is_not_ready).await;
    let is_ready = || health.readiness().parts.get("state").is_some_and(|part| part.ready);
    bench.until("the state to be asked all the same", is_ready).await;
    bench.end().await;
}

#[tokio::test]
async fn a_lease_that_is_lost_ends_its_run_and_the_message_comes_again() {
    let mut flow = Scripted::script(&[], false);
    flow.spec.run_time_max = PATIENCE * 2;
    let flow = Arc::new(flow);
    let counters = Arc::<Counters>::default();
    let mut bench = Bench::changed(flow.clone(), |engine| {
        engine.settings.lease_ttl = Duration::from_secs(6);
        engine.meter = counters.clone();
    });
    bench.publish(&["a"]).await;
    bench.begin();
    bench.until("the run", || flow.runs_of("a") == 1).await;
    let lease = format!("shard/{}", shard_of(&envelope("a").key, 4));
    let state = bench.engine.state.clone();
    let ttl = Duration::from_secs(6);
    // As the holder itself, so that it is told the present term.
    let term = state.acquire_lease(&lease, "first", ttl).await.unwrap().unwrap().term;
    state.release_lease(&Fence { lease, term }, "first").await.unwrap();
    bench.until("the next run", || flow.runs_of("a") == 2).await;
    flow.gate.add_permits(10);
    bench.until_empty().await;
    assert_eq!((flow.runs_of("a"), flow.cut.load(Ordering::SeqCst)), (2, 1));
    assert_eq!((flow.overlaps.load(Ordering::SeqCst), counters.of(&names::LEASES_LOST)), (0, 1));
    assert!(bench.letters().await.is_empty());
    bench.end().await;
}

#[tokio::test]
async fn a_message_from_when_there_were_more_or_fewer_shards_waits_for_its_keys_run() {
    let mut flow = Scripted::script(&[], false);
    flow.spec.run_time_max = PATIENCE * 2;
    let flow = Arc::new(flow);
    let mut bench = Bench::new(flow.clone());
    bench.publish(&["a", "b"]).await;
    bench.begin();
    bench.until("the run", || flow.runs_of("a") == 1).await;
    let right = Outbound::of(&envelope("a"), 4);
    let number = (right.shard.number + 1) % 4;
    let wrong = Outbound { shard: Shard { number, ..right.shard.clone() }, ..right };
    // Behind it comes a message that belongs there: when that one runs, the first has been looked at.
    let behind =
        (0..).map(|n| format!("n{n}")).find(|id| shard_of(&envelope(id).key, 4) == wrong.shard).unwrap();
    bench.engine.queue.publish(&[wrong, Outbound::of(&envelope(&behind), 4)]).await.unwrap();
    bench.until("the message behind it", || flow.runs_of(&behind) == 1).await;
    assert_eq!((flow.runs_of("a"), flow.overlaps.load(Ordering::SeqCst)), (1, 0));
    flow.gate.add_permits(10);
    bench.until_empty().await;
    assert_eq!((flow.runs_of("a"), flow.overlaps.load(Ordering::SeqCst)), (2, 0));
    bench.end().await;
}
