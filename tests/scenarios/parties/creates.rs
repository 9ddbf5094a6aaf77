//! Creating in Advoware, whatever happens on the way.

use flows::parties::PartiesSettings;
use jiff::SignedDuration;
use serde_json::json;
use shared::flow::Flow as _;
use simulators::{FaultKind, FaultRule};

use super::bench::{At, Bench, CRM_GET, CRM_PUT, GET, POST, PUT, company, erika, object};

#[tokio::test]
async fn a_new_record_is_created_with_three_calls() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let id = bench.record(erika());
    let outcome = bench.handle(&id).await.unwrap();
    assert_eq!(outcome.actions, ["create_party", "update_record"]);
    bench.expect_calls(&[(CRM_GET, 1), (CRM_PUT, 1), (POST, 1), (GET, 1)]);
    let (record, party) = (bench.crm_of(&id), bench.counterpart(&id));
    assert_eq!(
        (&party["name"], &party["vorname"], &party["anrede"]),
        (&json!("Müller-Lüdenscheidt"), &json!("Erika"), &json!("Frau"))
    );
    assert_eq!(party["geburtsdatum"].as_str().unwrap().get(..10), Some("1980-05-17"));
    assert_eq!((&record["syncStatus"], &record["syncRetryCount"]), (&json!("clean"), &json!(0)));
    assert_eq!(record["advowareRowId"], party["rowId"]);
    assert!(record["advowareLastSync"].is_string());
    assert_eq!(bench.handle(&id).await.unwrap().actions, Vec::<&str>::new());
    bench.expect_calls(&[(CRM_GET, 1), (GET, 1)]);
    bench.expect_clean_journals();
}

#[tokio::test]
async fn a_company_is_created_as_one() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let (id, _) = bench.linked(company()).await;
    let party = bench.counterpart(&id);
    assert_eq!(
        (&party["name"], &party["handelsRegisterNummer"]),
        (&json!("Bäcker & Söhne"), &json!("HRB 123"))
    );
    assert!(party["vorname"].is_null());
}

#[tokio::test]
async fn a_record_without_name_is_refused_with_the_reason() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let id = bench.record(json!({ "rechtsform": "AG" }));
    let fault = bench.handle(&id).await.unwrap_err();
    assert_eq!((fault.kind.name(), fault.code), ("permanent", "no_name"));
}

#[tokio::test]
async fn a_lost_answer_does_not_create_a_second_party() {
    for fault in
        [FaultKind::CloseAfter, FaultKind::CutBody, FaultKind::CloseBefore, FaultKind::HtmlBadGateway]
    {
        let bench = Bench::new(PartiesSettings::default()).await;
        let id = bench.record(erika());
        bench.advoware.fault(FaultRule::new(fault.clone()).on("POST", "*/Beteiligte").times(1));
        assert!(bench.handle(&id).await.is_err(), "{fault:?}");
        bench.edit_record(&id, json!({ "rechtsform": "e.K." }));
        bench.handle(&id).await.unwrap();
        assert_eq!(bench.advoware.records().len(), 1, "{fault:?}");
        assert_eq!(bench.counterpart(&id)["rechtsform"], "e.K.", "{fault:?}");
        assert_eq!(bench.crm_of(&id)["syncStatus"], "clean");
        bench.expect_clean_journals();
    }
}

#[tokio::test]
async fn a_stop_at_any_step_creates_one_party() {
    for step in 0..12 {
        let bench = Bench::new(PartiesSettings::default()).await;
        let id = bench.record(company());
        let guard = At::stop(step);
        let mut run = bench.run(&id);
        run.guard = guard.clone();
        let stopped = bench.flow.handle(&run).await;
        assert_eq!(stopped.is_err(), guard.struck());
        bench.handle(&id).await.unwrap();
        assert_eq!(bench.advoware.records().len(), 1, "stopped at step {step}");
        assert_eq!(bench.crm_of(&id)["syncStatus"], "clean");
        assert_eq!(bench.handle(&id).await.unwrap().actions, Vec::<&str>::new());
        bench.expect_clean_journals();
        if !guard.struck() {
            assert!(step > 5, "there are more steps than {step}");
            return;
        }
    }
    panic!("a create has fewer than 12 steps");
}

#[tokio::test]
async fn several_candidates_are_left_to_a_person() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let id = bench.record(erika());
    let twin = json!({ "name": "Müller-Lüdenscheidt", "vorname": "Erika", "geburtsdatum": "1980-05-17" });
    let twins = [bench.party(twin.clone()), bench.party(twin)];
    bench.advoware.fault(FaultRule::new(FaultKind::CloseBefore).on("POST", "*/Beteiligte").times(1));
    assert!(bench.handle(&id).await.is_err());
    let fault = bench.handle(&id).await.unwrap_err();
    assert_eq!((fault.kind.name(), fault.code), ("permanent", "lost_create_ambiguous"));
    assert!(twins.iter().all(|twin| fault.text.contains(&twin.to_string())), "{fault}");
    // The person decides.
    bench.edit_record(&id, json!({ "betnr": twins[1], "syncStatus": "dirty" }));
    bench.handle(&id).await.unwrap();
    assert_eq!(
        (bench.counterpart(&id)["betNr"].as_i64(), bench.advoware.records().len()),
        (Some(twins[1]), 2)
    );
}

#[tokio::test]
async fn creates_of_namesakes_that_are_lost_at_once_each_keep_a_party() {
    for other in [json!({ "rechtsform": "AG" }), json!({})] {
        let bench = Bench::new(PartiesSettings::default()).await;
        let mut second = erika();
        second.as_object_mut().unwrap().extend(object(other.clone()));
        let ids = [bench.record(erika()), bench.record(second)];
        bench.advoware.fault(FaultRule::new(FaultKind::CloseAfter).on("POST", "*/Beteiligte").times(2));
        for id in &ids {
            assert!(bench.handle(id).await.is_err());
        }
        assert_eq!(bench.advoware.records().len(), 2);
        // The second one first: its party is not the first that the search finds.
        for id in ids.iter().rev() {
            bench.handle(id).await.unwrap();
        }
        assert_eq!(bench.advoware.records().len(), 2, "{other}");
        let linked = ids.each_ref().map(|id| bench.counterpart(id));
        assert_ne!(linked[0]["betNr"], linked[1]["betNr"], "{other}");
        assert!(linked[0]["rechtsform"].is_null());
        assert_eq!(linked[1]["rechtsform"].as_str(), other["rechtsform"].as_str());
        // Nobody's party was adopted and written over.
        assert_eq!(bench.calls().get(PUT), None, "{other}");
        for id in &ids {
            assert_eq!(bench.handle(id).await.unwrap().actions, Vec::<&str>::new(), "{other}");
        }
    }
}

#[tokio::test]
async fn a_create_that_a_lost_store_knew_of_is_adopted_or_left_to_a_person() {
    for edit in [json!({}), json!({ "dateOfBirth": "1991-01-01" })] {
        let bench = Bench::new(PartiesSettings::default()).await;
        let id = bench.record(erika());
        bench.advoware.fault(FaultRule::new(FaultKind::CloseAfter).on("POST", "*/Beteiligte").times(1));
        assert!(bench.handle(&id).await.is_err());
        let left = bench.advoware.records()[0]["betNr"].as_i64().unwrap();
        let bench = bench.with_released_store().await;
        let is_edited = edit != json!({});
        bench.edit_record(&id, edit);
        if is_edited {
            let fault = bench.handle(&id).await.unwrap_err();
            assert_eq!((fault.kind.name(), fault.code), ("permanent", "lost_create_ambiguous"));
            assert!(fault.text.contains(&left.to_string()), "{fault}");
            bench.edit_record(&id, json!({ "betnr": left, "syncStatus": "dirty" }));
        }
        bench.handle(&id).await.unwrap();
        assert_eq!((bench.crm_of(&id)["betnr"].as_i64(), bench.advoware.records().len()), (Some(left), 1));
        let born = |record: &serde_json::Value, field: &str| record[field].as_str().unwrap()[..10].to_owned();
        assert_eq!(born(&bench.counterpart(&id), "geburtsdatum"), born(&bench.crm_of(&id), "dateOfBirth"));
        // Whoever was made afterwards has namesakes, and is nobody of them.
        bench.crm.set_clock_offset(SignedDuration::from_secs(60));
        let namesake = bench.record(json!({ "lastName": "Müller-Lüdenscheidt",
            "firstName": "Erika", "dateOfBirth": "2001-01-01", "syncStatus": "pending_sync" }));
        bench.party(
            json!({ "name": "Müller-Lüdenscheidt", "vorname": "Erika", "geburtsdatum": "1970-05-17" }),
        );
        bench.handle(&namesake).await.unwrap();
        assert_eq!(bench.advoware.records().len(), 3);
    }
}

#[tokio::test]
async fn what_is_linked_to_another_record_is_not_adopted() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let (_, first) = bench.linked(erika()).await;
    let twin = bench.record(erika());
    bench.advoware.fault(FaultRule::new(FaultKind::CloseBefore).on("POST", "*/Beteiligte").times(1));
    assert!(bench.handle(&twin).await.is_err());
    bench.handle(&twin).await.unwrap();
    assert_ne!(bench.counterpart(&twin)["betNr"], first);
    assert_eq!(bench.advoware.records().len(), 2);
}

#[tokio::test]
async fn a_record_without_its_key_is_not_created_again() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let (id, bet_nr) = bench.linked(erika()).await;
    bench.edit_record(&id, json!({ "betnr": null }));
    bench.handle(&id).await.unwrap();
    assert_eq!((bench.crm_of(&id)["betnr"].as_i64(), bench.advoware.records().len()), (Some(bet_nr), 1));
}
