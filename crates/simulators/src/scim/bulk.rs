//! Several operations in one request, which may refer to what others of them create. RFC 7644, section 3.7.

use std::collections::BTreeMap;
use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Scim;
use super::lists::{Query, View};
use super::refusal::Refusal;
use super::{Call, Done};
use crate::store::Store;

const REFERENCE: &str = "bulkId:";

impl Scim {
    pub(super) fn bulk(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        body: &[u8],
    ) -> io::Result<Result<Value, Refusal>> {
        let Some(operations_max) = self.options.bulk_operations_max else {
            return Ok(Err(Refusal::plain(501, "Bulk is not supported")));
        };
        let bytes_max = self.options.bulk_bytes_max;
        if body.len() > bytes_max {
            let detail = format!("The size of the bulk operation exceeds the maxPayloadSize ({bytes_max})");
            return Ok(Err(Refusal::plain(413, detail)));
        }
        let body: Value = match serde_json::from_slice(body) {
            Ok(body) => body,
            Err(error) => return Ok(Err(Refusal::bad("invalidSyntax", format!("Invalid JSON: {error}")))),
        };
        let operations = body["Operations"].as_array().cloned().unwrap_or_default();
        if operations.len() > operations_max {
            let detail = format!("The number of operations exceeds the maxOperations ({operations_max})");
            return Ok(Err(Refusal::plain(413, detail)));
        }
        let errors_max = body["failOnErrors"].as_u64().unwrap_or(u64::MAX);
        let mut run = Run { ids: BTreeMap::new(), answers: vec![None; operations.len()], errors: 0 };
        // References may be to what comes later: what can be done is done, until nothing is left that can.
        let mut left: Vec<usize> = (0..operations.len()).collect();
        loop {
            let before = left.len();
            let mut waiting = Vec::new();
            for at in left {
                if run.errors >= errors_max {
                    continue;
                }
                match resolved(&operations[at], &run.ids) {
                    Ok(operation) => self.bulk_one(store, now, at, &operation, &mut run)?,
                    Err(_) => waiting.push(at),
                }
            }
            left = waiting;
            if left.is_empty() || left.len() == before {
                break;
            }
        }
        for at in left {
            if let Err(reference) = resolved(&operations[at], &run.ids)
                && run.errors < errors_max
            {
                let detail = format!("No resource was created with the bulkId {reference}");
                run.refuse(at, &operations[at], &Refusal::plain(409, detail), &self.base);
            }
        }
        let answers: Vec<Value> = run.answers.into_iter().flatten().collect();
        Ok(Ok(json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkResponse"], "Operations": answers,
        })))
    }

    fn bulk_one(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        at: usize,
        operation: &Value,
        run: &mut Run,
    ) -> io::Result<()> {
        let path = operation["path"].as_str().unwrap_or_default();
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let call = Call {
            method: operation["method"].as_str().unwrap_or_default().to_uppercase(),
            body: Ok(operation["data"].clone()),
            expected: operation["version"].as_str().map(str::to_owned),
            query: Query::default(),
            view: View::default(),
        };
        match self.resource(store, now, &segments, &call)? {
            Ok(Done { status, kind, id, .. }) => {
                let mut answer = head(operation);
                // As measured: what a PATCH alone answers is 204.
                let status = if call.method == "PATCH" { 200 } else { status };
                answer["status"] = json!(status.to_string());
                answer["location"] = json!(format!("{}/{}/{id}", self.base, kind.endpoint()));
                if let Some(version) = self.version(store, kind, &id) {
                    answer["version"] = json!(version);
                }
                if let Some(bulk_id) = operation["bulkId"].as_str() {
                    run.ids.insert(bulk_id.to_owned(), id);
                }
                run.answers[at] = Some(answer);
            }
            Err(refusal) => run.refuse(at, operation, &refusal, &self.base),
        }
        Ok(())
    }
}

struct Run {
    ids: BTreeMap<String, String>,
    answers: Vec<Option<Value>>,
    errors: u64,
}

impl Run {
    fn refuse(&mut self, at: usize, operation: &Value, refusal: &Refusal, base: &str) {
        let mut answer = head(operation);
        // What was to be made is nowhere.
        if let Some(path) = operation["path"].as_str().filter(|_| operation["method"] != "POST") {
            answer["location"] = json!(format!("{base}/{}", path.trim_start_matches('/')));
        }
        answer["response"] = refusal.body();
        answer["status"] = json!(refusal.status.to_string());
        self.errors += 1;
        self.answers[at] = Some(answer);
    }
}

fn head(operation: &Value) -> Value {
    let mut head = json!({ "method": operation["method"] });
    if operation["bulkId"].is_string() {
        head["bulkId"] = operation["bulkId"].clone();
    }
    head
}

/// The operation with ids for what it refers to; else what is not there.
fn resolved(operation: &Value, ids: &BTreeMap<String, String>) -> Result<Value, String> {
    let mut operation = operation.clone();
    if let Some(path) = operation["path"].as_str() {
        let parts: Result<Vec<String>, String> = path.split('/').map(|part| resolve(part, ids)).collect();
        operation["path"] = json!(parts?.join("/"));
    }
    resolve_all(&mut operation["data"], ids)?;
    Ok(operation)
}

fn resolve(text: &str, ids: &BTreeMap<String, String>) -> Result<String, String> {
    match text.strip_prefix(REFERENCE) {
        Some(reference) => ids.get(reference).cloned().ok_or_else(|| reference.to_owned()),
        None => Ok(text.to_owned()),
    }
}

fn resolve_all(value: &mut Value, ids: &BTreeMap<String, String>) -> Result<(), String> {
    match value {
        Value::String(text) => *text = resolve(text, ids)?,
        Value::Array(list) => list.iter_mut().try_for_each(|item| resolve_all(item, ids))?,
        Value::Object(parts) => parts.values_mut().try_for_each(|part| resolve_all(part, ids))?,
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}
