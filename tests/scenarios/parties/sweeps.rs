//! What a sweep finds.

use std::collections::BTreeSet;
use std::time::Duration;

use flows::parties::PartiesSettings;
use serde_json::json;
use shared::clock::Clock as _;
use shared::flow::Flow as _;
use simulators::{FaultKind, FaultRule};

use super::bench::{Bench, erika, object};
use super::deletions::swept;

#[tokio::test]
async fn pages_find_each_record_once_while_records_change() {
    let bench = Bench::new(PartiesSettings { sweep_page_records_max: 3, ..PartiesSettings::default() }).await;
    let mut expected = BTreeSet::new();
    for n in 0..20 {
        let id = bench.record(json!({ "lastName": format!("N{n}"), "syncStatus": "pending_sync" }));
        expected.insert(id);
    }
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = bench.flow.sweep(cursor.as_ref(), "s1", bench.clock.now()).await.unwrap();
        assert!(page.records.len() <= 3);
        for hit in &page.records {
            found.push(hit.key.id().to_owned());
            assert!(hit.changed_at.is_some());
            // What was found leaves the filter before the next page is read.
            bench.edit_record(hit.key.id(), json!({ "syncStatus": "permanently_failed" }));
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found.len(), expected.len());
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
}

#[tokio::test]
async fn the_filter_is_the_specifications() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let fresh = simulators_time(&bench, 0);
    let old = simulators_time(&bench, 25);
    let mut expected = Vec::new();
    for (status, last_sync, hit) in [
        ("pending_sync", json!(null), true),
        ("dirty", json!(fresh), true),
        ("failed", json!(fresh), true),
        ("clean", json!(fresh), false),
        ("clean", json!(old), true),
        ("clean", json!(null), true),
        ("syncing", json!(old), false),
        ("conflict", json!(old), false),
        ("permanently_failed", json!(old), false),
    ] {
        let record = json!({ "lastName": "X", "syncStatus": status, "advowareLastSync": last_sync });
        let id = bench.crm.seed(object(record)).unwrap();
        if hit {
            expected.push(id);
        }
    }
    expected.sort();
    assert_eq!(swept(&bench).await, expected);
}

fn simulators_time(bench: &Bench, hours_ago: i64) -> String {
    let at = bench.clock.now() - jiff::SignedDuration::from_hours(hours_ago);
    connector_espocrm::values::datetime(at)
}

#[tokio::test]
async fn records_that_change_often_are_due_sooner_within_the_budget() {
    let bench = Bench::new(PartiesSettings { calls_per_hour_max: 2, ..PartiesSettings::default() }).await;
    let mut ids = BTreeSet::new();
    for _ in 0..3 {
        let (id, bet_nr) = bench.linked(erika()).await;
        bench.edit_party(bet_nr, json!({ "name": "Neu" }));
        bench.handle(&id).await.unwrap();
        ids.insert(id);
    }
    assert_eq!(swept(&bench).await, Vec::<String>::new(), "not yet");
    bench.clock.advance(Duration::from_secs(12 * 3_600 + 1));
    let first: BTreeSet<String> = swept(&bench).await.into_iter().collect();
    assert_eq!(first.len(), 2, "as many as the budget allows");
    assert!(swept(&bench).await.is_empty(), "and no more in this hour");
    bench.clock.advance(Duration::from_secs(3_600));
    let second: BTreeSet<String> = swept(&bench).await.into_iter().collect();
    assert_eq!(first.union(&second).cloned().collect::<BTreeSet<_>>(), ids);
}

#[tokio::test]
async fn a_deletion_whose_webhook_was_lost_is_found() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let (kept, _) = bench.linked(erika()).await;
    let (deleted, _) = bench.linked(erika()).await;
    bench.crm.delete_as_person(&deleted).unwrap();
    assert_eq!(swept(&bench).await, [deleted.as_str()]);
    bench.handle(&deleted).await.unwrap();
    bench.clock.advance(Duration::from_secs(20 * 3_600));
    assert_eq!(swept(&bench).await, Vec::<String>::new());
    bench.clock.advance(Duration::from_secs(2 * 24 * 3_600));
    assert_eq!(swept(&bench).await, [kept], "only the one that was not looked at for long");
}

#[tokio::test]
async fn an_empty_answer_of_the_crm_deletes_nothing() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let (id, bet_nr) = bench.linked(erika()).await;
    bench.crm.fault(FaultRule::new(FaultKind::EmptyList).on("GET", "*/CBeteiligte").times(3));
    for id in swept(&bench).await {
        bench.handle(&id).await.unwrap();
    }
    bench.edit_party(bet_nr, json!({ "name": "Neu" }));
    bench.handle(&id).await.unwrap();
    assert_eq!(bench.crm_of(&id)["lastName"], "Neu");
}
