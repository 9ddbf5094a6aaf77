//! Where access tokens are kept.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use secrecy::SecretString;
use shared::fault::Fault;

/// Where the processes of a fleet keep a company's access tokens. Whoever implements it for a store seals them: they are
/// secrets at rest.
#[async_trait]
pub trait TokenShelf: Send + Sync + fmt::Debug {
    /// What is kept under a name.
    ///
    /// # Errors
    /// What the store says; it costs no attempt.
    async fn read(&self, name: &str) -> Result<Option<SecretString>, Fault>;

    /// Keeps it, in place of what was there.
    ///
    /// # Errors
    /// As [`Self::read`].
    async fn write(&self, name: &str, secret: &SecretString) -> Result<(), Fault>;
}

/// A shelf of one process: for programs that run alone, and for tests.
#[derive(Default)]
pub struct MemoryShelf(Mutex<HashMap<String, SecretString>>);

impl fmt::Debug for MemoryShelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryShelf(***)")
    }
}

#[async_trait]
impl TokenShelf for MemoryShelf {
    async fn read(&self, name: &str) -> Result<Option<SecretString>, Fault> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned())
    }

    async fn write(&self, name: &str, secret: &SecretString) -> Result<(), Fault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), secret.clone());
        Ok(())
    }
}
