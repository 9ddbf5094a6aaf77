//! The behaviour of an upstream account against a server that speaks just enough HTTP to misbehave.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use shared::clock::SystemClock;
use shared::flow::Guard;
use shared::meter::Metric;
use shared::ports::state::Fence;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::*;
use crate::breaker::BreakerPolicy;
use crate::{Method, guarded, may_have_taken_effect};

mod fleet;

const OK: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";

/// What the server does with a request.
#[derive(Clone)]
enum Reply {
    /// Sends these bytes and closes.
    Raw(String),
    /// Reads the request and closes without a word.
    Hang,
    /// Never answers.
    Silence,
    /// Answers once it is told to.
    When(Arc<Notify>),
    /// Answers after this time.
    After(Duration),
}

fn http(status: &str, headers: &str, body: &str) -> Reply {
    let length = body.len();
    Reply::Raw(format!(
        "HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

fn ok() -> Reply {
    http("200 OK", "Content-Type: application/json\r\n", "{}")
}

/// A server that gives the replies in order, the last one for ever.
struct Server {
    base: Url,
    seen: Arc<Mutex<Vec<String>>>,
    in_progress_max: Arc<AtomicUsize>,
}

impl Server {
    async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let in_progress = Arc::new(AtomicUsize::new(0));
        let in_progress_max = Arc::new(AtomicUsize::new(0));
        let server = Self { base, seen: Arc::clone(&seen), in_progress_max: Arc::clone(&in_progress_max) };
        tokio::spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let (seen, replies) = (Arc::clone(&seen), replies.clone());
                let (running, most) = (Arc::clone(&in_progress), Arc::clone(&in_progress_max));
                tokio::spawn(async move {
                    let request = read_request(&mut stream).await;
                    let number = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(request);
                        seen.len()
                    };
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let reply = replies.get(number - 1).or(replies.last()).unwrap().clone();
                    answer(&mut stream, reply, &running).await;
                });
            }
        });
        server
    }

    fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

async fn answer(stream: &mut TcpStream, reply: Reply, running: &AtomicUsize) {
    let bytes = match reply {
        Reply::Raw(bytes) => bytes,
        Reply::Hang => String::new(),
        Reply::Silence => std::future::pending().await,
        Reply::When(told) => {
            told.notified().await;
            OK.to_owned()
        }
        Reply::After(time) => {
            tokio::time::sleep(time).await;
            OK.to_owned()
        }
    };
    running.fetch_sub(1, Ordering::SeqCst);
    let _ = stream.write_all(bytes.as_bytes()).await;
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).await.unwrap_or(0);
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length =
                head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            body.len() >= length.unwrap_or(0)
        });
        if whole || count == 0 {
            return text;
        }
    }
}

/// Remembers the counters and the gauges.
#[derive(Debug, Default)]
struct Seen(Mutex<std::collections::BTreeMap<String, f64>>);

impl Seen {
    fn get(&self, metric: &Metric, labels: &[&str]) -> f64 {
        let key = format!("{}{labels:?}", metric.name);
        self.0.lock().unwrap().get(&key).copied().unwrap_or(-1.0)
    }
}

impl Meter for Seen {
    fn add(&self, metric: &'static Metric, labels: &[&str], amount: u64) {
        assert_eq!(metric.labels.len(), labels.len());
        *self.0.lock().unwrap().entry(format!("{}{labels:?}", metric.name)).or_default() += amount as f64;
    }
    fn set(&self, metric: &'static Metric, labels: &[&str], value: f64) {
        assert_eq!(metric.labels.len(), labels.len());
        self.0.lock().unwrap().insert(format!("{}{labels:?}", metric.name), value);
    }
    fn shift(&self, _: &'static Metric, _: &[&str], _: f64) {}
    fn observe(&self, metric: &'static Metric, labels: &[&str], seconds: f64) {
        assert_eq!(metric.labels.len(), labels.len());
        assert!(seconds >= 0.0);
        *self.0.lock().unwrap().entry(format!("{}{labels:?}", metric.name)).or_default() += 1.0;
    }
}

fn upstream(limits: Limits) -> (Upstream, Arc<Seen>) {
    upstream_in(None, limits)
}

fn upstream_in(fleet: Option<Fleet>, limits: Limits) -> (Upstream, Arc<Seen>) {
    let meter = Arc::new(Seen::default());
    let secrets = vec![SecretString::from("s3cr3t")];
    let upstream =
        Upstream::new("test", limits, secrets, Arc::clone(&meter) as _, Arc::new(SystemClock), fleet)
            .unwrap();
    (upstream, meter)
}

fn get() -> Request {
    Request::new(Method::Get, "things/{id}", &["a b"]).query("q", "ä&b")
}

fn post() -> Request {
    Request::new(Method::Post, "things", &[]).json(&json!({"name": "x"}))
}

const QUICK: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_request_goes_out_as_built_and_its_answer_comes_back() {
    let server = Server::start(vec![http("201 Created", "X-Odd: 1\r\n", r#"{"a":1}"#)]).await;
    let (upstream, meter) = upstream(Limits::default());
    let request = post().secret_header("x-api-key", SecretString::from("s3cr3t"));
    let answer = upstream.send(&server.base.join("api/v1/").unwrap(), request).await.unwrap();
    assert_eq!((answer.status(), answer.header("x-odd")), (201, Some("1")));
    assert_eq!(answer.json::<Value>().unwrap(), json!({"a": 1}));
    let seen = server.seen.lock().unwrap().join("");
    assert!(seen.starts_with("POST /api/v1/things HTTP/1.1\r\n"), "{seen}");
    let agent = format!("user-agent: syncfleet/{}", shared::VERSION);
    for expected in [agent.as_str(), "content-type: application/json", "x-api-key: s3cr3t", r#"{"name":"x"}"#]
    {
        assert!(seen.contains(expected), "{expected} in {seen}");
    }
    assert!(!seen.contains("traceparent"), "{seen}");
    assert_eq!(meter.get(&names::UPSTREAM_REQUESTS, &["test", "POST things", "ok"]), 1.0);
    assert_eq!(meter.get(&names::LIMITER_WAIT, &["test"]), 1.0);
    assert_eq!(meter.get(&names::UPSTREAM_REQUEST_DURATION, &["test", "POST things"]), 1.0);
}

#[tokio::test]
async fn paths_and_queries_are_encoded() {
    let server = Server::start(vec![ok()]).await;
    upstream(Limits::default()).0.send(&server.base, get()).await.unwrap();
    let seen = server.seen.lock().unwrap().join("");
    assert!(seen.starts_with("GET /things/a%20b?q=%C3%A4%26b HTTP/1.1\r\n"), "{seen}");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let server = Server::start(vec![http("302 Found", "Location: /elsewhere\r\n", "")]).await;
    let answer = upstream(Limits::default()).0.send(&server.base, get()).await.unwrap();
    assert_eq!((answer.status(), server.requests()), (302, 1));
}

#[tokio::test]
async fn nobody_there_means_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let (upstream, meter) = upstream(Limits::default());
    let fault = upstream.send(&base, post()).await.unwrap_err();
    assert_eq!((fault.kind.name(), fault.code), ("retryable", "connect_failed"));
    assert!(!may_have_taken_effect(&fault) && fault.text.contains("refused"), "{fault}");
    assert_eq!(meter.get(&names::UPSTREAM_REQUESTS, &["test", "POST things", "connect_failed"]), 1.0);
}

/// Permits until it is told otherwise.
#[derive(Debug, Default)]
struct Revoked(AtomicUsize);

impl Guard for Revoked {
    fn fence(&self) -> Result<Option<Fence>, Fault> {
        match self.0.load(Ordering::SeqCst) {
            0 => Ok(None),
            _ => Err(Fault::new(FaultKind::Busy { after: QUICK }, "lease_lost", "a test")),
        }
    }
}

#[tokio::test]
async fn a_write_whose_guard_refuses_while_it_waits_for_its_turn_is_not_sent() {
    let release = Arc::new(Notify::new());
    let server = Server::start(vec![Reply::When(Arc::clone(&release)), ok()]).await;
    let (upstream, _) = upstream(Limits { concurrency_max: 1, ..Limits::default() });
    let (guard, base) = (Arc::new(Revoked::default()), server.base.clone());
    let first = tokio::spawn({
        let (upstream, base) = (upstream.clone(), base.clone());
        async move { upstream.send(&base, get()).await }
    });
    while server.requests() == 0 {
        tokio::task::yield_now().await;
    }
    let waiting = tokio::spawn({
        let (upstream, guard, base) = (upstream.clone(), Arc::clone(&guard), base.clone());
        let both = async move { (upstream.send(&base, post()).await, upstream.send(&base, get()).await) };
        guarded(guard, both)
    });
    tokio::task::yield_now().await;
    guard.0.store(1, Ordering::SeqCst);
    release.notify_one();
    let (write, read) = waiting.await.unwrap();
    let fault = write.unwrap_err();
    assert_eq!((fault.kind.name(), fault.code), ("busy", "lease_lost"));
    assert!(!may_have_taken_effect(&fault) && read.unwrap().is_success() && first.await.unwrap().is_ok());
    assert_eq!(server.requests(), 2, "nothing but the two reads");
    guard.0.store(0, Ordering::SeqCst);
    assert!(guarded(guard, upstream.send(&base, post())).await.unwrap().is_success());
}

async fn check_lost(reply: Reply) {
    let server = Server::start(vec![reply]).await;
    let (upstream, _) = upstream(Limits { deadline: QUICK, ..Limits::default() });
    let fault = upstream.send(&server.base, post()).await.unwrap_err();
    assert_eq!((fault.kind.name(), fault.code), ("retryable", "answer_lost"));
    assert!(may_have_taken_effect(&fault) && fault.text.contains("may have taken effect"), "{fault}");
    assert_eq!(server.requests(), 1, "never sent twice");
}

#[tokio::test]
async fn a_write_without_a_whole_answer_may_have_taken_effect() {
    check_lost(Reply::Hang).await;
    check_lost(Reply::Silence).await;
    check_lost(Reply::Raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"cut\":".into())).await;
    check_lost(Reply::Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":".into())).await;
    check_lost(Reply::Raw("no http at all\r\n\r\n".into())).await;
}

#[tokio::test]
async fn an_answer_is_bounded() {
    let server = Server::start(vec![http("200 OK", "", &"x".repeat(2_000))]).await;
    let (small, _) = upstream(Limits { answer_bytes_max: 1_999, ..Limits::default() });
    let fault = small.send(&server.base, get()).await.unwrap_err();
    assert_eq!((fault.kind, fault.code), (FaultKind::Permanent, "answer_too_large"));
    let (enough, _) = upstream(Limits { answer_bytes_max: 2_000, ..Limits::default() });
    assert_eq!(enough.send(&server.base, get()).await.unwrap().body().len(), 2_000);
}

#[tokio::test]
async fn a_wish_to_wait_pauses_the_whole_account_without_further_requests() {
    let server = Server::start(vec![http("429 Too Many Requests", "Retry-After: 120\r\n", "")]).await;
    let (upstream, _) = upstream(Limits::default());
    let answer = upstream.send(&server.base, get()).await.unwrap();
    let after = Duration::from_secs(120);
    assert_eq!(answer.common_fault().unwrap().kind, FaultKind::Throttled { after });
    let fault = upstream.clone().send(&server.base, post()).await.unwrap_err();
    assert_eq!(fault.code, "account_paused");
    let FaultKind::Throttled { after: rest } = fault.kind else { panic!("{fault:?}") };
    assert!(rest <= after && rest > after - Duration::from_secs(60), "{rest:?}");
    assert!(!may_have_taken_effect(&fault));
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_date_to_wait_for_is_measured_by_the_servers_own_clock() {
    let headers = "Date: Fri, 20 Nov 2020 14:00:00 GMT\r\nRetry-After: Fri, 20 Nov 2020 14:01:30 GMT\r\n";
    let server = Server::start(vec![http("503 Service Unavailable", headers, "")]).await;
    let answer = upstream(Limits::default()).0.send(&server.base, get()).await.unwrap();
    let after = Some(Duration::from_secs(90));
    assert_eq!(answer.common_fault().unwrap().kind, FaultKind::Retryable { after });
}

#[tokio::test]
async fn a_refused_account_is_left_alone_until_its_pause_is_over() {
    let server = Server::start(vec![http("401 Unauthorized", "", ""), ok()]).await;
    let (upstream, meter) = upstream(Limits::default());
    upstream.send(&server.base, get()).await.unwrap();
    upstream.pause_refused(Duration::from_secs(3_600), "its key is refused");
    assert_eq!(meter.get(&names::ACCOUNT_PAUSED, &["test"]), 1.0);
    for _ in 0..5 {
        let fault = upstream.send(&server.base, get()).await.unwrap_err();
        assert_eq!((fault.kind.name(), fault.code), ("paused", "account_paused"));
        assert!(fault.text.contains("its key is refused"), "{fault}");
    }
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn an_account_that_is_accepted_again_says_so() {
    let server = Server::start(vec![ok()]).await;
    let (upstream, meter) = upstream(Limits::default());
    upstream.pause_refused(Duration::ZERO, "locked out");
    assert_eq!(meter.get(&names::ACCOUNT_PAUSED, &["test"]), 1.0);
    upstream.send(&server.base, get()).await.unwrap();
    assert_eq!(meter.get(&names::ACCOUNT_PAUSED, &["test"]), 0.0);
}

#[tokio::test]
async fn failures_open_the_breaker_and_a_probe_closes_it() {
    let failing = || http("502 Bad Gateway", "Content-Type: text/html\r\n", "<h1>asleep</h1>");
    let server = Server::start(vec![failing(), failing(), failing(), ok()]).await;
    let breaker = BreakerPolicy { failures_max: 2, open_for: Duration::ZERO };
    let (upstream, meter) = upstream(Limits { breaker, ..Limits::default() });
    let mut kinds = Vec::new();
    for _ in 0..3 {
        let answer = upstream.send(&server.base, get()).await.unwrap();
        kinds.push(answer.common_fault().unwrap().kind.name());
    }
    // The third was a probe: it costs no attempt.
    assert_eq!(kinds, ["retryable", "retryable", "paused"]);
    assert_eq!(meter.get(&names::UPSTREAM_BREAKER_OPEN, &["test"]), 1.0);
    assert!(upstream.send(&server.base, get()).await.unwrap().is_success());
    assert_eq!(meter.get(&names::UPSTREAM_BREAKER_OPEN, &["test"]), 0.0);
}

#[tokio::test]
async fn an_open_breaker_lets_nothing_out() {
    let server =
        Server::start(vec![http("200 OK", "Content-Type: text/html\r\n", "<h1>maintenance</h1>")]).await;
    let breaker = BreakerPolicy { failures_max: 1, open_for: Duration::from_secs(3_600) };
    let (upstream, _) = upstream(Limits { breaker, ..Limits::default() });
    let answer = upstream.send(&server.base, get()).await.unwrap();
    assert_eq!(answer.json::<Value>().unwrap_err().code, "answer_unreadable");
    let fault = upstream.send(&server.base, post()).await.unwrap_err();
    assert_eq!((fault.kind.name(), fault.code), ("paused", "breaker_open"));
    assert!(!may_have_taken_effect(&fault));
    assert_eq!(upstream.check_open("GET things").unwrap_err().code, "breaker_open");
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn until_the_credentials_have_proved_to_work_requests_go_one_by_one() {
    let server = Server::start(vec![http("401 Unauthorized", "", "")]).await;
    let (upstream, _) = upstream(Limits::default());
    futures_of(9, || async {
        if upstream.send(&server.base, get()).await.is_ok() {
            upstream.pause_refused(Duration::from_secs(60), "its key is refused");
        }
    })
    .await;
    assert_eq!(server.requests(), 1, "a wrong key must not lock the address out");
}

#[tokio::test]
async fn no_more_requests_than_allowed_are_on_their_way_at_once() {
    let told = Arc::new(Notify::new());
    let server = Server::start(vec![ok(), Reply::When(Arc::clone(&told))]).await;
    let (upstream, _) = upstream(Limits { concurrency_max: 3, ..Limits::default() });
    upstream.send(&server.base, get()).await.unwrap();
    let sending = futures_of(9, || async {
        upstream.send(&server.base, get()).await.unwrap();
    });
    let telling = async {
        while server.requests() < 10 {
            told.notify_one();
            tokio::task::yield_now().await;
        }
        loop {
            told.notify_one();
            tokio::task::yield_now().await;
        }
    };
    tokio::select! { () = sending => {}, () = telling => {} }
    assert!(server.in_progress_max.load(Ordering::SeqCst) <= 3);
    assert_eq!(server.requests(), 10);
}

#[tokio::test]
async fn whoever_would_wait_too_long_for_the_limits_is_sent_back() {
    let server = Server::start(vec![ok()]).await;
    let limits =
        Limits { requests_per_second_max: 1, wait_max: Duration::from_millis(100), ..Limits::default() };
    let (upstream, _) = upstream(limits);
    upstream.send(&server.base, get()).await.unwrap();
    let fault = upstream.send(&server.base, get()).await.unwrap_err();
    assert_eq!((fault.kind.name(), fault.code), ("throttled", "limiter_full"));
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn excerpts_hold_no_secrets() {
    let body = "key s3cr3t and Bearer abcdefghij0123456789 refused";
    let server = Server::start(vec![http("400 Bad Request", "", body)]).await;
    let answer = upstream(Limits::default()).0.send(&server.base, get()).await.unwrap();
    let fault = answer.fault(FaultKind::Permanent, "refused", "refused");
    assert_eq!(fault.answer.unwrap().excerpt, "key *** and Bearer *** refused");
}

#[tokio::test]
async fn a_header_that_cannot_be_written_is_a_bug_and_not_a_panic() {
    let (upstream, _) = upstream(Limits::default());
    let request = get().secret_header("x-api-key", SecretString::from("line\nbreak"));
    let fault = upstream.send(&Url::parse("http://127.0.0.1:1/").unwrap(), request).await.unwrap_err();
    assert_eq!((fault.kind, fault.code), (FaultKind::Bug, "request_invalid"));
    assert!(!fault.text.contains("break"), "{fault}");
}

async fn futures_of<F: Future<Output = ()>>(count: usize, make: impl Fn() -> F) {
    let mut pending: Vec<_> = (0..count).map(|_| Box::pin(make())).collect();
    std::future::poll_fn(|context| {
        pending.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if pending.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
