//! Parties for both sides, out of step in every way that a sync has to deal with: pure and seeded, plain
//! JSON records, each with the name of what is wrong with it.
//!
//! [`initial`] lays out what is there before the first sync. What needs a common past (three-way) is made
//! by [`second_round`] from the records as they stand after it; [`random_edits`] goes on for ever.

mod communications;
mod initial;
mod names;
mod second_round;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::upstream::Record;
use crate::{AdvowareSimulator, EspocrmSimulator};

pub use initial::initial;
pub use second_round::{random_edits, second_round};

/// What is out of step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// In the CRM without betnr, not in Advoware.
    OnlyInCrm,
    /// The same, with a name that is easily broken: umlauts (also decomposed), hyphens, apostrophes,
    /// several spaces, right-to-left text, titles.
    OddName,
    /// On both sides under one betnr, equal, never linked.
    EqualNeverLinked,
    /// On both sides under one betnr, different, never linked: the CRM wins.
    DifferentNeverLinked,
    /// A company in the CRM, a person in Advoware, never linked: the CRM wins.
    KindDiffersNeverLinked,
    /// Equal but for a salutation in Advoware that the CRM has no option for.
    UnknownSalutation,
    /// Linked by an older integration that left no row id; the CRM changed since its last sync.
    OlderIntegrationCrmChanged,
    /// Linked by an older integration that left no row id; Advoware changed since its last sync.
    OlderIntegrationAdvowareChanged,
    /// Two records in the CRM with one betnr: a dead letter for each.
    DuplicateBetnr,
    /// Advoware refuses it (no name): a dead letter, until a person completes it.
    RefusedByAdvoware,
    /// The CRM names a betnr that Advoware does not have.
    GoneFromAdvoware,
    /// Equal, with the same phone numbers and mail addresses in other forms.
    NumbersInOtherForms,
    /// Equal, with phone numbers and mail addresses that only one side has, and an entry in Advoware that is free.
    NumbersOnOneSide,
    /// Equal, with remarks in Advoware in which people have damaged what an earlier installation wrote there.
    MarksDamaged,
    /// Changed in the CRM.
    ChangedInCrm,
    /// Changed in Advoware.
    ChangedInAdvoware,
    /// Different fields changed on both sides: merged.
    BothDifferentFields,
    /// The same field changed on both sides to different values: a conflict.
    BothSameField,
    /// The same field changed on both sides to the same value: no conflict.
    BothSameValue,
    /// A person became a company or the other way round.
    KindChanged,
    /// A phone number changed in the CRM.
    NumberChangedInCrm,
    /// A phone number changed in Advoware.
    NumberChangedInAdvoware,
    /// A phone number deleted in the CRM, and another one emptied in Advoware.
    NumbersDeleted,
    /// Different phone numbers changed on both sides.
    NumbersOnBothSides,
    /// The same phone number changed on both sides to different ones: a conflict.
    SameNumberOnBothSides,
    /// A legal form in Advoware that is no option in the CRM: a dead letter that names it.
    UnknownLegalForm,
    /// Deleted in the CRM: stays in Advoware.
    DeletedInCrm,
    /// What was refused before was completed by a person: the dead letter closes by itself.
    Repaired,
}

impl Category {
    /// All categories, in the order of their declaration.
    pub const ALL: [Self; 28] = [
        Self::OnlyInCrm,
        Self::OddName,
        Self::EqualNeverLinked,
        Self::DifferentNeverLinked,
        Self::KindDiffersNeverLinked,
        Self::UnknownSalutation,
        Self::OlderIntegrationCrmChanged,
        Self::OlderIntegrationAdvowareChanged,
        Self::DuplicateBetnr,
        Self::RefusedByAdvoware,
        Self::GoneFromAdvoware,
        Self::NumbersInOtherForms,
        Self::NumbersOnOneSide,
        Self::MarksDamaged,
        Self::ChangedInCrm,
        Self::ChangedInAdvoware,
        Self::BothDifferentFields,
        Self::BothSameField,
        Self::BothSameValue,
        Self::KindChanged,
        Self::NumberChangedInCrm,
        Self::NumberChangedInAdvoware,
        Self::NumbersDeleted,
        Self::NumbersOnBothSides,
        Self::SameNumberOnBothSides,
        Self::UnknownLegalForm,
        Self::DeletedInCrm,
        Self::Repaired,
    ];

    /// Whether such a record ends as a dead letter.
    #[must_use]
    pub fn is_dead_letter(self) -> bool {
        matches!(self, Self::DuplicateBetnr | Self::RefusedByAdvoware | Self::UnknownLegalForm)
    }
}

/// A party on one or both sides, to be seeded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair {
    /// What is out of step.
    pub category: Category,
    /// The CBeteiligte.
    pub crm: Record,
    /// The Beteiligter, if Advoware has it.
    pub advoware: Option<Record>,
}

/// A side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// EspoCRM.
    Crm,
    /// Advoware.
    Advoware,
}

/// What a person does to a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Makes a record.
    Create {
        /// Its fields.
        fields: Record,
    },
    /// Changes these fields.
    Edit {
        /// Id of the record: CRM id or betNr.
        id: String,
        /// The new values.
        fields: Record,
    },
    /// Deletes it.
    Delete {
        /// Id of the record: CRM id or betNr.
        id: String,
    },
}

/// An edit by a person on one side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Edit {
    /// What will be out of step by it.
    pub category: Category,
    /// Where.
    pub side: Side,
    /// What.
    pub change: Change,
}

impl Edit {
    /// The request to that side's [control API](crate::control) which makes the edit: method, path, body.
    #[must_use]
    pub fn control_request(&self) -> (&'static str, String, Value) {
        let path = |id: &str| format!("/_control/person/records/{id}");
        match &self.change {
            Change::Create { fields } => ("POST", "/_control/person/records".to_owned(), json!(fields)),
            Change::Edit { id, fields } => ("PATCH", path(id), json!(fields)),
            Change::Delete { id } => ("DELETE", path(id), Value::Null),
        }
    }

    /// Makes the edit.
    ///
    /// # Errors
    /// What the system says against it.
    pub fn apply(&self, crm: &EspocrmSimulator, advoware: &AdvowareSimulator) -> Result<(), String> {
        match (self.side, &self.change) {
            (Side::Crm, Change::Create { fields }) => crm.create_as_person(fields).map(|_| ()),
            (Side::Crm, Change::Edit { id, fields }) => crm.edit_as_person(id, fields),
            (Side::Crm, Change::Delete { id }) => crm.delete_as_person(id),
            (Side::Advoware, Change::Create { fields }) => advoware.create_as_person(fields).map(|_| ()),
            (Side::Advoware, Change::Edit { id, fields }) => advoware.edit_as_person(id, fields),
            (Side::Advoware, Change::Delete { id }) => advoware.delete_as_person(id),
        }
    }
}

/// What a Beteiligter of these data stands for, for [`duplicate_creates`](crate::duplicate_creates): no two
/// of them share name, first name, date of birth and register number.
#[must_use]
pub fn identity(party: &Value) -> Option<String> {
    let text = |field: &str| party.get(field).and_then(Value::as_str).unwrap_or_default();
    let name = text("name");
    (!name.is_empty()).then(|| {
        format!("{name}|{}|{}|{}", text("vorname"), text("geburtsdatum"), text("handelsRegisterNummer"))
    })
}

/// The object in a JSON literal.
fn object(value: Value) -> Record {
    match value {
        Value::Object(fields) => fields,
        _ => Record::new(),
    }
}
