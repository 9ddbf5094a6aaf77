//! The secrets of a flow's webhooks at EspoCRM: those of the settings, and those that `syncfleet provision` keeps in the
//! vault.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use connector_espocrm::{EspoId, IdError};
use secrecy::SecretString;
use shared::fault::{Fault, FaultKind};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How old what is known of the vault may be before it is read again. Within this time a new webhook is known
/// everywhere, and forged deliveries cause no more reads than this.
const LEARN_EVERY: Duration = Duration::from_secs(2);

type Known = Arc<BTreeMap<EspoId, SecretString>>;

/// What deliveries are verified with.
#[derive(Debug)]
pub(crate) struct WebhookSecrets {
    flow: &'static str,
    /// Those of the settings; they win.
    configured: BTreeMap<EspoId, SecretString>,
    /// Where the provisioned ones are.
    pub(crate) vault: Option<vault::Secrets>,
    known: RwLock<Known>,
    learned_at: Mutex<Option<Instant>>,
}

impl WebhookSecrets {
    /// Those of the settings, by webhook id.
    ///
    /// # Errors
    /// For what is no id of a webhook.
    pub(crate) fn configured(
        flow: &'static str,
        settings: &BTreeMap<String, SecretString>,
    ) -> Result<Self, IdError> {
        let webhook = |(id, secret): (&String, &SecretString)| Ok((EspoId::new(id.clone())?, secret.clone()));
        let configured: BTreeMap<_, _> = settings.iter().map(webhook).collect::<Result<_, IdError>>()?;
        let known = RwLock::new(Arc::new(configured.clone()));
        Ok(Self { flow, configured, vault: None, known, learned_at: Mutex::default() })
    }

    /// All that are known now.
    pub(crate) fn known(&self) -> Known {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn is_known(&self, id: &EspoId) -> bool {
        self.known().contains_key(id)
    }

    fn set(&self, known: BTreeMap<EspoId, SecretString>) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
    }

    /// Reads the vault, unless that was done just now; answers whether a webhook is known that was not before.
    ///
    /// # Errors
    /// Whatever hinders the reading of the vault.
    pub(crate) async fn learn(&self) -> Result<bool, Fault> {
        let Some(vault) = &self.vault else { return Ok(false) };
        let before = self.known();
        let mut learned_at = self.learned_at.lock().await;
        if learned_at.is_some_and(|at| at.elapsed() < LEARN_EVERY) {
            // Somebody else may have learned it while this one waited.
            return Ok(self.known().len() > before.len());
        }
        let found = vault.list(&prefix(self.flow)).await.map_err(|error| {
            let kind = FaultKind::Paused { after: LEARN_EVERY };
            Fault::new(
                kind,
                "webhook_secrets",
                format!("The secrets of the webhooks cannot be read: {error}."),
            )
        })?;
        let mut known = self.configured.clone();
        for (name, secret) in found {
            match (EspoId::new(name), secret) {
                (Ok(id), Ok(secret)) => {
                    known.entry(id).or_insert(secret);
                }
                (_, Err(error)) => {
                    tracing::warn!(flow.name = self.flow, "A webhook's deliveries are refused: {error}.")
                }
                (Err(error), _) => {
                    tracing::warn!(flow.name = self.flow, "A secret in the vault is of no webhook: {error}.")
                }
            }
        }
        let is_news = known.keys().any(|id| !before.contains_key(id));
        self.set(known);
        *learned_at = Some(Instant::now());
        Ok(is_news)
    }
}

/// The name of the secret of a flow's webhook in the vault.
pub fn vault_name(flow: &str, id: &EspoId) -> String {
    format!("{}{id}", prefix(flow))
}

fn prefix(flow: &str) -> String {
    format!("webhook/{flow}/")
}
