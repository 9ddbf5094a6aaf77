//! The state store in memory: fences are checked, leases end, requests fail by chance.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use shared::ports::PortError;
use shared::ports::state::{Fence, Grant, KEY_BYTES_MAX, READ_KEYS_MAX, State, Versioned, Write, Written};
use tokio::time::Instant;

use super::chance::{Chance, Fate};

#[derive(Debug, Clone)]
struct Lease {
    holder: String,
    term: u64,
    until: Instant,
}

#[derive(Debug, Default)]
struct Content {
    documents: BTreeMap<String, Versioned>,
    leases: BTreeMap<String, Lease>,
    counters: BTreeMap<String, u64>,
    rises: u64,
    link_writes: u64,
    renewals_fail: bool,
}

impl Content {
    fn rise(&mut self) -> u64 {
        self.rises += 1;
        self.rises
    }

    fn lease(&self, name: &str) -> Option<&Lease> {
        self.leases.get(name).filter(|lease| Instant::now() < lease.until)
    }

    fn is_held(&self, fence: &Fence) -> bool {
        self.lease(&fence.lease).is_some_and(|lease| lease.term == fence.term)
    }

    fn write(&mut self, write: &Write<'_>) -> Result<Written, PortError> {
        assert!(write.key.len() <= KEY_BYTES_MAX, "{}", write.key);
        if let Some(fence) = write.fence
            && !self.is_held(fence)
        {
            return Err(PortError::Fenced(format!("{} was not written", write.key)));
        }
        let present = self.documents.get(write.key).map(|document| document.version);
        if !write.expected.fits(present) {
            return Ok(Written::Clash);
        }
        self.link_writes += u64::from(write.key.starts_with("link/"));
        let version = self.rise();
        match write.value {
            Some(value) => {
                let document = Versioned { value: value.to_vec(), version };
                self.documents.insert(write.key.to_owned(), document);
                Ok(Written::Done(version))
            }
            None => Ok(Written::Done(self.documents.remove(write.key).map_or(0, |it| it.version))),
        }
    }
}

/// The store.
#[derive(Debug)]
pub struct MemoryStore {
    content: Mutex<Content>,
    chance: Arc<Chance>,
}

fn away() -> PortError {
    PortError::Unavailable("the store is away".into())
}

impl MemoryStore {
    pub fn new(chance: Arc<Chance>) -> Self {
        Self { content: Mutex::default(), chance }
    }

    /// What stands below a prefix, by the rest of its key.
    pub fn documents<T: DeserializeOwned>(&self, prefix: &str) -> Vec<(String, u64, T)> {
        let content = self.content.lock().unwrap();
        let found = content.documents.iter().filter_map(|(key, document)| {
            let rest = key.strip_prefix(prefix)?.to_owned();
            Some((rest, document.version, serde_json::from_slice(&document.value).unwrap()))
        });
        found.collect()
    }

    /// The leases that somebody holds now, but for this one.
    pub fn leases_but(&self, name: &str) -> Vec<String> {
        let content = self.content.lock().unwrap();
        let held = content.leases.keys().filter(|other| *other != name && content.lease(other).is_some());
        held.cloned().collect()
    }

    pub fn link_writes(&self) -> u64 {
        self.content.lock().unwrap().link_writes
    }

    /// Somebody else takes a lease, whoever has it.
    pub fn take_over(&self, name: &str) {
        let mut content = self.content.lock().unwrap();
        let term = content.rise();
        let until = Instant::now() + Duration::from_secs(3_600);
        content.leases.insert(name.to_owned(), Lease { holder: "somebody else".into(), term, until });
    }

    /// Puts a document there, whatever the flow thinks of it.
    pub fn plant(&self, key: &str, value: &[u8]) {
        self.content.lock().unwrap().write(&Write::put(key, value)).unwrap();
    }

    /// From now on no lease is renewed: requests for it fail.
    pub fn fail_renewals(&self) {
        self.content.lock().unwrap().renewals_fail = true;
    }
}

#[async_trait]
impl State for MemoryStore {
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Versioned>>, PortError> {
        self.chance.pause().await;
        assert!(keys.len() <= READ_KEYS_MAX, "{keys:?}");
        if self.chance.fate() != Fate::Done {
            return Err(away());
        }
        let content = self.content.lock().unwrap();
        Ok(keys.iter().map(|key| content.documents.get(*key).cloned()).collect())
    }

    async fn write(&self, write: Write<'_>) -> Result<Written, PortError> {
        self.chance.pause().await;
        // What a producer, or the guard, writes as well.
        let others = ["counted/", "guard/", "sweep/", "first-sync/", "last-sweep/", "hierarchy/"];
        let is_others = others.iter().any(|kind| write.key.starts_with(kind));
        assert!(write.fence.is_some() || is_others, "written without a fence: {}", write.key);
        let fate = self.chance.fate();
        if fate == Fate::FailsBefore {
            return Err(away());
        }
        let written = self.content.lock().unwrap().write(&write);
        if fate == Fate::FailsAfter { Err(away()) } else { written }
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, Versioned)>, PortError> {
        self.chance.pause().await;
        if self.chance.fate() != Fate::Done {
            return Err(away());
        }
        let content = self.content.lock().unwrap();
        let found = content.documents.iter().filter(|(key, _)| key.starts_with(prefix));
        let found = found.filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        let limit = usize::try_from(limit).unwrap();
        Ok(found.take(limit).map(|(key, document)| (key.clone(), document.clone())).collect())
    }

    async fn acquire_lease(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Grant>, PortError> {
        self.chance.pause().await;
        let mut content = self.content.lock().unwrap();
        let until = Instant::now() + ttl;
        let term = match content.lease(name) {
            Some(lease) if lease.holder != holder => return Ok(None),
            Some(lease) => lease.term,
            None => content.rise(),
        };
        content.leases.insert(name.to_owned(), Lease { holder: holder.to_owned(), term, until });
        Ok(Some(Grant { term }))
    }

    async fn renew_lease(&self, fence: &Fence, _: &str, ttl: Duration) -> Result<bool, PortError> {
        self.chance.pause().await;
        let mut content = self.content.lock().unwrap();
        if content.renewals_fail {
            return Err(away());
        }
        let is_held = content.is_held(fence);
        if let Some(lease) = content.leases.get_mut(&fence.lease).filter(|_| is_held) {
            lease.until = Instant::now() + ttl;
        }
        Ok(is_held)
    }

    async fn release_lease(&self, fence: &Fence, _: &str) -> Result<(), PortError> {
        self.chance.pause().await;
        let mut content = self.content.lock().unwrap();
        if content.is_held(fence) {
            content.leases.remove(&fence.lease);
        }
        Ok(())
    }

    async fn count(&self, key: &str, amount: u64, _: Duration) -> Result<u64, PortError> {
        self.chance.pause().await;
        let mut content = self.content.lock().unwrap();
        let counter = content.counters.entry(key.to_owned()).or_default();
        *counter += amount;
        Ok(*counter)
    }

    async fn ping(&self) -> Result<(), PortError> {
        Ok(())
    }
}
