//! The state port.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;
use shared::ports::PortError;
use shared::ports::state::{
    DOCUMENT_BYTES_MAX, Fence, Grant, KEY_BYTES_MAX, LOOK_KEYS_MAX, READ_KEYS_MAX, State, Versioned, Write,
    Written, check_number_of_keys,
};

use crate::documents::{self, DocumentWrite};
use crate::error::WorkError;
use crate::leases;
use crate::store::Store;

/// The state store in a directory.
#[derive(Debug)]
pub struct EmbeddedState {
    pub(crate) store: Arc<Store>,
}

impl EmbeddedState {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    async fn read<T: Send + 'static>(
        &self,
        keys: &[&str],
        take: fn(Option<Versioned>) -> T,
    ) -> Result<Vec<T>, PortError> {
        keys.iter().try_for_each(|key| check_key(key))?;
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        let now = self.store.clock.now();
        let read = move |connection: &Connection| {
            let transaction = connection.unchecked_transaction()?;
            keys.iter().map(|key| documents::get(&transaction, key, now).map(take)).collect()
        };
        self.store.readers.read(read).await
    }

    async fn write<T, W>(&self, work: W) -> Result<T, PortError>
    where
        T: Send + 'static,
        W: FnMut(&Connection) -> Result<T, WorkError> + Send + 'static,
    {
        self.store.writer.submit(work, |_| {}).await
    }
}

#[async_trait]
impl State for EmbeddedState {
    fn tenure(&self) -> Option<&str> {
        self.store.tenure.as_deref()
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Versioned>>, PortError> {
        check_number_of_keys(keys, READ_KEYS_MAX)?;
        self.read(keys, |document| document).await
    }

    async fn are_present(&self, keys: &[&str]) -> Result<Vec<bool>, PortError> {
        check_number_of_keys(keys, LOOK_KEYS_MAX)?;
        self.read(keys, |document| document.is_some()).await
    }

    async fn write(&self, write: Write<'_>) -> Result<Written, PortError> {
        check_key(write.key)?;
        check_size(&write)?;
        let fence = write.fence.cloned();
        let document = DocumentWrite {
            key: write.key.to_owned(),
            value: write.value.map(<[u8]>::to_vec),
            expected: write.expected,
            time_to_live: write.time_to_live,
        };
        let (clock, room) = (Arc::clone(&self.store.clock), self.store.room.clone());
        self.write(move |connection| {
            let now = clock.now();
            if let Some(fence) = &fence
                && !leases::is_held(connection, fence, now)?
            {
                return Err(WorkError::Refused(fenced(&document.key, fence)));
            }
            if document.value.is_some() {
                room.check(connection)?;
            }
            Ok(documents::write(connection, &document, now)?)
        })
        .await
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, Versioned)>, PortError> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        let now = self.store.clock.now();
        let read =
            move |connection: &Connection| documents::scan(connection, &prefix, after.as_deref(), limit, now);
        self.store.readers.read(read).await
    }

    async fn acquire_lease(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Grant>, PortError> {
        check_key(name)?;
        let (name, holder, clock) = (name.to_owned(), holder.to_owned(), Arc::clone(&self.store.clock));
        self.write(move |connection| Ok(leases::acquire(connection, &name, &holder, ttl, clock.now())?)).await
    }

    async fn renew_lease(&self, fence: &Fence, holder: &str, ttl: Duration) -> Result<bool, PortError> {
        check_key(&fence.lease)?;
        let (fence, holder, clock) = (fence.clone(), holder.to_owned(), Arc::clone(&self.store.clock));
        self.write(move |connection| Ok(leases::renew(connection, &fence, &holder, ttl, clock.now())?)).await
    }

    async fn release_lease(&self, fence: &Fence, holder: &str) -> Result<(), PortError> {
        check_key(&fence.lease)?;
        let (fence, holder) = (fence.clone(), holder.to_owned());
        self.write(move |connection| Ok(leases::release(connection, &fence, &holder)?)).await
    }

    async fn count(&self, key: &str, amount: u64, window: Duration) -> Result<u64, PortError> {
        check_key(key)?;
        let (key, clock) = (key.to_owned(), Arc::clone(&self.store.clock));
        self.write(move |connection| Ok(documents::count(connection, &key, amount, window, clock.now())?))
            .await
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.write(|_| Ok(())).await
    }
}

fn check_key(key: &str) -> Result<(), PortError> {
    if key.len() <= KEY_BYTES_MAX {
        return Ok(());
    }
    let begin = shared::fault::cut(key, 60);
    Err(PortError::Misconfigured(format!(
        "the key {begin} has {} bytes, {KEY_BYTES_MAX} are possible: use shorter names or ids",
        key.len()
    )))
}

fn check_size(write: &Write<'_>) -> Result<(), PortError> {
    let bytes = write.value.map_or(0, <[u8]>::len);
    if bytes <= DOCUMENT_BYTES_MAX {
        return Ok(());
    }
    Err(PortError::Misconfigured(format!(
        "the document for {} has {bytes} bytes, {DOCUMENT_BYTES_MAX} are possible: nothing was written",
        write.key
    )))
}

fn fenced(key: &str, fence: &Fence) -> PortError {
    PortError::Fenced(format!(
        "{key} was not written: the lease {} is no longer held under term {}; whoever holds it now goes on",
        fence.lease, fence.term
    ))
}
