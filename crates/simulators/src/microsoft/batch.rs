//! `$batch`: up to twenty requests in one, each answered for itself.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Microsoft;
use super::answers::{self, Refusal, Stop};
use crate::store::Store;
use crate::upstream::Record;
use crate::wire::{Answer, Request};

/// Items for one mailbox that run at once.
const AT_ONCE_MAX: usize = 4;

struct Item {
    id: String,
    depends_on: Vec<String>,
    request: Request,
}

fn malformed(message: impl Into<String>) -> Refusal {
    Refusal::outside(400, "BadRequest", message)
}

fn read(outer: &Request, item: &Value) -> Result<Item, Refusal> {
    let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
    let url = text("url");
    if url.contains("://") || url.contains("$batch") {
        return Err(malformed("The url of a batch item must be relative."));
    }
    let (path, query) = url.split_once('?').unwrap_or((&url, ""));
    let mut headers = HeaderMap::new();
    for name in ["Authorization", "Host"] {
        if let Some(value) = outer.headers.get(name) {
            headers
                .insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| malformed(name))?, value.clone());
        }
    }
    for (name, value) in item["headers"].as_object().into_iter().flatten() {
        let named = HeaderName::from_bytes(name.as_bytes()).ok();
        let valued = value.as_str().and_then(|value| HeaderValue::from_str(value).ok());
        match (named, valued) {
            (Some(name), Some(value)) => headers.append(name, value),
            _ => return Err(malformed(format!("The header {name} cannot be read."))),
        };
    }
    let body = match &item["body"] {
        Value::Null => Bytes::new(),
        body => Bytes::from(body.to_string()),
    };
    let depends_on = item["dependsOn"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Ok(Item {
        id: text("id"),
        depends_on: depends_on.map(str::to_owned).collect(),
        request: Request {
            method: text("method").to_uppercase(),
            path: format!("/v1.0/{}", path.trim_start_matches('/')),
            query: query.to_owned(),
            headers,
            body,
            remote: outer.remote,
            handshakes: Vec::new(),
        },
    })
}

pub(super) fn answer(
    microsoft: &mut Microsoft,
    store: &mut Store,
    now: Timestamp,
    outer: &Request,
    body: &Record,
) -> Result<Answer, Stop> {
    let items = body.get("requests").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let items: Vec<Item> = items.iter().map(|item| read(outer, item)).collect::<Result<_, _>>()?;
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for item in &items {
        if let Some(missing) = item.depends_on.iter().find(|id| !known.contains(id.as_str())) {
            return Err(
                malformed(format!("Item {} depends on {missing}, which is not before it.", item.id)).into()
            );
        }
        if !known.insert(&item.id) {
            return Err(malformed(format!("The id {} is there twice.", item.id)).into());
        }
    }
    let mut statuses: BTreeMap<&str, u16> = BTreeMap::new();
    let mut at_once: BTreeMap<String, usize> = BTreeMap::new();
    let mut responses = Vec::new();
    for item in &items {
        let failed =
            item.depends_on.iter().find(|id| statuses.get(id.as_str()).is_none_or(|status| *status >= 400));
        let lane = microsoft.lane_of(store, &item.request).filter(|_| item.depends_on.is_empty());
        let running = lane.map_or(0, |lane| {
            let running = at_once.entry(lane).or_default();
            *running += 1;
            *running
        });
        let answer = if let Some(failed) = failed {
            Refusal::new(424, "FailedDependency", format!("Request {failed} failed."))
                .answer(now, &item.request)
        } else if running > AT_ONCE_MAX {
            microsoft.throttle.crowded().answer(now, &item.request)
        } else {
            microsoft.graph(store, now, &item.request)?
        };
        statuses.insert(&item.id, answer.status);
        responses.push(shown(&item.id, &answer));
    }
    // In any order.
    responses.reverse();
    Ok(answers::ok(200, &json!({ "responses": responses })))
}

fn shown(id: &str, answer: &Answer) -> Value {
    let headers: Record = answer.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let mut response = json!({ "id": id, "status": answer.status, "headers": headers });
    if let Ok(body) = serde_json::from_slice::<Value>(&answer.body) {
        response["body"] = body;
    }
    response
}
