//! Both sides changed the same field.

use flows::parties::{PartiesSettings, Policy};
use serde_json::{Value, json};
use simulators::{FaultKind, FaultRule, espocrm};

use super::bench::{Bench, CRM_GET, CRM_PUT, GET, NOTE, PUT, company};

async fn in_conflict(policy: Policy) -> (Bench, String, i64) {
    let bench = Bench::new(PartiesSettings { policy, ..PartiesSettings::default() }).await;
    let (id, bet_nr) = bench.linked(company()).await;
    bench.edit_record(&id, json!({ "firmenname": "Unser Name" }));
    bench.edit_party(bet_nr, json!({ "name": "Ihr Name" }));
    (bench, id, bet_nr)
}

fn names(bench: &Bench, id: &str) -> (Value, Value) {
    (bench.crm_of(id)["firmenname"].clone(), bench.counterpart(id)["name"].clone())
}

fn expect_one_notice(bench: &Bench) {
    let notices = bench.notices();
    assert_eq!(notices.len(), 1, "{notices:?}");
    for part in ["firmenname", "“Unser Name”", "“Ihr Name”"] {
        assert!(notices[0].contains(part), "{part} is missing in {}", notices[0]);
    }
}

#[tokio::test]
async fn the_crm_wins_and_its_user_is_told_once() {
    let (bench, id, _) = in_conflict(Policy::CrmWins).await;
    bench.edit_record(&id, json!({ "assignedUserId": espocrm::PERSON_ID }));
    bench.handle(&id).await.unwrap();
    bench.expect_calls(&[(CRM_GET, 1), (CRM_PUT, 1), (GET, 2), (PUT, 1), (NOTE, 1)]);
    assert_eq!(names(&bench, &id), (json!("Unser Name"), json!("Unser Name")));
    bench.handle(&id).await.unwrap();
    expect_one_notice(&bench);
    bench.expect_clean_journals();
}

#[tokio::test]
async fn advoware_wins() {
    let (bench, id, _) = in_conflict(Policy::RemoteWins).await;
    bench.handle(&id).await.unwrap();
    assert_eq!(names(&bench, &id), (json!("Ihr Name"), json!("Ihr Name")));
    expect_one_notice(&bench);
}

#[tokio::test]
async fn the_newest_wins_and_advoware_without_time_loses() {
    for (times, expected) in [("reported", "Ihr Name"), ("null", "Unser Name"), ("absent", "Unser Name")] {
        let (bench, id, bet_nr) = in_conflict(Policy::NewestWins).await;
        bench.advoware.configure(&super::bench::object(json!({ "modified_time": times }))).unwrap();
        // EspoCRM's times have a grain of one second.
        bench.advoware.set_clock_offset(jiff::SignedDuration::from_secs(5));
        bench.edit_party(bet_nr, json!({ "bemerkung": "edited later" }));
        bench.handle(&id).await.unwrap();
        assert_eq!(names(&bench, &id), (json!(expected), json!(expected)), "{times}");
        expect_one_notice(&bench);
    }
}

#[tokio::test]
async fn a_person_is_asked_and_nothing_is_written_until_the_answer() {
    let (bench, id, _) = in_conflict(Policy::Ask).await;
    let outcome = bench.handle(&id).await.unwrap();
    assert!(!outcome.converged);
    bench.expect_calls(&[(CRM_GET, 1), (CRM_PUT, 1), (GET, 1), (NOTE, 1)]);
    assert_eq!(bench.crm_of(&id)["syncStatus"], "conflict");
    bench.handle(&id).await.unwrap();
    bench.expect_calls(&[(CRM_GET, 1), (GET, 1)]);
    assert_eq!(names(&bench, &id), (json!("Unser Name"), json!("Ihr Name")));
    expect_one_notice(&bench);
    // A failing run in between is not an answer.
    bench.advoware.fault(FaultRule::new(FaultKind::Status { status: 500 }).on("GET", "*").times(1));
    bench.dispatch(&id).await;
    assert_eq!(names(&bench, &id), (json!("Unser Name"), json!("Ihr Name")));
    assert_eq!(bench.crm_of(&id)["syncStatus"], "conflict");
    bench.edit_record(&id, json!({ "firmenname": "Entschieden", "syncStatus": "dirty" }));
    // And a failing run after the answer does not lose it.
    bench.advoware.fault(FaultRule::new(FaultKind::Status { status: 500 }).on("GET", "*").times(1));
    bench.dispatch(&id).await;
    assert_eq!(names(&bench, &id), (json!("Entschieden"), json!("Entschieden")));
    assert_eq!(bench.crm_of(&id)["syncStatus"], "clean");
    expect_one_notice(&bench);
}

#[tokio::test]
async fn agreement_ends_a_conflict_by_itself() {
    let (bench, id, bet_nr) = in_conflict(Policy::Ask).await;
    bench.handle(&id).await.unwrap();
    bench.edit_party(bet_nr, json!({ "name": "Unser Name" }));
    let outcome = bench.handle(&id).await.unwrap();
    assert!(outcome.converged);
    let record = bench.crm_of(&id);
    assert_eq!((&record["syncStatus"], &record["syncErrorMessage"]), (&json!("clean"), &Value::Null));
    expect_one_notice(&bench);
}

#[tokio::test]
async fn the_user_is_told_though_the_note_fails_at_first() {
    let (bench, id, _) = in_conflict(Policy::CrmWins).await;
    bench.crm.fault(FaultRule::new(FaultKind::Status { status: 503 }).on("POST", "*/Note").times(2));
    bench.dispatch(&id).await;
    expect_one_notice(&bench);
    assert_eq!(bench.crm_of(&id)["syncStatus"], "clean");
}

#[tokio::test]
async fn nobody_to_tell_holds_nothing_up() {
    let (bench, id, _) = in_conflict(Policy::CrmWins).await;
    bench.crm.configure(&super::bench::object(json!({ "message_permission": false }))).unwrap();
    bench.handle(&id).await.unwrap();
    assert_eq!(names(&bench, &id), (json!("Unser Name"), json!("Unser Name")));
    assert_eq!(bench.crm_of(&id)["syncStatus"], "clean");
}
