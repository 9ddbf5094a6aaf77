//! The settings of one receiver.

use std::time::Duration;

use connector_wecom::Limits;
use shared::record_key::{FlowName, KeyError};
use shared::retry::RetryPolicy;
use url::Url;

/// What the names of these flows begin with.
pub const PREFIX: &str = "relay_";

/// The settings of one receiver.
#[derive(Debug, Clone)]
pub struct RelaySettings {
    /// Its name, such as `oa`: its flow is `relay_oa`.
    pub name: String,
    /// Where callbacks go.
    pub url: Url,
    /// Shards of its queue.
    pub shards: u16,
    /// When, and how often, a callback is tried again.
    pub retry: RetryPolicy,
    /// Longest time of one run.
    pub run_time_max: Duration,
    /// Limits of the receiver.
    pub limits: Limits,
}

impl RelaySettings {
    /// The name of its flow.
    ///
    /// # Errors
    /// For a name that is none.
    pub fn flow(&self) -> Result<FlowName, KeyError> {
        FlowName::new(format!("{PREFIX}{}", self.name))
    }
}
