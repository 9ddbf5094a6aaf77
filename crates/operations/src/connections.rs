//! Whether queue and state store answer, and whether the store is the one it was: asked again and again, for
//! readiness and metrics.

use std::time::Duration;

use shared::generation::{self, Generation, Loss, Standing};
use shared::meter::{Meter, Metric};
use shared::names;
use shared::ports::PortError;
use shared::ports::queue::Queue;
use shared::ports::state::State;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, error, info};

use crate::health::Health;

/// How often they are asked.
pub(crate) const ASK_EVERY: Duration = Duration::from_secs(1);
/// Longest wait for an answer: silence is no connection.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// How often the queue is told which store is the right one.
const ADVANCE_EVERY: Duration = Duration::from_secs(60);

/// Reports how queue and state store answer, until it is dropped.
pub async fn watch(queue: &dyn Queue, state: &dyn State, meter: &dyn Meter, health: &Health) {
    let mut store = StoreWatch::new(queue, state, meter, health);
    let mut ticks = interval(ASK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tokio::join!(ask_queue(queue, meter, health), store.look());
        store.advance().await;
    }
}

async fn ask_queue(queue: &dyn Queue, meter: &dyn Meter, health: &Health) {
    let answer = within(queue.ping()).await.map(|()| "connected".to_owned());
    report(answer, "queue", &names::QUEUE_CONNECTED, meter, health);
}

async fn within<T>(asking: impl Future<Output = Result<T, PortError>>) -> Result<T, String> {
    match timeout(ANSWER_TIME_MAX, asking).await {
        Ok(answer) => answer.map_err(|problem| problem.to_string()),
        Err(_) => Err(format!("no answer within {} s", ANSWER_TIME_MAX.as_secs())),
    }
}

fn report(
    fact: Result<String, String>,
    part: &str,
    gauge: &'static Metric,
    meter: &dyn Meter,
    health: &Health,
) {
    meter.set(gauge, &[], f64::from(u8::from(fact.is_ok())));
    health.set(part, fact);
}

/// Looks after the state store, and lets this process work with the right one only.
pub(crate) struct StoreWatch<'a> {
    queue: &'a dyn Queue,
    state: &'a dyn State,
    meter: &'a dyn Meter,
    health: &'a Health,
    entered: Option<Generation>,
    lost: Option<Loss>,
    advance_at: Instant,
}

impl<'a> StoreWatch<'a> {
    /// Nothing is known yet.
    pub(crate) fn new(
        queue: &'a dyn Queue,
        state: &'a dyn State,
        meter: &'a dyn Meter,
        health: &'a Health,
    ) -> Self {
        let advance_at = Instant::now() + ADVANCE_EVERY;
        Self { queue, state, meter, health, entered: None, lost: None, advance_at }
    }

    /// Looks, and reports what was seen; answers whether the store may be worked with.
    pub(crate) async fn look(&mut self) -> bool {
        let looked = within(self.enter()).await;
        let is_known = matches!(looked, Ok(Standing::Known(_)));
        self.meter.set(&names::STATE_CONNECTED, &[], f64::from(u8::from(looked.is_ok())));
        let fact = match looked {
            Ok(standing) => self.judge(standing),
            Err(problem) => Err(problem),
        };
        self.health.set("state", fact);
        is_known
    }

    fn judge(&mut self, standing: Standing) -> Result<String, String> {
        let loss = match standing {
            Standing::Known(_) => None,
            Standing::Lost(loss) => Some(loss),
        };
        self.meter.set(&names::STORE_LOST, &[], f64::from(u8::from(loss.is_some())));
        let before = std::mem::replace(&mut self.lost, loss);
        match (before, loss) {
            (None, Some(loss)) => error!("The fleet pauses: {}.", loss.text()),
            (Some(_), None) => info!("The state store is right again; the fleet goes on."),
            _ => {}
        }
        loss.map_or_else(|| Ok("connected".to_owned()), |loss| Err(loss.text().to_owned()))
    }

    async fn enter(&mut self) -> Result<Standing, PortError> {
        let standing = generation::look(self.queue, self.state, self.entered.as_ref()).await?;
        let Standing::Known(found) = standing else { return Ok(standing) };
        self.state.enter(&found);
        if let Some(ended) = self.entered.filter(|known| known.id != found.id)
            && let Err(problem) = generation::forget(self.queue, ended).await
        {
            debug!("The queue still knows the generation that has ended: {problem}");
        }
        // Once for all processes: whoever sees that nobody has done it since.
        let is_still = self.entered == Some(found);
        let present = if is_still { generation::beat(self.state, found).await? } else { found };
        self.state.enter(&present);
        self.entered = Some(present);
        Ok(standing)
    }

    /// Tells the queue at times which store is the right one. Where that fails it is done the next time.
    async fn advance(&mut self) {
        let Some(generation) = self.entered.filter(|_| Instant::now() >= self.advance_at) else { return };
        self.advance_at = Instant::now() + ADVANCE_EVERY;
        match within(generation::advance(self.queue, self.state, generation)).await {
            Ok(present) => {
                self.state.enter(&present);
                self.entered = Some(present);
            }
            Err(problem) => debug!("The queue cannot be told of the store's generation now: {problem}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shared::meter::NoMeter;
    use tokio::task::JoinSet;

    use super::*;
    use crate::doubles::{MemoryQueue, MemoryState};

    fn reason(health: &Health) -> String {
        health.readiness().parts["state"].text.clone()
    }

    async fn release(queue: &MemoryQueue, state: &MemoryState) -> Option<Generation> {
        generation::release(queue, state, "anna", jiff::Timestamp::UNIX_EPOCH).await.unwrap()
    }

    #[tokio::test]
    async fn a_store_that_was_emptied_is_noticed_by_who_runs_and_by_who_starts_until_it_is_released() {
        let (queue, state, health) = (MemoryQueue::default(), MemoryState::default(), Health::default());
        let watch = || StoreWatch::new(&queue, &state, &NoMeter, &health);
        let mut running = watch();
        assert!(running.look().await && running.look().await && watch().look().await);
        assert_eq!(release(&queue, &state).await, None, "nothing is wrong");

        assert_eq!(generation::loss(&queue, &state).await, Ok(None));
        let kept = state.exchange(Default::default());
        assert_eq!(generation::loss(&queue, &state).await, Ok(Some(Loss::Emptied)));
        assert!(!running.look().await && reason(&health).contains("release --store"), "{}", reason(&health));
        assert!(!watch().look().await);
        state.exchange(kept);
        assert!(running.look().await, "the right store is back");

        state.exchange(Default::default());
        let released = release(&queue, &state).await.unwrap();
        assert!(running.look().await && watch().look().await);
        assert_eq!(running.entered.unwrap().id, released.id);
        assert_eq!(generation::last_release(&state).await.unwrap().unwrap().by, "anna");
        assert_eq!(queue.marks.lock().unwrap().len(), 2, "one generation, and that there is one");
    }

    #[tokio::test]
    async fn an_older_copy_is_noticed_by_who_runs_and_after_a_minute_by_who_starts() {
        let (queue, state, health) = (MemoryQueue::default(), MemoryState::default(), Health::default());
        let watch = || StoreWatch::new(&queue, &state, &NoMeter, &health);
        let (mut one, mut other) = (watch(), watch());
        assert!(one.look().await && other.look().await);
        let young = state.copy();
        assert!(one.look().await && other.look().await);
        let old = state.exchange(young);
        // Who flags it tells those who had seen no more than the copy holds.
        assert!(!other.look().await && !one.look().await && !watch().look().await);
        state.exchange(old.clone());
        assert!(one.look().await, "the right store is back");

        one.advance_at = Instant::now();
        one.advance().await;
        assert!(one.look().await && other.look().await, "who did not advance follows");
        state.exchange(old);
        assert!(!watch().look().await, "the queue knows of a newer one");
        assert_eq!(generation::loss(&queue, &state).await, Ok(Some(Loss::Older)));
        release(&queue, &state).await.unwrap();
        assert!(one.look().await && other.look().await && watch().look().await);
    }

    #[tokio::test]
    async fn a_queue_that_is_new_is_told_and_one_that_is_away_matters_only_at_the_start() {
        let (queue, state, health) = (MemoryQueue::default(), MemoryState::default(), Health::default());
        let watch = || StoreWatch::new(&queue, &state, &NoMeter, &health);
        let mut running = watch();
        assert!(running.look().await);
        queue.is_away.store(true, std::sync::atomic::Ordering::SeqCst);
        running.advance_at = Instant::now();
        running.advance().await;
        assert!(running.look().await && !watch().look().await);
        queue.is_away.store(false, std::sync::atomic::Ordering::SeqCst);
        queue.marks.lock().unwrap().clear();
        assert!(watch().look().await);
        assert_eq!(queue.marks.lock().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_queue_that_forgot_its_last_steps_is_told_again_and_still_knows_an_older_copy() {
        let (queue, state, health) = (MemoryQueue::default(), MemoryState::default(), Health::default());
        let watch = || StoreWatch::new(&queue, &state, &NoMeter, &health);
        let mut running = watch();
        assert!(running.look().await);
        let steps = async |running: &mut StoreWatch<'_>, steps: u32| {
            for _ in 0..steps {
                running.advance_at = Instant::now();
                running.advance().await;
            }
        };
        let old = state.copy();
        steps(&mut running, 4).await;
        let known = queue.marks.lock().unwrap().clone();
        steps(&mut running, 2).await;
        *queue.marks.lock().unwrap() = known.clone();
        assert_eq!(generation::loss(&queue, &state).await, Ok(None));
        assert!(watch().look().await, "the broker was killed, and has forgotten the last two");
        let marks = queue.marks.lock().unwrap().clone();
        assert!(marks.len() == known.len() && marks != known, "it is told the present one: {marks:?}");
        steps(&mut running, 3).await;
        *queue.marks.lock().unwrap() = known;
        assert_eq!(generation::loss(&queue, &state).await, Ok(Some(Loss::Older)), "too many to be that");
        state.exchange(old);
        assert_eq!(generation::loss(&queue, &state).await, Ok(Some(Loss::Older)));
    }

    #[tokio::test]
    async fn whose_step_clashes_has_the_queue_forget_it_only_when_the_store_is_past_it() {
        let (queue, state) = (MemoryQueue::default(), MemoryState::default());
        let Standing::Known(first) = generation::look(&queue, &state, None).await.unwrap() else { panic!() };
        let advance = async |from| generation::advance(&queue, &state, from).await.unwrap();
        let beaten = generation::beat(&state, first).await.unwrap();
        assert_eq!(advance(first).await, first, "somebody else wrote meanwhile");
        let marks = queue.marks.lock().unwrap().clone();
        assert_eq!(marks.len(), 3, "another process may be about to take the same step: {marks:?}");

        let next = advance(beaten).await;
        assert_eq!(generation::loss(&queue, &state).await, Ok(None));
        assert_eq!(advance(beaten).await, beaten, "somebody else took the same step");
        assert_eq!(generation::loss(&queue, &state).await, Ok(None));
        advance(next).await;
        assert_eq!(advance(beaten).await, beaten);
        assert_eq!(queue.marks.lock().unwrap().len(), 2, "the store is past it");
        assert_eq!(generation::loss(&queue, &state).await, Ok(None));
    }

    #[tokio::test]
    async fn many_that_start_at_once_begin_one_generation() {
        let fleet = Arc::new((MemoryQueue::default(), MemoryState::default()));
        let mut starting = JoinSet::new();
        for late in 0..20 {
            let fleet = fleet.clone();
            starting.spawn(async move {
                // One step later than the one before: each meets the first one's beginning at another point.
                for _ in 0..late {
                    tokio::task::yield_now().await;
                }
                let health = Health::default();
                let mut watch = StoreWatch::new(&fleet.0, &fleet.1, &NoMeter, &health);
                assert!(watch.look().await, "{:?}", health.readiness());
                watch.entered.unwrap().id
            });
        }
        let mut ids = starting.join_all().await;
        ids.dedup();
        assert_eq!(ids.len(), 1);
    }
}
