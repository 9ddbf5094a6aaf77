//! Phone numbers and mail addresses of a party, kept the same in EspoCRM (`phoneNumberData`, `emailAddressData`)
//! and Advoware (Kommunikationen). They run with the master data: one read of each side, one plan, one writing back.
//!
//! # The rules
//! - An entry of Advoware that both sides agree on carries a mark in its remark ([`remark`]): the value as EspoCRM
//!   holds it, and its kind. An entry without a readable mark is judged by what the link remembers of it ([`memory`]).
//!   Marks and link are the base of a three-way comparison ([`plan`]).
//! - Values are compared in one form ([`value`]): E.164, mail addresses in lower case. Advoware gets them as
//!   EspoCRM holds them, EspoCRM in E.164.
//! - What EspoCRM deletes is emptied in Advoware, which lets nobody delete, and is free for another value of its kind.
//!   What Advoware's people empty or delete is removed from EspoCRM.
//! - Both changed one value: the policy of the flow decides, the loser is kept in the link's history, the user is told.
//! - A remark is its user's but for the mark: it survives every write, and so do EspoCRM's flags.
//! - Before the first write the link notes which marks run ahead of EspoCRM, whose write comes last: a run that ends
//!   in between is never taken for somebody's edit.

pub mod kind;
pub mod memory;
pub mod plan;
pub mod remark;
pub mod value;

#[cfg(test)]
mod properties;

use serde::{Deserialize, Serialize};

/// Phone number or mail address: EspoCRM keeps them in two lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// `phoneNumberData`, with types.
    Phone,
    /// `emailAddressData`.
    Mail,
}

impl Class {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Phone, Self::Mail];

    /// EspoCRM's attribute.
    pub fn crm_name(self) -> &'static str {
        match self {
            Self::Phone => "phoneNumberData",
            Self::Mail => "emailAddressData",
        }
    }
}

/// One entry of EspoCRM's lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrmEntry {
    /// Which list.
    pub class: Class,
    /// The number or address.
    pub value: String,
    /// `type`; mail addresses have none.
    pub kind: Option<String>,
    /// Whether it is the first one.
    pub primary: bool,
    /// Whether the person objects to its use.
    pub opt_out: bool,
    /// Whether it is known not to work.
    pub invalid: bool,
}

/// One Kommunikation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteEntry {
    /// Its id.
    pub id: i64,
    /// `tlf`; empty is none.
    pub value: String,
    /// `bemerkung`.
    pub remark: String,
    /// `online`.
    pub online: bool,
}

/// What Advoware says of a party's communications.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Remote {
    /// The entries; their order says nothing.
    pub entries: Vec<RemoteEntry>,
    /// Top-level fields that show the value of a kind: kind and value.
    pub mirrors: Vec<(u8, String)>,
}

/// A write to Advoware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryWrite {
    /// POST. Its mark is how it is recognised where its answer is lost.
    Create {
        /// `kommKz`, write-once.
        kind: u8,
        /// `tlf`.
        value: String,
        /// `bemerkung`.
        remark: String,
        /// `online`.
        online: bool,
    },
    /// PUT.
    Update(RemoteEntry),
}
