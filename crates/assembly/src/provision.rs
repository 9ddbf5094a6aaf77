//! What provisioning works with, as configured.

use std::sync::Arc;

use configuration::{Config, DirectoryTarget, EspoCrmAuth};
use connector_espocrm::provision::{Needs, Wanted};
use connector_espocrm::{Credentials, EspoCrm, EspoId, Settings};
use flows::calendar::espocrm::EspoCalendar;
use flows::directory::espocrm::EspoTarget;
use flows::parties::Parties;
use secrecy::SecretString;
use shared::clock::Clock;
use shared::meter::NoMeter;
use shared::ports::PortError;

use crate::calendar::carried;
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
    let Some(provision) = &config.provision else { return Ok(None) };
    let parties =
        config.flow.parties.as_ref().map(|parties| Parties::needs_of(&settings(parties)).map_err(wrong));
    let calendar = config.flow.calendar.as_ref();
    let calendar = calendar.map(|calendar| EspoCalendar::needs(&carried(calendar)).map_err(wrong));
    let has_teams = config.flow.directory.as_ref().is_some_and(|it| it.target == DirectoryTarget::EspoCrm);
    let directory = has_teams.then(|| EspoTarget::needs().map_err(wrong));
    let needs: Vec<Needs> =
        parties.into_iter().chain(calendar).chain(directory).collect::<Result<_, PortError>>()?;
    if needs.is_empty() {
        return Ok(None);
    }
    let password = provision.admin_password.clone();
    let credentials = Credentials::Password { user_name: provision.admin_user.clone(), password };
    let wanted = Wanted {
        needs,
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

    /// The name under which a webhook's secret is kept in the vault: the flow's that needs its event.
    pub fn secret_name(&self, event: &str, webhook: &EspoId) -> String {
        let mut webhooks = self.wanted.needs.iter().flat_map(|needs| &needs.webhooks);
        let path = webhooks.find(|(needed, _)| needed == event).map(|(_, path)| path.as_str());
        let flow = path.and_then(|path| path.split('/').next()).unwrap_or(flows::parties::NAME);
        flows::webhook_secrets::vault_name(flow, webhook)
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
