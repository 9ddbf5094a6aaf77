//! One flow's system is away; another flow of the same worker goes on as if nothing had happened.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::http::StatusCode;
use http_client::breaker::BreakerPolicy;
use http_client::{Fleet, Limits, Method, Request, Upstream};
use jiff::Timestamp;
use reqwest::Url;
use serde_json::Value;
use shared::clock::{Clock as _, SystemClock};
use shared::dead_letter::DeadLetterEvent;
use shared::envelope::{Cause, Envelope, Operation};
use shared::fault::Fault;
use shared::flow::{
    Check, Failure, Flow, FlowSpec, Outcome, Preview, Run, SweepPage, WebhookContent, WebhookRefusal,
    WebhookRequest,
};
use shared::meter::NoMeter;
use shared::ports::queue::{FlowTopology, Outbound, Queue};
use shared::ports::state::State;
use shared::record_key::{FlowName, RecordKey};
use shared::retry::RetryPolicy;
use shared::trace::TraceParent;
use system_tests::wait;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use worker::run::{self, Engine, WorkerSettings};

use crate::backing::{QueueBacking, StateBacking};

const SOON: Duration = Duration::from_secs(120);
const SHARDS: u16 = 4;
/// Runs of one flow at once; what waits for a system that is away is far more.
const RUNS_MAX: usize = 8;
const MESSAGES: usize = 400;

/// A flow each of whose runs sends one request to its system.
#[derive(Debug)]
struct Asking {
    spec: FlowSpec,
    upstream: Upstream,
    base: Url,
    done: Mutex<BTreeSet<String>>,
}

impl Asking {
    /// The flow, and whether its system is away.
    async fn new(name: &str, state: Arc<dyn State>) -> (Arc<Self>, Arc<Mutex<StatusCode>>) {
        let (base, status) = system().await;
        let breaker = BreakerPolicy { open_for: Duration::from_secs(1), ..BreakerPolicy::default() };
        let limits = Limits { requests_per_second_max: 1_000, breaker, ..Limits::default() };
        let fleet = Some(Fleet::new(state, "test", &[base.as_str()]));
        let (meter, clock) = (Arc::new(NoMeter), Arc::new(SystemClock));
        let upstream = Upstream::new("test", limits, Vec::new(), meter, clock, fleet).unwrap();
        let retry = RetryPolicy { delay_initial: Duration::from_millis(100), ..RetryPolicy::default() };
        let name = FlowName::new(name).unwrap();
        let spec = FlowSpec { name, title: "a test", shards: SHARDS, retry, run_time_max: SOON };
        (Arc::new(Self { spec, upstream, base, done: Mutex::default() }), status)
    }

    fn done(&self) -> usize {
        self.done.lock().unwrap().len()
    }

    fn messages(&self, from: usize, count: usize) -> Vec<Outbound> {
        let message = |number: usize| {
            let key = RecordKey::new(self.spec.name.clone(), format!("k{number}")).unwrap();
            let trace = TraceParent::new(fastrand::u128(..), 1);
            let (id, now) = (Uuid::now_v7(), SystemClock.now());
            let envelope = Envelope::new(id, "/test", key, Operation::Update, Cause::Webhook, trace, now);
            Outbound::of(&envelope, SHARDS)
        };
        (from..from + count).map(message).collect()
    }
}

/// A system that answers everything with one status, and its address.
async fn system() -> (Url, Arc<Mutex<StatusCode>>) {
    let status = Arc::new(Mutex::new(StatusCode::OK));
    let answers = status.clone();
    let router = axum::Router::new().fallback(async move || (*answers.lock().unwrap(), "{}"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (base, status)
}

#[async_trait]
impl Flow for Asking {
    fn spec(&self) -> &FlowSpec {
        &self.spec
    }

    async fn handle(&self, run: &Run) -> Result<Outcome, Fault> {
        let answer = self.upstream.send(&self.base, Request::new(Method::Get, "things", &[])).await?;
        if !answer.is_success() {
            return Err(Fault::retryable("upstream_failed", "The system is away."));
        }
        self.done.lock().unwrap().insert(run.key.id().to_owned());
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

fn engine(queue: &Arc<dyn Queue>, state: &Arc<dyn State>, topologies: Vec<FlowTopology>) -> Engine {
    let settings = WorkerSettings {
        concurrency_max: RUNS_MAX,
        key_rest: Duration::ZERO,
        ..crate::engine::settings("worker-test")
    };
    Engine::new(settings, queue.clone(), state.clone(), topologies)
}

/// Publishes messages of a flow and waits until all have been handled. Answers how long that took.
async fn handled(queue: &dyn Queue, flow: &Asking, from: usize) -> Duration {
    let began = Instant::now();
    queue.publish(&flow.messages(from, MESSAGES)).await.unwrap();
    wait::until("all messages", SOON, async || match flow.done() {
        done if done == from + MESSAGES => Ok(()),
        done => Err(done),
    })
    .await;
    began.elapsed()
}

pub async fn an_outage_of_one_flow_leaves_the_other_alone<Q: QueueBacking, S: StateBacking>() {
    let (queues, states) = (Q::new().await, S::new().await);
    let (queue, state) = (queues.open().await, states.open().await);
    let (harmed, away) = Asking::new("harmed", state.clone()).await;
    let (other, _) = Asking::new("other", state.clone()).await;
    let topologies: Vec<FlowTopology> = [&harmed, &other].map(|flow| run::topology(flow.as_ref())).into();
    queue.prepare(&topologies).await.unwrap();
    let stop = CancellationToken::new();
    let flows: Vec<Arc<dyn Flow>> = vec![harmed.clone(), other.clone()];
    let engine = Arc::new(engine(&queue, &state, topologies));
    let working = tokio::spawn(run::run(engine, flows, stop.clone()));

    let before = handled(queue.as_ref(), &other, 0).await;
    *away.lock().unwrap() = StatusCode::SERVICE_UNAVAILABLE;
    queue.publish(&harmed.messages(0, MESSAGES)).await.unwrap();
    wait::until("breaker", SOON, async || harmed.upstream.check_open("a test").err().ok_or("closed")).await;
    let during = handled(queue.as_ref(), &other, MESSAGES).await;
    println!("{MESSAGES} messages of the other flow took {before:?} before the outage, {during:?} in it");
    assert_eq!(harmed.done(), 0, "the outage was none");

    *away.lock().unwrap() = StatusCode::OK;
    wait::until("what had waited", SOON, async || match harmed.done() {
        MESSAGES => Ok(()),
        done => Err(done),
    })
    .await;
    let letters = queue.scan_dead_letters(0, 100).await.unwrap();
    let opened =
        letters.into_events().filter(|event| matches!(event, DeadLetterEvent::Opened { .. })).count();
    assert_eq!(opened, 0, "an outage makes no dead letter");
    stop.cancel();
    working.await.unwrap();
}
