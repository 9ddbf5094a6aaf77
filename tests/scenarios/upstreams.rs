//! Upstreams that do not behave, against the real programs.

use jiff::SignedDuration;
use serde_json::json;
use simulators::{FaultKind, FaultRule};
use system_tests::{Backing, Fleet, Plan, judge, wait};

use crate::{SOON, created, object, person};

async fn one_of_each() -> Fleet {
    let plan = Plan::new(Backing::Embedded, 1, 1);
    Fleet::new(plan).await.unwrap()
}

#[tokio::test]
async fn a_wrong_clock_is_named_pauses_the_account_and_heals_by_itself() {
    let mut fleet = one_of_each().await;
    fleet.advoware.set_clock_offset(SignedDuration::from_mins(20));
    let ids: Vec<String> =
        (0..3).map(|n| fleet.crm.seed(person(&format!("Clock{n}"), "pending_sync")).unwrap()).collect();
    fleet.start_ready().await.unwrap();
    let worker = fleet.members[1].process().unwrap();
    let line = worker.wait_for_log("set the clock", SOON).await.unwrap();
    assert!(line.contains("s behind Advoware's"), "{line}");
    wait::until("paused account", SOON, async || {
        match fleet.metric(&fleet.members[1], "syncfleet_account_paused").await.unwrap() {
            0.0 => Err("not paused"),
            _ => Ok(()),
        }
    })
    .await;
    assert!(fleet.advoware.records().is_empty());
    assert!(fleet.dead_letters().await.unwrap().is_empty());

    fleet.advoware.set_clock_offset(SignedDuration::ZERO);
    for id in &ids {
        created(&fleet, id).await;
    }
    fleet.drain().await.unwrap();
    assert!(fleet.dead_letters().await.unwrap().is_empty());
    assert_eq!(fleet.leaks(), Vec::<String>::new());
}

/// Our own word about a failure moves the record's time, by which data of an older integration are judged.
#[tokio::test]
async fn what_changed_in_advoware_before_a_failed_first_look_survives() {
    let mut fleet = one_of_each().await;
    let older = json!({ "lastName": "Alt", "firstName": "Anna", "betnr": 7, "syncStatus": "pending_sync",
        "advowareLastSync": "2026-01-15 10:00:00", "createdAt": "2025-06-01 08:00:00", "modifiedAt": "2026-01-10 12:00:00" });
    let id = fleet.crm.seed(object(older)).unwrap();
    let newer = json!({ "betNr": 7, "name": "Neu", "vorname": "Anna", "geaendertAm": "2026-03-20T12:00:00" });
    fleet.advoware.seed(object(newer)).unwrap();
    let failing = FaultRule::new(FaultKind::Status { status: 500 }).on("GET", "*/Beteiligte/*").times(2);
    fleet.advoware.fault(failing);
    fleet.start_ready().await.unwrap();
    wait::until("agreement", SOON, async || {
        let left = judge::unsettled(&fleet.crm.records(), &fleet.advoware.records());
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    let record = fleet.crm.records().into_iter().find(|record| record["id"] == *id).unwrap();
    assert_eq!(record["lastName"], "Neu");
    assert!(
        fleet
            .crm
            .journal()
            .iter()
            .any(|entry| entry.after.as_ref().is_some_and(|r| r["syncStatus"] == "failed"))
    );
    fleet.drain().await.unwrap();
}

/// EspoCRM has no versions unless an administrator switches them on.
#[tokio::test]
async fn what_a_person_writes_while_a_run_reads_is_not_overwritten() {
    let mut fleet = one_of_each().await;
    let id = fleet.crm.seed(person("Before", "pending_sync")).unwrap();
    fleet.start_ready().await.unwrap();
    created(&fleet, &id).await;
    let party = fleet.advoware.records().pop().unwrap()["betNr"].to_string();
    fleet.advoware.fault(FaultRule::new(FaultKind::Latency { latency_ms: 500 }).on("GET", "*/Beteiligte/*"));
    fleet.advoware.edit_as_person(&party, &object(json!({ "name": "Advoware" }))).unwrap();
    fleet.crm.clear_counters();
    let hook = fleet.webhooks.iter().find(|hook| hook.url.ends_with("/update")).unwrap();
    let body = format!("[{{\"id\":\"{id}\",\"lastName\":\"x\"}}]");
    assert_eq!(fleet.http.deliver(hook, body).await.unwrap().status, 200);
    wait::until("read of the record", SOON, async || {
        let counters = fleet.crm.counters();
        if counters.contains_key("GET /api/v1/CBeteiligte/{id}") { Ok(()) } else { Err(counters) }
    })
    .await;
    fleet.crm.edit_as_person(&id, &object(json!({ "lastName": "Person" }))).unwrap();
    wait::until("agreement", SOON, async || {
        let left = judge::unsettled(&fleet.crm.records(), &fleet.advoware.records());
        let name = fleet.advoware.records().pop().unwrap()["name"].clone();
        if left.is_empty() && name != "Before" { Ok(()) } else { Err((left, name)) }
    })
    .await;
    assert_eq!(fleet.advoware.records().pop().unwrap()["name"], "Person");
    fleet.drain().await.unwrap();
}

#[tokio::test]
async fn five_attempts_are_made_and_then_a_person_is_asked() {
    let mut fleet = one_of_each().await;
    // Another record's success in between keeps the breaker closed: while it is open, attempts cost nothing.
    fleet.members[1].set("CONNECTOR__ADVOWARE__BREAKER_FAILURES_MAX", "100");
    fleet.advoware.fault(FaultRule::new(FaultKind::Status { status: 500 }).on("POST", "*/Beteiligte"));
    let id = fleet.crm.seed(person("Failing", "pending_sync")).unwrap();
    fleet.start_ready().await.unwrap();
    let letter =
        wait::until("dead letter", SOON, async || fleet.dead_letters().await.unwrap().pop().ok_or("none"))
            .await;
    assert_eq!((letter.reason.name(), letter.attempts.len()), ("attempts_spent", 5));
    assert_eq!(fleet.advoware.counters()["POST /api/v1/advonet/Beteiligte"], 5);
    // The user is told after the letter was written.
    wait::until("five failures told", SOON, async || {
        let journal = fleet.crm.journal();
        let of_record = journal.iter().filter(|entry| entry.record_id == id);
        let counts = of_record.filter_map(|entry| entry.after.as_ref()?["syncRetryCount"].as_u64());
        let counts: Vec<u64> = counts.filter(|count| *count > 0).collect();
        if counts == [1, 2, 3, 4, 5] { Ok(()) } else { Err(counts) }
    })
    .await;

    fleet.advoware.faults().clear();
    fleet.crm.edit_as_person(&id, &object(json!({ "syncStatus": "dirty", "syncRetryCount": 0 }))).unwrap();
    created(&fleet, &id).await;
    wait::until("closed dead letter", SOON, async || {
        let open = fleet.dead_letters().await.unwrap();
        if open.is_empty() { Ok(()) } else { Err(open) }
    })
    .await;
    fleet.drain().await.unwrap();
}
