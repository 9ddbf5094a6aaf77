//! What each side says about a party, as the plan sees it, and what a plan writes to EspoCRM.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::communications::{Class, CrmEntry, Remote};
use super::party::{Field, Identity, Kind, Party, Salutation};

/// `syncStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Both sides agree.
    Clean,
    /// Changed in the CRM, not synced yet.
    Dirty,
    /// Waits for its first sync.
    PendingSync,
    /// A worker is at it, for longer than usual.
    Syncing,
    /// The last attempt failed; a retry will come, or the party is gone from Advoware.
    Failed,
    /// A person decides.
    Conflict,
    /// A dead letter is open.
    PermanentlyFailed,
}

impl Status {
    /// All of them: the options of the enum field.
    pub const ALL: [Self; 7] = [
        Self::Clean,
        Self::Dirty,
        Self::PendingSync,
        Self::Syncing,
        Self::Failed,
        Self::Conflict,
        Self::PermanentlyFailed,
    ];

    /// EspoCRM's option.
    pub fn word(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Dirty => "dirty",
            Self::PendingSync => "pending_sync",
            Self::Syncing => "syncing",
            Self::Failed => "failed",
            Self::Conflict => "conflict",
            Self::PermanentlyFailed => "permanently_failed",
        }
    }

    /// Reads an option; blank or unknown is none.
    pub fn read(word: Option<&str>) -> Option<Self> {
        let word = word?.trim();
        Self::ALL.into_iter().find(|status| status.word() == word)
    }
}

/// A CBeteiligte as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrmSide {
    /// Its id.
    pub id: String,
    /// The mapped fields.
    pub party: Party,
    /// Phone numbers and mail addresses; none while they are not synchronised.
    pub communications: Vec<CrmEntry>,
    /// `betnr`.
    pub bet_nr: Option<i64>,
    /// `advowareRowId`.
    pub row_id: Option<String>,
    /// `syncStatus`.
    pub status: Option<Status>,
    /// `advowareLastSync`.
    pub last_sync: Option<Timestamp>,
    /// `advowareDeletedAt`.
    pub deleted_at: Option<Timestamp>,
    /// `syncErrorMessage`.
    pub error: Option<String>,
    /// `syncRetryCount`.
    pub retry_count: i64,
    /// `modifiedAt`: only for `newest_wins`, and for data of an older integration.
    pub modified_at: Option<Timestamp>,
    /// The assigned user.
    pub assigned_user: Option<User>,
}

/// A user of EspoCRM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its id.
    pub id: String,
    /// Its name; empty where it is not known.
    pub name: String,
}

/// A Beteiligter of Advoware as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteSide {
    /// `betNr`.
    pub bet_nr: i64,
    /// `rowId`.
    pub row_id: Option<String>,
    /// `name`.
    pub name: Option<String>,
    /// `vorname`.
    pub first_name: Option<String>,
    /// `rechtsform`.
    pub legal_form: Option<String>,
    /// `anrede`.
    pub salutation: Option<Salutation>,
    /// `geburtsdatum`.
    pub birth_date: Option<jiff::civil::Date>,
    /// `handelsRegisterNummer`.
    pub register_number: Option<String>,
    /// `kommunikation`, and the fields that show it; empty while they are not synchronised.
    pub communications: Remote,
    /// `geaendertAm`, where it is given.
    pub changed_at: Option<Timestamp>,
}

impl RemoteSide {
    /// The party. A first name means person, else it is a company. Only a person without a first name cannot be
    /// told from a company there: what our memory (`base`) or EspoCRM (`crm`) knows by the same names is what it
    /// is there; else it is a person where one of them has a person without a first name.
    pub fn party(&self, base: Option<&Party>, crm: Option<&Party>) -> Party {
        let same_names = |party: &&Party| {
            (&party.identity.name, &party.identity.first_name) == (&self.name, &self.first_name)
        };
        let nameless =
            |party: &Party| party.identity.kind == Kind::Person && party.identity.first_name.is_none();
        let kind = match base.filter(same_names).or(crm.filter(same_names)) {
            _ if self.first_name.is_some() => Kind::Person,
            Some(known) => known.identity.kind,
            None if base.is_some_and(nameless) || crm.is_some_and(nameless) => Kind::Person,
            None => Kind::Company,
        };
        Party {
            identity: Identity { kind, name: self.name.clone(), first_name: self.first_name.clone() },
            legal_form: self.legal_form.clone(),
            salutation: self.salutation.clone(),
            birth_date: self.birth_date,
            register_number: self.register_number.clone(),
        }
    }
}

/// What is written to EspoCRM, in one request. A field that is `None` is not mentioned; an inner `None` empties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrmPatch {
    /// `syncStatus`.
    pub status: Status,
    /// Mapped fields, with the party they are taken from.
    pub content: Option<(Party, Vec<Field>)>,
    /// Phone numbers and mail addresses: all that EspoCRM is to hold, and the lists that are written.
    pub communications: Option<(Vec<CrmEntry>, Vec<Class>)>,
    /// `betnr`.
    pub bet_nr: Option<i64>,
    /// `advowareRowId`.
    pub row_id: Option<Option<String>>,
    /// `advowareLastSync`.
    pub last_sync: Option<Timestamp>,
    /// `advowareDeletedAt`.
    pub deleted_at: Option<Option<Timestamp>>,
    /// `syncErrorMessage`.
    pub error: Option<Option<String>>,
    /// `syncRetryCount`.
    pub retry_count: Option<i64>,
}

impl CrmPatch {
    /// Only the status.
    pub fn of(status: Status) -> Self {
        Self {
            status,
            content: None,
            communications: None,
            bet_nr: None,
            row_id: None,
            last_sync: None,
            deleted_at: None,
            error: None,
            retry_count: None,
        }
    }
}
