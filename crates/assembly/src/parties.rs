//! The flow `parties` with its two connectors, as configured.

use std::sync::Arc;

use configuration::{Config, ConflictPolicy, EspoCrmAuth, RequestLimits};
use connector_advoware::Advoware;
use connector_espocrm::EspoCrm;
use flows::parties::LookAgain;
use flows::parties::Policy;
use flows::parties::{CommunicationsSettings, Parties, PartiesSettings};
use http_client::Limits;
use http_client::breaker::BreakerPolicy;
use shared::clock::Clock;
use shared::flow::Flow;
use shared::meter::Meter;
use shared::ports::PortError;
use shared::ports::state::State;

/// The flow, where it is enabled.
pub(crate) fn build(
    config: &Config,
    crm: Option<&EspoCrm>,
    state: Arc<dyn State>,
    vault: vault::Secrets,
    meter: Arc<dyn Meter>,
    clock: Arc<dyn Clock>,
) -> Result<Option<Arc<dyn Flow>>, PortError> {
    let connectors = (crm.cloned(), &config.connector.advoware);
    let (Some(parties), (Some(crm), Some(remote))) = (&config.flow.parties, connectors) else {
        return Ok(None);
    };
    let remote = advoware(remote, state.clone(), meter.clone(), clock)?;
    let flow = Parties::new(settings(parties), crm, remote, state, meter).map_err(wrong)?;
    Ok(Some(Arc::new(flow.with_vault(vault))))
}

/// EspoCRM as the flows see it.
pub(crate) fn espocrm(
    settings: &configuration::EspoCrm,
    state: Arc<dyn State>,
    meter: Arc<dyn Meter>,
    clock: Arc<dyn Clock>,
) -> Result<EspoCrm, PortError> {
    let limits = limits(&settings.limits);
    let (url, credentials) = (settings.url.clone(), credentials(&settings.auth));
    let settings = connector_espocrm::Settings { url, credentials, limits, fleet: Some(state) };
    EspoCrm::new(settings, meter, clock).map_err(wrong)
}

pub(crate) fn credentials(auth: &EspoCrmAuth) -> connector_espocrm::Credentials {
    use connector_espocrm::Credentials;
    match auth {
        EspoCrmAuth::ApiKey { api_key } => Credentials::ApiKey(api_key.clone()),
        EspoCrmAuth::Hmac { api_key, secret_key } => {
            Credentials::Hmac { api_key: api_key.clone(), secret_key: secret_key.clone() }
        }
    }
}

fn advoware(
    settings: &configuration::Advoware,
    state: Arc<dyn State>,
    meter: Arc<dyn Meter>,
    clock: Arc<dyn Clock>,
) -> Result<Advoware, PortError> {
    use connector_advoware::{Credentials, Settings};
    let credentials = Credentials::new(
        &settings.app_id,
        &settings.api_key,
        &settings.kanzlei,
        &settings.database,
        &settings.user,
        settings.password.clone(),
    )
    .map_err(wrong)?;
    let limits = limits(&settings.limits);
    let configurator = settings.configurator_url.clone();
    let settings = Settings { configurator, credentials, limits, fleet: Some(state) };
    Advoware::new(settings, meter, clock).map_err(wrong)
}

pub(crate) fn limits(settings: &RequestLimits) -> Limits {
    Limits {
        deadline: settings.timeout,
        answer_bytes_max: settings.answer_bytes_max,
        requests_per_second_max: settings.requests_per_second_max,
        concurrency_max: u32::try_from(settings.concurrency_max).unwrap_or(u32::MAX),
        breaker: BreakerPolicy {
            failures_max: settings.breaker_failures_max,
            open_for: settings.breaker_pause,
        },
        ..Limits::default()
    }
}

pub(crate) fn settings(parties: &configuration::Parties) -> PartiesSettings {
    PartiesSettings {
        entity_type: parties.entity_type.clone(),
        shards: parties.shards,
        retry: parties.retry.clone(),
        run_time_max: parties.run_time_max,
        policy: match parties.conflict_policy {
            ConflictPolicy::CrmWins => Policy::CrmWins,
            ConflictPolicy::RemoteWins => Policy::RemoteWins,
            ConflictPolicy::NewestWins => Policy::NewestWins,
            ConflictPolicy::Ask => Policy::Ask,
        },
        salutations: parties.salutations.clone(),
        mass_change_share_max: parties.mass_change_share_max,
        mass_change_count_min: parties.mass_change_count_min,
        notify_user_id: parties.notify_user_id.clone(),
        sweep_page_records_max: u16::try_from(parties.sweep_page_records_max).unwrap_or(u16::MAX),
        calls_per_hour_max: parties.calls_per_hour_max,
        syncing_status_after: parties.syncing_status_after,
        look_again: LookAgain { min: parties.look_again_min, max: parties.look_again_max },
        communications: parties.communications.as_ref().map(communications),
        webhook_secrets: parties.webhook_secrets.clone(),
    }
}

fn communications(settings: &configuration::Communications) -> CommunicationsSettings {
    let configuration::Communications {
        country,
        phone_kind_default,
        mail_kind_default,
        kinds,
        types,
        mirrors,
    } = settings.clone();
    CommunicationsSettings { country, phone_kind_default, mail_kind_default, kinds, types, mirrors }
}

pub(crate) fn wrong(problem: impl std::fmt::Display) -> PortError {
    PortError::Misconfigured(problem.to_string())
}
