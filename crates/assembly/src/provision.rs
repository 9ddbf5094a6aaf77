//! What provisioning works with, as configured.

use std::sync::Arc;

use configuration::{Config, EspoCrmAuth};
use connector_espocrm::provision::Wanted;
use connector_espocrm::{Credentials, EspoCrm, EspoId, Settings};
use flows::parties::Parties;
use secrecy::SecretString;
use shared::clock::Clock;
use shared::meter::NoMeter;
use shared::ports::PortError;

use crate::parties::{credentials, limits, settings, wrong};

/// EspoCRM with an administrator's eyes and with the API user's.
#[derive(Debug, Clone)]
pub struct Administration {
    /// As the administrator.
    pub admin: EspoCrm,
    /// What the flows in use need.
    pub wanted: Wanted,
    of_provision: configuration::ProvisionEspoCrm,
    clock: Arc<dyn Clock>,
}

/// What provisioning works with; `None` where no flow in use needs EspoCRM. Sends nothing.
///
/// # Errors
/// A setting that cannot be used.
pub fn administration(config: &Config, clock: Arc<dyn Clock>) -> Result<Option<Administration>, PortError> {
    let (Some(provision), Some(parties)) = (&config.provision, &config.flow.parties) else { return Ok(None) };
    let password = provision.admin_password.clone();
    let credentials = Credentials::Password { user_name: provision.admin_user.clone(), password };
    let wanted = Wanted {
        needs: vec![Parties::needs_of(&settings(parties)).map_err(wrong)?],
        user: provision.api_user.clone(),
        role: provision.role.clone(),
        webhook_url: provision.webhook_url.clone(),
    };
    let admin = client(provision, credentials, clock.clone())?;
    Ok(Some(Administration { admin, wanted, of_provision: provision.clone(), clock }))
}

impl Administration {
    /// EspoCRM as the API user signs in by the settings; `None` where there is no key yet.
    ///
    /// # Errors
    /// A setting that cannot be used.
    pub fn configured_user(&self) -> Result<Option<EspoCrm>, PortError> {
        let Some(auth) = &self.of_provision.auth else { return Ok(None) };
        client(&self.of_provision, credentials(auth), self.clock.clone()).map(Some)
    }

    /// EspoCRM as the API user of this key.
    ///
    /// # Errors
    /// A setting that cannot be used.
    pub fn user(&self, key: SecretString) -> Result<EspoCrm, PortError> {
        let auth = EspoCrmAuth::ApiKey { api_key: key };
        client(&self.of_provision, credentials(&auth), self.clock.clone())
    }

    /// The name under which a webhook's secret is kept in the vault.
    pub fn secret_name(&self, webhook: &EspoId) -> String {
        flows::webhook_secrets::vault_name(flows::parties::NAME, webhook)
    }
}

/// Apart from the fleet's account: a log-in that is refused pauses nobody else.
fn client(
    settings: &configuration::ProvisionEspoCrm,
    credentials: Credentials,
    clock: Arc<dyn Clock>,
) -> Result<EspoCrm, PortError> {
    let (url, limits) = (settings.url.clone(), limits(&settings.limits));
    EspoCrm::new(Settings { url, credentials, limits, fleet: None }, Arc::new(NoMeter), clock).map_err(wrong)
}
