//! Which dead letters are meant. Pure.

use jiff::Timestamp;
use serde::Serialize;
use shared::dead_letter::Reason;
use shared::record_key::{FlowName, RecordKey};
use uuid::Uuid;

use super::documents::{LetterSummary, Tally};

/// What dead letters must be like; empty parts ask for nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Of this flow.
    pub flow: Option<FlowName>,
    /// Of this record.
    pub key: Option<RecordKey>,
    /// Dead for this reason.
    pub reason: Option<Reason>,
    /// Of this group, as [`Group::group`] names it.
    pub group: Option<String>,
    /// With this in the fault's text, its code or the record key; upper and lower case are the same.
    pub text: Option<String>,
    /// Dead since then, that instant included.
    pub since: Option<Timestamp>,
    /// Dead before then.
    pub before: Option<Timestamp>,
}

impl Filter {
    /// Whether a letter is as asked for.
    pub fn matches(&self, letter: &LetterSummary) -> bool {
        self.covers(letter.flow_name(), letter.reason)
            && self.key.as_ref().is_none_or(|key| letter.key.as_ref() == Some(key))
            && self.group.as_ref().is_none_or(|group| letter.group == *group)
            && self.has_text(|| {
                let key = letter.key.as_ref().map(ToString::to_string).unwrap_or_default();
                [letter.text.clone(), letter.code.clone(), key]
            })
            && self.since.is_none_or(|since| letter.at >= since)
            && self.before.is_none_or(|before| letter.at < before)
    }

    /// Whether letters of a flow and reason may be as asked for.
    pub(super) fn covers(&self, flow: &str, reason: Reason) -> bool {
        self.flow.as_ref().is_none_or(|wanted| wanted.as_str() == flow)
            && self.key.as_ref().is_none_or(|key| key.flow().as_str() == flow)
            && self.reason.is_none_or(|wanted| wanted == reason)
    }

    /// Whether the flow and the reason say all: then the counts say how many there are.
    pub(super) fn is_counted(&self) -> bool {
        let counted = Self { flow: self.flow.clone(), reason: self.reason, ..Self::default() };
        *self == counted
    }

    /// Whether a group may hold letters as asked for. Of times it knows only the first and the last, and of texts
    /// what all have in common.
    pub(super) fn covers_group(&self, group: &Group) -> bool {
        self.covers(&group.flow, group.reason)
            && self.group.as_ref().is_none_or(|wanted| group.group == *wanted)
            && self.has_text(|| [group.text.clone(), group.code.clone()])
            && self.since.is_none_or(|since| group.last >= since)
            && self.before.is_none_or(|before| group.first < before)
    }

    fn has_text<const N: usize>(&self, parts: impl FnOnce() -> [String; N]) -> bool {
        self.text.as_ref().is_none_or(|wanted| {
            let wanted = wanted.to_lowercase();
            parts().iter().any(|part| part.to_lowercase().contains(&wanted))
        })
    }
}

/// Open dead letters that failed in the same way.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// Its short name, for a [`Filter`].
    pub group: String,
    /// The flow, or [`super::UNKNOWN_FLOW`].
    pub flow: String,
    /// Why they are here.
    pub reason: Reason,
    /// The fault's code.
    pub code: String,
    /// The fault's text without what differs from one record to the next.
    pub text: String,
    /// How many are open.
    pub count: u64,
    /// When the first became a dead letter, since last none was open.
    pub first: Timestamp,
    /// When the last became a dead letter.
    pub last: Timestamp,
    /// The last one's id, to look at.
    pub example: Uuid,
}

impl From<Tally> for Group {
    fn from(tally: Tally) -> Self {
        Self {
            group: tally.signature.group(),
            flow: tally.signature.flow,
            reason: tally.signature.reason,
            code: tally.signature.code,
            text: tally.signature.text,
            count: tally.count,
            first: tally.first,
            last: tally.last,
            example: tally.example,
        }
    }
}
