//! Builds adapters, connectors and flows from the configuration: the one place that names them all.
//!
//! [`build`] turns a checked configuration into [`Parts`]; [`program`] holds what the three programs do alike:
//! read the configuration, begin to log, stop on signals, answer with an exit code.

pub mod program;

mod accounts;
mod backings;
mod calendar;
mod directory;
mod parties;
mod provision;
mod secrets;
mod spool;

pub use backings::backing_names;

use std::sync::Arc;

use configuration::Config;
use flows::directory::flow::DirectoryFlow;
use shared::clock::Clock;
use shared::flow::{Check, Flow};
use shared::meter::Meter;
use shared::ports::PortError;
use shared::ports::queue::{FlowTopology, Queue};
use shared::ports::state::State;
use shared::ports::transfer::{TransferQueue, TransferState};
use shared::record_key::FlowName;

pub use provision::{Administration, administration};
pub use spool::{OpenDisk, spool_disk};

/// What a process does with the embedded directory; makes no difference to RabbitMQ and Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Consumes: one process at a time.
    Serving,
    /// Publishes, reads, and handles dead letters beside a serving process.
    Visiting,
}

/// Queue and store, to take everything out of them.
#[derive(Debug, Clone)]
pub struct Transfer {
    /// The queue.
    pub queue: Arc<dyn TransferQueue>,
    /// The state store.
    pub state: Arc<dyn TransferState>,
}

/// Everything that was built.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The queue.
    pub queue: Arc<dyn Queue>,
    /// The state store.
    pub state: Arc<dyn State>,
    /// The secrets in the state store.
    pub vault: vault::Secrets,
    /// The accounts at other providers, whose grants are among the secrets.
    pub accounts: vault::Accounts,
    /// How accounts are connected; `None` where no provider is configured.
    pub connecting: Option<vault::Connecting>,
    /// The flows that are enabled.
    pub flows: Vec<Arc<dyn Flow>>,
    /// `directory` among them, for what only this one has: its first sync.
    pub directory: Option<Arc<DirectoryFlow>>,
    /// Metrics.
    pub meter: Arc<dyn Meter>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    backings: backings::Backings,
}

impl Parts {
    /// The shards of all flows.
    pub fn topologies(&self) -> Vec<FlowTopology> {
        let topology = |flow: &Arc<dyn Flow>| FlowTopology {
            flow: flow.spec().name.clone(),
            shards: flow.spec().shards,
        };
        self.flows.iter().map(topology).collect()
    }

    /// Queue and store as they are moved to other backings.
    pub fn transfer(&self) -> Transfer {
        self.backings.transfer()
    }

    /// A flow by its name.
    pub fn flow(&self, name: &FlowName) -> Option<&Arc<dyn Flow>> {
        self.flows.iter().find(|flow| flow.spec().name == *name)
    }

    /// Looks at the queue and the store themselves: reachable, version, settings that would lose data.
    pub async fn check_backings(&self) -> Vec<Check> {
        self.backings.check().await
    }
}

/// Builds everything. Reaches for nothing over the network: RabbitMQ, Redis and the upstreams are connected on
/// first use.
///
/// # Errors
/// The embedded directory cannot be used, or an address is none.
pub fn build(
    config: &Config,
    role: Role,
    meter: Arc<dyn Meter>,
    clock: Arc<dyn Clock>,
) -> Result<Parts, PortError> {
    let backings = backings::Backings::open(config, role, clock.clone())?;
    let (queue, state) = (backings.queue(), backings.state());
    let vault = secrets::build(config, state.clone())?;
    let mut flows: Vec<Arc<dyn Flow>> = Vec::new();
    let crm = config.connector.espocrm.as_ref();
    let crm =
        crm.map(|crm| parties::espocrm(crm, state.clone(), meter.clone(), clock.clone())).transpose()?;
    let (its_state, its_meter, its_clock) = (state.clone(), meter.clone(), clock.clone());
    let parties = parties::build(config, crm.as_ref(), its_state, vault.clone(), its_meter, its_clock)?;
    flows.extend(parties);
    let accounts = accounts::build(config, vault.clone(), meter.clone(), clock.clone())?;
    let connecting = accounts::connecting(config, &accounts)?;
    if let Some(crm) = crm {
        let beside = calendar::Beside {
            crm,
            accounts: accounts.clone(),
            connecting: connecting.clone(),
            secrets: vault.clone(),
            state: state.clone(),
            meter: meter.clone(),
            clock: clock.clone(),
        };
        flows.extend(calendar::build(config, beside)?);
    }
    let beside = directory::Beside {
        secrets: vault.clone(),
        state: state.clone(),
        meter: meter.clone(),
        clock: clock.clone(),
    };
    let directory = directory::build(config, &beside)?;
    flows.extend(directory.iter().map(|flow| Arc::clone(flow) as Arc<dyn Flow>));
    flows.extend(directory::relays(config, &beside)?);
    Ok(Parts { queue, state, vault, accounts, connecting, flows, directory, meter, clock, backings })
}
