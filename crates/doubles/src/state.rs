//! A state store in memory, which is away when it is told to.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use shared::ports::PortError;
use shared::ports::state::{Fence, Grant, State, Versioned, Write, Written};

/// A state store in memory. Documents end only when they are told to, leases when they are released. A fence counts
/// as long as its lease is held.
#[derive(Debug, Default)]
pub struct MemoryState {
    documents: Mutex<BTreeMap<String, Versioned>>,
    lives: Mutex<BTreeMap<String, Duration>>,
    leases: Mutex<BTreeMap<String, (String, u64)>>,
    counters: Mutex<BTreeMap<String, u64>>,
    rises: AtomicU64,
    is_away: AtomicBool,
}

impl MemoryState {
    /// From now on nothing is answered, or everything again.
    pub fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    /// The keys of what is stored.
    pub fn keys(&self) -> Vec<String> {
        self.documents.lock().unwrap().keys().cloned().collect()
    }

    /// Whether a document holds a text.
    pub fn holds(&self, text: &str) -> bool {
        let documents = self.documents.lock().unwrap();
        documents.values().any(|document| String::from_utf8_lossy(&document.value).contains(text))
    }

    /// How long a document lives, where it ends by itself.
    pub fn life(&self, key: &str) -> Option<Duration> {
        self.lives.lock().unwrap().get(key).copied()
    }

    /// All documents end.
    pub fn end_documents(&self) {
        self.documents.lock().unwrap().clear();
    }

    fn rise(&self) -> u64 {
        self.rises.fetch_add(1, Ordering::SeqCst) + 1
    }

    async fn reach(&self) -> Result<(), PortError> {
        tokio::task::yield_now().await;
        match self.is_away.load(Ordering::SeqCst) {
            true => Err(PortError::Unavailable("the store is away".to_owned())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl State for MemoryState {
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Versioned>>, PortError> {
        self.reach().await?;
        let documents = self.documents.lock().unwrap();
        Ok(keys.iter().map(|key| documents.get(*key).cloned()).collect())
    }

    async fn write(&self, write: Write<'_>) -> Result<Written, PortError> {
        self.reach().await?;
        if let Some(fence) = write.fence {
            let leases = self.leases.lock().unwrap();
            if leases.get(&fence.lease).is_none_or(|(_, term)| *term != fence.term) {
                return Err(PortError::Fenced("another term".to_owned()));
            }
        }
        let version = self.rise();
        let mut documents = self.documents.lock().unwrap();
        let present = documents.get(write.key).map(|document| document.version);
        if !write.expected.fits(present) {
            return Ok(Written::Clash);
        }
        let Some(value) = write.value else {
            documents.remove(write.key);
            return Ok(Written::Done(present.unwrap_or(0)));
        };
        documents.insert(write.key.to_owned(), Versioned { value: value.to_vec(), version });
        let mut lives = self.lives.lock().unwrap();
        match write.time_to_live {
            Some(life) => drop(lives.insert(write.key.to_owned(), life)),
            None => drop(lives.remove(write.key)),
        }
        Ok(Written::Done(version))
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, Versioned)>, PortError> {
        self.reach().await?;
        let documents = self.documents.lock().unwrap();
        let found = documents.iter().filter(|(key, _)| key.starts_with(prefix));
        let found = found.filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        Ok(found.take(limit as usize).map(|(key, document)| (key.clone(), document.clone())).collect())
    }

    async fn acquire_lease(&self, name: &str, holder: &str, _: Duration) -> Result<Option<Grant>, PortError> {
        self.reach().await?;
        let term = self.rise();
        let mut leases = self.leases.lock().unwrap();
        let (held_by, term) = leases.entry(name.to_owned()).or_insert((holder.to_owned(), term));
        Ok((held_by == holder).then_some(Grant { term: *term }))
    }

    async fn renew_lease(&self, fence: &Fence, _: &str, _: Duration) -> Result<bool, PortError> {
        self.reach().await?;
        Ok(self.leases.lock().unwrap().get(&fence.lease).is_some_and(|(_, term)| *term == fence.term))
    }

    async fn release_lease(&self, fence: &Fence, _: &str) -> Result<(), PortError> {
        self.reach().await?;
        let mut leases = self.leases.lock().unwrap();
        if leases.get(&fence.lease).is_some_and(|(_, term)| *term == fence.term) {
            leases.remove(&fence.lease);
        }
        Ok(())
    }

    async fn count(&self, key: &str, amount: u64, _: Duration) -> Result<u64, PortError> {
        self.reach().await?;
        let mut counters = self.counters.lock().unwrap();
        let count = counters.entry(key.to_owned()).or_default();
        *count += amount;
        Ok(*count)
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.reach().await
    }
}
