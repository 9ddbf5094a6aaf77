//! The comparison of three parties, field by field: base, EspoCRM's, Advoware's. Pure.

use serde::{Deserialize, Serialize};
use shared::change::Merge;

use super::party::{Field, Identity, Kind, Party, Salutation};

/// Whose value counts where both sides changed a field to different values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Winner {
    /// EspoCRM's.
    Crm,
    /// Advoware's.
    Remote,
}

/// What comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// What both sides are to say.
    pub target: Party,
    /// What to remember as agreed. Differs from `target` where a value could not be carried over.
    pub base: Party,
    /// Fields to write to EspoCRM.
    pub to_crm: Vec<Field>,
    /// Fields to write to Advoware.
    pub to_remote: Vec<Field>,
    /// Fields that both sides changed to different values.
    pub conflicts: Vec<Field>,
    /// Whether a salutation stays different because the other side has no word for it.
    pub salutation_left: bool,
}

/// Merges. `refused` says of a salutation of EspoCRM's that EspoCRM has no such option.
pub fn merge(
    base: &Party,
    crm: &Party,
    remote: &Party,
    winner: Winner,
    refused: &dyn Fn(&str) -> bool,
) -> Merged {
    let mut work = Work { winner, to_crm: Vec::new(), to_remote: Vec::new(), conflicts: Vec::new() };
    let identity = work.identity(&base.identity, &crm.identity, &remote.identity);
    let legal_form = work.field(Field::LegalForm, &base.legal_form, &crm.legal_form, &remote.legal_form);
    let (salutation, agreed_salutation, salutation_left) = work.salutation(base, crm, remote, refused);
    let (mut birth_date, mut register_number) = (None, None);
    match identity.kind {
        Kind::Person => {
            birth_date = work.field(Field::BirthDate, &base.birth_date, &crm.birth_date, &remote.birth_date);
        }
        Kind::Company => {
            register_number = work.field(
                Field::RegisterNumber,
                &base.register_number,
                &crm.register_number,
                &remote.register_number,
            );
        }
    }
    let target = Party { identity, legal_form, salutation, birth_date, register_number };
    let base = Party { salutation: agreed_salutation, ..target.clone() };
    let Work { to_crm, to_remote, conflicts, .. } = work;
    Merged { target, base, to_crm, to_remote, conflicts, salutation_left }
}

struct Work {
    winner: Winner,
    to_crm: Vec<Field>,
    to_remote: Vec<Field>,
    conflicts: Vec<Field>,
}

impl Work {
    fn field<T: PartialEq + Clone>(&mut self, field: Field, base: &T, crm: &T, remote: &T) -> T {
        let (value, conflict) = resolve(Merge::of(base, crm, remote), self.winner);
        if conflict {
            self.conflicts.push(field);
        }
        if value != *crm {
            self.to_crm.push(field);
        }
        if value != *remote {
            self.to_remote.push(field);
        }
        value
    }

    /// Names are merged one by one only while nobody changes the kind; else they are one value, so that a
    /// person's and a company's names are never mixed.
    fn identity(&mut self, base: &Identity, crm: &Identity, remote: &Identity) -> Identity {
        if base.kind == crm.kind && crm.kind == remote.kind {
            let name = self.field(Field::Name, &base.name, &crm.name, &remote.name);
            let first_name =
                self.field(Field::FirstName, &base.first_name, &crm.first_name, &remote.first_name);
            return Identity { kind: base.kind, name, first_name };
        }
        let (identity, conflict) = resolve(Merge::of(base, crm, remote), self.winner);
        if conflict {
            self.conflicts.push(Field::Name);
        }
        let switched = identity.kind != crm.kind;
        if switched || identity.name != crm.name {
            self.to_crm.push(Field::Name);
        }
        if identity.kind == Kind::Person && (switched || identity.first_name != crm.first_name) {
            self.to_crm.push(Field::FirstName);
        }
        // Advoware has no field for the kind: with the same names there is nothing to write.
        if identity.name != remote.name {
            self.to_remote.push(Field::Name);
        }
        if identity.first_name != remote.first_name {
            self.to_remote.push(Field::FirstName);
        }
        identity
    }

    /// A salutation that the other side has no word for is left as it is, on both sides. What is agreed is then
    /// the value of the side that was not written, so that the difference is neither lost nor written later.
    fn salutation(
        &mut self,
        base: &Party,
        crm: &Party,
        remote: &Party,
        refused: &dyn Fn(&str) -> bool,
    ) -> (Option<Salutation>, Option<Salutation>, bool) {
        let (base, crm, remote) = (&base.salutation, &crm.salutation, &remote.salutation);
        let (value, conflict) = resolve(Merge::of(base, crm, remote), self.winner);
        let crm_stays = matches!(crm, Some(Salutation::CrmOnly(_)));
        let remote_stays = match remote {
            Some(Salutation::RemoteOnly(_)) => true,
            Some(Salutation::Known(word)) => refused(word),
            _ => false,
        };
        if conflict && crm_stays && remote_stays {
            return (crm.clone(), base.clone(), true);
        }
        if conflict {
            self.conflicts.push(Field::Salutation);
        }
        if value != *remote && crm_stays {
            return (crm.clone(), remote.clone(), true);
        }
        if value != *crm && remote_stays {
            return (remote.clone(), crm.clone(), true);
        }
        if value != *crm {
            self.to_crm.push(Field::Salutation);
        }
        if value != *remote {
            self.to_remote.push(Field::Salutation);
        }
        (value.clone(), value, false)
    }
}

fn resolve<T>(merge: Merge<T>, winner: Winner) -> (T, bool) {
    match (merge, winner) {
        (Merge::Agreed(value) | Merge::TakeLeft(value) | Merge::TakeRight(value), _) => (value, false),
        (Merge::Conflict { left, .. }, Winner::Crm) => (left, true),
        (Merge::Conflict { right, .. }, Winner::Remote) => (right, true),
    }
}
