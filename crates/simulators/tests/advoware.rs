//! Advoware: finding it, getting a token, whole-record writes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::Sha512;
use simulators::{
    AdvowareOptions, AdvowareSimulator, Clock, Hosting, duplicate_creates, writes_without_change,
};

use crate::http::{self, Got};
use crate::replay::object;

pub const TOKEN: &str = "/api/v1/Token";
pub const PARTIES: &str = "/api/v1/advonet/Beteiligte";

/// A clock that stands still, so that time stamps are the test's own.
fn noon() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

fn options() -> AdvowareOptions {
    let hosting = Hosting { clock: Clock::from_fn(noon), ..Hosting::default() };
    AdvowareOptions { hosting, ..AdvowareOptions::default() }
}

pub fn token_request(options: &AdvowareOptions, nonce: &str, at: Timestamp) -> Value {
    let at = at.to_string();
    let mut mac = Hmac::<Sha512>::new_from_slice(&STANDARD.decode(&options.api_key).unwrap()).unwrap();
    mac.update(format!("64:{}:{nonce}:{at}", options.app_id).as_bytes());
    json!({
        "AppID": options.app_id, "Kanzlei": options.kanzlei, "Database": options.database, "User": options.user,
        "Role": 2, "Product": 64, "Password": options.password, "Nonce": nonce,
        "HMAC512Signature": STANDARD.encode(mac.finalize().into_bytes()), "RequestTimeStamp": at,
    })
}

async fn ask(url: &str, body: &Value) -> Got {
    http::send(url, "POST", TOKEN, &[("Content-Type", "application/json")], &body.to_string()).await.unwrap()
}

/// A client with a token.
pub struct Client {
    url: String,
    authorization: String,
}

impl Client {
    pub async fn new(advoware: &AdvowareSimulator, options: &AdvowareOptions, at: Timestamp) -> Self {
        let request = token_request(options, &uuid::Uuid::new_v4().to_string(), at);
        let got = ask(&advoware.base_url(), &request).await;
        assert_eq!(got.status, 200, "{got:?}");
        let authorization = format!("Bearer {}", got.json()["access_token"].as_str().unwrap());
        Self { url: advoware.base_url(), authorization }
    }

    pub async fn send(&self, method: &str, path: &str, body: &Value) -> Option<Got> {
        let headers = [("Authorization", self.authorization.as_str()), ("Content-Type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        http::send(&self.url, method, path, &headers, &body).await
    }

    pub async fn get(&self, path: &str) -> Got {
        self.send("GET", path, &Value::Null).await.unwrap()
    }
}

#[tokio::test]
async fn the_configurator_names_the_addresses() {
    let advoware = AdvowareSimulator::start(options()).await.unwrap();
    let url = advoware.base_url();
    let path = "/AdvonetConfigurator/api/Url?Kanzlei=musterkanzlei";
    let own = format!("{url}/");
    let got = http::send(&url, "GET", path, &[], "").await.unwrap();
    assert_eq!(got.json(), json!({ "relayUrl": own, "connectorUrl": null, "securityGateway": own }));
    advoware.configure(&object(json!({ "connector_url": "http://other/" }))).unwrap();
    let got = http::send(&url, "GET", path, &[], "").await.unwrap();
    assert_eq!(got.json()["connectorUrl"], "http://other/");
    let got = http::send(&url, "GET", "/AdvonetConfigurator/api/Url?Kanzlei=x", &[], "").await.unwrap();
    assert_eq!(got.status, 404);
}

#[tokio::test]
async fn a_token_needs_a_right_signature_a_right_time_and_a_new_nonce() {
    let advoware = AdvowareSimulator::start(options()).await.unwrap();
    let url = advoware.base_url();
    let good = token_request(&options(), "n1", noon());
    assert_eq!(ask(&url, &good).await.json()["expires_in"], 3600);
    assert_eq!(ask(&url, &good).await.status, 401, "the nonce was used");
    for (field, value) in [
        ("Password", json!("x")),
        ("Kanzlei", json!("x")),
        ("Database", json!("x")),
        ("Product", json!(1)),
        ("Role", json!(1)),
        ("HMAC512Signature", json!("x")),
        ("Nonce", json!("unsigned")),
    ] {
        let mut bad = token_request(&options(), "n2", noon());
        bad[field] = value;
        assert_eq!(ask(&url, &bad).await.status, 401, "{field}");
    }
    for (minutes, status) in [(-6, 401), (-4, 200), (4, 200), (6, 401)] {
        let at = noon() + SignedDuration::from_mins(minutes);
        let got = ask(&url, &token_request(&options(), &format!("m{minutes}"), at)).await;
        assert_eq!(got.status, status, "{minutes} minutes");
        assert_eq!(got.header("date"), Some("Fri, 20 Nov 2026 12:00:00 GMT"));
    }
    assert_eq!(ask(&url, &json!([])).await.status, 400);
}

#[tokio::test]
async fn a_clock_that_is_wrong_refuses_every_token_and_says_its_time() {
    let advoware = AdvowareSimulator::start(options()).await.unwrap();
    advoware.set_clock_offset(SignedDuration::from_mins(10));
    let got = ask(&advoware.base_url(), &token_request(&options(), "n", noon())).await;
    assert_eq!((got.status, got.header("date")), (401, Some("Fri, 20 Nov 2026 12:10:00 GMT")));
}

#[tokio::test]
async fn a_token_ends() {
    let advoware = AdvowareSimulator::start(options()).await.unwrap();
    let client = Client::new(&advoware, &options(), noon()).await;
    advoware.set_clock_offset(SignedDuration::from_secs(3_599));
    assert_eq!(client.get(&format!("{PARTIES}/1")).await.status, 200);
    advoware.set_clock_offset(SignedDuration::from_secs(3_600));
    assert_eq!(client.get(&format!("{PARTIES}/1")).await.status, 401);
}

#[tokio::test]
async fn a_put_replaces_and_every_write_changes_the_row_id() {
    let advoware = AdvowareSimulator::start(options()).await.unwrap();
    let client = Client::new(&advoware, &options(), noon()).await;
    let party =
        json!({ "name": "Mustermann", "vorname": "Max", "ort": "Hannover", "kommunikation": [{ "id": 1 }] });
    let made = client.send("POST", PARTIES, &party).await.unwrap();
    assert_eq!(made.status, 201);
    assert!(made.json()["rowId"].is_null());
    let path = format!("{PARTIES}/{}", made.json()["betNr"]);
    let first = client.get(&path).await.json()[0].clone();
    assert_eq!(first["rowId"].as_str().unwrap().len(), 40);
    assert_eq!(first["kommunikation"], json!([]));

    let got =
        client.send("PUT", &path, &json!({ "name": "Mustermann", "kommunikation": [{}] })).await.unwrap();
    assert_eq!(got.status, 200);
    let second = client.get(&path).await.json()[0].clone();
    assert_ne!(first["rowId"], second["rowId"]);
    assert_eq!((&second["vorname"], &second["ort"]), (&Value::Null, &Value::Null), "left out means emptied");
    assert_eq!(second["kommunikation"], json!([]), "ignored");

    client.send("PUT", &path, &second).await.unwrap();
    let third = client.get(&path).await.json()[0].clone();
    assert_ne!(second["rowId"], third["rowId"], "also without a change");
    let journal = advoware.journal();
    assert_eq!(journal.len(), 3);
    assert_eq!(journal[1].changed_fields(), ["ort", "vorname"]);
    let idle: Vec<u64> = writes_without_change(&journal).iter().map(|entry| entry.sequence).collect();
    assert_eq!(idle, [3]);
}

#[tokio::test]
async fn bad_data_is_refused_and_not_written() {
    let advoware = AdvowareSimulator::start(options()).await.unwrap();
    let client = Client::new(&advoware, &options(), noon()).await;
    for party in [
        json!({}),
        json!({ "name": " " }),
        json!({ "name": "x", "geburtsdatum": "17.05.1980" }),
        json!({ "name": 5 }),
    ] {
        assert_eq!(client.send("POST", PARTIES, &party).await.unwrap().status, 400, "{party}");
    }
    let id = advoware.seed(object(json!({ "name": "A" }))).unwrap();
    let path = format!("{PARTIES}/{id}");
    assert_eq!(client.send("PUT", &path, &json!({ "vorname": "B" })).await.unwrap().status, 400);
    assert_eq!(client.send("PUT", &path, &json!({ "name": "B", "betNr": 1 })).await.unwrap().status, 400);
    assert_eq!(
        client.send("PUT", &format!("{PARTIES}/1"), &json!({ "name": "B" })).await.unwrap().status,
        404
    );
    assert_eq!(advoware.journal().len(), 1);
}

#[tokio::test]
async fn what_is_not_there_is_an_empty_array_or_404() {
    let advoware = AdvowareSimulator::start(options()).await.unwrap();
    let client = Client::new(&advoware, &options(), noon()).await;
    let id = advoware.seed(object(json!({ "betNr": 7, "name": "A" }))).unwrap();
    assert_eq!(id, "7");
    advoware.delete_as_person("7").unwrap();
    let got = client.get(&format!("{PARTIES}/7")).await;
    assert_eq!((got.status, got.json()), (200, json!([])));
    advoware.configure(&object(json!({ "missing_answer": "not_found" }))).unwrap();
    assert_eq!(client.get(&format!("{PARTIES}/7")).await.status, 404);
    let made = client.send("POST", PARTIES, &json!({ "name": "B" })).await.unwrap();
    assert_eq!(made.json()["betNr"], 100_000, "a number is not given out twice");
}

#[tokio::test]
async fn a_search_finds_the_create_whose_answer_was_lost() {
    let advoware = AdvowareSimulator::start(options()).await.unwrap();
    let client = Client::new(&advoware, &options(), noon()).await;
    let party = json!({ "name": "Müller", "vorname": "Jürgen", "geburtsdatum": "1980-05-17" });
    for _ in 0..2 {
        client.send("POST", PARTIES, &party).await.unwrap();
    }
    let path = format!("{PARTIES}?name=M%C3%BCller&vorname=J%C3%BCrgen&geburtsdatum=1980-05-17");
    assert_eq!(client.get(&path).await.json().as_array().unwrap().len(), 2);
    assert_eq!(client.get(&format!("{PARTIES}?name=M%C3%BCller&vorname=Max")).await.json(), json!([]));
    assert_eq!(client.get(PARTIES).await.status, 400);

    let journal = advoware.journal();
    let groups = duplicate_creates(&journal, simulators::demo_data::identity);
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].len(), 2);
    advoware.delete_as_person(&groups[0][1].record_id).unwrap();
    assert!(duplicate_creates(&advoware.journal(), simulators::demo_data::identity).is_empty());
}

#[tokio::test]
async fn a_modification_time_may_be_missing() {
    let advoware = AdvowareSimulator::start(options()).await.unwrap();
    let client = Client::new(&advoware, &options(), noon()).await;
    let path = format!("{PARTIES}/{}", advoware.seed(object(json!({ "name": "A" }))).unwrap());
    assert_eq!(client.get(&path).await.json()[0]["geaendertAm"], "2026-11-20T12:00:00");
    advoware.configure(&object(json!({ "modified_time": "null" }))).unwrap();
    assert_eq!(client.get(&path).await.json()[0]["geaendertAm"], Value::Null);
    advoware.configure(&object(json!({ "modified_time": "absent" }))).unwrap();
    assert_eq!(client.get(&path).await.json()[0].get("geaendertAm"), None);
}

#[tokio::test]
async fn communications_are_never_deleted_and_hide_their_kind() {
    let advoware = AdvowareSimulator::start(options()).await.unwrap();
    let client = Client::new(&advoware, &options(), noon()).await;
    let party = format!("{PARTIES}/{}", advoware.seed(object(json!({ "betNr": 7, "name": "A" }))).unwrap());
    let before = client.get(&party).await.json()[0]["rowId"].clone();
    let path = format!("{party}/Kommunikationen");
    let entry = json!({ "tlf": "+4951112345", "bemerkung": "", "kommKz": 1, "online": false });
    let made = client.send("POST", &path, &entry).await.unwrap();
    assert_eq!(made.status, 201);
    let path = format!("{path}/{}", made.json()["id"]);
    assert_eq!(client.send("PUT", &path, &json!({ "tlf": "x", "kommKz": 3 })).await.unwrap().status, 200);
    assert_eq!(client.send("DELETE", &path, &Value::Null).await.unwrap().status, 403);
    let shown = client.get(&party).await.json()[0].clone();
    assert_eq!(
        (&shown["kommunikation"][0]["tlf"], &shown["kommunikation"][0]["kommKz"]),
        (&json!("x"), &json!(0))
    );
    assert_ne!(shown["rowId"], before);
    assert_eq!(advoware.records()[0]["kommunikation"][0]["kommKz"], 1, "write-once");
}

#[tokio::test]
async fn fields_at_the_top_show_the_first_value_of_a_kind() {
    let advoware = AdvowareSimulator::start(options()).await.unwrap();
    let client = Client::new(&advoware, &options(), noon()).await;
    let party = format!("{PARTIES}/{}", advoware.seed(object(json!({ "betNr": 7, "name": "A" }))).unwrap());
    let path = format!("{party}/Kommunikationen");
    let entry = |value: &str, kind: u8| json!({ "tlf": value, "bemerkung": "", "kommKz": kind });
    for (value, kind) in [("0170 1", 3), ("0170 2", 3), ("a@example.com", 4)] {
        assert_eq!(client.send("POST", &path, &entry(value, kind)).await.unwrap().status, 201);
    }
    let shown = client.get(&party).await.json()[0].clone();
    assert_eq!((&shown["mobil"], &shown["emailGesch"]), (&json!("0170 1"), &json!("a@example.com")));
    let first = shown["kommunikation"][0]["id"].clone();
    client.send("PUT", &format!("{path}/{first}"), &json!({ "tlf": "" })).await.unwrap();
    assert_eq!(client.get(&party).await.json()[0]["mobil"], "0170 2");
    let idle = client.get(&party).await.json()[0]["kommunikation"][2].clone();
    client.send("PUT", &format!("{path}/{}", idle["id"]), &idle).await.unwrap();
    assert_eq!(
        writes_without_change(&advoware.journal()).len(),
        1,
        "a write without a change is seen as one"
    );
}

#[tokio::test]
async fn people_write_and_delete_communications_and_no_id_comes_twice() {
    let advoware = AdvowareSimulator::start(options()).await.unwrap();
    let seeded =
        json!({ "betNr": 7, "name": "A", "kommunikation": [{ "tlf": "1", "kommKz": 6 }, { "tlf": "2" }] });
    advoware.seed(object(seeded)).unwrap();
    let held = || advoware.records()[0]["kommunikation"].as_array().unwrap().clone();
    let edit =
        |entries: Vec<Value>| advoware.edit_as_person("7", &object(json!({ "kommunikation": entries })));
    let [first, second] = [0, 1].map(|at: usize| held()[at].clone());
    assert_eq!(
        (&first["kommKz"], &second["kommKz"], &first["bemerkung"]),
        (&json!(6), &json!(1), &json!(""))
    );
    let mut changed = first.clone();
    (changed["tlf"], changed["kommKz"]) = (json!("3"), json!(1));
    edit(vec![changed, second.clone()]).unwrap();
    assert_eq!((&held()[0]["tlf"], &held()[0]["kommKz"]), (&json!("3"), &json!(6)), "the kind is write-once");
    assert_ne!(held()[0]["rowId"], first["rowId"]);
    assert_eq!(held()[1], second, "what nobody wrote is as it was");
    edit(vec![held()[0].clone()]).unwrap();
    edit(vec![held()[0].clone(), json!({ "tlf": "4" })]).unwrap();
    assert!(held()[1]["id"].as_u64() > second["id"].as_u64());
}
