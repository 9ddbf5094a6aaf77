//! Several processes of a fleet at one account, over one store.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use shared::ports::PortError;
use shared::ports::state::{Fence, Grant, State, Versioned, Write, Written};
use tokio::task::JoinSet;

use super::*;

/// Long enough for anything that works, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// A store in memory that can go away. Only what the limits need.
#[derive(Debug, Default)]
struct Store {
    documents: Mutex<HashMap<String, Versioned>>,
    asked: AtomicUsize,
    away: AtomicBool,
}

impl Store {
    fn answer(&self) -> Result<(), PortError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.away.load(Ordering::SeqCst) {
            true => Err(PortError::Unavailable("the test took it away".into())),
            false => Ok(()),
        }
    }

    fn texts(&self) -> String {
        let documents = self.documents.lock().unwrap();
        documents.iter().map(|(key, d)| format!("{key} {}", String::from_utf8_lossy(&d.value))).collect()
    }
}

#[async_trait]
impl State for Store {
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Versioned>>, PortError> {
        self.answer()?;
        tokio::task::yield_now().await;
        let documents = self.documents.lock().unwrap();
        Ok(keys.iter().map(|key| documents.get(*key).cloned()).collect())
    }

    async fn write(&self, write: Write<'_>) -> Result<Written, PortError> {
        self.answer()?;
        tokio::task::yield_now().await;
        let mut documents = self.documents.lock().unwrap();
        let present = documents.get(write.key).map(|document| document.version);
        if !write.expected.fits(present) {
            return Ok(Written::Clash);
        }
        let version = present.unwrap_or(0) + 1;
        let value = write.value.unwrap().to_vec();
        documents.insert(write.key.to_owned(), Versioned { value, version });
        Ok(Written::Done(version))
    }

    async fn scan(&self, _: &str, _: Option<&str>, _: u32) -> Result<Vec<(String, Versioned)>, PortError> {
        unreachable!()
    }

    async fn acquire_lease(&self, _: &str, _: &str, _: Duration) -> Result<Option<Grant>, PortError> {
        unreachable!()
    }

    async fn renew_lease(&self, _: &Fence, _: &str, _: Duration) -> Result<bool, PortError> {
        unreachable!()
    }

    async fn release_lease(&self, _: &Fence, _: &str) -> Result<(), PortError> {
        unreachable!()
    }

    async fn count(&self, _: &str, _: u64, _: Duration) -> Result<u64, PortError> {
        unreachable!()
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.answer()
    }
}

type Member = (Upstream, Arc<Seen>);

fn fleet(count: usize, limits: Limits) -> (Arc<Store>, Vec<Member>) {
    let store = Arc::new(Store::default());
    let limits = Limits { wait_max: SOON, ..limits };
    let members = (0..count).map(|_| joined(&store, limits)).collect();
    (store, members)
}

fn joined(store: &Arc<Store>, limits: Limits) -> Member {
    let state: Arc<dyn State> = store.clone();
    upstream_in(Some(Fleet::new(state, "test", &["https://crm.example.test/", "MM"])), limits)
}

/// Each sends so many at once; answers what came of them.
async fn send_all(members: &[Member], base: &Url, each: usize) -> Vec<Result<Answer, Fault>> {
    let mut sending = JoinSet::new();
    for (upstream, _) in members {
        for _ in 0..each {
            let (upstream, base) = (upstream.clone(), base.clone());
            sending.spawn(async move { upstream.send(&base, get()).await });
        }
    }
    sending.join_all().await
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("waited in vain for: {what}"));
}

fn all_show(members: &[Member], metric: &Metric, value: f64) -> bool {
    members.iter().all(|(_, meter)| meter.get(metric, &["test"]) == value)
}

fn many(concurrency_max: u32, requests_per_second_max: u32) -> Limits {
    Limits { concurrency_max, requests_per_second_max, ..Limits::default() }
}

#[tokio::test]
async fn who_dies_of_the_first_answer_keeps_no_trial_from_the_others() {
    let server = Server::start(vec![Reply::After(Duration::ZERO)]).await;
    let (store, members) = fleet(2, many(4, 1_000));
    for (upstream, _) in &members {
        upstream.send(&server.base, get()).await.unwrap();
        // Nothing of this process runs between its answer and here.
        assert!(store.texts().contains("\"trial\":null"), "{}", store.texts());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fleet_has_no_more_requests_on_their_way_than_one_process_may() {
    let server = Server::start(vec![Reply::After(Duration::from_millis(20))]).await;
    let (store, members) = fleet(5, many(4, 1_000));
    let answers = send_all(&members, &server.base, 20).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let most = server.in_progress_max.load(Ordering::SeqCst);
    assert!((2..=4).contains(&most), "{most} at once");
    let asked = store.asked.load(Ordering::SeqCst);
    println!("the store was asked {asked} times for 100 requests");
    assert!(!store.texts().contains("example"), "{}", store.texts());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fleet_sends_no_faster_than_one_process_may() {
    let server = Server::start(vec![ok()]).await;
    let (_, members) = fleet(3, many(8, 40));
    let began = Instant::now();
    let answers = send_all(&members, &server.base, 40).await;
    let took = began.elapsed().as_secs_f64();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    // One second's worth may go out at once, and one more from each process.
    assert!(took >= f64::from(120 - 40 - 3) / 40.0, "120 requests in {took} s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_refused_log_in_pauses_all_who_begin_together() {
    let server = Server::start(vec![http("401 Unauthorized", "", "")]).await;
    let (_, members) = fleet(5, Limits::default());
    let mut sending = JoinSet::new();
    for (upstream, _) in members.iter().flat_map(|member| [member; 3]) {
        let (upstream, base) = (upstream.clone(), server.base.clone());
        sending.spawn(async move {
            let outcome = upstream.send(&base, get()).await;
            if outcome.is_ok() {
                upstream.pause_refused(Duration::from_secs(600), "its key is refused");
            }
            outcome.map_err(|fault| fault.code)
        });
    }
    let outcomes = sending.join_all().await;
    assert_eq!(server.requests(), 1, "a wrong key must not lock the address out");
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Err("account_paused"))).count(), 14);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_to_wait_pauses_the_fleet() {
    let throttled = http("429 Too Many Requests", "Retry-After: 600\r\n", "");
    let server = Server::start(vec![ok(), ok(), ok(), throttled]).await;
    let (_, members) = fleet(3, Limits::default());
    for (upstream, _) in &members {
        upstream.send(&server.base, get()).await.unwrap();
    }
    members[0].0.send(&server.base, get()).await.unwrap();
    until("the others hear of it", || members.iter().all(|(u, _)| u.check_open("GET things").is_err())).await;
    for (upstream, _) in &members {
        let fault = upstream.send(&server.base, get()).await.unwrap_err();
        let FaultKind::Throttled { after } = fault.kind else { panic!("{fault:?}") };
        assert!(after > Duration::from_secs(400) && after <= Duration::from_secs(601), "{after:?}");
    }
    assert_eq!(server.requests(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_of_the_whole_fleet_finds_out_whether_the_upstream_is_back() {
    let told = Arc::new(Notify::new());
    let failing = http("502 Bad Gateway", "", "");
    let mut replies = vec![ok(); 4];
    replies.extend([failing, Reply::When(Arc::clone(&told)), ok()]);
    let server = Server::start(replies).await;
    let breaker = BreakerPolicy { failures_max: 1, open_for: Duration::from_millis(100) };
    let (_, members) = fleet(4, Limits { breaker, deadline: SOON, ..Limits::default() });
    for (upstream, _) in &members {
        upstream.send(&server.base, get()).await.unwrap();
    }
    members[0].0.send(&server.base, get()).await.unwrap();
    until("all breakers open", || all_show(&members, &names::UPSTREAM_BREAKER_OPEN, 1.0)).await;
    tokio::time::sleep(breaker.open_for).await;

    let mut sending = JoinSet::new();
    for (upstream, _) in &members {
        let (upstream, base) = (upstream.clone(), server.base.clone());
        sending.spawn(async move { upstream.send(&base, get()).await.map_err(|fault| fault.code) });
    }
    for _ in 0..3 {
        assert_eq!(sending.join_next().await.unwrap().unwrap().unwrap_err(), "breaker_open");
    }
    until("the probe", || server.requests() == 6).await;
    told.notify_one();
    assert!(sending.join_next().await.unwrap().unwrap().is_ok());
    until("all breakers closed", || all_show(&members, &names::UPSTREAM_BREAKER_OPEN, 0.0)).await;
    assert_eq!(server.requests(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_store_each_goes_on_with_its_share_and_the_limit_is_kept() {
    let server = Server::start(vec![Reply::After(Duration::from_millis(20))]).await;
    let (store, members) = fleet(3, many(6, 1_000));
    assert!(send_all(&members, &server.base, 5).await.iter().all(Result::is_ok));

    store.away.store(true, Ordering::SeqCst);
    assert!(send_all(&members, &server.base, 10).await.iter().all(Result::is_ok));
    until("each notices", || all_show(&members, &names::LIMITS_LOCAL, 1.0)).await;
    assert!(send_all(&members, &server.base, 10).await.iter().all(Result::is_ok));

    store.away.store(false, Ordering::SeqCst);
    until("each notices", || all_show(&members, &names::LIMITS_LOCAL, 0.0)).await;
    assert!(send_all(&members, &server.base, 10).await.iter().all(Result::is_ok));
    assert!(server.in_progress_max.load(Ordering::SeqCst) <= 6);
    assert_eq!(server.requests(), 105);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_never_reached_the_store_sends_one_at_a_time() {
    let server = Server::start(vec![Reply::After(Duration::from_millis(5))]).await;
    let (store, members) = fleet(1, many(6, 1_000));
    store.away.store(true, Ordering::SeqCst);
    assert!(send_all(&members, &server.base, 10).await.iter().all(Result::is_ok));
    assert_eq!(server.in_progress_max.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_leaves_gives_its_slots_back() {
    let server = Server::start(vec![ok()]).await;
    let (store, members) = fleet(2, Limits::default());
    assert!(send_all(&members, &server.base, 1).await.iter().all(Result::is_ok));
    let seats = || store.texts().matches("beat").count();
    assert_eq!(seats(), 2);
    let stays = members[1].0.clone();
    members[0].0.leave().await;
    assert_eq!(seats(), 1);
    members[0].0.leave().await;
    assert!(
        send_all(&members, &server.base, 1).await.iter().all(Result::is_ok),
        "one that left may come back"
    );
    drop(members);
    until("the other one stays", || seats() == 1).await;
    drop(stays);
    until("both have left", || seats() == 0).await;
}
