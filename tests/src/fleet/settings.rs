//! The file of settings of an installation under test, and the secrets it refers to.

use std::path::Path;

use simulators::AdvowareOptions;

use super::Webhook;
use crate::{HarnessError, Result};

/// Queue and state of an installation.
#[derive(Debug, Clone)]
pub enum Backing {
    /// One directory.
    Embedded,
    /// RabbitMQ and Redis.
    Servers {
        /// RabbitMQ's address, with password.
        rabbitmq: String,
        /// Redis' address.
        redis: String,
    },
}

impl Backing {
    /// The settings of queue and state; a file that they refer to is written into the folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn settings(&self, namespace: &str, folder: &Path) -> Result<String> {
        let (rabbitmq, redis) = match self {
            Self::Embedded => return Ok(format!("[embedded]\ndir = {:?}\n", folder.join("data"))),
            Self::Servers { rabbitmq, redis } => (rabbitmq, redis),
        };
        let without_password = rabbitmq.replace(&format!(":{RABBITMQ_PASSWORD}@"), "@");
        let password = folder.join("rabbitmq-password");
        write(&password, RABBITMQ_PASSWORD)?;
        Ok(format!(
            "[queue]\nkind = \"rabbitmq\"\n[queue.rabbitmq]\nurl = {without_password:?}\n\
             password = \"file:{}\"\nnamespace = {namespace:?}\nheartbeat_seconds = 2\n\
             [state]\nkind = \"redis\"\n[state.redis]\nurl = {redis:?}\nnamespace = {namespace:?}\n",
            password.display()
        ))
    }
}

/// What the settings are made of.
pub(super) struct Parts<'a> {
    /// Settings of queue and state.
    pub backing: &'a str,
    pub crm_url: String,
    pub advoware_url: String,
    pub advoware: &'a AdvowareOptions,
    pub webhooks: &'a [Webhook],
    pub has_wide_limits: bool,
}

/// The password of every RabbitMQ node of the harness.
const RABBITMQ_PASSWORD: &str = "guest";

impl Parts<'_> {
    /// Variables and what they hold. A server's password is no secret here: it is a word of everyday logs.
    pub fn secrets(&self) -> Vec<(String, String)> {
        let mut secrets = vec![
            ("TEST_ESPOCRM_API_KEY".to_owned(), simulators::espocrm::API_KEY.to_owned()),
            ("TEST_ADVOWARE_API_KEY".to_owned(), self.advoware.api_key.clone()),
            ("TEST_ADVOWARE_PASSWORD".to_owned(), self.advoware.password.clone()),
        ];
        let webhooks = self.webhooks.iter().map(|hook| (variable(hook), hook.secret.clone()));
        secrets.extend(webhooks);
        secrets
    }

    pub fn toml(&self) -> String {
        let Self { backing, crm_url, advoware_url, advoware, .. } = self;
        let AdvowareOptions { kanzlei, database, user, app_id, .. } = advoware;
        let hooks: String = self
            .webhooks
            .iter()
            .map(|hook| format!("{:?} = \"env:{}\"\n", hook.id, variable(hook)))
            .collect();
        let limits = if self.has_wide_limits { WIDE_LIMITS } else { "" };
        format!(
            r#"{backing}
[worker]
lease_seconds = 3
member_seconds = 3
drain_seconds = 10
[producer]
lease_seconds = 3
drain_seconds = 10
[connector.espocrm]
url = {crm_url:?}
api_key = "env:TEST_ESPOCRM_API_KEY"
{limits}
[connector.advoware]
configurator_url = {advoware_url:?}
kanzlei = {kanzlei:?}
database = {database:?}
user = {user:?}
app_id = {app_id:?}
api_key = "env:TEST_ADVOWARE_API_KEY"
password = "env:TEST_ADVOWARE_PASSWORD"
{limits}
[flow.parties]
enabled = true
sweep_cron = "*/2 * * * * *"
retry_delay_initial_seconds = 0.2
retry_delay_factor = 2.0
retry_delay_max_seconds = 2.0
mass_change_count_min = 1000000
look_again_hours_min = 0.001
look_again_hours_max = 0.003
calls_per_hour_max = 1000000
[flow.parties.webhook_secrets]
{hooks}"#
        )
    }
}

const WIDE_LIMITS: &str = "timeout_seconds = 5\nrequests_per_second_max = 1000\nconcurrency_max = 32\n\
                      breaker_pause_seconds = 1";

fn variable(webhook: &Webhook) -> String {
    format!("TEST_WEBHOOK_{}", webhook.id)
}

/// Writes a file of settings.
pub(super) fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text)
        .map_err(|error| HarnessError::new(format!("the settings are not written: {error}")))
}
