//! What the flow remembers about a linked pair.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::clock::later;
use shared::fault::cut;

use super::communications::Class;
use super::communications::memory::Memory;
use super::merge::Winner;
use super::party::{Field, Kind, Party};

/// Overwritten values kept; the oldest are dropped first.
pub const HISTORY_MAX: usize = 50;
/// Longest value kept in the history, in characters.
const VALUE_CHARS_MAX: usize = 300;

/// The link of one CBeteiligte and one Beteiligter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartyLink {
    /// The key in Advoware.
    pub bet_nr: i64,
    /// Advoware's row id as it was last read in agreement with `base`.
    pub row_id: Option<String>,
    /// What both sides last agreed on; none before the first agreement.
    pub base: Option<Party>,
    /// Values that lost against others, oldest first, at most [`HISTORY_MAX`].
    #[serde(default)]
    pub history: Vec<Overwritten>,
    /// A conflict that is being resolved, or that waits for a person.
    #[serde(default)]
    pub conflict: Option<OpenConflict>,
    /// Writes that were begun: whether they took effect shows where they went.
    #[serde(default)]
    pub attempt: Option<Attempt>,
    /// Phone numbers and mail addresses.
    #[serde(default, skip_serializing_if = "Memory::is_empty")]
    pub communications: Memory,
    /// Set while the party is gone from Advoware: what the CRM record said when that was noticed.
    #[serde(default)]
    pub gone: Option<Party>,
    /// Set when the CRM record was deleted.
    #[serde(default)]
    pub tombstone: Option<Timestamp>,
    /// Present interval between looks at a record that nobody reports a change of.
    pub interval_seconds: u64,
    /// When to look again; none while the interval is the longest, which the sweep covers by itself.
    #[serde(default)]
    pub due_at: Option<Timestamp>,
}

/// Writes that were begun, noted before the first of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Where the values come from.
    pub target: Party,
    /// The fields for EspoCRM.
    pub to_crm: Vec<Field>,
    /// The fields for Advoware.
    pub to_remote: Vec<Field>,
}

impl Attempt {
    /// The base, brought forward by what has arrived: a value of ours that stands where it was to go is agreed on,
    /// so what the other side says beside it was edited since.
    pub fn bring_forward(&self, base: &Party, crm: &Party, remote: &Party) -> Party {
        let mut base = base.clone();
        for (fields, holder) in [(&self.to_crm, crm), (&self.to_remote, remote)] {
            for field in fields {
                self.bring_field_forward(&mut base, *field, holder);
            }
        }
        base
    }

    fn bring_field_forward(&self, base: &mut Party, field: Field, holder: &Party) {
        let is_name = matches!(field, Field::Name | Field::FirstName);
        let kind = self.target.identity.kind;
        if is_name && (base.identity.kind != kind || holder.identity.kind != kind) {
            if holder.identity == self.target.identity {
                base.identity = self.target.identity.clone();
            }
            return;
        }
        let mut arrived = holder.clone();
        arrived.take(field, &self.target);
        if arrived == *holder {
            base.take(field, &self.target);
        }
    }
}

/// A value that was overwritten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overwritten {
    /// When it was decided.
    pub at: Timestamp,
    /// Whose value it was: `espocrm` or `advoware`.
    pub system: String,
    /// Which field.
    pub field: Subject,
    /// The value that was overwritten.
    pub value: String,
    /// What replaced it; `None` is empty.
    pub replaced_by: Option<String>,
}

/// Both sides changed the same fields to different values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenConflict {
    /// The fields, with both values.
    pub fields: Vec<ConflictField>,
    /// Whether the record says `conflict` and its user was told; from then on, another status is their decision.
    pub asked: bool,
    /// Who wins, once that is decided: an attempt that comes after decides no differently.
    #[serde(default)]
    pub winner: Option<Winner>,
}

impl OpenConflict {
    /// Whether these fields, with these values, are all part of it.
    pub fn covers(&self, fields: &[ConflictField]) -> bool {
        fields.iter().all(|field| self.fields.contains(field))
    }
}

/// One field of a conflict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictField {
    /// Which.
    pub field: Subject,
    /// EspoCRM's value.
    pub crm: Option<String>,
    /// Advoware's value.
    pub remote: Option<String>,
}

/// What a value is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Subject {
    /// A mapped field.
    Field(Field),
    /// A phone number or a mail address.
    Communication(Class),
}

impl Subject {
    /// One of the communications.
    pub fn of_class(class: Class) -> Self {
        Self::Communication(class)
    }

    /// EspoCRM's name, for a party of this kind.
    pub fn crm_name(self, kind: Kind) -> &'static str {
        match self {
            Self::Field(field) => field.crm_name(kind),
            Self::Communication(class) => class.crm_name(),
        }
    }

    /// Advoware's name.
    pub fn remote_name(self) -> &'static str {
        match self {
            Self::Field(field) => field.remote_name(),
            Self::Communication(_) => "kommunikation",
        }
    }
}

impl From<Field> for Subject {
    fn from(field: Field) -> Self {
        Self::Field(field)
    }
}

/// How often a record is looked at that nobody reports a change of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LookAgain {
    /// Shortest interval.
    pub min: Duration,
    /// Longest interval.
    pub max: Duration,
}

impl Default for LookAgain {
    fn default() -> Self {
        Self { min: Duration::from_secs(3_600), max: Duration::from_secs(24 * 3_600) }
    }
}

impl LookAgain {
    /// The interval after a look: half of it when something had changed in Advoware, else twice as long.
    pub fn next_interval(self, previous: Duration, changed: bool) -> Duration {
        let next = if changed { previous / 2 } else { previous.saturating_mul(2) };
        next.clamp(self.min, self.max.max(self.min))
    }
}

impl PartyLink {
    /// A link that knows only its key.
    pub fn new(bet_nr: i64, look_again: LookAgain) -> Self {
        Self {
            bet_nr,
            row_id: None,
            base: None,
            history: Vec::new(),
            conflict: None,
            attempt: None,
            communications: Memory::default(),
            gone: None,
            tombstone: None,
            interval_seconds: look_again.max.as_secs(),
            due_at: None,
        }
    }

    /// Keeps overwritten values. What the last attempt kept already is not kept twice.
    pub fn remember(&mut self, overwritten: Vec<Overwritten>) {
        let same = |a: &Overwritten, b: &Overwritten| {
            (&a.system, a.field, &a.value, &a.replaced_by) == (&b.system, b.field, &b.value, &b.replaced_by)
        };
        let tail = self.history.len().saturating_sub(overwritten.len());
        let repeated = self.history[tail..].len() == overwritten.len()
            && self.history[tail..].iter().zip(&overwritten).all(|(a, b)| same(a, b));
        if repeated {
            return;
        }
        self.history.extend(overwritten);
        let surplus = self.history.len().saturating_sub(HISTORY_MAX);
        self.history.drain(..surplus);
    }

    /// Sets when to look again. A look before its time says nothing about the interval, unless it found a change.
    pub fn schedule(&mut self, look_again: LookAgain, changed: bool, now: Timestamp) {
        let due = self.due_at.is_some_and(|at| at <= now);
        if !changed && !due {
            return;
        }
        let interval = look_again.next_interval(Duration::from_secs(self.interval_seconds), changed);
        self.interval_seconds = interval.as_secs();
        self.due_at = (interval < look_again.max).then(|| later(now, interval));
    }
}

impl Overwritten {
    /// One entry; long values are cut.
    pub fn new(
        at: Timestamp,
        system: &str,
        field: Subject,
        value: &str,
        replaced_by: Option<String>,
    ) -> Self {
        Self {
            at,
            system: system.to_owned(),
            field,
            value: cut(value, VALUE_CHARS_MAX),
            replaced_by: replaced_by.map(|value| cut(&value, VALUE_CHARS_MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn repeated_attempts_keep_a_value_once_and_the_history_is_bounded() {
        let mut link = PartyLink::new(1, LookAgain::default());
        let entry = |n: usize| {
            vec![Overwritten::new(
                Timestamp::UNIX_EPOCH,
                "advoware",
                Field::Name.into(),
                &n.to_string(),
                None,
            )]
        };
        link.remember(entry(0));
        link.remember(entry(0));
        link.remember(Vec::new());
        assert_eq!(link.history.len(), 1);
        (1..200).for_each(|n| link.remember(entry(n)));
        assert_eq!((link.history.len(), link.history[0].value.as_str()), (HISTORY_MAX, "150"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn intervals_stay_within_their_limits(previous in 0u64..10_000_000, changed: bool) {
            let rule = LookAgain::default();
            let next = rule.next_interval(Duration::from_secs(previous), changed);
            prop_assert!(next >= rule.min && next <= rule.max);
            let kept = Duration::from_secs(previous).clamp(rule.min, rule.max);
            let right_way = if changed { next <= kept } else { next >= kept };
            prop_assert!(right_way);
        }
    }
}
