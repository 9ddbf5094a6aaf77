//! Removing what has ended, a little at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use shared::clock::Clock;

use crate::{dead_letters, documents, leases};

/// How often.
const PRUNE_EVERY: Duration = Duration::from_secs(30);
/// Rows of each kind at a time, so that nobody waits long behind it.
const ROWS_MAX: u32 = 500;

/// When the next round is.
#[derive(Debug)]
pub(crate) struct Pruning {
    clock: Arc<dyn Clock>,
    resolved_retention: Duration,
    last: Option<Instant>,
}

impl Pruning {
    pub(crate) fn new(clock: Arc<dyn Clock>, resolved_retention: Duration) -> Self {
        Self { clock, resolved_retention, last: None }
    }

    /// Removes some of what has ended, if it is time again. What fails is done the next time.
    pub(crate) fn run(&mut self, connection: &Connection) {
        if self.last.is_some_and(|last| last.elapsed() < PRUNE_EVERY) {
            return;
        }
        match self.round(connection) {
            // There is more: go on at the writer's next turn.
            Ok(true) => self.last = None,
            Ok(false) => self.last = Some(Instant::now()),
            Err(error) => {
                tracing::warn!(%error, "what has ended could not be removed from the database; trying again later");
                self.last = Some(Instant::now());
            }
        }
    }

    fn round(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let now = self.clock.now();
        let before = now.checked_sub(self.resolved_retention).unwrap_or(jiff::Timestamp::MIN);
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        let rows = documents::prune(&transaction, now, ROWS_MAX)?
            + leases::prune(&transaction, now, ROWS_MAX)?
            + dead_letters::prune(&transaction, before, ROWS_MAX)?;
        transaction.commit()?;
        Ok(rows >= ROWS_MAX as usize)
    }
}
