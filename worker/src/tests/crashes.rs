//! Workers that end without a word. Each has a runtime of its own, which is dropped with all that it was doing.

use shared::ports::state::Fence;
use shared::routing::{shard_of, shards_of};
use tokio::runtime::Runtime;

use super::*;
use crate::trial::TRIALS_MAX;

/// A worker in a process of its own.
struct Process {
    engine: Arc<Engine>,
    runtime: Option<Runtime>,
}

impl Process {
    fn begin(bench: &Bench, name: &str) -> Self {
        let engine = Arc::new(another(&bench.engine, name));
        let runtime = Runtime::new().unwrap();
        let flows: Vec<Arc<dyn Flow>> = vec![bench.flow.clone()];
        runtime.spawn(run::run(engine.clone(), flows, CancellationToken::new()));
        Self { engine, runtime: Some(runtime) }
    }

    /// Ends it, and lets its leases end, as their time would.
    async fn crash(mut self, flow: &Scripted) {
        let runtime = self.runtime.take().unwrap();
        tokio::task::spawn_blocking(move || drop(runtime)).await.unwrap();
        let (state, holder) = (self.engine.state.as_ref(), self.engine.settings.holder.as_str());
        for shard in shards_of(&flow.spec.name, flow.spec.shards) {
            let lease = format!("shard/{shard}");
            let ttl = Duration::from_secs(30);
            if let Some(grant) = state.acquire_lease(&lease, holder, ttl).await.unwrap() {
                let fence = Fence { lease, term: grant.term };
                state.release_lease(&fence, holder).await.unwrap();
            }
        }
        let (name, member) = (&flow.spec.name, &self.engine.settings.name);
        shared::membership::leave(state, name, member).await.unwrap();
    }
}

/// Ids of records that share a shard.
fn neighbours(count: usize) -> Vec<String> {
    let first = shard_of(&envelope("p0").key, 4);
    let ids = (0..).map(|n| format!("p{n}"));
    ids.filter(|id| shard_of(&envelope(id).key, 4) == first).take(count).collect()
}

fn patient(behaviour: &[(&str, Behaviour)]) -> Arc<Scripted> {
    let mut flow = Scripted::script(behaviour, true);
    flow.spec.run_time_max = PATIENCE * 2;
    Arc::new(flow)
}

#[tokio::test]
async fn a_message_that_kills_its_worker_is_found_among_its_neighbours_and_buried_alone() {
    let ids = neighbours(6);
    let killer = ids[0].as_str();
    let mut flow = Scripted::script(&[(killer, Behaviour::Held)], false);
    flow.spec.run_time_max = PATIENCE * 2;
    let flow = Arc::new(flow);
    let bench = Bench::new(flow.clone());
    bench.publish(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for life in 1..=2 {
        let process = Process::begin(&bench, &format!("early-{life}"));
        let all_run = || ids.iter().all(|id| flow.runs_of(id) == life);
        bench.until("all to run at once", all_run).await;
        process.crash(&flow).await;
    }
    // From now on each runs alone; the neighbours come through, the killer is what the worker dies of.
    flow.gate.add_permits(1_000);
    let killed = 2 + u32::try_from(TRIALS_MAX).unwrap();
    let runs_now = || flow.at_once.lock().unwrap().get(killer).is_some_and(|count| *count > 0);
    let is_over =
        || !runs_now() && ids[1..].iter().all(|id| flow.is_done(id)) && flow.runs_of(killer) == killed;
    for life in 1.. {
        let process = Process::begin(&bench, &format!("late-{life}"));
        bench
            .until("the killer's run, or its end", || {
                let at_once: u32 = flow.at_once.lock().unwrap().values().sum();
                assert!(at_once <= 1, "{at_once} suspects run at once");
                runs_now() || is_over()
            })
            .await;
        if is_over() {
            bench.until_empty().await;
            process.crash(&flow).await;
            break;
        }
        process.crash(&flow).await;
    }
    assert_eq!(flow.runs_of(killer), killed);
    let letters = bench.letters().await;
    assert_eq!(letters.len(), 1, "neighbours were buried with it: {letters:?}");
    let letter = &letters[0];
    assert_eq!((letter.reason, letter.key.as_ref().unwrap().id()), (Reason::Poison, killer));
    for evidence in ["worker-late-1", "worker-late-2", "worker-late-3", "delivered again"] {
        assert!(letter.text.contains(evidence), "{evidence} is missing in: {}", letter.text);
    }
}

#[tokio::test]
async fn a_run_that_ends_is_no_evidence_whatever_its_outcome() {
    let flow = patient(&[("s", Behaviour::Held), ("f", Behaviour::Held)]);
    let bench = Bench::new(flow.clone());
    bench.publish(&["s", "f"]).await;
    for life in 1..=4 {
        let process = Process::begin(&bench, &format!("life-{life}"));
        let runs = || flow.at_once.lock().unwrap().values().sum::<u32>() > 0;
        bench.until("a run", runs).await;
        if life == 4 {
            flow.held.add_permits(10);
            bench.until_empty().await;
        }
        process.crash(&flow).await;
    }
    assert!(bench.letters().await.is_empty());
    let evidence = bench.engine.state.scan("trial/", None, 10).await.unwrap();
    assert_eq!(evidence, []);
}

#[tokio::test]
async fn the_shards_of_a_worker_that_crashed_go_to_those_that_live() {
    let flow = patient(&[("held", Behaviour::Held)]);
    let mut bench = Bench::new(flow.clone());
    let process = Process::begin(&bench, "other");
    let (other, name) = (process.engine.clone(), flow.spec.name.clone());
    bench.until("all shards", || other.consuming.count(&name) == 4).await;
    bench.begin();
    let engine = bench.engine.clone();
    bench
        .until("shards to be shared", || {
            let (mine, others) = (engine.consuming.count(&name), other.consuming.count(&name));
            mine > 0 && others > 0 && mine + others == 4
        })
        .await;
    let ids: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
    bench.publish(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    process.crash(&flow).await;
    bench.until("the other's shards", || engine.consuming.count(&name) == 4).await;
    bench.until_empty().await;
    assert!(ids.iter().all(|id| flow.runs_of(id) >= 1));
    assert!(bench.letters().await.is_empty());
    bench.end().await;
}

#[tokio::test]
async fn between_the_letter_and_the_telling_a_crash_loses_neither() {
    let mut flow = Scripted::script(&[("bad", Behaviour::Fail(FaultKind::Permanent))], true);
    flow.reporting = Semaphore::new(0);
    let flow = Arc::new(flow);
    let bench = Bench::new(flow.clone());
    bench.publish(&["bad"]).await;
    let process = Process::begin(&bench, "first");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while bench.letters().await.is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "no letter before the telling");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(bench.depth().await, 1, "acknowledged before the telling");
    process.crash(&flow).await;
    assert!(flow.reports.lock().unwrap().is_empty());
    flow.reporting.add_permits(100);
    let process = Process::begin(&bench, "second");
    bench.until_empty().await;
    process.crash(&flow).await;
    let reports = flow.reports.lock().unwrap().clone();
    assert_eq!(reports, [("bad".to_owned(), 1, Some(Reason::Permanent))]);
    assert_eq!(bench.letters().await.len(), 1);
}
