//! Whether queue and state store answer: asked again and again, for readiness and metrics.

use std::time::Duration;

use shared::meter::{Meter, Metric};
use shared::names;
use shared::ports::PortError;
use shared::ports::queue::Queue;
use shared::ports::state::State;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::health::Health;

/// How often they are asked.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// Longest wait for an answer: silence is no connection.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// Reports how queue and state store answer, until it is dropped.
pub async fn watch(queue: &dyn Queue, state: &dyn State, meter: &dyn Meter, health: &Health) {
    let mut ticks = interval(ASK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tokio::join!(
            ask(queue.ping(), "queue", &names::QUEUE_CONNECTED, meter, health),
            ask(state.ping(), "state", &names::STATE_CONNECTED, meter, health),
        );
    }
}

async fn ask(
    ping: impl Future<Output = Result<(), PortError>>,
    part: &str,
    gauge: &'static Metric,
    meter: &dyn Meter,
    health: &Health,
) {
    let fact = match timeout(ANSWER_TIME_MAX, ping).await {
        Ok(Ok(())) => Ok("connected".to_owned()),
        Ok(Err(problem)) => Err(problem.to_string()),
        Err(_) => Err(format!("no answer within {} s", ANSWER_TIME_MAX.as_secs())),
    };
    meter.set(gauge, &[], f64::from(u8::from(fact.is_ok())));
    health.set(part, fact);
}
