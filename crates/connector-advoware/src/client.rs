//! The account: where the firm's server is, the token, and the sending of a request.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_client::{Answer, Fleet, Limits, Request, SetupError, Upstream, base_url};
use secrecy::{ExposeSecret as _, SecretString};
use shared::clock::Clock;
use shared::fault::{Fault, FaultKind};
use shared::meter::Meter;
use shared::names::TOKEN_REFRESHES;
use shared::ports::state::State;
use shared::settlement::UNAUTHORIZED_PAUSE;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;
use uuid::Uuid;

use crate::address::{self, Address};
use crate::token::{self, Token};
use crate::{CONFIGURATOR_SYSTEM, SIGN_IN_SYSTEM, SYSTEM, error};

/// Who signs in.
#[derive(Clone)]
pub struct Credentials {
    pub(crate) app_id: String,
    pub(crate) kanzlei: String,
    pub(crate) database: String,
    pub(crate) user: String,
    pub(crate) password: SecretString,
    api_key: SecretString,
    key: secrecy::SecretSlice<u8>,
}

impl Credentials {
    /// Credentials of an employee (`user` is the Mitarbeiterkürzel). `api_key` comes from the vendor with the
    /// AppID, in base64.
    ///
    /// # Errors
    /// [`SetupError::Credential`] when the API key is no base64.
    pub fn new(
        app_id: &str,
        api_key: &SecretString,
        kanzlei: &str,
        database: &str,
        user: &str,
        password: SecretString,
    ) -> Result<Self, SetupError> {
        let wrong =
            || SetupError::Credential("the API key of Advoware is no base64; copy it whole".to_owned());
        let key = STANDARD.decode(api_key.expose_secret().trim()).map_err(|_| wrong())?;
        if key.is_empty() {
            return Err(wrong());
        }
        Ok(Self {
            app_id: app_id.to_owned(),
            kanzlei: kanzlei.to_owned(),
            database: database.to_owned(),
            user: user.to_owned(),
            password,
            api_key: api_key.clone(),
            key: key.into(),
        })
    }

    pub(crate) fn key(&self) -> &[u8] {
        self.key.expose_secret()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} of {}, ***)", self.user, self.kanzlei)
    }
}

/// What is needed to speak to a firm's Advoware.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The vendor's configurator, which knows where the firm's server is. Where it has TLS, the addresses it names
    /// must have it as well.
    pub configurator: Url,
    /// Who signs in.
    pub credentials: Credentials,
    /// The account's limits.
    pub limits: Limits,
    /// Where the processes of a fleet share these limits; without it they hold for this process.
    pub fleet: Option<Arc<dyn State>>,
}

/// An employee's account at a firm's Advoware. Cheap to clone; clones share token, limits, breaker and pauses.
#[derive(Debug, Clone)]
pub struct Advoware(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    data: Upstream,
    sign_in: Upstream,
    configurator: Upstream,
    configurator_url: Url,
    credentials: Credentials,
    meter: Arc<dyn Meter>,
    address: Mutex<KnownAddress>,
    token: Mutex<Option<HeldToken>>,
}

#[derive(Debug, Default)]
struct KnownAddress {
    address: Option<(Address, Instant)>,
    fails: bool,
}

#[derive(Debug, Clone)]
struct HeldToken {
    token: Token,
    obtained: Instant,
    /// Rises with each refresh: tells a refused token from the one that has replaced it.
    generation: u64,
}

impl Advoware {
    /// Sets up the account. Sends nothing.
    ///
    /// # Errors
    /// [`SetupError`] when the address or TLS is unusable.
    pub fn new(settings: Settings, meter: Arc<dyn Meter>, clock: Arc<dyn Clock>) -> Result<Self, SetupError> {
        let Settings { configurator, credentials, limits, fleet } = settings;
        let configurator_url = base_url(&configurator)?;
        let upstream = |system| {
            let secrets = vec![credentials.password.clone(), credentials.api_key.clone()];
            let Credentials { kanzlei, database, app_id, user, .. } = &credentials;
            let identity = [configurator_url.as_str(), kanzlei, database, app_id, user];
            let fleet = fleet.clone().map(|state| Fleet::new(state, system, &identity));
            Upstream::new(system, limits, secrets, Arc::clone(&meter), Arc::clone(&clock), fleet)
        };
        Ok(Self(Arc::new(Inner {
            data: upstream(SYSTEM)?,
            sign_in: upstream(SIGN_IN_SYSTEM)?,
            configurator: upstream(CONFIGURATOR_SYSTEM)?,
            configurator_url,
            credentials,
            meter,
            address: Mutex::default(),
            token: Mutex::default(),
        })))
    }

    /// Gives back what this process holds of the fleet's limits; see [`Upstream::leave`].
    pub async fn leave(&self) {
        tokio::join!(self.0.data.leave(), self.0.sign_in.leave(), self.0.configurator.leave());
    }

    /// Looks the address up, signs in, and answers where the firm's server is: the smallest call that proves the
    /// settings. Safe to repeat; asks for no new token while there is one.
    ///
    /// # Errors
    /// `sign_in_refused`, and what hinders the way there.
    pub async fn sign_in(&self) -> Result<Url, Fault> {
        let address = self.address().await?;
        self.token(&address, None).await?;
        Ok(address.data)
    }

    /// Sends a request with a token; after a 401 once more with a new one, and never again after that.
    pub(crate) async fn send(&self, request: Request) -> Result<Answer, Fault> {
        let inner = &*self.0;
        inner.data.check_open(&request.operation())?;
        let address = self.address().await?;
        let held = self.token(&address, None).await?;
        let answer = self.send_with(&address, &held, request.clone()).await?;
        if answer.status() != 401 {
            return Ok(answer);
        }
        let renewed = self.token(&address, Some(held.generation)).await?;
        let answer = self.send_with(&address, &renewed, request).await?;
        if answer.status() == 401 {
            inner.data.pause_refused(UNAUTHORIZED_PAUSE, "Advoware refuses a new token");
        }
        Ok(answer)
    }

    async fn send_with(
        &self,
        address: &Address,
        held: &HeldToken,
        request: Request,
    ) -> Result<Answer, Fault> {
        let bearer = format!("Bearer {}", held.token.secret.expose_secret());
        let request = request.secret_header("authorization", SecretString::from(bearer));
        let result = self.0.data.send(&address.data, request).await;
        if error::address_fails(&result) {
            self.0.address.lock().await.fails = true;
        }
        result
    }

    /// The firm's addresses: remembered, or looked up. Where a look-up fails, the old ones go on being used.
    async fn address(&self) -> Result<Address, Fault> {
        let inner = &*self.0;
        let mut known = inner.address.lock().await;
        if let Some((address, looked_up)) = &known.address
            && !address::look_up_due(looked_up.elapsed(), known.fails)
        {
            return Ok(address.clone());
        }
        let request = address::request(&inner.credentials.kanzlei);
        let secure = inner.configurator_url.scheme() == "https";
        let looked_up = match inner.configurator.send(&inner.configurator_url, request).await {
            Ok(answer) => address::read(&answer, secure),
            Err(fault) => Err(fault),
        };
        let address = match (looked_up, &known.address) {
            (Ok(address), _) => address,
            (Err(fault), Some((address, _))) => {
                tracing::warn!(error.type = fault.code, "Advoware's address could not be renewed: {fault}");
                address.clone()
            }
            (Err(fault), None) => return Err(fault),
        };
        *known = KnownAddress { address: Some((address.clone(), Instant::now())), fails: false };
        Ok(address)
    }

    /// A token, a new one where the present one is old or was `refused`. Whoever comes while one is asked for
    /// waits for it: one request for all.
    async fn token(&self, address: &Address, refused: Option<u64>) -> Result<HeldToken, Fault> {
        let inner = &*self.0;
        let mut held = inner.token.lock().await;
        let usable = held.as_ref().filter(|held| refused.is_none_or(|refused| held.generation > refused));
        if let Some(held) = usable
            && !token::refresh_due(held.obtained.elapsed(), held.token.life)
        {
            return Ok(held.clone());
        }
        // Whoever waited behind a refused sign-in must not try it once more.
        inner.data.check_open("POST api/v1/Token")?;
        let asked_at = Instant::now();
        match self.ask_for_token(address).await {
            Ok(token) => {
                let generation = held.as_ref().map_or(0, |held| held.generation) + 1;
                let renewed = HeldToken { token, obtained: asked_at, generation };
                *held = Some(renewed.clone());
                Ok(renewed)
            }
            Err(fault) => match usable.filter(|h| token::is_alive(h.obtained.elapsed(), h.token.life)) {
                Some(held) if fault.kind != FaultKind::Unauthorized => Ok(held.clone()),
                _ => Err(fault),
            },
        }
    }

    async fn ask_for_token(&self, address: &Address) -> Result<Token, Fault> {
        let inner = &*self.0;
        let now = inner.data.clock().now();
        let request = token::request(&inner.credentials, Uuid::new_v4(), now);
        let result = match inner.sign_in.send(&address.security, request).await {
            Ok(answer) => token::read(&answer, now),
            Err(fault) => Err(fault),
        };
        let outcome = match &result {
            Ok(_) => "ok",
            Err(fault) => fault.kind.name(),
        };
        inner.meter.add(&TOKEN_REFRESHES, &[SYSTEM, outcome], 1);
        if let Err(fault) = &result
            && fault.kind == FaultKind::Unauthorized
        {
            // Both: whoever in the fleet waits to sign in must not try it either.
            inner.sign_in.pause_refused(UNAUTHORIZED_PAUSE, &fault.text);
            inner.data.pause_refused(UNAUTHORIZED_PAUSE, &fault.text);
        }
        result
    }
}

#[cfg(test)]
mod tests;
