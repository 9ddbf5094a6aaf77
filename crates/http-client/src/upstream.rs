//! Sending: one [`Upstream`] is one account at one system, with its limits.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use shared::clock::Clock;
use shared::fault::{Fault, FaultKind};
use shared::meter::Meter;
use shared::names;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::Instrument as _;
use url::Url;

use crate::account::{Pause, PauseKind};
use crate::answer::failure_kind;
use crate::breaker::Admission;
use crate::desk::{Desk, Pass, Standing, Step};
use crate::effect::codes;
use crate::fleet::Fleet;
use crate::fleet::seat::{self, Seat};
use crate::guarded::guard;
use crate::settings::{Limits, SetupError};
use crate::transport::{self, Failure, RawAnswer};
use crate::{Answer, Redactor, Request, retry_after};

mod beat;

/// How long the answer to the fleet's trial is kept back at most until the fleet has heard that the trial is over.
const TRIAL_TOLD_WITHIN: Duration = Duration::from_secs(1);

/// An account at an upstream. Cheap to clone; clones share limits, breaker and pauses, and so does the fleet where
/// there is one.
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
    /// What the clock had skipped by then.
    skipped_before: Duration,
    fleet: Option<beat::Beat>,
    /// Requests go out in the order in which they came.
    line: tokio::sync::Mutex<()>,
    /// Something changed that the first in line may wait for.
    changed: Notify,
    /// The fleet's document was looked at, or could not be.
    looked: Notify,
    desk: Mutex<Desk>,
    shown: Mutex<Standing>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({})", self.0.system)
    }
}

impl Upstream {
    /// Sets up an account. `system` is its label in metrics and faults; `secrets` are masked in excerpts. With a
    /// `fleet` the limits, the breaker and the pauses are the whole fleet's; without, this process's own.
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
        fleet: Option<Fleet>,
    ) -> Result<Self, SetupError> {
        let client = transport::client(&limits)?;
        let seat = fleet.as_ref().map(|fleet| {
            let name = seat::name(fleet.state.tenure(), fastrand::u64(..));
            Seat::new(name, limits.concurrency_max.max(1))
        });
        let desk = Desk::new(limits, seat);
        let standing = desk.standing(Duration::ZERO);
        let upstream = Self(Arc::new(Inner {
            system,
            limits,
            client,
            redactor: Arc::new(Redactor::new(secrets)),
            meter,
            skipped_before: clock.skipped(),
            clock,
            started: Instant::now(),
            fleet: fleet.map(beat::Beat::new),
            line: tokio::sync::Mutex::new(()),
            changed: Notify::new(),
            looked: Notify::new(),
            desk: Mutex::new(desk),
            shown: Mutex::new(standing),
        }));
        upstream.show(standing);
        Ok(upstream)
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
    /// `limiter_full` (throttled), with nothing sent; `request_invalid` (a bug). Of a write, what the guard says of who
    /// sends (see [`crate::guarded`]), with nothing sent.
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
        self.pause(PauseKind::Refused, pause, why.to_owned());
    }

    /// Pauses the account because it asked for fewer requests in words of its own; what a 429 or a `Retry-After` says is
    /// heeded without that. `why` is for the operator and holds no secrets.
    pub fn pause_throttled(&self, pause: Duration, why: &str) {
        self.pause(PauseKind::Throttled, pause, why.to_owned());
    }

    /// Whether a request would be held back now, by a pause or by the circuit breaker.
    ///
    /// # Errors
    /// `account_paused` or `breaker_open`, as [`Self::send`] would answer.
    pub fn check_open(&self, operation: &str) -> Result<(), Fault> {
        let now = self.now();
        let held_back = self.desk().held_back(now);
        held_back.and_then(|step| self.sent_back(&step, now, operation)).map_or(Ok(()), Err)
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
        let mut ticket = self.wait_in_line(operation).await?;
        if let Some(guard) = guard().filter(|_| request.method.writes()) {
            guard.fence()?;
        }
        let sent_at = Instant::now();
        let exchange = transport::exchange(&self.0.client, wire, self.0.limits.answer_bytes_max);
        let outcome = match tokio::time::timeout(self.0.limits.deadline, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Lost(format!("no whole answer within {:?}", self.0.limits.deadline))),
        };
        let result = match outcome {
            Ok(raw) => Ok(self.answered(raw, request, operation, &mut ticket)),
            Err(failure) => Err(self.failed(failure, request, operation, &mut ticket)),
        };
        let trial_is_over = ticket.pass.trial && !ticket.refused;
        drop(ticket);
        self.measure(operation, sent_at, &result);
        if trial_is_over {
            self.trial_is_told().await;
        }
        result
    }

    /// Waits until the fleet has heard that this process's trial is over. What the caller does with the answer may be
    /// what kills the process, and then all who begin would wait for its seat to be taken for empty.
    async fn trial_is_told(&self) {
        let telling = async {
            loop {
                let looked = self.0.looked.notified();
                if !self.desk().has_trial_to_tell(self.now()) {
                    return;
                }
                looked.await;
            }
        };
        let _ = tokio::time::timeout(TRIAL_TOLD_WITHIN, telling).await;
    }

    /// Waits until the request may go out: for its turn, a slot, the rate, and the proof that the account works.
    async fn wait_in_line(&self, operation: &str) -> Result<Ticket<'_>, Fault> {
        let began = Instant::now();
        let wait_max = self.0.limits.wait_max;
        let waiting = async {
            let _queued = Queued::new(self);
            let _first = self.0.line.lock().await;
            self.first_in_line(operation).await
        };
        let ticket = tokio::time::timeout(wait_max, waiting).await.unwrap_or_else(|_| {
            let text = format!(
                "{operation} was not sent: the limits set for {} leave no room within {wait_max:?}.",
                self.0.system
            );
            Err(Fault::new(FaultKind::Throttled { after: wait_max }, codes::LIMITER_FULL, text))
        });
        let waited = began.elapsed().as_secs_f64();
        self.0.meter.observe(&names::LIMITER_WAIT, &[self.0.system], waited);
        ticket
    }

    async fn first_in_line(&self, operation: &str) -> Result<Ticket<'_>, Fault> {
        loop {
            let now = self.now();
            let step = self.desk().step(now);
            let wait = match step {
                Step::Go(pass) => {
                    return Ok(Ticket { upstream: self, pass, refused: false, concluded: false });
                }
                Step::Wait(wait) => wait,
                Step::Ask(wait) => {
                    self.look_now();
                    wait
                }
                held => match self.sent_back(&held, now, operation) {
                    Some(fault) => return Err(fault),
                    None => continue,
                },
            };
            let _ = tokio::time::timeout(wait, self.0.changed.notified()).await;
        }
    }

    /// The fault of a request that is sent back.
    fn sent_back(&self, step: &Step, now: Duration, operation: &str) -> Option<Fault> {
        match step {
            Step::Paused(pause) => Some(self.paused_fault(pause, now, operation)),
            Step::BreakerOpen(after) => Some(self.breaker_fault(*after, operation)),
            Step::Go(_) | Step::Wait(_) | Step::Ask(_) => None,
        }
    }

    /// Draws the conclusions from an answer: for the breaker, the account and its pauses.
    fn answered(
        &self,
        raw: RawAnswer,
        request: &Request,
        operation: &str,
        ticket: &mut Ticket<'_>,
    ) -> Answer {
        let mut answer = Answer {
            system: self.0.system,
            operation: operation.to_owned(),
            status: raw.status,
            headers: raw.headers,
            body: raw.body,
            retry_after: None,
            counts: ticket.pass.admission == Admission::Pass,
            redactor: Arc::clone(&self.0.redactor),
        };
        if let Some(text) = answer.header("retry-after") {
            let now = answer.header("date").and_then(retry_after::parse_date);
            answer.retry_after = retry_after::parse(text, now.unwrap_or_else(|| self.0.clock.now()));
        }
        let status = answer.status;
        let is_page = answer.is_success() && answer.is_html() && !request.pages_are_good;
        if status >= 500 || is_page {
            answer.counts = ticket.failed();
        } else {
            ticket.succeeded();
        }
        ticket.refused = matches!(status, 401 | 403);
        if !ticket.refused && !matches!(status, 429 | 500..) {
            let now = self.now();
            self.desk().accepted(now);
            self.tell();
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
        self.desk().pause(kind, until, why);
        self.tell();
    }

    /// Lets the fleet hear what it has not heard, and the first in line look again.
    fn tell(&self) {
        if self.desk().has_news() {
            self.look_now();
        }
        self.show_changes();
        self.0.changed.notify_one();
    }

    /// Shows how the account stands, where that has changed.
    fn show_changes(&self) {
        let standing = self.desk().standing(self.now());
        let before = {
            let mut shown = self.0.shown.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *shown, standing)
        };
        if before != standing {
            self.show(standing);
            log(self.0.system, before, standing);
        }
    }

    fn show(&self, standing: Standing) {
        let Inner { system, meter, .. } = &*self.0;
        let flag = |on| f64::from(u8::from(on));
        meter.set(&names::UPSTREAM_BREAKER_OPEN, &[system], flag(standing.breaker_open));
        meter.set(&names::ACCOUNT_PAUSED, &[system], flag(standing.refused));
        meter.set(&names::LIMITS_LOCAL, &[system], flag(!standing.shared));
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
        let skipped = self.0.clock.skipped().saturating_sub(self.0.skipped_before);
        self.0.started.elapsed().saturating_add(skipped)
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log(system: &str, before: Standing, standing: Standing) {
    match (before.breaker_open, standing.breaker_open) {
        (false, true) => {
            tracing::warn!(upstream.system = system, "circuit breaker opened: the upstream fails");
        }
        (true, false) => {
            tracing::info!(upstream.system = system, "circuit breaker closed: the upstream works again");
        }
        _ => {}
    }
    if before.refused && !standing.refused {
        tracing::info!(upstream.system = system, "the account works again");
    }
    match (before.shared, standing.shared) {
        (true, false) => tracing::warn!(
            upstream.system = system,
            "the state store does not answer: this process keeps to its share of the account's limits"
        ),
        (false, true) => {
            tracing::info!(upstream.system = system, "the account's limits are shared with the fleet again");
        }
        _ => {}
    }
}

/// A place in the line.
struct Queued<'a>(&'a Upstream);

impl<'a> Queued<'a> {
    fn new(upstream: &'a Upstream) -> Self {
        let now = upstream.now();
        upstream.desk().queue(now);
        Self(upstream)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.desk().leave_queue();
    }
}

/// A request that is on its way. Tells how it ended, even when it is given up.
struct Ticket<'a> {
    upstream: &'a Upstream,
    pass: Pass,
    /// Its answer may be a refusal of the credentials.
    refused: bool,
    concluded: bool,
}

impl Ticket<'_> {
    fn succeeded(&mut self) {
        self.concluded = true;
        self.upstream.desk().succeeded(self.pass.admission);
    }

    /// Answers whether the failure counts against the message.
    fn failed(&mut self) -> bool {
        self.concluded = true;
        let now = self.upstream.now();
        self.upstream.desk().failed(self.pass.admission, now)
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let now = self.upstream.now();
        {
            let mut desk = self.upstream.desk();
            if !self.concluded {
                desk.abandoned(self.pass.admission, now);
            }
            desk.done(&self.pass, self.refused, now);
        }
        self.upstream.tell();
    }
}

#[cfg(test)]
mod tests;
