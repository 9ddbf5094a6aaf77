//! Access tokens of all accounts: what a caller gets, and when it waits for whom.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_client::{Limits, SetupError};
use secrecy::SecretString;
use shared::clock::{Clock, elapsed};
use shared::fault::Fault;
use shared::meter::Meter;
use shared::ports::state::{State, Write};
use shared::ports::token_source::TokenSource;
use shared::record_key::RecordKey;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::access_error::AccessError;
use crate::account::{AccountId, Holder, ProviderName};
use crate::error::CLAIMS_BYTES_MAX;
use crate::flight::{Flight, Occasion};
use crate::grant::{AccountSummary, Grant, GrantState};
use crate::provider::Provider;
use crate::refresh::{Decision, decide};
use crate::store::{Secrets, VaultError};
use crate::token_endpoint::TokenEndpoint;

/// First part of the place of every grant.
pub(crate) const GRANTS: &str = "vault/grant/";
/// Longest pause between two looks at what another process does.
const POLL_MAX: Duration = Duration::from_millis(500);
/// Flights for one caller; a token that is refused as soon as it is there would keep it for ever.
const FLIGHTS_MAX: u32 = 3;
/// Accounts whose callers' order is remembered before those without callers are forgotten.
const TURNS_MAX: usize = 1_000;

/// How long is waited for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// Longest time that a caller waits for a token.
    pub wait_max: Duration,
    /// First pause between two looks at what another process does; it grows.
    pub poll: Duration,
    /// How long one process alone may ask for an account's token. Must be longer than a request may take.
    pub lease: Duration,
    /// How long storing an answer is tried, which nobody else has.
    pub store_time_max: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            wait_max: Duration::from_secs(30),
            poll: Duration::from_millis(50),
            lease: Duration::from_secs(60),
            store_time_max: Duration::from_secs(60),
        }
    }
}

/// What accounts are set up with.
#[derive(Debug)]
pub struct AccountsSettings {
    /// Where grants are.
    pub secrets: Secrets,
    /// The providers, each with the limits of its token endpoint ([`crate::default_limits`]).
    pub providers: Vec<(Provider, Limits)>,
    /// How long is waited for what.
    pub waits: Waits,
    /// For metrics.
    pub meter: Arc<dyn Meter>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// The accounts of an installation. Cheap to clone.
#[derive(Clone)]
pub struct Accounts(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) secrets: Secrets,
    pub(crate) state: Arc<dyn State>,
    pub(crate) endpoints: BTreeMap<ProviderName, TokenEndpoint>,
    pub(crate) waits: Waits,
    pub(crate) meter: Arc<dyn Meter>,
    pub(crate) clock: Arc<dyn Clock>,
    /// This process among those that take leases.
    pub(crate) holder: Uuid,
    pub(crate) flights: AtomicU64,
    /// Flights under way.
    pub(crate) flying: TaskTracker,
    turns: Mutex<HashMap<AccountId, Turn>>,
}

type Turn = Arc<tokio::sync::Mutex<()>>;

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Accounts").field(&self.0.endpoints.keys()).finish()
    }
}

/// An account in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Which.
    pub account: AccountId,
    /// What is known of it without the key; nothing where its document is damaged.
    pub summary: Option<AccountSummary>,
}

/// What taking an account out came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoked {
    /// The provider took the grant back, and it is deleted here.
    AtProvider,
    /// Deleted here; the provider has no address for taking grants back, so its user ends it in the account's settings.
    HereOnly,
    /// There was none.
    Nothing,
}

/// What a caller finds.
enum Look {
    Use(SecretString),
    Soon(SecretString),
    Now,
}

impl Accounts {
    /// Sets up the accounts. Sends nothing.
    ///
    /// # Errors
    /// [`SetupError`] when TLS cannot be set up, or a provider is there twice.
    pub fn new(settings: AccountsSettings) -> Result<Self, SetupError> {
        let AccountsSettings { secrets, providers, waits, meter, clock } = settings;
        let state = Arc::clone(&secrets.state);
        let mut endpoints = BTreeMap::new();
        for (provider, limits) in providers {
            let name = provider.name.clone();
            let endpoint = TokenEndpoint::new(provider, limits, state.clone(), meter.clone(), clock.clone())?;
            if endpoints.insert(name.clone(), endpoint).is_some() {
                return Err(SetupError::Credential(format!("the provider {name} is configured twice")));
            }
        }
        Ok(Self(Arc::new(Inner {
            secrets,
            state,
            endpoints,
            waits,
            meter,
            clock,
            holder: Uuid::new_v4(),
            flights: AtomicU64::new(0),
            flying: TaskTracker::new(),
            turns: Mutex::default(),
        })))
    }

    /// The providers that are configured.
    pub fn providers(&self) -> impl Iterator<Item = &Provider> {
        self.0.endpoints.values().map(|endpoint| &*endpoint.provider)
    }

    /// For the end of a program: waits until the answers under way are stored, which nobody else has (bound it by what
    /// is left of the drain), and gives back what this process holds of the providers' limits.
    pub async fn leave(&self) {
        self.0.flying.close();
        self.0.flying.wait().await;
        for endpoint in self.0.endpoints.values() {
            endpoint.leave().await;
        }
    }

    /// An access token that is valid now. Asks for another one ahead of its end, once for the whole fleet, and waits
    /// for it where there is no valid one, at most [`Waits::wait_max`]. What the provider answers is stored before it
    /// is handed out, and also when the caller goes away meanwhile.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn access_token(&self, account: &AccountId) -> Result<SecretString, AccessError> {
        match self.0.look(account).await? {
            Look::Use(token) => Ok(token),
            Look::Soon(token) => self.0.renewed_soon(account, token).await,
            Look::Now => self.0.renewed_now(account).await,
        }
    }

    /// An upstream refused this token with 401. Where it is the present one, the next call of [`Self::access_token`]
    /// asks for another. `claims` is what the upstream wants that one to prove, as JSON or as base64.
    ///
    /// # Errors
    /// [`AccessError::Vault`].
    pub async fn refused(
        &self,
        account: &AccountId,
        token: &SecretString,
        claims: Option<&str>,
    ) -> Result<(), AccessError> {
        let claims = claims.and_then(read_claims);
        let now = self.0.now();
        let refused = |grant: &Grant| grant.refused(token, claims.as_deref(), now);
        self.0.change(account, None, None, &refused).await.map(|_| ())
    }

    /// Whether the grant works, found out by asking for a token whatever is known of it: one that was over may work
    /// again, such as when its user was enabled again.
    ///
    /// # Errors
    /// [`AccessError`], as [`Self::access_token`] says it afterwards.
    pub async fn check(&self, account: &AccountId) -> Result<AccountSummary, AccessError> {
        let _turn = self.0.turn(account).lock_owned().await;
        if self.0.fly(account, Occasion::Check).await? == Flight::Taken {
            return Err(AccessError::Busy { account: account.clone() });
        }
        let (grant, _) = self.0.read(account).await?.ok_or_else(|| not_connected(account))?;
        if let Some(retry) = &grant.retry {
            let after = elapsed(self.0.now(), retry.not_before);
            return Err(AccessError::Later { account: account.clone(), after, why: retry.why.clone() });
        }
        self.0.look(account).await.map(|_| grant.about())
    }

    /// The tokens of one account, for a connector. Where the account must be connected first, the fault parks the
    /// message under `awaited`, where one is given ([`AccessError::fault_parked_under`]).
    pub fn source(&self, account: AccountId, awaited: Option<RecordKey>) -> Arc<dyn TokenSource> {
        Arc::new(Source { accounts: self.clone(), account, awaited })
    }

    /// An account; nothing where it is not connected.
    ///
    /// # Errors
    /// [`AccessError::Vault`].
    pub async fn account(&self, account: &AccountId) -> Result<Option<AccountSummary>, AccessError> {
        Ok(self.0.read(account).await?.map(|(grant, _)| grant.about()))
    }

    /// The accounts behind `after`, in order, `limit` at most. Needs no key, and reads no token.
    ///
    /// # Errors
    /// [`AccessError::Vault`].
    pub async fn list(&self, after: Option<&AccountId>, limit: u32) -> Result<Vec<Listed>, AccessError> {
        let after = after.map(place);
        let page = self.0.secrets.abouts(GRANTS, after.as_deref(), limit).await?;
        let listed = page.into_iter().filter_map(|(place, about)| {
            let account = place.strip_prefix(GRANTS)?.parse().ok()?;
            let summary = about.and_then(|about| serde_json::from_value(about).ok());
            Some(Listed { account, summary })
        });
        Ok(listed.collect())
    }

    /// Says that the account's user was told that it must be connected again; answers whether this call did, so that
    /// of several that want to tell one does. Call it before telling to tell at most once, after it to tell at least
    /// once.
    ///
    /// # Errors
    /// [`AccessError::Vault`].
    pub async fn mark_told(&self, account: &AccountId) -> Result<bool, AccessError> {
        Ok(self.0.change(account, None, None, &Grant::told).await?.is_some())
    }

    /// Takes back [`Self::mark_told`], since the telling failed: the next one tells.
    ///
    /// # Errors
    /// [`AccessError::Vault`].
    pub async fn mark_untold(&self, account: &AccountId) -> Result<(), AccessError> {
        self.0.change(account, None, None, &Grant::untold).await.map(|_| ())
    }

    /// Takes an account out: the provider takes the grant back, where it has an address for that, and it is deleted.
    /// Where the provider fails the account is left as it is.
    ///
    /// # Errors
    /// [`AccessError`].
    pub async fn revoke(&self, account: &AccountId) -> Result<Revoked, AccessError> {
        for _ in 0..FLIGHTS_MAX {
            let (grant, version) = match self.0.read(account).await {
                Ok(Some(stored)) => stored,
                Ok(None) => return Ok(Revoked::Nothing),
                // Nobody will ever read it.
                Err(VaultError::Damaged(_)) => {
                    self.0.state.write(Write::delete(&place(account))).await?;
                    return Ok(Revoked::HereOnly);
                }
                Err(error) => return Err(error.into()),
            };
            let token = grant.refresh.as_ref().or(grant.access.as_ref().map(|access| &access.token));
            let mut at_provider = false;
            if let (Some(token), Some(endpoint)) = (token, self.0.endpoints.get(&account.provider)) {
                at_provider = endpoint.revoke(token).await.map_err(|fault| self.0.later(account, &fault))?;
            }
            if self.0.delete(account, version).await? {
                return Ok(if at_provider { Revoked::AtProvider } else { Revoked::HereOnly });
            }
            // Another token was had meanwhile: that one is to be taken back.
        }
        Err(AccessError::Busy { account: account.clone() })
    }
}

fn not_connected(account: &AccountId) -> AccessError {
    AccessError::NotConnected { account: account.clone() }
}

/// Claims as JSON, whichever way an upstream wrote them; what is neither, or too long, is left out.
fn read_claims(text: &str) -> Option<String> {
    let decoded = || String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok();
    let json = if text.trim_start().starts_with('{') { Some(text.to_owned()) } else { decoded() };
    json.filter(|json| json.len() <= CLAIMS_BYTES_MAX && json.trim_start().starts_with('{'))
}

/// Where an account's grant is kept.
pub(crate) fn place(account: &AccountId) -> String {
    format!("{GRANTS}{account}")
}

impl Inner {
    /// A time that is not earlier than the present one: a token's end must not be overlooked.
    pub(crate) fn now(&self) -> jiff::Timestamp {
        self.clock.at_latest()
    }

    pub(crate) fn endpoint(&self, provider: &ProviderName) -> Result<&TokenEndpoint, AccessError> {
        self.endpoints.get(provider).ok_or_else(|| AccessError::UnknownProvider(provider.clone()))
    }

    pub(crate) async fn read(&self, account: &AccountId) -> Result<Option<(Grant, u64)>, VaultError> {
        let place = place(account);
        let Some(opened) = self.secrets.read_at(&place).await? else { return Ok(None) };
        let damaged = || VaultError::Damaged(crate::store::name_of(&place));
        let grant = Grant::from_secret(&opened.secret).filter(|grant| grant.account == *account);
        Ok(Some((grant.ok_or_else(damaged)?, opened.version)))
    }

    async fn look(&self, account: &AccountId) -> Result<Look, AccessError> {
        let stored = self.read(account).await?;
        let Some((grant, _)) = stored else {
            return match account.holder {
                Holder::Application => Ok(Look::Now),
                Holder::User(_) => Err(not_connected(account)),
            };
        };
        let now = self.now();
        let token = || grant.access.as_ref().map(|access| access.token.secret());
        match (decide(&grant, now), token()) {
            (Decision::Use, Some(token)) => Ok(Look::Use(token)),
            (Decision::RefreshSoon, Some(token)) => Ok(Look::Soon(token)),
            (Decision::RefreshNow | Decision::Use | Decision::RefreshSoon, _) => Ok(Look::Now),
            (Decision::Wait { until }, _) => Err(AccessError::Later {
                account: account.clone(),
                after: elapsed(now, until),
                why: grant.retry.map_or_else(String::new, |retry| retry.why),
            }),
            (Decision::Reconnect { reason }, _) => {
                let since = match grant.state {
                    GrantState::NeedsReconnect { since, .. } => since,
                    GrantState::Active => {
                        // Nobody was refused anything, so it was not written down yet.
                        let over = |grant: &Grant| Some(grant.over(reason, None, now));
                        self.change(account, Some(grant.lineage()), None, &over).await?;
                        now
                    }
                };
                Err(AccessError::NeedsReconnect { account: account.clone(), reason, since })
            }
        }
    }

    /// The present token is good for a while: the first caller asks for another, and nobody waits for it.
    async fn renewed_soon(
        self: &Arc<Self>,
        account: &AccountId,
        present: SecretString,
    ) -> Result<SecretString, AccessError> {
        let Ok(_turn) = self.turn(account).try_lock_owned() else { return Ok(present) };
        match self.fly(account, Occasion::Due).await {
            Ok(Flight::Landed) => {}
            Ok(Flight::Taken) => return Ok(present),
            Err(error) => {
                tracing::debug!("The access token is used on, since another one cannot be had now: {error}.");
                return Ok(present);
            }
        }
        match self.look(account).await {
            Ok(Look::Use(token) | Look::Soon(token)) => Ok(token),
            Ok(Look::Now) => self.renewed_now_in_turn(account, self.until()).await,
            Err(error @ AccessError::NeedsReconnect { .. }) => Err(error),
            Err(_) => Ok(present),
        }
    }

    /// There is no valid token: all callers wait for one that asks.
    async fn renewed_now(self: &Arc<Self>, account: &AccountId) -> Result<SecretString, AccessError> {
        let until = self.until();
        let turn = timeout_at(until, self.turn(account).lock_owned()).await;
        let _turn = turn.map_err(|_| AccessError::Busy { account: account.clone() })?;
        self.renewed_now_in_turn(account, until).await
    }

    async fn renewed_now_in_turn(
        self: &Arc<Self>,
        account: &AccountId,
        until: Instant,
    ) -> Result<SecretString, AccessError> {
        let (mut poll, mut flights) = (self.waits.poll, 0);
        while flights < FLIGHTS_MAX {
            if let Look::Use(token) | Look::Soon(token) = self.look(account).await? {
                return Ok(token);
            }
            match timeout_at(until, self.fly(account, Occasion::Due)).await {
                Ok(Ok(Flight::Landed)) => flights += 1,
                Ok(Ok(Flight::Taken)) => {
                    if timeout_at(until, sleep(poll)).await.is_err() {
                        break;
                    }
                    poll = (poll * 2).min(POLL_MAX.max(self.waits.poll));
                }
                Ok(Err(error)) => return Err(error),
                Err(_) => break,
            }
        }
        match self.look(account).await? {
            Look::Use(token) | Look::Soon(token) => Ok(token),
            Look::Now => Err(AccessError::Busy { account: account.clone() }),
        }
    }

    fn until(&self) -> Instant {
        Instant::now() + self.waits.wait_max
    }

    /// The place in the line of this process's callers for an account.
    fn turn(&self, account: &AccountId) -> Turn {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() >= TURNS_MAX && !turns.contains_key(account) {
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        Arc::clone(turns.entry(account.clone()).or_default())
    }
}

/// The tokens of one account.
#[derive(Debug)]
struct Source {
    accounts: Accounts,
    account: AccountId,
    awaited: Option<RecordKey>,
}

impl Source {
    fn fault(&self, error: &AccessError) -> Fault {
        self.awaited.as_ref().map_or_else(|| error.fault(), |awaited| error.fault_parked_under(awaited))
    }
}

#[async_trait]
impl TokenSource for Source {
    async fn token(&self) -> Result<SecretString, Fault> {
        self.accounts.access_token(&self.account).await.map_err(|error| self.fault(&error))
    }

    async fn refused(&self, token: &SecretString, claims: Option<&str>) -> Result<(), Fault> {
        self.accounts.refused(&self.account, token, claims).await.map_err(|error| self.fault(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_either_way_and_nothing_else_is() {
        let json = r#"{"access_token":{"nbf":{"essential":true}}}"#;
        assert_eq!(read_claims(json).as_deref(), Some(json));
        assert_eq!(read_claims(&STANDARD.encode(json)).as_deref(), Some(json));
        let long = format!("{{{}}}", " ".repeat(CLAIMS_BYTES_MAX));
        for none in ["", "hello", "aGVsbG8=", long.as_str()] {
            assert_eq!(read_claims(none), None);
        }
    }
}
