//! Webhooks and sweeps of a flow that does as it is told, on the embedded queue.

mod connect;
mod faults;
mod forward;
mod queue;
mod slow;
mod spool;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adapter_embedded::{Embedded, EmbeddedOptions, Role};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use operations::health::Health;
use operations::migration::mark;
use operations::sweep_state::{SweepState, cursor_name};
use serde_json::{Value, json};
use shared::clock::{Clock, SystemClock};
use shared::envelope::{Cause, Envelope, Operation};
use shared::fault::Fault;
use shared::flow::{
    Check, Failure, Flow, FlowSpec, Outcome, Preview, Run, SweepHit, SweepPage, WebhookContent, WebhookItem,
    WebhookMethod, WebhookRefusal, WebhookRequest,
};
use shared::meter::NoMeter;
use shared::ports::PortError;
use shared::ports::queue::Queue as _;
use shared::ports::queue::{FlowTopology, Outbound};
use shared::ports::state::{State as _, Write};
use shared::record_key::{FlowName, RecordKey};
use shared::retry::RetryPolicy;
use shared::{cursor, dead_mark, membership, retry_mark};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::gate::Gate;
use crate::run::{self, Engine, ProducerSettings};
use crate::schedule::Schedule;

const PATIENCE: Duration = Duration::from_secs(60);
const SHARDS: u16 = 2;

fn parties() -> FlowName {
    FlowName::new("parties").unwrap()
}

fn key(id: &str) -> RecordKey {
    RecordKey::new(parties(), id).unwrap()
}

/// What the flow answers when it is asked whether there are new webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Learning {
    Nothing,
    News,
    Fails,
    Hangs,
}

/// Finds `pages` pages of two records each; webhook bodies are arrays of ids, refused without the header `key`.
#[derive(Debug)]
struct Scripted {
    spec: FlowSpec,
    pages: u64,
    swept: Mutex<Vec<(u64, String)>>,
    failures: AtomicU32,
    panics: AtomicU32,
    hangs: AtomicU32,
    /// A page that is refused for ever.
    refused_page: Option<u64>,
    changed_at: Option<Timestamp>,
    learning: Learning,
    learned: AtomicBool,
    /// Whether it works with accounts.
    has_accounts: bool,
}

impl Scripted {
    fn new(pages: u64) -> Self {
        let spec = FlowSpec {
            name: parties(),
            title: "a test",
            shards: SHARDS,
            retry: RetryPolicy::default(),
            run_time_max: Duration::from_secs(1),
        };
        Self {
            spec,
            pages,
            swept: Mutex::default(),
            failures: AtomicU32::new(0),
            panics: AtomicU32::new(0),
            hangs: AtomicU32::new(0),
            refused_page: None,
            changed_at: None,
            learning: Learning::Nothing,
            learned: AtomicBool::new(false),
            has_accounts: false,
        }
    }

    fn pages_swept(&self) -> Vec<u64> {
        self.swept.lock().unwrap().iter().map(|(page, _)| *page).collect()
    }
}

#[async_trait::async_trait]
impl Flow for Scripted {
    fn spec(&self) -> &FlowSpec {
        &self.spec
    }

    async fn handle(&self, _: &Run) -> Result<Outcome, Fault> {
        Ok(Outcome::default())
    }

    async fn report(&self, _: &Run, _: &Failure<'_>) -> Result<(), Fault> {
        Ok(())
    }

    async fn sweep(&self, from: Option<&Value>, sweep_id: &str, _: Timestamp) -> Result<SweepPage, Fault> {
        let page = from.and_then(Value::as_u64).unwrap_or(0);
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            return Err(Fault::retryable("scripted", "as told"));
        }
        let panics = self.panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        assert!(panics.is_err(), "as told");
        if self.hangs.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            std::future::pending::<()>().await;
        }
        if self.refused_page == Some(page) {
            return Err(Fault::permanent("scripted", "as told"));
        }
        self.swept.lock().unwrap().push((page, sweep_id.to_owned()));
        let hit = |n: u64| SweepHit { key: key(&format!("r{}", page * 2 + n)), changed_at: self.changed_at };
        let next = (page + 1 < self.pages).then(|| json!(page + 1));
        Ok(SweepPage { records: vec![hit(0), hit(1)], next })
    }

    fn key_of_account(&self, provider: &str, crm_user: &str) -> Option<RecordKey> {
        self.has_accounts.then(|| key(&format!("{provider}.{crm_user}")))
    }

    fn answers_get(&self, path: &str) -> bool {
        path == "challenge"
    }

    fn read_webhook(&self, request: &WebhookRequest<'_>) -> Result<WebhookContent, WebhookRefusal> {
        if let Some(text) = request.query.and_then(|query| query.strip_prefix("validationToken=")) {
            return Ok(WebhookContent::Challenge(text.replace("%3C", "<").replace("%3E", ">")));
        }
        if request.method == WebhookMethod::Get {
            return Err(WebhookRefusal::Malformed("no challenge".into()));
        }
        let is_known =
            self.learned.load(Ordering::SeqCst) || request.headers.iter().any(|(name, _)| *name == "key");
        if !is_known {
            return Err(WebhookRefusal::Unverified("no signature".into()));
        }
        let items: Vec<Value> = serde_json::from_slice(request.body)
            .map_err(|_| WebhookRefusal::Malformed("not an array".into()))?;
        let item = |item: &Value| match item.as_str() {
            Some("echo") => WebhookItem::Echo,
            Some(id) if id.starts_with("relay_") => {
                let (key, content) = id.split_once(' ').unwrap();
                WebhookItem::Forward { key: key.parse().unwrap(), content: content.to_owned().into() }
            }
            Some(id) => WebhookItem::Record(key(id), Operation::Update),
            None => WebhookItem::Malformed("no id".into()),
        };
        Ok(WebhookContent::Items(items.iter().map(item).collect()))
    }

    async fn learn(&self) -> Result<bool, Fault> {
        match self.learning {
            Learning::Nothing => Ok(false),
            Learning::News => Ok(!self.learned.swap(true, Ordering::SeqCst)),
            Learning::Fails => Err(Fault::retryable("scripted", "as told")),
            Learning::Hangs => std::future::pending().await,
        }
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
    store: Embedded,
    clock: Arc<dyn Clock>,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::bounded(u64::MAX)
    }

    fn bounded(bytes_max: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let options = EmbeddedOptions::new(dir.path(), Role::Serving, clock.clone());
        let bytes_max = bytes_max.min(options.bytes_max);
        let store = Embedded::open(EmbeddedOptions { bytes_max, ..options }).unwrap();
        Self { store, clock, _dir: dir }
    }

    fn engine(&self, name: &str, cron: &str) -> Arc<Engine> {
        let schedule = Schedule::new(cron.parse().unwrap(), TimeZone::UTC);
        Arc::new(Engine {
            settings: ProducerSettings {
                holder: name.into(),
                name: name.into(),
                schedules: HashMap::from([(parties(), schedule)]),
                lease_ttl: Duration::from_millis(600),
                webhook_body_bytes_max: 1_000_000,
                webhook_concurrency_max: 8,
                webhook_answer_max: PATIENCE,
                drain: Duration::from_secs(2),
                publish_batch_max: 3,
                sweep_page_time_max: PATIENCE,
            },
            queue: self.store.queue.clone(),
            spool: None,
            gate: Gate::default(),
            state: self.store.state.clone(),
            meter: Arc::new(NoMeter),
            clock: self.clock.clone(),
            health: Health::default(),
            connecting: None,
        })
    }

    /// Takes out of the queue what is in it, in the order of each shard.
    async fn taken_out(&self) -> Vec<Envelope> {
        self.taken_out_of(&parties()).await
    }

    async fn taken_out_of(&self, flow: &FlowName) -> Vec<Envelope> {
        use shared::ports::queue::Queue as _;
        let topology = FlowTopology { flow: flow.clone(), shards: SHARDS };
        let queue = &self.store.queue;
        let mut found = Vec::new();
        while queue.depth(&topology).await.unwrap().ready > 0 {
            for shard in shared::routing::shards_of(flow, SHARDS) {
                let mut consumer = queue.consume(&shard, 1_000).await.unwrap();
                while let Ok(delivery) =
                    tokio::time::timeout(Duration::from_millis(100), consumer.next()).await
                {
                    let delivery = delivery.unwrap();
                    found.push(Envelope::parse(&delivery.body).unwrap());
                    delivery.receipt.ack().await.unwrap();
                }
            }
        }
        found
    }

    async fn published(&self) -> Vec<Envelope> {
        let mut found = self.taken_out().await;
        found.sort_by_key(|envelope| envelope.key.id().to_owned());
        found
    }

    async fn sweep_state(&self) -> Option<SweepState> {
        cursor::load(self.store.state.as_ref(), &cursor_name(&parties())).await.unwrap()
    }

    async fn until_swept(&self) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.sweep_state().await.is_none_or(|sweep| sweep.unfinished || sweep.last_success.is_none()) {
            assert!(tokio::time::Instant::now() < deadline, "no sweep ended");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

async fn start(engine: Arc<Engine>, flow: Arc<Scripted>) -> Running {
    start_all(engine, vec![flow]).await
}

async fn start_all(engine: Arc<Engine>, flows: Vec<Arc<dyn Flow>>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(run::run(engine, flows, Some(listener), stop.clone()));
    Running { address, stop, task }
}

impl Running {
    async fn post(&self, path: &str, headers: &str, body: &[u8]) -> u16 {
        let answer = self.ask("POST", path, headers, body).await;
        answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// The whole answer.
    async fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> String {
        ask(self.address, method, path, headers, body).await
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

async fn ask(address: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // A refused body is not read to its end, so that writing may fail.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// A schedule that fires at the first look and then not again while a test runs.
const YEARLY: &str = "0 0 1 1 *";

#[tokio::test]
async fn an_unverified_webhook_is_taken_when_the_flow_has_just_learned_of_it() {
    for (learning, status, published) in [
        (Learning::Nothing, 401, 0),
        (Learning::News, 200, 1),
        (Learning::Fails, 503, 0),
        (Learning::Hangs, 503, 0),
    ] {
        let bench = Bench::new();
        let mut engine = bench.engine("producer-1", YEARLY);
        Arc::get_mut(&mut engine).unwrap().settings.webhook_answer_max = Duration::from_secs(2);
        let running = start(engine, Arc::new(Scripted { learning, ..Scripted::new(1) })).await;
        bench.until_swept().await;
        bench.published().await;
        let answer = running.post("/webhooks/parties/update", "", br#"["a"]"#).await;
        assert_eq!(answer, status, "{learning:?}");
        running.stop.cancel();
        running.task.await.unwrap();
        assert_eq!(bench.published().await.len(), published, "{learning:?}");
    }
}

#[tokio::test]
async fn a_webhook_is_accepted_only_when_it_is_sound() {
    let bench = Bench::new();
    let running = start(bench.engine("producer-1", YEARLY), Arc::new(Scripted::new(1))).await;
    bench.until_swept().await;
    bench.published().await;
    let signed = "Key: x\r\n";
    assert_eq!(running.post("/webhooks/parties/update", "", b"[]").await, 401);
    assert_eq!(running.post("/webhooks/parties/update", signed, b"{}").await, 400);
    assert_eq!(running.post("/webhooks/nothing/update", signed, b"[]").await, 404);
    assert_eq!(running.post("/elsewhere", signed, b"[]").await, 404);
    assert_eq!(running.post("/webhooks/parties/update", signed, &vec![b' '; 5_000_000]).await, 413);
    assert!(bench.published().await.is_empty());

    let body = json!(["a", "b", "a", "echo", 7]).to_string();
    assert_eq!(running.post("/webhooks/parties/update", signed, body.as_bytes()).await, 200);
    let ids: Vec<String> = bench.published().await.iter().map(|e| e.key.id().to_owned()).collect();
    assert_eq!(ids, ["a", "b"]);
    running.end().await;
}

#[tokio::test]
async fn a_challenge_is_answered_as_it_is_and_publishes_nothing() {
    let bench = Bench::new();
    let running = start(bench.engine("producer-1", YEARLY), Arc::new(Scripted::new(1))).await;
    bench.until_swept().await;
    bench.published().await;
    let path = "/webhooks/parties/challenge?validationToken=%3Cscript%3Ealert(1)%3C/script%3E";
    for method in ["POST", "GET"] {
        let answer = running.ask(method, path, "", b"").await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let head = head.to_lowercase();
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        assert!(head.contains("content-type: text/plain\r\n"), "{head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
        assert_eq!(body, "<script>alert(1)</script>");
    }
    let long = format!("/webhooks/parties/challenge?validationToken={}", "x".repeat(9_000));
    assert_eq!(running.post(&long, "", b"").await, 400);
    for (method, path, status) in [
        ("GET", "/webhooks/parties/challenge", "400"),
        ("GET", "/webhooks/parties/update", "405"),
        ("GET", "/webhooks/parties", "405"),
        ("HEAD", path, "405"),
        ("GET", "/webhooks/nothing/challenge", "404"),
        ("PUT", path, "405"),
    ] {
        let answer = running.ask(method, path, "Key: x\r\n", b"").await;
        assert_eq!(answer.split(' ').nth(1), Some(status), "{method} {path}");
    }
    running.end().await;
    assert!(bench.published().await.is_empty());
}

#[tokio::test]
async fn nothing_is_published_into_a_queue_that_was_migrated_away() {
    let bench = Bench::new();
    // The store may be away, or cleared: the queue itself says it.
    bench.store.queue.remember(mark::QUEUE).await.unwrap();
    let engine = bench.engine("producer-1", YEARLY);
    let health = engine.health.clone();
    let running = start(engine, Arc::new(Scripted::new(1))).await;
    faults::until("the queue's mark to be seen", || {
        health.readiness().parts.get("queue").is_some_and(|part| !part.ready && part.text.contains("migrate"))
    })
    .await;
    let post = async || running.post("/webhooks/parties", "Key: x\r\n", b"[\"a\"]").await;
    assert_eq!(post().await, 503);
    bench.store.queue.forget(mark::QUEUE).await.unwrap();
    bench.until_swept().await;
    bench.published().await;
    assert_eq!(post().await, 200);
    running.end().await;
}

#[tokio::test]
async fn a_producer_that_started_just_before_a_migration_publishes_nothing_once_it_sees_it() {
    let bench = Bench::new();
    let mark = json!({
        "id": Uuid::nil(), "part": "leaving", "other": "a fleet", "at": Timestamp::UNIX_EPOCH, "moved": {},
    });
    let state = bench.store.state.clone();
    state.write(Write::put("migration", mark.to_string().as_bytes())).await.unwrap();
    let running = start(bench.engine("producer-1", YEARLY), Arc::new(Scripted::new(1))).await;
    let post = async || running.post("/webhooks/parties", "Key: x\r\n", b"[\"a\"]").await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while post().await != 200 {
        assert!(tokio::time::Instant::now() < deadline, "the queue is not seen to be the right one");
    }
    bench.store.queue.remember(mark::QUEUE).await.unwrap();
    while post().await != 503 {
        assert!(tokio::time::Instant::now() < deadline, "it publishes into the queue that is being moved");
    }
    running.end().await;
}

#[tokio::test]
async fn a_webhook_that_cannot_be_made_durable_is_answered_503() {
    let bench = Bench::bounded(400_000);
    let running = start(bench.engine("producer-1", YEARLY), Arc::new(Scripted::new(1))).await;
    bench.until_swept().await;
    let mut statuses = Vec::new();
    for round in 0..400 {
        let ids: Vec<String> = (0..20).map(|n| format!("{round}-{n}")).collect();
        statuses
            .push(running.post("/webhooks/parties", "Key: x\r\n", json!(ids).to_string().as_bytes()).await);
        if statuses.last() == Some(&503) {
            break;
        }
    }
    assert_eq!(statuses.pop(), Some(503), "the store never filled up");
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    running.end().await;
}

#[tokio::test]
async fn a_sweep_publishes_page_by_page_with_its_id() {
    let bench = Bench::new();
    let flow = Arc::new(Scripted::new(3));
    let running = start(bench.engine("producer-1", YEARLY), flow.clone()).await;
    bench.until_swept().await;
    running.end().await;
    let found = bench.published().await;
    assert_eq!(found.iter().map(|e| e.key.id()).collect::<Vec<_>>(), ["r0", "r1", "r2", "r3", "r4", "r5"]);
    let sweep_id = bench.sweep_state().await.unwrap().sweep_id;
    assert!(found.iter().all(|e| e.cause == Cause::Sweep && e.sweep_id.as_ref() == Some(&sweep_id)));
}

#[tokio::test]
async fn a_page_that_fails_is_tried_again_and_no_page_is_left_out() {
    let bench = Bench::new();
    let flow = Arc::new(Scripted::new(3));
    flow.failures.store(1, Ordering::SeqCst);
    let running = start(bench.engine("producer-1", YEARLY), flow.clone()).await;
    bench.until_swept().await;
    running.end().await;
    assert_eq!(flow.pages_swept(), [0, 1, 2]);
}

#[tokio::test]
async fn a_sweep_goes_on_where_a_crash_left_it() {
    let bench = Bench::new();
    let tick: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
    let left = SweepState {
        tick,
        sweep_id: "old".into(),
        unfinished: true,
        from: Some(json!(1)),
        last_success: None,
    };
    use shared::ports::state::{State as _, Write};
    let name = format!("cursor/{}", cursor_name(&parties()));
    let value = serde_json::to_vec(&left).unwrap();
    bench.store.state.write(Write::put(&name, &value)).await.unwrap();
    let flow = Arc::new(Scripted::new(3));
    let running = start(bench.engine("producer-1", YEARLY), flow.clone()).await;
    bench.until_swept().await;
    running.end().await;
    let swept = flow.swept.lock().unwrap().clone();
    assert_eq!(swept[..2], [(1, "old".to_owned()), (2, "old".to_owned())]);
}

#[tokio::test]
async fn records_with_an_open_dead_letter_or_a_waiting_retry_are_left_alone_unless_they_changed() {
    let bench = Bench::new();
    let now = bench.clock.now();
    let state = bench.store.state.as_ref();
    dead_mark::add(state, &key("r0"), Uuid::from_u128(1), now).await.unwrap();
    retry_mark::set(state, &key("r1"), Uuid::from_u128(2), Duration::from_secs(60)).await.unwrap();
    let before = shared::clock::later(Timestamp::UNIX_EPOCH, Duration::from_secs(1));
    let flow = Arc::new(Scripted { changed_at: Some(before), ..Scripted::new(2) });
    let running = start(bench.engine("producer-1", YEARLY), flow).await;
    bench.until_swept().await;
    running.end().await;
    let ids: Vec<String> = bench.published().await.iter().map(|e| e.key.id().to_owned()).collect();
    assert_eq!(ids, ["r2", "r3"]);

    let second = Bench::new();
    dead_mark::add(second.store.state.as_ref(), &key("r0"), Uuid::from_u128(1), now).await.unwrap();
    let later = shared::clock::later(now, Duration::from_secs(1));
    let flow = Arc::new(Scripted { changed_at: Some(later), ..Scripted::new(1) });
    let running = start(second.engine("producer-1", YEARLY), flow).await;
    second.until_swept().await;
    running.end().await;
    assert_eq!(second.published().await.len(), 2);
}

#[tokio::test]
async fn of_two_producers_one_fires_and_the_other_takes_over() {
    let bench = Bench::new();
    let flow = Arc::new(Scripted::new(1));
    // Six fields: each second.
    let first = start(bench.engine("producer-1", "* * * * * *"), flow.clone()).await;
    let second = start(bench.engine("producer-2", "* * * * * *"), flow.clone()).await;
    let fired = |at_least: usize| {
        let flow = flow.clone();
        async move {
            let deadline = tokio::time::Instant::now() + PATIENCE;
            while flow.pages_swept().len() < at_least {
                assert!(tokio::time::Instant::now() < deadline, "only {:?}", flow.pages_swept());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    fired(3).await;
    first.end().await;
    let so_far = flow.pages_swept().len();
    fired(so_far + 2).await;
    second.end().await;
    // A producer that is stopped in the middle of a sweep leaves that one to its successor: twice at most here.
    let ids: Vec<String> = flow.swept.lock().unwrap().iter().map(|(_, id)| id.clone()).collect();
    let distinct: std::collections::BTreeSet<&String> = ids.iter().collect();
    assert!(distinct.len() + 2 >= ids.len(), "ticks fired twice: {ids:?}");
    let mut published = HashMap::<String, u32>::new();
    for envelope in bench.published().await {
        *published.entry(envelope.sweep_id.unwrap()).or_default() += 1;
    }
    assert!(
        published.values().filter(|messages| **messages == 2).count() + 2 >= distinct.len(),
        "{published:?}"
    );
}

#[test]
fn messages_go_to_the_shard_of_their_key() {
    let bench = Bench::new();
    let engine = bench.engine("producer-1", YEARLY);
    let envelope = engine.envelope(key("x"), Operation::Create, Cause::Webhook);
    assert_eq!(envelope.source, "/syncfleet/producer/producer-1");
    let topology = FlowTopology { flow: parties(), shards: SHARDS };
    let outbound = Outbound::of(&envelope, topology.shards);
    assert_eq!(outbound.shard, shared::routing::shard_of(&key("x"), SHARDS));
}

/// A clock that was set back by an hour after the process began.
#[derive(Debug)]
struct SetBack;

impl Clock for SetBack {
    fn now(&self) -> Timestamp {
        SystemClock.now() - Duration::from_secs(3_600)
    }

    fn at_latest(&self) -> Timestamp {
        SystemClock.now()
    }
}

#[test]
fn a_producer_whose_clock_was_set_back_calls_no_message_older_than_it_is() {
    let bench = Bench::new();
    let before = SystemClock.now();
    let mut engine = bench.engine("producer-1", YEARLY);
    Arc::get_mut(&mut engine).unwrap().clock = Arc::new(SetBack);
    assert!(engine.envelope(key("x"), Operation::Create, Cause::Webhook).time >= before);
}

#[test]
fn a_full_queue_is_not_taken_for_a_refusal() {
    let fault: Fault = PortError::Full("disk full".into()).into();
    assert_eq!(fault.kind.name(), "paused");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_that_it_lives_until_it_stops_and_is_no_member_of_a_flow() {
    let bench = Bench::new();
    let state = &bench.store.state;
    let members = async || state.scan(membership::PREFIX, None, 10).await.unwrap();
    let running = start(bench.engine("p", YEARLY), Arc::new(Scripted::new(1))).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while members().await.is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "it is not announced");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let first = members().await.remove(0);
    assert!(first.0.ends_with("/p"), "{first:?}");
    for flow in ["parties", "producer"] {
        let flow = FlowName::new(flow).unwrap();
        assert!(membership::members(state.as_ref(), &flow).await.unwrap().is_empty());
    }
    while members().await.first().is_none_or(|(_, member)| member.version <= first.1.version) {
        assert!(tokio::time::Instant::now() < deadline, "it is not announced again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.end().await;
    assert!(members().await.is_empty());
}
