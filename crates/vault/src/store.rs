//! Sealed secrets in the state store: `vault/<name>`.

use std::sync::Arc;

use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;
use shared::ports::PortError;
use shared::ports::state::{Expected, State, Versioned, Write, Written};

use crate::sealed::{OpenError, Sealed};
use crate::{Key, KeyError, KeySource};

/// First part of the key of every sealed secret in the store that is kept.
pub(crate) const PREFIX: &str = "vault/";
/// Documents read at a time.
pub(crate) const PAGE: u32 = 200;

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
        "the secret {0} in the state store is damaged; `syncfleet provision` has a webhook's secret anew, and an account \
         is connected again"
    )]
    Damaged(String),
}

/// The secrets of an installation. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Secrets {
    pub(crate) state: Arc<dyn State>,
    pub(crate) source: Arc<KeySource>,
    pub(crate) former: Arc<Vec<Key>>,
}

/// A secret as it was read.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) secret: SecretString,
    pub(crate) version: u64,
}

/// How a secret is put at its place.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    /// What may be known of it without the key.
    pub(crate) about: Option<Value>,
    /// What must be there; `None` is anything.
    pub(crate) expected: Option<Expected>,
    /// When it ends by itself.
    pub(crate) time_to_live: Option<Duration>,
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
        self.put_at(&format!("{PREFIX}{name}"), secret, Terms::default()).await?;
        Ok(())
    }

    /// A secret by its name.
    ///
    /// # Errors
    /// [`VaultError`].
    pub async fn get(&self, name: &str) -> Result<Option<SecretString>, VaultError> {
        Ok(self.read_at(&format!("{PREFIX}{name}")).await?.map(|opened| opened.secret))
    }

    /// Seals a secret for its place, and puts it there.
    pub(crate) async fn put_at(
        &self,
        place: &str,
        secret: &SecretString,
        terms: Terms,
    ) -> Result<Written, VaultError> {
        let key = self.source.read_or_make()?;
        let damaged = || VaultError::Damaged(name_of(place));
        let sealed = Sealed::seal(&key, place, secret).ok_or_else(damaged)?;
        let document = serde_json::to_vec(&sealed.with_about(terms.about)).map_err(|_| damaged())?;
        let write = Write {
            expected: terms.expected.unwrap_or(Expected::Any),
            time_to_live: terms.time_to_live,
            ..Write::put(place, &document)
        };
        Ok(self.state.write(write).await?)
    }

    /// The secret at a place, and its version.
    pub(crate) async fn read_at(&self, place: &str) -> Result<Option<Opened>, VaultError> {
        let Some(document) = self.state.get(place).await? else { return Ok(None) };
        let key = self.source.read()?;
        let secret = self.open(key.as_ref(), place, &document)?;
        Ok(Some(Opened { secret, version: document.version }))
    }

    /// What may be known without the key of the secrets at places that begin with `prefix`, page by page: places, and
    /// nothing for a document that is not readable.
    pub(crate) async fn abouts(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, Option<Value>)>, VaultError> {
        let page = self.state.scan(prefix, after, limit).await?;
        let about = |document: &Versioned| Sealed::read(&document.value).ok()?.about;
        Ok(page.into_iter().map(|(place, document)| (place, about(&document))).collect())
    }

    /// Signs a message for a purpose, with a key derived from the present one: another key signs differently.
    ///
    /// # Errors
    /// [`VaultError::Key`] where there is no key.
    pub fn sign(&self, purpose: &str, message: &[u8]) -> Result<Vec<u8>, VaultError> {
        let key = self.source.read_or_make()?;
        key.sign(purpose, message).ok_or_else(|| VaultError::Damaged(purpose.to_owned()))
    }

    /// Whether this installation signed the message, with the present key or a former one.
    pub(crate) fn has_signed(
        &self,
        purpose: &str,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, VaultError> {
        let key = self.source.read()?;
        let mut keys = key.iter().chain(self.former.iter());
        Ok(keys.any(|key| key.has_signed(purpose, message, signature)))
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

    pub(crate) fn open(
        &self,
        key: Option<&Key>,
        place: &str,
        document: &Versioned,
    ) -> Result<SecretString, VaultError> {
        let name = || name_of(place);
        let opened = Sealed::read(&document.value)
            .and_then(|sealed| sealed.open(key.into_iter().chain(self.former.iter()), place));
        opened.map_err(|error| match error {
            OpenError::OtherKey(key) => VaultError::OtherKey { name: name(), key },
            OpenError::Unreadable | OpenError::Damaged => VaultError::Damaged(name()),
        })
    }
}

/// A secret's name, by its place in the store.
pub(crate) fn name_of(place: &str) -> String {
    place.strip_prefix(PREFIX).unwrap_or(place).to_owned()
}
