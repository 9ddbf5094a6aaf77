//! What is there: read as the administrator, and the webhooks as the API user.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use assembly::program::{EXIT_CONFIGURATION, EXIT_UNAVAILABLE};
use connector_espocrm::provision::{Found, WebhookFound};
use connector_espocrm::{ApiUser, EspoCrm, EspoId, Webhook};
use secrecy::ExposeSecret as _;
use shared::fault::{Fault, FaultKind};

use super::apply::Session;
use super::{Setting, failed};
use crate::output::fail;

pub(super) async fn look(setting: &Setting, session: &mut Session) -> Result<Found, ExitCode> {
    let (admin, wanted) = (&setting.administration.admin, &setting.administration.wanted);
    let version = admin.version().await.map_err(|fault| admin_failed("EspoCRM's version", &fault))?;
    let mut entities = BTreeMap::new();
    for need in &wanted.merged().entities {
        let name = &need.name;
        let entity = admin.entity_found(name).await.map_err(|fault| admin_failed(name.as_str(), &fault))?;
        entities.extend(entity.map(|entity| (name.clone(), entity)));
    }
    let role = admin.role_by_name(&wanted.role).await.map_err(|fault| admin_failed("the role", &fault))?;
    let user = api_user(setting).await?;
    let client = client_of(setting, user.as_ref())?;
    let webhooks = match &client {
        Some(client) => webhooks(client).await?,
        None => Vec::new(),
    };
    let secrets_known = secrets_known(setting, &webhooks).await?;
    session.begin(role.as_ref().map(|role| role.id.clone()), user.as_ref(), client);
    Ok(Found {
        version,
        entities,
        role,
        user: user.map(|user| user.user),
        webhooks: webhooks.into_iter().map(found).collect(),
        secrets_known,
        is_key_known: setting.is_key_configured
            || session.key_is_shown()
            || setting.key_file.as_ref().is_some_and(|file| file.exists()),
    })
}

/// The API user that the settings sign in as, or the one of the name that is to be made.
async fn api_user(setting: &Setting) -> Result<Option<ApiUser>, ExitCode> {
    let (administration, wanted) = (&setting.administration, &setting.administration.wanted);
    let configured =
        administration.configured_user().map_err(|error| fail(EXIT_CONFIGURATION, error.to_string()))?;
    let found = match configured {
        Some(user) => {
            let me = user
                .app_user()
                .await
                .map_err(|fault| failed("the key in connector.espocrm.api_key", &fault))?;
            administration.admin.api_user(&me.id).await
        }
        None => administration.admin.api_user_by_name(&wanted.user).await,
    };
    found.map_err(|fault| admin_failed("the API user", &fault))
}

fn client_of(setting: &Setting, user: Option<&ApiUser>) -> Result<Option<EspoCrm>, ExitCode> {
    let wrong = |error: shared::ports::PortError| fail(EXIT_CONFIGURATION, error.to_string());
    if let Some(client) = setting.administration.configured_user().map_err(wrong)? {
        return Ok(Some(client));
    }
    let usable = user.filter(|user| user.user.kind == "api" && user.user.is_active);
    match usable.and_then(|user| user.api_key.clone()) {
        Some(key) => setting.administration.user(key).map(Some).map_err(wrong),
        None => Ok(None),
    }
}

/// The API user's webhooks; none where it may not see them yet.
pub(super) async fn webhooks(client: &EspoCrm) -> Result<Vec<Webhook>, ExitCode> {
    match client.webhooks().await {
        Ok(webhooks) => Ok(webhooks),
        Err(fault) if fault.code == "forbidden" => Ok(Vec::new()),
        Err(fault) => Err(failed("the API user's webhooks", &fault)),
    }
}

fn found(webhook: Webhook) -> WebhookFound {
    let Webhook { id, event, url, is_active, skip_own, .. } = webhook;
    WebhookFound { id, event, url, is_active, skip_own }
}

async fn secrets_known(setting: &Setting, webhooks: &[Webhook]) -> Result<BTreeSet<EspoId>, ExitCode> {
    let mut known = BTreeSet::new();
    for webhook in webhooks {
        let is_known = setting.configured_secrets.iter().any(|id| id == webhook.id.as_str())
            || match setting.vault.get(&setting.administration.secret_name(&webhook.event, &webhook.id)).await
            {
                Ok(Some(kept)) => webhook
                    .secret_key
                    .as_ref()
                    .is_none_or(|present| present.expose_secret() == kept.expose_secret()),
                Ok(None) | Err(vault::VaultError::OtherKey { .. } | vault::VaultError::Damaged(_)) => false,
                Err(error) => return Err(fail(EXIT_UNAVAILABLE, error.to_string())),
            };
        if is_known {
            known.insert(webhook.id.clone());
        }
    }
    Ok(known)
}

/// What the administrator's log-in met.
pub(super) fn admin_failed(what: &str, fault: &Fault) -> ExitCode {
    if matches!(fault.kind, FaultKind::Unauthorized) {
        let text = "EspoCRM refuses the administrator's log-in: check provision.espocrm.admin_user and admin_password. \
                    It must be a user of type Admin, without two-factor authentication. Ten refused log-ins within a \
                    minute lock this address out.";
        return fail(EXIT_UNAVAILABLE, text);
    }
    if fault.code == "forbidden" {
        let text = format!("{what}: {} Is provision.espocrm.admin_user an administrator?", fault.text);
        return fail(EXIT_UNAVAILABLE, text);
    }
    failed(what, fault)
}
