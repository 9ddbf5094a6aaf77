//! The demo's configuration: a file as an operator would write it, with secrets in files beside it.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use simulators::{AdvowareOptions, GoogleOptions, MicrosoftOptions};

use super::systems::Webhook;
use crate::simulators::Addresses;

/// What the configuration depends on.
#[derive(Debug, Clone)]
pub struct Demo<'a> {
    /// The demo's directory.
    pub dir: &'a Path,
    /// Where the simulated systems are.
    pub systems: &'a Addresses,
    /// Where webhooks are taken.
    pub webhooks: SocketAddr,
    /// Where metrics are served.
    pub metrics: SocketAddr,
    /// The webhooks in EspoCRM.
    pub hooks: &'a [Webhook],
    /// How many parties there are.
    pub parties: u32,
}

impl Demo<'_> {
    /// Writes the secrets and the configuration; answers its path. Safe to repeat.
    ///
    /// # Errors
    /// As the file system's.
    pub fn write(&self) -> io::Result<PathBuf> {
        let secrets = self.dir.join("secrets");
        fs::create_dir_all(&secrets)?;
        let advoware = AdvowareOptions::default();
        keep_secret(&secrets.join("espocrm_api_key"), simulators::espocrm::API_KEY)?;
        keep_secret(&secrets.join("advoware_api_key"), &advoware.api_key)?;
        keep_secret(&secrets.join("advoware_password"), &advoware.password)?;
        keep_provider_secrets(&secrets)?;
        for hook in self.hooks {
            keep_secret(&secrets.join(&hook.id), &hook.secret)?;
        }
        let path = self.dir.join("syncfleet.toml");
        fs::write(&path, self.text(&advoware))?;
        Ok(path)
    }

    /// As often as two cores can look at so many, while people's edits wait to be found.
    fn look_again(&self) -> Duration {
        Duration::from_secs(4).max(Duration::from_millis(10) * self.parties)
    }

    /// Delays are short, and everything is looked at again after seconds, so that the demo takes no hours.
    fn text(&self, advoware: &AdvowareOptions) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let path = |name: &str| quoted(&self.dir.join(name).to_string_lossy());
        let secret = |name: &str| quoted(&format!("file:{}", self.dir.join("secrets").join(name).display()));
        let mut text = format!(
            r#"# Made by `syncfleet demo` for its simulated systems. With a demo that runs (--keep-running) try:
#   syncfleet --config {file} status

embedded.dir = {data}
worker.name = "demo-worker"
producer = {{ name = "demo-producer", webhook_listen = "{webhooks}" }}
operations.listen = "{metrics}"

[connector.espocrm]
url = {espocrm}
api_key = {espocrm_api_key}
timeout_seconds = 5
requests_per_second_max = 1000
concurrency_max = 16
breaker_pause_seconds = 1

[connector.advoware]
configurator_url = {configurator}
kanzlei = {kanzlei}
database = {database}
user = {user}
app_id = {app_id}
api_key = {advoware_api_key}
password = {advoware_password}
timeout_seconds = 5
requests_per_second_max = 1000
concurrency_max = 16
breaker_pause_seconds = 1

[flow.parties]
enabled = true
sweep_cron = "*/2 * * * * *"
retry_delay_initial_seconds = 0.3
retry_delay_factor = 2.0
retry_delay_max_seconds = 2.0
# Requests fail more often than in life, and each record is looked at every few seconds.
attempts_max = 8
look_again_hours_min = {look_again_hours:.4}
look_again_hours_max = {look_again_hours:.4}
calls_per_hour_max = 1_000_000
notify_user_id = {notify}
# Nearly everything is out of step at first, and nobody is asked.
mass_change_share_max = 1.0

[flow.parties.webhook_secrets]
"#,
            look_again_hours = self.look_again().as_secs_f64() / 3_600.0,
            file = self.dir.join("syncfleet.toml").display(),
            data = path("data"),
            webhooks = self.webhooks,
            metrics = self.metrics,
            espocrm = quoted(&self.systems.espocrm),
            espocrm_api_key = secret("espocrm_api_key"),
            configurator = quoted(&self.systems.advoware),
            kanzlei = quoted(&advoware.kanzlei),
            database = quoted(&advoware.database),
            user = quoted(&advoware.user),
            notify = quoted(simulators::espocrm::PERSON_ID),
            app_id = quoted(&advoware.app_id),
            advoware_api_key = secret("advoware_api_key"),
            advoware_password = secret("advoware_password"),
        );
        for hook in self.hooks {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{} = {}", quoted(&hook.id), secret(&hook.id));
        }
        text.push_str(&accounts(self.dir, self.systems, self.webhooks));
        text
    }
}

/// Keeps the secrets with which the simulated providers know us.
pub fn keep_provider_secrets(secrets: &Path) -> io::Result<()> {
    keep_secret(&secrets.join("microsoft_client_secret"), &MicrosoftOptions::default().client_secret)?;
    keep_secret(&secrets.join("google_client_secret"), &GoogleOptions::default().client_secret)
}

/// The simulated providers, where they run.
pub fn accounts(dir: &Path, systems: &Addresses, public: SocketAddr) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let secret = |name: &str| quoted(&format!("file:{}", dir.join("secrets").join(name).display()));
    let (Some(microsoft), Some(google)) = (&systems.microsoft, &systems.google) else { return String::new() };
    let google_at = |path: &str| quoted(&format!("{google}{path}"));
    format!(
        r#"
# With a demo that runs, `syncfleet --config {file} accounts connect microsoft USER` prints a link for the browser.
[accounts]
public_url = "http://{public}"

[provider.microsoft]
client_id = {microsoft_id}
client_secret = {microsoft_secret}
authority_url = {authority}
api_url = {graph}

[provider.google]
client_id = {google_id}
client_secret = {google_secret}
authorize_url = {authorize}
token_url = {token}
revoke_url = {revoke}
api_url = {calendar}
"#,
        file = dir.join("syncfleet.toml").display(),
        microsoft_id = quoted(&MicrosoftOptions::default().client_id),
        microsoft_secret = secret("microsoft_client_secret"),
        authority = quoted(microsoft),
        graph = quoted(&format!("{microsoft}/v1.0")),
        google_id = quoted(&GoogleOptions::default().client_id),
        google_secret = secret("google_client_secret"),
        authorize = google_at("/o/oauth2/v2/auth"),
        token = google_at("/token"),
        revoke = google_at("/revoke"),
        calendar = google_at("/calendar/v3"),
    )
}

/// Writes a secret where its owner alone reads it.
pub fn keep_secret(path: &Path, secret: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    writeln!(file, "{secret}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use configuration::Config;

    #[test]
    fn the_configuration_of_the_demo_is_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let systems = Addresses {
            pid: 1,
            espocrm: "http://127.0.0.1:1".into(),
            advoware: "http://127.0.0.1:2".into(),
            microsoft: Some("http://127.0.0.1:5".into()),
            google: Some("http://127.0.0.1:6".into()),
            wecom: Some("http://127.0.0.1:7".into()),
            scim: Some("http://127.0.0.1:8/scim/v2".into()),
        };
        let hooks = [Webhook { id: "6b00526cc80a09e94".into(), secret: "s".into() }];
        let (webhooks, metrics) = ("127.0.0.1:3".parse().unwrap(), "127.0.0.1:4".parse().unwrap());
        let demo =
            Demo { dir: dir.path(), systems: &systems, webhooks, metrics, hooks: &hooks, parties: 20_000 };
        let config = Config::load(Some(&demo.write().unwrap()), []).unwrap();
        assert!(config.provider.microsoft.is_some() && config.provider.google.is_some());
        assert_eq!(config.accounts.unwrap().public_url.as_str(), "http://127.0.0.1:3/");
        let parties = config.flow.parties.unwrap();
        assert!(parties.webhook_secrets.contains_key("6b00526cc80a09e94"));
        assert_eq!(config.producer.webhook_listen, Some(webhooks));
        assert_eq!(parties.look_again_max.as_secs(), 200);
        assert!(crate::keys::open_to_others(&[dir.path().join("secrets/espocrm_api_key")]).is_empty());
    }
}
