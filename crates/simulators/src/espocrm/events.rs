//! The webhook queue: events become items of each webhook, items go out in batches, signed.

use std::collections::BTreeMap;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::answers::php_json;
use super::auth::{hex, hmac};
use super::definitions::Definitions;
use super::{Espocrm, webhooks};
use crate::store::{Change, Store};
use crate::upstream::{Delivery, Record};

const EVENTS: &str = "webhook_event";
const ITEMS: &str = "webhook_item";
const BATCH_MAX: usize = 50;
const ATTEMPTS_MAX: u64 = 4;

/// Statuses after which the sender tries again; 0 is no connection.
const RETRIED: [u16; 8] = [0, 401, 403, 404, 405, 408, 500, 503];

fn number(store: &Store, table: &str) -> u64 {
    store.get("counter", table).and_then(Value::as_u64).unwrap_or(0)
}

fn key(number: u64) -> String {
    format!("{number:012}")
}

/// Changes that queue an event, for every kind of event that some webhook asks for.
pub(super) fn raise(
    store: &Store,
    scope: &str,
    kind: &str,
    definitions: Option<&Definitions>,
    actor_id: &str,
    payload: Value,
) -> Vec<Change> {
    let mut events = vec![(format!("{scope}.{kind}"), payload.clone())];
    for (name, field) in definitions.into_iter().flat_map(Definitions::fields) {
        let attributes = Definitions::attributes_of(name, field);
        if attributes.iter().any(|attribute| payload.get(attribute).is_some()) {
            let mut part: Record = attributes
                .iter()
                .filter_map(|attribute| Some((attribute.clone(), payload.get(attribute)?.clone())))
                .collect();
            part.insert("id".to_owned(), payload.get("id").cloned().unwrap_or(Value::Null));
            events.push((format!("{scope}.fieldUpdate.{name}"), Value::Object(part)));
        }
    }
    events.retain(|(event, _)| webhooks::all(store).any(|hook| hook.get("event") == Some(&json!(event))));
    let mut last = number(store, EVENTS);
    let mut changes = Vec::new();
    for (event, data) in events {
        last += 1;
        changes.push(Change::set(
            EVENTS,
            &key(last),
            json!({ "event": event, "actorId": actor_id, "data": data }),
        ));
        changes.push(Change::set("counter", EVENTS, json!(last)));
    }
    changes
}

impl Espocrm {
    /// Takes one portion of events and gives each webhook its items.
    pub(super) fn queue_items(&self, store: &mut Store, now: Timestamp) -> io::Result<()> {
        let mut changes = Vec::new();
        let mut last = number(store, ITEMS);
        for (id, event) in store.rows(EVENTS).take(self.options.webhook_portion) {
            changes.push(Change::remove(EVENTS, id));
            for hook in webhooks::all(store).filter(|hook| hook.get("event") == event.get("event")) {
                let is_own = hook.get("userId") == event.get("actorId");
                let skips_own = hook.get("skipOwn") == Some(&json!(true));
                if hook.get("isActive") != Some(&json!(true)) || (is_own && skips_own) {
                    continue;
                }
                last += 1;
                let item = json!({
                    "webhookId": hook.get("id"), "data": event.get("data"), "attempts": 0, "processAt": now.to_string(),
                });
                changes.push(Change::set(ITEMS, &key(last), item));
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        changes.push(Change::set("counter", ITEMS, json!(last)));
        store.commit(now, None, changes)
    }

    /// The next batch that is due, of the webhook whose item waits longest.
    pub(super) fn next_batch(&self, store: &mut Store, now: Timestamp) -> io::Result<Option<Delivery>> {
        let mut batches: BTreeMap<&str, Vec<(&str, &Value)>> = BTreeMap::new();
        let mut first = None;
        for (id, item) in store.rows(ITEMS) {
            let due =
                item.get("processAt").and_then(Value::as_str).and_then(|at| at.parse::<Timestamp>().ok());
            if due.is_some_and(|due| due > now) {
                continue;
            }
            let hook = item.get("webhookId").and_then(Value::as_str).unwrap_or_default();
            first.get_or_insert(hook);
            batches.entry(hook).or_default().push((id, item.get("data").unwrap_or(&Value::Null)));
        }
        let Some(hook_id) = first else { return Ok(None) };
        let batch = batches.remove(hook_id).unwrap_or_default();
        let hook = webhooks::find(store, hook_id).filter(|hook| self.owner_may_read(hook));
        let Some(hook) = hook else {
            let dropped: Vec<Change> = batch.iter().map(|(id, _)| Change::remove(ITEMS, id)).collect();
            store.commit(now, None, dropped)?;
            return self.next_batch(store, now);
        };
        let text = |name: &str| hook.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let batch = batch.get(..BATCH_MAX.min(batch.len())).unwrap_or_default();
        let body = php_json(&Value::Array(batch.iter().map(|(_, data)| (*data).clone()).collect()));
        let (signature, legacy) = signatures(&text("id"), &text("secretKey"), body.as_bytes());
        Ok(Some(Delivery {
            items: batch.iter().map(|(id, _)| (*id).to_owned()).collect(),
            url: text("url"),
            headers: vec![("Signature", signature), ("X-Signature", legacy)],
            body,
        }))
    }

    fn owner_may_read(&self, hook: &Record) -> bool {
        let scope = hook.get("entityType").and_then(Value::as_str).unwrap_or_default();
        self.accounts()
            .iter()
            .find(|account| hook.get("userId") == Some(&json!(account.id)))
            .is_some_and(|owner| owner.is_active && owner.level(scope, "read") != "no")
    }

    /// Applies the sender's table to a batch.
    pub(super) fn settle_batch(
        &self,
        store: &mut Store,
        now: Timestamp,
        batch: &Delivery,
        status: u16,
    ) -> io::Result<()> {
        let delay = SignedDuration::try_from(self.options.webhook_retry_delay).unwrap_or(SignedDuration::MAX);
        let retry_at = now.checked_add(delay).unwrap_or(Timestamp::MAX);
        let mut changes = Vec::new();
        for id in &batch.items {
            let Some(item) = store.get(ITEMS, id) else { continue };
            let attempts = item.get("attempts").and_then(Value::as_u64).unwrap_or(0) + 1;
            if RETRIED.contains(&status) && attempts < ATTEMPTS_MAX {
                let mut item = item.clone();
                item["attempts"] = json!(attempts);
                item["processAt"] = json!(retry_at.to_string());
                changes.push(Change::set(ITEMS, id, item));
            } else {
                changes.push(Change::remove(ITEMS, id));
            }
            if status == 410
                && let Some(hook) = item.get("webhookId").and_then(Value::as_str)
            {
                changes.push(Change::remove(webhooks::TABLE, hook));
            }
        }
        store.commit(now, None, changes)
    }
}

/// `Signature` and `X-Signature`: base64 of the webhook's id and the digest, as hexadecimal and raw.
fn signatures(webhook_id: &str, secret_key: &str, body: &[u8]) -> (String, String) {
    let digest = hmac(secret_key, body);
    let legacy = [webhook_id.as_bytes(), b":", &digest].concat();
    (STANDARD.encode(format!("{webhook_id}:{}", hex(&digest))), STANDARD.encode(legacy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signatures_are_those_of_a_recorded_delivery() {
        let (signature, legacy) = signatures(
            "6b00569480526e4ed",
            "4b8dad9fc121acd3ce2136c9858b8e30",
            br#"[{"id":"6b005694983457aa0"}]"#,
        );
        assert_eq!(
            signature,
            "NmIwMDU2OTQ4MDUyNmU0ZWQ6MWZmY2ExYWY1OTFiN2MzNTY4MjIzNGUwZTc0NzRhYTFiYTdlYWE4YzNiMzU2YzdkOWJhYWM3NWI2ZDBkNTY5Mw=="
        );
        assert_eq!(legacy, "NmIwMDU2OTQ4MDUyNmU0ZWQ6H/yhr1kbfDVoIjTg50dKobp+qow7NWx9m6rHW20NVpM=");
    }
}
