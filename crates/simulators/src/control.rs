//! The control API: everything a test in another process may want, below `/_control` of the same
//! listener. Bodies and answers are JSON; faults never strike here, nothing here is counted.
//!
//! | request | meaning |
//! |---|---|
//! | `GET /_control/records` | the main records as stored |
//! | `POST /_control/records` | seed one record or an array of them, as if they had always been; answers `{"ids":[...]}` |
//! | `POST /_control/person/records` | a person makes a record; answers `{"ids":[...]}` |
//! | `PATCH /_control/person/records/{id}` | a person changes the fields in the body |
//! | `DELETE /_control/person/records/{id}` | a person deletes it (in Advoware: it is gone) |
//! | `GET /_control/journal?after=<sequence>&limit=<n>` | up to n (10,000 at most) entries after that sequence number |
//! | `GET /_control/counters`, `DELETE` | requests by endpoint; start at nothing |
//! | `GET /_control/faults`, `POST` (one [`FaultRule`] or an array), `DELETE` | the fault rules |
//! | `POST /_control/settings` | `clock_offset_seconds`, and the keys of the system's `configure` |
//! | `POST /_control/deliveries` | work off the webhook queue now; answers `{"requests":n}` |
//! | `POST /_control/reset` | forget records, journal, faults and counters |
//!
//! Further requests are those of one system, listed in its module.
//!
//! A refusal is 400 with `{"error":"..."}`.

use jiff::SignedDuration;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::deliveries;
use crate::faults::FaultRule;
use crate::host::{Core, Shared};
use crate::upstream::{Record, Upstream};
use crate::wire::{Answer, Request};

const JOURNAL_PAGE_MAX: usize = 10_000;

pub(crate) fn is_control(request: &Request) -> bool {
    request.segments().first() == Some(&"_control")
}

pub(crate) async fn answer<U: Upstream>(shared: &Shared<U>, request: &Request) -> Answer {
    if (request.method.as_str(), request.path.as_str()) == ("POST", "/_control/deliveries") {
        let requests = deliveries::deliver_due(shared).await;
        return Answer::json(200, &json!({ "requests": requests }));
    }
    match handle(shared, request) {
        Ok(body) => Answer::json(200, &body),
        Err(error) => Answer::json(400, &json!({ "error": error })),
    }
}

fn handle<U: Upstream>(shared: &Shared<U>, request: &Request) -> Result<Value, String> {
    let now = shared.now();
    let segments = request.segments();
    let path: Vec<&str> = segments.iter().skip(1).copied().collect();
    let done = json!({});
    match (request.method.as_str(), path.as_slice()) {
        ("GET", ["records"]) => {
            let core = shared.core();
            Ok(Value::Array(core.upstream.records(&core.store)))
        }
        ("POST", ["records"]) => {
            let mut core = shared.core();
            let Core { upstream, store } = &mut *core;
            let ids = one_or_many::<Record>(request)?
                .into_iter()
                .map(|record| upstream.seed(store, now, record).map_err(|error| error.to_string()))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(json!({ "ids": ids }))
        }
        ("POST", ["person", "records"]) => {
            let mut core = shared.core();
            let Core { upstream, store } = &mut *core;
            let ids = one_or_many::<Record>(request)?
                .iter()
                .map(|record| upstream.create(store, now, record))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(json!({ "ids": ids }))
        }
        ("PATCH", ["person", "records", id]) => {
            let fields: Record = body(request)?;
            let mut core = shared.core();
            let Core { upstream, store } = &mut *core;
            upstream.edit(store, now, id, &fields).map(|()| done)
        }
        ("DELETE", ["person", "records", id]) => {
            let mut core = shared.core();
            let Core { upstream, store } = &mut *core;
            upstream.remove(store, now, id).map(|()| done)
        }
        ("GET", ["journal"]) => {
            let number = |name| request.query_value(name).and_then(|number| number.parse::<u64>().ok());
            let limit = number("limit").and_then(|limit| usize::try_from(limit).ok());
            let limit = limit.unwrap_or(JOURNAL_PAGE_MAX).min(JOURNAL_PAGE_MAX);
            to_json(&shared.core().store.journal_after(number("after").unwrap_or(0), limit))
        }
        ("GET", ["counters"]) => to_json(&shared.counters()),
        ("DELETE", ["counters"]) => {
            shared.clear_counters();
            Ok(done)
        }
        ("GET", ["faults"]) => to_json(&shared.faults.list()),
        ("POST", ["faults"]) => {
            for rule in one_or_many::<FaultRule>(request)? {
                shared.faults.add(rule, now);
            }
            Ok(done)
        }
        ("DELETE", ["faults"]) => {
            shared.faults.clear();
            Ok(done)
        }
        ("POST", ["settings"]) => settings(shared, body(request)?).map(|()| done),
        ("POST", ["reset"]) => shared.reset().map(|()| done).map_err(|error| error.to_string()),
        (method, path) => {
            let body = if request.body.is_empty() { Value::Null } else { body(request)? };
            shared.control(method, path, &body)
        }
    }
}

fn settings<U: Upstream>(shared: &Shared<U>, mut settings: Record) -> Result<(), String> {
    if let Some(offset) = settings.remove("clock_offset_seconds") {
        let seconds = offset.as_i64().ok_or("clock_offset_seconds is not a whole number")?;
        shared.set_clock_offset(SignedDuration::from_secs(seconds));
    }
    shared.core().upstream.configure(&settings)
}

fn body<T: DeserializeOwned>(request: &Request) -> Result<T, String> {
    serde_json::from_slice(&request.body).map_err(|error| format!("the body does not fit: {error}"))
}

fn one_or_many<T: DeserializeOwned>(request: &Request) -> Result<Vec<T>, String> {
    let from =
        |value| serde_json::from_value(value).map_err(|error| format!("the body does not fit: {error}"));
    match body(request)? {
        Value::Array(items) => items.into_iter().map(from).collect(),
        item => Ok(vec![from(item)?]),
    }
}

fn to_json(value: &impl serde::Serialize) -> Result<Value, String> {
    serde_json::to_value(value).map_err(|error| error.to_string())
}
