//! State and journal outlive the process that kept them.

use std::io::Write;

use serde_json::{Value, json};
use simulators::{AdvowareOptions, AdvowareSimulator, EspocrmOptions, EspocrmSimulator, Hosting, read_file};

use crate::advoware::{Client, PARTIES};
use crate::espocrm::{TYPE, call};
use crate::replay::object;

fn hosting(folder: &tempfile::TempDir) -> Hosting {
    Hosting { folder: Some(folder.path().to_owned()), ..Hosting::default() }
}

async fn espocrm(folder: &tempfile::TempDir) -> EspocrmSimulator {
    EspocrmSimulator::start(EspocrmOptions { hosting: hosting(folder), ..EspocrmOptions::default() })
        .await
        .unwrap()
}

#[tokio::test]
async fn records_webhooks_and_journal_are_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let crm = espocrm(&folder).await;
    let id = crm.seed(object(json!({ "lastName": "A" }))).unwrap();
    let hook = json!({ "event": "CBeteiligte.update", "url": "http://127.0.0.1:1/x" });
    assert_eq!(call(&crm, "POST", "/api/v1/Webhook", &hook).await.status, 201);
    assert_eq!(call(&crm, "PUT", &format!("{TYPE}/{id}"), &json!({ "lastName": "B" })).await.status, 200);
    let (records, journal) = (crm.records(), crm.journal());
    crm.stop().await;

    let crm = espocrm(&folder).await;
    assert_eq!(crm.records(), records);
    assert_eq!(crm.journal(), journal);
    assert_eq!(call(&crm, "GET", "/api/v1/Webhook", &Value::Null).await.json()["total"], 1);
    assert_eq!(crm.deliver_webhooks().await, 1, "the event of the update is still queued");
    assert_eq!(read_file(&folder.path().join("espocrm.jsonl")).unwrap(), journal);
    crm.reset().unwrap();
    assert!(read_file(&folder.path().join("espocrm.jsonl")).unwrap().is_empty());
}

/// What a kill in the middle of a write leaves is a line without an end; that write was not answered.
#[tokio::test]
async fn a_torn_last_line_is_cut_off_and_work_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let options = AdvowareOptions { hosting: hosting(&folder), ..AdvowareOptions::default() };
    let advoware = AdvowareSimulator::start(options.clone()).await.unwrap();
    advoware.seed(object(json!({ "name": "A" }))).unwrap();
    let (records, journal) = (advoware.records(), advoware.journal());
    drop(advoware);
    let path = folder.path().join("advoware.jsonl");
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(br#"{"entry":{"sequence":2,"at":"20"#).unwrap();

    let advoware = AdvowareSimulator::start(options).await.unwrap();
    assert_eq!((advoware.records(), advoware.journal()), (records, journal));
    advoware.seed(object(json!({ "name": "B" }))).unwrap();
    let sequences: Vec<u64> = read_file(&path).unwrap().iter().map(|entry| entry.sequence).collect();
    assert_eq!(sequences, [1, 2]);
}

#[tokio::test]
async fn a_damaged_file_is_an_error_and_not_an_empty_system() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("espocrm.jsonl"), "damaged\n{}\n").unwrap();
    let options = EspocrmOptions { hosting: hosting(&folder), ..EspocrmOptions::default() };
    assert!(EspocrmSimulator::start(options).await.is_err());
}

#[tokio::test]
async fn a_token_outlives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = AdvowareOptions { hosting: hosting(&folder), ..AdvowareOptions::default() };
    let advoware = AdvowareSimulator::start(options.clone()).await.unwrap();
    options.hosting.port = advoware.address().port();
    let now = options.hosting.clock.now();
    let client = Client::new(&advoware, &options, now).await;
    advoware.stop().await;
    let _advoware = AdvowareSimulator::start(options).await.unwrap();
    assert_eq!(client.get(&format!("{PARTIES}/1")).await.status, 200);
}
