//! Preparing the queue at the start of a program: tried until it succeeds, since broker and program may be
//! started in any order.

use std::time::Duration;

use shared::ports::queue::{FlowTopology, Queue};

use crate::health::Health;

/// First and longest wait between two tries.
const WAIT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Declares what the flows need, trying on until it succeeds. Says each new reason once; readiness knows it.
pub async fn prepare(queue: &dyn Queue, flows: &[FlowTopology], health: &Health) {
    let mut wait = WAIT.0;
    let mut said = String::new();
    while let Err(problem) = queue.prepare(flows).await {
        let text = problem.to_string();
        health.set("queue", Err(text.clone()));
        if text != said {
            tracing::error!("The queue cannot be used yet, trying on: {text}");
            said = text;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(WAIT.1);
    }
    health.set("queue", Ok("connected".to_owned()));
}
