//! The flow's settings, checked where they are taken.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use shared::retry::RetryPolicy;

use super::communications::kind::CommunicationsSettings;
use super::link::LookAgain;
use super::plan::Policy;

/// The settings of `parties`. The default is the configuration's.
#[derive(Debug, Clone)]
pub struct PartiesSettings {
    /// Entity type in EspoCRM.
    pub entity_type: String,
    /// Shards of its queue.
    pub shards: u16,
    /// When, and how often, a message is tried again.
    pub retry: RetryPolicy,
    /// Longest time of one run.
    pub run_time_max: Duration,
    /// Who wins where both sides changed a field to different values.
    pub policy: Policy,
    /// EspoCRM's salutations and Advoware's.
    pub salutations: BTreeMap<String, String>,
    /// Share of the records that a sweep may overwrite or tombstone, 0 to 1.
    pub mass_change_share_max: f64,
    /// Number of records up to which the share does not matter.
    pub mass_change_count_min: u32,
    /// Who is told where a record has no assigned user.
    pub notify_user_id: Option<String>,
    /// Records that a sweep reads in one request, at most 200.
    pub sweep_page_records_max: u16,
    /// Requests to Advoware an hour that looking again at unchanged records may cause.
    pub calls_per_hour_max: u32,
    /// Time until a run writes the status `syncing`.
    pub syncing_status_after: Duration,
    /// How often to look at a record that nobody reports a change of.
    pub look_again: LookAgain,
    /// Phone numbers and mail addresses; none leaves them alone on both sides.
    pub communications: Option<CommunicationsSettings>,
    /// Secrets of the webhooks, by webhook id.
    pub webhook_secrets: BTreeMap<String, SecretString>,
}

impl Default for PartiesSettings {
    fn default() -> Self {
        Self {
            entity_type: "CBeteiligte".to_owned(),
            shards: 16,
            retry: RetryPolicy::default(),
            run_time_max: Duration::from_secs(120),
            policy: Policy::default(),
            salutations: [("Mr.", "Herr"), ("Ms.", "Frau")].map(|(c, r)| (c.to_owned(), r.to_owned())).into(),
            mass_change_share_max: 0.2,
            mass_change_count_min: 50,
            notify_user_id: None,
            sweep_page_records_max: 200,
            calls_per_hour_max: 2_000,
            syncing_status_after: Duration::from_secs(2),
            look_again: LookAgain::default(),
            communications: Some(CommunicationsSettings::default()),
            webhook_secrets: BTreeMap::new(),
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Not usable as an entity type, a user's id, a webhook's id, or the flow's name.
    #[error("flow.parties.{key}: {why}")]
    Value {
        /// The configuration key, without its section.
        key: &'static str,
        /// What is wrong with its value.
        why: String,
    },
}

impl SettingsError {
    pub(super) fn new(key: &'static str, why: impl ToString) -> Self {
        Self::Value { key, why: why.to_string() }
    }
}
