//! The control API, as a test in another process uses it.

use std::time::Duration;

use serde_json::{Value, json};
use simulators::{ServeOptions, Served, demo_data, serve};
use tokio::sync::oneshot;

use crate::http;
use crate::replay::object;

async fn control(url: &str, method: &str, path: &str, body: &Value) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let got = http::send(url, method, &format!("/_control/{path}"), &[], &body).await.unwrap();
    assert_eq!(got.status, 200, "{path}: {}", String::from_utf8_lossy(&got.body));
    got.json()
}

/// EspoCRM and Advoware as a process runs them; ends with the test.
async fn both(
    exit_when_idle: Option<Duration>,
) -> (String, String, tokio::task::JoinHandle<std::io::Result<()>>) {
    let (sender, receiver) = oneshot::channel();
    let ready = |served: &Served| sender.send(served.clone()).unwrap();
    let options = ServeOptions { exit_when_idle, ..ServeOptions::default() };
    let served = tokio::spawn(async move { serve(options, ready, std::future::pending()).await });
    let Served { espocrm, advoware, .. } = receiver.await.unwrap();
    (espocrm, advoware, served)
}

#[tokio::test]
async fn records_journal_and_counters_can_be_had_from_outside() {
    let (crm, _, _served) = both(None).await;
    let seeds = json!([{ "id": "6b000000000000001", "lastName": "A" }, { "lastName": "B" }]);
    let ids = control(&crm, "POST", "records", &seeds).await["ids"].clone();
    assert_eq!(ids[0], "6b000000000000001");
    let made = control(&crm, "POST", "person/records", &json!({ "lastName": "C" })).await;
    control(&crm, "PATCH", "person/records/6b000000000000001", &json!({ "lastName": "A2" })).await;
    control(&crm, "DELETE", &format!("person/records/{}", made["ids"][0].as_str().unwrap()), &Value::Null)
        .await;
    assert_eq!(control(&crm, "GET", "records", &Value::Null).await.as_array().unwrap().len(), 3);
    let journal = control(&crm, "GET", "journal?after=2", &Value::Null).await;
    let told: Vec<_> = journal
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["operation"].clone(), e["actor_kind"].clone()))
        .collect();
    let by_person = |operation: &str| (json!(operation), json!("person"));
    assert_eq!(told, [by_person("create"), by_person("update"), by_person("delete")]);

    http::send(&crm, "GET", "/api/v1/CBeteiligte/6b000000000000001", &[], "").await.unwrap();
    let counters = control(&crm, "GET", "counters", &Value::Null).await;
    assert_eq!(counters, json!({ "GET /api/v1/CBeteiligte/{id}": 1 }));
    control(&crm, "POST", "reset", &Value::Null).await;
    assert_eq!(control(&crm, "GET", "records", &Value::Null).await, json!([]));
    assert_eq!(control(&crm, "GET", "counters", &Value::Null).await, json!({}));
}

#[tokio::test]
async fn faults_and_settings_can_be_set_from_outside() {
    let (crm, advoware, _served) = both(None).await;
    let rules =
        json!([{ "path": "/api/*", "times": 1, "fault": { "kind": "throttled", "retry_after": "3" } }]);
    control(&advoware, "POST", "faults", &rules).await;
    assert_eq!(control(&advoware, "GET", "faults", &Value::Null).await[0]["times"], 1);
    let got = http::send(&advoware, "GET", "/api/v1/advonet/Beteiligte/1", &[], "").await.unwrap();
    assert_eq!((got.status, got.header("retry-after")), (429, Some("3")));
    control(&crm, "POST", "settings", &json!({ "clock_offset_seconds": 600, "last_name_required": true }))
        .await;
    for (path, body) in [
        ("settings", json!({ "nope": 1 })),
        ("faults", json!({ "fault": { "kind": "nope" } })),
        ("faults", json!({ "fautl": 1 })),
        ("nope", json!({})),
    ] {
        let got =
            http::send(&crm, "POST", &format!("/_control/{path}"), &[], &body.to_string()).await.unwrap();
        assert_eq!(got.status, 400, "{path} {body}");
        assert!(got.json()["error"].is_string());
    }
}

#[tokio::test]
async fn a_demo_can_be_laid_out_from_outside() {
    let (crm, advoware, _served) = both(None).await;
    let pairs = demo_data::initial(1, 40);
    let crm_side: Vec<_> = pairs.iter().map(|pair| pair.crm.clone()).collect();
    let advoware_side: Vec<_> = pairs.iter().filter_map(|pair| pair.advoware.clone()).collect();
    control(&crm, "POST", "records", &json!(crm_side)).await;
    control(&advoware, "POST", "records", &json!(advoware_side)).await;
    let records = control(&crm, "GET", "records", &Value::Null).await;
    assert_eq!(records.as_array().unwrap().len(), pairs.len());
    let edit = demo_data::Edit {
        category: demo_data::Category::ChangedInCrm,
        side: demo_data::Side::Crm,
        change: demo_data::Change::Edit {
            id: pairs[0].crm["id"].as_str().unwrap().to_owned(),
            fields: object(json!({ "dateOfBirth": "1980-05-17" })),
        },
    };
    let (method, path, body) = edit.control_request();
    assert_eq!(http::send(&crm, method, &path, &[], &body.to_string()).await.unwrap().status, 200);
}

#[tokio::test]
async fn they_end_by_themselves_when_nobody_asks_any_more() {
    let (crm, _, served) = both(Some(Duration::from_millis(300))).await;
    http::send(&crm, "GET", "/api/v1/Settings", &[], "").await.unwrap();
    served.await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(crm.strip_prefix("http://").unwrap()).await.is_err());
}
