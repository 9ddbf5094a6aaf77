//! A queue and a state store in memory, for the tests of this crate. Each request gives way to other tasks
//! first, so that tests of concurrency mix their steps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use shared::dead_letter::DeadLetterEvent;
use shared::ports::PortError;
use shared::ports::queue::{Consumer, DeadLetterPage, Depth, FlowTopology, LogEntry, Outbound, Queue};
use shared::ports::state::{Fence, Grant, State, Versioned, Write, Written};
use shared::routing::Shard;
use tokio::time::Instant;

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct MemoryQueue {
    pub(crate) published: Mutex<Vec<Outbound>>,
    pub(crate) log: Mutex<Vec<DeadLetterEvent>>,
    pub(crate) marks: Mutex<BTreeSet<String>>,
    pub(crate) refuses_appends: AtomicBool,
    pub(crate) refuses_publishing: AtomicBool,
    pub(crate) is_away: AtomicBool,
    /// The oldest events that the log has dropped.
    pub(crate) dropped: AtomicU64,
    /// Scans that are still to be answered by a replica that lacks the last event.
    pub(crate) lagging_scans: AtomicU64,
}

fn unless(refused: &AtomicBool, what: &str) -> Result<(), PortError> {
    match refused.load(Ordering::SeqCst) {
        true => Err(PortError::Unavailable(format!("{what} is refused"))),
        false => Ok(()),
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn prepare(&self, _: &[FlowTopology]) -> Result<(), PortError> {
        Ok(())
    }

    async fn publish(&self, batch: &[Outbound]) -> Result<(), PortError> {
        tokio::task::yield_now().await;
        unless(&self.refuses_publishing, "publishing")?;
        self.published.lock().unwrap().extend_from_slice(batch);
        Ok(())
    }

    async fn consume(&self, _: &Shard, _: u16) -> Result<Box<dyn Consumer>, PortError> {
        Err(PortError::Misconfigured("this double has no consumers".into()))
    }

    async fn depth(&self, _: &FlowTopology) -> Result<Depth, PortError> {
        unless(&self.is_away, "measuring")?;
        Ok(Depth { ready: self.published.lock().unwrap().len() as u64, delayed: 1, oldest: None })
    }

    async fn append_dead_letter_event(&self, event: &DeadLetterEvent) -> Result<(), PortError> {
        tokio::task::yield_now().await;
        unless(&self.refuses_appends, "appending")?;
        self.log.lock().unwrap().push(event.clone());
        Ok(())
    }

    async fn scan_dead_letters(&self, from: u64, limit: u32) -> Result<DeadLetterPage, PortError> {
        tokio::task::yield_now().await;
        unless(&self.is_away, "scanning")?;
        let mut log = self.log.lock().unwrap().clone();
        if self.lagging_scans.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok() {
            log.pop();
        }
        let from = from.max(self.dropped.load(Ordering::SeqCst));
        let wanted = log.iter().enumerate().skip(from as usize).take(limit as usize);
        let entries: Vec<LogEntry> =
            wanted.map(|(n, event)| LogEntry { position: n as u64, event: event.clone() }).collect();
        let next = entries.last().map_or(from.min(log.len() as u64), |last| last.position + 1);
        Ok(DeadLetterPage { entries, unreadable: 0, next, at_end: next >= log.len() as u64 })
    }

    async fn dead_letters_end(&self) -> Result<u64, PortError> {
        unless(&self.is_away, "scanning")?;
        Ok(self.log.lock().unwrap().len() as u64)
    }

    async fn remember(&self, mark: &str) -> Result<(), PortError> {
        tokio::task::yield_now().await;
        unless(&self.is_away, "remembering")?;
        self.marks.lock().unwrap().insert(mark.to_owned());
        Ok(())
    }

    async fn forget(&self, mark: &str) -> Result<(), PortError> {
        tokio::task::yield_now().await;
        unless(&self.is_away, "forgetting")?;
        self.marks.lock().unwrap().remove(mark);
        Ok(())
    }

    async fn remembers(&self, mark: &str) -> Result<bool, PortError> {
        unless(&self.is_away, "remembering")?;
        let is_there = self.marks.lock().unwrap().contains(mark);
        // So late that others have gone on by more than one step since.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        Ok(is_there)
    }

    async fn ping(&self) -> Result<(), PortError> {
        Ok(())
    }
}

#[derive(Debug)]
struct Lease {
    holder: String,
    term: u64,
    ends: Instant,
}

/// Documents, and whether each ends by itself.
pub(crate) type Documents = BTreeMap<String, (Versioned, bool)>;

/// The state store. Only leases end by themselves; [`MemoryState::expire`] ends them, and
/// documents with a time to live.
#[derive(Debug)]
pub(crate) struct MemoryState {
    documents: Mutex<Documents>,
    leases: Mutex<BTreeMap<String, Lease>>,
    version: AtomicU64,
    /// Writes that are taken before it fails.
    pub(crate) writes_left: AtomicU64,
}

impl Default for MemoryState {
    fn default() -> Self {
        Self {
            documents: Mutex::default(),
            leases: Mutex::default(),
            version: AtomicU64::new(0),
            writes_left: AtomicU64::new(u64::MAX),
        }
    }
}

impl MemoryState {
    pub(crate) fn expire(&self, prefix: &str) {
        self.leases.lock().unwrap().clear();
        self.documents.lock().unwrap().retain(|key, (_, ends)| !(*ends && key.starts_with(prefix)));
    }

    /// What it holds now, and what it held at another time.
    pub(crate) fn exchange(&self, documents: Documents) -> Documents {
        std::mem::replace(&mut *self.documents.lock().unwrap(), documents)
    }

    /// A copy of what it holds.
    pub(crate) fn copy(&self) -> Documents {
        self.documents.lock().unwrap().clone()
    }

    fn is_held(&self, fence: &Fence) -> bool {
        let leases = self.leases.lock().unwrap();
        leases.get(&fence.lease).is_some_and(|lease| lease.term == fence.term && lease.ends > Instant::now())
    }

    /// The keys of all documents but those of the letters.
    pub(crate) fn keys(&self) -> Vec<String> {
        let documents = self.documents.lock().unwrap();
        documents.keys().filter(|key| !key.starts_with("letters/")).cloned().collect()
    }
}

#[async_trait]
impl State for MemoryState {
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Versioned>>, PortError> {
        tokio::task::yield_now().await;
        let documents = self.documents.lock().unwrap();
        Ok(keys.iter().map(|key| documents.get(*key).map(|(document, _)| document.clone())).collect())
    }

    async fn write(&self, write: Write<'_>) -> Result<Written, PortError> {
        tokio::task::yield_now().await;
        if write.fence.is_some_and(|fence| !self.is_held(fence)) {
            return Err(PortError::Fenced("the lease is another holder's".into()));
        }
        let take = |left: u64| left.checked_sub(1);
        if self.writes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_err() {
            return Err(PortError::Unavailable("the store fails".into()));
        }
        let mut documents = self.documents.lock().unwrap();
        let present = documents.get(write.key).map(|(document, _)| document.version);
        if !write.expected.fits(present) {
            return Ok(Written::Clash);
        }
        let Some(value) = write.value else {
            documents.remove(write.key);
            return Ok(Written::Done(present.unwrap_or(0)));
        };
        let version = self.version.fetch_add(1, Ordering::SeqCst) + 1;
        let document = Versioned { value: value.to_vec(), version };
        documents.insert(write.key.to_owned(), (document, write.time_to_live.is_some()));
        Ok(Written::Done(version))
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, Versioned)>, PortError> {
        let documents = self.documents.lock().unwrap();
        let found = documents.iter().filter(|(key, _)| key.starts_with(prefix));
        let found = found.filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        Ok(found.take(limit as usize).map(|(key, (document, _))| (key.clone(), document.clone())).collect())
    }

    async fn acquire_lease(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Grant>, PortError> {
        tokio::task::yield_now().await;
        let mut leases = self.leases.lock().unwrap();
        leases.retain(|_, lease| lease.ends > Instant::now());
        match leases.get(name) {
            Some(lease) if lease.holder == holder => return Ok(Some(Grant { term: lease.term })),
            Some(_other) => return Ok(None),
            None => {}
        }
        let term = self.version.fetch_add(1, Ordering::SeqCst) + 1;
        let lease = Lease { holder: holder.to_owned(), term, ends: Instant::now() + ttl };
        leases.insert(name.to_owned(), lease);
        Ok(Some(Grant { term }))
    }

    async fn renew_lease(&self, fence: &Fence, _: &str, _: Duration) -> Result<bool, PortError> {
        Ok(self.is_held(fence))
    }

    async fn release_lease(&self, fence: &Fence, _: &str) -> Result<(), PortError> {
        if self.is_held(fence) {
            self.leases.lock().unwrap().remove(&fence.lease);
        }
        Ok(())
    }

    async fn count(&self, _: &str, _: u64, _: Duration) -> Result<u64, PortError> {
        Err(PortError::Misconfigured("this double has no counters".into()))
    }

    async fn ping(&self) -> Result<(), PortError> {
        Ok(())
    }
}
