//! The two sides as the flow reaches them, and what a target holds by its own word.

use std::sync::Arc;

use connector_espocrm::Credentials;
use connector_scim::{Overrides, Scim, Sizes};
use connector_wecom::{MemoryShelf, WeCom};
use flows::directory::espocrm::EspoTarget;
use flows::directory::scim::ScimTarget;
use flows::directory::source::Source;
use flows::directory::target::Target;
use flows::directory::wecom::WeComSource;
use http_client::Limits;
use secrecy::SecretString;
use serde_json::Value;
use shared::clock::SystemClock;
use shared::meter::NoMeter;
use shared::ports::state::State;
use simulators::{EspocrmSimulator, Operation, ScimOptions, ScimSimulator, WecomOptions, WecomSimulator};
use system_tests::ScimServer;

use super::espo_target::{china, connect};
use super::shown::Shown;

/// Where groups and users are.
pub enum Place {
    Simulated(ScimSimulator),
    /// A server of independent make.
    Server(ScimServer),
    /// EspoCRM, by this log-in.
    Crm(Box<EspocrmSimulator>, Credentials),
}

fn unlimited() -> Limits {
    Limits { requests_per_second_max: 100_000, ..connector_scim::default_limits() }
}

impl Place {
    pub async fn simulated() -> Self {
        Self::simulated_with(ScimOptions::default()).await
    }

    pub async fn simulated_with(options: ScimOptions) -> Self {
        Self::Simulated(ScimSimulator::start(options).await.unwrap())
    }

    pub fn target(&self, state: &Arc<dyn State>) -> Arc<dyn Target> {
        let (url, token) = match self {
            Self::Simulated(simulator) => (simulator.service_url(), ScimOptions::default().token),
            Self::Server(server) => (server.url(), ScimServer::TOKEN.to_owned()),
            Self::Crm(crm, credentials) => {
                return Arc::new(EspoTarget::new(connect(crm, credentials.clone()), china()).unwrap());
            }
        };
        let settings = connector_scim::Settings {
            url: url.parse().unwrap(),
            token: SecretString::from(token),
            limits: unlimited(),
            fleet: None,
            overrides: Overrides::default(),
            sizes: Sizes::default(),
        };
        let scim = Scim::new(settings, Arc::new(NoMeter), Arc::new(SystemClock)).unwrap();
        Arc::new(ScimTarget::new(scim, Arc::clone(state), true))
    }

    /// All groups and users, as the target says them.
    pub async fn resources(&self) -> Vec<Value> {
        match self {
            Self::Simulated(simulator) => simulator.records(),
            Self::Server(server) => listed(server).await,
            Self::Crm(crm, _) => [crm.teams(), crm.users()].concat(),
        }
    }

    /// All of ours.
    pub async fn shown(&self) -> Shown {
        let resources = self.resources().await;
        match self {
            Self::Simulated(_) | Self::Server(_) => Shown::of_scim(&resources),
            Self::Crm(..) => Shown::of_espocrm(&resources),
        }
    }

    /// What has to be shown of what WeCom has.
    pub fn wanted(&self, wecom: &[Value]) -> Shown {
        match self {
            Self::Simulated(_) | Self::Server(_) => Shown::wanted(wecom),
            Self::Crm(..) => Shown::wanted_of_espocrm(wecom),
        }
    }

    /// Writes so far.
    pub fn writes(&self) -> usize {
        match self {
            Self::Simulated(simulator) => simulator.journal().len(),
            Self::Server(_) => 0,
            Self::Crm(crm, _) => crm.journal().len(),
        }
    }

    /// The external ids of all that was ever created.
    pub fn created(&self) -> Vec<String> {
        let Self::Simulated(simulator) = self else { return Vec::new() };
        let created = simulator.journal().into_iter().filter(|entry| entry.operation == Operation::Create);
        let external_id = |after: Value| after["externalId"].as_str().map(str::to_owned);
        created.filter_map(|entry| entry.after.and_then(external_id)).collect()
    }
}

/// All that the server lists, by requests of its own.
#[expect(clippy::disallowed_methods, reason = "the judge looks at the server from outside")]
async fn listed(server: &ScimServer) -> Vec<Value> {
    let client = reqwest::Client::new();
    let mut found = Vec::new();
    for kind in ["Users", "Groups"] {
        let mut start = 1;
        loop {
            let url = format!("{}/{kind}?startIndex={start}&count=500", server.url());
            let answer = client.get(url).bearer_auth(ScimServer::TOKEN).send().await.unwrap();
            let page: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
            let resources = page["Resources"].as_array().cloned().unwrap_or_default();
            let total = usize::try_from(page["totalResults"].as_u64().unwrap()).unwrap();
            start += resources.len();
            let is_over = resources.is_empty() || start > total;
            found.extend(resources);
            if is_over {
                break;
            }
        }
    }
    found
}

/// WeCom as the flow reads it.
pub fn source(wecom: &WecomSimulator, options: &WecomOptions) -> Arc<dyn Source> {
    let limits = Limits { requests_per_second_max: 100_000, ..connector_wecom::default_limits() };
    source_within(wecom, options, limits, None)
}

/// The same within limits, which are those of all processes with this store.
pub fn source_within(
    wecom: &WecomSimulator,
    options: &WecomOptions,
    limits: Limits,
    fleet: Option<Arc<dyn State>>,
) -> Arc<dyn Source> {
    let settings = connector_wecom::Settings {
        url: format!("{}/cgi-bin/", wecom.base_url()).parse().unwrap(),
        corp_id: options.corp_id.clone(),
        app_secret: Some(SecretString::from(options.app_secret.clone())),
        contact_sync_secret: Some(SecretString::from(options.contact_sync_secret.clone())),
        limits,
        fleet,
        shelf: Arc::new(MemoryShelf::default()),
    };
    let wecom = WeCom::new(&settings, Arc::new(NoMeter), Arc::new(SystemClock)).unwrap();
    Arc::new(WeComSource::new(wecom))
}
