//! An installation of the flow `directory`: its settings and its programs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use assembly::{Parts, Role};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use shared::clock::SystemClock;
use shared::meter::NoMeter;
use simulators::wecom::WecomCallback;
use simulators::{ScimOptions, WecomOptions};
use system_tests::http::Http;
use system_tests::ports::free_port;
use system_tests::supervise::Folder;
use system_tests::{Backing, Program, RunningProgram, unique_name, wait};
use vault::Key;

use crate::servers::load;

const PATIENCE: Duration = Duration::from_secs(60);
const SETTINGS: &str = "syncfleet.toml";

/// A folder with settings, and where its programs listen.
pub struct Place {
    folder: Folder,
    /// Where callbacks come in.
    pub webhooks: SocketAddr,
    private: SocketAddr,
}

/// What an installation is connected with.
pub struct Systems<'a> {
    /// WeCom's base address.
    pub wecom: &'a str,
    /// The SCIM service's.
    pub scim: &'a str,
    /// Requests a second to it.
    pub per_second: u32,
}

impl Place {
    /// Writes the settings; `more` is added to them.
    pub fn new(backing: &Backing, systems: &Systems<'_>, more: &str) -> Self {
        let folder = Folder::new("directory").unwrap();
        let listen = || SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let place = Self { webhooks: listen(), private: listen(), folder };
        let backing = backing.settings(&unique_name("bench"), place.folder.path()).unwrap();
        std::fs::write(place.folder.join(SETTINGS), place.text(&backing, systems) + more).unwrap();
        place
    }

    fn text(&self, backing: &str, systems: &Systems<'_>) -> String {
        let (wecom, callback) = (WecomOptions::default(), WecomCallback::new(""));
        let secret = |name: &str, secret: &str| {
            let file = self.folder.join(name);
            std::fs::write(&file, secret).unwrap();
            format!("\"file:{}\"", file.display())
        };
        format!(
            r#"{backing}
[vault]
key = {vault}
[operations]
listen = "{private}"
[connector.wecom]
corp_id = "{corp_id}"
app_secret = {app_secret}
contact_sync_secret = {contact_sync_secret}
callback_token = {callback_token}
callback_encoding_aes_key = {callback_key}
api_url = "{wecom_url}/cgi-bin/"
requests_per_second_max = 1000
concurrency_max = 32
[connector.scim]
url = "{scim_url}/scim/v2"
token = {scim_token}
requests_per_second_max = {per_second}
concurrency_max = 32
[flow.directory]
enabled = true
sweep_cron = "0 0 1 1 *"
[producer]
webhook_listen = "{webhooks}"
"#,
            vault = secret("vault", Key::generate().expose_secret()),
            private = self.private,
            webhooks = self.webhooks,
            corp_id = wecom.corp_id,
            app_secret = secret("app_secret", &wecom.app_secret),
            contact_sync_secret = secret("contact_sync_secret", &wecom.contact_sync_secret),
            callback_token = secret("callback_token", &callback.token),
            callback_key = secret("callback_key", &callback.encoding_aes_key),
            scim_token = secret("scim_token", &ScimOptions::default().token),
            wecom_url = systems.wecom,
            scim_url = systems.scim,
            per_second = systems.per_second,
        )
    }

    /// Starts `producer` or `worker`, and waits until it says that it is ready.
    pub async fn start(&self, name: &str) -> RunningProgram {
        let program = Program::new(name).unwrap().args(["--config", SETTINGS]);
        let program = program.current_dir(self.folder.path()).start().unwrap();
        let (http, url) = (Http::new().unwrap(), format!("http://{}/readyz", self.private));
        wait::until("a program that is ready", PATIENCE, async || match http.get(&url).await {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err((other, program.log())),
        })
        .await;
        program
    }

    /// What a command of the operator's program prints as JSON.
    pub async fn command(&self, args: &[&str], patience: Duration) -> Value {
        let program = Program::new("syncfleet").unwrap().args(["--config", SETTINGS]).args(args);
        let mut program = program.current_dir(self.folder.path()).start().unwrap();
        program.wait_exit(patience).await.unwrap();
        let printed = program.complete_log(PATIENCE).await.unwrap();
        // It complains, if it does, before it prints.
        let json = printed.find('{').map_or("", |at| &printed[at..]);
        let read: Result<Value, _> = serde_json::from_str(json);
        assert!(read.is_ok(), "{args:?}: {printed}");
        read.unwrap()
    }

    /// Requests of the worker that a system let in, as it counts them.
    pub async fn requests_let_in(&self, system: &str) -> f64 {
        let url = format!("http://{}/metrics", self.private);
        let text = Http::new().unwrap().get(&url).await.unwrap().body;
        let label = format!("system=\"{system}\"");
        let counts = |line: &&str| {
            line.starts_with("syncfleet_upstream_requests_total{")
                && line.contains(&label)
                && !line.contains("outcome=\"throttled\"")
        };
        let value = |line: &str| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap();
        text.lines().filter(counts).map(value).sum()
    }

    /// Queue and state, as an operator's program has them.
    pub fn visit(&self) -> Parts {
        let config = load(&self.folder.join(SETTINGS));
        assembly::build(&config, Role::Visiting, Arc::new(NoMeter), Arc::new(SystemClock)).unwrap()
    }
}
