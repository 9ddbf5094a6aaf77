//! Kommunikationen: phone numbers and mail addresses of a party. `kommKz` is write-once and reads as 0.

use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{parties, problem};
use crate::journal::Operation;
use crate::store::Store;
use crate::upstream::Record;
use crate::wire::{Answer, Request};

/// Hides the kinds, which a read does not show dependably.
pub(super) fn blank_kinds(party: &mut Record) {
    for entry in party.get_mut("kommunikation").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(entry) = entry.as_object_mut() {
            entry.insert("kommKz".to_owned(), json!(0));
        }
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
    let sequence = store.sequence();
    let Some(entries) = after.get_mut("kommunikation").and_then(Value::as_array_mut) else {
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
            let bet_nr = party.get("betNr").and_then(Value::as_u64).unwrap_or(0);
            let id =
                entries.iter().filter_map(|entry| entry.get("id")?.as_u64()).max().unwrap_or(bet_nr * 100)
                    + 1;
            let mut entry =
                Record::from_iter([("id".to_owned(), json!(id)), ("kommKz".to_owned(), json!(kind))]);
            set(&mut entry, &body, sequence);
            entries.push(Value::Object(entry));
            id
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
    parties::write(store, now, by, Operation::Update, Some(party.clone()), Some(after))?;
    let status = if method == "POST" { 201 } else { 200 };
    Ok(Answer::json(status, &json!({ "id": id })))
}

fn set(entry: &mut Record, body: &Record, sequence: u64) {
    for (field, blank) in [("tlf", json!("")), ("bemerkung", json!("")), ("online", json!(false))] {
        entry.insert(field.to_owned(), body.get(field).cloned().unwrap_or(blank));
    }
    entry.insert("rowId".to_owned(), json!(parties::row_id(sequence)));
}
