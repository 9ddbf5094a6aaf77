//! A queue with moods, around one that works.

use async_trait::async_trait;
use shared::dead_letter::DeadLetterEvent;
use shared::ports::queue::{Consumer, DeadLetterPage, Depth, Queue};
use shared::routing::Shard;

use super::*;

/// How the queue behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Works,
    /// Does not answer, and says so.
    IsAway,
    /// Does not answer, and says nothing.
    Hangs,
    /// Has lost its topology: works again when it was prepared anew.
    HasLostItsQueues,
}

#[derive(Debug)]
pub(super) struct Moody {
    inner: Arc<dyn Queue>,
    mood: Mutex<Mood>,
    pub(super) publishes_begun: AtomicU32,
}

impl Moody {
    pub(super) fn new(bench: &Bench, mood: Mood) -> Arc<Self> {
        let inner = bench.store.queue.clone();
        Arc::new(Self { inner, mood: Mutex::new(mood), publishes_begun: AtomicU32::new(0) })
    }

    pub(super) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    async fn answers(&self) -> Result<(), PortError> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Works => Ok(()),
            Mood::IsAway => Err(PortError::Unavailable("away, as told".into())),
            Mood::Hangs => std::future::pending().await,
            Mood::HasLostItsQueues => Err(PortError::Misconfigured("no queue, as told".into())),
        }
    }
}

#[async_trait]
impl Queue for Moody {
    async fn prepare(&self, flows: &[FlowTopology]) -> Result<(), PortError> {
        {
            let mut mood = self.mood.lock().unwrap();
            if *mood == Mood::HasLostItsQueues {
                *mood = Mood::Works;
            }
        }
        self.answers().await?;
        self.inner.prepare(flows).await
    }

    async fn publish(&self, batch: &[Outbound]) -> Result<(), PortError> {
        self.publishes_begun.fetch_add(1, Ordering::SeqCst);
        self.answers().await?;
        self.inner.publish(batch).await
    }

    async fn consume(&self, shard: &Shard, prefetch: u16) -> Result<Box<dyn Consumer>, PortError> {
        self.inner.consume(shard, prefetch).await
    }

    async fn depth(&self, topology: &FlowTopology) -> Result<Depth, PortError> {
        self.inner.depth(topology).await
    }

    async fn append_dead_letter_event(&self, event: &DeadLetterEvent) -> Result<(), PortError> {
        self.inner.append_dead_letter_event(event).await
    }

    async fn scan_dead_letters(&self, from: u64, limit: u32) -> Result<DeadLetterPage, PortError> {
        self.inner.scan_dead_letters(from, limit).await
    }

    async fn remember(&self, mark: &str) -> Result<(), PortError> {
        self.inner.remember(mark).await
    }

    async fn forget(&self, mark: &str) -> Result<(), PortError> {
        self.inner.forget(mark).await
    }

    async fn remembers(&self, mark: &str) -> Result<bool, PortError> {
        self.inner.remembers(mark).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.answers().await
    }
}
