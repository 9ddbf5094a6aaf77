//! The documents of the projection, and their keys. Pure.
//!
//! | key | holds |
//! | --- | --- |
//! | `letters/checkpoint` | how far the log was read |
//! | `letters/id/<id>` | what became of a letter, and where its record stands |
//! | `letters/open/<flow>/<reason>/<time><id>` | an open letter in short; the time runs backwards, so that a scan finds the newest first |
//! | `letters/count/<flow>/<reason>` | how many are open |
//! | `letters/group/<group>` | how many that failed alike are open |

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shared::dead_letter::{DeadLetter, Reason, Resolution};
use shared::fault::cut;
use shared::ports::state::Versioned;
use shared::record_key::{FlowName, RecordKey};
use uuid::Uuid;

use super::signature::{Signature, UNKNOWN_FLOW};

/// What every key begins with.
pub(super) const ALL: &str = "letters/";
/// The checkpoint.
pub(super) const CHECKPOINT: &str = "letters/checkpoint";
/// The open letters.
pub(super) const OPEN: &str = "letters/open/";
/// The counts by flow and reason.
pub(super) const COUNTS: &str = "letters/count/";
/// The groups.
pub(super) const GROUPS: &str = "letters/group/";
/// Longest text of a summary, in characters.
const TEXT_CHARS_MAX: usize = 200;

/// What became of a letter.
pub(super) fn entry_key(id: &Uuid) -> String {
    format!("letters/id/{id}")
}

/// Where the open letters of a flow and reason stand.
pub(super) fn lane(flow: &str, reason: Reason) -> String {
    format!("{OPEN}{flow}/{}/", reason.name())
}

/// The place of a letter within its lane: newer ones are smaller.
pub(super) fn place(at: Timestamp, id: &Uuid) -> String {
    format!("{}{}", backwards(at), id.simple())
}

/// A text that is the smaller, the later the time is. To the microsecond.
pub(super) fn backwards(at: Timestamp) -> String {
    let latest = i64::MAX.unsigned_abs();
    format!("{:016x}", latest.saturating_add_signed(at.as_microsecond().saturating_neg()))
}

/// Reads a document. One that cannot be read counts as absent.
pub(super) fn read<T: DeserializeOwned>(document: Option<&Versioned>) -> Option<T> {
    document.and_then(|document| serde_json::from_slice(&document.value).ok())
}

/// Writes a document.
pub(super) fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
    // Serialising plain structs with string keys cannot fail.
    serde_json::to_vec(value).unwrap_or_default()
}

/// How far the log was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// Where to read on.
    pub(super) position: u64,
    /// Records that nobody can read.
    pub(super) unreadable: u64,
    /// No open letter stands before this position.
    pub(super) oldest: u64,
    /// The documents are being removed, to begin again.
    pub(super) is_resetting: bool,
}

/// What became of a letter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Its opening; none where it was closed before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) opened: Option<Opening>,
    /// Its end; none while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ending: Option<Ending>,
}

impl Entry {
    /// The opening of a letter that is open.
    pub(super) fn open(&self) -> Option<&Opening> {
        self.opened.as_ref().filter(|_| self.ending.is_none())
    }
}

/// The opening of a letter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Opening {
    /// Where its record stands in the log.
    pub(super) position: u64,
    /// When it became a dead letter.
    pub(super) at: Timestamp,
    /// What it is counted under.
    pub(super) signature: Signature,
    /// The record, where it is known.
    pub(super) key: Option<RecordKey>,
}

impl Opening {
    /// The key of the letter's summary.
    pub(super) fn summary_key(&self, id: &Uuid) -> String {
        format!("{}{}", lane(&self.signature.flow, self.signature.reason), place(self.at, id))
    }
}

/// How a letter ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum Ending {
    /// The log says so.
    Resolved {
        /// Where in the log.
        position: u64,
        /// How.
        resolution: Resolution,
        /// Who did it: a person's name, or the worker's.
        by: String,
        /// Why.
        note: String,
        /// The message that was sent again, where it had been edited.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        edited: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// The log dropped its record, being full or the record too old.
    Dropped,
}

/// How many open letters there are of a kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Tally {
    /// What they have in common.
    pub(super) signature: Signature,
    /// How many are open.
    pub(super) count: u64,
    /// When the first became a dead letter, since last none was open.
    pub(super) first: Timestamp,
    /// When the last became a dead letter.
    pub(super) last: Timestamp,
    /// The last one's id.
    pub(super) example: Uuid,
    /// The last event of the log that is counted in here.
    pub(super) position: u64,
}

/// A dead letter as a line of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LetterSummary {
    /// Its id.
    pub id: Uuid,
    /// The flow, where it is known.
    pub flow: Option<FlowName>,
    /// The record, where it is known.
    pub key: Option<RecordKey>,
    /// Why it is here.
    pub reason: Reason,
    /// The last fault's kind.
    pub fault: String,
    /// The last fault's code.
    pub code: String,
    /// The beginning of the last fault's text.
    pub text: String,
    /// The group of those that failed alike.
    pub group: String,
    /// Attempts that failed.
    pub attempts: usize,
    /// When the message was first published, where that is known.
    pub first_seen: Option<Timestamp>,
    /// When it became a dead letter.
    pub at: Timestamp,
    /// Who put it here.
    pub worker: String,
    /// The trace; empty where the message could not be read.
    pub trace_id: String,
    /// Where its record stands in the log.
    pub position: u64,
}

impl LetterSummary {
    /// A letter in short.
    pub fn of(letter: &DeadLetter, position: u64) -> Self {
        Self {
            id: letter.id,
            flow: letter.flow.clone(),
            key: letter.key.clone(),
            reason: letter.reason,
            fault: letter.fault.clone(),
            code: letter.code.clone(),
            text: cut(&letter.text, TEXT_CHARS_MAX),
            group: Signature::of(letter).group(),
            attempts: letter.attempts.len(),
            first_seen: letter.first_seen,
            at: letter.at,
            worker: letter.worker.clone(),
            trace_id: letter.trace_id.clone(),
            position,
        }
    }

    /// The flow's name, or [`UNKNOWN_FLOW`].
    pub fn flow_name(&self) -> &str {
        self.flow.as_ref().map_or(UNKNOWN_FLOW, FlowName::as_str)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_newest_comes_first(one in any::<i64>(), other in any::<i64>()) {
            let range = Timestamp::MIN.as_microsecond()..=Timestamp::MAX.as_microsecond();
            let time = |n: i64| {
                let width = range.end() - range.start();
                Timestamp::from_microsecond(range.start() + n.rem_euclid(width)).unwrap()
            };
            let (one, other) = (time(one), time(other));
            prop_assert_eq!(backwards(one).len(), 16);
            prop_assert_eq!(one.cmp(&other), backwards(other).cmp(&backwards(one)));
        }
    }
}
