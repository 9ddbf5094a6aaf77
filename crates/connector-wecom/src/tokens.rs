//! The access tokens of one secret: kept for the whole fleet, and asked for by one at a time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http_client::{Redactor, Upstream};
use secrecy::SecretString;
use shared::fault::{Fault, FaultKind};
use shared::meter::Meter;
use shared::names::TOKEN_REFRESHES;
use shared::ports::state::{Fence, State};
use shared::ports::token_source::TokenSource;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};
use url::Url;

use crate::token::{self, Kept, OPERATION};
use crate::{SIGN_IN_SYSTEM, TokenShelf, error, throttle};

/// How long nothing is asked for after corp id, secret or address were refused. Some 2,000 such calls an hour close
/// `gettoken` for an hour.
pub(crate) const SETTINGS_PAUSE: Duration = Duration::from_secs(5 * 60);
/// Longest time that a caller waits for a token.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How long one process alone may ask.
const LEASE: Duration = Duration::from_secs(30);
/// First and longest pause between two looks at what another process does.
const POLL: Duration = Duration::from_millis(50);
const POLL_MAX: Duration = Duration::from_millis(500);

/// The tokens of a secret.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub(crate) upstream: Upstream,
    pub(crate) base: Url,
    pub(crate) corp_id: String,
    pub(crate) secret: SecretString,
    pub(crate) shelf: Arc<dyn TokenShelf>,
    /// Where the fleet takes turns.
    pub(crate) state: Option<Arc<dyn State>>,
    /// Names the company and the secret, without showing it.
    pub(crate) name: String,
    /// This process among those that take leases.
    pub(crate) holder: String,
    pub(crate) meter: Arc<dyn Meter>,
    /// The place in the line of this process's callers, and what gettoken itself has been told.
    pub(crate) turn: Mutex<throttle::Refusals>,
    pub(crate) started: Instant,
}

#[async_trait]
impl TokenSource for Tokens {
    async fn token(&self) -> Result<SecretString, Fault> {
        match self.usable().await? {
            Some(token) => Ok(token),
            None => self.renewed().await,
        }
    }

    async fn refused(&self, token: &SecretString, _claims: Option<&str>) -> Result<(), Fault> {
        let _turn = self.turn.lock().await;
        let Some(kept) = self.read().await? else { return Ok(()) };
        match kept.after_refusal(token, self.upstream.clock().at_latest()) {
            Some(refused) => self.write(&refused).await,
            None => Ok(()),
        }
    }
}

impl Tokens {
    async fn read(&self) -> Result<Option<Kept>, Fault> {
        Ok(self.shelf.read(&self.name).await?.as_ref().and_then(Kept::from_secret))
    }

    async fn write(&self, kept: &Kept) -> Result<(), Fault> {
        let secret =
            kept.to_secret().ok_or_else(|| Fault::bug("token_kept", "A token cannot be written down."))?;
        self.shelf.write(&self.name, &secret).await
    }

    async fn usable(&self) -> Result<Option<SecretString>, Fault> {
        let now = self.upstream.clock().at_latest();
        Ok(self.read().await?.filter(|kept| kept.is_usable(now)).map(|kept| kept.token))
    }

    /// There is no good token: of all callers in the fleet one asks, and the others wait for it.
    async fn renewed(&self) -> Result<SecretString, Fault> {
        let until = Instant::now() + WAIT_MAX;
        let mut turn = timeout_at(until, self.turn.lock()).await.map_err(|_| busy())?;
        let mut poll = POLL;
        loop {
            if let Some(token) = self.usable().await? {
                return Ok(token);
            }
            // Whoever waited behind a refusal must not try it once more.
            self.upstream.check_open(OPERATION)?;
            if let Some(lease) = self.take_lease().await? {
                let asked = self.ask_unless_done(&mut turn).await;
                self.give_back(lease).await;
                return asked;
            }
            timeout_at(until, sleep(poll)).await.map_err(|_| busy())?;
            poll = (poll * 2).min(POLL_MAX);
        }
    }

    /// The fleet's turn; alone, a process always has it.
    async fn take_lease(&self) -> Result<Option<Option<Fence>>, Fault> {
        let Some(state) = &self.state else { return Ok(Some(None)) };
        let lease = format!("wecom-token/{}", self.name);
        let granted = state.acquire_lease(&lease, &self.holder, LEASE).await?;
        Ok(granted.map(|granted| Some(Fence { lease, term: granted.term })))
    }

    async fn give_back(&self, lease: Option<Fence>) {
        if let (Some(state), Some(fence)) = (&self.state, lease)
            && let Err(error) = state.release_lease(&fence, &self.holder).await
        {
            tracing::debug!("The lease of a token request ends by itself: {error}.");
        }
    }

    async fn ask_unless_done(&self, told: &mut throttle::Refusals) -> Result<SecretString, Fault> {
        // Somebody else may have been faster, before the lease was this one's.
        if let Some(token) = self.usable().await? {
            return Ok(token);
        }
        let asked = self.ask(told).await;
        let outcome = asked.as_ref().map_or_else(|fault| fault.kind.name(), |_| "ok");
        self.meter.add(&TOKEN_REFRESHES, &[SIGN_IN_SYSTEM, outcome], 1);
        let kept = asked?;
        self.write(&kept).await?;
        Ok(kept.token)
    }

    async fn ask(&self, told: &mut throttle::Refusals) -> Result<Kept, Fault> {
        let now = self.upstream.clock().now();
        let answer = self.upstream.send(&self.base, token::request(&self.corp_id, &self.secret)).await?;
        let verdict = error::verdict(&answer, &Redactor::new(vec![self.secret.clone()]))?;
        if verdict.code == 0 {
            told.over(self.started.elapsed());
            return token::read(&answer, now);
        }
        if let Some(throttle) = throttle::throttle(verdict.code) {
            let wait = told.wait(throttle, fastrand::f64(), self.started.elapsed());
            self.upstream.pause_throttled(wait, "WeCom asked for fewer requests for tokens");
            return Err(error::throttled(&answer, &verdict, wait));
        }
        let fault = error::fault(&answer, &verdict);
        if error::is_of_the_settings(verdict.code) {
            self.upstream.pause_refused(SETTINGS_PAUSE, &fault.text);
        }
        Err(fault)
    }
}

fn busy() -> Fault {
    let after = Duration::from_secs(1);
    Fault::new(
        FaultKind::Busy { after },
        "token_busy",
        "Another process asks WeCom for a token, and takes long.",
    )
}
