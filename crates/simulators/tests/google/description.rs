//! Requests are held against the vendor's description.

use serde_json::{Value, json};

use super::{ANNA, Client, EVENTS, meeting, reason, start, with};
use crate::http;

#[tokio::test]
async fn what_lies_outside_is_refused_and_noted() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    let id = anna.insert(&meeting("A", 9, 10)).await["id"].as_str().unwrap().to_owned();
    let one = format!("{EVENTS}/{id}");
    let outside = [
        ("GET", "/calendar/v3/calendars/primary/event".to_owned(), Value::Null),
        ("GET", "/calendar/v3/freeBusy".to_owned(), Value::Null),
        ("GET", format!("{EVENTS}?deltaToken=x"), Value::Null),
        ("GET", format!("{EVENTS}?maxResults=0"), Value::Null),
        ("GET", format!("{EVENTS}?timeMin=2026-01-01"), Value::Null),
        ("POST", EVENTS.to_owned(), with(meeting("A", 9, 10), json!({ "subject": "B" }))),
        ("POST", EVENTS.to_owned(), json!({ "summary": "no times" })),
        ("POST", format!("{EVENTS}?sendUpdates=noone"), meeting("A", 9, 10)),
        ("PATCH", one.clone(), json!({ "start": { "datetime": "2026-03-09T10:00:00Z" } })),
        ("PATCH", one.clone(), json!({ "extendedProperties": { "private": { "crmId": 7 } } })),
        ("PATCH", one.clone(), json!({ "reminders": { "overrides": [{ "minutes": "ten" }] } })),
        ("DELETE", format!("{one}?force=true"), Value::Null),
    ];
    for (method, path, body) in &outside {
        let got = anna.send(method, path, body).await;
        assert_eq!((got.status, reason(&got).as_str()), (400, "badRequest"), "{method} {path} {body}");
    }
    let noted = google.outside_description();
    assert_eq!(noted.len(), outside.len());
    assert_eq!(
        noted[2].after.as_ref().unwrap()["problem"],
        "calendar.events.list has no parameter deltaToken"
    );
    assert_eq!(noted[0].actor, ANNA);
    assert_eq!(google.records().len(), 1, "nothing was written");
}

#[tokio::test]
async fn what_the_vendor_s_clients_send_lies_inside() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    let path = format!("{EVENTS}?alt=json&prettyPrint=false&sendUpdates=none&conferenceDataVersion=1");
    let id = anna.done("POST", &path, &meeting("A", 9, 10)).await["id"].as_str().unwrap().to_owned();
    // Null removes; what is read only is passed over.
    let mut event = anna.event(&id).await;
    event["location"] = Value::Null;
    anna.done("PUT", &format!("{EVENTS}/{id}?alt=json"), &event).await;
    anna.done("PATCH", &format!("{EVENTS}/{id}"), &json!({ "description": null, "kind": "calendar#event" }))
        .await;
    anna.done("GET", "/calendar/v3/users/me/calendarList?alt=json", &Value::Null).await;
    assert_eq!(google.outside_description(), []);
}

#[tokio::test]
async fn nobody_gets_in_without_a_token() {
    let google = start().await;
    for headers in [&[][..], &[("Authorization", "Bearer x")], &[("Authorization", "Basic x")]] {
        let got = http::send(&google.base_url(), "GET", EVENTS, headers, "").await.unwrap();
        super::assert_error(&got, "error-401.json");
    }
    let got = http::send(&google.base_url(), "GET", "/elsewhere", &[], "").await.unwrap();
    assert_eq!(got.status, 404);
}
