//! Whether anything may be published: not into a queue that is being moved elsewhere, or was. The queue itself says
//! so, since the store may be away while webhooks are taken.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use operations::migration::mark;
use shared::ports::PortError;
use tokio::time::sleep;
use tracing::error;

use crate::run::Engine;

/// How often the queue is asked while it is not known, or the store is waited for.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What is known of the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Known {
    /// Nothing yet.
    #[default]
    Nothing,
    /// It is the one to publish to.
    Right,
    /// It takes part in a migration, or was migrated away.
    Moved,
}

/// The gate; closed until the queue is known.
#[derive(Debug, Default)]
pub struct Gate(Mutex<Known>);

impl Gate {
    /// Whether messages may be published.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub fn check(&self) -> Result<(), PortError> {
        match self.known() {
            Known::Right => Ok(()),
            Known::Nothing => Err(PortError::Unavailable("the queue has not been looked at yet".to_owned())),
            Known::Moved => Err(moved()),
        }
    }

    /// Whether messages may be taken at all. One that waits for a queue that is not known yet may wait in the spool; one
    /// that belongs elsewhere may not.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub fn check_taking(&self) -> Result<(), PortError> {
        if self.known() == Known::Moved { Err(moved()) } else { Ok(()) }
    }

    fn known(&self) -> Known {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, known: Known) -> bool {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), known) != known
    }
}

fn moved() -> PortError {
    PortError::Misconfigured(mark::QUEUE_OBSTACLE.to_owned())
}

/// Waits until the queue answers that it is the right one. Readiness knows why that takes long.
pub async fn open(engine: &Engine) {
    loop {
        match ask(engine).await {
            Ok(Known::Right) => return,
            Ok(_) => engine.health.set("queue", Err(mark::QUEUE_OBSTACLE.to_owned())),
            Err(problem) => engine.health.set("queue", Err(problem.to_string())),
        }
        sleep(ASK_EVERY).await;
    }
}

/// Asks again and again: until this producer has said that it lives, a migration may begin without it.
pub async fn watch(engine: &Engine) {
    loop {
        sleep(ASK_EVERY).await;
        if let Err(problem) = ask(engine).await {
            tracing::debug!("Whether the queue was moved cannot be seen now: {problem}");
        }
    }
}

async fn ask(engine: &Engine) -> Result<Known, PortError> {
    let is_moved = engine.queue.remembers(mark::QUEUE).await?;
    let known = if is_moved { Known::Moved } else { Known::Right };
    if engine.gate.set(known) && is_moved {
        error!("Webhooks are answered 503: {}", mark::QUEUE_OBSTACLE);
    }
    Ok(known)
}
