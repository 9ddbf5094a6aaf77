//! Webhook deliveries, as the real system sends them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use simulators::espocrm::ADMIN_PASSWORD;
use simulators::{EspocrmOptions, EspocrmSimulator};

use crate::espocrm::{TYPE, call};
use crate::fixture::{self, shape_differences};
use crate::http;
use crate::replay::{hex, hmac, object};

/// What a receiver got.
#[derive(Debug, Clone)]
struct Hit {
    headers: HeaderMap,
    body: Bytes,
}

impl Hit {
    fn items(&self) -> Vec<Value> {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Clone, Default)]
struct Receiver {
    hits: Arc<Mutex<Vec<Hit>>>,
    status: Arc<Mutex<u16>>,
}

impl Receiver {
    async fn start(status: u16) -> (Self, String) {
        let receiver = Self::default();
        *receiver.status.lock().unwrap() = status;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = Router::new().fallback(receive).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (receiver, url)
    }

    fn hits(&self) -> Vec<Hit> {
        self.hits.lock().unwrap().clone()
    }
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    receiver.hits.lock().unwrap().push(Hit { headers, body });
    StatusCode::from_u16(*receiver.status.lock().unwrap()).unwrap()
}

fn options(retry_delay: Duration) -> EspocrmOptions {
    EspocrmOptions { webhook_retry_delay: retry_delay, ..EspocrmOptions::default() }
}

async fn start() -> EspocrmSimulator {
    EspocrmSimulator::start(options(Duration::from_secs(600))).await.unwrap()
}

async fn hook(crm: &EspocrmSimulator, event: &str, url: &str, skip_own: bool) -> Value {
    let got =
        call(crm, "POST", "/api/v1/Webhook", &json!({ "event": event, "url": url, "skipOwn": skip_own }))
            .await;
    assert_eq!(got.status, 201, "{got:?}");
    got.json()
}

async fn create(crm: &EspocrmSimulator, name: &str) -> String {
    let got = call(crm, "POST", TYPE, &json!({ "lastName": name })).await;
    got.json()["id"].as_str().unwrap().to_owned()
}

/// Signatures as the recorded sender makes them.
fn check_signatures(header: impl Fn(&str) -> String, id: &str, secret: &str, body: &[u8]) {
    let digest = hmac(secret, body);
    assert_eq!(header("signature"), STANDARD.encode(format!("{id}:{}", hex(&digest))));
    assert_eq!(header("x-signature"), STANDARD.encode([id.as_bytes(), b":", &digest].concat()));
}

#[test]
fn the_recorded_signatures_can_be_recomputed() {
    for name in ["210-webhook-delivery-create", "211-webhook-delivery-update", "212-webhook-delivery-delete"]
    {
        let exchange = fixture::load(name);
        let told = |key: &str| {
            let (_, rest) = exchange.comment.split_once(key).unwrap();
            rest.split_whitespace().next().unwrap().to_owned()
        };
        let header = |wanted: &str| {
            let found = exchange.request_headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.unwrap().1.clone()
        };
        assert_eq!(header("content-length"), exchange.request_body.len().to_string());
        check_signatures(header, &told("webhookId="), &told("secretKey="), exchange.request_body.as_bytes());
    }
}

#[tokio::test]
async fn deliveries_look_as_recorded() {
    let crm = start().await;
    let (receiver, url) = Receiver::start(200).await;
    let fields = json!({ "salutationName": { "options": ["", "Frau"] } });
    crm.configure(&object(json!({ "optimistic_concurrency": true, "fields": fields }))).unwrap();
    let mut hooks = Vec::new();
    for event in ["create", "update", "delete"] {
        hooks.push(hook(&crm, &format!("CBeteiligte.{event}"), &url, false).await);
    }
    let basic = format!("Basic {}", STANDARD.encode(format!("admin:{ADMIN_PASSWORD}")));
    let admin = async |method: &str, path: &str, body: Value| {
        let headers = [("Authorization", basic.as_str()), ("Content-Type", "application/json")];
        http::send(&crm.base_url(), method, path, &headers, &body.to_string()).await.unwrap().json()
    };
    let made = admin("POST", TYPE, json!({
        "salutationName": "Frau", "firstName": "Paula", "lastName": "Probe", "dateOfBirth": "1979-03-04", "betnr": 104_870,
        "advowareRowId": "AB12",
        "emailAddressData": [{ "emailAddress": "paula@example.de", "primary": true, "optOut": false, "invalid": false }],
        "phoneNumberData": [{ "phoneNumber": "+495116789", "type": "Mobile", "primary": true, "optOut": false, "invalid": false }],
    }))
    .await;
    let path = format!("{TYPE}/{}", made["id"].as_str().unwrap());
    admin("PUT", &path, json!({ "lastName": "Probst", "handelsregisterNummer": "HRB 1" })).await;
    admin("PUT", &path, json!({ "dateOfBirth": null })).await;
    admin("PUT", &path, json!({ "dateOfBirth": null })).await;
    admin("DELETE", &path, json!({})).await;
    assert_eq!(crm.deliver_webhooks().await, 3);
    let hits = receiver.hits();
    for (index, name) in
        ["210-webhook-delivery-create", "211-webhook-delivery-update", "212-webhook-delivery-delete"]
            .iter()
            .enumerate()
    {
        let recorded: Value = serde_json::from_str(&fixture::load(name).request_body).unwrap();
        let own = Value::Array(hits[index].items());
        assert_eq!(own.as_array().unwrap().len(), recorded.as_array().unwrap().len(), "{name}: {own}");
        let differences = shape_differences(name, &recorded, &own);
        assert!(differences.is_empty(), "{differences:#?}");
        let header = |name: &str| hits[index].headers[name].to_str().unwrap().to_owned();
        let told = |key: &str| hooks[index][key].as_str().unwrap().to_owned();
        check_signatures(header, &told("id"), &told("secretKey"), &hits[index].body);
        assert!(!hits[index].headers.contains_key("user-agent"));
    }
}

#[tokio::test]
async fn own_events_are_left_out_on_request_and_people_s_are_not() {
    let crm = start().await;
    let (receiver, url) = Receiver::start(200).await;
    hook(&crm, "CBeteiligte.create", &url, true).await;
    create(&crm, "own").await;
    crm.create_as_person(&object(json!({ "lastName": "person" }))).unwrap();
    assert_eq!(crm.deliver_webhooks().await, 1);
    assert_eq!(receiver.hits()[0].items()[0]["lastName"], "person");
}

#[tokio::test]
async fn a_write_without_a_change_is_no_event() {
    let crm = start().await;
    let (_receiver, url) = Receiver::start(200).await;
    hook(&crm, "CBeteiligte.update", &url, false).await;
    let id = create(&crm, "A").await;
    for body in [json!({ "lastName": "A" }), json!({}), json!({ "unknown": 1 })] {
        call(&crm, "PUT", &format!("{TYPE}/{id}"), &body).await;
    }
    assert_eq!(crm.deliver_webhooks().await, 0);
}

#[tokio::test]
async fn field_events_carry_the_field_alone() {
    let crm = start().await;
    let (receiver, url) = Receiver::start(200).await;
    hook(&crm, "CBeteiligte.fieldUpdate.syncStatus", &url, false).await;
    let id = create(&crm, "A").await;
    call(&crm, "PUT", &format!("{TYPE}/{id}"), &json!({ "lastName": "B" })).await;
    call(&crm, "PUT", &format!("{TYPE}/{id}"), &json!({ "lastName": "C", "syncStatus": "dirty" })).await;
    assert_eq!(crm.deliver_webhooks().await, 1);
    assert_eq!(receiver.hits()[0].items(), [json!({ "syncStatus": "dirty", "id": id })]);
}

#[tokio::test]
async fn a_round_takes_one_portion_and_own_events_use_it_up() {
    let crm = start().await;
    let (receiver, url) = Receiver::start(200).await;
    hook(&crm, "CBeteiligte.create", &url, true).await;
    for n in 0..20 {
        create(&crm, &format!("own {n}")).await;
    }
    for n in 0..25 {
        crm.create_as_person(&object(json!({ "lastName": format!("person {n}") }))).unwrap();
    }
    assert_eq!(crm.deliver_webhooks().await, 0, "twenty own events");
    assert_eq!(crm.deliver_webhooks().await, 1);
    assert_eq!(crm.deliver_webhooks().await, 1);
    let sizes: Vec<usize> = receiver.hits().iter().map(|hit| hit.items().len()).collect();
    assert_eq!(sizes, [20, 5]);
    assert_eq!(receiver.hits()[1].items()[4]["lastName"], "person 24", "in order");
}

#[tokio::test]
async fn a_batch_has_fifty_items_at_most() {
    let crm = EspocrmSimulator::start(EspocrmOptions { webhook_portion: 500, ..options(Duration::ZERO) })
        .await
        .unwrap();
    let (receiver, url) = Receiver::start(200).await;
    hook(&crm, "CBeteiligte.create", &url, false).await;
    for n in 0..120 {
        crm.create_as_person(&object(json!({ "lastName": format!("P{n}") }))).unwrap();
    }
    assert_eq!(crm.deliver_webhooks().await, 3);
    let sizes: Vec<usize> = receiver.hits().iter().map(|hit| hit.items().len()).collect();
    assert_eq!(sizes, [50, 50, 20]);
}

#[tokio::test]
async fn the_answer_decides_whether_it_is_tried_again() {
    for (status, attempts) in [
        (200, 1),
        (204, 1),
        (301, 1),
        (399, 1),
        (401, 4),
        (403, 4),
        (404, 4),
        (405, 4),
        (408, 4),
        (500, 4),
        (503, 4),
        (400, 1),
        (410, 1),
        (422, 1),
        (429, 1),
        (502, 1),
        (504, 1),
    ] {
        let crm = EspocrmSimulator::start(options(Duration::ZERO)).await.unwrap();
        let (receiver, url) = Receiver::start(status).await;
        hook(&crm, "CBeteiligte.create", &url, false).await;
        create(&crm, "A").await;
        crm.deliver_webhooks().await;
        assert_eq!(receiver.hits().len(), attempts, "{status}");
        let left = call(&crm, "GET", "/api/v1/Webhook", &Value::Null).await.json()["total"].clone();
        assert_eq!(left, if status == 410 { 0 } else { 1 }, "{status}");
    }
}

#[tokio::test]
async fn no_connection_is_tried_again_too() {
    let crm = EspocrmSimulator::start(options(Duration::ZERO)).await.unwrap();
    hook(&crm, "CBeteiligte.create", "http://127.0.0.1:1/nobody", false).await;
    create(&crm, "A").await;
    assert_eq!(crm.deliver_webhooks().await, 4);
    assert_eq!(crm.deliver_webhooks().await, 0);
}

#[tokio::test]
async fn later_items_overtake_one_that_waits() {
    let crm = start().await;
    let (receiver, url) = Receiver::start(503).await;
    hook(&crm, "CBeteiligte.create", &url, false).await;
    create(&crm, "first").await;
    assert_eq!(crm.deliver_webhooks().await, 1);
    *receiver.status.lock().unwrap() = 200;
    create(&crm, "second").await;
    assert_eq!(crm.deliver_webhooks().await, 1);
    assert_eq!(receiver.hits()[1].items()[0]["lastName"], "second");
    crm.set_clock_offset(jiff::SignedDuration::from_mins(10));
    assert_eq!(crm.deliver_webhooks().await, 1);
    assert_eq!(receiver.hits()[2].items()[0]["lastName"], "first");
}

#[tokio::test]
async fn the_queue_is_worked_off_by_itself_when_asked_to() {
    let options =
        EspocrmOptions { webhook_interval: Some(Duration::from_millis(20)), ..EspocrmOptions::default() };
    let crm = EspocrmSimulator::start(options).await.unwrap();
    let (receiver, url) = Receiver::start(200).await;
    hook(&crm, "CBeteiligte.create", &url, false).await;
    create(&crm, "A").await;
    while receiver.hits().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
