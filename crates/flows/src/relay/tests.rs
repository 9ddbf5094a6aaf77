//! Against a receiver that answers as it is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request as Incoming;
use axum::http::StatusCode;
use bytes::Bytes;
use doubles::MemoryState;
use shared::clock::SystemClock;
use shared::envelope::{Cause, Operation};
use shared::fault::{Fault, FaultKind};
use shared::flow::{Flow as _, Guard, NoHints, Outcome, Run, Unguarded, Verdict};
use shared::forward::{self, KEPT, SENT_KEPT};
use shared::meter::NoMeter;
use shared::ports::state::Fence;
use shared::record_key::RecordKey;
use shared::retry::RetryPolicy;

use super::*;

/// What came to the receiver.
#[derive(Debug)]
struct Came {
    at: String,
    content_type: String,
    body: Vec<u8>,
}

/// What it answers.
#[derive(Debug, Clone)]
struct Said {
    status: u16,
    header: Option<(&'static str, &'static str)>,
    body: String,
}

fn said(status: u16) -> Said {
    Said { status, header: None, body: "no".to_owned() }
}

fn said_with(status: u16, name: &'static str, value: &'static str) -> Said {
    Said { header: Some((name, value)), ..said(status) }
}

/// What came, and what is answered; 200 where nothing is set.
#[derive(Debug, Default)]
struct Receiver {
    came: Mutex<Vec<Came>>,
    answer: Mutex<Option<Said>>,
}

impl Receiver {
    fn answers(&self, said: Said) {
        *self.answer.lock().unwrap() = Some(said);
    }

    fn count(&self) -> usize {
        self.came.lock().unwrap().len()
    }

    async fn serve(self: &Arc<Self>) -> String {
        let receiver = Arc::clone(self);
        let router = Router::new().fallback(move |request: Incoming| {
            let receiver = Arc::clone(&receiver);
            async move {
                let content_type = header(&request, "content-type");
                assert_eq!(
                    (request.method().as_str(), header(&request, RELAYED_BY).as_str()),
                    ("POST", RELAYED_BY_US)
                );
                let at = request.uri().to_string();
                let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap().to_vec();
                receiver.came.lock().unwrap().push(Came { at, content_type, body });
                let said = receiver.answer.lock().unwrap().clone().unwrap_or_else(|| said(200));
                let (name, value) = said.header.unwrap_or(("x-none", ""));
                (StatusCode::from_u16(said.status).unwrap(), [(name, value)], said.body)
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        format!("http://{address}/oa/hook?app=7")
    }
}

fn header(request: &Incoming, name: &str) -> String {
    request.headers().get(name).map(|it| it.to_str().unwrap().to_owned()).unwrap_or_default()
}

fn settings(name: &str, url: &str) -> RelaySettings {
    RelaySettings {
        name: name.to_owned(),
        url: url.parse().unwrap(),
        shards: 2,
        retry: RetryPolicy::default(),
        run_time_max: Duration::from_secs(30),
        limits: default_limits(),
    }
}

struct Bench {
    receiver: Arc<Receiver>,
    state: Arc<MemoryState>,
    flow: RelayFlow,
}

const BODY: &[u8] = b"<xml><ToUserName>ww1</ToUserName><Encrypt>\0\xff</Encrypt></xml>";

impl Bench {
    async fn start() -> Self {
        let (receiver, state) = (Arc::<Receiver>::default(), Arc::<MemoryState>::default());
        let url = receiver.serve().await;
        let flow = made(settings("oa", &url), &state).unwrap();
        Self { receiver, state, flow }
    }

    async fn keep(&self, query: &str) -> RecordKey {
        let content_type = Some("text/xml; charset=utf-8".to_owned());
        let callback = Callback { query: query.to_owned(), content_type, body: Bytes::from_static(BODY) };
        let key = callback.key(&self.flow.spec().name).unwrap();
        forward::keep(&*self.state, &key, &callback.write().unwrap()).await.unwrap();
        key
    }

    async fn run(&self, key: &RecordKey) -> Result<Outcome, Fault> {
        self.flow.handle(&run(key, Arc::new(Unguarded))).await
    }
}

fn made(settings: RelaySettings, state: &Arc<MemoryState>) -> Result<RelayFlow, String> {
    RelayFlow::new(settings, state.clone(), Arc::new(NoMeter), Arc::new(SystemClock))
}

fn run(key: &RecordKey, guard: Arc<dyn Guard>) -> Run {
    Run {
        key: key.clone(),
        operation: Operation::Update,
        cause: Cause::Webhook,
        sweep_id: None,
        attempts_before: 0,
        is_suspect: false,
        trace_id: "0".repeat(32),
        guard,
        clock: Arc::new(SystemClock),
        hints: Arc::new(NoHints),
    }
}

#[tokio::test]
async fn a_callback_is_passed_on_to_the_byte_and_once() {
    let bench = Bench::start().await;
    let query = "msg_signature=ab%2Bc&timestamp=1792000000&nonce=n%20%E4%B8%AD";
    let key = bench.keep(query).await;
    let place = format!("forward/relay_oa/{}", key.id());
    assert_eq!(bench.state.life(&place), Some(KEPT));
    let outcome = bench.run(&key).await.unwrap();
    assert_eq!((outcome.actions, outcome.converged), (vec!["pass_on"], true));
    {
        let came = bench.receiver.came.lock().unwrap();
        let [Came { at, content_type, body }] = came.as_slice() else { panic!("{came:?}") };
        assert_eq!(at, &format!("/oa/hook?app=7&{query}"));
        assert_eq!((content_type.as_str(), body.as_slice()), ("text/xml; charset=utf-8", BODY));
    }
    assert!(!bench.state.holds("ToUserName"), "its content is not kept longer");
    assert_eq!(bench.state.life(&place), Some(SENT_KEPT));
    // Its message comes again, and so does the callback.
    let again = bench.keep(query).await;
    assert_eq!(again, key);
    let outcome = bench.run(&key).await.unwrap();
    assert_eq!((outcome.actions, outcome.converged), (vec![], true));
    assert_eq!(bench.receiver.count(), 1);
    assert!(
        bench
            .flow
            .preview(&key, jiff::Timestamp::UNIX_EPOCH)
            .await
            .unwrap()
            .summary
            .contains("was passed on")
    );
}

#[tokio::test]
async fn what_the_receiver_answers_says_what_follows() {
    let bench = Bench::start().await;
    let key = bench.keep("nonce=1").await;
    let fault = async |said: Said| {
        bench.receiver.answers(said);
        let fault = bench.run(&key).await.unwrap_err();
        (fault.kind, fault.code)
    };
    assert_eq!(fault(said(404)).await, (FaultKind::Permanent, "receiver_refused"));
    let redirected = (FaultKind::Retryable { after: None }, "redirected");
    assert_eq!(fault(said_with(302, "location", "/elsewhere")).await, redirected);
    assert_eq!(fault(said(408)).await.0, FaultKind::Retryable { after: None });
    assert_eq!(bench.receiver.count(), 3, "a redirect is not followed");
    let summary = bench.flow.preview(&key, jiff::Timestamp::UNIX_EPOCH).await.unwrap().summary;
    assert!(summary.contains(&format!("{} bytes", BODY.len())) && summary.contains("127.0.0.1"), "{summary}");
    // A page of PHP's, as many receivers answer.
    bench.receiver.answers(said_with(200, "content-type", "text/html"));
    assert!(bench.run(&key).await.unwrap().converged);
    let other = bench.keep("nonce=2").await;
    bench.receiver.answers(said_with(503, "retry-after", "7"));
    let fault = bench.run(&other).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Retryable { after: Some(Duration::from_secs(7)) });
    // The receiver's own wish holds back all that goes there, at no cost for the others.
    let fault = bench.run(&other).await.unwrap_err();
    assert_eq!((fault.kind.name(), bench.receiver.count()), ("throttled", 5));
}

#[tokio::test]
async fn many_pages_are_no_failure_of_the_receiver() {
    let bench = Bench::start().await;
    bench.receiver.answers(said_with(200, "content-type", "text/html; charset=utf-8"));
    for nonce in 0..20 {
        let key = bench.keep(&format!("nonce={nonce}")).await;
        assert!(bench.run(&key).await.unwrap().converged, "{nonce}");
    }
    assert_eq!(bench.receiver.count(), 20);
}

#[tokio::test]
async fn a_receiver_that_is_away_is_tried_again_and_an_endless_answer_is_not_read() {
    let state = Arc::<MemoryState>::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let away = Bench { receiver: Arc::default(), flow: made(settings("oa", &url), &state).unwrap(), state };
    let key = away.keep("nonce=1").await;
    let fault = away.run(&key).await.unwrap_err();
    assert_eq!((fault.kind.name(), fault.code), ("retryable", "connect_failed"));
    assert!(matches!(forward::find(&*away.state, &key).await.unwrap(), forward::Found::Waiting(_)));
    let bench = Bench::start().await;
    let key = bench.keep("nonce=1").await;
    bench.receiver.answers(Said { body: "x".repeat(5 << 20), ..said(500) });
    let fault = bench.run(&key).await.unwrap_err();
    assert_eq!((fault.kind.name(), fault.code), ("retryable", "answer_too_large"));
}

#[tokio::test]
async fn content_that_is_gone_or_unreadable_is_a_dead_letter() {
    let bench = Bench::start().await;
    let key = bench.keep("nonce=1").await;
    bench.state.end_documents();
    let fault = bench.run(&key).await.unwrap_err();
    assert_eq!((fault.kind, fault.code), (FaultKind::Permanent, "content_expired"));
    let summary = bench.flow.preview(&key, jiff::Timestamp::UNIX_EPOCH).await.unwrap().summary;
    assert!(summary.contains("not there any more"), "{summary}");
    forward::keep(&*bench.state, &key, b"written by a later version").await.unwrap();
    let fault = bench.run(&key).await.unwrap_err();
    assert_eq!((fault.kind, fault.code), (FaultKind::Permanent, "content_unreadable"));
    bench.state.set_away(true);
    assert_eq!(bench.run(&key).await.unwrap_err().kind.name(), "paused", "at no cost");
    assert_eq!(bench.receiver.count(), 0);
}

#[derive(Debug)]
struct Lost;

impl Guard for Lost {
    fn fence(&self) -> Result<Option<Fence>, Fault> {
        Err(Fault::new(FaultKind::Busy { after: Duration::ZERO }, "lease_lost", "as told"))
    }
}

#[tokio::test]
async fn nothing_is_sent_without_the_lease() {
    let bench = Bench::start().await;
    let key = bench.keep("nonce=1").await;
    assert_eq!(bench.flow.handle(&run(&key, Arc::new(Lost))).await.unwrap_err().code, "lease_lost");
    assert_eq!(bench.receiver.count(), 0);
}

#[tokio::test]
async fn it_has_neither_sweep_nor_webhooks_and_says_where_it_sends() {
    let bench = Bench::start().await;
    let page = bench.flow.sweep(None, "s", jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    assert!(page.records.is_empty() && page.next.is_none());
    let body = Bytes::new();
    assert!(bench.flow.read_webhook(&shared::flow::WebhookRequest::post("", &[], &body)).is_err());
    let [check] = bench.flow.check().await.try_into().unwrap();
    assert_eq!(check.verdict, Verdict::Well);
    assert!(check.seen.contains("127.0.0.1") && !check.seen.contains("app=7"), "{check:?}");
    assert_eq!(bench.receiver.count(), 0);
    bench.flow.leave().await;
}

#[tokio::test]
async fn settings_that_cannot_be_say_which() {
    let state = Arc::<MemoryState>::default();
    let why = |name: &str, url: &str| made(settings(name, url), &state).unwrap_err();
    assert!(why("OA", "https://oa.example/").contains("relay_OA"));
    assert!(
        why("oa", "ftp://oa.example/").contains("relay_oa")
            && why("oa", "ftp://oa.example/").contains("https")
    );
}
