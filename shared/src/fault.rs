//! The one error type of handlers: connectors and adapters translate to it at their edge, nobody else looks
//! at status codes, and [`crate::settlement::decide`] alone says what follows.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::record_key::RecordKey;

/// Longest text of a fault, in characters; longer ones are cut.
pub const FAULT_TEXT_CHARS_MAX: usize = 1_000;
/// Longest excerpt of an upstream's answer kept with a fault, in characters.
pub const EXCERPT_CHARS_MAX: usize = 500;

/// What kind of failure it is: decides what happens to the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// Time-out, reset, 5xx: try again, at the cost of an attempt. `after` is the upstream's own wish.
    Retryable {
        /// Earliest time of the next attempt, as asked for by the upstream.
        after: Option<Duration>,
    },
    /// 429 or a quota: try again, at no cost, and slow down the whole account.
    Throttled {
        /// How long to wait.
        after: Duration,
    },
    /// The record is held by another worker, or the message is newer than this worker: try again soon, at no cost.
    Busy {
        /// How long to wait.
        after: Duration,
    },
    /// The upstream's circuit breaker is open, its account is paused, or an operator's release is awaited:
    /// try again later, at no cost.
    Paused {
        /// How long to wait.
        after: Duration,
    },
    /// The record depends on another one that is not there yet, see [`Fault::parked`]: wait for a success of that one,
    /// at no cost.
    Parked,
    /// Somebody wrote in between (409, 412): read and plan again at once.
    Conflict,
    /// The account's credentials are refused after one refresh: not the message's fault. The account pauses.
    Unauthorized,
    /// Will fail in the same way for ever: a dead letter at once.
    Permanent,
    /// A broken invariant of ours: a dead letter at once, and an alert.
    Bug,
}

impl FaultKind {
    /// The kind's word in logs, metrics and dead letters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Retryable { .. } => "retryable",
            Self::Throttled { .. } => "throttled",
            Self::Busy { .. } => "busy",
            Self::Paused { .. } => "paused",
            Self::Parked => "parked",
            Self::Conflict => "conflict",
            Self::Unauthorized => "unauthorized",
            Self::Permanent => "permanent",
            Self::Bug => "bug",
        }
    }

    /// Whether trying the same again later may help without anybody acting.
    pub fn may_pass(self) -> bool {
        match self {
            Self::Retryable { .. }
            | Self::Throttled { .. }
            | Self::Busy { .. }
            | Self::Paused { .. }
            | Self::Parked
            | Self::Conflict => true,
            Self::Unauthorized | Self::Permanent | Self::Bug => false,
        }
    }
}

/// The answer of an upstream that a fault came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamAnswer {
    /// The system's name: `espocrm`, `advoware`.
    pub system: String,
    /// The operation, as a method and a path template without ids: `PUT CBeteiligte/{id}`.
    pub operation: String,
    /// HTTP status; none when no answer came.
    pub status: Option<u16>,
    /// A redacted, cut excerpt of the answer; may be empty.
    pub excerpt: String,
}

/// A failure of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What kind.
    pub kind: FaultKind,
    /// A stable code for grouping: lower-case words joined by `_`, such as `validation_failed`.
    pub code: &'static str,
    /// A sentence for the person who must act: what failed, on what, why, what to do. Holds no secrets.
    pub text: String,
    /// The upstream's answer, where one caused it.
    pub answer: Option<Box<UpstreamAnswer>>,
    /// Which record's success is waited for, with [`FaultKind::Parked`].
    pub waits_for: Option<Box<RecordKey>>,
}

impl Fault {
    /// A fault without an upstream's answer.
    pub fn new(kind: FaultKind, code: &'static str, text: impl AsRef<str>) -> Self {
        Self { kind, code, text: cut(text.as_ref(), FAULT_TEXT_CHARS_MAX), answer: None, waits_for: None }
    }

    /// A permanent fault.
    pub fn permanent(code: &'static str, text: impl AsRef<str>) -> Self {
        Self::new(FaultKind::Permanent, code, text)
    }

    /// A fault that costs an attempt and is tried again with backoff.
    pub fn retryable(code: &'static str, text: impl AsRef<str>) -> Self {
        Self::new(FaultKind::Retryable { after: None }, code, text)
    }

    /// A broken invariant of ours.
    pub fn bug(code: &'static str, text: impl AsRef<str>) -> Self {
        Self::new(FaultKind::Bug, code, text)
    }

    /// The record depends on `awaited`, which may be of another flow: the message waits until a run of that record
    /// succeeds, and then runs again. The handler must find what it waits for by the time that run has ended.
    pub fn parked(code: &'static str, text: impl AsRef<str>, awaited: RecordKey) -> Self {
        let text = format!("waits for {awaited}: {}", text.as_ref());
        Self { waits_for: Some(Box::new(awaited)), ..Self::new(FaultKind::Parked, code, text) }
    }

    /// Adds the answer it came from; its excerpt is cut.
    #[must_use]
    pub fn with_answer(mut self, mut answer: UpstreamAnswer) -> Self {
        answer.excerpt = cut(&answer.excerpt, EXCERPT_CHARS_MAX);
        self.answer = Some(Box::new(answer));
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Fault {}

/// The first `chars_max` characters; a cut is marked with `…`, which counts.
pub fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars().take(chars_max.saturating_sub(1)).chain(std::iter::once('…')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_on_character_boundaries() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
        assert_eq!(Fault::permanent("x", "ä".repeat(5_000)).text.chars().count(), FAULT_TEXT_CHARS_MAX);
    }
}
