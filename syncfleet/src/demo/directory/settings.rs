//! The configuration of the demo of a directory: a file as an operator would write it.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use simulators::wecom::WecomCallback;
use simulators::{ScimOptions, WecomOptions};

use super::super::settings::keep_secret;

/// What the configuration depends on.
#[derive(Debug, Clone)]
pub(super) struct Settings<'a> {
    /// The demo's directory.
    pub(super) dir: &'a Path,
    /// Where the simulated WeCom is.
    pub(super) wecom: &'a str,
    /// Where the simulated SCIM service is.
    pub(super) scim: &'a str,
    /// Where callbacks come in.
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
        let (wecom, callback) = (WecomOptions::default(), WecomCallback::new(""));
        for (name, secret) in [
            ("wecom_app_secret", &wecom.app_secret),
            ("wecom_contact_sync_secret", &wecom.contact_sync_secret),
            ("wecom_callback_token", &callback.token),
            ("wecom_callback_key", &callback.encoding_aes_key),
            ("scim_token", &ScimOptions::default().token),
        ] {
            keep_secret(&secrets.join(name), secret)?;
        }
        let path = self.dir.join("syncfleet.toml");
        fs::write(&path, self.text(&wecom.corp_id))?;
        Ok(path)
    }

    /// Callbacks bring what happens within a second.
    fn text(&self, corp_id: &str) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let secret = |name: &str| quoted(&format!("file:{}", self.dir.join("secrets").join(name).display()));
        format!(
            r#"# Made by `syncfleet demo directory` for its simulated systems. While it runs, try:
#   syncfleet --config {file} directory status

embedded.dir = {data}
worker.name = "demo-worker"
producer = {{ name = "demo-producer", webhook_listen = "{public}" }}
operations.listen = "{metrics}"

[connector.wecom]
corp_id = {corp_id}
app_secret = {app_secret}
contact_sync_secret = {contact_sync_secret}
callback_token = {callback_token}
callback_encoding_aes_key = {callback_key}
api_url = {wecom}
requests_per_second_max = 1000
concurrency_max = 32
breaker_pause_seconds = 1

[connector.scim]
url = {scim}
token = {scim_token}
requests_per_second_max = 1000
concurrency_max = 32
breaker_pause_seconds = 1

[flow.directory]
enabled = true
# Each night in life: of a renamed department WeCom says nothing.
sweep_cron = "*/10 * * * * *"
retry_delay_initial_seconds = 0.3
retry_delay_factor = 2.0
retry_delay_max_seconds = 2.0
"#,
            file = self.dir.join("syncfleet.toml").display(),
            data = quoted(&self.dir.join("data").to_string_lossy()),
            public = self.public,
            metrics = self.metrics,
            corp_id = quoted(corp_id),
            app_secret = secret("wecom_app_secret"),
            contact_sync_secret = secret("wecom_contact_sync_secret"),
            callback_token = secret("wecom_callback_token"),
            callback_key = secret("wecom_callback_key"),
            wecom = quoted(&format!("{}/cgi-bin/", self.wecom)),
            scim = quoted(self.scim),
            scim_token = secret("scim_token"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use configuration::Config;

    #[test]
    fn the_configuration_is_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let (public, metrics) = ("127.0.0.1:3".parse().unwrap(), "127.0.0.1:4".parse().unwrap());
        let (wecom, scim) = ("http://127.0.0.1:1", "http://127.0.0.1:2");
        let file = Settings { dir: dir.path(), wecom, scim, public, metrics }.write().unwrap();
        let config = Config::load(Some(&file), []).unwrap();
        assert!(config.flow.directory.is_some() && config.flow.parties.is_none());
        assert!(config.connector.wecom.unwrap().callback.is_some());
        assert!(crate::keys::open_to_others(&[dir.path().join("secrets/scim_token")]).is_empty());
    }
}
