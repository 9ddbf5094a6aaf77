//! Sending: one [`Upstream`] is one account at one system, with its limits.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use shared::clock::Clock;
use shared::fault::{Fault, FaultKind};
use shared::meter::Meter;
use shared::names;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use tracing::Instrument as _;
use url::Url;

use crate::account::{Account, Pause, PauseKind};
use crate::answer::failure_kind;
use crate::breaker::{Admission, Breaker};
use crate::effect::codes;
use crate::limiter::Bucket;
use crate::settings::{Limits, SetupError};
use crate::transport::{self, Failure, RawAnswer};
use crate::{Answer, Redactor, Request, retry_after};

/// An account at an upstream. Cheap to clone; clones share limits, breaker and pauses.
#[derive(Clone)]
pub struct Upstream(Arc<Inner>);

struct Inner {
    system: &'static str,
    limits: Limits,
    client: reqwest::Client,
    redactor: Arc<Redactor>,
    meter: Arc<dyn Meter>,
    clock: Arc<dyn Clock>,
    started: Instant,
    slots: Semaphore,
    proof: Semaphore,
    state: Mutex<State>,
}

struct State {
    breaker: Breaker,
    bucket: Bucket,
    account: Account,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({})", self.0.system)
    }
}

impl Upstream {
    /// Sets up an account. `system` is its label in metrics and faults; `secrets` are masked in excerpts.
    /// Redirects are not followed, and proxies named in the environment are not used.
    ///
    /// # Errors
    /// [`SetupError::Client`] when TLS cannot be set up.
    pub fn new(
        system: &'static str,
        limits: Limits,
        secrets: Vec<SecretString>,
        meter: Arc<dyn Meter>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let client = transport::client(&limits)?;
        meter.set(&names::UPSTREAM_BREAKER_OPEN, &[system], 0.0);
        meter.set(&names::ACCOUNT_PAUSED, &[system], 0.0);
        Ok(Self(Arc::new(Inner {
            system,
            limits,
            client,
            redactor: Arc::new(Redactor::new(secrets)),
            meter,
            clock,
            started: Instant::now(),
            slots: Semaphore::new(limits.concurrency_max.max(1) as usize),
            proof: Semaphore::new(1),
            state: Mutex::new(State {
                breaker: Breaker::new(limits.breaker),
                bucket: Bucket::new(limits.requests_per_second_max),
                account: Account::default(),
            }),
        })))
    }

    /// The label of the system.
    pub fn system(&self) -> &'static str {
        self.0.system
    }

    /// The clock the account was set up with.
    pub fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    /// Sends a request to a path below `base` (see [`crate::base_url`]) and reads the answer to its end, whatever its
    /// status. Waits for the account's limits first, at most [`Limits::wait_max`]. Never sends twice.
    ///
    /// # Errors
    /// One of [`codes`]: `connect_failed` (retryable, nothing sent), `answer_lost` (retryable, a write may have
    /// taken effect), `answer_too_large` (permanent); `breaker_open`, `account_paused` (paused) and
    /// `limiter_full` (throttled), with nothing sent; `request_invalid` (a bug).
    pub async fn send(&self, base: &Url, request: Request) -> Result<Answer, Fault> {
        let operation = request.operation();
        let span = tracing::info_span!(
            "request",
            otel.name = %operation,
            otel.kind = "client",
            upstream.system = self.0.system,
            http.response.status_code = tracing::field::Empty,
            error.type = tracing::field::Empty,
        );
        let sending = async {
            let result = self.send_within_limits(base, &request, &operation).await;
            match &result {
                Ok(answer) => span.record("http.response.status_code", answer.status),
                Err(fault) => span.record("error.type", fault.code),
            };
            result
        };
        sending.instrument(span.clone()).await
    }

    /// Pauses the account because its credentials are refused or it is locked out: until then requests fail at
    /// once with `account_paused`, and afterwards go out one at a time until one is accepted. `why` is for the
    /// operator and holds no secrets.
    pub fn pause_refused(&self, pause: Duration, why: &str) {
        tracing::error!(
            upstream.system = self.0.system,
            pause_seconds = pause.as_secs(),
            "account paused: {why}"
        );
        self.0.meter.set(&names::ACCOUNT_PAUSED, &[self.0.system], 1.0);
        self.pause(PauseKind::Refused, pause, why.to_owned());
    }

    /// Whether a request would be held back now, by a pause or by the circuit breaker.
    ///
    /// # Errors
    /// `account_paused` or `breaker_open`, as [`Self::send`] would answer.
    pub fn check_open(&self, operation: &str) -> Result<(), Fault> {
        let now = self.now();
        let state = self.state();
        if let Some(pause) = state.account.paused(now) {
            return Err(self.paused_fault(pause, now, operation));
        }
        match state.breaker.held(now) {
            Some(after) => Err(self.breaker_fault(after, operation)),
            None => Ok(()),
        }
    }

    async fn send_within_limits(
        &self,
        base: &Url,
        request: &Request,
        operation: &str,
    ) -> Result<Answer, Fault> {
        let wire = transport::wire(base, request).map_err(|what| {
            let text = format!("{operation} to {} cannot be put on the wire: {what}.", self.0.system);
            Fault::bug(codes::REQUEST_INVALID, text)
        })?;
        self.check_open(operation)?;
        let places = self.wait_for_places(operation).await?;
        let mut ticket = self.admit(operation)?;
        let sent_at = Instant::now();
        let exchange = transport::exchange(&self.0.client, wire, self.0.limits.answer_bytes_max);
        let outcome = match tokio::time::timeout(self.0.limits.deadline, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Lost(format!("no whole answer within {:?}", self.0.limits.deadline))),
        };
        let result = match outcome {
            Ok(raw) => Ok(self.answered(raw, operation, &mut ticket)),
            Err(failure) => Err(self.failed(failure, request, operation, &mut ticket)),
        };
        drop(places);
        self.measure(operation, sent_at, &result);
        result
    }

    /// Waits for a slot, for the proof that the credentials work, and for the rate.
    async fn wait_for_places(&self, operation: &str) -> Result<Places<'_>, Fault> {
        let began = Instant::now();
        let wait_max = self.0.limits.wait_max;
        let full = || {
            let text = format!(
                "{operation} was not sent: the limits set for {} leave no room within {wait_max:?}.",
                self.0.system
            );
            Fault::new(FaultKind::Throttled { after: wait_max }, codes::LIMITER_FULL, text)
        };
        let waiting = async {
            let slot = self.0.slots.acquire().await.map_err(|_| full())?;
            let proof = self.0.proof.acquire().await.map_err(|_| full())?;
            let proof = (!self.state().account.is_proven()).then_some(proof);
            let wait = self.state().bucket.reserve(self.now(), wait_max).ok_or_else(full)?;
            tokio::time::sleep(wait).await;
            Ok(Places { _slot: slot, _proof: proof })
        };
        let places = tokio::time::timeout(wait_max, waiting).await.unwrap_or_else(|_| Err(full()));
        let waited = began.elapsed().as_secs_f64();
        self.0.meter.observe(&names::LIMITER_WAIT, &[self.0.system], waited);
        places
    }

    /// The last look before sending: things may have changed during the wait.
    fn admit(&self, operation: &str) -> Result<Ticket<'_>, Fault> {
        let now = self.now();
        let mut state = self.state();
        if let Some(pause) = state.account.paused(now) {
            return Err(self.paused_fault(pause, now, operation));
        }
        match state.breaker.admit(now) {
            Admission::Held { after } => Err(self.breaker_fault(after, operation)),
            admission => Ok(Ticket { upstream: self, admission, concluded: false }),
        }
    }

    /// Draws the conclusions from an answer: for the breaker, the account and its pauses.
    fn answered(&self, raw: RawAnswer, operation: &str, ticket: &mut Ticket<'_>) -> Answer {
        let mut answer = Answer {
            system: self.0.system,
            operation: operation.to_owned(),
            status: raw.status,
            headers: raw.headers,
            body: raw.body,
            retry_after: None,
            counts: ticket.admission == Admission::Pass,
            redactor: Arc::clone(&self.0.redactor),
        };
        if let Some(text) = answer.header("retry-after") {
            let now = answer.header("date").and_then(retry_after::parse_date);
            answer.retry_after = retry_after::parse(text, now.unwrap_or_else(|| self.0.clock.now()));
        }
        let status = answer.status;
        if status >= 500 || (answer.is_success() && answer.is_html()) {
            answer.counts = ticket.failed();
        } else {
            ticket.succeeded();
        }
        if !matches!(status, 401 | 403 | 429 | 500..) && self.state().account.accepted(self.now()) {
            tracing::info!(upstream.system = self.0.system, "the account works again");
            self.0.meter.set(&names::ACCOUNT_PAUSED, &[self.0.system], 0.0);
        }
        let wish = if status == 429 {
            Some(answer.retry_after.unwrap_or(crate::answer::THROTTLE_DEFAULT))
        } else {
            answer.retry_after.filter(|_| status >= 500)
        };
        if let Some(wish) = wish {
            self.pause(PauseKind::Throttled, wish, format!("it asked for a pause (status {status})"));
        }
        answer
    }

    fn failed(&self, failure: Failure, request: &Request, operation: &str, ticket: &mut Ticket<'_>) -> Fault {
        let system = self.0.system;
        match failure {
            Failure::NotSent(why) => {
                let text = format!("{system} cannot be reached for {operation} ({why}); nothing was sent.");
                Fault::new(failure_kind(ticket.failed(), None), codes::CONNECT_FAILED, text)
            }
            Failure::Lost(why) => {
                let consequence =
                    if request.method.writes() { " The write may have taken effect." } else { "" };
                let text = format!("The answer of {system} to {operation} was lost ({why}).{consequence}");
                Fault::new(failure_kind(ticket.failed(), None), codes::ANSWER_LOST, text)
            }
            Failure::TooLarge => {
                ticket.succeeded();
                let text = format!(
                    "{system} answered {operation} with more than {} bytes; ask for less at once, or raise the bound.",
                    self.0.limits.answer_bytes_max
                );
                Fault::permanent(codes::ANSWER_TOO_LARGE, text)
            }
        }
    }

    fn measure(&self, operation: &str, sent_at: Instant, result: &Result<Answer, Fault>) {
        let outcome = match result {
            Ok(answer) => match answer.status {
                200..300 => "ok",
                300..400 => "redirected",
                401 => "unauthorized",
                429 => "throttled",
                400..500 => "refused",
                _ => "failed",
            },
            Err(fault) => fault.code,
        };
        let Inner { system, meter, .. } = &*self.0;
        meter.add(&names::UPSTREAM_REQUESTS, &[system, operation, outcome], 1);
        meter.observe(
            &names::UPSTREAM_REQUEST_DURATION,
            &[system, operation],
            sent_at.elapsed().as_secs_f64(),
        );
    }

    fn pause(&self, kind: PauseKind, pause: Duration, why: String) {
        let until = self.now().saturating_add(pause);
        self.state().account.pause(Pause { kind, until, why });
    }

    fn paused_fault(&self, pause: &Pause, now: Duration, operation: &str) -> Fault {
        let after = pause.until.saturating_sub(now);
        let text = format!(
            "{operation} was not sent: the account at {} is paused for {} s more: {}.",
            self.0.system,
            after.as_secs_f64().ceil(),
            pause.why.trim_end_matches('.')
        );
        let kind = match pause.kind {
            PauseKind::Throttled => FaultKind::Throttled { after },
            PauseKind::Refused => FaultKind::Paused { after },
        };
        Fault::new(kind, codes::ACCOUNT_PAUSED, text)
    }

    fn breaker_fault(&self, after: Duration, operation: &str) -> Fault {
        let text = format!(
            "{operation} was not sent: {} has failed repeatedly and is left alone for {} s more.",
            self.0.system,
            after.as_secs_f64().ceil()
        );
        Fault::new(FaultKind::Paused { after }, codes::BREAKER_OPEN, text)
    }

    fn now(&self) -> Duration {
        self.0.started.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request holds while it is on its way.
struct Places<'a> {
    _slot: SemaphorePermit<'a>,
    _proof: Option<SemaphorePermit<'a>>,
}

/// A request that the breaker let out. Tells the breaker how it ended, even when the request is given up.
struct Ticket<'a> {
    upstream: &'a Upstream,
    admission: Admission,
    concluded: bool,
}

impl Ticket<'_> {
    fn succeeded(&mut self) {
        self.conclude(|breaker, admission, _| breaker.succeeded(admission));
    }

    /// Answers whether the failure counts against the message.
    fn failed(&mut self) -> bool {
        self.conclude(|breaker, admission, now| breaker.failed(admission, now))
    }

    fn conclude<T>(&mut self, tell: impl FnOnce(&mut Breaker, Admission, Duration) -> T) -> T {
        self.concluded = true;
        let Inner { system, meter, .. } = &*self.upstream.0;
        let now = self.upstream.now();
        let mut state = self.upstream.state();
        let was_open = state.breaker.is_open();
        let told = tell(&mut state.breaker, self.admission, now);
        let is_open = state.breaker.is_open();
        drop(state);
        if was_open != is_open {
            meter.set(&names::UPSTREAM_BREAKER_OPEN, &[system], f64::from(u8::from(is_open)));
            if is_open {
                tracing::warn!(upstream.system = system, "circuit breaker opened: the upstream fails");
            } else {
                tracing::info!(upstream.system = system, "circuit breaker closed: the upstream works again");
            }
        }
        told
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.concluded {
            self.conclude(|breaker, admission, now| breaker.abandoned(admission, now));
        }
    }
}

#[cfg(test)]
mod tests;
