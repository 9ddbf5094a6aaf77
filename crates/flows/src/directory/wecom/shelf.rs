//! Where the fleet's access tokens are kept: sealed, in the vault.

use std::time::Duration;

use async_trait::async_trait;
use connector_wecom::TokenShelf;
use secrecy::SecretString;
use shared::fault::{Fault, FaultKind};
use vault::{Secrets, VaultError};

/// How long messages wait for what a person must put right.
const SETTINGS_PAUSE: Duration = Duration::from_secs(60);

/// The tokens among the secrets of an installation.
#[derive(Debug, Clone)]
pub struct VaultShelf(Secrets);

impl VaultShelf {
    /// In a vault.
    pub fn new(secrets: Secrets) -> Self {
        Self(secrets)
    }
}

#[async_trait]
impl TokenShelf for VaultShelf {
    async fn read(&self, name: &str) -> Result<Option<SecretString>, Fault> {
        match self.0.get(name).await {
            // A token is had anew.
            Err(error @ (VaultError::OtherKey { .. } | VaultError::Damaged(_))) => {
                tracing::debug!("A kept access token is not used: {error}.");
                Ok(None)
            }
            read => read.map_err(fault),
        }
    }

    async fn write(&self, name: &str, secret: &SecretString) -> Result<(), Fault> {
        self.0.put(name, secret).await.map_err(fault)
    }
}

fn fault(error: VaultError) -> Fault {
    match error {
        VaultError::Store(error) => error.into(),
        VaultError::Key(_) | VaultError::OtherKey { .. } | VaultError::Damaged(_) => {
            let text = format!("WeCom's access token cannot be kept: {error}.");
            Fault::new(FaultKind::Paused { after: SETTINGS_PAUSE }, "vault", text)
        }
    }
}
