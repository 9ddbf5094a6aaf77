//! An installation to measure, with slow upstreams.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use simulators::demo_data::{Category, Pair};
use simulators::{ActorKind, FaultKind, FaultRule, Record};
use system_tests::{Backing, Fleet, Plan, judge, wait};

/// Time of one upstream request.
pub const LATENCY_MS: u64 = 50;
const PATIENCE: Duration = Duration::from_secs(120);

/// A producer and a worker on one directory. Only what a measure asks for happens: no webhooks of the CRM's own,
/// sweeps at `cron` only.
pub async fn installation(cron: &str, has_wide_limits: bool) -> Fleet {
    let settings = vec![
        ("FLOW__PARTIES__SWEEP_CRON", cron.to_owned()),
        ("FLOW__PARTIES__LOOK_AGAIN_HOURS_MIN", "1".to_owned()),
        ("FLOW__PARTIES__LOOK_AGAIN_HOURS_MAX", "24".to_owned()),
    ];
    let plan =
        Plan { settings, has_wide_limits, sends_webhooks: false, ..Plan::new(Backing::Embedded, 1, 1) };
    Fleet::new(plan).await.unwrap()
}

/// From now on, each request takes [`LATENCY_MS`].
pub fn slow_down(fleet: &Fleet) {
    let slow = || FaultRule::new(FaultKind::Latency { latency_ms: LATENCY_MS });
    fleet.crm.fault(slow());
    fleet.advoware.fault(slow());
}

/// A JSON object.
pub fn object(value: Value) -> Record {
    value.as_object().cloned().unwrap()
}

/// Parties that are equal on both sides and wait for their first sync.
pub fn equal_parties(count: usize) -> Vec<Pair> {
    let pair = |number: usize| Pair {
        category: Category::EqualNeverLinked,
        crm: object(json!({
            "id": format!("6b00{number:013x}"), "betnr": 20_000 + number, "lastName": format!("Name{number}"),
            "firstName": "Anna", "syncStatus": "pending_sync", "syncRetryCount": 0,
        })),
        advoware: Some(object(json!({
            "betNr": 20_000 + number, "name": format!("Name{number}"), "vorname": "Anna",
        }))),
    };
    (0..count).map(pair).collect()
}

/// Waits until both sides agree.
pub async fn until_settled(fleet: &Fleet) {
    wait::until("agreement", PATIENCE, async || {
        let left = judge::unsettled(&fleet.crm.records(), &fleet.advoware.records());
        if left.is_empty() { Ok(()) } else { Err((left.len(), left.first().cloned())) }
    })
    .await;
}

/// When the product wrote last, on either side.
pub fn last_write(fleet: &Fleet) -> Timestamp {
    let journals = fleet.crm.journal().into_iter().chain(fleet.advoware.journal());
    journals.filter(|entry| entry.actor_kind == ActorKind::Api).map(|entry| entry.at).max().unwrap()
}

/// Requests since the counters began: to Advoware, reads of the CRM, writes to the CRM. Tokens and addresses are
/// left out.
pub fn calls(fleet: &Fleet) -> [u64; 3] {
    let sum = |counters: &BTreeMap<String, u64>, counts: fn(&str) -> bool| {
        counters.iter().filter(|(endpoint, _)| counts(endpoint)).map(|(_, count)| count).sum()
    };
    let (crm, advoware) = (fleet.crm.counters(), fleet.advoware.counters());
    let is_party = |endpoint: &str| endpoint.contains("/advonet/Beteiligte");
    [
        sum(&advoware, is_party),
        sum(&crm, |endpoint| endpoint.starts_with("GET ")),
        sum(&crm, |endpoint| !endpoint.starts_with("GET ")),
    ]
}
