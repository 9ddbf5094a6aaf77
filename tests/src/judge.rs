//! Says what is wrong with both sides, by their records and journals alone. Written from the specification; shares
//! no code with the flow that it judges.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use simulators::demo_data::{Category, Change, Edit, Pair, Side, identity};
use simulators::{ActorKind, JournalEntry, Operation, Record, duplicate_creates, writes_without_change};
use unicode_normalization::UnicodeNormalization as _;

/// Salutations that both sides know.
const SALUTATIONS: [(&str, &str); 2] = [("Mr.", "Herr"), ("Ms.", "Frau")];
/// The legal forms that the simulated EspoCRM has options for.
const LEGAL_FORMS: [&str; 7] = ["GmbH", "AG", "KG", "OHG", "GbR", "e.K.", "UG"];
/// Fields of Advoware that no sync may touch.
const UNMAPPED: [&str; 2] = ["strasse", "bemerkung"];
/// Attempts of a message in all.
const ATTEMPTS_MAX: u64 = 5;

/// What keeps both sides from being where they should end; empty when they are there.
pub fn unsettled(crm: &[Value], advoware: &[Value]) -> Vec<String> {
    let parties: BTreeMap<u64, &Value> =
        advoware.iter().filter_map(|party| Some((party["betNr"].as_u64()?, party))).collect();
    let live: Vec<&Value> = crm.iter().filter(|record| record["deleted"] != true).collect();
    let mut keys: BTreeMap<u64, u32> = BTreeMap::new();
    live.iter()
        .filter_map(|record| record["betnr"].as_u64())
        .for_each(|key| *keys.entry(key).or_default() += 1);
    let judge = |record: &&Value| {
        let key = record["betnr"].as_u64();
        let party = key.and_then(|key| parties.get(&key).copied());
        let is_shared = key.and_then(|key| keys.get(&key)).is_some_and(|count| *count > 1);
        let complaints = judge_record(record, key, party, is_shared);
        (!complaints.is_empty()).then(|| format!("{}: {}", record["id"], complaints.join("; ")))
    };
    live.iter().filter_map(judge).collect()
}

fn judge_record(record: &Value, key: Option<u64>, party: Option<&Value>, is_shared: bool) -> Vec<String> {
    let nameless = text(record, "lastName").is_none() && text(record, "firmenname").is_none();
    match (key, party) {
        (None, _) if nameless => status(record, "permanently_failed"),
        (None, _) => vec![format!("never created in Advoware, status {}", record["syncStatus"])],
        (Some(_), _) if is_shared => status(record, "permanently_failed"),
        (Some(_), None) => {
            let mut wrong = status(record, "failed");
            wrong.extend(
                text(record, "advowareDeletedAt").is_none().then(|| "no advowareDeletedAt".to_owned()),
            );
            wrong
        }
        (Some(_), Some(party)) if has_unknown_form(party) && !is_in_step(record, party) => {
            status(record, "permanently_failed")
        }
        (Some(_), Some(party)) => judge_pair(record, party),
    }
}

fn status(record: &Value, expected: &str) -> Vec<String> {
    let found = &record["syncStatus"];
    if found == expected { Vec::new() } else { vec![format!("status {found}, expected {expected}")] }
}

fn has_unknown_form(party: &Value) -> bool {
    text(party, "rechtsform").is_some_and(|form| !LEGAL_FORMS.contains(&form.as_str()))
}

fn judge_pair(record: &Value, party: &Value) -> Vec<String> {
    let mut wrong = status(record, "clean");
    wrong.extend(differences(record, party));
    if record["advowareRowId"] != party["rowId"] {
        wrong.push("the row id is not the present one".to_owned());
    }
    if text(record, "advowareLastSync").is_none() {
        wrong.push("no time of the last sync".to_owned());
    }
    if text(record, "syncErrorMessage").is_some() || record["syncRetryCount"].as_u64().unwrap_or(0) != 0 {
        wrong.push(format!("an old error: {} {}", record["syncErrorMessage"], record["syncRetryCount"]));
    }
    wrong
}

fn is_in_step(record: &Value, party: &Value) -> bool {
    differences(record, party).is_empty()
}

/// The mapped fields in which a record and its party differ.
fn differences(record: &Value, party: &Value) -> Vec<String> {
    let is_company = text(record, "firmenname").is_some();
    let mut pairs = vec![("rechtsform", text(record, "rechtsform"), text(party, "rechtsform"))];
    if is_company {
        pairs.push(("name", text(record, "firmenname"), text(party, "name")));
        pairs.push(("first name", None, text(party, "vorname")));
        pairs.push((
            "person's name beside a company's",
            text(record, "lastName").or(text(record, "firstName")),
            None,
        ));
        pairs.push(("register", text(record, "handelsregisterNummer"), text(party, "handelsRegisterNummer")));
    } else {
        let day = |date: Option<String>| date.map(|date| date.chars().take(10).collect::<String>());
        pairs.push(("name", text(record, "lastName"), text(party, "name")));
        pairs.push(("first name", text(record, "firstName"), text(party, "vorname")));
        pairs.push(("date of birth", day(text(record, "dateOfBirth")), day(text(party, "geburtsdatum"))));
    }
    let (ours, theirs) = (text(record, "salutationName"), text(party, "anrede"));
    let known = |word: &Option<String>| {
        word.as_ref()
            .is_none_or(|word| SALUTATIONS.iter().any(|(crm, advoware)| word == crm || word == advoware))
    };
    if known(&ours) && known(&theirs) {
        let translated = ours.map(|word| {
            SALUTATIONS
                .iter()
                .find(|(crm, _)| *crm == word)
                .map_or(word, |(_, advoware)| (*advoware).to_owned())
        });
        pairs.push(("salutation", translated, theirs));
    }
    pairs.push(("numbers and addresses", Some(values(record)), Some(values(party))));
    let differing = pairs.into_iter().filter(|(_, crm, advoware)| crm != advoware);
    differing.map(|(field, crm, advoware)| format!("{field} is {crm:?} and {advoware:?}")).collect()
}

/// The phone numbers and mail addresses of either side, in one form: digits without the country's code, addresses in
/// lower case. One that stands twice is there twice.
fn values(record: &Value) -> String {
    let lists =
        [("phoneNumberData", "phoneNumber"), ("emailAddressData", "emailAddress"), ("kommunikation", "tlf")];
    let mut values = Vec::new();
    for (list, name) in lists {
        for entry in record[list].as_array().into_iter().flatten() {
            let text = entry[name].as_str().unwrap_or_default().trim().to_lowercase();
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            let digits = digits.strip_prefix("00").unwrap_or(&digits);
            let digits = digits.strip_prefix("49").unwrap_or(digits);
            let national = digits.strip_prefix('0').unwrap_or(digits).to_owned();
            values.extend(
                Some(if text.contains('@') { text } else { national }).filter(|value| !value.is_empty()),
            );
        }
    }
    values.sort_unstable();
    values.join(", ")
}

/// Trimmed, in NFC; blank is nothing.
fn text(record: &Value, field: &str) -> Option<String> {
    let text: String = record[field].as_str()?.trim().nfc().collect();
    (!text.is_empty()).then_some(text)
}

/// Fields that a side must hold in the end, whatever the other side said.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    side: Side,
    id: String,
    fields: Record,
}

/// What must survive the first sync: the side that wins keeps all its mapped fields; Advoware keeps what is not
/// mapped.
pub fn kept_at_first(pairs: &[Pair]) -> Vec<Kept> {
    let mut kept = Vec::new();
    for pair in pairs {
        let id = pair.crm["id"].as_str().unwrap_or_default().to_owned();
        let key = pair.crm.get("betnr").and_then(Value::as_u64).map(|key| key.to_string());
        let advoware_wins = pair.category == Category::OlderIntegrationAdvowareChanged;
        if !advoware_wins {
            let fields =
                ["firstName", "lastName", "firmenname", "rechtsform", "dateOfBirth", "handelsregisterNummer"];
            kept.push(Kept { side: Side::Crm, id, fields: only(&pair.crm, &fields) });
        }
        if let (Some(id), Some(party)) = (key, &pair.advoware) {
            let mut fields = UNMAPPED.to_vec();
            if advoware_wins {
                fields.extend(["name", "vorname", "rechtsform", "geburtsdatum"]);
            }
            kept.push(Kept { side: Side::Advoware, id, fields: only(party, &fields) });
        }
    }
    kept
}

/// What must survive of people's edits: all but the loser of a conflict, and what the other side has no word for.
pub fn kept_of_edits(edits: &[Edit]) -> Vec<Kept> {
    let survives = |edit: &&Edit| match edit.category {
        Category::BothSameField => edit.side == Side::Crm,
        _ => true,
    };
    let fields_of = |edit: &Edit| match &edit.change {
        Change::Edit { id, fields } => {
            // Lists of numbers and addresses are judged as a whole: see `values`.
            let fields = fields.iter().filter(|(_, value)| !value.is_array());
            let fields = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
            Some(Kept { side: edit.side, id: id.clone(), fields })
        }
        Change::Create { .. } | Change::Delete { .. } => None,
    };
    edits.iter().filter(survives).filter_map(fields_of).collect()
}

/// What did not survive.
pub fn lost(kept: &[Kept], crm: &[Value], advoware: &[Value]) -> Vec<String> {
    let by_id = |records: &[Value], id: fn(&Value) -> String| -> BTreeMap<String, Value> {
        records.iter().map(|record| (id(record), record.clone())).collect()
    };
    let crm = by_id(crm, |record| record["id"].as_str().unwrap_or_default().to_owned());
    let advoware = by_id(advoware, |party| party["betNr"].to_string());
    let mut lost = Vec::new();
    for Kept { side, id, fields } in kept {
        let records = if *side == Side::Crm { &crm } else { &advoware };
        // What a person deleted is gone, and nothing else deletes: see `wrong_writes`.
        let Some(record) = records.get(id) else { continue };
        for (field, value) in fields {
            let expected = value
                .as_str()
                .map_or_else(|| value.clone(), |text| Value::String(text.trim().nfc().collect()));
            let found = text(record, field).map_or_else(|| Value::Null, Value::String);
            if found != expected {
                lost.push(format!("{side:?} {id}: {field} is {found}, expected {expected}"));
            }
        }
    }
    lost
}

fn only(record: &Record, fields: &[&str]) -> Record {
    let value = |field: &&str| ((*field).to_owned(), record.get(*field).cloned().unwrap_or(Value::Null));
    fields.iter().map(value).collect()
}

/// Writes of the product that should not have been: duplicates, writes without a change, deletions, parties that
/// no record knows, more attempts than permitted.
pub fn wrong_writes(crm: &[JournalEntry], advoware: &[JournalEntry], records: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    for twins in duplicate_creates(advoware, identity) {
        let ids: Vec<&str> = twins.iter().map(|entry| entry.record_id.as_str()).collect();
        wrong.push(format!("created more than once: {}", ids.join(", ")));
    }
    let known: BTreeSet<String> = records.iter().map(|record| record["betnr"].to_string()).collect();
    for entry in advoware.iter().chain(crm).filter(|entry| entry.actor_kind == ActorKind::Api) {
        let place = format!("{} {} {}", entry.system, entry.entity, entry.record_id);
        match (entry.operation, entry.entity.as_str()) {
            (Operation::Create, "Beteiligte") if !known.contains(&entry.record_id) => {
                wrong.push(format!("{place} was created and is linked to nobody"));
            }
            (Operation::Create, "CBeteiligte") => wrong.push(format!("{place} was created")),
            (Operation::Delete, _) => wrong.push(format!("{place} was deleted")),
            _ => {}
        }
        let retries = entry.after.as_ref().and_then(|after| after["syncRetryCount"].as_u64()).unwrap_or(0);
        if retries > ATTEMPTS_MAX {
            wrong.push(format!("{place}: {retries} attempts"));
        }
    }
    for entry in writes_without_change(advoware).into_iter().chain(writes_without_change(crm)) {
        let said = |field| entry.after.as_ref().map_or(&Value::Null, |after| &after[field]);
        wrong.push(format!(
            "{} {} was written without a change at {}: status {}, attempts {}",
            entry.system,
            entry.record_id,
            entry.at,
            said("syncStatus"),
            said("syncRetryCount")
        ));
    }
    wrong
}

/// The conditions under which a pair of records is judged, as a table.
#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(changes: Value) -> Value {
        let mut record = json!({ "id": "a", "betnr": 7, "firstName": "Ju\u{308}rgen", "lastName": "Lee", "salutationName": "Mr.",
            "dateOfBirth": "1980-01-01", "syncStatus": "clean", "advowareRowId": "r1", "advowareLastSync": "2026-01-01 00:00:00",
            "syncRetryCount": 0 });
        record.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        record
    }

    fn party(changes: Value) -> Value {
        let mut party = json!({ "betNr": 7, "vorname": "Jürgen", "name": "Lee", "anrede": "Herr",
            "geburtsdatum": "1980-01-01", "rowId": "r1" });
        party.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        party
    }

    #[test]
    fn a_pair_in_step_is_settled_and_each_difference_is_found() {
        let settled = |crm: Value, advoware: Value| unsettled(&[record(crm)], &[party(advoware)]).is_empty();
        assert!(settled(json!({}), json!({})));
        assert!(settled(json!({}), json!({ "anrede": "Eheleute" })), "no word for it");
        for crm in [
            json!({ "lastName": "Leé" }),
            json!({ "firstName": null }),
            json!({ "dateOfBirth": null }),
            json!({ "salutationName": "Ms." }),
            json!({ "rechtsform": "KG" }),
            json!({ "firmenname": "Lee" }),
            json!({ "syncStatus": "dirty" }),
            json!({ "advowareRowId": "r0" }),
            json!({ "syncErrorMessage": "x" }),
            json!({ "phoneNumberData": [{ "phoneNumber": "+49511200000" }] }),
        ] {
            assert!(!settled(crm.clone(), json!({})), "{crm}");
        }
        let phones = |value: &str| json!({ "phoneNumberData": [{ "phoneNumber": value }] });
        let entries = |values: &[&str]| json!({ "kommunikation": values.iter().map(|v| json!({ "tlf": v })).collect::<Vec<_>>() });
        assert!(settled(phones("+49511200000"), entries(&["0511/200-000", "", "www"])));
        assert!(!settled(phones("+49511200000"), entries(&["0511 200000", "+49 511 200000"])), "doubled");
        assert!(!settled(json!({}), json!({ "rechtsform": "Limited" })));
        assert!(settled(json!({ "syncStatus": "permanently_failed" }), json!({ "rechtsform": "Limited" })));
    }

    #[test]
    fn what_cannot_agree_must_say_so() {
        let gone = record(json!({ "syncStatus": "failed", "advowareDeletedAt": "2026-01-01 00:00:00" }));
        assert!(unsettled(&[gone], &[]).is_empty());
        assert!(!unsettled(&[record(json!({}))], &[]).is_empty());
        let twins = |status: &str| {
            unsettled(
                &[
                    record(json!({ "syncStatus": status })),
                    record(json!({ "id": "b", "syncStatus": status })),
                ],
                &[party(json!({}))],
            )
        };
        assert!(twins("permanently_failed").is_empty());
        assert_eq!(twins("clean").len(), 2);
        let new = json!({ "betnr": null, "syncStatus": "pending_sync" });
        assert_eq!(unsettled(&[record(new)], &[]).len(), 1);
    }

    #[test]
    fn a_lost_edit_is_found() {
        let edit = |side, category, fields: Value| Edit {
            category,
            side,
            change: Change::Edit {
                id: if side == Side::Crm { "a" } else { "7" }.to_owned(),
                fields: fields.as_object().unwrap().clone(),
            },
        };
        let edits = [
            edit(Side::Crm, Category::BothSameField, json!({ "lastName": "Crm" })),
            edit(Side::Advoware, Category::BothSameField, json!({ "name": "Advoware" })),
        ];
        let kept = kept_of_edits(&edits);
        let held = |name: &str| {
            lost(&kept, &[record(json!({ "lastName": name }))], &[party(json!({ "name": name }))])
        };
        assert!(held("Crm").is_empty());
        assert_eq!(held("Advoware").len(), 1);
    }
}
