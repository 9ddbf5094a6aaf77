//! Start-up checks and previews.

use flows::parties::{PartiesSettings, Policy};
use serde_json::json;
use shared::clock::Clock as _;
use shared::flow::{Check, Flow as _, Verdict};

use super::bench::{Bench, company, erika, object};

fn broken(checks: &[Check]) -> Vec<&str> {
    checks
        .iter()
        .filter(|check| check.verdict == Verdict::Broken)
        .map(|check| check.subject.as_str())
        .collect()
}

#[tokio::test]
async fn all_is_well_but_the_webhooks() {
    let bench = Bench::new(PartiesSettings::default()).await;
    bench.crm.configure(&object(json!({ "optimistic_concurrency": true }))).unwrap();
    let checks = bench.flow.check().await;
    assert_eq!(broken(&checks), Vec::<&str>::new(), "{checks:#?}");
    let warned: Vec<&str> =
        checks.iter().filter(|c| c.verdict == Verdict::Warning).map(|c| c.subject.as_str()).collect();
    assert_eq!(warned.len(), 3, "{warned:?}");
    assert!(warned.iter().all(|subject| subject.contains("webhook")), "{warned:?}");
    bench.crm.configure(&object(json!({ "optimistic_concurrency": false }))).unwrap();
    let without = bench.flow.check().await;
    assert!(
        without.iter().any(|c| c.verdict == Verdict::Warning && c.seen.contains("optimistic")),
        "{without:#?}"
    );
    assert!(checks.iter().filter(|c| c.verdict != Verdict::Well).all(|c| !c.remedy.is_empty()));
}

#[tokio::test]
async fn what_is_wrong_is_named_all_at_once() {
    let bench = Bench::new(PartiesSettings::default()).await;
    let settings = json!({
        "version": "9.1.8", "last_name_required": true,
        "fields": { "betnr": null, "syncStatus": { "options": ["clean", "dirty"] } },
    });
    bench.crm.configure(&object(settings)).unwrap();
    bench.advoware.configure(&object(json!({ "password": "another" }))).unwrap();
    let checks = bench.flow.check().await;
    let broken = broken(&checks);
    for expected in ["EspoCRM version", "betnr", "syncStatus", "lastName", "Advoware sign-in"] {
        assert!(
            broken.iter().any(|subject| subject.contains(expected)),
            "{expected} is missing in {broken:?}"
        );
    }
}

#[tokio::test]
async fn a_preview_names_the_fields_and_writes_nothing() {
    let bench =
        Bench::new(PartiesSettings { policy: Policy::RemoteWins, ..PartiesSettings::default() }).await;
    let (id, bet_nr) = bench.linked(company()).await;
    bench.edit_record(&id, json!({ "firmenname": "Neu" }));
    bench.edit_party(bet_nr, json!({ "handelsRegisterNummer": "HRB 9" }));
    let before = (bench.crm_of(&id), bench.counterpart(&id));
    let preview = bench.flow.preview(&bench.run(&id).key, bench.clock.now()).await.unwrap();
    let lines: Vec<String> = preview
        .differences
        .iter()
        .map(|d| {
            format!("{} {}: {:?} -> {:?}", d.system, d.field, d.present.as_deref(), d.planned.as_deref())
        })
        .collect();
    assert_eq!(
        lines,
        [
            r#"advoware name: Some("Bäcker & Söhne") -> Some("Neu")"#,
            r#"espocrm handelsregisterNummer: Some("HRB 123") -> Some("HRB 9")"#,
        ]
    );
    assert_eq!((bench.crm_of(&id), bench.counterpart(&id)), before);
    let new = bench.record(erika());
    let preview = bench.flow.preview(&bench.run(&new).key, bench.clock.now()).await.unwrap();
    assert!(preview.summary.contains("created"), "{}", preview.summary);
    assert_eq!(preview.differences.len(), 5, "{preview:#?}");
    assert!(
        !bench.calls().keys().any(|call| call.starts_with("PUT") || call.starts_with("POST")),
        "{:?}",
        bench.calls()
    );
}
