//! What the record's user sees when a run fails.

use std::time::Duration;

use flows::parties::PartiesSettings;
use serde_json::{Value, json};
use shared::dead_letter::Reason;
use shared::fault::{Fault, FaultKind as Kind};
use shared::flow::{Failure, Flow as _};
use shared::settlement::Settlement;
use simulators::{FaultKind, FaultRule};

use super::bench::{Bench, CRM_PUT, company, erika, object};

#[tokio::test]
async fn five_attempts_then_a_dead_letter_and_a_fresh_life() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let id = bench.record(erika());
    bench.advoware.fault(FaultRule::new(FaultKind::Status { status: 500 }).on("POST", "*/Beteiligte"));
    assert_eq!(bench.dispatch(&id).await, Settlement::DeadLetter(Reason::AttemptsSpent));
    let record = bench.crm_of(&id);
    assert_eq!((&record["syncStatus"], &record["syncRetryCount"]), (&json!("permanently_failed"), &json!(5)));
    assert!(record["syncErrorMessage"].as_str().unwrap().contains("500"), "{record}");
    assert_eq!(bench.notices().len(), 1, "{:?}", bench.notices());
    bench.advoware.faults().clear();
    bench.edit_record(&id, json!({ "syncStatus": "dirty", "syncRetryCount": 0 }));
    assert!(bench.handle(&id).await.unwrap().converged, "closes the dead letter");
    let record = bench.crm_of(&id);
    assert_eq!((&record["syncStatus"], &record["syncErrorMessage"]), (&json!("clean"), &Value::Null));
    assert_eq!(bench.advoware.records().len(), 1);
}

#[tokio::test]
async fn what_costs_no_attempt_is_not_the_records_failure() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let id = bench.record(erika());
    bench.forget();
    let after = Duration::from_secs(60);
    for kind in [Kind::Throttled { after }, Kind::Busy { after }, Kind::Paused { after }, Kind::Unauthorized]
    {
        let fault = Fault::new(kind, "test", "a test");
        let failure = Failure { fault: &fault, attempts: 1, dead_letter: None };
        bench.flow.report(&bench.run(&id), &failure).await.unwrap();
    }
    bench.expect_calls(&[]);
}

#[tokio::test]
async fn error_texts_fit_the_field() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let id = bench.record(erika());
    let fault = Fault { text: "ä".repeat(5_000), ..Fault::permanent("test", "") };
    let failure = Failure { fault: &fault, attempts: 2, dead_letter: None };
    bench.flow.report(&bench.run(&id), &failure).await.unwrap();
    assert!(
        bench.crm_of(&id)["syncErrorMessage"].is_null(),
        "a permanent fault is reported with its dead letter"
    );
    let failure = Failure { dead_letter: Some(Reason::Permanent), ..failure };
    bench.flow.report(&bench.run(&id), &failure).await.unwrap();
    let text = bench.crm_of(&id)["syncErrorMessage"].as_str().unwrap().to_owned();
    assert_eq!(text.chars().count(), 2_000);
}

#[tokio::test]
async fn a_legal_form_that_is_no_option_is_named() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let (id, bet_nr) = bench.linked(company()).await;
    bench.edit_party(bet_nr, json!({ "rechtsform": "Societas Mirabilis" }));
    assert_eq!(bench.dispatch(&id).await, Settlement::DeadLetter(Reason::Permanent));
    let record = bench.crm_of(&id);
    assert_eq!(record["syncStatus"], "permanently_failed");
    let text = record["syncErrorMessage"].as_str().unwrap();
    assert!(text.contains("Societas Mirabilis") && text.contains("rechtsform"), "{text}");
    bench.edit_party(bet_nr, json!({ "rechtsform": "AG" }));
    assert!(bench.handle(&id).await.unwrap().converged);
    assert_eq!(bench.crm_of(&id)["rechtsform"], "AG");
}

#[tokio::test]
async fn a_field_that_is_missing_in_the_crm_is_named() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let id = bench.record(erika());
    bench.crm.configure(&object(json!({ "fields": { "advowareRowId": null } }))).unwrap();
    let fault = bench.handle(&id).await.unwrap_err();
    assert_eq!(fault.kind.name(), "permanent");
    assert!(fault.text.contains("advowareRowId"), "{fault}");
    assert!(bench.advoware.records().is_empty(), "found before anything was written");
}

#[tokio::test]
async fn a_refusal_creates_nothing_and_leaves_no_intent() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let id = bench.record(erika());
    bench
        .advoware
        .fault(FaultRule::new(FaultKind::Status { status: 400 }).on("POST", "*/Beteiligte").times(1));
    assert_eq!(bench.dispatch(&id).await, Settlement::DeadLetter(Reason::Permanent));
    // A party of the same name that a person makes meanwhile is not taken for ours.
    let stranger = bench
        .party(json!({ "name": "Müller-Lüdenscheidt", "vorname": "Erika", "geburtsdatum": "1980-05-17" }));
    bench.handle(&id).await.unwrap();
    assert_ne!(bench.crm_of(&id)["betnr"], stranger);
}

#[tokio::test]
async fn a_run_that_takes_long_says_so_and_cleans_up() {
    let settings =
        PartiesSettings { syncing_status_after: Duration::from_millis(50), ..PartiesSettings::default() };
    let bench = Bench::new(settings).await;
    let (id, _) = bench.linked(erika()).await;
    bench.advoware.fault(FaultRule::new(FaultKind::Latency { latency_ms: 400 }));
    bench.handle(&id).await.unwrap();
    assert_eq!(bench.calls()[CRM_PUT], 2, "{:?}", bench.calls());
    assert_eq!(bench.crm_of(&id)["syncStatus"], "clean");
    bench.edit_record(&id, json!({ "lastName": "Neu" }));
    bench.handle(&id).await.unwrap();
    assert_eq!(bench.crm_of(&id)["syncStatus"], "clean");
    assert_eq!(bench.counterpart(&id)["name"], "Neu");
}

/// The status waits while the run writes the record itself; then the run is over.
#[tokio::test]
async fn a_run_whose_last_write_takes_long_leaves_no_syncing_behind() {
    let settings =
        PartiesSettings { syncing_status_after: Duration::from_millis(200), ..PartiesSettings::default() };
    let bench = Bench::new(settings).await;
    let (id, bet_nr) = bench.linked(erika()).await;
    bench.crm.fault(FaultRule::new(FaultKind::Latency { latency_ms: 500 }).on("PUT", "*"));
    bench.edit_party(bet_nr, json!({ "name": "Neu" }));
    bench.handle(&id).await.unwrap();
    assert_eq!(bench.crm_of(&id)["syncStatus"], "clean");
    bench.edit_record(&id, json!({ "lastName": "Neuer" }));
    bench.handle(&id).await.unwrap();
    assert_eq!(bench.crm_of(&id)["syncStatus"], "clean");
}

#[tokio::test]
async fn an_invalid_key_is_refused_with_the_reason() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let id = bench.record(json!({ "lastName": "X", "betnr": 0 }));
    let fault = bench.handle(&id).await.unwrap_err();
    assert_eq!((fault.kind.name(), fault.code), ("permanent", "bet_nr_invalid"));
}
