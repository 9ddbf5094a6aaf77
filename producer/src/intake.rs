//! Makes the messages of a webhook durable, in time for its sender: in the queue, or in the spool.

use shared::envelope::Cause;
use shared::flow::FlowSpec;
use shared::ports::PortError;
use shared::ports::queue::Outbound;
use shared::{labelled, names};
use tokio::time::timeout;

use crate::run::Engine;
use crate::spool::Spool;
use crate::spool::way::{Way, waits};

/// Where messages are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// In the queue, which has confirmed them.
    Published,
    /// On this machine's disk.
    Spooled,
}

impl Taken {
    /// Its word in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Spooled => "spooled",
        }
    }
}

/// Makes messages of one flow durable. What the queue was sent without confirming it may be in the spool as well.
///
/// # Errors
/// Neither queue nor spool has confirmed them in time, or the installation was moved elsewhere; taking them again does
/// no harm.
pub async fn take(engine: &Engine, spec: &FlowSpec, batch: &[Outbound]) -> Result<Taken, PortError> {
    engine.gate.check_taking()?;
    let answer_max = engine.settings.webhook_answer_max;
    let publishing = engine.publish(batch, Cause::Webhook, spec);
    let unconfirmed = |seconds: f32| {
        PortError::Unavailable(format!("the queue did not confirm the messages within {seconds} s"))
    };
    let Some(spool) = &engine.spool else {
        let outcome = timeout(answer_max, publishing).await;
        return outcome
            .unwrap_or_else(|_| Err(unconfirmed(answer_max.as_secs_f32())))
            .map(|()| Taken::Published);
    };
    if batch.is_empty() {
        return Ok(Taken::Published);
    }
    if spool.way(&spec.name) == Way::Queue {
        let (queue_wait, _) = waits(answer_max);
        let outcome = timeout(queue_wait, publishing).await;
        match outcome.unwrap_or_else(|_| Err(unconfirmed(queue_wait.as_secs_f32()))) {
            Ok(()) => {
                spool.queue_works();
                return Ok(Taken::Published);
            }
            Err(problem) => spool.queue_failed(&problem.to_string()),
        }
    }
    put(engine, spool, spec, batch).await
}

async fn put(
    engine: &Engine,
    spool: &Spool,
    spec: &FlowSpec,
    batch: &[Outbound],
) -> Result<Taken, PortError> {
    labelled::reach("producer.before_spool");
    let outcome = spool.put(&spec.name, batch).await;
    let word = if outcome.is_ok() { "spooled" } else { "refused" };
    engine.meter.add(&names::SPOOLED, &[spec.name.as_str(), word], batch.len() as u64);
    labelled::reach("producer.after_spool");
    outcome.map(|()| Taken::Spooled)
}
