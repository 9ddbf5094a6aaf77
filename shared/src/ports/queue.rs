//! The queue port: durable, sharded, at least once.
//!
//! Guarantees that every adapter gives and the conformance suite checks:
//! - `publish` returns `Ok` only when every message of the batch is durable; after an error any part of the
//!   batch may be durable (publishing again doubles, never loses).
//! - A delivery that is not settled when its consumer ends, or its process dies, is delivered again.
//! - Settling with `retry` or `dead_letter` makes the new copy durable before the old one goes: a crash in
//!   between doubles, never loses.
//! - A retry is never delivered before its time.
//! - A shard has one consumer at a time; messages of a shard that were not retried arrive in the order of
//!   publishing.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use uuid::Uuid;

use super::PortError;
use crate::dead_letter::{DeadLetter, DeadLetterEvent};
use crate::envelope::Envelope;
use crate::record_key::FlowName;
use crate::routing::{Shard, shard_of};

/// Longest mark that a queue remembers, in bytes.
pub const MARK_BYTES_MAX: usize = 80;

/// A message on its way into the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    /// Where it goes.
    pub shard: Shard,
    /// The message's id.
    pub id: Uuid,
    /// The bytes that will be delivered.
    pub body: Bytes,
    /// Not to be delivered before; `None` is at once.
    pub not_before: Option<Timestamp>,
}

impl Outbound {
    /// An envelope on its way to its shard among `shards`.
    pub fn of(envelope: &Envelope, shards: u16) -> Self {
        Self {
            shard: shard_of(&envelope.key, shards),
            id: envelope.id,
            body: envelope.to_bytes().into(),
            not_before: None,
        }
    }
}

/// The shards of one flow, to be prepared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowTopology {
    /// The flow.
    pub flow: FlowName,
    /// How many shards it has, 1 to [`crate::routing::SHARDS_MAX`].
    pub shards: u16,
}

/// How much waits in a flow's shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Messages that wait or are being handled.
    pub ready: u64,
    /// Messages that wait for their time.
    pub delayed: u64,
    /// When the oldest of them entered the queue, as far as this process can tell: an adapter may know it only
    /// for the shards consumed here.
    pub oldest: Option<Timestamp>,
}

/// One record of the dead-letter log that is an event.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEntry {
    /// Its place: reading from here with a limit of 1 gives this record again, while the log keeps it.
    pub position: u64,
    /// What it says.
    pub event: DeadLetterEvent,
}

/// One page of the dead-letter log.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeadLetterPage {
    /// The events, in the order of the log. A record that cannot be read is left out and counted in `unreadable`.
    pub entries: Vec<LogEntry>,
    /// Records of the log that are no event of ours.
    pub unreadable: u64,
    /// Where to read on: behind the last record of this page, or where this page began when there was none.
    /// Below where it began only when the log ends before that: it is another log than it was, or a replica that lags.
    pub next: u64,
    /// Whether the log has nothing behind this page for now.
    pub at_end: bool,
}

impl DeadLetterPage {
    /// The events without their places.
    pub fn into_events(self) -> impl Iterator<Item = DeadLetterEvent> {
        self.entries.into_iter().map(|entry| entry.event)
    }
}

/// The queue.
#[async_trait]
pub trait Queue: Send + Sync + Debug {
    /// Declares what the flows need. Safe to repeat; explains a mismatch in words.
    async fn prepare(&self, flows: &[FlowTopology]) -> Result<(), PortError>;

    /// Publishes a batch; `Ok` means all of it is durable.
    async fn publish(&self, batch: &[Outbound]) -> Result<(), PortError>;

    /// Begins to consume one shard, holding at most `prefetch` unsettled deliveries.
    async fn consume(&self, shard: &Shard, prefetch: u16) -> Result<Box<dyn Consumer>, PortError>;

    /// How many shards of a prepared flow may hold messages: more than it has where an earlier, larger number left
    /// some behind. An adapter that refuses to change the number while messages wait has none of these.
    async fn shards_present(&self, topology: &FlowTopology) -> Result<u16, PortError> {
        Ok(topology.shards)
    }

    /// How much waits in a flow.
    async fn depth(&self, topology: &FlowTopology) -> Result<Depth, PortError>;

    /// Appends to the dead-letter log, durably. Safe to repeat.
    async fn append_dead_letter_event(&self, event: &DeadLetterEvent) -> Result<(), PortError>;

    /// Reads the dead-letter log from a position (0: its beginning), at most `limit` events, removing nothing.
    /// Where the log has dropped its oldest records, the first one that it keeps is the first of the page.
    async fn scan_dead_letters(&self, from: u64, limit: u32) -> Result<DeadLetterPage, PortError>;

    /// The position that scans must have come to, to have seen all that was appended to the dead-letter log before this
    /// call. It may cost a record of the log. An adapter whose scans never lag behind says 0.
    async fn dead_letters_end(&self) -> Result<u64, PortError> {
        Ok(0)
    }

    /// Remembers a mark (1 to [`MARK_BYTES_MAX`] of a-z, 0-9 and `.`), durably: what the state store must not be the
    /// only one to know. A broker that is killed within seconds may forget it (RabbitMQ 3.10 does at times). Safe to
    /// repeat.
    async fn remember(&self, mark: &str) -> Result<(), PortError>;

    /// Forgets a mark. Safe to repeat.
    async fn forget(&self, mark: &str) -> Result<(), PortError>;

    /// Whether a mark is remembered.
    async fn remembers(&self, mark: &str) -> Result<bool, PortError>;

    /// Whether the queue answers now, and takes messages as far as it has said.
    async fn ping(&self) -> Result<(), PortError>;
}

/// One shard being consumed. Dropping it gives back what is unsettled.
#[async_trait]
pub trait Consumer: Send {
    /// The next delivery; waits for one. `Err` when the consumer is lost: build a new one. Cancel-safe.
    async fn next(&mut self) -> Result<Delivery, PortError>;
}

/// One hand-over of a message. Settle it exactly once; dropping it unsettled is giving it back.
pub struct Delivery {
    /// The message's bytes.
    pub body: Bytes,
    /// How often it was handed over before without being settled, as far as the adapter can tell.
    pub redeliveries: u32,
    /// How to settle it.
    pub receipt: Box<dyn Receipt>,
}

impl Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("bytes", &self.body.len())
            .field("redeliveries", &self.redeliveries)
            .finish()
    }
}

/// The right to settle one delivery. After an error the delivery may come again.
#[async_trait]
pub trait Receipt: Send {
    /// It is done.
    async fn ack(self: Box<Self>) -> Result<(), PortError>;
    /// Deliver `body` (the message with its new attempt count) to the same shard, not before `not_before`.
    async fn retry(self: Box<Self>, body: Bytes, not_before: Timestamp) -> Result<(), PortError>;
    /// Append to the dead-letter log and take the message out of circulation.
    async fn dead_letter(self: Box<Self>, letter: DeadLetter) -> Result<(), PortError>;
    /// Hand it back unchanged, to be delivered again soon. Costs no attempt.
    async fn give_back(self: Box<Self>) -> Result<(), PortError>;
}
