//! The company: address, secrets, tokens, limits, and the sending of a request.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_client::{Answer, Fleet, Limits, Redactor, Request, SetupError, Upstream, base_url};
use secrecy::{ExposeSecret as _, SecretString};
use shared::clock::Clock;
use shared::fault::Fault;
use shared::meter::Meter;
use shared::ports::state::State;
use shared::ports::token_source::TokenSource;
use shared::retry::{self, RetryPolicy};
use shared::settlement::UNAUTHORIZED_PAUSE;
use tokio::time::{Instant, sleep};
use url::Url;
use uuid::Uuid;

use crate::api::Api;
use crate::error::{self, Missing};
use crate::throttle::{Refusals, throttle};
use crate::tokens::{SETTINGS_PAUSE, Tokens};
use crate::{SIGN_IN_SYSTEM, Secret, TokenShelf};

/// Tries of a call that WeCom is too busy for, the first included.
const BUSY_TRIES_MAX: u32 = 3;

/// What is needed to read a company's contacts.
#[derive(Clone)]
pub struct Settings {
    /// The API's address: `https://qyapi.weixin.qq.com/cgi-bin/`, but for private deployments.
    pub url: Url,
    /// The company's id.
    pub corp_id: String,
    /// The secret of a self-built app.
    pub app_secret: Option<SecretString>,
    /// The secret of the contact sync.
    pub contact_sync_secret: Option<SecretString>,
    /// The limits of each interface with each secret, since WeCom counts interfaces each by itself; see [`default_limits`].
    pub limits: Limits,
    /// Where the processes of a fleet share these limits, and take turns to ask for tokens; without it both hold for this
    /// process.
    pub fleet: Option<Arc<dyn State>>,
    /// Where tokens are kept.
    pub shelf: Arc<dyn TokenShelf>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings({}, {}, ***)", self.url, self.corp_id)
    }
}

/// Limits below WeCom's own for each interface, which are 10,000 calls a minute and 150,000 an hour: 40 a second pass
/// neither, however long they go on. An answer with 10,000 members fits.
pub fn default_limits() -> Limits {
    Limits {
        requests_per_second_max: 40,
        concurrency_max: 8,
        answer_bytes_max: 32 * 1024 * 1024,
        deadline: Duration::from_secs(60),
        ..Limits::default()
    }
}

/// A company's contacts. Cheap to clone; clones share limits, breakers, pauses and tokens, and so does the fleet.
#[derive(Debug, Clone)]
pub struct WeCom(Arc<Inner>);

struct Inner {
    base: Url,
    app: Option<Access>,
    contact_sync: Option<Access>,
    started: Instant,
}

/// What a secret opens: its tokens, and the interfaces it may call. Each secret at an interface stands by itself, since the
/// one may be refused (its app has trusted addresses of its own) while the other is not.
struct Access {
    tokens: Tokens,
    lines: Vec<(Api, Line)>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.base)
    }
}

/// One interface, with its limits.
struct Line {
    upstream: Upstream,
    told: Mutex<Refusals>,
}

/// What a call came to that was neither refused nor hindered.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A good answer.
    Good(Answer),
    /// What the call names is not there, or not for us; with the fault for a call that names nothing.
    Missing(Missing, Fault),
}

impl WeCom {
    /// Sets up a company. Sends nothing.
    ///
    /// # Errors
    /// [`SetupError`] when the address or TLS is unusable, or neither secret is there.
    pub fn new(
        settings: &Settings,
        meter: Arc<dyn Meter>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let base = base_url(&settings.url)?;
        let corp_id = settings.corp_id.trim();
        if corp_id.is_empty() {
            return Err(SetupError::Credential(
                "WeCom's corp_id is empty; it stands under \"my company\"".to_owned(),
            ));
        }
        let secrets: Vec<SecretString> =
            settings.app_secret.iter().chain(&settings.contact_sync_secret).cloned().collect();
        if secrets.is_empty() {
            let what = "WeCom needs a secret: app_secret of a self-built app, contact_sync_secret, or both";
            return Err(SetupError::Credential(what.to_owned()));
        }
        let upstream = |system: &'static str, which: Secret| {
            let identity = [base.as_str(), corp_id, which.setting()];
            let fleet = settings.fleet.clone().map(|state| Fleet::new(state, system, &identity));
            Upstream::new(
                system,
                settings.limits,
                secrets.clone(),
                Arc::clone(&meter),
                Arc::clone(&clock),
                fleet,
            )
        };
        let access = |which: Secret, secret: &Option<SecretString>| {
            let Some(secret) = secret else { return Ok(None) };
            if secret.expose_secret().trim().is_empty() {
                return Err(SetupError::Credential(format!(
                    "WeCom's {which} is empty; copy it from the console"
                )));
            }
            let tokens = Tokens {
                upstream: upstream(SIGN_IN_SYSTEM, which)?,
                base: base.clone(),
                corp_id: corp_id.to_owned(),
                secret: secret.expose_secret().trim().to_owned().into(),
                shelf: Arc::clone(&settings.shelf),
                state: settings.fleet.clone(),
                name: shelf_name(&base, corp_id, which, secret),
                holder: Uuid::new_v4().simple().to_string(),
                meter: Arc::clone(&meter),
                turn: tokio::sync::Mutex::default(),
                started: Instant::now(),
            };
            let line = |api: Api| {
                Ok((api, Line { upstream: upstream(api.system(), which)?, told: Mutex::default() }))
            };
            let lines = Api::ALL.into_iter().filter(|api| api.secrets().contains(&which)).map(line);
            Ok(Some(Access { tokens, lines: lines.collect::<Result<_, SetupError>>()? }))
        };
        Ok(Self(Arc::new(Inner {
            app: access(Secret::App, &settings.app_secret)?,
            contact_sync: access(Secret::ContactSync, &settings.contact_sync_secret)?,
            started: Instant::now(),
            base,
        })))
    }

    /// Gives back what this process holds of the fleet's limits; see [`Upstream::leave`].
    pub async fn leave(&self) {
        for access in self.0.app.iter().chain(&self.0.contact_sync) {
            for (_, line) in &access.lines {
                line.upstream.leave().await;
            }
            access.tokens.upstream.leave().await;
        }
    }

    /// Whether a secret is in the settings.
    pub fn has(&self, secret: Secret) -> bool {
        self.access(secret).is_some()
    }

    fn access(&self, secret: Secret) -> Option<&Access> {
        match secret {
            Secret::App => self.0.app.as_ref(),
            Secret::ContactSync => self.0.contact_sync.as_ref(),
        }
    }

    /// Sends a request of an interface with the better of the secrets that may do it.
    pub(crate) async fn call(&self, api: Api, request: Request) -> Result<Reply, Fault> {
        let secrets = api.secrets();
        let Some(secret) = secrets.iter().find(|secret| self.has(**secret)) else {
            let named: Vec<_> = secrets.iter().map(|secret| secret.setting()).collect();
            return Err(lacking(&request.operation(), &named.join(" or ")));
        };
        self.call_with(api, *secret, request).await
    }

    /// Sends a request with the token of a secret: after a refused token once more with a new one; a few times where WeCom is
    /// busy. What it says of the company's limits and secrets is heeded by the whole fleet from here on.
    pub(crate) async fn call_with(&self, api: Api, secret: Secret, request: Request) -> Result<Reply, Fault> {
        let access = self.access(secret);
        let line =
            access.and_then(|access| access.lines.iter().find(|(of, _)| *of == api).map(|(_, line)| line));
        let (Some(Access { tokens, .. }), Some(line)) = (access, line) else {
            return Err(lacking(&request.operation(), secret.setting()));
        };
        let (mut renewed, mut tries) = (false, 1);
        loop {
            // Nobody's token is asked for while nothing can be sent with it.
            line.upstream.check_open(&request.operation())?;
            let token = tokens.token().await?;
            let sent = request.clone().secret_query("access_token", token.clone());
            let answer = line.upstream.send(&self.0.base, sent).await?;
            let redactor = Redactor::new(vec![token.clone(), tokens.secret.clone()]);
            let verdict = error::verdict(&answer, &redactor)?;
            let code = verdict.code;
            if code == 0 {
                line.told().over(self.0.started.elapsed());
                return Ok(Reply::Good(answer));
            }
            if error::is_of_the_token(code) && !renewed {
                renewed = true;
                tokens.refused(&token, None).await?;
                continue;
            }
            if error::is_busy(code) && tries < BUSY_TRIES_MAX {
                sleep(retry::delay(&busy_policy(), tries, None, fastrand::f64())).await;
                tries += 1;
                continue;
            }
            if let Some(throttle) = throttle(code) {
                let wait = line.told().wait(throttle, fastrand::f64(), self.0.started.elapsed());
                line.upstream.pause_throttled(wait, "WeCom asked for fewer calls");
                return Err(error::throttled(&answer, &verdict, wait));
            }
            let fault = error::fault(&answer, &verdict);
            if let Some(missing) = error::missing(code) {
                return Ok(Reply::Missing(missing, fault));
            }
            if error::is_of_the_token(code) {
                line.upstream.pause_refused(UNAUTHORIZED_PAUSE, &fault.text);
            } else if error::is_of_the_settings(code) {
                line.upstream.pause_refused(SETTINGS_PAUSE, &fault.text);
                // Made for the settings of before, it may go on failing when they are put right.
                tokens.refused(&token, None).await?;
            }
            return Err(fault);
        }
    }
}

impl Line {
    fn told(&self) -> MutexGuard<'_, Refusals> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reply {
    /// The answer to a call that names nothing in particular.
    pub(crate) fn good(self) -> Result<Answer, Fault> {
        match self {
            Self::Good(answer) => Ok(answer),
            Self::Missing(_, fault) => Err(fault),
        }
    }
}

/// Another secret has another place: nothing is used on after it was changed. The hash of 256 random bits shows nothing of
/// them.
fn shelf_name(base: &Url, corp_id: &str, which: Secret, secret: &SecretString) -> String {
    let identity = [base.as_str(), corp_id, which.setting(), secret.expose_secret()].join("\n");
    format!("wecom/{}", Uuid::new_v5(&Uuid::NAMESPACE_URL, identity.as_bytes()).simple())
}

fn lacking(operation: &str, settings: &str) -> Fault {
    let text = format!("{operation} needs a secret that the settings lack: set {settings} of WeCom.");
    Fault::permanent("secret_missing", text)
}

fn busy_policy() -> RetryPolicy {
    RetryPolicy {
        delay_initial: Duration::from_millis(200),
        delay_factor: 3.0,
        delay_max: Duration::from_secs(1),
        ..RetryPolicy::default()
    }
}

#[cfg(test)]
mod tests;
