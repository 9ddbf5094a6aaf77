//! Webhooks while the queue is away.

use std::path::{Path, PathBuf};

use shared::names;
use shared::ports::queue::Queue;

use super::faults::{Recorder, engine_with, until};
use super::queue::{Mood, Moody};
use super::*;
use crate::spool::{Spool, SpoolSettings};

const SIGNED: &str = "Key: x\r\n";
/// Long enough for a slow disk; a webhook that meets a hanging queue waits for its larger part.
const ANSWER_MAX: Duration = Duration::from_secs(5);

fn settings(dir: &Path) -> SpoolSettings {
    SpoolSettings { dir: dir.to_owned(), messages_max: 100_000, disk_wait: PATIENCE, writes_max: 64 }
}

fn spool(settings: SpoolSettings) -> Arc<Spool> {
    let dir: PathBuf = settings.dir.clone();
    let open = move || {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let options = EmbeddedOptions::new(&dir, Role::Serving, clock);
        Embedded::open(options).map(|embedded| embedded.queue as Arc<dyn Queue>)
    };
    Arc::new(Spool::new(settings, Arc::new(open), [parties()]))
}

/// A producer with a spool beside a queue with moods.
struct Spooling {
    bench: Bench,
    queue: Arc<Moody>,
    meter: Arc<Recorder>,
    dir: tempfile::TempDir,
}

impl Spooling {
    fn new(mood: Mood) -> Self {
        let bench = Bench::new();
        let queue = Moody::new(&bench, mood);
        Self { bench, queue, meter: Arc::default(), dir: tempfile::tempdir().unwrap() }
    }

    async fn start(&self) -> (Running, Health) {
        self.start_with(settings(self.dir.path())).await
    }

    async fn start_with(&self, settings: SpoolSettings) -> (Running, Health) {
        let engine = engine_with(&self.bench, |engine| {
            engine.queue = self.queue.clone();
            engine.meter = self.meter.clone();
            engine.spool = Some(spool(settings));
            engine.settings.webhook_answer_max = ANSWER_MAX;
        });
        let health = engine.health.clone();
        (start(engine, Arc::new(Scripted::new(0))).await, health)
    }

    fn count(&self, outcome: &str) -> f64 {
        self.meter.of(&names::SPOOLED, outcome).unwrap_or_default()
    }

    async fn until_drained(&self, messages: f64) {
        until("the spool to be drained", || self.count("drained") >= messages).await;
    }

    /// What the queue has, in its order, without the doubles.
    async fn arrived(&self) -> Vec<(String, Uuid)> {
        let envelopes = self.bench.taken_out().await.into_iter();
        let of_webhooks = envelopes.filter(|envelope| envelope.cause == Cause::Webhook);
        let mut found: Vec<(String, Uuid)> =
            of_webhooks.map(|envelope| (envelope.key.id().to_owned(), envelope.id)).collect();
        let mut seen = std::collections::HashSet::new();
        found.retain(|message| seen.insert(message.clone()));
        found
    }
}

/// What readiness says of a part.
fn says(health: &Health, part: &str) -> String {
    health.readiness().parts.get(part).map(|part| part.text.clone()).unwrap_or_default()
}

async fn post(running: &Running, ids: &[&str]) -> u16 {
    running.post("/webhooks/parties", SIGNED, json!(ids).to_string().as_bytes()).await
}

/// The messages of each key are in the order in which they were made.
fn assert_in_order(arrived: &[(String, Uuid)], of_each_key: &[(&str, usize)]) {
    for (key, count) in of_each_key {
        let ids: Vec<Uuid> = arrived.iter().filter(|(id, _)| id == key).map(|(_, id)| *id).collect();
        assert_eq!(ids.len(), *count, "{key}: {arrived:?}");
        assert!(ids.is_sorted(), "{key}: {ids:?}");
    }
}

#[tokio::test]
async fn what_belongs_to_an_installation_that_was_migrated_away_is_not_spooled() {
    let spooling = Spooling::new(Mood::Works);
    spooling.queue.remember(mark::QUEUE).await.unwrap();
    let (running, health) = spooling.start().await;
    until("the queue's mark to be seen", || says(&health, "queue").contains("migrate")).await;
    assert_eq!(post(&running, &["a"]).await, 503);
    assert_eq!(spooling.count("spooled"), 0.0);
    let topology = FlowTopology { flow: parties(), shards: SHARDS };
    spooling.bench.store.queue.prepare(&[topology]).await.unwrap();
    assert!(spooling.arrived().await.is_empty());
    running.end().await;
}

#[tokio::test]
async fn what_comes_while_the_queue_is_away_is_accepted_and_arrives_in_order() {
    let spooling = Spooling::new(Mood::Works);
    let (running, health) = spooling.start().await;
    spooling.bench.until_swept().await;
    assert_eq!(post(&running, &["a", "b"]).await, 200);
    assert_eq!(spooling.count("spooled"), 0.0);
    spooling.queue.set(Mood::IsAway);
    for _ in 0..10 {
        assert_eq!(post(&running, &["a", "b"]).await, 200);
    }
    assert_eq!(spooling.count("spooled"), 20.0);
    spooling.queue.set(Mood::Works);
    assert_eq!(post(&running, &["a"]).await, 200);
    spooling.until_drained(spooling.count("spooled")).await;
    assert_eq!(post(&running, &["b"]).await, 200);
    until("readiness", || says(&health, "spool") == "empty").await;
    running.end().await;
    assert_in_order(&spooling.arrived().await, &[("a", 12), ("b", 12)]);
}

#[tokio::test]
async fn a_queue_that_hangs_is_waited_for_once() {
    let spooling = Spooling::new(Mood::Works);
    let (running, _) = spooling.start().await;
    spooling.bench.until_swept().await;
    spooling.queue.set(Mood::Hangs);
    let before = spooling.queue.publishes_begun.load(Ordering::SeqCst);
    for _ in 0..20 {
        assert_eq!(post(&running, &["a"]).await, 200);
    }
    // By the first webhook, and by the draining, which still waits.
    let begun = spooling.queue.publishes_begun.load(Ordering::SeqCst) - before;
    assert!(begun <= 2, "{begun} webhooks waited for a queue that was known to hang");
    running.end().await;
}

#[tokio::test]
async fn a_spool_that_is_full_refuses_and_takes_again_when_it_was_drained() {
    let spooling = Spooling::new(Mood::Works);
    let few = SpoolSettings { messages_max: 3, ..settings(spooling.dir.path()) };
    let (running, health) = spooling.start_with(few).await;
    spooling.bench.until_swept().await;
    spooling.queue.set(Mood::IsAway);
    assert_eq!(post(&running, &["a", "b"]).await, 200);
    assert_eq!(post(&running, &["c", "d"]).await, 503);
    assert_eq!(post(&running, &["e"]).await, 200);
    assert_eq!(post(&running, &["f"]).await, 503);
    assert_eq!((spooling.count("spooled"), spooling.count("refused")), (3.0, 3.0));
    until("the reason in readiness", || {
        let spool = &health.readiness().parts["spool"];
        !spool.ready && spool.text.contains("messages_max")
    })
    .await;
    spooling.queue.set(Mood::Works);
    spooling.until_drained(3.0).await;
    assert_eq!(post(&running, &["f"]).await, 200);
    running.end().await;
    assert_in_order(&spooling.arrived().await, &[("a", 1), ("b", 1), ("c", 0), ("d", 0), ("e", 1), ("f", 1)]);
}

#[tokio::test]
async fn webhooks_are_taken_before_the_queue_was_ever_reached_and_survive_the_process() {
    let spooling = Spooling::new(Mood::IsAway);
    let (running, health) = spooling.start().await;
    assert_eq!(post(&running, &["a"]).await, 200);
    until("the absent queue in readiness", || says(&health, "queue").contains("away, as told")).await;
    running.end().await;
    let (running, health) = spooling.start().await;
    until("the earlier process's message", || says(&health, "spool").starts_with("1 messages wait")).await;
    assert_eq!(post(&running, &["a"]).await, 200);
    spooling.queue.set(Mood::Works);
    spooling.until_drained(2.0).await;
    running.end().await;
    assert_in_order(&spooling.arrived().await, &[("a", 2)]);
}

#[tokio::test]
async fn a_queue_that_lost_its_topology_gets_it_anew_and_then_the_messages() {
    let spooling = Spooling::new(Mood::Works);
    let (running, _) = spooling.start().await;
    spooling.bench.until_swept().await;
    spooling.queue.set(Mood::HasLostItsQueues);
    assert_eq!(post(&running, &["a"]).await, 200);
    spooling.until_drained(1.0).await;
    running.end().await;
    assert_in_order(&spooling.arrived().await, &[("a", 1)]);
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_said_and_the_queue_serves_without_it() {
    let spooling = Spooling::new(Mood::Works);
    let in_the_way = spooling.dir.path().join("file");
    std::fs::write(&in_the_way, "").unwrap();
    let (running, health) = spooling.start_with(settings(&in_the_way.join("spool"))).await;
    spooling.bench.until_swept().await;
    assert_eq!(post(&running, &["a"]).await, 200);
    assert!(says(&health, "spool").contains("cannot be opened"));
    spooling.queue.set(Mood::IsAway);
    assert_eq!(post(&running, &["b"]).await, 503);
    assert_eq!(spooling.count("refused"), 1.0);
    spooling.queue.set(Mood::Works);
    // It becomes usable while the producer runs.
    std::fs::remove_file(&in_the_way).unwrap();
    until("the spool", || health.readiness().parts["spool"].ready).await;
    spooling.queue.set(Mood::IsAway);
    assert_eq!(post(&running, &["c"]).await, 200);
    spooling.queue.set(Mood::Works);
    spooling.until_drained(1.0).await;
    running.end().await;
    assert_in_order(&spooling.arrived().await, &[("a", 1), ("b", 0), ("c", 1)]);
}

#[tokio::test]
async fn a_spool_belongs_to_one_producer() {
    let spooling = Spooling::new(Mood::IsAway);
    let (first, _) = spooling.start().await;
    assert_eq!(post(&first, &["a"]).await, 200);
    let (second, health) = spooling.start().await;
    until("the reason in readiness", || says(&health, "spool").contains("already served by process")).await;
    assert_eq!(post(&second, &["a"]).await, 503);
    first.end().await;
    second.end().await;
}

#[tokio::test]
async fn a_webhook_of_our_own_echoes_needs_neither_queue_nor_spool() {
    let spooling = Spooling::new(Mood::IsAway);
    let (running, _) = spooling.start().await;
    assert_eq!(post(&running, &["echo"]).await, 200);
    assert_eq!(spooling.count("spooled"), 0.0);
    running.end().await;
}
