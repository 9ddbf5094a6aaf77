//! The canonical party: what both sides mean, in one form, without either side's spelling.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

/// Person or company.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A natural person: `lastName`, `firstName`.
    Person,
    /// Anything else: `firmenname`.
    Company,
}

/// Who it is. Kind and names belong together: a change from person to company is one change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Person or company.
    pub kind: Kind,
    /// A person's last name, a company's name.
    pub name: Option<String>,
    /// A person's first name; none for a company.
    pub first_name: Option<String>,
}

impl Identity {
    /// Whether there is no name at all.
    pub fn is_blank(&self) -> bool {
        self.name.is_none() && self.first_name.is_none()
    }
}

/// A salutation, as far as the table knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Salutation {
    /// In the table; by EspoCRM's word for it.
    Known(String),
    /// EspoCRM's, with no word for it in Advoware.
    CrmOnly(String),
    /// Advoware's, with no word for it in EspoCRM.
    RemoteOnly(String),
}

impl Salutation {
    /// The word as the side shows it that it came from.
    pub fn word(&self) -> &str {
        match self {
            Self::Known(word) | Self::CrmOnly(word) | Self::RemoteOnly(word) => word,
        }
    }
}

/// The mapped fields of one party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// Kind and names.
    pub identity: Identity,
    /// `rechtsform`.
    pub legal_form: Option<String>,
    /// `salutationName`, `anrede`.
    pub salutation: Option<Salutation>,
    /// `dateOfBirth`, `geburtsdatum`; mapped for persons only.
    pub birth_date: Option<Date>,
    /// `handelsregisterNummer`, `handelsRegisterNummer`; mapped for companies only.
    pub register_number: Option<String>,
}

impl Party {
    /// The same with only the fields that are mapped for its kind.
    #[must_use]
    pub fn masked(mut self) -> Self {
        match self.identity.kind {
            Kind::Person => self.register_number = None,
            Kind::Company => self.birth_date = None,
        }
        self
    }

    /// Takes one field over. A name alone does not change the kind.
    pub fn take(&mut self, field: Field, from: &Self) {
        match field {
            Field::Name => self.identity.name.clone_from(&from.identity.name),
            Field::FirstName => self.identity.first_name.clone_from(&from.identity.first_name),
            Field::LegalForm => self.legal_form.clone_from(&from.legal_form),
            Field::Salutation => self.salutation.clone_from(&from.salutation),
            Field::BirthDate => self.birth_date = from.birth_date,
            Field::RegisterNumber => self.register_number.clone_from(&from.register_number),
        }
    }

    /// One field as text, for notices, the history and previews.
    pub fn text(&self, field: Field) -> Option<String> {
        match field {
            Field::Name => self.identity.name.clone(),
            Field::FirstName => self.identity.first_name.clone(),
            Field::LegalForm => self.legal_form.clone(),
            Field::Salutation => self.salutation.as_ref().map(|s| s.word().to_owned()),
            Field::BirthDate => self.birth_date.map(|date| date.to_string()),
            Field::RegisterNumber => self.register_number.clone(),
        }
    }
}

/// A mapped field. Where kinds differ, [`Field::Name`] stands for kind and names together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// Last name or company name.
    Name,
    /// First name.
    FirstName,
    /// Legal form.
    LegalForm,
    /// Salutation.
    Salutation,
    /// Date of birth.
    BirthDate,
    /// Commercial register number.
    RegisterNumber,
}

impl Field {
    /// All fields, in the order of plans.
    pub const ALL: [Self; 6] = [
        Self::Name,
        Self::FirstName,
        Self::LegalForm,
        Self::Salutation,
        Self::BirthDate,
        Self::RegisterNumber,
    ];

    /// EspoCRM's name of the field, for a party of this kind.
    pub fn crm_name(self, kind: Kind) -> &'static str {
        match (self, kind) {
            (Self::Name, Kind::Person) => "lastName",
            (Self::Name, Kind::Company) => "firmenname",
            (Self::FirstName, _) => "firstName",
            (Self::LegalForm, _) => "rechtsform",
            (Self::Salutation, _) => "salutationName",
            (Self::BirthDate, _) => "dateOfBirth",
            (Self::RegisterNumber, _) => "handelsregisterNummer",
        }
    }

    /// Advoware's name of the field.
    pub fn remote_name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::FirstName => "vorname",
            Self::LegalForm => "rechtsform",
            Self::Salutation => "anrede",
            Self::BirthDate => "geburtsdatum",
            Self::RegisterNumber => "handelsRegisterNummer",
        }
    }
}

/// The words of both sides for salutations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SalutationTable {
    to_remote: BTreeMap<String, String>,
    to_crm: BTreeMap<String, String>,
}

impl SalutationTable {
    /// A table of pairs, EspoCRM's word first. Where a word stands twice, its first pair counts.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut table = Self { to_remote: BTreeMap::new(), to_crm: BTreeMap::new() };
        for (crm, remote) in pairs {
            if table.to_remote.contains_key(&crm) || table.to_crm.contains_key(&remote) {
                continue;
            }
            table.to_remote.insert(crm.clone(), remote.clone());
            table.to_crm.insert(remote, crm);
        }
        table
    }

    /// EspoCRM's word.
    pub fn read_crm(&self, word: Option<String>) -> Option<Salutation> {
        word.map(
            |w| if self.to_remote.contains_key(&w) { Salutation::Known(w) } else { Salutation::CrmOnly(w) },
        )
    }

    /// Advoware's word.
    pub fn read_remote(&self, word: Option<String>) -> Option<Salutation> {
        word.map(|w| match self.to_crm.get(&w) {
            Some(crm) => Salutation::Known(crm.clone()),
            None => Salutation::RemoteOnly(w),
        })
    }

    /// Advoware's word for a salutation of EspoCRM.
    pub fn remote_word(&self, crm: &str) -> Option<&str> {
        self.to_remote.get(crm).map(String::as_str)
    }

    /// EspoCRM's words, for the check of its options.
    pub fn crm_words(&self) -> impl Iterator<Item = &str> {
        self.to_remote.keys().map(String::as_str)
    }
}

impl Default for SalutationTable {
    fn default() -> Self {
        Self::new([("Mr.", "Herr"), ("Ms.", "Frau")].map(|(c, r)| (c.to_owned(), r.to_owned())))
    }
}

/// A text in canonical form: trimmed, in Unicode's NFC, nothing else changed; blank is none.
pub fn canonical(text: Option<&str>) -> Option<String> {
    let text: String = text?.trim().nfc().collect();
    (!text.is_empty()).then_some(text)
}
