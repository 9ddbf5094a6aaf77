//! Dead letters: messages that will not be tried again by themselves, with what is known about why.
//!
//! They are kept as an append-only log of events (opened, resolved), which listing never removes from or reorders.
//! What the log means is [`OpenLetters`]; the programs read a projection of it that is made of small documents.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::envelope::{Attempt, Envelope};
use crate::fault::{Fault, UpstreamAnswer, cut};
use crate::record_key::{FlowName, RecordKey};

/// Why a message became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// All attempts failed.
    AttemptsSpent,
    /// Will fail in the same way for ever.
    Permanent,
    /// No message of ours: no JSON, no envelope, an unknown flow.
    Unreadable,
    /// Older than its age limit while it waited at no cost of attempts.
    Expired,
    /// A broken invariant of ours, or a panic.
    Bug,
    /// Killed its worker again and again; the broker stopped it.
    Poison,
}

impl Reason {
    /// All reasons, in the order of the metrics.
    pub const ALL: [Self; 6] =
        [Self::AttemptsSpent, Self::Permanent, Self::Unreadable, Self::Expired, Self::Bug, Self::Poison];

    /// The word for metrics, logs and lists.
    pub fn name(self) -> &'static str {
        match self {
            Self::AttemptsSpent => "attempts_spent",
            Self::Permanent => "permanent",
            Self::Unreadable => "unreadable",
            Self::Expired => "expired",
            Self::Bug => "bug",
            Self::Poison => "poison",
        }
    }

    /// What it means, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::AttemptsSpent => "all attempts failed",
            Self::Permanent => "it would fail in the same way for ever",
            Self::Unreadable => "it is no message of this fleet",
            Self::Expired => "it waited longer than its age limit",
            Self::Bug => "a defect of syncfleet",
            Self::Poison => "it was handed over again and again without being settled",
        }
    }
}

/// A dead letter as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The id of the message; a message is dead-lettered once at most, so appending twice is harmless.
    pub id: Uuid,
    /// The flow whose queue it was in; none where even that is unknown.
    pub flow: Option<FlowName>,
    /// The record, where the message could be read.
    pub key: Option<RecordKey>,
    /// Why it is here.
    pub reason: Reason,
    /// The last fault's kind, such as `permanent`.
    pub fault: String,
    /// The last fault's code, such as `validation_failed`: what to group by.
    pub code: String,
    /// The last fault's text.
    pub text: String,
    /// The upstream's answer behind the last fault, redacted.
    pub answer: Option<UpstreamAnswer>,
    /// The message as it was, as text; bytes that are no UTF-8 are replaced.
    pub message: String,
    /// All failed attempts, the last included.
    pub attempts: Vec<Attempt>,
    /// The trace, as 32 hexadecimal digits; empty where the message could not be read.
    pub trace_id: String,
    /// When the message was first published, where that is known.
    pub first_seen: Option<Timestamp>,
    /// When it became a dead letter.
    pub at: Timestamp,
    /// Who put it here.
    pub worker: String,
    /// That worker's version.
    pub version: String,
}

impl DeadLetter {
    /// A dead letter of a message that could be read. `envelope` already holds the last attempt.
    pub fn of_envelope(
        envelope: &Envelope,
        reason: Reason,
        fault: &Fault,
        worker: &str,
        now: Timestamp,
    ) -> Self {
        Self {
            id: envelope.id,
            flow: Some(envelope.key.flow().clone()),
            key: Some(envelope.key.clone()),
            reason,
            fault: fault.kind.name().to_owned(),
            code: fault.code.to_owned(),
            text: fault.text.clone(),
            answer: fault.answer.as_deref().cloned(),
            message: String::from_utf8_lossy(&envelope.to_bytes()).into_owned(),
            attempts: envelope.history.clone(),
            trace_id: envelope.trace.trace_id(),
            first_seen: Some(envelope.first_seen),
            at: now,
            worker: worker.to_owned(),
            version: crate::VERSION.to_owned(),
        }
    }

    /// A dead letter of bytes that are no message. Its id is derived from the bytes, so that the same bytes
    /// delivered twice are one dead letter.
    pub fn of_bytes(
        bytes: &[u8],
        flow: Option<FlowName>,
        reason: Reason,
        code: &str,
        text: &str,
        worker: &str,
        now: Timestamp,
    ) -> Self {
        Self {
            id: id_of_bytes(bytes),
            flow,
            key: None,
            reason,
            fault: "permanent".to_owned(),
            code: code.to_owned(),
            text: cut(text, crate::fault::FAULT_TEXT_CHARS_MAX),
            answer: None,
            message: cut(&String::from_utf8_lossy(bytes), 4_000),
            attempts: Vec::new(),
            trace_id: String::new(),
            first_seen: None,
            at: now,
            worker: worker.to_owned(),
            version: crate::VERSION.to_owned(),
        }
    }
}

fn id_of_bytes(bytes: &[u8]) -> Uuid {
    use sha2::{Digest as _, Sha256};
    let digest = Sha256::digest(bytes);
    let mut id = [0u8; 16];
    id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    uuid::Builder::from_custom_bytes(id).into_uuid()
}

/// How a dead letter was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// Sent again by an operator.
    Replayed,
    /// Given up by an operator, with a reason in the event's note.
    Discarded,
    /// A later run of the same key succeeded.
    Superseded,
}

/// One event of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum DeadLetterEvent {
    /// A message became a dead letter.
    Opened {
        /// The dead letter.
        letter: Box<DeadLetter>,
    },
    /// A dead letter was closed. Closing what is closed, or unknown, changes nothing.
    Resolved {
        /// Which.
        id: Uuid,
        /// How.
        resolution: Resolution,
        /// Who did it: a person's name, or the worker's.
        by: String,
        /// Why, in the person's words; may be empty.
        note: String,
        /// The message that was sent again, where the operator had edited it: the letter keeps the one that failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        edited: Option<String>,
        /// When.
        at: Timestamp,
    },
}

/// The dead letters that are open, folded from the log in its order.
#[derive(Debug, Default, Clone)]
pub struct OpenLetters {
    open: BTreeMap<Uuid, DeadLetter>,
    resolved: BTreeSet<Uuid>,
}

impl OpenLetters {
    /// Takes one event into account. A letter that was resolved stays closed: a late duplicate of its opening
    /// does not open it again.
    pub fn apply(&mut self, event: DeadLetterEvent) {
        match event {
            DeadLetterEvent::Opened { letter } => {
                if !self.resolved.contains(&letter.id) {
                    self.open.entry(letter.id).or_insert(*letter);
                }
            }
            DeadLetterEvent::Resolved { id, .. } => {
                self.open.remove(&id);
                self.resolved.insert(id);
            }
        }
    }

    /// The open ones, oldest first.
    pub fn oldest_first(&self) -> Vec<&DeadLetter> {
        let mut letters: Vec<&DeadLetter> = self.open.values().collect();
        letters.sort_by_key(|letter| (letter.at, letter.id));
        letters
    }

    /// One open dead letter.
    pub fn get(&self, id: &Uuid) -> Option<&DeadLetter> {
        self.open.get(id)
    }

    /// Whether the log says that it was closed.
    pub fn is_resolved(&self, id: &Uuid) -> bool {
        self.resolved.contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(text: &str) -> DeadLetter {
        DeadLetter::of_bytes(
            text.as_bytes(),
            None,
            Reason::Unreadable,
            "no_json",
            "it is no JSON",
            "worker-1",
            Timestamp::UNIX_EPOCH,
        )
    }

    fn resolved(id: Uuid) -> DeadLetterEvent {
        let (by, note) = ("anna".to_owned(), String::new());
        DeadLetterEvent::Resolved {
            id,
            resolution: Resolution::Discarded,
            by,
            note,
            edited: None,
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_fold_is_idempotent_and_a_resolution_is_final() {
        let (one, two) = (letter("one"), letter("two"));
        assert_ne!(one.id, two.id);
        let opened = |l: &DeadLetter| DeadLetterEvent::Opened { letter: Box::new(l.clone()) };
        let mut open = OpenLetters::default();
        for event in
            [opened(&one), opened(&one), opened(&two), resolved(one.id), resolved(one.id), opened(&one)]
        {
            open.apply(event);
        }
        assert_eq!(open.oldest_first().iter().map(|l| l.id).collect::<Vec<_>>(), [two.id]);
    }

    #[test]
    fn events_survive_their_wire_form() {
        for event in [DeadLetterEvent::Opened { letter: Box::new(letter("x")) }, resolved(Uuid::from_u128(1))]
        {
            let text = serde_json::to_string(&event).unwrap();
            assert_eq!(serde_json::from_str::<DeadLetterEvent>(&text).unwrap(), event);
        }
    }
}
