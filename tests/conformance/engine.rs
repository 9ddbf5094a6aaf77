//! What the worker promises about the records of one flow, with any queue and store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use shared::clock::{Clock as _, SystemClock};
use shared::envelope::{Cause, Envelope, Operation};
use shared::fault::Fault;
use shared::flow::{
    Check, Failure, Flow, FlowSpec, Outcome, Preview, Run, SweepPage, WebhookContent, WebhookRefusal,
    WebhookRequest,
};
use shared::ports::queue::{FlowTopology, Outbound, Queue};
use shared::record_key::{FlowName, RecordKey};
use shared::retry::RetryPolicy;
use shared::trace::TraceParent;
use system_tests::wait;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::run::{self, Engine, WorkerSettings};

use crate::backing::{QueueBacking, StateBacking};

/// Every test of the suite, as a `#[tokio::test]` for a queue and a store.
#[macro_export]
macro_rules! engine_suite {
    ($queue:ty, $state:ty) => {
        $crate::engine_suite!(@each $queue, $state;
            a_burst_to_one_record_costs_at_most_three_runs
            a_slow_record_holds_up_no_other
        );
    };
    (@each $queue:ty, $state:ty; $($test:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                $crate::engine::$test::<$queue, $state>().await;
            }
        )*
    };
}

const SOON: Duration = Duration::from_secs(120);
const SHARDS: u16 = 4;
/// A record whose runs wait for the test.
const SLOW: &str = "slow";

#[derive(Debug)]
struct Counted {
    spec: FlowSpec,
    runs: Mutex<HashMap<String, u32>>,
    turns: Semaphore,
}

impl Counted {
    fn new() -> Arc<Self> {
        let spec = FlowSpec {
            name: FlowName::new("parties").unwrap(),
            title: "a test",
            shards: SHARDS,
            retry: RetryPolicy::default(),
            run_time_max: SOON * 2,
        };
        Arc::new(Self { spec, runs: Mutex::default(), turns: Semaphore::new(0) })
    }

    fn runs_of(&self, id: &str) -> u32 {
        self.runs.lock().unwrap().get(id).copied().unwrap_or(0)
    }
}

#[async_trait]
impl Flow for Counted {
    fn spec(&self) -> &FlowSpec {
        &self.spec
    }

    async fn handle(&self, run: &Run) -> Result<Outcome, Fault> {
        *self.runs.lock().unwrap().entry(run.key.id().to_owned()).or_default() += 1;
        if run.key.id() == SLOW {
            self.turns.acquire().await.unwrap().forget();
        }
        Ok(Outcome { converged: true, ..Outcome::default() })
    }

    async fn report(&self, _: &Run, _: &Failure<'_>) -> Result<(), Fault> {
        Ok(())
    }

    async fn sweep(&self, _: Option<&Value>, _: &str, _: Timestamp) -> Result<SweepPage, Fault> {
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

fn message(flow: &FlowName, id: &str, shards: u16) -> Outbound {
    let key = RecordKey::new(flow.clone(), id).unwrap();
    let trace = TraceParent::new(fastrand::u128(..), 1);
    let (id, now) = (Uuid::now_v7(), SystemClock.now());
    Outbound::of(&Envelope::new(id, "/test", key, Operation::Update, Cause::Webhook, trace, now), shards)
}

/// How a worker of the tests works, by this name.
pub fn settings(name: &str) -> WorkerSettings {
    WorkerSettings {
        holder: format!("{name}/1"),
        name: name.to_owned(),
        concurrency_max: 8,
        prefetch: 50,
        unsettled_max: Duration::from_secs(29 * 60),
        key_rest: Duration::from_secs(2),
        drain: Duration::from_secs(10),
        lease_ttl: Duration::from_secs(60),
        member_ttl: Duration::from_secs(15),
        trial_wait: Duration::from_secs(2),
        parking_look_every: Duration::from_secs(60),
        clock_skew_max: Duration::from_secs(2),
    }
}

/// A worker in this process.
struct Working {
    flow: Arc<Counted>,
    queue: Arc<dyn Queue>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Working {
    async fn begin<Q: QueueBacking, S: StateBacking>(queue: &Q, state: &S) -> Self {
        let (flow, queue, state) = (Counted::new(), queue.open().await, state.open().await);
        let topology = run::topology(flow.as_ref());
        queue.prepare(std::slice::from_ref(&topology)).await.unwrap();
        let engine = Engine::new(settings("worker-test"), queue.clone(), state, vec![topology]);
        let stop = CancellationToken::new();
        let flows: Vec<Arc<dyn Flow>> = vec![flow.clone()];
        let task = tokio::spawn(run::run(Arc::new(engine), flows, stop.clone()));
        Self { flow, queue, stop, task }
    }

    async fn publish(&self, ids: impl IntoIterator<Item = &str>) {
        let batch: Vec<Outbound> =
            ids.into_iter().map(|id| message(&self.flow.spec.name, id, SHARDS)).collect();
        self.queue.publish(&batch).await.unwrap();
    }

    async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        wait::until(what, SOON, async || if condition() { Ok(()) } else { Err("not yet") }).await;
    }

    async fn until_depth(&self, messages: u64) {
        let topology = run::topology(self.flow.as_ref());
        wait::until("depth", SOON, async || {
            let depth = self.queue.depth(&topology).await.unwrap();
            if depth.ready + depth.delayed == messages { Ok(()) } else { Err(depth) }
        })
        .await;
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

pub async fn a_burst_to_one_record_costs_at_most_three_runs<Q: QueueBacking, S: StateBacking>() {
    let (queue, state) = (Q::new().await, S::new().await);
    let working = Working::begin(&queue, &state).await;
    let flow = working.flow.clone();
    working.publish([SLOW]).await;
    working.until("the first run", || flow.runs_of(SLOW) == 1).await;
    working.publish([SLOW; 999]).await;
    // The message of the run, and one for all that were published after it had begun.
    working.until_depth(2).await;
    flow.turns.add_permits(10);
    working.until_depth(0).await;
    let runs = flow.runs_of(SLOW);
    assert!((2..=3).contains(&runs), "{runs} runs");
    working.end().await;
}

pub async fn a_slow_record_holds_up_no_other<Q: QueueBacking, S: StateBacking>() {
    let (queue, state) = (Q::new().await, S::new().await);
    let working = Working::begin(&queue, &state).await;
    let flow = working.flow.clone();
    working.publish([SLOW]).await;
    working.until("the slow run", || flow.runs_of(SLOW) == 1).await;
    // More than the prefetch, before the others and between them.
    let others: Vec<String> = (0..1_000).map(|n| format!("k{n}")).collect();
    working.publish([SLOW; 200]).await;
    working.publish(others.iter().flat_map(|id| [SLOW, id.as_str()])).await;
    working.until("all others", || others.iter().all(|id| flow.runs_of(id) >= 1)).await;
    assert_eq!(flow.runs_of(SLOW), 1, "it is still running");
    flow.turns.add_permits(10);
    working.until_depth(0).await;
    working.end().await;
}

/// For backings that let the number of shards shrink while messages wait.
pub async fn what_an_earlier_larger_number_of_shards_left_behind_is_sent_on<
    Q: QueueBacking,
    S: StateBacking,
>() {
    let (queue, state) = (Q::new().await, S::new().await);
    let before = queue.open().await;
    let larger = SHARDS * 2;
    let flow = FlowName::new("parties").unwrap();
    before.prepare(&[FlowTopology { flow: flow.clone(), shards: larger }]).await.unwrap();
    let ids: Vec<String> = (0..40).map(|n| format!("k{n}")).collect();
    let batch: Vec<Outbound> = ids.iter().map(|id| message(&flow, id, larger)).collect();
    assert!(batch.iter().any(|message| message.shard.number >= SHARDS));
    before.publish(&batch).await.unwrap();
    let working = Working::begin(&queue, &state).await;
    let flow = working.flow.clone();
    working.until("all of them", || ids.iter().all(|id| flow.runs_of(id) >= 1)).await;
    working.end().await;
}
