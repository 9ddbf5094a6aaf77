//! The engine against a flow that does as it is told, on the embedded queue.

mod attempts;
mod crashes;
mod doubles;
mod faults;
mod keys;
mod marked;
mod parking;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adapter_embedded::{Embedded, EmbeddedOptions, Role};
use async_trait::async_trait;
use jiff::Timestamp;
use shared::clock::{Clock, SystemClock};
use shared::dead_letter::{DeadLetter, OpenLetters, Reason};
use shared::envelope::{Cause, Envelope, Operation};
use shared::fault::{Fault, FaultKind};
use shared::flow::{
    Check, Failure, Flow, FlowSpec, Outcome, Preview, Run, SweepPage, WebhookContent, WebhookRefusal,
    WebhookRequest,
};
use shared::ports::queue::{FlowTopology, Outbound};
use shared::record_key::{FlowName, RecordKey};
use shared::retry::RetryPolicy;
use shared::trace::TraceParent;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::marked::Marked;
use crate::run::{self, Engine, WorkerSettings};
use crate::trial;

const PATIENCE: Duration = Duration::from_secs(60);

/// What the flow does with a record.
#[derive(Debug, Clone, Copy)]
enum Behaviour {
    Succeed,
    /// Succeeds, and nothing was to be done.
    FindNothing,
    /// The same, after it failed once.
    FindNothingAfter(FaultKind),
    Fail(FaultKind),
    FailOnce(FaultKind),
    FailSecond(FaultKind),
    /// Waits for a record until that one has run.
    WaitsFor(&'static str),
    /// Finds at the second look what it waits for at the first.
    WaitsOnce(&'static str),
    /// Needs an account that a person connects: waits under its own key.
    WaitsUntilConnected,
    Panic,
    /// Waits until the test lets it go on.
    Held,
    Hang,
    /// Holds its thread beyond its time.
    Block,
}

#[derive(Debug)]
struct Scripted {
    spec: FlowSpec,
    behaviour: HashMap<String, Behaviour>,
    runs: Mutex<HashMap<String, u32>>,
    done: Mutex<HashSet<String>>,
    at_once: Mutex<HashMap<String, u32>>,
    /// Of each run, whether it was a suspect's.
    suspected: Mutex<Vec<bool>>,
    overlaps: AtomicU32,
    reports: Mutex<Vec<(String, u32, Option<Reason>)>>,
    report_panics: bool,
    /// Telling waits for a permit.
    reporting: Semaphore,
    /// Runs that were ended from outside.
    cut: AtomicU32,
    gate: Semaphore,
    held: Semaphore,
    connected: AtomicBool,
}

/// One run going on.
struct GoingOn<'a> {
    flow: &'a Scripted,
    id: &'a str,
    is_through: bool,
}

impl<'a> GoingOn<'a> {
    fn begin(flow: &'a Scripted, id: &'a str) -> Self {
        let mut at_once = flow.at_once.lock().unwrap();
        let now = at_once.entry(id.to_owned()).or_default();
        *now += 1;
        if *now > 1 {
            flow.overlaps.fetch_add(1, Ordering::SeqCst);
        }
        Self { flow, id, is_through: false }
    }
}

impl Drop for GoingOn<'_> {
    fn drop(&mut self) {
        *self.flow.at_once.lock().unwrap().get_mut(self.id).unwrap() -= 1;
        if !self.is_through {
            self.flow.cut.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Scripted {
    fn new(behaviour: &[(&str, Behaviour)], open_gate: bool) -> Arc<Self> {
        Arc::new(Self::script(behaviour, open_gate))
    }

    fn script(behaviour: &[(&str, Behaviour)], open_gate: bool) -> Self {
        let retry = RetryPolicy { delay_initial: Duration::from_millis(1), ..RetryPolicy::default() };
        let retry = RetryPolicy { delay_max: Duration::from_millis(5), ..retry };
        let run_time_max = Duration::from_millis(400);
        let name = FlowName::new("parties").unwrap();
        Self {
            spec: FlowSpec { name, title: "a test", shards: 4, retry, run_time_max },
            behaviour: behaviour.iter().map(|(id, b)| ((*id).to_owned(), *b)).collect(),
            runs: Mutex::default(),
            done: Mutex::default(),
            at_once: Mutex::default(),
            suspected: Mutex::default(),
            overlaps: AtomicU32::new(0),
            reports: Mutex::default(),
            report_panics: false,
            reporting: Semaphore::new(10_000),
            cut: AtomicU32::new(0),
            gate: Semaphore::new(if open_gate { 10_000 } else { 0 }),
            held: Semaphore::new(0),
            connected: AtomicBool::new(false),
        }
    }

    fn is_done(&self, id: &str) -> bool {
        self.done.lock().unwrap().contains(id)
    }

    fn runs_of(&self, id: &str) -> u32 {
        self.runs.lock().unwrap().get(id).copied().unwrap_or(0)
    }
}

#[async_trait]
impl Flow for Scripted {
    fn spec(&self) -> &FlowSpec {
        &self.spec
    }

    async fn handle(&self, run: &Run) -> Result<Outcome, Fault> {
        let id = run.key.id().to_owned();
        assert!(http_client::guard().is_some(), "whatever it writes asks the guard");
        self.suspected.lock().unwrap().push(run.is_suspect);
        let count = {
            let mut runs = self.runs.lock().unwrap();
            let count = runs.entry(id.clone()).or_default();
            *count += 1;
            *count
        };
        let mut going_on = GoingOn::begin(self, &id);
        let permit = self.gate.acquire().await.unwrap();
        permit.forget();
        run.guard.fence()?;
        let done = Ok(Outcome { actions: vec!["test"], converged: true, look_again_at: None });
        let behaviour = self.behaviour.get(&id).copied().unwrap_or(Behaviour::Succeed);
        going_on.is_through = !matches!(behaviour, Behaviour::Hang | Behaviour::Block);
        match behaviour {
            Behaviour::Succeed => {
                self.done.lock().unwrap().insert(id.clone());
                done
            }
            Behaviour::FindNothingAfter(kind) if count == 1 => Err(Fault::new(kind, "scripted", "as told")),
            Behaviour::FindNothing | Behaviour::FindNothingAfter(_) => {
                Ok(Outcome { converged: true, ..Outcome::default() })
            }
            Behaviour::Fail(kind) => Err(Fault::new(kind, "scripted", "as told")),
            Behaviour::FailOnce(kind) if count == 1 => Err(Fault::new(kind, "scripted", "as told")),
            Behaviour::FailSecond(kind) if count == 2 => Err(Fault::new(kind, "scripted", "as told")),
            Behaviour::FailOnce(_) | Behaviour::FailSecond(_) => done,
            Behaviour::WaitsOnce(_) if count > 1 => done,
            Behaviour::WaitsFor(awaited) if self.is_done(awaited) => done,
            Behaviour::WaitsFor(awaited) | Behaviour::WaitsOnce(awaited) => {
                Err(Fault::parked("parent_missing", "as told", envelope(awaited).key))
            }
            Behaviour::WaitsUntilConnected if self.connected.load(Ordering::SeqCst) => {
                self.done.lock().unwrap().insert(id.clone());
                done
            }
            Behaviour::WaitsUntilConnected => {
                Err(Fault::parked("needs_reconnect", "as told", run.key.clone()))
            }
            Behaviour::Panic => panic!("as told"),
            Behaviour::Held => {
                self.held.acquire().await.unwrap().forget();
                done
            }
            Behaviour::Hang => std::future::pending().await,
            Behaviour::Block => {
                tokio::time::sleep(self.spec.run_time_max * 3 / 4).await;
                let until = std::time::Instant::now() + self.spec.run_time_max;
                while std::time::Instant::now() < until {
                    std::hint::spin_loop();
                }
                std::future::pending().await
            }
        }
    }

    async fn report(&self, run: &Run, failure: &Failure<'_>) -> Result<(), Fault> {
        assert!(!self.report_panics, "as told");
        assert!(http_client::guard().is_some(), "whatever it writes asks the guard");
        self.reporting.acquire().await.unwrap().forget();
        self.reports.lock().unwrap().push((run.key.id().to_owned(), failure.attempts, failure.dead_letter));
        Ok(())
    }

    async fn sweep(&self, _: Option<&serde_json::Value>, _: &str, _: Timestamp) -> Result<SweepPage, Fault> {
        Ok(SweepPage::default())
    }

    fn read_webhook(&self, _: &WebhookRequest<'_>) -> Result<WebhookContent, WebhookRefusal> {
        Ok(WebhookContent::Items(Vec::new()))
    }

    async fn check(&self) -> Vec<Check> {
        Vec::new()
    }

    async fn preview(&self, _: &RecordKey, _: Timestamp) -> Result<Preview, Fault> {
        Ok(Preview { summary: String::new(), differences: Vec::new() })
    }

    async fn release(&self, _: &str, _: Timestamp) -> Result<u32, Fault> {
        Ok(0)
    }
}

struct Bench {
    flow: Arc<Scripted>,
    engine: Arc<Engine>,
    stop: CancellationToken,
    task: Option<tokio::task::JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new(flow: Arc<Scripted>) -> Self {
        Self::changed(flow, |_| {})
    }

    fn changed(flow: Arc<Scripted>, change: impl FnOnce(&mut Engine)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = Embedded::open(EmbeddedOptions::new(dir.path(), Role::Serving, clock.clone())).unwrap();
        let settings = WorkerSettings {
            holder: "first".into(),
            name: "worker-test".into(),
            concurrency_max: 8,
            prefetch: 100,
            unsettled_max: Duration::from_secs(29 * 60),
            key_rest: Duration::ZERO,
            drain: Duration::from_secs(2),
            lease_ttl: Duration::from_secs(30),
            member_ttl: Duration::from_millis(300),
            trial_wait: Duration::from_millis(20),
            parking_look_every: Duration::from_millis(50),
            clock_skew_max: Duration::from_secs(2),
        };
        let topologies = vec![run::topology(flow.as_ref())];
        let mut engine = Engine::new(settings, store.queue, store.state, topologies);
        change(&mut engine);
        let engine = Arc::new(engine);
        Self { flow, engine, stop: CancellationToken::new(), task: None, _dir: dir }
    }

    fn topology(&self) -> FlowTopology {
        run::topology(self.flow.as_ref())
    }

    fn begin(&mut self) {
        let flows: Vec<Arc<dyn Flow>> = vec![self.flow.clone()];
        self.task = Some(tokio::spawn(run::run(self.engine.clone(), flows, self.stop.clone())));
    }

    async fn publish(&self, ids: &[&str]) {
        self.engine.queue.prepare(&[self.topology()]).await.unwrap();
        let batch: Vec<Outbound> = ids.iter().map(|id| Outbound::of(&envelope(id), 4)).collect();
        self.engine.queue.publish(&batch).await.unwrap();
    }

    async fn publish_bytes(&self, id: &str, body: &[u8]) {
        self.engine.queue.prepare(&[self.topology()]).await.unwrap();
        let outbound = Outbound { body: body.to_vec().into(), ..Outbound::of(&envelope(id), 4) };
        self.engine.queue.publish(&[outbound]).await.unwrap();
    }

    async fn depth(&self) -> u64 {
        let depth = self.engine.queue.depth(&self.topology()).await.unwrap();
        depth.ready + depth.delayed
    }

    async fn letters(&self) -> Vec<DeadLetter> {
        let mut open = OpenLetters::default();
        let page = self.engine.queue.scan_dead_letters(0, 1_000).await.unwrap();
        page.into_events().for_each(|event| open.apply(event));
        open.oldest_first().into_iter().cloned().collect()
    }

    async fn until_empty(&self) {
        self.until_depth(0).await;
    }

    async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !condition() {
            assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Until a message waits for its time.
    async fn until_delayed(&self) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.engine.queue.depth(&self.topology()).await.unwrap().delayed == 0 {
            assert!(tokio::time::Instant::now() < deadline, "no message waits for its time");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn until_depth(&self, depth: u64) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.depth().await != depth {
            assert!(tokio::time::Instant::now() < deadline, "{} messages, not {depth}", self.depth().await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn end(mut self) {
        self.stop.cancel();
        self.task.take().unwrap().await.unwrap();
    }
}

/// Another worker on the same queue and store.
fn another(engine: &Engine, name: &str) -> Engine {
    let settings =
        WorkerSettings { holder: name.to_owned(), name: format!("worker-{name}"), ..engine.settings.clone() };
    let desk = engine.desk.clone();
    Engine { desk, ..Engine::new(settings, engine.queue.clone(), engine.state.clone(), Vec::new()) }
}

fn envelope(id: &str) -> Envelope {
    let key = RecordKey::new(FlowName::new("parties").unwrap(), id).unwrap();
    let trace = TraceParent::new(fastrand::u128(..), 1);
    Envelope::new(Uuid::now_v7(), "/test", key, Operation::Check, Cause::Webhook, trace, SystemClock.now())
}

#[tokio::test]
async fn waiting_messages_of_a_key_share_a_run_and_keys_never_overlap() {
    let flow = Scripted::new(&[], false);
    let mut bench = Bench::new(flow.clone());
    bench.publish(&["a"]).await;
    bench.begin();
    bench.until("the first run", || flow.runs_of("a") == 1).await;
    bench.publish(&["a"; 50]).await;
    bench.publish(&["b", "c"]).await;
    bench.until("the other keys' runs", || flow.runs_of("b") == 1 && flow.runs_of("c") == 1).await;
    flow.gate.add_permits(1_000);
    bench.until_empty().await;
    assert!(flow.runs_of("a") <= 3, "{} runs for 51 messages", flow.runs_of("a"));
    assert_eq!(flow.overlaps.load(Ordering::SeqCst), 0);
    bench.end().await;
}

#[tokio::test]
async fn five_attempts_then_a_dead_letter_that_knows_them_all() {
    let flow = Scripted::new(&[("bad", Behaviour::Fail(FaultKind::Retryable { after: None }))], true);
    let mut bench = Bench::new(flow.clone());
    bench.publish(&["bad", "good"]).await;
    bench.begin();
    bench.until_empty().await;
    assert_eq!((flow.runs_of("bad"), flow.runs_of("good")), (5, 1));
    let letters = bench.letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].reason, letters[0].attempts.len()), (Reason::AttemptsSpent, 5));
    assert_eq!(letters[0].attempts[4].worker, "worker-test");
    let reports = flow.reports.lock().unwrap().clone();
    let attempts: Vec<u32> = reports.iter().map(|(_, attempts, _)| *attempts).collect();
    assert_eq!(attempts, [1, 2, 3, 4, 5]);
    assert_eq!(reports[4].2, Some(Reason::AttemptsSpent));
    bench.end().await;
}

#[tokio::test]
async fn what_is_not_the_messages_fault_costs_no_attempt() {
    let kind = FaultKind::Throttled { after: Duration::from_millis(1) };
    let flow = Scripted::new(&[("slow", Behaviour::Fail(kind))], true);
    let mut bench = Bench::new(flow.clone());
    bench.publish(&["slow"]).await;
    bench.begin();
    bench.until("many runs", || flow.runs_of("slow") > 8).await;
    assert!(bench.letters().await.is_empty());
    assert!(flow.reports.lock().unwrap().is_empty());
    bench.end().await;
}

#[tokio::test]
async fn a_panic_and_a_run_without_end_harm_nobody_else() {
    let script = [("panics", Behaviour::Panic), ("hangs", Behaviour::Hang)];
    let flow = Scripted::new(&script, true);
    let mut bench = Bench::new(flow.clone());
    bench.publish(&["panics", "hangs", "x", "y", "z"]).await;
    bench.begin();
    bench.until_empty().await;
    let mut found: Vec<(String, Reason)> =
        bench.letters().await.into_iter().map(|l| (l.key.unwrap().id().to_owned(), l.reason)).collect();
    found.sort();
    let expected = [("hangs".to_owned(), Reason::AttemptsSpent), ("panics".to_owned(), Reason::Bug)];
    assert_eq!(found, expected);
    assert_eq!((flow.runs_of("panics"), flow.runs_of("x"), flow.runs_of("z")), (1, 1, 1));
    bench.end().await;
}

#[tokio::test]
async fn what_is_no_message_is_a_dead_letter_at_once_and_its_neighbours_go_on() {
    let flow = Scripted::new(&[], true);
    let mut bench = Bench::new(flow.clone());
    bench.publish_bytes("n", b"no json").await;
    let other = String::from_utf8(envelope("n").to_bytes())
        .unwrap()
        .replace("syncfleet.parties.", "syncfleet.other.");
    bench.publish_bytes("n", other.as_bytes()).await;
    bench.publish(&["n"]).await;
    bench.begin();
    bench.until_empty().await;
    let mut codes: Vec<String> = bench.letters().await.into_iter().map(|l| l.code).collect();
    codes.sort();
    assert_eq!(codes, ["unknown_flow", "unreadable"]);
    assert_eq!(flow.runs_of("n"), 1);
    bench.end().await;
}

#[tokio::test]
async fn a_newer_message_is_handed_back_unchanged() {
    let flow = Scripted::new(&[], true);
    let mut bench = Bench::new(flow.clone());
    let newer = String::from_utf8(envelope("n").to_bytes())
        .unwrap()
        .replace("\"schemaversion\":1", "\"schemaversion\":2,\"added\":[1]");
    bench.publish_bytes("n", newer.as_bytes()).await;
    bench.publish(&["n"]).await;
    bench.begin();
    bench.until("the neighbour's run", || flow.runs_of("n") == 1).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while bench.engine.queue.depth(&bench.topology()).await.unwrap().delayed != 1 {
        assert!(tokio::time::Instant::now() < deadline, "the newer message does not wait");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(bench.letters().await.is_empty());
    bench.end().await;
}

#[tokio::test]
async fn a_conflict_runs_again_at_once() {
    let flow = Scripted::new(&[("c", Behaviour::FailOnce(FaultKind::Conflict))], true);
    let mut bench = Bench::new(flow.clone());
    bench.publish(&["c"]).await;
    bench.begin();
    bench.until_empty().await;
    assert_eq!(flow.runs_of("c"), 2);
    assert!(flow.reports.lock().unwrap().is_empty());
    bench.end().await;
}

#[tokio::test]
async fn a_later_success_closes_the_dead_letters_of_its_key() {
    let flow = Scripted::new(&[("p", Behaviour::FailOnce(FaultKind::Permanent))], true);
    let mut bench = Bench::new(flow.clone());
    bench.publish(&["p"]).await;
    bench.begin();
    bench.until_empty().await;
    assert_eq!(bench.letters().await.len(), 1);
    bench.publish(&["p"]).await;
    bench.until_empty().await;
    assert!(bench.letters().await.is_empty());
    let mark = shared::dead_mark::load(bench.engine.state.as_ref(), &envelope("p").key).await.unwrap();
    assert_eq!(mark, None);
    bench.end().await;
}

#[tokio::test]
async fn a_stop_finishes_what_runs_and_hands_back_what_waits_without_costing_an_attempt() {
    let flow = Scripted::new(&[], false);
    let mut bench = Bench::new(flow.clone());
    bench.publish(&["r"]).await;
    bench.begin();
    bench.until("the run", || flow.runs_of("r") == 1).await;
    bench.publish(&["r", "r"]).await;
    bench.stop.cancel();
    flow.gate.add_permits(100);
    bench.task.take().unwrap().await.unwrap();
    let left = bench.depth().await;
    assert!(left <= 2, "the run that was going on was not finished: {left} left");
    let before = flow.runs_of("r");
    bench.stop = CancellationToken::new();
    bench.begin();
    bench.until_empty().await;
    assert!(bench.letters().await.is_empty());
    assert!(left == 0 || flow.runs_of("r") > before);
    bench.end().await;
}

#[tokio::test]
async fn two_workers_share_the_shards_and_a_leaver_moves_only_its_own() {
    let flow = Scripted::new(&[], true);
    let mut bench = Bench::new(flow.clone());
    bench.begin();
    let name = FlowName::new("parties").unwrap();
    let engine = bench.engine.clone();
    bench.until("all shards", || engine.consuming.count(&name) == 4).await;
    let second = Arc::new(another(&engine, "second"));
    let stop = CancellationToken::new();
    let flows: Vec<Arc<dyn Flow>> = vec![flow.clone()];
    let task = tokio::spawn(run::run(second.clone(), flows, stop.clone()));
    bench
        .until("shards to move", || {
            let (first, second) = (engine.consuming.count(&name), second.consuming.count(&name));
            second > 0 && first + second == 4
        })
        .await;
    let ids: Vec<String> = (0..40).map(|n| format!("k{n}")).collect();
    bench.publish(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    stop.cancel();
    task.await.unwrap();
    bench.until_empty().await;
    assert!(ids.iter().all(|id| flow.runs_of(id) >= 1));
    bench.until("all shards back", || engine.consuming.count(&name) == 4).await;
    assert_eq!(flow.overlaps.load(Ordering::SeqCst), 0);
    bench.end().await;
}

#[tokio::test]
async fn a_sweep_begins_no_second_life_beside_a_waiting_retry() {
    let flow = Scripted::new(&[], true);
    let mut bench = Bench::new(flow.clone());
    let sweep = |id| Envelope { cause: Cause::Sweep, ..envelope(id) };
    let (covered, own) = (sweep("covered"), sweep("own"));
    let state = bench.engine.state.clone();
    let wait = Duration::from_secs(60);
    shared::retry_mark::set(state.as_ref(), &covered.key, Uuid::from_u128(9), wait).await.unwrap();
    shared::retry_mark::set(state.as_ref(), &own.key, own.id, wait).await.unwrap();
    bench.engine.queue.prepare(&[bench.topology()]).await.unwrap();
    bench.engine.queue.publish(&[Outbound::of(&covered, 4), Outbound::of(&own, 4)]).await.unwrap();
    bench.begin();
    bench.until_empty().await;
    assert_eq!((flow.runs_of("covered"), flow.runs_of("own")), (0, 1));
    bench.publish(&["covered"]).await;
    bench.until_empty().await;
    assert_eq!(flow.runs_of("covered"), 1, "an event deserves a run of its own");
    bench.end().await;
}
