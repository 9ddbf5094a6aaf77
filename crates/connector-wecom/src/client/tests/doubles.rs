//! A state store in memory.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use shared::ports::PortError;
use shared::ports::state::{Expected, Fence, Grant, State, Versioned, Write, Written};

#[derive(Debug, Default)]
pub(crate) struct MemoryState {
    documents: Mutex<BTreeMap<String, Versioned>>,
    leases: Mutex<BTreeMap<String, (String, u64)>>,
    rises: Mutex<u64>,
}

impl MemoryState {
    /// Whether a document holds a text.
    pub(crate) fn holds(&self, text: &str) -> bool {
        let documents = self.documents.lock().unwrap();
        documents.values().any(|document| String::from_utf8_lossy(&document.value).contains(text))
    }

    fn rise(&self) -> u64 {
        let mut rises = self.rises.lock().unwrap();
        *rises += 1;
        *rises
    }
}

#[async_trait]
impl State for MemoryState {
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Versioned>>, PortError> {
        tokio::task::yield_now().await;
        let documents = self.documents.lock().unwrap();
        Ok(keys.iter().map(|key| documents.get(*key).cloned()).collect())
    }

    async fn write(&self, write: Write<'_>) -> Result<Written, PortError> {
        tokio::task::yield_now().await;
        let version = self.rise();
        let mut documents = self.documents.lock().unwrap();
        let present = documents.get(write.key).map(|document| document.version);
        let fits = match write.expected {
            Expected::Any => true,
            Expected::Absent => present.is_none(),
            Expected::Version(version) => present == Some(version),
        };
        if !fits {
            return Ok(Written::Clash);
        }
        match write.value {
            Some(value) => {
                documents.insert(write.key.to_owned(), Versioned { value: value.to_vec(), version });
                Ok(Written::Done(version))
            }
            None => Ok(Written::Done(documents.remove(write.key).map_or(0, |it| it.version))),
        }
    }

    async fn scan(
        &self,
        _prefix: &str,
        _after: Option<&str>,
        _limit: u32,
    ) -> Result<Vec<(String, Versioned)>, PortError> {
        Ok(Vec::new())
    }

    async fn acquire_lease(&self, name: &str, holder: &str, _: Duration) -> Result<Option<Grant>, PortError> {
        tokio::task::yield_now().await;
        let term = self.rise();
        let mut leases = self.leases.lock().unwrap();
        let (held_by, term) = leases.entry(name.to_owned()).or_insert((holder.to_owned(), term));
        Ok((held_by == holder).then_some(Grant { term: *term }))
    }

    async fn renew_lease(&self, _: &Fence, _: &str, _: Duration) -> Result<bool, PortError> {
        Ok(true)
    }

    async fn release_lease(&self, fence: &Fence, _holder: &str) -> Result<(), PortError> {
        self.leases.lock().unwrap().remove(&fence.lease);
        Ok(())
    }

    async fn count(&self, _key: &str, amount: u64, _window: Duration) -> Result<u64, PortError> {
        Ok(amount)
    }

    async fn ping(&self) -> Result<(), PortError> {
        Ok(())
    }
}
