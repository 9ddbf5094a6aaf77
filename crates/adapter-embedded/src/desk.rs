//! Who waits at which shard, and what comes back from there unsettled.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use shared::routing::Shard;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::messages;

/// Where the consumers of one shard queue up.
#[derive(Debug)]
pub(crate) struct Desk {
    /// Rings when there may be something to claim.
    pub(crate) bell: Notify,
    /// The right to claim: one consumer at a time.
    pub(crate) turn: Arc<Semaphore>,
}

/// The desks of this process.
#[derive(Debug, Default)]
pub(crate) struct Desks(Mutex<HashMap<Shard, Arc<Desk>>>);

impl Desks {
    /// The desk of a shard.
    pub(crate) fn open(&self, shard: &Shard) -> Arc<Desk> {
        let mut desks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Desk { bell: Notify::new(), turn: Arc::new(Semaphore::new(1)) });
        Arc::clone(desks.entry(shard.clone()).or_insert_with(new))
    }

    /// Rings at the desk of a shard, where there is one.
    pub(crate) fn ring(&self, shard: &Shard) {
        if let Some(desk) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(shard) {
            desk.bell.notify_one();
        }
    }

    /// Rings at all desks.
    pub(crate) fn ring_all(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .for_each(|desk| desk.bell.notify_one());
    }
}

/// What a consumer holds no longer, though it was not settled.
#[derive(Debug)]
pub(crate) enum Return {
    /// One message.
    Message {
        /// Its row.
        seq: i64,
        /// Who held it.
        consumer: i64,
        /// Where it goes back to.
        desk: Arc<Desk>,
    },
    /// All that a consumer held, which has ended.
    Consumer {
        /// Its number.
        consumer: i64,
        /// Rows that it never handed over: they do not count as deliveries.
        unseen: Vec<i64>,
        /// Where the messages go back to.
        desk: Arc<Desk>,
        /// Its turn, where it had it: the next consumer's, once the messages are back.
        turn: Option<OwnedSemaphorePermit>,
    },
}

impl Return {
    /// Makes the messages claimable again.
    pub(crate) fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        match self {
            Self::Message { seq, consumer, .. } => messages::release(connection, *seq, *consumer),
            Self::Consumer { consumer, unseen, .. } => {
                for seq in unseen {
                    messages::give_back(connection, *seq, *consumer)?;
                }
                messages::release_all(connection, *consumer)
            }
        }
    }

    /// Tells whoever waits for the messages.
    pub(crate) fn announce(self) {
        match self {
            Self::Message { desk, .. } => desk.bell.notify_one(),
            Self::Consumer { desk, turn, .. } => {
                drop(turn);
                desk.bell.notify_one();
            }
        }
    }
}

/// What waits to be made claimable again: as many entries as deliveries were held at most.
#[derive(Debug, Default)]
pub(crate) struct Returns {
    waiting: Mutex<Vec<Return>>,
    bell: Arc<Notify>,
}

impl Returns {
    /// The bell that rings when something came.
    pub(crate) fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }

    /// Adds one; never waits.
    pub(crate) fn push(&self, item: Return) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(item);
        self.bell.notify_one();
    }

    /// Takes what there is.
    pub(crate) fn take(&self) -> Vec<Return> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts back what could not be written; the writer's tick comes back to it.
    pub(crate) fn put_back(&self, items: Vec<Return>) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).extend(items);
    }
}

/// One message held by a consumer. Dropped before it is settled, the message goes back.
#[derive(Debug)]
pub(crate) struct Claim {
    /// Its row.
    pub(crate) seq: i64,
    /// Who holds it.
    pub(crate) consumer: i64,
    /// Where it came from.
    pub(crate) desk: Arc<Desk>,
    /// Where it goes when it is dropped.
    pub(crate) returns: Arc<Returns>,
    /// One of the consumer's deliveries at a time; free again when the claim ends.
    #[expect(dead_code, reason = "held, not read")]
    pub(crate) slot: OwnedSemaphorePermit,
    /// Nothing is left to go back.
    pub(crate) settled: bool,
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.settled {
            let (seq, consumer, desk) = (self.seq, self.consumer, Arc::clone(&self.desk));
            self.returns.push(Return::Message { seq, consumer, desk });
        }
    }
}
