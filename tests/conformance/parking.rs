//! Messages that wait for records of another flow, on every backing: workers in this process, a flow that depends on
//! another one's links.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use shared::envelope::{Cause, Envelope, Operation};
use shared::fault::Fault;
use shared::flow::{
    Check, Failure, Flow, FlowSpec, Outcome, Preview, Run, SweepPage, WebhookContent, WebhookRefusal,
    WebhookRequest,
};
use shared::ports::queue::{FlowTopology, Outbound};
use shared::ports::state::State;
use shared::record_key::{FlowName, RecordKey};
use shared::retry::RetryPolicy;
use shared::trace::TraceParent;
use shared::{link, parking};
use system_tests::wait;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::run::{self, Engine, WorkerSettings};

use crate::transfer::place::{Place, SOON, now};

const SHARDS: u16 = 3;

crate::on_both! {
    children_wait_for_their_parents_over_a_restart_and_are_released_once
    whatever_comes_first_nothing_waits_for_ever
}

fn key(flow: &str, id: &str) -> RecordKey {
    RecordKey::new(FlowName::new(flow).unwrap(), id).unwrap()
}

/// Links parents; links a child `<parent>.<number>` only when its parent is linked.
#[derive(Debug)]
struct Family {
    spec: FlowSpec,
    state: Arc<dyn State>,
    /// Runs that succeeded, by record.
    succeeded: Mutex<BTreeMap<String, u32>>,
}

impl Family {
    fn new(name: &str, state: Arc<dyn State>) -> Arc<Self> {
        let (name, retry) = (FlowName::new(name).unwrap(), RetryPolicy::default());
        let run_time_max = Duration::from_secs(30);
        let spec = FlowSpec { name, title: "a family", shards: SHARDS, retry, run_time_max };
        Arc::new(Self { spec, state, succeeded: Mutex::default() })
    }

    fn successes(&self) -> Vec<u32> {
        self.succeeded.lock().unwrap().values().copied().collect()
    }
}

#[async_trait]
impl Flow for Family {
    fn spec(&self) -> &FlowSpec {
        &self.spec
    }

    async fn handle(&self, run: &Run) -> Result<Outcome, Fault> {
        let state = self.state.as_ref();
        if let Some((parent, _)) = run.key.id().split_once('.') {
            let parent = key("parents", parent);
            if link::load::<String>(state, &parent).await?.is_none() {
                return Err(Fault::parked("parent_missing", "its parent is not linked yet", parent));
            }
        }
        let read = link::load::<String>(state, &run.key).await?.map(|stored| stored.version);
        let fence = run.guard.fence()?;
        link::save(state, &run.key, &"linked", read, fence.as_ref()).await?;
        *self.succeeded.lock().unwrap().entry(run.key.id().to_owned()).or_default() += 1;
        Ok(Outcome { actions: vec!["link"], converged: true, look_again_at: None })
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

/// Both flows, and the place they work at.
struct Bench {
    place: Place,
    parents: Arc<Family>,
    children: Arc<Family>,
}

impl Bench {
    async fn new(place: Place) -> Self {
        let (parents, children) =
            (Family::new("parents", place.state.clone()), Family::new("children", place.state.clone()));
        let bench = Self { place, parents, children };
        bench.place.queue.prepare(&bench.topologies()).await.unwrap();
        bench
    }

    fn topologies(&self) -> Vec<FlowTopology> {
        vec![run::topology(self.parents.as_ref()), run::topology(self.children.as_ref())]
    }

    /// A worker; ends when the token is cancelled. What is parked is not looked after within the test.
    fn worker(&self, name: &str) -> (CancellationToken, JoinHandle<()>) {
        let settings = WorkerSettings {
            key_rest: Duration::ZERO,
            drain: Duration::from_secs(20),
            lease_ttl: Duration::from_secs(30),
            member_ttl: Duration::from_secs(3),
            parking_look_every: Duration::from_secs(3_600),
            ..crate::engine::settings(name)
        };
        let (queue, state) = (self.place.queue.clone(), self.place.state.clone());
        let engine = Engine::new(settings, queue, state, self.topologies());
        let flows: Vec<Arc<dyn Flow>> = vec![self.parents.clone(), self.children.clone()];
        let stop = CancellationToken::new();
        (stop.clone(), tokio::spawn(run::run(Arc::new(engine), flows, stop)))
    }

    async fn publish(&self, keys: &[RecordKey]) {
        let outbound = |key: &RecordKey| {
            let trace = TraceParent::new(1, 1);
            let (id, operation) = (Uuid::now_v7(), Operation::Check);
            let envelope = Envelope::new(id, "/test", key.clone(), operation, Cause::Webhook, trace, now());
            Outbound::of(&envelope, SHARDS)
        };
        self.place.queue.publish(&keys.iter().map(outbound).collect::<Vec<_>>()).await.unwrap();
    }

    async fn parked(&self) -> usize {
        let page = parking::page(self.place.state.as_ref(), None, 10_000).await.unwrap();
        page.waiting.iter().map(|(_, waiting)| waiting.len()).sum()
    }

    async fn until_parked(&self, expected: usize) {
        wait::until(&format!("{expected} parked messages"), SOON, async || match self.parked().await {
            found if found == expected => Ok(()),
            found => Err(found),
        })
        .await;
    }
}

async fn children_wait_for_their_parents_over_a_restart_and_are_released_once(place: Place) {
    let bench = Bench::new(place).await;
    let children: Vec<RecordKey> = (0..10).map(|n| key("children", &format!("p.{n}"))).collect();
    let (stop, worker) = bench.worker("first");
    bench.publish(&children).await;
    bench.until_parked(children.len()).await;
    stop.cancel();
    worker.await.unwrap();

    let (stop, worker) = bench.worker("second");
    assert_eq!(bench.parked().await, children.len());
    bench.publish(&[key("parents", "p")]).await;
    bench.until_parked(0).await;
    wait::until("all children", SOON, async || {
        let done = bench.children.successes();
        if done.len() == children.len() { Ok(()) } else { Err(done) }
    })
    .await;
    // Another success of the parent releases nothing more.
    bench.publish(&[key("parents", "p")]).await;
    wait::until("the parent's second run", SOON, async || {
        let done = bench.parents.successes();
        if done == [2] { Ok(()) } else { Err(done) }
    })
    .await;
    stop.cancel();
    worker.await.unwrap();
    assert_eq!(bench.children.successes(), vec![1; children.len()]);
}

async fn whatever_comes_first_nothing_waits_for_ever(place: Place) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let bench = Bench::new(place).await;
    let mut keys: Vec<RecordKey> = (0..15).map(|n| key("parents", &format!("p{n}"))).collect();
    for parent in 0..15 {
        keys.extend((0..4).map(|n| key("children", &format!("p{parent}.{n}"))));
    }
    dice.shuffle(&mut keys);
    let (stop, worker) = bench.worker("first");
    for part in keys.chunks(5) {
        bench.publish(part).await;
    }
    wait::until("all children", SOON, async || {
        let done = bench.children.successes().len();
        if done == 60 { Ok(()) } else { Err((done, bench.parked().await)) }
    })
    .await;
    bench.until_parked(0).await;
    stop.cancel();
    worker.await.unwrap();
}
