//! The secrets of the webhooks: those of the settings, and those that `syncfleet provision` keeps in the vault.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use connector_espocrm::{EspoId, IdError};
use secrecy::SecretString;
use shared::fault::{Fault, FaultKind};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{NAME, Parties};

/// How old what is known of the vault may be before it is read again. Within this time a new webhook is known
/// everywhere, and forged deliveries cause no more reads than this.
const LEARN_EVERY: Duration = Duration::from_secs(2);

type Known = Arc<BTreeMap<EspoId, SecretString>>;

/// What deliveries are verified with.
#[derive(Debug)]
pub(super) struct WebhookSecrets {
    /// Those of the settings; they win.
    configured: BTreeMap<EspoId, SecretString>,
    /// Where the provisioned ones are.
    pub(super) vault: Option<vault::Secrets>,
    known: RwLock<Known>,
    learned_at: Mutex<Option<Instant>>,
}

impl WebhookSecrets {
    pub(super) fn configured(settings: &BTreeMap<String, SecretString>) -> Result<Self, IdError> {
        let webhook = |(id, secret): (&String, &SecretString)| Ok((EspoId::new(id.clone())?, secret.clone()));
        let configured: BTreeMap<_, _> = settings.iter().map(webhook).collect::<Result<_, IdError>>()?;
        let known = RwLock::new(Arc::new(configured.clone()));
        Ok(Self { configured, vault: None, known, learned_at: Mutex::default() })
    }

    /// All that are known now.
    pub(super) fn known(&self) -> Known {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn is_known(&self, id: &EspoId) -> bool {
        self.known().contains_key(id)
    }

    fn set(&self, known: BTreeMap<EspoId, SecretString>) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
    }
}

/// The name of a webhook's secret in the vault.
pub fn vault_name(id: &EspoId) -> String {
    format!("{}{id}", vault_prefix())
}

fn vault_prefix() -> String {
    format!("webhook/{NAME}/")
}

impl Parties {
    /// Reads the vault, unless that was done just now; answers whether a webhook is known that was not before.
    pub(super) async fn learn_secrets(&self) -> Result<bool, Fault> {
        let secrets = &self.secrets;
        let Some(vault) = &secrets.vault else { return Ok(false) };
        let before = secrets.known();
        let mut learned_at = secrets.learned_at.lock().await;
        if learned_at.is_some_and(|at| at.elapsed() < LEARN_EVERY) {
            // Somebody else may have learned it while this one waited.
            return Ok(secrets.known().len() > before.len());
        }
        let found = vault.list(&vault_prefix()).await.map_err(|error| {
            let kind = FaultKind::Paused { after: LEARN_EVERY };
            Fault::new(
                kind,
                "webhook_secrets",
                format!("The secrets of the webhooks cannot be read: {error}."),
            )
        })?;
        let mut known = secrets.configured.clone();
        for (name, secret) in found {
            match (EspoId::new(name), secret) {
                (Ok(id), Ok(secret)) => {
                    known.entry(id).or_insert(secret);
                }
                (_, Err(error)) => {
                    tracing::warn!(flow.name = NAME, "A webhook's deliveries are refused: {error}.")
                }
                (Err(error), _) => {
                    tracing::warn!(flow.name = NAME, "A secret in the vault is of no webhook: {error}.")
                }
            }
        }
        let is_news = known.keys().any(|id| !before.contains_key(id));
        secrets.set(known);
        *learned_at = Some(Instant::now());
        Ok(is_news)
    }
}
