//! Beteiligte: whole-record writes, a row id that changes with each.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{communications, problem};
use crate::journal::{ActorKind, Operation};
use crate::store::{Change, Note, Store};
use crate::upstream::Record;
use crate::wire::{Answer, Request};

pub(super) const TABLE: &str = "Beteiligte";
/// First key given to a party that was not seeded with one.
const FIRST_BET_NR: u64 = 100_000;
/// Parties answered to one search.
const FOUND_MAX: usize = 1_000;

/// The fields a client may write, with those that master-data sync must leave alone.
const FIELDS: [&str; 24] = [
    "name",
    "vorname",
    "rechtsform",
    "anrede",
    "titel",
    "geburtsdatum",
    "handelsRegisterNummer",
    "briefAnrede",
    "zusatz",
    "strasse",
    "plz",
    "ort",
    "land",
    "bemerkung",
    "telGesch",
    "faxGesch",
    "mobil",
    "emailGesch",
    "internet",
    "telPrivat",
    "faxPrivat",
    "emailPrivat",
    "steuerNummer",
    "kundenNummer",
];
const SEARCHABLE: [&str; 4] = ["name", "vorname", "geburtsdatum", "handelsRegisterNummer"];

/// Who writes.
pub(super) struct By<'a> {
    pub(super) kind: ActorKind,
    pub(super) name: &'a str,
}

pub(super) fn read_body(request: &Request) -> Result<Record, Answer> {
    serde_json::from_slice(&request.body).map_err(|_| problem(400, "the body is not a JSON object"))
}

/// Keys sort by number.
pub(super) fn key(bet_nr: u64) -> String {
    format!("{bet_nr:012}")
}

pub(super) fn find(store: &Store, bet_nr: u64) -> Option<Record> {
    store.get(TABLE, &key(bet_nr))?.as_object().cloned()
}

/// The writable fields of a body, each present, or what is wrong with it.
fn checked(body: &Record) -> Result<Record, String> {
    let mut fields = Record::new();
    for name in FIELDS {
        let value = body.get(name).cloned().unwrap_or(Value::Null);
        if !(value.is_null() || value.is_string()) {
            return Err(format!("{name} is not a text"));
        }
        fields.insert(name.to_owned(), value);
    }
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    if text("name").is_none_or(|name| name.trim().is_empty()) {
        return Err("name is required".to_owned());
    }
    if let Some(born) = text("geburtsdatum").filter(|born| !born.is_empty()) {
        let valid = born.len() == 10 && born.parse::<Date>().is_ok();
        if !valid {
            return Err("geburtsdatum is not a date".to_owned());
        }
    }
    Ok(fields)
}

pub(super) fn create(
    store: &mut Store,
    now: Timestamp,
    by: &By<'_>,
    body: &Record,
) -> io::Result<Result<u64, String>> {
    let fields = match checked(body) {
        Ok(fields) => fields,
        Err(error) => return Ok(Err(error)),
    };
    let last = store.rows(TABLE).next_back().and_then(|(key, _)| key.parse::<u64>().ok());
    let gone = store.get("counter", "betNr").and_then(Value::as_u64);
    let bet_nr = last.max(gone).map_or(FIRST_BET_NR, |last| last + 1).max(FIRST_BET_NR);
    let mut party = Record::new();
    party.insert("betNr".to_owned(), json!(bet_nr));
    party.extend(fields);
    let entered = if by.kind == ActorKind::Person { body.get("kommunikation").cloned() } else { None };
    party.insert("kommunikation".to_owned(), entered.unwrap_or(json!([])));
    communications::complete(store, None, &mut party);
    write(store, now, by, Operation::Create, None, Some(party))?;
    Ok(Ok(bet_nr))
}

/// Writes all of `body`; a field left out is emptied. The communications stay, unless a person writes them: of
/// those, what is left out is deleted.
pub(super) fn replace(
    store: &mut Store,
    now: Timestamp,
    by: &By<'_>,
    party: &Record,
    body: &Record,
) -> io::Result<Result<(), String>> {
    match checked(body) {
        Ok(fields) => {
            let mut after = party.clone();
            after.extend(fields);
            if by.kind == ActorKind::Person
                && let Some(entered) = body.get("kommunikation")
            {
                after.insert("kommunikation".to_owned(), entered.clone());
                communications::complete(store, Some(party), &mut after);
            }
            write(store, now, by, Operation::Update, Some(party.clone()), Some(after)).map(Ok)
        }
        Err(error) => Ok(Err(error)),
    }
}

pub(super) fn seed(store: &mut Store, now: Timestamp, mut party: Record) -> io::Result<String> {
    let last = store.rows(TABLE).next_back().and_then(|(key, _)| key.parse::<u64>().ok());
    let bet_nr = party
        .get("betNr")
        .and_then(Value::as_u64)
        .unwrap_or_else(|| last.map_or(FIRST_BET_NR, |last| last + 1));
    party.insert("betNr".to_owned(), json!(bet_nr));
    for name in FIELDS {
        party.entry(name).or_insert(Value::Null);
    }
    party.entry("kommunikation").or_insert(json!([]));
    communications::complete(store, None, &mut party);
    let by = By { kind: ActorKind::Seed, name: "seed" };
    let before = find(store, bet_nr);
    let operation = if before.is_some() { Operation::Update } else { Operation::Create };
    write(store, now, &by, operation, before, Some(party))?;
    Ok(bet_nr.to_string())
}

/// Commits a party's new state under a new row id, or its end.
pub(super) fn write(
    store: &mut Store,
    now: Timestamp,
    by: &By<'_>,
    operation: Operation,
    before: Option<Record>,
    after: Option<Record>,
) -> io::Result<()> {
    let bet_nr =
        before.as_ref().or(after.as_ref()).and_then(|party| party.get("betNr")?.as_u64()).unwrap_or(0);
    let after = after.map(|mut party| {
        let keep = by.kind == ActorKind::Seed;
        if !(keep && party.contains_key("rowId")) {
            party.insert("rowId".to_owned(), json!(row_id(store.sequence())));
        }
        if !(keep && party.contains_key("geaendertAm")) {
            party.insert("geaendertAm".to_owned(), json!(now.strftime("%Y-%m-%dT%H:%M:%S").to_string()));
        }
        Value::Object(party)
    });
    let mut changes = vec![match &after {
        Some(party) => Change::set(TABLE, &key(bet_nr), party.clone()),
        None => Change::remove(TABLE, &key(bet_nr)),
    }];
    let given = |party: &Value| communications::highest_id(party.as_object()?);
    let known = store.get("counter", communications::COUNTER).and_then(Value::as_u64);
    if let Some(id) = after.as_ref().and_then(given).filter(|id| known.is_none_or(|known| *id > known)) {
        changes.push(Change::set("counter", communications::COUNTER, json!(id)));
    }
    if operation == Operation::Create {
        let highest = store.get("counter", "betNr").and_then(Value::as_u64).max(Some(bet_nr));
        changes.push(Change::set("counter", "betNr", json!(highest)));
    }
    let note = Note {
        operation,
        entity: "Beteiligte",
        record_id: bet_nr.to_string(),
        actor_kind: by.kind,
        actor: by.name.to_owned(),
        before: before.map(Value::Object),
        after,
    };
    store.commit(now, Some(note), changes)
}

/// 40 characters of base64 that were never given out before.
pub(super) fn row_id(sequence: u64) -> String {
    let mut hash = Sha256::new();
    hash.update(Uuid::new_v4().as_bytes());
    hash.update(sequence.to_be_bytes());
    let digest = hash.finalize();
    STANDARD.encode(digest.get(..30).unwrap_or(&digest))
}

pub(super) fn search(store: &Store, request: &Request) -> Result<Vec<Record>, &'static str> {
    let wanted: Vec<(String, String)> =
        request.query_pairs().filter(|(name, _)| SEARCHABLE.contains(&name.as_str())).collect();
    if wanted.is_empty() {
        return Err("a search needs name, vorname, geburtsdatum or handelsRegisterNummer");
    }
    let same = |party: &Record, name: &str, value: &str| {
        let stored = party.get(name).and_then(Value::as_str).unwrap_or_default();
        stored.trim().to_lowercase() == value.trim().to_lowercase()
    };
    Ok(store
        .rows(TABLE)
        .filter_map(|(_, party)| party.as_object())
        .filter(|party| wanted.iter().all(|(name, value)| same(party, name, value)))
        .take(FOUND_MAX)
        .cloned()
        .collect())
}
