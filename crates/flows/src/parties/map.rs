//! Each side's record ↔ the canonical party, field by field. Pure.

use connector_advoware as advoware;
use connector_espocrm::{ContactEntry, Patch, Record, contact_data, values};
use serde_json::Value;
use shared::fault::Fault;

use super::communications::kind::Kinds;
use super::communications::{Class, CrmEntry, Remote, RemoteEntry};
use super::party::{Field, Identity, Kind, Party, Salutation, SalutationTable, canonical};
use super::sides::{CrmPatch, CrmSide, RemoteSide, Status, User};

/// EspoCRM's attributes that a sweep needs to see whether a record has changed.
pub const CRM_CONTENT: [&str; 7] = [
    "lastName",
    "firstName",
    "firmenname",
    "rechtsform",
    "salutationName",
    "dateOfBirth",
    "handelsregisterNummer",
];

/// The mapped fields of a CBeteiligte. What has a company name is a company: EspoCRM hides the person's fields
/// of such a record.
///
/// # Errors
/// A permanent fault where a field is missing or of another type.
pub fn crm_party(record: &Record, table: &SalutationTable) -> Result<Party, Fault> {
    let text = |attribute| record.text(attribute).map(canonical);
    let identity = match text("firmenname")? {
        Some(name) => Identity { kind: Kind::Company, name: Some(name), first_name: None },
        None => Identity { kind: Kind::Person, name: text("lastName")?, first_name: text("firstName")? },
    };
    Ok(Party {
        identity,
        legal_form: text("rechtsform")?,
        salutation: table.read_crm(text("salutationName")?),
        birth_date: record.date("dateOfBirth")?,
        register_number: text("handelsregisterNummer")?,
    })
}

/// A CBeteiligte as the plan sees it.
///
/// # Errors
/// As [`crm_party`].
pub fn crm_side(record: &Record, table: &SalutationTable, kinds: Option<&Kinds>) -> Result<CrmSide, Fault> {
    Ok(CrmSide {
        id: record.id().to_string(),
        party: crm_party(record, table)?,
        communications: if kinds.is_some() { crm_communications(record)? } else { Vec::new() },
        bet_nr: record.int("betnr")?,
        row_id: record.text("advowareRowId")?.map(str::to_owned),
        status: Status::read(record.text("syncStatus")?),
        last_sync: record.timestamp("advowareLastSync")?,
        deleted_at: record.timestamp("advowareDeletedAt")?,
        error: record.text("syncErrorMessage")?.map(str::to_owned),
        retry_count: record.int("syncRetryCount")?.unwrap_or_default(),
        modified_at: record.timestamp("modifiedAt")?,
        assigned_user: assigned_user(record),
    })
}

/// The phone numbers and mail addresses of a CBeteiligte, as a read of it alone carries them.
///
/// # Errors
/// A permanent fault where a list is missing or of another form.
pub fn crm_communications(record: &Record) -> Result<Vec<CrmEntry>, Fault> {
    let mut all = Vec::new();
    for class in Class::ALL {
        let entries = record.contact_data(class.crm_name())?;
        all.extend(entries.into_iter().map(|ContactEntry { value, kind, primary, opt_out, invalid }| {
            CrmEntry { class, value, kind: kind.filter(|_| class == Class::Phone), primary, opt_out, invalid }
        }));
    }
    Ok(all)
}

/// The record's assigned user; none where the field is missing, too.
pub fn assigned_user(record: &Record) -> Option<User> {
    let id = record.text("assignedUserId").ok().flatten()?.to_owned();
    let name = record.text("assignedUserName").ok().flatten().unwrap_or_default().to_owned();
    Some(User { id, name })
}

/// What to call a record where a person reads it.
pub fn title(record: &Record) -> String {
    let text = |attribute| record.text(attribute).ok().flatten();
    let parts: Vec<&str> = match text("firmenname") {
        Some(company) => vec![company],
        None => [text("firstName"), text("lastName")].into_iter().flatten().collect(),
    };
    if parts.is_empty() { record.id().to_string() } else { parts.join(" ") }
}

/// A Beteiligter as the plan sees it.
///
/// # Errors
/// A permanent fault where a field is of another type.
pub fn remote_side(
    party: &advoware::Party,
    table: &SalutationTable,
    kinds: Option<&Kinds>,
) -> Result<RemoteSide, Fault> {
    let text = |field| party.get(field).map(|value| canonical(value.as_deref()));
    Ok(RemoteSide {
        bet_nr: party.betnr().get(),
        row_id: party.row_id().map(String::from),
        name: text(advoware::Field::Name)?,
        first_name: text(advoware::Field::Vorname)?,
        legal_form: text(advoware::Field::Rechtsform)?,
        salutation: table.read_remote(text(advoware::Field::Anrede)?),
        birth_date: party.date_of_birth()?,
        register_number: text(advoware::Field::HandelsRegisterNummer)?,
        communications: kinds
            .map(|kinds| remote_communications(party, kinds))
            .transpose()?
            .unwrap_or_default(),
        changed_at: party.changed_at(),
    })
}

/// What is written of an entry.
pub fn communication_fields(value: &str, remark: &str, online: bool) -> advoware::CommunicationFields {
    advoware::CommunicationFields { tlf: value.to_owned(), bemerkung: remark.to_owned(), online }
}

fn remote_communications(party: &advoware::Party, kinds: &Kinds) -> Result<Remote, Fault> {
    let entry = |entry: advoware::Communication| {
        let advoware::CommunicationFields { tlf, bemerkung, online } = entry.fields;
        RemoteEntry { id: entry.id, value: tlf, remark: bemerkung, online }
    };
    let entries = party.communications()?.into_iter().map(entry).collect();
    let mirror = |(field, kind): (&str, u8)| Some((kind, party.text(field)?.to_owned()));
    Ok(Remote { entries, mirrors: kinds.mirrors().filter_map(mirror).collect() })
}

/// What to write to Advoware: these fields, as the party has them.
pub fn remote_patch(party: &Party, fields: &[Field], table: &SalutationTable) -> advoware::PartyPatch {
    fields.iter().fold(advoware::PartyPatch::new(), |patch, field| {
        patch.set(remote_field(*field), remote_value(party, *field, table).as_deref())
    })
}

/// What to create in Advoware: all fields of the party that have a value.
pub fn remote_create(party: &Party, table: &SalutationTable) -> advoware::PartyPatch {
    let filled: Vec<Field> =
        Field::ALL.into_iter().filter(|field| remote_value(party, *field, table).is_some()).collect();
    remote_patch(party, &filled, table)
}

/// One field in Advoware's words.
pub fn remote_value(party: &Party, field: Field, table: &SalutationTable) -> Option<String> {
    match (field, &party.salutation) {
        (Field::Salutation, Some(Salutation::Known(word))) => table.remote_word(word).map(str::to_owned),
        _ => party.text(field),
    }
}

fn remote_field(field: Field) -> advoware::Field {
    match field {
        Field::Name => advoware::Field::Name,
        Field::FirstName => advoware::Field::Vorname,
        Field::LegalForm => advoware::Field::Rechtsform,
        Field::Salutation => advoware::Field::Anrede,
        Field::BirthDate => advoware::Field::Geburtsdatum,
        Field::RegisterNumber => advoware::Field::HandelsRegisterNummer,
    }
}

/// What to search for in Advoware for a party whose create may have been lost.
pub fn search(party: &Party) -> advoware::Search {
    advoware::Search {
        name: party.identity.name.clone(),
        vorname: party.identity.first_name.clone(),
        geburtsdatum: party.birth_date,
        handelsregisternummer: party.register_number.clone(),
    }
}

/// What to search for where nobody knows what of a party was changed since its create: its name.
pub fn search_namesakes(party: &Party) -> advoware::Search {
    advoware::Search { geburtsdatum: None, handelsregisternummer: None, ..search(party) }
}

/// Whether what the search found has the name of what was to be created. What was empty must be empty.
pub fn is_namesake(found: &RemoteSide, wanted: &Party) -> bool {
    found.name == wanted.identity.name && found.first_name == wanted.identity.first_name
}

/// Whether what the search found is what was to be created.
pub fn is_candidate(found: &RemoteSide, wanted: &Party) -> bool {
    is_namesake(found, wanted)
        && match wanted.identity.kind {
            Kind::Person => found.birth_date == wanted.birth_date,
            Kind::Company => found.register_number == wanted.register_number,
        }
}

/// What to write to EspoCRM, as its attributes and values.
pub fn crm_patch(patch: &CrmPatch) -> Patch {
    let text = |value: &Option<String>| value.clone().map_or(Value::Null, Value::from);
    let time = |at| Value::from(values::datetime(at));
    let mut out = Patch::new();
    if let Some((party, fields)) = &patch.content {
        out = fields.iter().fold(out, |out, field| set_content(out, party, *field));
    }
    if let Some((entries, classes)) = &patch.communications {
        out = classes.iter().fold(out, |out, class| {
            let entries: Vec<ContactEntry> =
                entries.iter().filter(|entry| entry.class == *class).map(contact_entry).collect();
            out.set_raw(class.crm_name(), contact_data(class.crm_name(), &entries))
        });
    }
    out = out.set("syncStatus", patch.status.word());
    if let Some(bet_nr) = patch.bet_nr {
        out = out.set("betnr", bet_nr);
    }
    if let Some(row_id) = &patch.row_id {
        out = out.set("advowareRowId", text(row_id));
    }
    if let Some(at) = patch.last_sync {
        out = out.set("advowareLastSync", time(at));
    }
    if let Some(at) = patch.deleted_at {
        out = out.set("advowareDeletedAt", at.map_or(Value::Null, time));
    }
    if let Some(error) = &patch.error {
        out = out.set("syncErrorMessage", text(error));
    }
    if let Some(count) = patch.retry_count {
        out = out.set("syncRetryCount", count);
    }
    out
}

fn contact_entry(entry: &CrmEntry) -> ContactEntry {
    let CrmEntry { class: _, value, kind, primary, opt_out, invalid } = entry.clone();
    ContactEntry { value, kind, primary, opt_out, invalid }
}

fn set_content(out: Patch, party: &Party, field: Field) -> Patch {
    let text = |value: Option<String>| value.map_or(Value::Null, Value::from);
    let kind = party.identity.kind;
    let value = party.text(field);
    match (field, kind) {
        (Field::Name, Kind::Person) => out.set("lastName", text(value)).clear("firmenname"),
        (Field::Name, Kind::Company) => {
            out.set("firmenname", text(value)).clear("firstName").clear("lastName")
        }
        // EspoCRM refuses null for an enum; empty is an option of its own.
        (Field::LegalForm | Field::Salutation, _) => {
            out.set_raw(field.crm_name(kind), Value::from(value.unwrap_or_default()))
        }
        (Field::FirstName | Field::BirthDate | Field::RegisterNumber, _) => {
            out.set(field.crm_name(kind), text(value))
        }
    }
}
