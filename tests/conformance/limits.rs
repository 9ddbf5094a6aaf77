//! The limits of an account hold for several processes together: over the embedded store, over Redis, and while
//! Redis is killed in the middle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use adapter_embedded::{Embedded, EmbeddedOptions, Role};
use adapter_redis::RedisState;
use http_client::{Fleet, Limits, Method, Request, Upstream};
use reqwest::Url;
use shared::clock::SystemClock;
use shared::meter::{Meter, Metric};
use shared::names;
use shared::ports::state::State;
use system_tests::supervise::Folder;
use system_tests::{Redis, shared_redis, unique_name, wait};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Long enough for anything that works, on a busy machine.
const SOON: Duration = Duration::from_secs(120);
const PROCESSES: usize = 3;
const SLOTS: u32 = 6;

/// An upstream that counts, and takes some time for each request.
#[derive(Debug, Default)]
struct Counts {
    in_progress: AtomicUsize,
    most: AtomicUsize,
    answered: AtomicUsize,
}

impl Counts {
    async fn serve(self: Arc<Self>) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&self).answer(stream));
            }
        });
        base
    }

    async fn answer(self: Arc<Self>, mut stream: TcpStream) {
        let mut request = Vec::new();
        let mut buffer = [0; 1024];
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read(&mut buffer).await {
                Ok(count) if count > 0 => request.extend_from_slice(&buffer[..count]),
                _ => return,
            }
        }
        let now = self.in_progress.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.in_progress.fetch_sub(1, Ordering::SeqCst);
        self.answered.fetch_add(1, Ordering::SeqCst);
        let _ =
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}").await;
    }

    async fn until_more(&self, count: usize) {
        let before = self.answered.load(Ordering::SeqCst);
        wait::until("more answers", SOON, async || {
            let more = self.answered.load(Ordering::SeqCst) - before;
            if more >= count { Ok(()) } else { Err(more) }
        })
        .await;
    }
}

/// Remembers whether a process keeps to its share.
#[derive(Debug, Default)]
struct Local(AtomicBool);

impl Meter for Local {
    fn add(&self, _: &'static Metric, _: &[&str], _: u64) {}
    fn set(&self, metric: &'static Metric, _: &[&str], value: f64) {
        if metric.name == names::LIMITS_LOCAL.name {
            self.0.store(value > 0.5, Ordering::SeqCst);
        }
    }
    fn shift(&self, _: &'static Metric, _: &[&str], _: f64) {}
    fn observe(&self, _: &'static Metric, _: &[&str], _: f64) {}
}

/// Processes that send as much as they may, until they are dropped.
struct Processes {
    locals: Vec<Arc<Local>>,
    sending: JoinSet<()>,
}

impl Processes {
    fn start(base: &Url, store: impl Fn() -> Arc<dyn State>) -> Self {
        let mut all = Self { locals: Vec::new(), sending: JoinSet::new() };
        for _ in 0..PROCESSES {
            let limits = Limits {
                concurrency_max: SLOTS,
                requests_per_second_max: 1_000,
                wait_max: SOON,
                ..Limits::default()
            };
            let local = Arc::new(Local::default());
            let fleet = Some(Fleet::new(store(), "test", &[base.as_str()]));
            let clock = Arc::new(SystemClock);
            let upstream = Upstream::new("test", limits, Vec::new(), local.clone(), clock, fleet).unwrap();
            all.locals.push(local);
            for _ in 0..SLOTS {
                let (upstream, base) = (upstream.clone(), base.clone());
                all.sending.spawn(async move {
                    loop {
                        let answer = upstream.send(&base, Request::new(Method::Get, "things", &[])).await;
                        assert!(answer.unwrap().is_success());
                    }
                });
            }
        }
        all
    }

    async fn until_all(&self, local: bool) {
        wait::until("all to know whether the store is there", SOON, async || {
            let locals: Vec<_> = self.locals.iter().map(|l| l.0.load(Ordering::SeqCst)).collect();
            if locals.iter().all(|l| *l == local) { Ok(()) } else { Err(locals) }
        })
        .await;
    }

    /// Ends them; none may have failed.
    async fn end(mut self) {
        self.sending.abort_all();
        while let Some(ended) = self.sending.join_next().await {
            assert!(ended.unwrap_err().is_cancelled());
        }
    }
}

async fn check_limit(store: impl Fn() -> Arc<dyn State>) {
    let counts = Arc::new(Counts::default());
    let base = Arc::clone(&counts).serve().await;
    let processes = Processes::start(&base, store);
    counts.until_more(300).await;
    // Before the end: a request that is cut off there gives its slot back while the upstream still works on it.
    let most = counts.most.load(Ordering::SeqCst);
    processes.end().await;
    assert!(most <= SLOTS as usize, "{most} at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_keeps_the_limit() {
    let folder = Folder::new("limits").unwrap();
    let options = EmbeddedOptions::new(folder.join("data"), Role::Serving, Arc::new(SystemClock));
    let state: Arc<dyn State> = Embedded::open(options).unwrap().state;
    check_limit(|| state.clone()).await;
}

/// A connection of its own for each process.
fn connected(redis: &Redis, prefix: &str) -> Arc<dyn State> {
    let options = adapter_redis::Options { prefix: prefix.to_owned(), ..adapter_redis::Options::default() };
    Arc::new(RedisState::new(&redis.url(), options).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_keeps_the_limit() {
    let redis = shared_redis().await.unwrap();
    let prefix = unique_name("limits");
    check_limit(|| connected(redis, &prefix)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_is_kept_while_redis_is_killed_and_comes_back() {
    let mut redis = Redis::start().await.unwrap();
    let prefix = unique_name("limits");
    let counts = Arc::new(Counts::default());
    let base = Arc::clone(&counts).serve().await;
    let processes = Processes::start(&base, || connected(&redis, &prefix));
    counts.until_more(200).await;

    redis.kill_9();
    counts.until_more(100).await;
    processes.until_all(true).await;
    counts.until_more(100).await;

    redis.restart().await.unwrap();
    processes.until_all(false).await;
    counts.until_more(200).await;
    let most = counts.most.load(Ordering::SeqCst);
    processes.end().await;
    assert!(most <= SLOTS as usize, "{most} at once");
}
