//! Phone numbers and mail addresses: what the model of random edits cannot show.

use std::sync::Arc;

use flows::parties::PartiesSettings;
use serde_json::{Value, json};
use shared::dead_letter::Reason;
use shared::flow::Flow as _;
use shared::settlement::Settlement;

use super::bench::{At, Bench, CRM_GET, CRM_PUT, GET, NOTE, POST, erika, object};

const POST_ENTRY: &str = "POST /api/v1/advonet/Beteiligte/{id}/Kommunikationen";
const PUT_ENTRY: &str = "PUT /api/v1/advonet/Beteiligte/{id}/Kommunikationen/{id}";

fn number(value: &str, kind: &str) -> Value {
    json!({ "phoneNumber": value, "type": kind, "primary": true, "optOut": false, "invalid": false })
}

/// A person with one number and one address.
fn reachable() -> Value {
    let mut record = erika();
    record["phoneNumberData"] = json!([number("+4951112345", "Mobile")]);
    record["emailAddressData"] = json!([{ "emailAddress": "Erika@Example.de", "primary": true }]);
    record
}

fn entries(bench: &Bench, id: &str) -> Vec<(String, String)> {
    let party = bench.counterpart(id);
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let entries = party["kommunikation"].as_array().cloned().unwrap_or_default();
    entries.iter().map(|entry| (text(entry, "tlf"), text(entry, "bemerkung"))).collect()
}

fn numbers(bench: &Bench, id: &str) -> Vec<String> {
    let numbers = bench.crm_of(id)["phoneNumberData"].as_array().cloned().unwrap_or_default();
    numbers.iter().map(|entry| entry["phoneNumber"].as_str().unwrap().to_owned()).collect()
}

/// People of the firm add an entry.
fn add_entry(bench: &Bench, bet_nr: i64, value: &str, remark: &str) {
    let mut all = bench.party_of(bet_nr).unwrap()["kommunikation"].as_array().cloned().unwrap_or_default();
    all.push(json!({ "tlf": value, "bemerkung": remark, "kommKz": 1, "online": false }));
    bench.edit_party(bet_nr, json!({ "kommunikation": all }));
}

#[tokio::test]
async fn they_cost_one_request_each_and_nothing_once_in_step() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let id = bench.record(reachable());
    bench.forget();
    bench.handle(&id).await.unwrap();
    bench.expect_calls(&[(CRM_GET, 1), (CRM_PUT, 1), (GET, 1), (POST, 1), (POST_ENTRY, 2)]);
    let values: Vec<String> = entries(&bench, &id).into_iter().map(|(value, _)| value).collect();
    assert_eq!(values, ["+4951112345", "Erika@Example.de"]);
    assert_eq!(bench.handle(&id).await.unwrap().actions, Vec::<&str>::new());
    bench.expect_calls(&[(CRM_GET, 1), (GET, 1)]);
    bench.edit_record(&id, json!({ "phoneNumberData": [number("+4951199999", "Mobile")] }));
    bench.handle(&id).await.unwrap();
    bench.expect_calls(&[(CRM_GET, 1), (CRM_PUT, 1), (GET, 2), (PUT_ENTRY, 1)]);
    assert_eq!(entries(&bench, &id)[0].0, "+4951199999");
    bench.expect_clean_journals();
}

#[tokio::test]
async fn switched_off_nothing_of_them_is_read_or_written() {
    let settings = PartiesSettings { communications: None, ..PartiesSettings::default() };
    let bench = Bench::new(settings).await;
    let (id, bet_nr) = bench.linked(reachable()).await;
    assert_eq!(entries(&bench, &id), Vec::new(), "nothing is created with the party");
    add_entry(&bench, bet_nr, "0511 99999", "[ESPOCRM:%%%:1] Mutter");
    bench.edit_record(&id, json!({ "lastName": "Neu", "emailAddressData": [] }));
    bench.handle(&id).await.unwrap();
    assert_eq!(bench.counterpart(&id)["name"], "Neu");
    assert_eq!(entries(&bench, &id), [("0511 99999".to_owned(), "[ESPOCRM:%%%:1] Mutter".to_owned())]);
    assert_eq!(numbers(&bench, &id), ["+4951112345"]);
    assert_eq!(bench.notices(), Vec::<String>::new(), "not even a damaged mark is told of");
    assert!(!bench.calls().keys().any(|call| call.contains("Kommunikationen")), "{:?}", bench.calls());
    // An entity type without these fields will do.
    bench.crm.configure(&object(json!({ "fields": { "phoneNumber": null, "emailAddress": null } }))).unwrap();
    bench.edit_record(&id, json!({ "lastName": "Neuer" }));
    bench.handle(&id).await.unwrap();
    assert_eq!(bench.counterpart(&id)["name"], "Neuer");
    let checked = bench.flow.check().await;
    assert!(!checked.iter().any(|check| check.subject.contains("phoneNumber")), "{checked:?}");
    bench.expect_clean_journals();
}

#[tokio::test]
async fn switched_on_later_they_are_brought_into_step() {
    let settings = PartiesSettings { communications: None, ..PartiesSettings::default() };
    let bench = Bench::new(settings).await;
    let (id, bet_nr) = bench.linked(reachable()).await;
    add_entry(&bench, bet_nr, "0511 / 123-45", "Zentrale");
    bench.handle(&id).await.unwrap();
    let bench = bench.with_settings(PartiesSettings::default());
    bench.handle(&id).await.unwrap();
    let values: Vec<String> = entries(&bench, &id).into_iter().map(|(value, _)| value).collect();
    assert_eq!(values, ["0511 / 123-45", "Erika@Example.de"], "linked, not doubled");
    assert!(entries(&bench, &id)[0].1.ends_with("] Zentrale"), "{:?}", entries(&bench, &id));
    assert_eq!(bench.handle(&id).await.unwrap().actions, Vec::<&str>::new());
    bench.expect_clean_journals();
}

#[tokio::test]
async fn a_number_that_cannot_be_made_international_is_told_of_once_and_skipped() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let (id, bet_nr) = bench.linked(reachable()).await;
    let mut all = bench.party_of(bet_nr).unwrap()["kommunikation"].as_array().cloned().unwrap();
    let remark = all[0]["bemerkung"].clone();
    all[0]["tlf"] = json!("Nebenstelle 12");
    all.push(json!({ "tlf": "110", "bemerkung": "Polizei", "kommKz": 1, "online": false }));
    all.push(json!({ "tlf": "0511 777777", "bemerkung": "", "kommKz": 1, "online": false }));
    bench.edit_party(bet_nr, json!({ "kommunikation": all, "rechtsform": "e.K." }));
    bench.forget();
    bench.handle(&id).await.unwrap();
    assert_eq!(bench.calls().get(NOTE), Some(&1));
    let record = bench.crm_of(&id);
    assert_eq!((&record["syncStatus"], &record["rechtsform"]), (&json!("clean"), &json!("e.K.")));
    assert_eq!(numbers(&bench, &id), ["+4951112345", "+49511777777"], "what is no number changes nothing");
    let after = entries(&bench, &id);
    assert_eq!(after[0], ("Nebenstelle 12".to_owned(), remark.as_str().unwrap().to_owned()));
    assert!(after.contains(&("110".to_owned(), "Polizei".to_owned())), "{after:?}");
    for _ in 0..2 {
        assert_eq!(bench.handle(&id).await.unwrap().actions, Vec::<&str>::new());
    }
    let notices = bench.notices();
    assert!(notices.len() == 1 && notices[0].contains("“110”"), "{notices:?}");
    bench.expect_clean_journals();
}

#[tokio::test]
async fn what_espocrm_refuses_is_a_dead_letter_and_arrives_once_it_is_put_right() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let (id, bet_nr) = bench.linked(reachable()).await;
    let types = |types: Value| object(json!({ "fields": { "phoneNumber": { "typeList": types } } }));
    bench.crm.configure(&types(json!(["Mobile"]))).unwrap();
    add_entry(&bench, bet_nr, "0511 99999", "Zentrale");
    assert_eq!(bench.dispatch(&id).await, Settlement::DeadLetter(Reason::Permanent));
    let record = bench.crm_of(&id);
    assert_eq!(record["syncStatus"], "permanently_failed");
    assert!(record["syncErrorMessage"].as_str().unwrap().contains("phoneNumber"), "{record}");
    assert_eq!(numbers(&bench, &id), ["+4951112345"]);
    bench.crm.configure(&types(json!(["Mobile", "Office"]))).unwrap();
    bench.edit_record(&id, json!({ "syncStatus": "dirty", "syncRetryCount": 0 }));
    bench.handle(&id).await.unwrap();
    assert_eq!(numbers(&bench, &id), ["+4951112345", "+4951199999"]);
    assert_eq!(entries(&bench, &id).len(), 3);
    assert_eq!(bench.crm_of(&id)["syncStatus"], "clean");
    assert_eq!(bench.handle(&id).await.unwrap().actions, Vec::<&str>::new());
    bench.expect_clean_journals();
}

/// Lists are replaced as a whole: what a person adds meanwhile must not go with it.
#[tokio::test]
async fn a_number_that_a_person_adds_meanwhile_is_kept() {
    for (has_versions, said) in [(true, "modified"), (false, "edited_meanwhile")] {
        let bench = Arc::new(Bench::new(PartiesSettings::default()).await);
        bench.crm.configure(&object(json!({ "optimistic_concurrency": has_versions }))).unwrap();
        let (id, bet_nr) = bench.linked(reachable()).await;
        bench.edit_record(&id, json!({ "description": "so that there is a version" }));
        add_entry(&bench, bet_nr, "0511 99999", "");
        let (editor, record_id) = (Arc::clone(&bench), id.clone());
        let mut run = bench.run(&id);
        // Steps 0 to 2: our memory, the mark, reading back; then the lists are written.
        run.guard = At::step(3, move || {
            let mut all = editor.crm_of(&record_id)["phoneNumberData"].as_array().cloned().unwrap();
            all.push(json!({ "phoneNumber": "+493012345", "type": "Home", "primary": false }));
            editor.edit_record(&record_id, json!({ "phoneNumberData": all }));
            true
        });
        assert_eq!(bench.flow.handle(&run).await.unwrap_err().code, said);
        bench.handle(&id).await.unwrap();
        assert_eq!(numbers(&bench, &id), ["+4951112345", "+493012345", "+4951199999"], "{said}");
        let mut values: Vec<String> = entries(&bench, &id).into_iter().map(|(value, _)| value).collect();
        values.sort_unstable();
        assert_eq!(values, ["+493012345", "+4951112345", "0511 99999", "Erika@Example.de"], "{said}");
        assert_eq!(bench.handle(&id).await.unwrap().actions, Vec::<&str>::new());
        bench.expect_clean_journals();
    }
}
