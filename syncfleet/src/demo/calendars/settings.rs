//! The configuration of the demo of calendars: a file as an operator would write it.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::super::settings::{accounts, keep_provider_secrets, keep_secret};
use crate::simulators::Addresses;

/// What the configuration depends on.
#[derive(Debug, Clone)]
pub(super) struct Settings<'a> {
    /// The demo's directory.
    pub(super) dir: &'a Path,
    /// Where the simulated systems are.
    pub(super) systems: &'a Addresses,
    /// Where browsers and notifications come in.
    pub(super) public: SocketAddr,
    /// Where metrics are served.
    pub(super) metrics: SocketAddr,
}

impl Settings<'_> {
    /// Writes the secrets and the configuration; answers its path. Safe to repeat.
    ///
    /// # Errors
    /// As the file system's.
    pub(super) fn write(&self) -> io::Result<PathBuf> {
        let secrets = self.dir.join("secrets");
        fs::create_dir_all(&secrets)?;
        keep_secret(&secrets.join("espocrm_api_key"), simulators::espocrm::API_KEY)?;
        keep_secret(&secrets.join("espocrm_admin_password"), simulators::espocrm::ADMIN_PASSWORD)?;
        keep_provider_secrets(&secrets)?;
        let path = self.dir.join("syncfleet.toml");
        fs::write(&path, self.text())?;
        Ok(path)
    }

    /// Notifications bring what happens within a second; all is looked at again every few seconds beside that.
    fn text(&self) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let secret = |name: &str| quoted(&format!("file:{}", self.dir.join("secrets").join(name).display()));
        let mut text = format!(
            r#"# Made by `syncfleet demo calendars` for its simulated systems. While it runs, try:
#   syncfleet --config {file} status

embedded.dir = {data}
worker.name = "demo-worker"
producer = {{ name = "demo-producer", webhook_listen = "{public}" }}
operations.listen = "{metrics}"

[connector.espocrm]
url = {espocrm}
api_key = {api_key}
timeout_seconds = 5
breaker_pause_seconds = 1

[provision.espocrm]
admin_user = "admin"
admin_password = {admin_password}
webhook_url = "http://{public}"

[flow.calendar]
enabled = true
sweep_cron = "*/5 * * * * *"
retry_delay_initial_seconds = 0.5
retry_delay_factor = 2.0
retry_delay_max_seconds = 5.0
notify_user_id = {user}
"#,
            file = self.dir.join("syncfleet.toml").display(),
            data = quoted(&self.dir.join("data").to_string_lossy()),
            public = self.public,
            metrics = self.metrics,
            espocrm = quoted(&self.systems.espocrm),
            api_key = secret("espocrm_api_key"),
            admin_password = secret("espocrm_admin_password"),
            user = quoted(simulators::espocrm::PERSON_ID),
        );
        text.push_str(&accounts(self.dir, self.systems, self.public));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use configuration::Config;

    #[test]
    fn the_configuration_is_accepted() {
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
        let (public, metrics) = ("127.0.0.1:3".parse().unwrap(), "127.0.0.1:4".parse().unwrap());
        let file = Settings { dir: dir.path(), systems: &systems, public, metrics }.write().unwrap();
        let config = Config::load(Some(&file), []).unwrap();
        assert!(config.flow.calendar.is_some() && config.flow.parties.is_none());
        assert_eq!(config.accounts.unwrap().public_url.as_str(), "http://127.0.0.1:3/");
        let provision = Config::load_to_provision(Some(&file), []).unwrap().provision.unwrap();
        assert_eq!(provision.webhook_url.unwrap().as_str(), "http://127.0.0.1:3/");
        assert!(crate::keys::open_to_others(&[dir.path().join("secrets/espocrm_admin_password")]).is_empty());
    }
}
