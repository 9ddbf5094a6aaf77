//! Says in the state store that this producer lives, so that nobody moves the installation away beneath it.

use std::sync::Arc;
use std::time::Duration;

use shared::membership;
use shared::ports::PortError;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{debug, warn};

use crate::run::Engine;

/// How long leaving may take.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(2);

/// Announces it at once, and again at each third of its time-to-live.
pub async fn announce(engine: Arc<Engine>) {
    let settings = &engine.settings;
    let mut ticks = interval(settings.lease_ttl / 3);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let announcing =
            membership::announce_producer(engine.state.as_ref(), &settings.name, settings.lease_ttl);
        match announcing.await {
            Ok(()) => {}
            Err(PortError::Lost(problem)) => debug!("This producer cannot be announced: {problem}"),
            Err(problem) => warn!("This producer cannot be announced now: {problem}"),
        }
    }
}

/// Says that it is no more.
pub async fn leave(engine: &Engine) {
    let leaving = membership::leave_producer(engine.state.as_ref(), &engine.settings.name);
    match timeout(LEAVE_TIME_MAX, leaving).await {
        Ok(Ok(())) => {}
        Ok(Err(problem)) => {
            warn!("Leaving could not be announced; the announcement ends by itself: {problem}")
        }
        Err(_elapsed) => warn!("Leaving could not be announced in time; the announcement ends by itself."),
    }
}
