//! Connecting an account: a signed link, the provider's consent page, and back with a code.

mod error;
mod link;
mod notice;
mod query;

use std::sync::Arc;
use std::time::Duration;

use http_client::SetupError;
use jiff::Timestamp;
use oauth2::{CsrfToken, PkceCodeChallenge, PkceCodeVerifier};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use shared::clock::{elapsed, later};
use shared::ports::state::{Expected, State, Write, Written};
use url::{Host, Url};
use uuid::Uuid;

pub use error::ConnectError;
use link::Link;
pub use notice::Notice;
use query::Outcome;

use crate::account::{AccountId, CrmUser, ProviderName};
use crate::accounts::Accounts;
use crate::error::{Meaning, meaning};
use crate::flight::is_over;
use crate::grant::{AccountSummary, Grant, Identity, Tokens};
use crate::store::{Secrets, Terms, VaultError};
use crate::token_endpoint::{Failure, TokenEndpoint};

/// Where sign-ins under way are kept, sealed; they end by themselves, and no key is rotated for them.
const PENDING: &str = "connect/pending/";
/// Where links are marked with which an account was connected.
const USED: &str = "connect/used/";
/// Where it is counted how often a link is opened.
const OPENED: &str = "connect/opened/";
/// How long a person may take at the provider. Codes live about ten minutes; signing in before takes its time.
const SIGN_IN_TIME_MAX: Duration = Duration::from_secs(15 * 60);
/// How often a link may be opened within that time.
const OPENED_MAX: u64 = 30;
/// Bytes of randomness in a `state` and in a cookie.
const RANDOM_BYTES: u32 = 32;

/// Leads persons through the consent of providers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connecting {
    accounts: Accounts,
    public_url: Arc<Url>,
}

/// What a browser that opened a link is answered: a redirect (302) that is not stored.
#[derive(Debug, Clone)]
pub struct Begun {
    /// Where to.
    pub location: Url,
    /// The value of `Set-Cookie`: it ties the sign-in to this browser.
    pub set_cookie: String,
}

/// An account that was connected.
#[derive(Debug, Clone)]
pub struct Connected {
    /// Which.
    pub account: AccountId,
    /// How it stands now.
    pub summary: AccountSummary,
    /// Who signed in, where the provider says so.
    pub identity: Option<Identity>,
    /// What was asked for and not granted: to be said to the person, who may connect once more.
    pub missing_scopes: Vec<String>,
    /// How it stood before.
    pub before: Before,
}

/// How an account stood before it was connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// It was not connected.
    New,
    /// It was connected.
    Connected {
        /// It had to be connected again: what waits for it goes on now.
        was_over: bool,
        /// Somebody else had signed in. What is linked belongs to another mailbox.
        other_identity: bool,
    },
}

/// A sign-in under way, as it is sealed.
#[derive(Serialize, Deserialize)]
struct Pending {
    account: AccountId,
    verifier: String,
    /// Hash of the cookie.
    browser: String,
    link: String,
    link_left_seconds: u64,
    begun_at: Timestamp,
}

impl Connecting {
    /// `public_url` is where browsers reach this installation, as configured: nothing is ever taken from a request.
    ///
    /// # Errors
    /// [`SetupError::Address`] where it is unusable, or neither https nor this very machine.
    pub fn new(accounts: Accounts, public_url: &Url) -> Result<Self, SetupError> {
        let public_url = http_client::base_url(public_url)?;
        if public_url.scheme() != "https" && !is_this_machine(&public_url) {
            let what =
                "must begin with https://, since providers send no one back to another (but to localhost)";
            return Err(SetupError::Address(what.to_owned()));
        }
        Ok(Self { accounts, public_url: Arc::new(public_url) })
    }

    /// The accounts.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// The address to register with the provider, to which it sends browsers back.
    pub fn redirect_url(&self, provider: &ProviderName) -> Url {
        let mut url = Url::clone(&self.public_url);
        url.set_path(&format!("{}connect/{provider}/callback", self.public_url.path()));
        url
    }

    /// A link with which a person connects an account of this CRM user. It is good for `life`, seven days at most, and
    /// until an account was connected with it. Whoever has it connects an account of their own: it goes to the user
    /// alone.
    ///
    /// # Errors
    /// [`ConnectError::UnknownProvider`]; [`ConnectError::Unavailable`] where there is no key.
    pub fn link(
        &self,
        provider: &ProviderName,
        user: &CrmUser,
        life: Duration,
        now: Timestamp,
    ) -> Result<Url, ConnectError> {
        self.endpoint(provider)?;
        let expires = later(now, life.min(link::LIFE_MAX));
        Ok(link::make(self.secrets(), &self.public_url, provider, user, expires)?)
    }

    /// `GET /connect/{provider}?…`: somebody opened a link. `query` is as it came, without the question mark.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn begin(&self, provider: &str, query: &str) -> Result<Begun, ConnectError> {
        let provider = ProviderName::new(provider).map_err(|_| ConnectError::UnknownProvider)?;
        let endpoint = self.endpoint(&provider)?;
        let now = self.accounts.0.now();
        let link = link::read(self.secrets(), &provider, query, now)?;
        if self.state().get(&format!("{USED}{}", link.id)).await.map_err(VaultError::Store)?.is_some() {
            return Err(ConnectError::LinkUsed);
        }
        let opened = self.state().count(&format!("{OPENED}{}", link.id), 1, SIGN_IN_TIME_MAX).await;
        if opened.map_err(VaultError::Store)? > OPENED_MAX {
            return Err(ConnectError::TooOften);
        }
        let claims = self.claims(&link.account).await;
        let state = CsrfToken::new_random_len(RANDOM_BYTES).into_secret();
        let cookie = CsrfToken::new_random_len(RANDOM_BYTES).into_secret();
        let (_, verifier) = PkceCodeChallenge::new_random_sha256();
        let location =
            endpoint.authorize_url(&self.redirect_url(&provider), &state, &verifier, claims.as_deref());
        self.keep_pending(&state, &pending(&link, &verifier, &cookie, now)).await?;
        Ok(Begun { location, set_cookie: self.set_cookie(&provider, &cookie) })
    }

    /// `GET /connect/{provider}/callback?…`: a provider sent a browser back. `query` and `cookies` are as they came.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn finish(
        &self,
        provider: &str,
        query: &str,
        cookies: Option<&str>,
    ) -> Result<Connected, ConnectError> {
        let provider = ProviderName::new(provider).map_err(|_| ConnectError::UnknownProvider)?;
        let endpoint = self.endpoint(&provider)?;
        let callback = query::callback(query)?;
        let pending = self.take_pending(&callback.state).await?;
        let now = self.accounts.0.now();
        if pending.account.provider != provider || elapsed(pending.begun_at, now) >= SIGN_IN_TIME_MAX {
            return Err(ConnectError::UnknownState);
        }
        let cookie = cookies.and_then(|header| query::cookie(header, &self.cookie_name(&provider)));
        if cookie.map(hash) != Some(pending.browser.clone()) {
            return Err(ConnectError::OtherBrowser);
        }
        let code = match callback.outcome {
            Outcome::Code(code) => code,
            Outcome::Refused(word) => return Err(query::refusal(&word)),
        };
        // From here on the link is used, unless this fails: of two sign-ins with one link one connects.
        let used = self.use_up(&pending).await?;
        let connected = self.redeem(endpoint, pending, &code, now).await;
        if connected.is_err()
            && let Err(error) = self.state().write(Write::delete(&used)).await
        {
            tracing::debug!("A link stays used though nothing was connected with it: {error}.");
        }
        connected
    }

    async fn redeem(
        &self,
        endpoint: &TokenEndpoint,
        pending: Pending,
        code: &str,
        now: Timestamp,
    ) -> Result<Connected, ConnectError> {
        let verifier = PkceCodeVerifier::new(pending.verifier);
        let redirect = self.redirect_url(&pending.account.provider);
        let tokens = endpoint.redeem(code, verifier, &redirect).await.map_err(|failure| match failure {
            Failure::Fault(fault) => ConnectError::ProviderFailed(fault.text),
            Failure::Refused(refusal) => match meaning(&refusal) {
                Meaning::Reconnect { .. } => ConnectError::NotAccepted,
                Meaning::Operator => ConnectError::Operator(endpoint.misconfigured(&refusal)),
                Meaning::Retry | Meaning::Pause => ConnectError::ProviderFailed(refusal.to_string()),
            },
        })?;
        if tokens.refresh.is_none() {
            return Err(ConnectError::Operator(format!(
                "{} gave no refresh token, without which an account ends within the hour: check the scopes and \
                 authorize_parameters of this provider (offline_access, access_type=offline, prompt=consent)",
                endpoint.provider.label
            )));
        }
        self.store(endpoint, pending.account, &tokens, now).await
    }

    /// A person's consent is newer than everything there is.
    async fn store(
        &self,
        endpoint: &TokenEndpoint,
        account: AccountId,
        tokens: &Tokens,
        now: Timestamp,
    ) -> Result<Connected, ConnectError> {
        let grant = Grant::new(account.clone(), Uuid::new_v4(), tokens, &endpoint.provider.scopes, now);
        let before = match self.accounts.0.read(&account).await {
            Ok(before) => before.map(|(grant, _)| grant),
            // What cannot be opened any more is replaced by what can.
            Err(VaultError::OtherKey { .. } | VaultError::Damaged(_)) => None,
            Err(error) => return Err(error.into()),
        };
        self.accounts.0.put(&grant, Expected::Any).await?;
        let before = before.map_or(Before::New, |before| Before::Connected {
            was_over: is_over(&before.state),
            other_identity: match (&before.identity, &grant.identity) {
                (Some(before), Some(now)) => before.subject != now.subject,
                (Some(_), None) | (None, _) => false,
            },
        });
        let missing_scopes = endpoint.provider.missing(&grant.scopes);
        tracing::info!(account = %account, missing_scopes = missing_scopes.len(), "An account was connected.");
        let summary = grant.about();
        Ok(Connected { account, summary, identity: grant.identity, missing_scopes, before })
    }

    async fn keep_pending(&self, state: &str, pending: &Pending) -> Result<(), ConnectError> {
        let place = format!("{PENDING}{}", hash(state));
        let text = serde_json::to_string(pending).map_err(|_| VaultError::Damaged(place.clone()))?;
        let terms = Terms { time_to_live: Some(SIGN_IN_TIME_MAX), ..Terms::default() };
        self.secrets().put_at(&place, &SecretString::from(text), terms).await?;
        Ok(())
    }

    /// The sign-in of a `state`, which is used up by this.
    async fn take_pending(&self, state: &str) -> Result<Pending, ConnectError> {
        let place = format!("{PENDING}{}", hash(state));
        let found = match self.secrets().read_at(&place).await {
            Ok(found) => found,
            Err(VaultError::OtherKey { .. } | VaultError::Damaged(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let found = found.ok_or(ConnectError::UnknownState)?;
        let expected = Expected::Version(found.version);
        let deleted = self.state().write(Write { expected, ..Write::delete(&place) }).await;
        match deleted.map_err(VaultError::Store)? {
            Written::Done(_) => {}
            Written::Clash => return Err(ConnectError::UnknownState),
        }
        serde_json::from_str(found.secret.expose_secret()).map_err(|_| ConnectError::UnknownState)
    }

    /// Marks the link as used, for as long as it would be good; answers the mark's place.
    async fn use_up(&self, pending: &Pending) -> Result<String, ConnectError> {
        let place = format!("{USED}{}", pending.link);
        let left = Duration::from_secs(pending.link_left_seconds.max(1));
        let write = Write {
            expected: Expected::Absent,
            time_to_live: Some(left.saturating_add(SIGN_IN_TIME_MAX)),
            ..Write::put(&place, b"1")
        };
        match self.state().write(write).await.map_err(VaultError::Store)? {
            Written::Done(_) => Ok(place),
            Written::Clash => Err(ConnectError::LinkUsed),
        }
    }

    /// What the next authorisation must prove, where the provider or an upstream said so.
    async fn claims(&self, account: &AccountId) -> Option<String> {
        self.accounts.0.read(account).await.ok()??.0.claims
    }

    fn endpoint(&self, provider: &ProviderName) -> Result<&TokenEndpoint, ConnectError> {
        self.accounts.0.endpoints.get(provider).ok_or(ConnectError::UnknownProvider)
    }

    fn secrets(&self) -> &Secrets {
        &self.accounts.0.secrets
    }

    fn state(&self) -> &dyn State {
        &*self.accounts.0.state
    }

    fn is_https(&self) -> bool {
        self.public_url.scheme() == "https"
    }

    /// With https no other host of the domain can set it.
    fn cookie_name(&self, provider: &ProviderName) -> String {
        let prefix = if self.is_https() { "__Host-" } else { "" };
        format!("{prefix}syncfleet-connect-{provider}")
    }

    fn set_cookie(&self, provider: &ProviderName, value: &str) -> String {
        let name = self.cookie_name(provider);
        let secure = if self.is_https() { "; Secure" } else { "" };
        let seconds = SIGN_IN_TIME_MAX.as_secs();
        // Lax: it comes along when the provider sends the browser back.
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}")
    }
}

fn pending(link: &Link, verifier: &PkceCodeVerifier, cookie: &str, now: Timestamp) -> Pending {
    Pending {
        account: link.account.clone(),
        verifier: verifier.secret().clone(),
        browser: hash(cookie),
        link: link.id.clone(),
        link_left_seconds: link.left.as_secs(),
        begun_at: now,
    }
}

fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
