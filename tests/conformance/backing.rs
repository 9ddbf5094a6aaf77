//! What the suites need to know of a backing.

use std::sync::Arc;

use shared::ports::queue::Queue;
use shared::ports::state::State;

/// Honest differences between queues.
#[derive(Debug, Clone, Copy)]
pub struct QueueFlags {
    /// The age of the oldest message is known before anybody consumes its shard.
    pub age_known_without_consumer: bool,
    /// What waits for its time comes in the order of these times, to the millisecond.
    pub delay_is_exact: bool,
}

/// A place for a queue that no other test uses. Dropping it removes everything.
pub trait QueueBacking: Sized {
    /// How this backing differs.
    const FLAGS: QueueFlags;

    /// A fresh place.
    async fn new() -> Self;

    /// The queue there. Called once, and again only by [`Self::crash`].
    async fn open(&self) -> Arc<dyn Queue>;

    /// Kills what keeps the messages, without warning, and opens the queue again. Consumers and receipts of the
    /// old one may still exist.
    async fn crash(&self, queue: Arc<dyn Queue>) -> Arc<dyn Queue>;
}

/// A place for state that no other test uses. Dropping it removes everything.
pub trait StateBacking: Sized {
    /// A fresh place.
    async fn new() -> Self;

    /// The store there. Called once, and again only by [`Self::crash`].
    async fn open(&self) -> Arc<dyn State>;

    /// Kills the store, without warning, and opens it again.
    async fn crash(&self, state: Arc<dyn State>) -> Arc<dyn State>;
}
