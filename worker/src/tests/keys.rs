//! Many messages of one key, slow keys, slow flows.

use shared::names;
use shared::routing::shard_of;

use super::doubles::Counters;
use super::*;

/// Runs that may take as long as the test wants.
fn patient(behaviour: &[(&str, Behaviour)], open_gate: bool) -> Scripted {
    let mut flow = Scripted::script(behaviour, open_gate);
    flow.spec.run_time_max = PATIENCE * 2;
    flow
}

#[tokio::test]
async fn a_burst_to_one_record_shares_one_run_however_small_the_prefetch() {
    let flow = Arc::new(patient(&[], false));
    let mut bench = Bench::changed(flow.clone(), |engine| engine.settings.prefetch = 10);
    bench.publish(&["a"]).await;
    bench.begin();
    bench.until("the first run", || flow.runs_of("a") == 1).await;
    bench.publish(&["a"; 999]).await;
    // The run's own message, and one for all that were published after it began to read.
    bench.until_depth(2).await;
    assert_eq!(flow.runs_of("a"), 1);
    flow.gate.add_permits(10);
    bench.until_empty().await;
    assert_eq!((flow.runs_of("a"), flow.overlaps.load(Ordering::SeqCst)), (2, 0));
    assert!(bench.letters().await.is_empty());
    bench.end().await;
}

#[tokio::test]
async fn what_waits_too_long_for_a_run_goes_back_to_the_queue() {
    let flow = Arc::new(patient(&[], false));
    let counters = Arc::new(Counters::default());
    let mut bench = Bench::changed(flow.clone(), |engine| {
        engine.meter = counters.clone();
        engine.settings.concurrency_max = 1;
        engine.settings.unsettled_max = PATIENCE * 2 + Duration::from_secs(1);
    });
    bench.publish(&["a"]).await;
    bench.begin();
    bench.until("the first run", || flow.runs_of("a") == 1).await;
    bench.publish(&["b", "c"]).await;
    bench.until("two went back", || counters.of(&names::DELIVERIES) >= 2).await;
    assert_eq!((flow.runs_of("b"), flow.runs_of("c")), (0, 0));
    flow.gate.add_permits(10);
    bench.until_empty().await;
    assert_eq!(["a", "b", "c"].map(|id| flow.runs_of(id)), [1, 1, 1]);
    assert!(bench.letters().await.is_empty());
    bench.end().await;
}

#[tokio::test]
async fn a_burst_to_one_record_costs_few_runs_however_short_they_are() {
    let flow = Scripted::new(&[], true);
    let mut bench =
        Bench::changed(flow.clone(), |engine| engine.settings.key_rest = Duration::from_secs(3_600));
    bench.publish(&["a"; 500]).await;
    bench.begin();
    bench.until("the first run", || flow.runs_of("a") == 1).await;
    bench.publish(&["a"; 500]).await;
    bench.until_depth(1).await;
    assert_eq!(flow.runs_of("a"), 1);
    bench.end().await;
}

#[tokio::test]
async fn a_failed_message_is_not_satisfied_by_an_older_success() {
    let after = Duration::ZERO;
    let flow = Arc::new(patient(&[("a", Behaviour::FailSecond(FaultKind::Throttled { after }))], false));
    let mut bench = Bench::new(flow.clone());
    let minute_ago = bench.engine.clock.now() - Duration::from_secs(60);
    let old = || Envelope { id: Uuid::now_v7(), time: minute_ago, first_seen: minute_ago, ..envelope("a") };
    bench.publish_bytes("a", &old().to_bytes()).await;
    bench.begin();
    bench.until("the first run", || flow.runs_of("a") == 1).await;
    bench.publish_bytes("a", &old().to_bytes()).await;
    // In the same shard: when it runs, the message before it waits for its key.
    let shard = shard_of(&envelope("a").key, 4);
    let behind = (0..).map(|n| format!("n{n}")).find(|id| shard_of(&envelope(id).key, 4) == shard).unwrap();
    bench.publish(&[&behind]).await;
    bench.until("the message behind it", || flow.runs_of(&behind) == 1).await;
    flow.gate.add_permits(10);
    bench.until_empty().await;
    assert_eq!(flow.runs_of("a"), 3, "one that succeeds, one that fails, and its retry");
    bench.end().await;
}

/// A clock that was set forward by an hour after the process began.
#[derive(Debug)]
struct SetForward;

impl Clock for SetForward {
    fn now(&self) -> Timestamp {
        SystemClock.now() + Duration::from_secs(3_600)
    }

    fn at_earliest(&self) -> Timestamp {
        SystemClock.now()
    }
}

#[tokio::test]
async fn a_worker_whose_clock_was_set_forward_takes_no_later_event_for_seen() {
    let flow = Scripted::new(&[], true);
    let mut bench = Bench::changed(flow.clone(), |engine| engine.clock = Arc::new(SetForward));
    bench.publish(&["a"]).await;
    bench.begin();
    bench.until_empty().await;
    bench.publish(&["a"]).await;
    bench.until_empty().await;
    assert_eq!(flow.runs_of("a"), 2);
    bench.end().await;
}

#[tokio::test]
async fn what_comes_while_a_key_rests_is_looked_at_when_the_rest_is_over() {
    let flow = Scripted::new(&[], true);
    let rest = Duration::from_millis(200);
    let mut bench = Bench::changed(flow.clone(), |engine| engine.settings.key_rest = rest);
    bench.publish(&["a"]).await;
    bench.begin();
    let began = tokio::time::Instant::now();
    bench.until("the first run", || flow.runs_of("a") == 1).await;
    bench.publish(&["a"]).await;
    bench.until_empty().await;
    assert_eq!(flow.runs_of("a"), 2);
    assert!(began.elapsed() >= rest, "{:?}", began.elapsed());
    bench.end().await;
}

#[tokio::test]
async fn a_slow_key_with_many_messages_holds_up_no_other_key() {
    let flow = Arc::new(patient(&[("slow", Behaviour::Held)], true));
    let mut bench = Bench::new(flow.clone());
    let others: Vec<String> = (0..1_000).map(|n| format!("k{n}")).collect();
    bench.publish(&["slow"]).await;
    bench.begin();
    bench.until("the slow run", || flow.runs_of("slow") == 1).await;
    // More than the prefetch, before the others and between them.
    bench.publish(&["slow"; 300]).await;
    let between: Vec<&str> = others.iter().flat_map(|id| ["slow", id.as_str()]).collect();
    bench.publish(&between).await;
    bench.until("all others", || others.iter().all(|id| flow.runs_of(id) == 1)).await;
    bench.until_depth(2).await;
    assert_eq!((flow.runs_of("slow"), flow.cut.load(Ordering::SeqCst)), (1, 0), "it is still running");
    flow.held.add_permits(10);
    bench.until_empty().await;
    assert_eq!(flow.runs_of("slow"), 2);
    bench.end().await;
}

#[tokio::test]
async fn a_flow_whose_upstream_hangs_holds_up_no_other_flow() {
    let stuck: Vec<String> = (0..50).map(|n| format!("s{n}")).collect();
    let script: Vec<(&str, Behaviour)> = stuck.iter().map(|id| (id.as_str(), Behaviour::Held)).collect();
    let flow = Arc::new(patient(&script, true));
    let mut other = patient(&[], true);
    other.spec.name = FlowName::new("calendar").unwrap();
    let other = Arc::new(other);
    let mut bench = Bench::new(flow.clone());
    bench.publish(&stuck.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let flows: Vec<Arc<dyn Flow>> = vec![flow.clone(), other.clone()];
    bench.task = Some(tokio::spawn(run::run(bench.engine.clone(), flows, bench.stop.clone())));
    let at_once = bench.engine.settings.concurrency_max;
    let running = || stuck.iter().filter(|id| flow.runs_of(id) > 0).count();
    bench.until("all turns of the flow to be taken", || running() == at_once).await;
    let ids: Vec<String> = (0..100).map(|n| format!("c{n}")).collect();
    let in_calendar = |id: &String| {
        let key = RecordKey::new(other.spec.name.clone(), id.as_str()).unwrap();
        Outbound::of(&Envelope { key, ..envelope(id) }, 4)
    };
    bench.engine.queue.prepare(&[run::topology(other.as_ref())]).await.unwrap();
    bench.engine.queue.publish(&ids.iter().map(in_calendar).collect::<Vec<_>>()).await.unwrap();
    bench.until("the other flow", || ids.iter().all(|id| other.runs_of(id) == 1)).await;
    assert_eq!((running(), flow.cut.load(Ordering::SeqCst)), (at_once, 0));
    flow.held.add_permits(100);
    bench.until_empty().await;
    bench.end().await;
}
