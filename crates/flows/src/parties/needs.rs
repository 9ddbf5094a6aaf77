//! What the flow needs of EspoCRM: the one description that `doctor` checks and `syncfleet provision` makes.
//!
//! To need one more field is one more line here.

use std::collections::BTreeSet;

use connector_espocrm::EntityType;
use connector_espocrm::provision::{EntityNeed, FieldNeed, Needs, Right, Template};
use serde_json::json;

use super::NAME;
use super::communications::kind::Kinds;
use super::party::SalutationTable;
use super::sides::Status;
use crate::crm_checks::VERSION_MIN;

/// The events, each with a webhook and an address of its own: deliveries do not name theirs.
pub(super) const EVENTS: [&str; 3] = ["create", "update", "delete"];
/// EspoCRM's salutations in an entity type that was just made.
const SALUTATIONS: [&str; 5] = ["", "Mr.", "Ms.", "Mrs.", "Dr."];

/// EspoCRM's types of phone numbers in an entity type that was just made.
const PHONE_TYPES: [&str; 5] = ["Mobile", "Office", "Home", "Fax", "Other"];

/// `kinds`: of phone numbers and mail addresses, where these are kept equal as well.
pub(super) fn needs(entity_type: &EntityType, table: &SalutationTable, kinds: Option<&Kinds>) -> Needs {
    let records = |action| Right::Records(entity_type.to_string(), action);
    Needs {
        version_min: VERSION_MIN,
        entities: vec![EntityNeed {
            name: entity_type.clone(),
            template: Some(Template { name: "Person", label: "Beteiligter", label_plural: "Beteiligte" }),
            fields: fields(table).into_iter().chain(kinds.into_iter().flat_map(communications)).collect(),
        }],
        rights: vec![
            records("create"),
            records("read"),
            records("edit"),
            records("stream"),
            Right::Records("User".to_owned(), "read"),
            Right::Switch("Webhook"),
            Right::Permission("messagePermission"),
            Right::Permission("userPermission"),
        ],
        webhooks: EVENTS.map(|event| (format!("{entity_type}.{event}"), format!("{NAME}/{event}"))).into(),
    }
}

/// Both come with the template.
fn communications(kinds: &Kinds) -> Vec<FieldNeed> {
    let types: BTreeSet<&str> = kinds.words().collect();
    vec![
        FieldNeed::native("phoneNumber", json!({ "type": "phone", "typeList": PHONE_TYPES }))
            .options_needed(types),
        FieldNeed::native("emailAddress", json!({ "type": "email" })),
    ]
}

fn fields(table: &SalutationTable) -> Vec<FieldNeed> {
    let statuses = Status::ALL.map(Status::word);
    let salutations = std::iter::once("").chain(table.crm_words());
    let legal_forms = ["", "GmbH", "AG", "KG", "OHG", "GbR", "e.K.", "UG"];
    vec![
        FieldNeed::custom("betnr", json!({ "type": "int", "label": "BetNr", "min": 0, "disableFormatting": true })),
        FieldNeed::custom(
            "advowareRowId",
            json!({ "type": "varchar", "label": "Advoware Row ID", "maxLength": 50 }),
        )
        .length_min(50),
        FieldNeed::custom(
            "syncStatus",
            json!({ "type": "enum", "label": "Sync-Status", "options": statuses, "default": Status::PendingSync.word() }),
        )
        .options_needed(statuses),
        FieldNeed::custom("advowareLastSync", json!({ "type": "datetime", "label": "Letzter Sync" })),
        FieldNeed::custom("advowareDeletedAt", json!({ "type": "datetime", "label": "In Advoware gelöscht am" })),
        FieldNeed::custom("syncErrorMessage", json!({ "type": "text", "label": "Sync-Fehler", "maxLength": 2_000 }))
            .length_min(2_000),
        FieldNeed::custom("syncRetryCount", json!({ "type": "int", "label": "Sync-Versuche", "default": 0, "min": 0 })),
        // Companies have no last name.
        FieldNeed::native("lastName", json!({ "type": "varchar", "maxLength": 100, "required": true }))
            .may_be_empty(),
        FieldNeed::native("firstName", json!({ "type": "varchar", "maxLength": 100 })),
        FieldNeed::custom("firmenname", json!({ "type": "varchar", "label": "Firmenname", "maxLength": 150 })),
        FieldNeed::custom(
            "rechtsform",
            json!({ "type": "enum", "label": "Rechtsform", "options": legal_forms, "default": "" }),
        )
        .options_wished([""]),
        FieldNeed::native("salutationName", json!({ "type": "enum", "options": SALUTATIONS }))
            .options_wished(salutations),
        FieldNeed::custom("dateOfBirth", json!({ "type": "date", "label": "Geburtsdatum" })),
        FieldNeed::custom(
            "handelsregisterNummer",
            json!({ "type": "varchar", "label": "HR-Nummer", "maxLength": 50 }),
        ),
    ]
}
