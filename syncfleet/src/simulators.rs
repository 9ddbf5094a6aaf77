//! `simulators`: hosts the simulated EspoCRM, Advoware, Microsoft, Google, WeCom and a SCIM service, for the demo and for trying things out.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use assembly::program::{EXIT_UNAVAILABLE, stop_on_signals};
use serde::{Deserialize, Serialize};
use simulators::wecom::WecomCallback;
use simulators::{
    AdvowareOptions, EspocrmOptions, GoogleOptions, Hosting, MicrosoftOptions, ScimOptions, ServeOptions,
    Served, WecomOptions, serve,
};

use crate::cli::SimulatorsArgs;
use crate::output::{self, Outcome, fail};

/// How often the simulated EspoCRM sends its webhooks; a real one does so every minute or less.
const WEBHOOK_INTERVAL: Duration = Duration::from_millis(200);
/// How often the simulated providers send their notifications.
const NOTIFICATION_INTERVAL: Duration = Duration::from_millis(500);
/// How long it waits before it sends a refused webhook again; 10 minutes in the real one.
const WEBHOOK_RETRY_DELAY: Duration = Duration::from_secs(2);
/// How long the simulated WeCom waits before it sends a callback again, twice at most.
const CALLBACK_RETRY_DELAY: Duration = Duration::from_secs(2);
/// Callbacks on their way at the same time.
const CALLBACKS_AT_ONCE: usize = 32;

/// Where a process that hosts the simulators can be found; kept in its directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// The process.
    pub pid: u32,
    /// EspoCRM's base address.
    pub espocrm: String,
    /// Advoware's base address.
    pub advoware: String,
    /// Microsoft's base address; a process of an earlier version had none.
    #[serde(default)]
    pub microsoft: Option<String>,
    /// Google's base address.
    #[serde(default)]
    pub google: Option<String>,
    /// WeCom's base address; its API is at `/cgi-bin/` below it.
    #[serde(default)]
    pub wecom: Option<String>,
    /// The SCIM service's address, as clients are given it.
    #[serde(default)]
    pub scim: Option<String>,
}

impl Addresses {
    /// What the last process said; none where there was none.
    pub fn load(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(file_of(dir)).ok()?).ok()
    }

    /// Replaces the file at once, so that no reader sees half of it.
    fn save(&self, dir: &Path) -> io::Result<()> {
        let new = dir.join("addresses.json.new");
        std::fs::write(&new, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(new, file_of(dir))
    }
}

fn file_of(dir: &Path) -> PathBuf {
    dir.join("addresses.json")
}

/// Runs the command.
pub async fn run(args: &SimulatorsArgs) -> Outcome {
    let lock = args.dir.as_deref().map(lock).transpose()?;
    let stop = stop_on_signals();
    let ready = |served: &Served| {
        let Served { espocrm, advoware, microsoft, google, wecom, scim } = served.clone();
        output::line(format!(
            "EspoCRM   {espocrm}\nAdvoware  {advoware}\nMicrosoft {microsoft}\nGoogle    {google}\nWeCom     {wecom}\nSCIM      {scim}"
        ));
        let (microsoft, google) = (Some(microsoft), Some(google));
        let (wecom, scim) = (Some(wecom), Some(scim));
        let addresses =
            Addresses { pid: std::process::id(), espocrm, advoware, microsoft, google, wecom, scim };
        if let Some(Err(error)) = args.dir.as_deref().map(|dir| addresses.save(dir)) {
            fail(EXIT_UNAVAILABLE, format!("the addresses cannot be written down: {error}"));
        }
    };
    let served = serve(options(args), ready, stop.cancelled()).await;
    drop(lock);
    served.map_err(|error| fail(EXIT_UNAVAILABLE, format!("the simulators cannot run: {error}")))?;
    Ok(ExitCode::SUCCESS)
}

/// One process per directory: two would write into each other's journal.
fn lock(dir: &Path) -> Result<File, ExitCode> {
    let cannot = |error: io::Error| {
        fail(EXIT_UNAVAILABLE, format!("directory {} cannot be used: {error}", dir.display()))
    };
    std::fs::create_dir_all(dir).map_err(cannot)?;
    let file = File::create(dir.join("lock")).map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let text = format!("simulators already run in {}", dir.display());
            Err(fail(EXIT_UNAVAILABLE, text))
        }
        Err(TryLockError::Error(error)) => Err(cannot(error)),
    }
}

/// The address to which a simulated provider sends browsers back.
pub fn redirect_url(public_url: &str, provider: &str) -> String {
    format!("{}/connect/{provider}/callback", public_url.trim_end_matches('/'))
}

/// Where the simulated WeCom sends its callbacks, unless it is told another address.
fn callback_url(public_url: &str) -> String {
    format!("{}/webhooks/directory", public_url.trim_end_matches('/'))
}

fn options(args: &SimulatorsArgs) -> ServeOptions {
    let hosting =
        |port| Hosting { address: Some(args.address), port, folder: args.dir.clone(), ..Hosting::default() };
    let callback = args.wecom_callback.clone().unwrap_or_else(|| callback_url(&args.public_url));
    ServeOptions {
        espocrm: EspocrmOptions {
            hosting: hosting(args.espocrm_port),
            webhook_interval: Some(WEBHOOK_INTERVAL),
            webhook_retry_delay: WEBHOOK_RETRY_DELAY,
            webhook_portion: 200,
            ..EspocrmOptions::default()
        },
        advoware: AdvowareOptions { hosting: hosting(args.advoware_port), ..AdvowareOptions::default() },
        microsoft: MicrosoftOptions {
            hosting: hosting(args.microsoft_port),
            redirect_uris: vec![redirect_url(&args.public_url, "microsoft")],
            notification_interval: Some(NOTIFICATION_INTERVAL),
            ..MicrosoftOptions::default()
        },
        google: GoogleOptions {
            hosting: hosting(args.google_port),
            redirect_uris: vec![redirect_url(&args.public_url, "google")],
            push_interval: Some(NOTIFICATION_INTERVAL),
            plain_http_channels: true,
            ..GoogleOptions::default()
        },
        wecom: WecomOptions {
            hosting: hosting(args.wecom_port),
            callback: Some(WecomCallback {
                retry_delay: CALLBACK_RETRY_DELAY,
                at_once: CALLBACKS_AT_ONCE,
                ..WecomCallback::new(&callback)
            }),
            delivery_interval: Some(NOTIFICATION_INTERVAL),
            sample: true,
            ..WecomOptions::default()
        },
        scim: ScimOptions { hosting: hosting(args.scim_port), ..ScimOptions::default() },
        exit_when_idle: args.idle.map(Duration::from_secs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_version_wrote_down_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let old = r#"{"pid": 7, "espocrm": "http://127.0.0.1:1", "advoware": "http://127.0.0.1:2"}"#;
        std::fs::write(file_of(dir.path()), old).unwrap();
        let found = Addresses::load(dir.path()).unwrap();
        assert_eq!((found.pid, found.microsoft.as_deref()), (7, None));
        let new = Addresses { microsoft: Some("http://127.0.0.1:3".into()), ..found };
        new.save(dir.path()).unwrap();
        assert_eq!(Addresses::load(dir.path()), Some(new));
    }

    #[test]
    fn browsers_are_sent_back_to_the_public_address() {
        let expected = "http://localhost:8080/connect/google/callback";
        for url in ["http://localhost:8080", "http://localhost:8080/"] {
            assert_eq!(redirect_url(url, "google"), expected);
            assert_eq!(callback_url(url), "http://localhost:8080/webhooks/directory");
        }
    }
}
