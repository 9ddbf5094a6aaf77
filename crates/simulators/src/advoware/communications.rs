//! Kommunikationen: phone numbers and mail addresses of a party. `kommKz` is write-once and reads as 0. Fields at the
//! top of the party show the first value of a kind.

use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{parties, problem};
use crate::journal::Operation;
use crate::store::Store;
use crate::upstream::Record;
use crate::wire::{Answer, Request};

/// Where the highest id that was ever given out is kept.
pub(super) const COUNTER: &str = "kommunikation";
const FIRST_ID: u64 = 88_000;
const ENTRIES: &str = "kommunikation";
/// The fields that show the first value of a kind.
const MIRRORS: [(&str, u64); 8] = [
    ("telGesch", 1),
    ("faxGesch", 2),
    ("mobil", 3),
    ("emailGesch", 4),
    ("internet", 5),
    ("telPrivat", 6),
    ("faxPrivat", 7),
    ("emailPrivat", 8),
];

/// Hides the kinds, which a read does not show dependably.
pub(super) fn blank_kinds(party: &mut Record) {
    for entry in party.get_mut(ENTRIES).and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(entry) = entry.as_object_mut() {
            entry.insert("kommKz".to_owned(), json!(0));
        }
    }
}

/// The highest id among a party's entries.
pub(super) fn highest_id(party: &Record) -> Option<u64> {
    entries(party).iter().filter_map(|entry| entry.get("id")?.as_u64()).max()
}

fn entries(party: &Record) -> &[Value] {
    party.get(ENTRIES).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn next_id(store: &Store) -> u64 {
    store.get("counter", COUNTER).and_then(Value::as_u64).unwrap_or(FIRST_ID) + 1
}

/// Completes what a person entered, or a test laid out: ids, kinds, and new row ids for what differs from before.
pub(super) fn complete(store: &Store, before: Option<&Record>, party: &mut Record) {
    let old = before.map(entries).unwrap_or_default().to_vec();
    let (mut next, sequence) = (next_id(store), store.sequence());
    for entry in party.get_mut(ENTRIES).and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(entry) = entry.as_object_mut() else { continue };
        let known = old.iter().find(|old| old.get("id").is_some_and(|id| entry.get("id") == Some(id)));
        if !entry.contains_key("id") {
            entry.insert("id".to_owned(), json!(next));
            next += 1;
        }
        let kind = known.and_then(|old| old.get("kommKz")).cloned();
        let kind = kind.or(entry.get("kommKz").cloned()).unwrap_or(json!(1));
        entry.insert("kommKz".to_owned(), kind);
        let mut written = entry.clone();
        set(&mut written, entry, sequence);
        let same = |old: &&Value| {
            let mut old = (*old).clone();
            old["rowId"] = written.get("rowId").cloned().unwrap_or(Value::Null);
            old == Value::Object(written.clone())
        };
        *entry = known.filter(same).and_then(Value::as_object).cloned().unwrap_or(written);
    }
    mirror(party);
}

/// Shows the first value of each kind in its field at the top; kinds without entries are left as they are, since a
/// party may have been written without them.
fn mirror(party: &mut Record) {
    for (field, kind) in MIRRORS {
        let of_kind = |entry: &&Value| entry.get("kommKz").and_then(Value::as_u64) == Some(kind);
        let mut known = entries(party).iter().filter(of_kind).peekable();
        if known.peek().is_none() {
            continue;
        }
        let mut values =
            known.filter_map(|entry| entry.get("tlf")?.as_str()).filter(|value| !value.trim().is_empty());
        let value = values.next().map_or(Value::Null, |value| json!(value));
        party.insert(field.to_owned(), value);
    }
}

pub(super) fn answer(
    store: &mut Store,
    now: Timestamp,
    by: &parties::By<'_>,
    party: &Record,
    method: &str,
    rest: &[&str],
    request: &Request,
) -> io::Result<Answer> {
    let mut after = party.clone();
    let (next, sequence) = (next_id(store), store.sequence());
    let Some(entries) = after.get_mut(ENTRIES).and_then(Value::as_array_mut) else {
        return Ok(problem(404, "no such Kommunikation"));
    };
    let id = match (method, rest) {
        ("DELETE", [_]) => return Ok(problem(403, "deleting is not permitted")),
        ("POST", []) => {
            let body = match parties::read_body(request) {
                Ok(body) => body,
                Err(refusal) => return Ok(refusal),
            };
            let kind = body.get("kommKz").and_then(Value::as_u64).filter(|kind| (1..=12).contains(kind));
            let Some(kind) = kind else {
                return Ok(problem(400, "kommKz is not a number from 1 to 12"));
            };
            let mut entry =
                Record::from_iter([("id".to_owned(), json!(next)), ("kommKz".to_owned(), json!(kind))]);
            set(&mut entry, &body, sequence);
            entries.push(Value::Object(entry));
            next
        }
        ("PUT", [id]) => {
            let body = match parties::read_body(request) {
                Ok(body) => body,
                Err(refusal) => return Ok(refusal),
            };
            let found = id.parse::<u64>().ok().and_then(|id| {
                entries
                    .iter_mut()
                    .filter_map(Value::as_object_mut)
                    .find(|entry| entry.get("id") == Some(&json!(id)))
            });
            let Some(entry) = found else {
                return Ok(problem(404, "no such Kommunikation"));
            };
            set(entry, &body, sequence);
            entry.get("id").and_then(Value::as_u64).unwrap_or(0)
        }
        _ => return Ok(Answer::status(405)),
    };
    mirror(&mut after);
    parties::write(store, now, by, Operation::Update, Some(party.clone()), Some(after))?;
    let status = if method == "POST" { 201 } else { 200 };
    Ok(Answer::json(status, &json!({ "id": id })))
}

fn set(entry: &mut Record, body: &Record, sequence: u64) {
    for (field, blank) in [("tlf", json!("")), ("bemerkung", json!("")), ("online", json!(false))] {
        let value = body.get(field).filter(|value| !value.is_null()).cloned().unwrap_or(blank);
        entry.insert(field.to_owned(), value);
    }
    entry.insert("rowId".to_owned(), json!(parties::row_id(sequence)));
}
