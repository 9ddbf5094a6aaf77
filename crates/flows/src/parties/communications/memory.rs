//! What the link remembers of a party's communications, beside the marks in Advoware. Pure.

use serde::{Deserialize, Serialize};

use super::kind::Kinds;
use super::remark::{self, Mark};
use super::value;
use super::{CrmEntry, RemoteEntry};

/// The link's part.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// Entries that both sides agreed on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<Known>,
    /// Marks that are written before EspoCRM is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<Pending>,
    /// What the user has not been told yet, though its cause is about to go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untold: Vec<Problem>,
    /// What the user was told already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<Problem>,
}

impl Memory {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What an entry was known as.
    pub fn known(&self, id: i64) -> Option<&Known> {
        self.known.iter().find(|known| known.id == id)
    }

    /// The marks of an entry that may run ahead of EspoCRM: the one that was to be written last, and the one before
    /// it where that write may not have taken effect.
    pub fn pending(&self, id: i64) -> impl Iterator<Item = &Pending> {
        self.pending.iter().filter(move |pending| pending.id == id)
    }
}

/// An entry that both sides agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The entry in Advoware.
    pub id: i64,
    /// The value, as EspoCRM held it.
    pub value: String,
    /// Whether it was the first one in EspoCRM.
    pub primary: bool,
}

/// A mark that is written before EspoCRM's lists are: until those have it, what was agreed on before counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The entry in Advoware.
    pub id: i64,
    /// The value agreed on before; none for an entry that was new.
    pub before: Option<String>,
    /// The value of the mark; none for a free entry.
    pub after: Option<String>,
}

/// What a person should know, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// An entry's mark cannot be read.
    MarkDamaged {
        /// The entry in Advoware.
        id: i64,
        /// Its value.
        value: String,
    },
    /// An entry's number cannot be made international.
    NotInternational {
        /// The entry in Advoware.
        id: i64,
        /// Its value.
        value: String,
    },
    /// A number in EspoCRM cannot be made international.
    NotInternationalInCrm {
        /// The number.
        value: String,
    },
}

impl Problem {
    /// For the person.
    pub fn text(&self) -> String {
        match self {
            Self::MarkDamaged { value, .. } => {
                format!(
                    "Advoware, “{value}”: the mark [ESPOCRM:…] in its remark was damaged; it is written anew."
                )
            }
            Self::NotInternational { value, .. } => {
                format!("Advoware, “{value}”: no number that EspoCRM would take. It is left as it is.")
            }
            Self::NotInternationalInCrm { value } => {
                format!("EspoCRM, “{value}”: no number that can be dialled from abroad. It is left as it is.")
            }
        }
    }
}

/// What both sides agree on, from what Advoware holds after the writes. Where somebody wiped a mark or an entry in
/// between, what we wrote is remembered, so that the next run sees what they did. `kept` are entries without a
/// readable mark that are left as they are.
pub fn known(
    held: &[RemoteEntry],
    written: &[RemoteEntry],
    kept: &[Known],
    crm: &[CrmEntry],
    kinds: &Kinds,
) -> Vec<Known> {
    let mut ids: Vec<i64> = held.iter().chain(written).map(|entry| entry.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let mark = |entries: &[RemoteEntry], id| {
        let entry = entries.iter().find(|entry| entry.id == id)?;
        match remark::read(&entry.remark).mark {
            Mark::Value { value, kind } if kinds.is_synchronised(kind) => Some(Some(value)),
            Mark::Slot { .. } => Some(None),
            Mark::Value { .. } | Mark::None | Mark::Damaged => None,
        }
    };
    let known = |id| {
        let kept = || kept.iter().find(|kept| kept.id == id).map(|kept| Some(kept.value.clone()));
        let value = mark(held, id).or_else(|| mark(written, id)).or_else(kept)??;
        let key = value::key(&value, kinds.country)?;
        let same = |entry: &&CrmEntry| value::key(&entry.value, kinds.country).as_ref() == Some(&key);
        let primary = crm.iter().find(same).is_some_and(|entry| entry.primary);
        Some(Known { id, value, primary })
    };
    ids.into_iter().filter_map(known).collect()
}
