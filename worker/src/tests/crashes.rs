//! Workers that end without a word. Each has a runtime of its own, which is dropped with all that it was doing.

use shared::membership;
use shared::ports::state::Fence;
use shared::routing::{shard_of, shards_of};
use tokio::runtime::Runtime;

use super::doubles::{Faults, FaultyQueue};
use super::*;
use crate::trial::{Begun, TRIALS_MAX, Trial};

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
        membership::leave(state, name, member).await.unwrap();
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
    for evidence in ["worker-late-1", "worker-late-2", "worker-late-3", "4 times", "delivered again"] {
        assert!(letter.text.contains(evidence), "{evidence} is missing in: {}", letter.text);
    }
}

#[tokio::test]
async fn neighbours_that_did_not_run_when_their_workers_died_run_beside_each_other() {
    let ids = neighbours(40);
    let waited: Vec<(&str, Behaviour)> = ids[8..].iter().map(|id| (id.as_str(), Behaviour::Held)).collect();
    let mut flow = Scripted::script(&waited, false);
    flow.spec.run_time_max = PATIENCE * 2;
    let flow = Arc::new(flow);
    let bench = Bench::new(flow.clone());
    bench.publish(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let at_once = || flow.at_once.lock().unwrap().values().sum::<u32>();
    // All are in hand and come back each time; the first eight run.
    for life in 1..=2 {
        let process = Process::begin(&bench, &format!("life-{life}"));
        bench.until("as many runs as may be", || at_once() == 8).await;
        process.crash(&flow).await;
    }
    assert!(ids[..8].iter().all(|id| flow.runs_of(id) == 2));
    flow.gate.add_permits(1_000);
    let process = Process::begin(&bench, "last");
    // A suspect waits for what runs, and what comes behind it waits for the suspect: so one alone is let go on.
    bench
        .until("innocent neighbours to run beside each other", || {
            if at_once() < 2 && flow.held.available_permits() == 0 {
                flow.held.add_permits(1);
            }
            at_once() >= 2
        })
        .await;
    flow.held.add_permits(1_000);
    bench.until_empty().await;
    process.crash(&flow).await;
    assert!(bench.letters().await.is_empty());
}

/// A worker that runs what two others died of, and the evidence about it.
async fn with_a_suspect(bench: &mut Bench, id: &str) {
    bench.publish(&[id]).await;
    for life in 1..=2 {
        let process = Process::begin(bench, &format!("dies-{life}"));
        let flow = bench.flow.clone();
        bench.until("the run", || flow.runs_of(id) == life).await;
        process.crash(&flow).await;
    }
    assert_eq!(evidence(bench).await, 1, "the second death was of a noted run");
    bench.begin();
    let flow = bench.flow.clone();
    bench.until("the run alone", || flow.runs_of(id) == 3).await;
    assert_eq!(*flow.suspected.lock().unwrap(), [false, false, true], "what can be done in parts is told");
    assert_eq!(evidence(bench).await, 2);
}

/// A run is struck out after its message has been settled.
async fn until_no_evidence(bench: &Bench) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while evidence(bench).await > 0 {
        assert!(tokio::time::Instant::now() < deadline, "a run that has ended counts");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn evidence(bench: &Bench) -> usize {
    let found = bench.engine.state.scan("trial/", None, 10).await.unwrap();
    let trials = found
        .iter()
        .map(|(_, document)| serde_json::from_slice::<Vec<Trial>>(&document.value).unwrap().len());
    trials.sum()
}

#[tokio::test]
async fn a_run_that_a_drain_cuts_off_is_no_evidence() {
    let flow = patient(&[("a", Behaviour::Held)]);
    let mut bench = Bench::changed(flow.clone(), |engine| engine.settings.drain = Duration::from_millis(200));
    with_a_suspect(&mut bench, "a").await;
    bench.stop.cancel();
    bench.task.take().unwrap().await.unwrap();
    assert_eq!((flow.runs_of("a"), evidence(&bench).await), (3, 1));
}

#[tokio::test]
async fn a_run_that_ends_with_its_lease_is_no_evidence() {
    let flow = patient(&[("a", Behaviour::Held)]);
    let mut bench = Bench::changed(flow.clone(), |engine| engine.settings.lease_ttl = Duration::from_secs(6));
    with_a_suspect(&mut bench, "a").await;
    for lost in 1..=2 {
        let lease = format!("shard/{}", shard_of(&envelope("a").key, 4));
        let state = bench.engine.state.clone();
        let term = state.acquire_lease(&lease, "first", Duration::from_secs(6)).await.unwrap().unwrap().term;
        state.release_lease(&Fence { lease, term }, "first").await.unwrap();
        bench.until("the next run", || flow.runs_of("a") == 3 + lost).await;
        assert_eq!(evidence(&bench).await, 2, "a worker that lives is no evidence");
    }
    flow.held.add_permits(1);
    bench.until_empty().await;
    until_no_evidence(&bench).await;
    bench.end().await;
}

#[tokio::test]
async fn a_run_that_could_not_be_struck_out_is_no_evidence_while_its_process_lives() {
    let bench = Bench::new(patient(&[]));
    let (record, state) = (envelope("a").key, bench.engine.state.clone());
    let lives = another(&bench.engine, "lives");
    let Begun::Noted(running) = trial::begin(&lives, &record).await.unwrap() else {
        panic!("nothing is known")
    };
    let announced = membership::announce(
        state.as_ref(),
        record.flow(),
        &lives.settings.name,
        &lives.settings.holder,
        Duration::from_secs(60),
    );
    announced.await.unwrap();
    let Begun::Noted(present) = trial::begin(&bench.engine, &record).await.unwrap() else {
        panic!("a process that lives was taken for one that died")
    };
    // What is struck out late takes nothing else away.
    drop(running);
    trial::strike_out(&lives).await;
    assert_eq!(evidence(&bench).await, 1);
    trial::end(&bench.engine, present, true).await;
    assert_eq!(evidence(&bench).await, 0);
}

#[tokio::test]
async fn a_consumer_that_is_lost_during_a_run_leaves_no_evidence() {
    let flow = patient(&[("a", Behaviour::Held)]);
    let faults = Arc::<Faults>::default();
    let mut bench = Bench::changed(flow.clone(), |engine| {
        engine.queue = Arc::new(FaultyQueue { inner: engine.queue.clone(), faults: faults.clone() });
    });
    with_a_suspect(&mut bench, "a").await;
    faults.settling_fails.store(true, Ordering::SeqCst);
    faults.lose_consumers();
    flow.held.add_permits(1);
    bench.until("the settlement to fail", || !faults.failed_at().is_empty()).await;
    bench.until("the next run", || flow.runs_of("a") == 4).await;
    let at_once = evidence(&bench).await;
    faults.settling_fails.store(false, Ordering::SeqCst);
    flow.held.add_permits(1);
    bench.until_empty().await;
    assert_eq!(at_once, 2, "the run that could not be settled counts");
    until_no_evidence(&bench).await;
    bench.end().await;
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
            until_no_evidence(&bench).await;
        }
        process.crash(&flow).await;
    }
    assert!(bench.letters().await.is_empty());
    assert_eq!(evidence(&bench).await, 0);
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
