//! Change notifications: late, twice or never, as the seed has it. They wait in the store, in the order in which they are due.

use std::io;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Microsoft;
use super::event::Event;
use super::ids::{self, Form};
use super::subscriptions::{self, Subscription};
use crate::dice::Dice;
use crate::store::{Change, Store};
use crate::upstream::Delivery;

const QUEUE: &str = "notification";
/// Items in one POST at most.
const ITEMS_MAX: usize = 10;
/// How long a notification is tried.
const TRIED_FOR: SignedDuration = SignedDuration::from_hours(4);

/// How notifications go astray.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Odds {
    pub(super) delay_seconds_max: u32,
    pub(super) loss: f64,
    pub(super) duplicates: f64,
    pub(super) seed: u64,
}

fn key(due: Timestamp, row: u64, subscription: &str, copy: usize) -> String {
    format!("{:020}-{row:016x}-{subscription}-{copy}", due.as_millisecond().max(0))
}

/// What is to be sent about a write.
pub(super) fn about(
    store: &Store,
    now: Timestamp,
    odds: Odds,
    row: u64,
    kind: &str,
    event: &Event,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for subscription in subscriptions::all(store) {
        let wanted =
            subscription.change_type.split(',').any(|wanted| wanted.trim().eq_ignore_ascii_case(kind));
        if subscription.mailbox != event.mailbox || subscription.ends <= now || !wanted {
            continue;
        }
        let salt = subscription.id.bytes().fold(0_u64, |sum, byte| sum.rotate_left(7) ^ u64::from(byte));
        let mut dice = Dice::new(odds.seed ^ row.rotate_left(32) ^ salt);
        if dice.chance(odds.loss) {
            continue;
        }
        let copies = 1 + if dice.chance(odds.duplicates) { 1 + dice.below(3) } else { 0 };
        for copy in 0..copies {
            let delay = dice.below(usize::try_from(odds.delay_seconds_max).unwrap_or(0) + 1);
            let delay = SignedDuration::from_secs(i64::try_from(delay).unwrap_or(0));
            let due = now.checked_add(delay).unwrap_or(now);
            // A create is followed by updates.
            let kind = if copy > 0 && kind == "created" { "updated" } else { kind };
            let form = if subscription.is_immutable { Form::Immutable } else { Form::Ordinary };
            let item = json!({
                "subscription": subscription.id, "kind": kind, "etag": ids::etag(event.item.change),
                "id": ids::event(form, event.number, event.revision, None), "first": now, "tries": 0,
            });
            changes.push(Change::set(QUEUE, &key(due, row, &subscription.id, copy), item));
        }
    }
    changes
}

/// A lifecycle event, for a subscription that asked for them.
pub(super) fn lifecycle(now: Timestamp, subscription: &Subscription, event: &str) -> Option<Change> {
    let url = subscription.lifecycle_url.as_ref()?;
    let item = json!({
        "subscription": subscription.id, "lifecycle": event, "url": url, "first": now, "tries": 0,
        "client_state": subscription.client_state, "ends": subscription.ends,
    });
    Some(Change::set(QUEUE, &key(now, 0, &subscription.id, event.len()), item))
}

/// The last millisecond that is due, as a key.
fn is_due(id: &str, now: Timestamp) -> bool {
    id.get(..20).and_then(|due| due.parse::<i64>().ok()).is_some_and(|due| due <= now.as_millisecond())
}

impl Microsoft {
    /// One POST with what is due for one address.
    pub(super) fn next_notification(
        &self,
        store: &mut Store,
        now: Timestamp,
    ) -> io::Result<Option<Delivery>> {
        let mut url: Option<String> = None;
        let (mut items, mut value, mut stale) = (Vec::new(), Vec::new(), Vec::new());
        for (id, item) in store.rows(QUEUE) {
            if !is_due(id, now) || items.len() == ITEMS_MAX {
                break;
            }
            let subscription = item["subscription"].as_str().and_then(|id| subscriptions::find(store, id));
            let Some(told) = self.told(item, subscription.as_ref(), now) else {
                // What waits for a new authorisation is kept as long as what is tried.
                let first = item["first"].as_str().and_then(|first| first.parse::<Timestamp>().ok());
                let is_old = first.is_none_or(|first| now.duration_since(first) >= TRIED_FOR);
                if is_old || subscription.is_none_or(|subscription| subscription.ends <= now) {
                    stale.push(Change::remove(QUEUE, id));
                }
                continue;
            };
            let (to, told) = told;
            if url.get_or_insert_with(|| to.clone()) == &to {
                items.push(id.clone());
                value.push(told);
            }
        }
        if !stale.is_empty() {
            store.commit(now, None, stale)?;
        }
        Ok(url.map(|url| Delivery {
            items,
            url,
            headers: Vec::new(),
            body: json!({ "value": value }).to_string(),
        }))
    }

    /// Where an item goes and what it says; none while its subscription is paused, or where it has none any more.
    fn told(
        &self,
        item: &Value,
        subscription: Option<&Subscription>,
        now: Timestamp,
    ) -> Option<(String, Value)> {
        if let Some(event) = item["lifecycle"].as_str() {
            let told = json!({
                "subscriptionId": item["subscription"], "subscriptionExpirationDateTime": item["ends"],
                "tenantId": self.options.tenant, "clientState": item["client_state"], "lifecycleEvent": event,
            });
            return Some((item["url"].as_str()?.to_owned(), told));
        }
        let subscription =
            subscription.filter(|subscription| !subscription.is_paused && subscription.ends > now)?;
        let object = self.mailbox(&subscription.mailbox)?.object_id.clone();
        let id = item["id"].as_str()?;
        let resource = format!("Users/{object}/Events/{id}");
        let told = json!({
            "subscriptionId": subscription.id,
            "subscriptionExpirationDateTime": super::render::stamp(subscription.ends),
            "changeType": item["kind"],
            "resource": resource,
            "resourceData": {
                "@odata.type": "#Microsoft.Graph.Event", "@odata.id": resource, "@odata.etag": item["etag"], "id": id,
            },
            "clientState": subscription.client_state,
            "tenantId": self.options.tenant,
        });
        Some((subscription.notification_url.clone(), told))
    }

    /// Anything but 2xx is tried again with growing gaps, for four hours.
    pub(super) fn settle_notification(
        &self,
        store: &mut Store,
        now: Timestamp,
        delivery: &Delivery,
        status: u16,
    ) -> io::Result<()> {
        let mut changes: Vec<Change> = delivery.items.iter().map(|id| Change::remove(QUEUE, id)).collect();
        if !(200..300).contains(&status) {
            for (at, id) in delivery.items.iter().enumerate() {
                let Some(mut item) = store.get(QUEUE, id).cloned() else { continue };
                let first: Option<Timestamp> = item["first"].as_str().and_then(|first| first.parse().ok());
                if first.is_none_or(|first| now.duration_since(first) >= TRIED_FOR) {
                    continue;
                }
                let tries = item["tries"].as_u64().unwrap_or(0);
                let gap = SignedDuration::from_secs(10 << tries.min(7));
                item["tries"] = json!(tries + 1);
                let due = now.checked_add(gap).unwrap_or(now);
                let rest = id.get(21..).unwrap_or_default();
                changes.push(Change::set(QUEUE, &format!("{:020}-{rest}+{at}", due.as_millisecond()), item));
            }
        }
        store.commit(now, None, changes)
    }
}

/// What waits to be sent.
pub(super) fn waiting(store: &Store) -> usize {
    store.rows(QUEUE).count()
}
