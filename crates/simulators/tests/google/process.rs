//! Another process, another life: the control API, and what outlives a restart.

use serde_json::{Value, json};
use simulators::{GoogleSimulator, Hosting, read_file};

use super::{ANNA, BERND, Client, EVENTS, SCOPE, encoded, guests, meeting, options, with};
use crate::http::{self, Got};

async fn control(google: &GoogleSimulator, method: &str, path: &str, body: &Value) -> Got {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    http::send(&google.base_url(), method, &format!("/_control/{path}"), &[], &body).await.unwrap()
}

#[tokio::test]
async fn a_test_in_another_process_can_do_the_same() {
    let google = super::start().await;
    let done = async |method: &str, path: &str, body: Value| {
        let got = control(&google, method, path, &body).await;
        assert_eq!(got.status, 200, "{path}: {}", String::from_utf8_lossy(&got.body));
        got.json()
    };
    let tokens = done("POST", "connect", json!({ "user": BERND, "scopes": [SCOPE] })).await;
    let authorization = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let list = async || {
        let headers = [("Authorization", authorization.as_str())];
        http::send(&google.base_url(), "GET", EVENTS, &headers, "").await.unwrap()
    };
    assert_eq!(list().await.json()["summary"], BERND);
    let body = with(
        meeting("A", 9, 10),
        json!({ "calendarId": ANNA, "attendees": guests(&[BERND]), "sendUpdates": "all" }),
    );
    let id = done("POST", "person/records", body).await["ids"][0].as_str().unwrap().to_owned();
    let copy = id.replace(ANNA, BERND);
    done("PATCH", &format!("person/records/{copy}"), json!({ "responseStatus": "accepted" })).await;
    assert_eq!(list().await.json()["items"][0]["attendees"][0]["responseStatus"], "accepted");
    done("DELETE", &format!("person/records/{id}"), Value::Null).await;
    assert_eq!(list().await.json()["items"], json!([]));
    let journal = done("GET", "journal", Value::Null).await;
    let mails = journal.as_array().unwrap().iter().filter(|entry| entry["entity"] == "Mail");
    assert_eq!(mails.count(), 1);
    assert_eq!(done("GET", "counters", Value::Null).await, json!({ "calendar.events.list": 3 }));
    done("POST", "settings", json!({ "end_access_tokens": true })).await;
    assert_eq!(list().await.status, 401);
    assert_eq!(control(&google, "POST", "connect", &json!({ "user": "nobody" })).await.status, 400);
    assert_eq!(control(&google, "POST", "elsewhere", &json!({})).await.status, 400);
    // After a reset the calendars are there again, and empty.
    done("POST", "reset", Value::Null).await;
    let anna = Client::new(&google, ANNA);
    assert_eq!(anna.list("").await.0, Vec::<Value>::new());
}

#[tokio::test]
async fn events_tokens_and_channels_outlive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let start = async || {
        let mut options = options();
        options.hosting = Hosting { folder: Some(folder.path().to_owned()), ..options.hosting };
        GoogleSimulator::start(options).await.unwrap()
    };
    let google = start().await;
    let tokens = google.connect_as_person(ANNA, &[SCOPE]).unwrap();
    let client = |google: &GoogleSimulator| Client::with_token(google, &tokens.access_token);
    let anna = client(&google);
    let (_, token) = anna.list("").await;
    anna.insert(&with(meeting("A", 9, 10), json!({ "id": "abcde01234" }))).await;
    let channel = json!({ "id": "c1", "type": "web_hook", "address": "http://127.0.0.1:1/" });
    anna.done("POST", "/calendar/v3/calendars/primary/events/watch", &channel).await;
    let (records, journal) = (google.records(), google.journal());
    google.stop().await;

    let google = start().await;
    assert_eq!((google.records(), google.journal()), (records, journal));
    assert_eq!(read_file(&folder.path().join("google.jsonl")).unwrap(), google.journal());
    let anna = client(&google);
    assert_eq!(anna.since(&token).await.0[0]["id"], "abcde01234");
    let got = anna.get(&format!("{EVENTS}?syncToken={}", encoded(&token))).await;
    assert_eq!(got.status, 200);
    assert_eq!(google.deliver_notifications().await, 1, "sync is still queued");
    assert_eq!(
        anna.send("POST", EVENTS, &with(meeting("A", 9, 10), json!({ "id": "abcde01234" }))).await.status,
        409
    );
}
