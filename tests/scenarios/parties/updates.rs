//! Keeping linked pairs equal.

use std::sync::Arc;

use flows::parties::PartiesSettings;
use serde_json::{Value, json};
use shared::flow::Flow as _;
use simulators::{FaultKind, FaultRule};

use super::bench::{At, Bench, CRM_GET, CRM_PUT, GET, PUT, company, erika, object};

#[tokio::test]
async fn changes_of_both_sides_are_merged_with_four_calls() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let (id, bet_nr) = bench.linked(company()).await;
    bench.edit_party(bet_nr, json!({ "handelsRegisterNummer": "HRB 9", "strasse": "Hauptstraße 1" }));
    bench.edit_record(&id, json!({ "firmenname": "Bäcker und Söhne", "description": "kept" }));
    bench.handle(&id).await.unwrap();
    // The record is read once more before values are written into it.
    bench.expect_calls(&[(CRM_GET, 2), (CRM_PUT, 1), (GET, 2), (PUT, 1)]);
    let (record, party) = (bench.crm_of(&id), bench.counterpart(&id));
    assert_eq!(
        (&party["name"], &party["handelsRegisterNummer"], &party["strasse"]),
        (&json!("Bäcker und Söhne"), &json!("HRB 9"), &json!("Hauptstraße 1"))
    );
    assert_eq!(
        (&record["handelsregisterNummer"], &record["description"], &record["advowareRowId"]),
        (&json!("HRB 9"), &json!("kept"), &party["rowId"])
    );
    assert_eq!(bench.handle(&id).await.unwrap().actions, Vec::<&str>::new());
    bench.expect_calls(&[(CRM_GET, 1), (GET, 1)]);
    bench.expect_clean_journals();
}

#[tokio::test]
async fn a_change_in_advoware_costs_one_read_and_one_write() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let (id, bet_nr) = bench.linked(erika()).await;
    bench.edit_party(bet_nr, json!({ "name": "Muster" }));
    let outcome = bench.handle(&id).await.unwrap();
    bench.expect_calls(&[(CRM_GET, 2), (CRM_PUT, 1), (GET, 1)]);
    assert_eq!(bench.crm_of(&id)["lastName"], "Muster");
    assert!(outcome.look_again_at.is_some(), "a record that changes is looked at sooner");
}

#[tokio::test]
async fn status_and_age_are_written_without_a_change() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let (id, _) = bench.linked(erika()).await;
    for fields in [json!({ "syncStatus": "dirty" }), json!({ "advowareLastSync": "2020-01-01 00:00:00" })] {
        bench.edit_record(&id, fields);
        bench.handle(&id).await.unwrap();
        bench.expect_calls(&[(CRM_GET, 1), (CRM_PUT, 1), (GET, 1)]);
        assert_eq!(bench.crm_of(&id)["syncStatus"], "clean");
    }
}

#[tokio::test]
async fn a_party_changes_its_kind_on_either_side() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let (id, bet_nr) = bench.linked(erika()).await;
    bench.edit_party(bet_nr, json!({ "vorname": null, "name": "Muster GbR" }));
    bench.handle(&id).await.unwrap();
    let record = bench.crm_of(&id);
    assert_eq!(
        (&record["firmenname"], &record["firstName"], &record["lastName"]),
        (&json!("Muster GbR"), &Value::Null, &Value::Null)
    );
    bench.edit_record(&id, json!({ "firmenname": null, "firstName": "Erika", "lastName": "Muster" }));
    bench.handle(&id).await.unwrap();
    let party = bench.counterpart(&id);
    assert_eq!((&party["name"], &party["vorname"]), (&json!("Muster"), &json!("Erika")));
    bench.edit_record(&id, json!({ "firmenname": "Muster OHG", "firstName": null, "lastName": null }));
    bench.handle(&id).await.unwrap();
    let party = bench.counterpart(&id);
    assert_eq!((&party["name"], &party["vorname"]), (&json!("Muster OHG"), &Value::Null));
    bench.edit_party(bet_nr, json!({ "vorname": "Max", "name": "Muster" }));
    bench.handle(&id).await.unwrap();
    let record = bench.crm_of(&id);
    assert_eq!(
        (&record["firmenname"], &record["firstName"], &record["lastName"]),
        (&Value::Null, &json!("Max"), &json!("Muster"))
    );
    bench.expect_clean_journals();
}

#[tokio::test]
async fn odd_names_arrive_as_they_are() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let names = [
        "von  der   Heyde",
        "O'Neill-Ünal",
        "Dr. med. Ößterreich",
        "\u{5d3}\u{5d5}\u{5d3} لوك",
        "A\u{308}rger",
    ];
    for name in names {
        let (id, bet_nr) = bench.linked(json!({ "firstName": "X", "lastName": name })).await;
        let expected = name.replace("A\u{308}", "Ä");
        assert_eq!(bench.counterpart(&id)["name"], expected);
        bench.edit_party(bet_nr, json!({ "vorname": name }));
        bench.handle(&id).await.unwrap();
        assert_eq!(bench.crm_of(&id)["firstName"], expected);
        assert_eq!(bench.handle(&id).await.unwrap().actions, Vec::<&str>::new());
    }
}

#[tokio::test]
async fn salutations_without_counterpart_are_left_alone() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let (id, bet_nr) = bench.linked(erika()).await;
    bench.edit_party(bet_nr, json!({ "anrede": "Sehr geehrte Damen und Herren" }));
    bench.handle(&id).await.unwrap();
    bench.edit_record(&id, json!({ "lastName": "Neu" }));
    bench.handle(&id).await.unwrap();
    assert_eq!(bench.crm_of(&id)["salutationName"], "Ms.");
    assert_eq!(bench.counterpart(&id)["anrede"], "Sehr geehrte Damen und Herren");
    // One that EspoCRM knows and Advoware does not.
    let (doctor, _) =
        bench.linked(json!({ "lastName": "Faust", "firstName": "H", "salutationName": "Dr." })).await;
    assert!(bench.counterpart(&doctor)["anrede"].is_null());
    assert_eq!(bench.handle(&doctor).await.unwrap().actions, Vec::<&str>::new());
}

#[tokio::test]
async fn a_salutation_that_espocrm_refuses_does_not_hold_the_rest_up() {
    let salutations =
        [("Frau Doktor".to_owned(), "Frau Dr.".to_owned()), ("Ms.".to_owned(), "Frau".to_owned())].into();
    let bench = Bench::new(PartiesSettings { salutations, ..PartiesSettings::default() }).await;
    let (id, bet_nr) = bench.linked(erika()).await;
    bench.edit_party(bet_nr, json!({ "anrede": "Frau Dr.", "name": "Neu" }));
    bench.dispatch(&id).await;
    let record = bench.crm_of(&id);
    assert_eq!(
        (&record["lastName"], &record["salutationName"], &record["syncStatus"]),
        (&json!("Neu"), &json!("Ms."), &json!("clean"))
    );
    assert_eq!(bench.handle(&id).await.unwrap().actions, Vec::<&str>::new());
}

#[tokio::test]
async fn an_edit_between_write_and_reading_back_arrives() {
    let bench = Arc::new(Bench::new(PartiesSettings::default()).await);
    let (id, bet_nr) = bench.linked(company()).await;
    bench.edit_record(&id, json!({ "firmenname": "Neu" }));
    let editor = Arc::clone(&bench);
    let mut run = bench.run(&id);
    // Step 0 notes the attempt, step 1 is the PUT, step 2 reads back.
    run.guard = At::step(2, move || {
        editor.edit_party(bet_nr, json!({ "rechtsform": "AG" }));
        true
    });
    let fault = bench.flow.handle(&run).await.unwrap_err();
    assert_eq!((fault.kind.name(), bench.crm_of(&id)["syncStatus"].as_str()), ("conflict", Some("dirty")));
    bench.handle(&id).await.unwrap();
    let (record, party) = (bench.crm_of(&id), bench.counterpart(&id));
    assert_eq!((&record["rechtsform"], &party["name"]), (&json!("AG"), &json!("Neu")));
    assert_eq!(record["syncStatus"], "clean");
}

#[tokio::test]
async fn lost_and_failed_writes_end_in_the_same_place() {
    for fault in [
        FaultKind::CloseBefore,
        FaultKind::CloseAfter,
        FaultKind::Status { status: 503 },
        FaultKind::HtmlPage,
    ] {
        for (system, path) in [("crm", "*/CBeteiligte/*"), ("advoware", "*/Beteiligte/*")] {
            let bench = Bench::new(PartiesSettings::default()).await;
            let (id, bet_nr) = bench.linked(erika()).await;
            bench.edit_record(&id, json!({ "lastName": "Crm" }));
            bench.edit_party(bet_nr, json!({ "rechtsform": "e.K." }));
            let rule = FaultRule::new(fault.clone()).on("PUT", path).times(1);
            if system == "crm" {
                bench.crm.fault(rule)
            } else {
                bench.advoware.fault(rule)
            }
            bench.dispatch(&id).await;
            let (record, party) = (bench.crm_of(&id), bench.counterpart(&id));
            assert_eq!(
                (&record["rechtsform"], &party["name"], &record["syncStatus"]),
                (&json!("e.K."), &json!("Crm"), &json!("clean")),
                "{fault:?} at {system}"
            );
            bench.expect_clean_journals();
        }
    }
}

#[tokio::test]
async fn an_optimistic_version_keeps_an_edit_in_between() {
    let bench = Arc::new(Bench::new(PartiesSettings::default()).await);
    bench.crm.configure(&object(json!({ "optimistic_concurrency": true }))).unwrap();
    let (id, bet_nr) = bench.linked(erika()).await;
    bench.edit_record(&id, json!({ "description": "so that there is a version" }));
    bench.edit_party(bet_nr, json!({ "name": "Neu" }));
    let (editor, record_id) = (Arc::clone(&bench), id.clone());
    let mut run = bench.run(&id);
    run.guard = At::step(0, move || {
        editor.edit_record(&record_id, json!({ "firstName": "Eva", "lastName": "Meanwhile" }));
        true
    });
    assert_eq!(bench.flow.handle(&run).await.unwrap_err().code, "modified");
    bench.handle(&id).await.unwrap();
    assert_eq!(bench.crm_of(&id)["firstName"], "Eva");
    assert_eq!(bench.counterpart(&id)["vorname"], "Eva");
}

#[tokio::test]
async fn an_edit_between_reading_and_writing_the_record_arrives() {
    let bench = Arc::new(Bench::new(PartiesSettings::default()).await);
    let (id, bet_nr) = bench.linked(erika()).await;
    bench.edit_party(bet_nr, json!({ "name": "Neu" }));
    let (editor, record_id) = (Arc::clone(&bench), id.clone());
    let mut run = bench.run(&id);
    run.guard = At::step(0, move || {
        editor.edit_record(&record_id, json!({ "firstName": "Eva" }));
        true
    });
    assert_eq!(bench.flow.handle(&run).await.unwrap_err().code, "edited_meanwhile");
    bench.handle(&id).await.unwrap();
    let (record, party) = (bench.crm_of(&id), bench.counterpart(&id));
    assert_eq!((&record["lastName"], &party["vorname"]), (&json!("Neu"), &json!("Eva")));
    bench.expect_clean_journals();
}

#[tokio::test]
async fn a_person_without_a_first_name_stays_a_person() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let (id, bet_nr) = bench.linked(json!({ "lastName": "Plato", "dateOfBirth": "1980-05-17" })).await;
    assert!(bench.counterpart(&id)["geburtsdatum"].as_str().unwrap().starts_with("1980-05-17"));
    assert_eq!(bench.handle(&id).await.unwrap().actions, Vec::<&str>::new());
    bench.edit_party(bet_nr, json!({ "name": "Platon" }));
    bench.handle(&id).await.unwrap();
    let record = bench.crm_of(&id);
    assert_eq!((&record["lastName"], &record["firmenname"]), (&json!("Platon"), &Value::Null));
    bench.edit_record(&id, json!({ "lastName": null, "firmenname": "Platon" }));
    bench.handle(&id).await.unwrap();
    assert_eq!(bench.handle(&id).await.unwrap().actions, Vec::<&str>::new());
    bench.expect_clean_journals();
}
