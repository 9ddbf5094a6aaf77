//! The account: address, tokens, limits, and the sending of a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http_client::{Answer, Fleet, Limits, Request, SetupError, Upstream, base_url};
use secrecy::{ExposeSecret as _, SecretString};
use shared::clock::Clock;
use shared::fault::Fault;
use shared::meter::Meter;
use shared::ports::state::State;
use shared::ports::token_source::TokenSource;
use shared::settlement::UNAUTHORIZED_PAUSE;
use url::Url;

use crate::{SYSTEM, error, throttle};

/// What accounts have in common.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The API's address, up to its version: `https://www.googleapis.com/calendar/v3/`.
    pub url: Url,
    /// The limits of each account.
    pub limits: Limits,
    /// Where the processes of a fleet share these limits; without it they hold for this process.
    pub fleet: Option<Arc<dyn State>>,
}

/// Limits below Google's own, which are 600 requests a minute for a user of an application, and 10,000 for all of
/// them together.
pub fn default_limits() -> Limits {
    Limits { requests_per_second_max: 5, concurrency_max: 4, ..Limits::default() }
}

/// One account's calendars. Cheap to clone; clones share limits, breaker and pauses.
#[derive(Debug, Clone)]
pub struct Google {
    upstream: Upstream,
    base: Url,
    tokens: Arc<dyn TokenSource>,
    /// Answers in a row that asked for fewer requests.
    throttled: Arc<AtomicU32>,
}

impl Google {
    /// Sets up an account; `name` is ours, the same in every process. Sends nothing.
    ///
    /// # Errors
    /// [`SetupError`] when the address or TLS is unusable.
    pub fn new(
        settings: &Settings,
        name: &str,
        tokens: Arc<dyn TokenSource>,
        meter: Arc<dyn Meter>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let base = base_url(&settings.url)?;
        let fleet = settings.fleet.clone().map(|state| Fleet::new(state, SYSTEM, &[base.as_str(), name]));
        let upstream = Upstream::new(SYSTEM, settings.limits, Vec::new(), meter, clock, fleet)?;
        Ok(Self { upstream, base, tokens, throttled: Arc::default() })
    }

    /// The same account, with its limits, by other tokens.
    #[must_use]
    pub fn with_tokens(&self, tokens: Arc<dyn TokenSource>) -> Self {
        Self { tokens, ..self.clone() }
    }

    /// The clock that it was set up with.
    pub fn clock(&self) -> &dyn Clock {
        self.upstream.clock()
    }

    /// Gives back what this process holds of the fleet's limits; see [`Upstream::leave`].
    pub async fn leave(&self) {
        self.upstream.leave().await;
    }

    /// Sends a request with a token; after a 401 once more with a new one, and never again after that. An answer that
    /// asks for fewer requests pauses the account, and is a fault here already.
    pub(crate) async fn send(&self, request: Request) -> Result<Answer, Fault> {
        // Nobody's token is asked for while nothing can be sent with it.
        self.upstream.check_open(&request.operation())?;
        let token = self.tokens.token().await?;
        let mut answer = self.send_with(&token, request.clone()).await?;
        if answer.status() == 401 {
            self.tokens.refused(&token, None).await?;
            let token = self.tokens.token().await?;
            answer = self.send_with(&token, request).await?;
        }
        if answer.status() == 401 {
            self.upstream.pause_refused(UNAUTHORIZED_PAUSE, "Google refuses a new access token");
            return Err(error::fault(&answer));
        }
        let Some(kind) = throttle::throttle(&answer) else {
            self.throttled.store(0, Ordering::Relaxed);
            return Ok(answer);
        };
        let before = self.throttled.fetch_add(1, Ordering::Relaxed);
        let wait = throttle::wait(&answer, kind, before, fastrand::f64(), self.clock().now());
        self.upstream.pause_throttled(wait, "Google asked for fewer requests");
        Err(error::throttled(&answer, kind, wait))
    }

    async fn send_with(&self, token: &SecretString, request: Request) -> Result<Answer, Fault> {
        let bearer = SecretString::from(format!("Bearer {}", token.expose_secret()));
        self.upstream.send(&self.base, request.secret_header("authorization", bearer)).await
    }
}

#[cfg(test)]
mod tests;
