//! Accounts of a fleet in a real Redis, at simulated providers.

use std::sync::Arc;
use std::time::Duration;

use adapter_redis::RedisState;
use http_client::Limits;
use reqwest::Url;
use secrecy::SecretString;
use shared::clock::ManualClock;
use shared::meter::NoMeter;
use shared::ports::state::State;
use vault::{
    Accounts, AccountsSettings, Key, KeySource, Provider, Registration, Rotation, Secrets, Waits,
    default_limits,
};

use crate::{HarnessError, Result};

/// How long a process that is killed keeps others from asking for the same account: so long that its requests end
/// before, and not so long that tests wait for nothing else.
pub const LEASE_OF_CHILDREN: Duration = Duration::from_secs(10);

/// What the members of a fleet share: a Redis, a key, and a clock that is moved by hand.
#[derive(Clone)]
pub struct Installation {
    /// The address of the Redis.
    pub redis_url: String,
    /// What its keys begin with.
    pub prefix: String,
    /// The vault's key.
    pub key: SecretString,
    /// The clock.
    pub clock: Arc<ManualClock>,
}

fn broken(what: &str, error: impl std::fmt::Display) -> HarnessError {
    HarnessError::new(format!("{what}: {error}"))
}

impl Installation {
    /// A connection of its own to the store.
    ///
    /// # Errors
    /// When its address is none.
    pub fn state(&self) -> Result<Arc<dyn State>> {
        let options = adapter_redis::Options { prefix: self.prefix.clone(), ..Default::default() };
        let state = RedisState::new(&self.redis_url, options);
        state.map(|state| Arc::new(state) as Arc<dyn State>).map_err(|error| broken("the store", error))
    }

    /// A member of the fleet, which uses one provider.
    ///
    /// # Errors
    /// When the key or the provider is unusable.
    pub fn member(&self, provider: Provider, waits: Waits) -> Result<Accounts> {
        let key = Key::parse(&self.key, "test").map_err(|error| broken("the key", error))?;
        let limits = default_limits();
        let limits = Limits {
            // Rounds follow each other faster than hours do.
            requests_per_second_max: 10_000,
            concurrency_max: 100,
            // A lease outlives its request.
            deadline: limits.deadline.min(waits.lease / 3),
            ..limits
        };
        let settings = AccountsSettings {
            secrets: Secrets::new(self.state()?, KeySource::Given(key), vec![]),
            providers: vec![(provider, limits)],
            waits,
            meter: Arc::new(NoMeter),
            clock: self.clock.clone(),
        };
        Accounts::new(settings).map_err(|error| broken("the accounts", error))
    }
}

/// The simulated Microsoft at an address.
///
/// # Errors
/// When the address is none.
pub fn microsoft(base_url: &str) -> Result<Provider> {
    let registration = Registration {
        client_id: simulators::microsoft::CLIENT_ID.to_owned(),
        client_secret: simulators::microsoft::CLIENT_SECRET.into(),
        client_secret_expires: None,
    };
    let authority = url(base_url)?;
    let provider = Provider::microsoft(&authority, simulators::microsoft::TENANT, registration);
    provider.map_err(|error| broken("the provider", error))
}

/// The simulated Google at an address, with what it does to used refresh tokens.
///
/// # Errors
/// When the address is none.
pub fn google(base_url: &str, rotation: Rotation) -> Result<Provider> {
    let options = simulators::GoogleOptions::default();
    let registration = Registration {
        client_id: options.client_id,
        client_secret: options.client_secret.into(),
        client_secret_expires: None,
    };
    let at = |path: &str| url(&format!("{base_url}{path}"));
    let google = Provider::google(registration).map_err(|error| broken("the provider", error))?;
    let provider = Provider {
        authorize_url: at("/o/oauth2/v2/auth")?,
        token_url: at("/token")?,
        revoke_url: Some(at("/revoke")?),
        rotation,
        ..google
    };
    provider.checked().map_err(|error| broken("the provider", error))
}

fn url(text: &str) -> Result<Url> {
    Url::parse(text).map_err(|error| broken(text, error))
}
