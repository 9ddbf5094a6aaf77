//! The account: address, token, limits, and the sending of a request.

use std::fmt;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_client::{Answer, Fleet, Limits, Request, SetupError, Upstream, base_url};
use secrecy::{ExposeSecret as _, SecretString};
use shared::clock::Clock;
use shared::fault::Fault;
use shared::meter::Meter;
use shared::ports::state::State;
use shared::settlement::UNAUTHORIZED_PAUSE;
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use url::Url;

use crate::abilities::Overrides;
use crate::features::Known;
use crate::{SYSTEM, error};

const SCIM_JSON: &str = "application/scim+json";
const PLAIN_JSON: &str = "application/json";
/// Resources that are read and put at the same time. Two that share a place wait for each other, which does no harm.
const PLACES: usize = 64;

/// What is needed to speak to a service.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its base address, up to what stands before `/Users`: `https://scim.example.test/v2`.
    pub url: Url,
    /// The bearer token.
    pub token: SecretString,
    /// The account's limits.
    pub limits: Limits,
    /// Where the processes of a fleet share these limits; without it they hold for this process.
    pub fleet: Option<Arc<dyn State>>,
    /// Abilities that the service says nothing, or the wrong thing, about.
    pub overrides: Overrides,
    /// How much is done at once.
    pub sizes: Sizes,
}

/// How much is done at once. The service's own bounds hold beside them, and what it refuses as too much is halved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Resources in a page.
    pub page_resources_max: usize,
    /// Changes of members in a request: some services take 100.
    pub members_max: usize,
    /// Operations in a bulk request: a failed one costs less when it is small.
    pub bulk_operations_max: usize,
    /// Single requests side by side, where there is no bulk.
    pub parallel_max: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { page_resources_max: 200, members_max: 100, bulk_operations_max: 100, parallel_max: 8 }
    }
}

/// Limits for a service that says nothing of its own. A change of a large group takes seconds at some.
pub fn default_limits() -> Limits {
    Limits { deadline: Duration::from_secs(60), ..Limits::default() }
}

/// A SCIM service. Cheap to clone; clones share limits, breaker, pauses, and what is known about the service.
#[derive(Clone)]
pub struct Scim {
    inner: Arc<Inner>,
    /// A 403 says something about the one request, and nothing about the account.
    probing: bool,
}

struct Inner {
    upstream: Upstream,
    base: Url,
    bearer: SecretString,
    overrides: Overrides,
    sizes: Sizes,
    known: OnceCell<Known>,
    /// The service refused `application/scim+json`.
    plain: AtomicBool,
    turns: [Mutex<()>; PLACES],
}

impl fmt::Debug for Scim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scim({:?}, ***)", self.inner.upstream)
    }
}

impl Scim {
    /// Sets up the account. Sends nothing.
    ///
    /// # Errors
    /// [`SetupError`] when the address or TLS is unusable, or the token is empty.
    pub fn new(settings: Settings, meter: Arc<dyn Meter>, clock: Arc<dyn Clock>) -> Result<Self, SetupError> {
        let Settings { url, token, limits, fleet, overrides, sizes } = settings;
        let base = base_url(&url)?;
        if token.expose_secret().is_empty() {
            return Err(SetupError::Credential("the token of the SCIM service is empty".to_owned()));
        }
        let fleet = fleet.map(|state| Fleet::new(state, SYSTEM, &[base.as_str()]));
        let bearer = SecretString::from(format!("Bearer {}", token.expose_secret()));
        let upstream = Upstream::new(SYSTEM, limits, vec![token], meter, clock, fleet)?;
        let inner = Arc::new(Inner {
            upstream,
            base,
            bearer,
            overrides,
            sizes,
            known: OnceCell::new(),
            plain: AtomicBool::new(false),
            turns: std::array::from_fn(|_| Mutex::default()),
        });
        Ok(Self { inner, probing: false })
    }

    /// Gives back what this process holds of the fleet's limits; see [`Upstream::leave`].
    pub async fn leave(&self) {
        self.inner.upstream.leave().await;
    }

    /// The same account, for finding out what it may do.
    pub(crate) fn probing(&self) -> Self {
        Self { probing: true, ..self.clone() }
    }

    pub(crate) fn overrides(&self) -> &Overrides {
        &self.inner.overrides
    }

    pub(crate) fn sizes(&self) -> &Sizes {
        &self.inner.sizes
    }

    pub(crate) fn known_cell(&self) -> &OnceCell<Known> {
        &self.inner.known
    }

    /// Sends a request; where the media type is refused, once more with the plain one, which then stays. A refused
    /// token pauses the account.
    pub(crate) async fn send(&self, request: Request) -> Result<Answer, Fault> {
        let plain = self.inner.plain.load(Ordering::Relaxed);
        let mut answer = self.send_as(if plain { PLAIN_JSON } else { SCIM_JSON }, request.clone()).await?;
        if error::refuses_media_type(&answer) && !plain {
            answer = self.send_as(PLAIN_JSON, request).await?;
            if !error::refuses_media_type(&answer) {
                self.inner.plain.store(true, Ordering::Relaxed);
            }
        }
        if answer.status() == 401 {
            self.inner.upstream.pause_refused(UNAUTHORIZED_PAUSE, "the SCIM service refuses the token");
        }
        Ok(answer)
    }

    async fn send_as(&self, kind: &'static str, request: Request) -> Result<Answer, Fault> {
        let request = request.header("accept", kind);
        let request = if request.body().is_empty() { request } else { request.header("content-type", kind) };
        self.inner
            .upstream
            .send(&self.inner.base, request.secret_header("authorization", self.inner.bearer.clone()))
            .await
    }

    /// Passes a success on, and turns everything else into its fault. A missing right pauses the account.
    pub(crate) fn good<'a>(&self, answer: &'a Answer) -> Result<&'a Answer, Fault> {
        if answer.status() == 403 && !self.probing {
            let why = "the SCIM service forbids what the account is for";
            self.inner.upstream.pause_refused(UNAUTHORIZED_PAUSE, why);
        }
        error::success(answer)
    }

    /// Waits for a resource's turn: between reading and putting it, this process leaves it alone.
    pub(crate) async fn turn(&self, id: &str) -> MutexGuard<'_, ()> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(id);
        let place = usize::try_from(hash % PLACES as u64).unwrap_or_default();
        match self.inner.turns.get(place) {
            Some(turn) => turn.lock().await,
            None => self.inner.turns[0].lock().await,
        }
    }
}

#[cfg(test)]
mod tests;
