//! What moving an installation to other backings asks of an adapter beside its port. Nobody else works with either
//! of them meanwhile.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use super::PortError;
use super::queue::{FlowTopology, Queue};
use super::state::State;
use crate::routing::Shard;

/// A message that waits in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenMessage {
    /// Where it waits.
    pub shard: Shard,
    /// Its bytes.
    pub body: Bytes,
    /// Not to be delivered before; `None` is at once.
    pub not_before: Option<Timestamp>,
}

/// A queue whose messages can be taken out.
#[async_trait]
pub trait TransferQueue: Queue {
    /// Begins to take a flow's messages out of its shards, those that wait for their time included.
    async fn unload(&self, topology: &FlowTopology) -> Result<Box<dyn Unloading>, PortError>;
}

/// A flow's messages on their way out. What was not removed stays in the queue when this is dropped, or its process
/// dies.
#[async_trait]
pub trait Unloading: Send {
    /// The next messages, at most `limit` (the same at each call); none when the flow is empty. Those of one shard
    /// that never waited for a time come in the order of publishing. To be called again only after
    /// [`Self::remove`].
    async fn next(&mut self, limit: u16) -> Result<Vec<OpenMessage>, PortError>;

    /// Takes away what [`Self::next`] gave last.
    async fn remove(&mut self) -> Result<(), PortError>;
}

/// A document as it is carried to another store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The key.
    pub key: String,
    /// The content.
    pub value: Vec<u8>,
    /// When it ends by itself, from now; `None` keeps it.
    pub time_to_live: Option<Duration>,
}

/// A counter as it is carried to another store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedCounter {
    /// The key.
    pub key: String,
    /// What was counted so far.
    pub value: u64,
    /// When it ends, from now.
    pub ends_in: Duration,
}

/// A state store whose content can be carried to another one.
#[async_trait]
pub trait TransferState: State {
    /// Documents whose key is greater than `after`, in the order of keys.
    async fn export(&self, after: Option<&str>, limit: u32) -> Result<Vec<Exported>, PortError>;

    /// All counters.
    async fn export_counters(&self) -> Result<Vec<ExportedCounter>, PortError>;

    /// The names of the leases that are held now.
    async fn held_leases(&self) -> Result<Vec<String>, PortError>;

    /// From now on every version and term is greater than `floor`. Answers a number that none given out so far
    /// exceeds.
    ///
    /// # Errors
    /// [`PortError::Misconfigured`] when the store cannot promise that.
    async fn rise_above(&self, floor: u64) -> Result<u64, PortError>;
}
