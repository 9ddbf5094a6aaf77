//! A queue that fails at a point of its own choice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use shared::dead_letter::DeadLetterEvent;
use shared::ports::PortError;
use shared::ports::queue::{Consumer, DeadLetterPage, Depth, FlowTopology, Outbound, Queue};
use shared::ports::transfer::{TransferQueue, Unloading};
use shared::routing::Shard;

/// Takes batches until one that it refuses.
#[derive(Debug)]
pub struct FailingQueue {
    queue: Arc<dyn TransferQueue>,
    until_refused: AtomicU32,
}

impl FailingQueue {
    /// Refuses the batch of this number, from 1, and none after it.
    pub fn new(queue: Arc<dyn TransferQueue>, refused: u32) -> Self {
        Self { queue, until_refused: AtomicU32::new(refused) }
    }
}

#[async_trait]
impl Queue for FailingQueue {
    async fn prepare(&self, flows: &[FlowTopology]) -> Result<(), PortError> {
        self.queue.prepare(flows).await
    }

    async fn publish(&self, batch: &[Outbound]) -> Result<(), PortError> {
        match self.until_refused.fetch_sub(1, Ordering::SeqCst) {
            1 => Err(PortError::Unavailable("this batch is refused".to_owned())),
            _ => self.queue.publish(batch).await,
        }
    }

    async fn consume(&self, shard: &Shard, prefetch: u16) -> Result<Box<dyn Consumer>, PortError> {
        self.queue.consume(shard, prefetch).await
    }

    async fn shards_present(&self, topology: &FlowTopology) -> Result<u16, PortError> {
        self.queue.shards_present(topology).await
    }

    async fn depth(&self, topology: &FlowTopology) -> Result<Depth, PortError> {
        self.queue.depth(topology).await
    }

    async fn append_dead_letter_event(&self, event: &DeadLetterEvent) -> Result<(), PortError> {
        self.queue.append_dead_letter_event(event).await
    }

    async fn scan_dead_letters(&self, from: u64, limit: u32) -> Result<DeadLetterPage, PortError> {
        self.queue.scan_dead_letters(from, limit).await
    }

    async fn remember(&self, mark: &str) -> Result<(), PortError> {
        self.queue.remember(mark).await
    }

    async fn forget(&self, mark: &str) -> Result<(), PortError> {
        self.queue.forget(mark).await
    }

    async fn remembers(&self, mark: &str) -> Result<bool, PortError> {
        self.queue.remembers(mark).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.queue.ping().await
    }
}

#[async_trait]
impl TransferQueue for FailingQueue {
    async fn unload(&self, topology: &FlowTopology) -> Result<Box<dyn Unloading>, PortError> {
        self.queue.unload(topology).await
    }
}
