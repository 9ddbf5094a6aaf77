//! One request for one account at a time in the whole fleet, and how its answer is stored.
//!
//! A lease keeps other processes from asking meanwhile. Whether an answer is stored is decided by what it answers: the
//! grant must still stand where it stood when it was asked for, in the same atomic step. So a process that was frozen
//! and lost its lease does no harm, and what it holds is not lost where nobody else was answered.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use shared::fault::{Fault, FaultKind};
use shared::lease::HeldLease;
use shared::ports::PortError;
use shared::ports::state::{Expected, Fence, Write, Written};
use shared::{labelled, names};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::access_error::AccessError;
use crate::account::{AccountId, Holder};
use crate::accounts::{Inner, place};
use crate::error::{Meaning, Reason, Refusal, meaning};
use crate::grant::{Grant, GrantState, Lineage, Tokens};
use crate::provider::Rotation;
use crate::refresh::{Decision, decide, delay_after_failure, delay_after_loop};
use crate::store::{Terms, VaultError};
use crate::token_endpoint::{Failure, OPERATOR_PAUSE, TokenEndpoint, may_have_been_spent};

/// Pauses between two tries to store an answer.
const STORE_AGAIN_AFTER: Duration = Duration::from_millis(100);
const STORE_AGAIN_AFTER_MAX: Duration = Duration::from_secs(2);
/// How often a change is tried again because somebody else made one; each time one of them got through.
const CLASHES_MAX: u32 = 100;

/// Why another token is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// It is time.
    Due,
    /// Somebody wants to know whether the grant works, whatever is known of it.
    Check,
}

/// How a flight ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flight {
    /// What came of it is in the store.
    Landed,
    /// Somebody else is under way.
    Taken,
}

impl Inner {
    /// Asks for another access token, unless another process does. Goes on when the caller goes away: an answer that
    /// nobody stores may cost the grant.
    pub(crate) async fn fly(
        self: &Arc<Self>,
        account: &AccountId,
        occasion: Occasion,
    ) -> Result<Flight, AccessError> {
        let (this, whose) = (Arc::clone(self), account.clone());
        let flying = async move { this.fly_under_lease(&whose, occasion).await };
        let landed = self.flying.spawn(flying.in_current_span()).await;
        landed.unwrap_or_else(|_| {
            let why = "this process is ending".to_owned();
            Err(AccessError::Later { account: account.clone(), after: Duration::from_secs(5), why })
        })
    }

    async fn fly_under_lease(&self, account: &AccountId, occasion: Occasion) -> Result<Flight, AccessError> {
        // Each flight holds under a name of its own: two of one process are kept apart as well.
        let holder = format!("{}-{}", self.holder.simple(), self.flights.fetch_add(1, Ordering::Relaxed));
        let (lease, ttl) = (format!("grant/{account}"), self.waits.lease);
        let asked_at = Instant::now();
        let asking = timeout(ttl, self.state.acquire_lease(&lease, &holder, ttl));
        let granted = asking.await.unwrap_or_else(|_| {
            Err(PortError::Unavailable("the state store does not answer the wish for a lease".to_owned()))
        })?;
        let Some(granted) = granted else { return Ok(Flight::Taken) };
        let fence = Fence { lease, term: granted.term };
        let result = self.ask_and_store(account, occasion, asked_at + HeldLease::trust(ttl)).await;
        if let Err(error) = self.state.release_lease(&fence, &holder).await {
            tracing::debug!("The lease of a token request ends by itself: {error}.");
        }
        result.map(|()| Flight::Landed)
    }

    async fn ask_and_store(
        &self,
        account: &AccountId,
        occasion: Occasion,
        until: Instant,
    ) -> Result<(), AccessError> {
        let endpoint = self.endpoint(&account.provider)?;
        let scope = endpoint.provider.application_scope.as_deref();
        let (grant, fresh) = match (self.read(account).await?, &account.holder, scope) {
            (_, Holder::Application, None) => {
                return Err(AccessError::NoApplication(account.provider.clone()));
            }
            (Some((grant, _)), _, _) => (grant, None),
            (None, Holder::User(_), _) => {
                return Err(AccessError::NotConnected { account: account.clone() });
            }
            (None, Holder::Application, Some(scope)) => {
                let empty = Grant::empty(account.clone(), Uuid::new_v4(), scope, self.now());
                (empty.clone(), Some(empty))
            }
        };
        let is_due = match (occasion, &account.holder) {
            // Somebody else may have been faster, before the lease was this one's.
            (Occasion::Due, _) => {
                matches!(decide(&grant, self.now()), Decision::RefreshSoon | Decision::RefreshNow)
            }
            (Occasion::Check, Holder::User(_)) => grant.refresh.is_some(),
            (Occasion::Check, Holder::Application) => true,
        };
        if !is_due {
            return Ok(());
        }
        labelled::reach("vault.before_token_request");
        let answer = timeout_at(until, ask(endpoint, &grant)).await.unwrap_or_else(|_| {
            let text = "The answer of a token endpoint did not come in time.";
            Err(Failure::Fault(Fault::retryable(http_client::codes::ANSWER_LOST, text)))
        });
        labelled::reach("vault.after_token_answer");
        self.measure(endpoint, &answer);
        let result = self.store_answer(endpoint, &grant, fresh.as_ref(), answer).await;
        labelled::reach("vault.after_token_store");
        result
    }

    async fn store_answer(
        &self,
        endpoint: &TokenEndpoint,
        grant: &Grant,
        fresh: Option<&Grant>,
        answer: Result<Tokens, Failure>,
    ) -> Result<(), AccessError> {
        let (account, now, random) = (&grant.account, self.now(), fastrand::f64());
        let store = async |next: &(dyn Fn(&Grant) -> Option<Grant> + Sync)| {
            self.change(account, Some(grant.lineage()), fresh, next).await
        };
        match answer {
            Ok(tokens) => {
                store(&|grant| Some(grant.refreshed(&tokens, now))).await.inspect_err(|error| {
                    tracing::error!(
                        account = %account,
                        "A new token was had and could not be stored; the next request may find the grant over: {error}"
                    );
                })?;
            }
            Err(Failure::Fault(fault)) if was_held_back(&fault) => return Err(self.later(account, &fault)),
            Err(Failure::Fault(fault)) => {
                let (lost, wish) = (may_have_been_spent(&fault), wish(&fault));
                store(&|grant| Some(failed(grant, &fault.text, lost, wish, random, now))).await?;
            }
            Err(Failure::Refused(refusal)) => match meaning(&refusal) {
                Meaning::Reconnect { reason, claims } if account.holder != Holder::Application => {
                    let reason = explained(reason, grant, endpoint.provider.rotation);
                    let over = |grant: &Grant| Some(grant.over(reason, claims.clone(), now));
                    let began = |grant: &Grant| matches!(grant.state, GrantState::NeedsReconnect { since, .. } if since == now);
                    if store(&over).await?.as_ref().is_some_and(began) {
                        tell(account, reason, &refusal);
                    }
                }
                // Nobody but the operator can consent for the application.
                Meaning::Operator | Meaning::Reconnect { .. } => {
                    let what = endpoint.misconfigured(&refusal);
                    if !refusal.is_of_the_client() {
                        store(&|grant| Some(grant.failed(&what, false, OPERATOR_PAUSE, now))).await?;
                    }
                    return Err(AccessError::Operator { account: account.clone(), what });
                }
                Meaning::Retry => {
                    let why = format!("{} failed ({refusal})", endpoint.provider.label);
                    store(&|grant| Some(failed(grant, &why, false, None, random, now))).await?;
                }
                Meaning::Pause => {
                    let label = &endpoint.provider.label;
                    let why = format!("{label} was asked too often for this account's token ({refusal})");
                    let delay = delay_after_loop(random);
                    store(&|grant| Some(grant.failed(&why, false, delay, now))).await?;
                }
            },
        }
        Ok(())
    }

    /// Changes a grant as it is stored, again and again until nobody else has changed it meanwhile; answers the new one
    /// where it was stored. Nothing is stored where `next` says so, nor where the grant no longer stands at `lineage`:
    /// what was had from an older one never replaces a newer one. `fresh` stands for one that is not stored yet.
    pub(crate) async fn change(
        &self,
        account: &AccountId,
        lineage: Option<Lineage>,
        fresh: Option<&Grant>,
        next: &(dyn Fn(&Grant) -> Option<Grant> + Sync),
    ) -> Result<Option<Grant>, AccessError> {
        let until = Instant::now() + self.waits.store_time_max;
        let (mut pause, mut clashes) = (STORE_AGAIN_AFTER, 0);
        loop {
            match self.change_once(account, lineage, fresh, next).await {
                Ok(Changed::Stored(grant)) => return Ok(Some(*grant)),
                Ok(Changed::Nothing) => return Ok(None),
                Ok(Changed::Clash) if clashes < CLASHES_MAX => clashes += 1,
                Ok(Changed::Clash) => return Err(AccessError::Busy { account: account.clone() }),
                Err(VaultError::Store(PortError::Unavailable(_) | PortError::Full(_)))
                    if Instant::now() + pause < until =>
                {
                    sleep(pause).await;
                    pause = (pause * 2).min(STORE_AGAIN_AFTER_MAX);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn change_once(
        &self,
        account: &AccountId,
        lineage: Option<Lineage>,
        fresh: Option<&Grant>,
        next: &(dyn Fn(&Grant) -> Option<Grant> + Sync),
    ) -> Result<Changed, VaultError> {
        let (stored, expected) = match (self.read(account).await?, fresh) {
            (Some((grant, version)), _) => (grant, Expected::Version(version)),
            (None, Some(fresh)) => (fresh.clone(), Expected::Absent),
            (None, None) => return Ok(Changed::Nothing),
        };
        if lineage.is_some_and(|lineage| lineage != stored.lineage()) {
            return Ok(Changed::Nothing);
        }
        let Some(next) = next(&stored) else { return Ok(Changed::Nothing) };
        match self.put(&next, expected).await? {
            Written::Done(_) => Ok(Changed::Stored(Box::new(next))),
            Written::Clash => Ok(Changed::Clash),
        }
    }

    pub(crate) async fn put(&self, grant: &Grant, expected: Expected) -> Result<Written, VaultError> {
        let place = place(&grant.account);
        let damaged = || VaultError::Damaged(crate::store::name_of(&place));
        let secret = grant.to_secret().ok_or_else(damaged)?;
        let about = serde_json::to_value(grant.about()).ok();
        let terms = Terms { about, expected: Some(expected), time_to_live: None };
        self.secrets.put_at(&place, &secret, terms).await
    }

    /// Deletes a grant of this version; answers whether that is what was there.
    pub(crate) async fn delete(&self, account: &AccountId, version: u64) -> Result<bool, VaultError> {
        let place = place(account);
        let expected = Expected::Version(version);
        let written = self.state.write(Write { expected, ..Write::delete(&place) }).await?;
        Ok(matches!(written, Written::Done(_)))
    }

    pub(crate) fn later(&self, account: &AccountId, fault: &Fault) -> AccessError {
        let after = wish(fault).unwrap_or(Duration::from_secs(5));
        AccessError::Later { account: account.clone(), after, why: fault.text.clone() }
    }

    fn measure(&self, endpoint: &TokenEndpoint, answer: &Result<Tokens, Failure>) {
        let outcome = match answer {
            Ok(_) => "ok",
            Err(Failure::Fault(fault)) => fault.code,
            Err(Failure::Refused(refusal)) => match meaning(refusal) {
                Meaning::Reconnect { .. } => "over",
                Meaning::Operator => "misconfigured",
                Meaning::Retry => "failed",
                Meaning::Pause => "too_often",
            },
        };
        self.meter.add(&names::TOKEN_REFRESHES, &[endpoint.provider.system(), outcome], 1);
    }
}

enum Changed {
    Stored(Box<Grant>),
    Nothing,
    Clash,
}

async fn ask(endpoint: &TokenEndpoint, grant: &Grant) -> Result<Tokens, Failure> {
    let scope = endpoint.provider.application_scope.as_deref();
    match (&grant.account.holder, scope, &grant.refresh) {
        (Holder::Application, Some(scope), _) => endpoint.application(scope).await,
        (Holder::User(_), _, Some(refresh)) => endpoint.refresh(refresh, grant.claims.as_deref()).await,
        // Asked for by nobody: without a refresh token nothing is decided to be refreshed.
        (Holder::Application, None, _) | (Holder::User(_), _, None) => {
            let text = "There is nothing to ask for a token with.";
            Err(Failure::Fault(Fault::bug("token_request", text)))
        }
    }
}

fn failed(
    grant: &Grant,
    why: &str,
    answer_lost: bool,
    wish: Option<Duration>,
    random: f64,
    now: jiff::Timestamp,
) -> Grant {
    let failures = grant.retry.as_ref().map_or(0, |retry| retry.failures).saturating_add(1);
    grant.failed(why, answer_lost, delay_after_failure(failures, wish, random), now)
}

/// Why a grant is over, where more is known than the refusal says.
fn explained(reason: Reason, grant: &Grant, rotation: Rotation) -> Reason {
    let lost = grant.retry.as_ref().is_some_and(|retry| retry.answer_lost);
    match (reason, rotation) {
        (Reason::Ended, Rotation::OldDies) if lost => Reason::AnswerLost,
        (reason, _) => reason,
    }
}

/// Said by the one whose word was stored, so once.
fn tell(account: &AccountId, reason: Reason, refusal: &Refusal) {
    tracing::error!(
        account = %account,
        refusal = %refusal,
        "The account must be connected again: {}. Its messages wait; all others go on.",
        reason.text()
    );
}

/// Whether nothing was sent because the whole provider is left alone for now: no failure of this grant.
fn was_held_back(fault: &Fault) -> bool {
    use http_client::codes::{ACCOUNT_PAUSED, BREAKER_OPEN, LIMITER_FULL, REQUEST_INVALID};
    [ACCOUNT_PAUSED, BREAKER_OPEN, LIMITER_FULL, REQUEST_INVALID].contains(&fault.code)
}

/// How long a fault wants to be waited for.
fn wish(fault: &Fault) -> Option<Duration> {
    match fault.kind {
        FaultKind::Retryable { after } => after,
        FaultKind::Throttled { after } | FaultKind::Busy { after } | FaultKind::Paused { after } => {
            Some(after)
        }
        FaultKind::Parked
        | FaultKind::Conflict
        | FaultKind::Unauthorized
        | FaultKind::Permanent
        | FaultKind::Bug => None,
    }
}

/// Whether a grant is over.
pub(crate) fn is_over(state: &GrantState) -> bool {
    matches!(state, GrantState::NeedsReconnect { .. })
}
