//! The flow's settings.

use std::time::Duration;

use shared::record_key::FlowName;
use shared::retry::RetryPolicy;

use super::rules::Rules;

/// The settings of `directory`. The default is the configuration's.
#[derive(Debug, Clone)]
pub struct DirectorySettings {
    /// Shards of its queue.
    pub shards: u16,
    /// When, and how often, a message is tried again.
    pub retry: RetryPolicy,
    /// Longest time of one run.
    pub run_time_max: Duration,
    /// What the plans go by.
    pub rules: Rules,
    /// What they go by instead where the target says that it takes no groups in groups; none where the settings say how
    /// the tree is shown.
    pub unless_nested: Option<Rules>,
    /// Share of the target's records that one sweep may end, 0 to 1.
    pub mass_change_share_max: f64,
    /// Number of ends up to which the share does not matter.
    pub mass_change_count_min: u32,
    /// How long a lease of a run lasts without renewal: who was killed is waited for so long.
    pub lease_ttl: Duration,
    /// Members that the first sync handles at once.
    pub first_sync_concurrency_max: usize,
    /// Who is handed each verified callback unchanged: the flows of the relay.
    pub relays: Vec<FlowName>,
}

impl Default for DirectorySettings {
    fn default() -> Self {
        Self {
            shards: 16,
            retry: RetryPolicy::default(),
            run_time_max: Duration::from_secs(600),
            rules: Rules::default(),
            unless_nested: None,
            mass_change_share_max: 0.2,
            mass_change_count_min: 50,
            lease_ttl: Duration::from_secs(30),
            first_sync_concurrency_max: 16,
            relays: Vec::new(),
        }
    }
}
