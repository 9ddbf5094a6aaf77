//! What a webhook has another flow pass on.

use shared::forward::{self, Found};
use shared::ports::queue::Queue;
use shared::ports::state::{Fence, Grant, State, Versioned, Written};

use super::faults::{engine_with, until};
use super::queue::{Mood, Moody};
use super::*;
use crate::spool::{Spool, SpoolSettings};

const SIGNED: &str = "Key: x\r\n";

fn relay() -> FlowName {
    FlowName::new("relay_oa").unwrap()
}

fn flows() -> Vec<Arc<dyn Flow>> {
    let mut relayed = Scripted::new(0);
    relayed.spec.name = relay();
    vec![Arc::new(Scripted::new(0)), Arc::new(relayed)]
}

/// A store that keeps nothing to be passed on: it says so, or says nothing.
#[derive(Debug)]
struct Forgetful {
    inner: Arc<dyn State>,
    hangs: bool,
}

#[async_trait::async_trait]
impl State for Forgetful {
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Versioned>>, PortError> {
        self.inner.get_many(keys).await
    }
    async fn write(&self, write: Write<'_>) -> Result<Written, PortError> {
        if write.key.starts_with("forward/") {
            if self.hangs {
                std::future::pending::<()>().await;
            }
            return Err(PortError::Unavailable("away, as told".into()));
        }
        self.inner.write(write).await
    }
    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, Versioned)>, PortError> {
        self.inner.scan(prefix, after, limit).await
    }
    async fn acquire_lease(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Grant>, PortError> {
        self.inner.acquire_lease(name, holder, ttl).await
    }
    async fn renew_lease(&self, fence: &Fence, holder: &str, ttl: Duration) -> Result<bool, PortError> {
        self.inner.renew_lease(fence, holder, ttl).await
    }
    async fn release_lease(&self, fence: &Fence, holder: &str) -> Result<(), PortError> {
        self.inner.release_lease(fence, holder).await
    }
    async fn count(&self, key: &str, amount: u64, window: Duration) -> Result<u64, PortError> {
        self.inner.count(key, amount, window).await
    }
    async fn ping(&self) -> Result<(), PortError> {
        self.inner.ping().await
    }
}

async fn post(running: &Running, items: &[&str]) -> u16 {
    running.post("/webhooks/parties", SIGNED, json!(items).to_string().as_bytes()).await
}

async fn found(bench: &Bench, id: &str) -> Found {
    let key = RecordKey::new(relay(), id).unwrap();
    forward::find(bench.store.state.as_ref(), &key).await.unwrap()
}

fn ids(envelopes: &[Envelope]) -> Vec<String> {
    envelopes.iter().map(|envelope| envelope.key.to_string()).collect()
}

#[tokio::test]
async fn content_is_kept_and_its_message_names_it_only() {
    let bench = Bench::new();
    let running = start_all(engine_with(&bench, |_| {}), flows()).await;
    bench.until_swept().await;
    assert_eq!(post(&running, &["a", "relay_oa:1 hush-hush", "relay_oa:2 other"]).await, 200);
    // The sender did not hear it, and comes again.
    assert_eq!(post(&running, &["a", "relay_oa:1 hush-hush"]).await, 200);
    assert_eq!(found(&bench, "1").await, Found::Waiting(b"hush-hush".to_vec()));
    assert_eq!(found(&bench, "2").await, Found::Waiting(b"other".to_vec()));
    running.end().await;
    let passed_on = bench.taken_out_of(&relay()).await;
    let mut keys = ids(&passed_on);
    keys.sort_unstable();
    assert_eq!(keys, ["relay_oa:1", "relay_oa:1", "relay_oa:2"]);
    assert!(passed_on.iter().all(|envelope| envelope.cause == Cause::Webhook));
    assert!(passed_on.iter().all(|envelope| !format!("{envelope:?}").contains("hush")));
    let own: Vec<Envelope> =
        bench.taken_out().await.into_iter().filter(|envelope| envelope.cause == Cause::Webhook).collect();
    assert_eq!(ids(&own), ["parties:a", "parties:a"]);
}

#[tokio::test]
async fn what_was_sent_is_not_kept_again() {
    let bench = Bench::new();
    let running = start_all(engine_with(&bench, |_| {}), flows()).await;
    bench.until_swept().await;
    assert_eq!(post(&running, &["relay_oa:1 x"]).await, 200);
    let key = RecordKey::new(relay(), "1").unwrap();
    forward::sent(bench.store.state.as_ref(), &key).await.unwrap();
    assert_eq!(post(&running, &["relay_oa:1 x"]).await, 200);
    assert_eq!(found(&bench, "1").await, Found::Sent);
    running.end().await;
}

#[tokio::test]
async fn where_content_cannot_be_kept_nothing_is_accepted() {
    for hangs in [false, true] {
        let bench = Bench::new();
        let engine = engine_with(&bench, |engine| {
            engine.state = Arc::new(Forgetful { inner: bench.store.state.clone(), hangs });
            engine.settings.webhook_answer_max = Duration::from_secs(2);
        });
        let running = start_all(engine, flows()).await;
        bench.until_swept().await;
        assert_eq!(post(&running, &["a", "relay_oa:1 x"]).await, 503, "hangs: {hangs}");
        assert_eq!(post(&running, &["b"]).await, 200, "what is not passed on needs no store");
        running.end().await;
        assert!(bench.taken_out_of(&relay()).await.is_empty());
        let own = bench.taken_out().await;
        let own: Vec<_> = own.into_iter().filter(|envelope| envelope.cause == Cause::Webhook).collect();
        assert_eq!(ids(&own), ["parties:b"]);
    }
}

#[tokio::test]
async fn what_is_too_long_or_for_nobody_is_not_accepted() {
    let bench = Bench::new();
    let running = start_all(engine_with(&bench, |_| {}), flows()).await;
    bench.until_swept().await;
    let long = format!("relay_oa:1 {}", "x".repeat(forward::CONTENT_BYTES_MAX + 1));
    assert_eq!(post(&running, &[&long]).await, 503);
    let fits = format!("relay_oa:1 {}", "x".repeat(forward::CONTENT_BYTES_MAX));
    assert_eq!(post(&running, &[&fits]).await, 200);
    assert_eq!(post(&running, &["relay_of_nobody:1 x"]).await, 503);
    running.end().await;
}

#[tokio::test]
async fn while_the_queue_is_away_content_is_kept_and_messages_are_spooled() {
    let bench = Bench::new();
    let (queue, dir) = (Moody::new(&bench, Mood::Works), tempfile::tempdir().unwrap());
    let path = dir.path().to_owned();
    let open = move || {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let options = EmbeddedOptions::new(&path, Role::Serving, clock);
        Embedded::open(options).map(|embedded| embedded.queue as Arc<dyn Queue>)
    };
    let settings = SpoolSettings {
        dir: dir.path().to_owned(),
        messages_max: 1_000,
        disk_wait: PATIENCE,
        writes_max: 64,
    };
    let spool = Arc::new(Spool::new(settings, Arc::new(open), [parties(), relay()]));
    let engine = engine_with(&bench, |engine| {
        engine.queue = queue.clone();
        engine.spool = Some(spool.clone());
        engine.settings.webhook_answer_max = Duration::from_secs(5);
    });
    let running = start_all(engine, flows()).await;
    bench.until_swept().await;
    queue.set(Mood::IsAway);
    assert_eq!(post(&running, &["a", "relay_oa:1 x"]).await, 200);
    assert_eq!(spool.waiting(), 2);
    assert_eq!(found(&bench, "1").await, Found::Waiting(b"x".to_vec()));
    queue.set(Mood::Works);
    until("the spool to be drained", || spool.waiting() == 0).await;
    running.end().await;
    let passed_on = bench.taken_out_of(&relay()).await;
    assert!(ids(&passed_on).iter().all(|key| key == "relay_oa:1") && !passed_on.is_empty());
}
