//! What a flow is to the engine: one anchor record, one handler, one sweep, one set of webhooks.
//!
//! The worker, the producer and the operator's program know flows only by this trait.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Clock;
use crate::dead_letter::Reason;
use crate::envelope::{Cause, Operation};
use crate::fault::Fault;
use crate::ports::state::Fence;
use crate::record_key::{FlowName, RecordKey};
use crate::retry::RetryPolicy;

/// What the engine must know of a flow.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowSpec {
    /// Its name: queues, metrics, configuration section and command-line arguments follow from it.
    pub name: FlowName,
    /// One line for lists and help texts.
    pub title: &'static str,
    /// Shards of its queue.
    pub shards: u16,
    /// When to try again, and how often.
    pub retry: RetryPolicy,
    /// Longest time of one run.
    pub run_time_max: Duration,
}

/// Whether a run may still write: it ends when the lease of its shard is lost or the worker is told to stop.
pub trait Guard: Send + Sync + Debug {
    /// The fence for writes of state, while the lease is trusted.
    ///
    /// # Errors
    /// [`crate::fault::FaultKind::Busy`] when the lease is lost: stop, write nothing more.
    fn fence(&self) -> Result<Option<Fence>, Fault>;
}

/// A guard that always permits, without a fence: for reading, for tests, for `plan`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unguarded;

impl Guard for Unguarded {
    fn fence(&self) -> Result<Option<Fence>, Fault> {
        Ok(None)
    }
}

/// Asks for runs of other records of the flow, from within a run.
#[async_trait]
pub trait Hints: Send + Sync + Debug {
    /// Publishes one message for each key, with the cause and the sweep of the run that asks; confirmed when it answers.
    /// Safe to repeat.
    ///
    /// # Errors
    /// As the queue's: any part of it may be published.
    async fn hint(&self, run: &Run, keys: &[RecordKey]) -> Result<(), Fault>;
}

/// Publishes nothing: for reading, and for flows that ask for nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHints;

#[async_trait]
impl Hints for NoHints {
    async fn hint(&self, _: &Run, _: &[RecordKey]) -> Result<(), Fault> {
        Ok(())
    }
}

/// One run of a handler: everything it is given.
#[derive(Debug, Clone)]
pub struct Run {
    /// Which record.
    pub key: RecordKey,
    /// What happened, as a hint.
    pub operation: Operation,
    /// Why it runs.
    pub cause: Cause,
    /// The sweep that asked for it.
    pub sweep_id: Option<String>,
    /// Attempts that failed before, in this life of the message.
    pub attempts_before: u32,
    /// Whether earlier runs of the record ended with their workers. What can be done in parts is then done in small ones:
    /// a run that gets to its end, however short, clears the record of having ended them.
    pub is_suspect: bool,
    /// The trace id, as 32 hexadecimal digits.
    pub trace_id: String,
    /// Ask it before each write.
    pub guard: Arc<dyn Guard>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Asks for runs of other records.
    pub hints: Arc<dyn Hints>,
}

/// What a successful run did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The actions applied, by kind, in order; empty when nothing differed.
    pub actions: Vec<&'static str>,
    /// Whether open dead letters of the key are settled by this run, and what is parked under it is released. False
    /// when the run left the record as it is (a conflict that waits for a person).
    pub converged: bool,
    /// When to look at the record again, at the latest; the sweep's business.
    pub look_again_at: Option<Timestamp>,
}

/// A failed run, told to the flow so that it can tell the record's user.
#[derive(Debug, Clone)]
pub struct Failure<'a> {
    /// What failed.
    pub fault: &'a Fault,
    /// Failed attempts so far, this one included where it counts.
    pub attempts: u32,
    /// Set when the message becomes a dead letter.
    pub dead_letter: Option<Reason>,
}

/// What a sweep found on one page.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SweepPage {
    /// The records to look at.
    pub records: Vec<SweepHit>,
    /// Where to go on; `None` when the sweep is through.
    pub next: Option<Value>,
}

/// One record that a sweep found.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepHit {
    /// Which.
    pub key: RecordKey,
    /// When the record last changed, where the source says so: decides whether an open dead letter is left alone.
    pub changed_at: Option<Timestamp>,
}

/// An item of a webhook's body.
#[derive(Debug, Clone, PartialEq)]
pub enum WebhookItem {
    /// A record to look at.
    Record(RecordKey, Operation),
    /// Only our own write coming back: dropped, and counted.
    Echo,
    /// Content to be passed on by another flow: kept until then, see [`crate::forward`].
    Forward {
        /// The record of that flow which stands for it: the same content has the same one.
        key: RecordKey,
        /// What is passed on; at most [`crate::forward::CONTENT_BYTES_MAX`].
        content: Bytes,
    },
    /// Not usable, with the reason: counted; the others go on.
    Malformed(String),
}

/// What a webhook request asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum WebhookContent {
    /// Records to look at; none at all is as good.
    Items(Vec<WebhookItem>),
    /// The sender wants to see that we are who we say: this text is answered as it is, as plain text, and nothing is
    /// published. At most [`CHALLENGE_BYTES_MAX`].
    Challenge(String),
}

/// Longest text that a sender has back as a challenge, in bytes.
pub const CHALLENGE_BYTES_MAX: usize = 8 * 1024;

/// How a webhook came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookMethod {
    /// With events; some senders send their challenges in this way as well.
    Post,
    /// Without a body: only to flows that say so, see [`Flow::answers_get`].
    Get,
}

/// A webhook request as it came in.
#[derive(Debug, Clone)]
pub struct WebhookRequest<'a> {
    /// How it came.
    pub method: WebhookMethod,
    /// The path after the flow's prefix, such as `update`.
    pub path: &'a str,
    /// The query as it came, without the question mark.
    pub query: Option<&'a str>,
    /// The headers whose values are text, by lower-case name.
    pub headers: &'a [(&'a str, &'a str)],
    /// The raw body.
    pub body: &'a Bytes,
}

impl<'a> WebhookRequest<'a> {
    /// One with a body.
    pub fn post(path: &'a str, headers: &'a [(&'a str, &'a str)], body: &'a Bytes) -> Self {
        Self { method: WebhookMethod::Post, path, query: None, headers, body }
    }
}

/// Why a webhook is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebhookRefusal {
    /// No or a wrong signature, or an unknown webhook: 401.
    #[error("{0}")]
    Unverified(String),
    /// Verified, but not the expected shape: 400.
    #[error("{0}")]
    Malformed(String),
    /// Nobody serves this path: 404.
    #[error("{0}")]
    Unknown(String),
}

/// One finding of a check: what was looked at, and what to do where it is not well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was looked at: `EspoCRM field CBeteiligte.betnr`.
    pub subject: String,
    /// How it stands.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What to do; empty when all is well.
    pub remedy: String,
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Well,
    /// Works, but somebody should look at it.
    Warning,
    /// Does not work.
    Broken,
}

/// What a run would do now, for `plan` and for the dead letter's page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// What the plan amounts to, in one sentence.
    pub summary: String,
    /// What would be written, field by field.
    pub differences: Vec<Difference>,
}

/// One field that would be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Where: `espocrm` or `advoware`.
    pub system: String,
    /// The field, in that system's own name.
    pub field: String,
    /// What is there; `None` is empty.
    pub present: Option<String>,
    /// What would be written; `None` empties it.
    pub planned: Option<String>,
}

/// How one source of a flow stands, such as a user's calendar: for `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Our name of it.
    pub source: String,
    /// The CRM user whose it is.
    pub user: String,
    /// How far it is: `initial`, `paging` or `incremental`.
    pub phase: String,
    /// When it was last read to its end.
    pub synced_at: Option<Timestamp>,
    /// Whether only changes have to be read the next time.
    pub has_token: bool,
    /// Its records that are linked.
    pub linked: u64,
}

/// A flow.
#[async_trait]
pub trait Flow: Send + Sync + Debug {
    /// What the engine must know of it.
    fn spec(&self) -> &FlowSpec;

    /// Reads both sides afresh and makes them agree. Safe to repeat at any point.
    ///
    /// # Errors
    /// Whatever hinders it; [`crate::settlement::decide`] says what follows.
    async fn handle(&self, run: &Run) -> Result<Outcome, Fault>;

    /// Tells the record's user that a run failed (status fields, a notice). Best effort: an error is logged and
    /// changes nothing about the settlement.
    ///
    /// # Errors
    /// Whatever hinders it.
    async fn report(&self, run: &Run, failure: &Failure<'_>) -> Result<(), Fault>;

    /// One page of a sweep; `cursor` is `None` at its beginning.
    ///
    /// # Errors
    /// Whatever hinders it; the sweep is tried again at the next tick, from the same cursor.
    async fn sweep(&self, cursor: Option<&Value>, sweep_id: &str, now: Timestamp)
    -> Result<SweepPage, Fault>;

    /// Verifies a webhook on its raw body and says which records it is about. Bounded, constant-time where it
    /// compares secrets.
    ///
    /// # Errors
    /// A refusal, answered with 4xx and counted.
    fn read_webhook(&self, request: &WebhookRequest<'_>) -> Result<WebhookContent, WebhookRefusal>;

    /// Whether it reads webhooks that come by GET to this path; others are answered 405.
    fn answers_get(&self, _path: &str) -> bool {
        false
    }

    /// Learns of webhooks that were made since this process began; answers whether there are any. Asked when a webhook
    /// is refused as [`WebhookRefusal::Unverified`], before it is refused. Bounded in how often it looks.
    ///
    /// # Errors
    /// Whatever hinders it: the sender is asked to come again.
    async fn learn(&self) -> Result<bool, Fault> {
        Ok(false)
    }

    /// The record to look at when a user of the CRM has connected an account at a provider; what waits for the account
    /// is parked under this key. None for flows that work without accounts.
    fn key_of_account(&self, _provider: &str, _crm_user: &str) -> Option<RecordKey> {
        None
    }

    /// Looks at everything the flow needs: credentials, versions, fields.
    async fn check(&self) -> Vec<Check>;

    /// What a run would do now, writing nothing.
    ///
    /// # Errors
    /// Whatever hinders the reading.
    async fn preview(&self, key: &RecordKey, now: Timestamp) -> Result<Preview, Fault>;

    /// Gives back what this process holds for the flow in the fleet, such as places at an account; for a process that
    /// ends. Bounded in time; what is not given back ends by itself.
    async fn leave(&self) {}

    /// How its sources stand, where it has any that are read by themselves.
    ///
    /// # Errors
    /// As the store's.
    async fn sources(&self, _now: Timestamp) -> Result<Vec<SourceStatus>, Fault> {
        Ok(Vec::new())
    }

    /// What the mass-change guard holds back, in one sentence; `None` when nothing waits for a person.
    ///
    /// # Errors
    /// As the store's.
    async fn held_back(&self) -> Result<Option<String>, Fault> {
        Ok(None)
    }

    /// Releases changes that the mass-change guard holds back; answers how many sweeps were released.
    ///
    /// # Errors
    /// As the store's.
    async fn release(&self, by: &str, now: Timestamp) -> Result<u32, Fault>;
}
