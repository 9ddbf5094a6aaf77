//! A state store in memory, which fails, hangs and loses leases as it is told.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use shared::ports::PortError;
use shared::ports::state::{Fence, Grant, State, Versioned, Write, Written};
use tokio::sync::Notify;

/// Documents and counters end only when they are told to; leases as well.
#[derive(Debug, Default)]
pub struct MemoryState {
    documents: Mutex<BTreeMap<String, (Versioned, Option<Duration>)>>,
    leases: Mutex<BTreeMap<String, (String, u64)>>,
    counters: Mutex<BTreeMap<String, u64>>,
    rises: AtomicU64,
    /// Writes below this prefix hang, until the store is let go on.
    hangs: Mutex<Option<String>>,
    /// A write has come that hangs.
    pub hanging: Notify,
    go_on: Notify,
    /// Writes of secrets fail so often.
    pub writes_to_fail: AtomicU64,
    /// Nobody is granted a lease that somebody holds, but holding it does not keep others out.
    pub leases_are_lost: AtomicBool,
}

impl MemoryState {
    pub fn hang_at(&self, prefix: &str) {
        *self.hangs.lock().unwrap() = Some(prefix.to_owned());
    }

    pub fn go_on(&self) {
        *self.hangs.lock().unwrap() = None;
        self.go_on.notify_waiters();
    }

    /// All leases end.
    pub fn end_leases(&self) {
        self.leases.lock().unwrap().clear();
    }

    pub fn leases(&self) -> usize {
        self.leases.lock().unwrap().len()
    }

    /// What is stored whose key begins with `prefix`, as text.
    pub fn documents(&self, prefix: &str) -> Vec<(String, String)> {
        let documents = self.documents.lock().unwrap();
        let found = documents.iter().filter(|(key, _)| key.starts_with(prefix));
        found.map(|(key, (it, _))| (key.clone(), String::from_utf8(it.value.clone()).unwrap())).collect()
    }

    /// How long what is stored below `prefix` lives, where it ends by itself.
    pub fn lives(&self, prefix: &str) -> Vec<Option<Duration>> {
        let documents = self.documents.lock().unwrap();
        documents.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(_, (_, ttl))| *ttl).collect()
    }

    fn rise(&self) -> u64 {
        self.rises.fetch_add(1, Ordering::SeqCst) + 1
    }

    async fn pass(&self, key: &str) {
        loop {
            let go_on = self.go_on.notified();
            let hangs = self.hangs.lock().unwrap().as_ref().is_some_and(|prefix| key.starts_with(prefix));
            if !hangs {
                return;
            }
            self.hanging.notify_one();
            go_on.await;
        }
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
        self.pass(write.key).await;
        let fails = |left: u64| left.checked_sub(1);
        if write.key.starts_with("vault/")
            && self.writes_to_fail.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails).is_ok()
        {
            return Err(PortError::Unavailable("the store fails".into()));
        }
        assert!(write.fence.is_none(), "this double has no fences");
        let mut documents = self.documents.lock().unwrap();
        let present = documents.get(write.key).map(|(document, _)| document.version);
        if !write.expected.fits(present) {
            return Ok(Written::Clash);
        }
        let Some(value) = write.value else {
            documents.remove(write.key);
            return Ok(Written::Done(present.unwrap_or(0)));
        };
        let version = self.rise();
        let document = Versioned { value: value.to_vec(), version };
        documents.insert(write.key.to_owned(), (document, write.time_to_live));
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

    async fn acquire_lease(&self, name: &str, holder: &str, _: Duration) -> Result<Option<Grant>, PortError> {
        tokio::task::yield_now().await;
        let mut leases = self.leases.lock().unwrap();
        if let Some((held_by, term)) = leases.get(name) {
            if held_by == holder {
                return Ok(Some(Grant { term: *term }));
            }
            if !self.leases_are_lost.load(Ordering::SeqCst) {
                return Ok(None);
            }
        }
        let term = self.rise();
        leases.insert(name.to_owned(), (holder.to_owned(), term));
        Ok(Some(Grant { term }))
    }

    async fn renew_lease(&self, fence: &Fence, _: &str, _: Duration) -> Result<bool, PortError> {
        let leases = self.leases.lock().unwrap();
        Ok(leases.get(&fence.lease).is_some_and(|(_, term)| *term == fence.term))
    }

    async fn release_lease(&self, fence: &Fence, _: &str) -> Result<(), PortError> {
        let mut leases = self.leases.lock().unwrap();
        if leases.get(&fence.lease).is_some_and(|(_, term)| *term == fence.term) {
            leases.remove(&fence.lease);
        }
        Ok(())
    }

    async fn count(&self, key: &str, amount: u64, _: Duration) -> Result<u64, PortError> {
        let mut counters = self.counters.lock().unwrap();
        let counter = counters.entry(key.to_owned()).or_default();
        *counter += amount;
        Ok(*counter)
    }

    async fn ping(&self) -> Result<(), PortError> {
        Ok(())
    }
}
