//! Preparing queue and store at the start of a program: tried until it succeeds, since broker, store and program may
//! be started in any order.

use std::time::Duration;

use shared::meter::Meter;
use shared::ports::queue::{FlowTopology, Queue};
use shared::ports::state::State;
use tokio::time::sleep;

use crate::connections::{ASK_EVERY, StoreWatch};
use crate::health::Health;
use crate::migration::mark;

/// First and longest wait between two tries.
const WAIT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Declares what the flows need, and waits until the store may be worked with. Readiness knows why that takes long.
pub async fn prepare(
    queue: &dyn Queue,
    state: &dyn State,
    flows: &[FlowTopology],
    meter: &dyn Meter,
    health: &Health,
) {
    prepare_queue(queue, flows, health).await;
    await_store(queue, state, meter, health).await;
}

/// Declares what the flows need. Says each new reason once; readiness knows it.
pub async fn prepare_queue(queue: &dyn Queue, flows: &[FlowTopology], health: &Health) {
    let mut wait = WAIT.0;
    let mut said = String::new();
    while let Err(problem) = queue.prepare(flows).await {
        let text = problem.to_string();
        health.set("queue", Err(text.clone()));
        if text != said {
            tracing::error!("The queue cannot be used yet, trying on: {text}");
            said = text;
        }
        sleep(wait).await;
        wait = (wait * 2).min(WAIT.1);
    }
    health.set("queue", Ok("connected".to_owned()));
}

/// Waits until the store is the right one and no migration stands in the way.
pub async fn await_store(queue: &dyn Queue, state: &dyn State, meter: &dyn Meter, health: &Health) {
    let mut store = StoreWatch::new(queue, state, meter, health);
    let mut said = String::new();
    loop {
        if store.look().await {
            let reason = match mark::obstacle(state).await {
                Ok(None) => return,
                Ok(Some(reason)) => reason,
                Err(problem) => problem.to_string(),
            };
            health.set("state", Err(reason.clone()));
            if reason != said {
                tracing::error!("Nothing is served yet, trying on: {reason}");
                said = reason;
            }
        }
        sleep(ASK_EVERY).await;
    }
}
