//! Records that are gone, keys that stand twice, links that are gone.

use flows::parties::PartiesSettings;
use serde_json::{Value, json};
use shared::flow::Flow as _;

use super::bench::{Bench, CRM_GET, CRM_PUT, GET, company, erika, object};

#[tokio::test]
async fn a_deleted_record_leaves_the_party_alone() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let (id, bet_nr) = bench.linked(erika()).await;
    bench.crm.delete_as_person(&id).unwrap();
    assert_eq!(bench.handle(&id).await.unwrap().actions, Vec::<&str>::new());
    bench.expect_calls(&[(CRM_GET, 1)]);
    assert!(bench.party_of(bet_nr).is_some());
    bench.handle(&id).await.unwrap();
    bench.expect_calls(&[(CRM_GET, 1)]);
}

#[tokio::test]
async fn a_party_that_is_gone_is_marked_and_not_created_anew() {
    for answer in ["empty_array", "not_found"] {
        let bench = Bench::new(PartiesSettings::default()).await;
        bench.advoware.configure(&object(json!({ "missing_answer": answer }))).unwrap();
        let (id, bet_nr) = bench.linked(erika()).await;
        bench.advoware.delete_as_person(&bet_nr.to_string()).unwrap();
        bench.handle(&id).await.unwrap();
        bench.expect_calls(&[(CRM_GET, 1), (CRM_PUT, 1), (GET, 1)]);
        let record = bench.crm_of(&id);
        assert_eq!(
            (&record["syncStatus"], &record["syncErrorMessage"]),
            (&json!("failed"), &json!("Not found in Advoware"))
        );
        assert!(record["advowareDeletedAt"].is_string());
        bench.handle(&id).await.unwrap();
        bench.expect_calls(&[(CRM_GET, 1), (GET, 1)]);
        assert!(bench.advoware.records().is_empty());
        assert_eq!(swept(&bench).await, Vec::<String>::new(), "the sweep leaves it alone");
        bench.edit_record(&id, json!({ "lastName": "Changed" }));
        assert_eq!(swept(&bench).await, [id.as_str()]);
        bench.handle(&id).await.unwrap();
        assert_eq!(swept(&bench).await, Vec::<String>::new());
        // A person empties the key: now it is to be created.
        bench.edit_record(&id, json!({ "betnr": null, "syncStatus": "dirty" }));
        bench.handle(&id).await.unwrap();
        let record = bench.crm_of(&id);
        assert_eq!((&record["syncStatus"], &record["advowareDeletedAt"]), (&json!("clean"), &Value::Null));
        assert_eq!(bench.counterpart(&id)["name"], "Changed");
    }
}

pub(super) async fn swept(bench: &Bench) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let now = shared::clock::Clock::now(&*bench.clock);
        let page = bench.flow.sweep(cursor.as_ref(), "s1", now).await.unwrap();
        found.extend(page.records.iter().map(|hit| hit.key.id().to_owned()));
        cursor = page.next;
        if cursor.is_none() {
            return found;
        }
    }
}

#[tokio::test]
async fn one_key_in_two_records_fails_both_and_names_them() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let (first, bet_nr) = bench.linked(erika()).await;
    let second = bench.record(json!({ "firstName": "Max", "lastName": "Muster", "betnr": bet_nr }));
    for (id, other) in [(&second, &first), (&first, &second)] {
        let fault = bench.handle(id).await.unwrap_err();
        assert_eq!((fault.kind.name(), fault.code), ("permanent", "bet_nr_not_unique"));
        assert!(fault.text.contains(id.as_str()) && fault.text.contains(other.as_str()), "{fault}");
    }
    assert_eq!(bench.party_of(bet_nr).unwrap()["vorname"], "Erika");
    assert!(swept(&bench).await.contains(&first), "the other one is looked at soon");
    // A person empties one of them.
    bench.edit_record(&second, json!({ "betnr": null }));
    bench.handle(&first).await.unwrap();
    bench.handle(&second).await.unwrap();
    assert_eq!(bench.advoware.records().len(), 2);
    bench.forget();
    bench.handle(&first).await.unwrap();
    bench.expect_calls(&[(CRM_GET, 1), (GET, 1)]);
}

#[tokio::test]
async fn an_empty_store_adopts_what_is_linked_already() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let (equal, _) = bench.linked(erika()).await;
    let (differs, bet_nr) = bench.linked(company()).await;
    let bench = bench.with_empty_store();
    bench.edit_party(bet_nr, json!({ "handelsRegisterNummer": "HRB 999" }));
    bench.forget();
    bench.handle(&equal).await.unwrap();
    assert!(!bench.calls().contains_key(CRM_PUT), "nothing to write");
    bench.handle(&differs).await.unwrap();
    assert_eq!(
        bench.counterpart(&differs)["handelsRegisterNummer"],
        "HRB 123",
        "at the first sync EspoCRM wins"
    );
    assert_eq!(bench.advoware.records().len(), 2);
    bench.expect_clean_journals();
}
