//! A store that a run can be torn away from, as a crash does: at the n-th write, which is done or not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use shared::ports::PortError;
use shared::ports::state::{Fence, Grant, State, Versioned, Write, Written};
use tokio::sync::Notify;

#[derive(Debug)]
pub struct Tearing {
    inner: Arc<dyn State>,
    /// Writes until the crash, and whether that one is still done.
    armed: Mutex<Option<(u32, bool)>>,
    pub torn: Notify,
}

impl Tearing {
    pub fn new(inner: Arc<dyn State>) -> Arc<Self> {
        Arc::new(Self { inner, armed: Mutex::new(None), torn: Notify::new() })
    }

    /// The run crashes at the n-th write from now on, counted from nought.
    pub fn arm(&self, writes: u32, is_done: bool) {
        *self.armed.lock().unwrap() = Some((writes, is_done));
    }

    /// Whether it was still armed.
    pub fn disarm(&self) -> bool {
        self.armed.lock().unwrap().take().is_some()
    }

    fn count(&self) -> Option<bool> {
        let mut armed = self.armed.lock().unwrap();
        match *armed {
            Some((0, is_done)) => {
                *armed = None;
                Some(is_done)
            }
            Some((left, is_done)) => {
                *armed = Some((left - 1, is_done));
                None
            }
            None => None,
        }
    }

    /// Places of links of events that are being created.
    pub async fn being_created(&self) -> Vec<String> {
        let (mut after, mut found) = (None::<String>, Vec::new());
        loop {
            let page = self.inner.scan("link/calendar/", after.as_deref(), 200).await.unwrap();
            let Some((last, _)) = page.last() else { return found };
            after = Some(last.clone());
            let is_birth = |key: &str| key.contains(".meeting.") || key.contains(".call.");
            let is_alive = |value: &[u8]| {
                let link: serde_json::Value = serde_json::from_slice(value).unwrap();
                link["tombstone"].is_null()
            };
            found.extend(
                page.into_iter().filter(|(key, it)| is_birth(key) && is_alive(&it.value)).map(|(key, _)| key),
            );
        }
    }

    /// Everything but what begins with one of these.
    pub async fn empty_but(&self, kept: &[&str]) -> u32 {
        let (mut after, mut removed) = (None::<String>, 0);
        loop {
            let page = self.inner.scan("", after.as_deref(), 200).await.unwrap();
            let Some((last, _)) = page.last() else { return removed };
            after = Some(last.clone());
            for (key, _) in page.iter().filter(|(key, _)| !kept.iter().any(|kept| key.starts_with(kept))) {
                self.inner.write(Write::delete(key)).await.unwrap();
                removed += 1;
            }
        }
    }
}

#[async_trait]
impl State for Tearing {
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Versioned>>, PortError> {
        self.inner.get_many(keys).await
    }

    async fn are_present(&self, keys: &[&str]) -> Result<Vec<bool>, PortError> {
        self.inner.are_present(keys).await
    }

    async fn write(&self, write: Write<'_>) -> Result<Written, PortError> {
        // Grants have tests of their own.
        let torn = if write.key.starts_with("vault/") { None } else { self.count() };
        let written = if torn == Some(false) { None } else { Some(self.inner.write(write).await) };
        match (torn, written) {
            (None, Some(written)) => written,
            _ => {
                self.torn.notify_one();
                std::future::pending().await
            }
        }
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
