//! The state port: small versioned documents, leases with fencing tokens, counters.
//!
//! Links, cursors, intents, memberships and marks are typed modules over it ([`crate::link`],
//! [`crate::cursor`], …). Keys are text, at most [`KEY_BYTES_MAX`] bytes; by convention `kind/flow/id`.
//!
//! Guarantees that every adapter gives and the conformance suite checks:
//! - A write that returned `Ok` is durable as far as the store promises (embedded: on disk; Redis: its
//!   append-only file).
//! - A version is never used twice for one key, also not after deletion.
//! - A write with a fence is refused ([`PortError::Fenced`]) in the same atomic step when the lease's present
//!   term is another, or the lease has ended.
//! - Terms of a lease only rise, over restarts as well.
//! - After [`State::enter`], nothing is answered from a store that was emptied or is an older copy
//!   ([`PortError::Lost`]), and no lease of another generation counts.
//! - Scans are ordered by key, bytewise, and see every document that existed all along.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::PortError;
use crate::generation::Generation;

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 512;
/// Largest document, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
/// Most documents that are read in one round trip.
pub const READ_KEYS_MAX: usize = 16;
/// Most documents that are looked for in one round trip.
pub const LOOK_KEYS_MAX: usize = 256;

/// A document and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// The content.
    pub value: Vec<u8>,
    /// Rises with every write of the key.
    pub version: u64,
}

/// Refuses to ask for more documents at once than every adapter answers.
///
/// # Errors
/// [`PortError::Misconfigured`] with their number.
pub fn check_number_of_keys(keys: &[&str], max: usize) -> Result<(), PortError> {
    if keys.len() <= max {
        return Ok(());
    }
    Err(PortError::Misconfigured(format!(
        "{} documents were asked for at once, {max} are possible: ask in parts",
        keys.len()
    )))
}

/// What must be there for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Anything.
    Any,
    /// No document.
    Absent,
    /// This version.
    Version(u64),
}

impl Expected {
    /// Whether a document of this version, or none, is what was expected.
    pub fn fits(self, present: Option<u64>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => present.is_none(),
            Self::Version(version) => present == Some(version),
        }
    }
}

/// The proof of a lease that a write can be made to depend on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// The lease's name.
    pub lease: String,
    /// The fencing token: the term under which the writer holds the lease.
    pub term: u64,
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write<'a> {
    /// The key.
    pub key: &'a str,
    /// The new content; `None` deletes.
    pub value: Option<&'a [u8]>,
    /// What must be there.
    pub expected: Expected,
    /// When the document ends by itself; `None` keeps it.
    pub time_to_live: Option<Duration>,
    /// The lease under which this is written.
    pub fence: Option<&'a Fence>,
}

impl<'a> Write<'a> {
    /// Writes a document, whatever is there.
    pub fn put(key: &'a str, value: &'a [u8]) -> Self {
        Self { key, value: Some(value), expected: Expected::Any, time_to_live: None, fence: None }
    }

    /// Deletes a document, whatever is there.
    pub fn delete(key: &'a str) -> Self {
        Self { key, value: None, expected: Expected::Any, time_to_live: None, fence: None }
    }
}

/// The outcome of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Done; the document's new version (the deleted one's, for a deletion; 0 where nothing was there).
    Done(u64),
    /// Not done: what is there is not what was expected.
    Clash,
}

/// A lease that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The fencing token: rises with every tenure.
    pub term: u64,
}

/// The state store.
#[async_trait]
pub trait State: Send + Sync + Debug {
    /// The name of this process's tenure, where one process at a time serves the store: all tenures of other names are
    /// over, and what they held is nobody's. None where many serve it, or this process only visits.
    fn tenure(&self) -> Option<&str> {
        None
    }

    /// Reads documents in one round trip, in the order of `keys`, of which there are [`READ_KEYS_MAX`] at most.
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Versioned>>, PortError>;

    /// Reads a document.
    async fn get(&self, key: &str) -> Result<Option<Versioned>, PortError> {
        Ok(self.get_many(&[key]).await?.pop().flatten())
    }

    /// Which documents are there, in one round trip, in the order of `keys`, of which there are [`LOOK_KEYS_MAX`] at
    /// most. Cheaper than reading them.
    async fn are_present(&self, keys: &[&str]) -> Result<Vec<bool>, PortError> {
        check_number_of_keys(keys, LOOK_KEYS_MAX)?;
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(READ_KEYS_MAX) {
            found.extend(self.get_many(keys).await?.iter().map(Option::is_some));
        }
        Ok(found)
    }

    /// Writes or deletes a document.
    async fn write(&self, write: Write<'_>) -> Result<Written, PortError>;

    /// Documents whose key begins with `prefix` and is greater than `after`, in the order of keys.
    async fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, Versioned)>, PortError>;

    /// Takes a lease that nobody holds; `None` when somebody else holds it. The present holder gets its own
    /// term again, with the time renewed.
    async fn acquire_lease(
        &self,
        name: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Grant>, PortError>;

    /// Renews a lease; `false` when it is no longer held under this term.
    async fn renew_lease(&self, fence: &Fence, holder: &str, ttl: Duration) -> Result<bool, PortError>;

    /// Gives a lease up; nothing happens when it is no longer held under this term.
    async fn release_lease(&self, fence: &Fence, holder: &str) -> Result<(), PortError>;

    /// Adds to a counter and answers its new value. The counter ends `window` after its first addition.
    async fn count(&self, key: &str, amount: u64, window: Duration) -> Result<u64, PortError>;

    /// Whether the store answers now.
    async fn ping(&self) -> Result<(), PortError>;

    /// From now on this process works in this generation only: reads, writes and leases are refused
    /// ([`PortError::Lost`]; a renewal answers `false`), each in the same atomic step, while the store is in another
    /// one or older than at this version. Only the document [`crate::generation::KEY`] is always answered, and
    /// counters are never refused. Before the first call nothing is refused.
    ///
    /// An adapter whose content cannot be exchanged beneath an open handle has nothing to do here.
    fn enter(&self, _generation: &Generation) {}
}
