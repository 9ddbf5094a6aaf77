//! Queue and state in one directory on local disk, for a single machine.
//!
//! One SQLite file (write-ahead log, `synchronous=FULL`). One writer thread puts many concurrent requests into
//! one transaction and answers them after its commit; reads have connections of their own. At any instant one
//! process serves the directory ([`Role::Serving`]: it consumes); any number of others visit it
//! ([`Role::Visiting`]: they publish, read and write state, and handle dead letters).
//!
//! What is particular to this adapter, beyond the guarantees of the ports:
//! - A retry is due to the microsecond.
//! - A second consumer of a shard waits in `next` until the first one has ended.
//! - Handing back by `give_back` counts as no delivery. Every other end without settlement counts: a receipt
//!   that is dropped, a settlement that failed, a process that died. A message that was handed over more than
//!   `delivery_limit` times goes to the dead letters as [`shared::dead_letter::Reason::Poison`].
//! - Leases end when another process begins to serve the directory: its lock proves that the holder is gone.
//!   Only their terms carry over. Each tenure has a name of its own ([`shared::ports::state::State::tenure`]).
//! - A dead-letter event is kept once: appending it again changes nothing.
//!
//! This crate knows `shared` and its driver, no flow and no other adapter.

mod consumer;
mod dead_letters;
mod desk;
mod directory;
mod documents;
mod error;
mod leases;
mod messages;
mod prune;
mod queue;
mod readers;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod time;
mod transfer;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use shared::clock::Clock;
use shared::ports::PortError;

pub use queue::EmbeddedQueue;
pub use state::EmbeddedState;

/// Deliveries without settlement after which a message counts as poison.
pub const DELIVERY_LIMIT: u32 = 20;
/// Size of the database beyond which nothing new is taken, in bytes.
pub const DATABASE_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;
/// Bytes of the disk that stay free: settling needs some of them.
pub const DISK_FREE_BYTES_MIN: u64 = 32 * 1024 * 1024;
/// How long a dead letter is kept after it was resolved.
pub const RESOLVED_RETENTION: Duration = Duration::from_secs(30 * 24 * 3_600);

/// What this process does in the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Consumes. One process at a time; ends the leases that a dead one left.
    Serving,
    /// Publishes, reads and writes beside the serving process, or without one.
    Visiting,
}

/// How to open the directory.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// The directory, on a local disk; made where it is missing, readable for its owner only.
    pub dir: PathBuf,
    /// What this process does there.
    pub role: Role,
    /// Tells the time of delays, leases and ends of documents.
    pub clock: Arc<dyn Clock>,
    /// Deliveries without settlement after which a message counts as poison.
    pub delivery_limit: u32,
    /// Size of the database, in bytes, beyond which publishing and new documents are refused as
    /// [`PortError::Full`]; settling goes on.
    pub bytes_max: u64,
    /// Free bytes of the disk below which the same is refused. The write-ahead log grows by some megabytes between two
    /// checkpoints, also by what is settled.
    pub disk_free_bytes_min: u64,
    /// How long a dead letter is kept after it was resolved.
    pub resolved_retention: Duration,
}

impl EmbeddedOptions {
    /// Options with the defaults of this crate's constants.
    pub fn new(dir: impl Into<PathBuf>, role: Role, clock: Arc<dyn Clock>) -> Self {
        Self {
            dir: dir.into(),
            role,
            clock,
            delivery_limit: DELIVERY_LIMIT,
            bytes_max: DATABASE_BYTES_MAX,
            disk_free_bytes_min: DISK_FREE_BYTES_MIN,
            resolved_retention: RESOLVED_RETENTION,
        }
    }
}

/// Both ports over one directory. The directory is closed when the last of the handles, consumers and
/// receipts is dropped.
#[derive(Debug, Clone)]
pub struct Embedded {
    /// The queue.
    pub queue: Arc<EmbeddedQueue>,
    /// The state store.
    pub state: Arc<EmbeddedState>,
}

impl Embedded {
    /// Opens the directory, making it where it is missing. Blocks for the time of a few disk writes.
    ///
    /// # Errors
    /// [`PortError::Misconfigured`] when another process serves the directory (it says which), when it cannot
    /// be used, or when the database is damaged or of a newer version. [`PortError::Full`] when the disk is.
    pub fn open(options: EmbeddedOptions) -> Result<Self, PortError> {
        let store = Arc::new(store::Store::open(options)?);
        Ok(Self {
            queue: Arc::new(EmbeddedQueue::new(Arc::clone(&store))),
            state: Arc::new(EmbeddedState::new(store)),
        })
    }
}
