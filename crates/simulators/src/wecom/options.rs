//! What the simulated WeCom is like, and how a test changes that while it runs.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::host::Hosting;
use crate::upstream::Record;

/// Settings of the simulated WeCom. [`crate::Simulator::configure`] takes those that say so.
#[derive(Debug, Clone)]
pub struct WecomOptions {
    /// Where it listens.
    pub hosting: Hosting,
    /// The company.
    pub corp_id: String,
    /// Secret of the self-built app; to be configured, which ends its tokens.
    pub app_secret: String,
    /// Secret of the contact sync; to be configured, which ends its tokens.
    pub contact_sync_secret: String,
    /// Whether the app was made before 2022-06-20, and gets mobile, mail and their kin; to be configured.
    pub app_is_old: bool,
    /// Whether the contact sync is called from an address added before 2022-08-15, and may do all; to be configured.
    pub contact_sync_is_old: bool,
    /// Life of a token in seconds; to be configured.
    pub token_seconds: i64,
    /// Roots of what the app sees; the whole company where absent. To be configured, null is absent.
    pub visible: Option<Vec<u64>>,
    /// Departments that nobody sees, whatever is below them; to be configured.
    pub invisible: Vec<u64>,
    /// Whether the client's address is among the trusted ones; to be configured.
    pub trusted: bool,
    /// Calls of each interface in a minute before 45009; to be configured, null is no limit.
    pub calls_per_minute: Option<usize>,
    /// How long a minute of [`Self::calls_per_minute`] is; shorter where nobody wants to wait for one.
    pub minute: Duration,
    /// The same in an hour; the vendor names 10,000 and 150,000.
    pub calls_per_hour: Option<usize>,
    /// Calls under way at once before 45033.
    pub concurrency_max: usize,
    /// Seed of the order of lists; to be configured.
    pub order_seed: u64,
    /// Where and how callbacks go; none without.
    pub callback: Option<WecomCallback>,
    /// How often callbacks are sent; only on demand where absent.
    pub delivery_interval: Option<Duration>,
    /// Whether a company without departments begins with the sample.
    pub sample: bool,
}

impl Default for WecomOptions {
    fn default() -> Self {
        Self {
            hosting: Hosting::default(),
            corp_id: "ww1436e0e65a779aee".to_owned(),
            app_secret: "app-secret-of-the-simulated-wecom".to_owned(),
            contact_sync_secret: "sync-secret-of-the-simulated-wecom".to_owned(),
            app_is_old: false,
            contact_sync_is_old: false,
            token_seconds: 7_200,
            visible: None,
            invisible: Vec::new(),
            trusted: true,
            calls_per_minute: None,
            minute: Duration::from_secs(60),
            calls_per_hour: None,
            concurrency_max: 200,
            order_seed: 1,
            callback: None,
            delivery_interval: None,
            sample: false,
        }
    }
}

/// The one receiver of callbacks.
#[derive(Debug, Clone)]
pub struct WecomCallback {
    /// Its address, with a query of its own or without; to be configured as `callback_url`.
    pub url: String,
    /// The token.
    pub token: String,
    /// The EncodingAESKey.
    pub encoding_aes_key: String,
    /// Whether it was set up before 2022-08-15, and gets names and all; to be configured as `callback_is_old`.
    pub is_old: bool,
    /// Whether what happens makes events by itself; a test that gives its own says no. To be configured as `own_events`.
    pub own_events: bool,
    /// Whether events are sent in another order than they came, by the seed; to be configured as `shuffled`.
    pub shuffled: bool,
    /// Events on their way at the same time; to be configured as `at_once`.
    pub at_once: usize,
    /// Share of the events that is sent twice, 0 to 1; to be configured as `doubled_probability`.
    pub doubled_probability: f64,
    /// Share of the events that never comes, 0 to 1; to be configured as `lost_probability`.
    pub lost_probability: f64,
    /// Seed of these choices.
    pub seed: u64,
    /// Pause before an event is sent again.
    pub retry_delay: Duration,
}

impl WecomCallback {
    /// A receiver set up today, with the token and key of the test vectors.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            token: "hJqcu3uJ9Tn2gXPmxx2w9kkCkCE2EPYo".to_owned(),
            encoding_aes_key: "6qkdMrq68nTKduznJYO1A37W2oEgpkMUvkttRToqhUt".to_owned(),
            is_old: false,
            own_events: true,
            shuffled: false,
            at_once: 1,
            doubled_probability: 0.0,
            lost_probability: 0.0,
            seed: 1,
            retry_delay: Duration::from_millis(200),
        }
    }
}

/// An error that a test asks for: `POST /_control/errors`, one or an array.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForcedErrcode {
    /// Only this interface, such as `user/get`; all when absent, `gettoken` included.
    #[serde(default)]
    pub api: Option<String>,
    /// The errcodes, in turn.
    pub errcodes: Vec<i64>,
    /// How often; for ever when absent.
    #[serde(default)]
    pub times: Option<u32>,
}

impl WecomOptions {
    pub(super) fn set(&mut self, name: &str, value: &Value) -> Result<(), String> {
        let wrong = |what: &str| format!("{name} is no {what}");
        let flag = || value.as_bool().ok_or_else(|| wrong("flag"));
        let number = || value.as_u64().ok_or_else(|| wrong("number"));
        let share = || value.as_f64().ok_or_else(|| wrong("number"));
        let text = || value.as_str().map(str::to_owned).ok_or_else(|| wrong("text"));
        let ids = || {
            let list = value.as_array().ok_or_else(|| wrong("list"))?;
            list.iter()
                .map(|id| id.as_u64().ok_or_else(|| wrong("list of ids")))
                .collect::<Result<Vec<_>, _>>()
        };
        let calls = || {
            let calls = if value.is_null() { None } else { Some(number()?) };
            Ok::<_, String>(calls.and_then(|calls| usize::try_from(calls).ok()))
        };
        match name {
            "app_secret" => self.app_secret = text()?,
            "contact_sync_secret" => self.contact_sync_secret = text()?,
            "app_is_old" => self.app_is_old = flag()?,
            "contact_sync_is_old" => self.contact_sync_is_old = flag()?,
            "token_seconds" => self.token_seconds = i64::try_from(number()?).map_err(|_| wrong("number"))?,
            "visible" => self.visible = if value.is_null() { None } else { Some(ids()?) },
            "invisible" => self.invisible = ids()?,
            "trusted" => self.trusted = flag()?,
            "calls_per_minute" => self.calls_per_minute = calls()?,
            "calls_per_hour" => self.calls_per_hour = calls()?,
            "order_seed" => self.order_seed = number()?,
            _ => {
                let callback =
                    self.callback.as_mut().ok_or_else(|| format!("no setting {name}, or no callback"))?;
                match name {
                    "callback_url" => callback.url = text()?,
                    "callback_is_old" => callback.is_old = flag()?,
                    "own_events" => callback.own_events = flag()?,
                    "shuffled" => callback.shuffled = flag()?,
                    "at_once" => callback.at_once = calls()?.unwrap_or(1),
                    "doubled_probability" => callback.doubled_probability = share()?,
                    "lost_probability" => callback.lost_probability = share()?,
                    _ => return Err(format!("no setting {name}")),
                }
            }
        }
        Ok(())
    }

    pub(super) fn configure(&mut self, settings: &Record) -> Result<(), String> {
        let mut changed = self.clone();
        for (name, value) in settings {
            changed.set(name, value)?;
        }
        *self = changed;
        Ok(())
    }
}
