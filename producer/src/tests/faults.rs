//! The producer when queue or flow fail.

use shared::meter::{Meter, Metric};
use shared::names;
use shared::ports::state::{State as _, Write};

use super::queue::{Mood, Moody};
use super::*;

/// Remembers counters and gauges, by name and last label.
#[derive(Debug, Default)]
pub(super) struct Recorder(Mutex<HashMap<String, f64>>);

impl Recorder {
    pub(super) fn of(&self, metric: &'static Metric, label: &str) -> Option<f64> {
        self.0.lock().unwrap().get(&format!("{} {label}", metric.name)).copied()
    }
}

impl Meter for Recorder {
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    fn add(&self, metric: &'static Metric, labels: &[&str], amount: u64) {
        let name = format!("{} {}", metric.name, labels.last().unwrap_or(&""));
        *self.0.lock().unwrap().entry(name).or_default() += amount as f64;
    }
    fn set(&self, metric: &'static Metric, labels: &[&str], value: f64) {
        let name = format!("{} {}", metric.name, labels.last().unwrap_or(&""));
        self.0.lock().unwrap().insert(name, value);
    }
    fn shift(&self, _: &'static Metric, _: &[&str], _: f64) {}
    fn observe(&self, _: &'static Metric, _: &[&str], _: f64) {}
}

pub(super) fn engine_with(bench: &Bench, change: impl FnOnce(&mut Engine)) -> Arc<Engine> {
    let mut engine = Arc::into_inner(bench.engine("producer-1", YEARLY)).unwrap();
    change(&mut engine);
    Arc::new(engine)
}

pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn save(bench: &Bench, sweep: &SweepState) {
    let name = format!("cursor/{}", cursor_name(&parties()));
    let value = serde_json::to_vec(sweep).unwrap();
    bench.store.state.write(Write::put(&name, &value)).await.unwrap();
}

fn swept_until(page: u64, clock: &dyn Clock) -> SweepState {
    let tick = clock.now();
    let last_success = Some(Timestamp::from_second(1_000).unwrap());
    SweepState { tick, sweep_id: "old".into(), unfinished: page > 0, from: Some(json!(page)), last_success }
}

#[tokio::test]
async fn a_producer_whose_queue_goes_away_is_not_ready() {
    let bench = Bench::new();
    let queue = Moody::new(&bench, Mood::Works);
    let engine = engine_with(&bench, |engine| engine.queue = queue.clone());
    let health = engine.health.clone();
    let running = start(engine, Arc::new(Scripted::new(1))).await;
    until("readiness", || health.readiness().ready && health.readiness().parts.contains_key("state")).await;
    queue.set(Mood::IsAway);
    until("the loss to be noticed", || !health.readiness().ready).await;
    assert!(!health.readiness().parts["queue"].ready);
    running.end().await;
}

#[tokio::test]
async fn a_sweep_that_panics_is_tried_again() {
    let bench = Bench::new();
    let flow = Arc::new(Scripted::new(2));
    flow.panics.store(1, Ordering::SeqCst);
    let running = start(bench.engine("producer-1", YEARLY), flow.clone()).await;
    bench.until_swept().await;
    running.end().await;
    assert_eq!(flow.pages_swept(), [0, 1]);
}

#[tokio::test]
async fn a_page_of_a_sweep_that_never_comes_is_looked_for_again() {
    let bench = Bench::new();
    let flow = Arc::new(Scripted::new(2));
    flow.hangs.store(1, Ordering::SeqCst);
    let engine = engine_with(&bench, |engine| engine.settings.sweep_page_time_max = Duration::from_secs(2));
    let running = start(engine, flow.clone()).await;
    bench.until_swept().await;
    running.end().await;
    assert_eq!(flow.pages_swept(), [0, 1]);
}

#[tokio::test]
async fn a_sweep_that_can_never_go_on_is_given_up_so_that_the_next_tick_begins_anew() {
    let bench = Bench::new();
    save(&bench, &swept_until(1, bench.clock.as_ref())).await;
    let flow = Arc::new(Scripted { refused_page: Some(1), ..Scripted::new(3) });
    let running = start(bench.engine("producer-1", YEARLY), flow.clone()).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while bench.sweep_state().await.is_none_or(|sweep| sweep.unfinished) {
        assert!(tokio::time::Instant::now() < deadline, "no sweep is ever fired again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.end().await;
    let sweep = bench.sweep_state().await.unwrap();
    assert_eq!(sweep.from, None);
    let before = Some(Timestamp::from_second(1_000).unwrap());
    assert_eq!(sweep.last_success, before, "what was given up is no success");
}

#[tokio::test]
async fn a_producer_that_was_restarted_knows_when_the_last_sweep_ended() {
    let bench = Bench::new();
    save(&bench, &swept_until(0, bench.clock.as_ref())).await;
    let recorder = Arc::new(Recorder::default());
    let engine = engine_with(&bench, |engine| engine.meter = recorder.clone());
    let running = start(engine, Arc::new(Scripted::new(1))).await;
    let shown = || recorder.of(&names::SWEEP_LAST_SUCCESS, "parties");
    until("the gauge", || shown() == Some(1_000.0)).await;
    running.end().await;
}

#[tokio::test]
async fn what_was_not_made_durable_is_not_counted_as_published() {
    let bench = Bench::new();
    let queue = Moody::new(&bench, Mood::Works);
    let recorder = Arc::new(Recorder::default());
    let engine = engine_with(&bench, |engine| {
        engine.queue = queue.clone();
        engine.meter = recorder.clone();
    });
    let running = start(engine, Arc::new(Scripted::new(1))).await;
    bench.until_swept().await;
    queue.set(Mood::IsAway);
    let body = json!(["a", "b"]).to_string();
    assert_eq!(running.post("/webhooks/parties", "Key: x\r\n", body.as_bytes()).await, 503);
    queue.set(Mood::Works);
    assert_eq!(running.post("/webhooks/parties", "Key: x\r\n", body.as_bytes()).await, 200);
    assert_eq!(recorder.of(&names::WEBHOOK_ITEMS, "published"), Some(2.0));
    running.end().await;
}
