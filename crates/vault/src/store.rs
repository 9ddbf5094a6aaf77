//! Sealed secrets in the state store: `vault/<name>`.

use std::sync::Arc;

use secrecy::SecretString;
use shared::ports::PortError;
use shared::ports::state::{State, Versioned, Write};

use crate::sealed::{OpenError, Sealed};
use crate::{Key, KeyError, KeySource};

/// First part of the key of every sealed secret in the store.
const PREFIX: &str = "vault/";
/// Documents read at a time.
const PAGE: u32 = 200;

/// Why a secret cannot be kept or had. Its text says what to do; it never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is no usable key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store failed.
    #[error("secrets in the state store: {0}")]
    Store(#[from] PortError),
    /// Sealed under a key that is not configured.
    #[error(
        "the secret {name} was sealed under the key {key}, which is not the configured one: name that key in vault.key or \
         under [vault.old_keys]; a webhook's secret is also had anew by `syncfleet provision`"
    )]
    OtherKey {
        /// Which secret.
        name: String,
        /// The id of its key.
        key: String,
    },
    /// Changed since it was sealed, or not written by this version.
    #[error(
        "the secret {0} in the state store is damaged; `syncfleet provision` has a webhook's secret anew"
    )]
    Damaged(String),
}

/// The secrets of an installation. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Secrets {
    state: Arc<dyn State>,
    source: Arc<KeySource>,
    former: Arc<Vec<Key>>,
}

impl Secrets {
    /// Over a state store, with the present key and the former ones.
    pub fn new(state: Arc<dyn State>, source: KeySource, former: Vec<Key>) -> Self {
        Self { state, source: Arc::new(source), former: Arc::new(former) }
    }

    /// Where the present key comes from.
    pub fn source(&self) -> &KeySource {
        &self.source
    }

    /// Whether something can be sealed, as far as that is known before it is tried. Makes nothing.
    ///
    /// # Errors
    /// [`VaultError::Key`].
    pub fn check(&self) -> Result<(), VaultError> {
        match (self.source.read()?, self.source()) {
            (None, KeySource::Missing) => Err(KeyError::Missing.into()),
            _ => Ok(()),
        }
    }

    /// Keeps a secret under a name, in place of what was there.
    ///
    /// # Errors
    /// [`VaultError`].
    pub async fn put(&self, name: &str, secret: &SecretString) -> Result<(), VaultError> {
        let key = self.source.read_or_make()?;
        let place = format!("{PREFIX}{name}");
        let damaged = || VaultError::Damaged(name.to_owned());
        let sealed = Sealed::seal(&key, &place, secret).ok_or_else(damaged)?;
        let document = serde_json::to_vec(&sealed).map_err(|_| damaged())?;
        self.state.write(Write::put(&place, &document)).await?;
        Ok(())
    }

    /// A secret by its name.
    ///
    /// # Errors
    /// [`VaultError`].
    pub async fn get(&self, name: &str) -> Result<Option<SecretString>, VaultError> {
        let place = format!("{PREFIX}{name}");
        let Some(document) = self.state.get(&place).await? else { return Ok(None) };
        let key = self.source.read()?;
        self.open(key.as_ref(), &place, &document).map(Some)
    }

    /// All secrets whose names begin with `prefix`: the rest of each name, and the secret or why it cannot be had.
    ///
    /// # Errors
    /// [`VaultError::Store`], and [`VaultError::Key`] where the key itself cannot be read.
    pub async fn list(
        &self,
        prefix: &str,
    ) -> Result<Vec<(String, Result<SecretString, VaultError>)>, VaultError> {
        let prefix = format!("{PREFIX}{prefix}");
        let (mut found, mut after) = (Vec::new(), None);
        let mut key = None;
        loop {
            let page = self.state.scan(&prefix, after.as_deref(), PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            after = Some(last.clone());
            if key.is_none() {
                key = self.source.read()?;
            }
            found.extend(page.iter().map(|(place, document)| {
                let name = place.strip_prefix(&prefix).unwrap_or(place).to_owned();
                (name, self.open(key.as_ref(), place, document))
            }));
        }
    }

    fn open(&self, key: Option<&Key>, place: &str, document: &Versioned) -> Result<SecretString, VaultError> {
        let name = || place.strip_prefix(PREFIX).unwrap_or(place).to_owned();
        let opened = Sealed::read(&document.value)
            .and_then(|sealed| sealed.open(key.into_iter().chain(self.former.iter()), place));
        opened.map_err(|error| match error {
            OpenError::OtherKey(key) => VaultError::OtherKey { name: name(), key },
            OpenError::Unreadable | OpenError::Damaged => VaultError::Damaged(name()),
        })
    }
}
