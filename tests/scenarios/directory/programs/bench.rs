//! An installation with a directory: WeCom and a SCIM service in this process, a file of settings, the real programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use connector_wecom::callback::Receiver;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use simulators::wecom::WecomCallback;
use simulators::{ScimOptions, ScimSimulator, WecomOptions, WecomSimulator};
use system_tests::http::Http;
use system_tests::supervise::Folder;
use system_tests::{Backing, Kind, Member, unique_name, wait};
use vault::Key;

use super::super::shown::Shown;
use crate::SOON;
use crate::programs::{complained, json_of, printed, syncfleet};

/// The member that takes callbacks.
pub const PRODUCER: usize = 0;
/// No sweep comes in between: what arrives was told.
const NEVER: &str = "0 0 0 1 1 *";
/// How often callbacks are sent.
const NEWS_INTERVAL: Duration = Duration::from_millis(100);
const SHOWN_LINES: usize = 60;

pub struct Bench {
    pub folder: Folder,
    pub wecom: WecomSimulator,
    pub scim: ScimSimulator,
    pub members: Vec<Member>,
    pub http: Http,
    /// Where callbacks go.
    pub callback_url: String,
}

/// Callbacks that come in another order, some of them twice.
fn callback(url: &str) -> WecomCallback {
    WecomCallback {
        shuffled: true,
        at_once: 8,
        doubled_probability: 0.2,
        retry_delay: Duration::from_secs(1),
        ..WecomCallback::new(url)
    }
}

fn secrets() -> [(&'static str, String); 6] {
    let (wecom, callback) = (WecomOptions::default(), WecomCallback::new(""));
    [
        ("app", wecom.app_secret),
        ("sync", wecom.contact_sync_secret),
        ("token", callback.token),
        ("key", callback.encoding_aes_key),
        ("scim", ScimOptions::default().token),
        ("vault", Key::generate().expose_secret().to_owned()),
    ]
}

/// What takes and makes callbacks of a company.
pub fn receiver(corp_id: &str) -> Receiver {
    let callback = WecomCallback::new("");
    let (token, key) = (SecretString::from(callback.token), SecretString::from(callback.encoding_aes_key));
    Receiver::new(&token, &key, corp_id).unwrap()
}

impl Bench {
    /// The systems and the programs; nothing is started yet. `relays` are names and addresses of those who get callbacks too.
    pub async fn new(backing: &Backing, kinds: &[Kind], relays: &[(&str, &str)]) -> Self {
        Self::called(backing, kinds, relays, callback).await
    }

    /// One whose callbacks come in their order, and once.
    pub async fn orderly(backing: &Backing, kinds: &[Kind]) -> Self {
        Self::called(backing, kinds, &[], WecomCallback::new).await
    }

    async fn called(
        backing: &Backing,
        kinds: &[Kind],
        relays: &[(&str, &str)],
        callback: fn(&str) -> WecomCallback,
    ) -> Self {
        let http = Http::new().unwrap();
        let mut members: Vec<Member> =
            kinds.iter().enumerate().map(|(at, kind)| Member::new(*kind, at + 1).unwrap()).collect();
        let callback_url = format!("{}/webhooks/directory", members[PRODUCER].webhook_url().unwrap());
        let options = WecomOptions {
            callback: Some(callback(&callback_url)),
            delivery_interval: Some(NEWS_INTERVAL),
            ..WecomOptions::default()
        };
        let wecom = WecomSimulator::start(options).await.unwrap();
        let scim = ScimSimulator::start(ScimOptions::default()).await.unwrap();
        let folder = Folder::new("directory").unwrap();
        let secrets = secrets();
        for (name, secret) in &secrets {
            let path = folder.join(name);
            std::fs::write(&path, secret).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        for member in &mut members {
            member.configure(folder.path(), &[], &[]);
            member.change(|program| {
                secrets.iter().fold(program, |program, (_, secret)| program.watch_for(secret))
            });
        }
        let backing = backing.settings(&unique_name("directory"), folder.path()).unwrap();
        let bench = Self { folder, wecom, scim, members, http, callback_url };
        bench.write_settings(&backing, relays);
        bench
    }

    fn write_settings(&self, backing: &str, relays: &[(&str, &str)]) {
        let secret = |name: &str| format!("\"file:{}\"", self.folder.join(name).display());
        let mut settings = format!(
            r#"{backing}
[vault]
key = {vault}
[worker]
lease_seconds = 3
member_seconds = 3
drain_seconds = 10
[producer]
lease_seconds = 3
drain_seconds = 10
[connector.wecom]
corp_id = "{corp_id}"
app_secret = {app}
contact_sync_secret = {sync}
callback_token = {token}
callback_encoding_aes_key = {key}
api_url = "{wecom}/cgi-bin/"
requests_per_second_max = 1000
concurrency_max = 32
breaker_pause_seconds = 1
[connector.scim]
url = "{scim}"
token = {scim_token}
requests_per_second_max = 1000
concurrency_max = 32
breaker_pause_seconds = 1
[flow.directory]
enabled = true
sweep_cron = "{NEVER}"
retry_delay_initial_seconds = 0.2
retry_delay_factor = 2.0
retry_delay_max_seconds = 2.0
"#,
            corp_id = WecomOptions::default().corp_id,
            vault = secret("vault"),
            app = secret("app"),
            sync = secret("sync"),
            token = secret("token"),
            key = secret("key"),
            wecom = self.wecom.base_url(),
            scim = self.scim.service_url(),
            scim_token = secret("scim"),
        );
        // As many at once as there are: none waits for a place at the one that does not answer.
        for (name, url) in relays {
            write!(
                settings,
                "[flow.directory.relay.{name}]\nurl = \"{url}\"\ntimeout_seconds = 90\nattempts_max = 10\n\
                 retry_delay_initial_seconds = 0.2\nretry_delay_max_seconds = 2.0\nrequests_per_second_max = 1000\n\
                 concurrency_max = 256\nbreaker_pause_seconds = 1\n"
            )
            .unwrap();
        }
        std::fs::write(self.folder.join("syncfleet.toml"), settings).unwrap();
    }

    /// Starts all programs, and waits until each says that it is ready.
    pub async fn start(&mut self) {
        for member in &mut self.members {
            member.start().unwrap();
        }
        self.ready().await;
    }

    /// Waits until each program says that it is ready.
    pub async fn ready(&self) {
        for member in &self.members {
            let address = format!("{}/readyz", member.private_url());
            wait::until(&format!("readiness of {}", member.name()), SOON, async || {
                match self.http.get(&address).await {
                    Ok(answer) if answer.status == 200 => Ok(()),
                    other => Err(other),
                }
            })
            .await;
        }
    }

    /// Lets all programs end in their own way.
    pub async fn drain(&mut self) {
        for member in &mut self.members {
            member.drain().await.unwrap();
        }
    }

    /// An operator's command that ends well, and what it prints.
    pub async fn said(&self, args: &[&str]) -> String {
        let output = syncfleet(self.folder.path(), args).await;
        assert_eq!(
            output.status.code(),
            Some(0),
            "{args:?}: {}{}\n{}",
            printed(&output),
            complained(&output),
            self.logs()
        );
        printed(&output)
    }

    /// The same, as JSON.
    pub async fn told(&self, args: &[&str]) -> Value {
        let output = syncfleet(self.folder.path(), &[args, &["--json"]].concat()).await;
        json_of(&output)
    }

    /// Messages that wait for a flow.
    pub async fn waiting(&self, flow: &str) -> u64 {
        let status = self.told(&["status"]).await;
        let all = status["flows"].as_array().unwrap();
        let own = all.iter().find(|own| own["flow"] == *flow);
        let own = own.unwrap_or_else(|| panic!("{flow}: {status:#}"));
        own["ready"].as_u64().unwrap() + own["delayed"].as_u64().unwrap()
    }

    /// Writes of ours so far.
    pub fn writes(&self) -> usize {
        self.scim.journal().len()
    }

    /// What is not in the SCIM service as WeCom has it.
    pub fn differences(&self) -> Vec<String> {
        let wanted = Shown::wanted(&self.wecom.records());
        let shown = Shown::of_scim(&self.scim.records());
        let still_in = |id: &String| !wanted.users.contains_key(id) && shown.users[id].active;
        let leavers: Vec<String> =
            shown.users.keys().filter(|id| still_in(id)).map(|id| format!("{id} may still log in")).collect();
        if leavers.is_empty() { shown.without_leavers(&wanted).differences(&wanted) } else { leavers }
    }

    /// Waits until the SCIM service holds what WeCom does.
    pub async fn agreed(&self, what: &str) {
        let agreed = wait::try_until(what, SOON, async || {
            let mut differences = self.differences();
            differences.truncate(5);
            if differences.is_empty() { Ok(()) } else { Err(differences) }
        });
        if let Err(error) = agreed.await {
            panic!("{}\n{error}", self.logs());
        }
    }

    /// The values of a counter of the flow, by outcome.
    pub async fn counted(&self, counter: &str) -> BTreeMap<String, u64> {
        let address = format!("{}/metrics", self.members[PRODUCER].private_url());
        let text = self.http.get(&address).await.unwrap().body;
        let begin = format!("{counter}{{flow=\"directory\",outcome=\"");
        let value = |line: &str| {
            let (outcome, value) = line.strip_prefix(&begin)?.split_once("\"} ")?;
            Some((outcome.to_owned(), value.parse().unwrap()))
        };
        text.lines().filter_map(value).collect()
    }

    /// The last lines of all programs, for a test that fails.
    pub fn logs(&self) -> String {
        let tail = |member: &Member| {
            let log = member.log();
            let skipped = log.lines().count().saturating_sub(SHOWN_LINES);
            let lines = log.lines().skip(skipped).map(|line| format!("{}: {line}\n", member.name()));
            lines.collect::<String>()
        };
        self.members.iter().map(tail).collect()
    }

    /// No program printed a secret, or what somebody is called.
    pub fn assert_discreet(&self) {
        let names = self.wecom.records().into_iter().filter_map(|record| {
            let is_member = !record["userid"].is_null();
            record["name"].as_str().filter(|_| is_member).map(str::to_owned)
        });
        let names: Vec<String> = names.collect();
        for member in &self.members {
            assert_eq!(member.printed(), std::collections::BTreeSet::new(), "{}", member.name());
            let log = member.log();
            for name in &names {
                assert!(!log.contains(name.as_str()), "{} prints {name}", member.name());
            }
        }
    }
}
