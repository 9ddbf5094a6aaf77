//! Which dead letters are meant, and how they are shown in lists. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use shared::dead_letter::{DeadLetter, Reason};
use shared::record_key::{FlowName, RecordKey};
use uuid::Uuid;

/// What stands for the flow of a message that could not be read.
pub const UNKNOWN_FLOW: &str = "unknown";

/// Which dead letters are meant.
#[derive(Debug, Clone, PartialEq)]
pub enum Selection {
    /// The one with this id.
    One(Uuid),
    /// All open ones that match.
    Matching(Filter),
}

/// What dead letters must be like; empty parts ask for nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Of this flow.
    pub flow: Option<FlowName>,
    /// Of this record.
    pub key: Option<RecordKey>,
    /// Dead for this reason.
    pub reason: Option<Reason>,
    /// With this fault code.
    pub code: Option<String>,
    /// With this in the fault's text, its code or the record key; upper and lower case are the same.
    pub text: Option<String>,
    /// Dead since then, that instant included.
    pub since: Option<Timestamp>,
    /// Dead before then.
    pub before: Option<Timestamp>,
}

impl Filter {
    /// Whether a letter is as asked for.
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|it| it == found);
        self.flow.as_ref().is_none_or(|flow| letter.flow.as_ref() == Some(flow))
            && self.key.as_ref().is_none_or(|key| letter.key.as_ref() == Some(key))
            && self.reason.is_none_or(|reason| letter.reason == reason)
            && is(&self.code, &letter.code)
            && self.text.as_ref().is_none_or(|text| holds(letter, &text.to_lowercase()))
            && self.since.is_none_or(|since| letter.at >= since)
            && self.before.is_none_or(|before| letter.at < before)
    }
}

fn holds(letter: &DeadLetter, text: &str) -> bool {
    let key = letter.key.as_ref().map(ToString::to_string).unwrap_or_default();
    [&letter.text, &letter.code, &key].iter().any(|part| part.to_lowercase().contains(text))
}

/// A dead letter as a line of a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
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
}

impl LetterSummary {
    pub(crate) fn of(letter: &DeadLetter, attempts: usize) -> Self {
        Self {
            id: letter.id,
            flow: letter.flow.clone(),
            key: letter.key.clone(),
            reason: letter.reason,
            fault: letter.fault.clone(),
            code: letter.code.clone(),
            text: letter.text.clone(),
            attempts,
            first_seen: letter.first_seen,
            at: letter.at,
            worker: letter.worker.clone(),
            trace_id: letter.trace_id.clone(),
        }
    }

    /// The flow's name, or [`UNKNOWN_FLOW`].
    pub fn flow_name(&self) -> &str {
        self.flow.as_ref().map_or(UNKNOWN_FLOW, FlowName::as_str)
    }
}

/// Dead letters that failed in the same way.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// The flow, or [`UNKNOWN_FLOW`].
    pub flow: String,
    /// Why they are here.
    pub reason: Reason,
    /// The fault's code.
    pub code: String,
    /// How many.
    pub count: usize,
    /// When the first became a dead letter.
    pub first: Timestamp,
    /// When the last became a dead letter.
    pub last: Timestamp,
    /// The first one's id, to look at.
    pub example: Uuid,
    /// The first one's text.
    pub text: String,
}

/// Groups letters (oldest first) by flow, reason and code; the largest group first.
pub(crate) fn group(letters: &[LetterSummary]) -> Vec<Group> {
    let mut groups: BTreeMap<(&str, Reason, &str), Group> = BTreeMap::new();
    for letter in letters {
        let group =
            groups.entry((letter.flow_name(), letter.reason, &letter.code)).or_insert_with(|| Group {
                flow: letter.flow_name().to_owned(),
                reason: letter.reason,
                code: letter.code.clone(),
                count: 0,
                first: letter.at,
                last: letter.at,
                example: letter.id,
                text: letter.text.clone(),
            });
        group.count += 1;
        group.last = group.last.max(letter.at);
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    groups
}
