//! A queue that fails as it is told, around one that works; a store that remembers what it was asked; a meter that
//! remembers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use shared::dead_letter::{DeadLetter, DeadLetterEvent};
use shared::meter::{Meter, Metric};
use shared::ports::PortError;
use shared::ports::queue::{
    Consumer, DeadLetterPage, Delivery, Depth, FlowTopology, Outbound, Queue, Receipt,
};
use shared::ports::state::{Fence, Grant, State, Versioned, Write, Written};
use shared::routing::Shard;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What fails now.
#[derive(Debug, Default)]
pub struct Faults {
    /// Settling fails at once, and the message goes back at once.
    pub settling_fails: AtomicBool,
    /// Asking whether the queue answers never ends.
    pub ping_hangs: AtomicBool,
    settled_at: Mutex<Vec<Instant>>,
    lost: Mutex<CancellationToken>,
}

impl Faults {
    /// Ends all present consumers.
    pub fn lose_consumers(&self) {
        std::mem::take(&mut *self.lost.lock().unwrap()).cancel();
    }

    /// When settling was tried and failed.
    pub fn failed_at(&self) -> Vec<Instant> {
        self.settled_at.lock().unwrap().clone()
    }

    fn settle(&self) -> Result<(), PortError> {
        if !self.settling_fails.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.settled_at.lock().unwrap().push(Instant::now());
        Err(away())
    }
}

fn away() -> PortError {
    PortError::Unavailable("away, as told".to_owned())
}

/// The queue.
#[derive(Debug)]
pub struct FaultyQueue {
    pub inner: Arc<dyn Queue>,
    pub faults: Arc<Faults>,
}

#[async_trait]
impl Queue for FaultyQueue {
    async fn prepare(&self, flows: &[FlowTopology]) -> Result<(), PortError> {
        self.inner.prepare(flows).await
    }

    async fn publish(&self, batch: &[Outbound]) -> Result<(), PortError> {
        self.inner.publish(batch).await
    }

    async fn consume(&self, shard: &Shard, prefetch: u16) -> Result<Box<dyn Consumer>, PortError> {
        let inner = self.inner.consume(shard, prefetch).await?;
        let lost = self.faults.lost.lock().unwrap().clone();
        Ok(Box::new(FaultyConsumer { inner, faults: self.faults.clone(), lost }))
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
        if self.faults.ping_hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.inner.ping().await
    }
}

struct FaultyConsumer {
    inner: Box<dyn Consumer>,
    faults: Arc<Faults>,
    lost: CancellationToken,
}

#[async_trait]
impl Consumer for FaultyConsumer {
    async fn next(&mut self) -> Result<Delivery, PortError> {
        let delivery = self.lost.run_until_cancelled(self.inner.next()).await.ok_or_else(away)??;
        let receipt = FaultyReceipt { inner: delivery.receipt, faults: self.faults.clone() };
        Ok(Delivery { receipt: Box::new(receipt), ..delivery })
    }
}

struct FaultyReceipt {
    inner: Box<dyn Receipt>,
    faults: Arc<Faults>,
}

#[async_trait]
impl Receipt for FaultyReceipt {
    async fn ack(self: Box<Self>) -> Result<(), PortError> {
        self.faults.settle()?;
        self.inner.ack().await
    }

    async fn retry(self: Box<Self>, body: Bytes, not_before: Timestamp) -> Result<(), PortError> {
        self.faults.settle()?;
        self.inner.retry(body, not_before).await
    }

    async fn dead_letter(self: Box<Self>, letter: DeadLetter) -> Result<(), PortError> {
        self.faults.settle()?;
        self.inner.dead_letter(letter).await
    }

    async fn give_back(self: Box<Self>) -> Result<(), PortError> {
        self.faults.settle()?;
        self.inner.give_back().await
    }
}

/// The store, counting the requests about the marks of records; whether there are any it tells as it is told.
#[derive(Debug)]
pub struct CountedState {
    inner: Arc<dyn State>,
    pub reads: AtomicU32,
    pub writes: AtomicU32,
    /// Telling waits for a permit.
    pub looks: Semaphore,
    /// Telling fails.
    pub looks_fail: AtomicBool,
}

impl CountedState {
    pub fn around(inner: Arc<dyn State>) -> Self {
        let (reads, writes) = (AtomicU32::new(0), AtomicU32::new(0));
        Self { inner, reads, writes, looks: Semaphore::new(10_000), looks_fail: AtomicBool::new(false) }
    }

    /// Reads and writes so far.
    pub fn trips(&self) -> (u32, u32) {
        (self.reads.load(Ordering::SeqCst), self.writes.load(Ordering::SeqCst))
    }
}

fn is_mark(key: &str) -> bool {
    key.starts_with("dead/") || key.starts_with("retry/")
}

#[async_trait]
impl State for CountedState {
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Versioned>>, PortError> {
        if keys.iter().any(|key| is_mark(key)) {
            self.reads.fetch_add(1, Ordering::SeqCst);
        }
        self.inner.get_many(keys).await
    }

    async fn are_present(&self, keys: &[&str]) -> Result<Vec<bool>, PortError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.looks.acquire().await.unwrap().forget();
        if self.looks_fail.load(Ordering::SeqCst) {
            return Err(away());
        }
        self.inner.are_present(keys).await
    }

    async fn write(&self, write: Write<'_>) -> Result<Written, PortError> {
        if is_mark(write.key) {
            self.writes.fetch_add(1, Ordering::SeqCst);
        }
        self.inner.write(write).await
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, Versioned)>, PortError> {
        self.inner.scan(prefix, after, limit).await
    }

    async fn acquire_lease(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Grant>, PortError> {
        self.inner.acquire_lease(name, holder, ttl).await
    }

    async fn renew_lease(&self, fence: &Fence, holder: &str, ttl: Duration) -> Result<bool, PortError> {
        self.inner.renew_lease(fence, holder, ttl).await
    }

    async fn release_lease(&self, fence: &Fence, holder: &str) -> Result<(), PortError> {
        self.inner.release_lease(fence, holder).await
    }

    async fn count(&self, key: &str, amount: u64, window: Duration) -> Result<u64, PortError> {
        self.inner.count(key, amount, window).await
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.inner.ping().await
    }
}

/// Remembers the counters, over all labels.
#[derive(Debug, Default)]
pub struct Counters(Mutex<HashMap<&'static str, u64>>);

impl Counters {
    /// How far a counter has come.
    pub fn of(&self, metric: &'static Metric) -> u64 {
        self.0.lock().unwrap().get(metric.name).copied().unwrap_or(0)
    }
}

impl Meter for Counters {
    fn add(&self, metric: &'static Metric, _: &[&str], amount: u64) {
        *self.0.lock().unwrap().entry(metric.name).or_default() += amount;
    }
    fn set(&self, _: &'static Metric, _: &[&str], _: f64) {}
    fn shift(&self, _: &'static Metric, _: &[&str], _: f64) {}
    fn observe(&self, _: &'static Metric, _: &[&str], _: f64) {}
}
