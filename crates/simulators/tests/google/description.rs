//! Requests are held against the vendor's description.

use serde_json::{Value, json};

use super::{
    ANNA, Client, EVENTS, configure, encoded, example, folder, meeting, options, reason, start, with,
};
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
        ("GET", format!("{EVENTS}?fields=items(id,subject)"), Value::Null),
        ("GET", format!("{EVENTS}?fields=items("), Value::Null),
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
async fn an_answer_has_what_its_fields_name_and_no_more() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    let private = json!({ "extendedProperties": { "private": { "crmId": "1" } } });
    let id = anna.insert(&with(meeting("A", 9, 10), private.clone())).await["id"].clone();
    let fields = "nextPageToken,items(id,start/timeZone,extendedProperties/private/crmId)";
    let body = anna.done("GET", &format!("{EVENTS}?fields={}", encoded(fields)), &Value::Null).await;
    let item = with(json!({ "id": id, "start": { "timeZone": "Europe/Berlin" } }), private);
    assert_eq!(body, json!({ "items": [item] }), "the sync token was not asked for");
    let path = format!("{EVENTS}/{}?fields=etag", id.as_str().unwrap());
    let patched = anna.done("PATCH", &path, &json!({ "summary": "B" })).await;
    assert_eq!(patched.as_object().unwrap().keys().collect::<Vec<_>>(), ["etag"]);
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

/// The requests among the vendor's examples, as they stand there.
#[tokio::test]
async fn the_examples_are_accepted() {
    let google = start().await;
    configure(&google, json!({ "consent": "at_once" }));
    let anna = Client::new(&google, ANNA);
    let event = anna.done("POST", EVENTS, &example("event-insert.request.json")).await;
    let text = |name: &str| std::fs::read_to_string(folder().join(name)).unwrap();
    let target = |name: &str| text(name).split_whitespace().nth(1).unwrap().to_owned();
    let listed = anna.done("GET", &target("events-list-01-full.request.http"), &Value::Null).await;
    let token = encoded(listed["nextSyncToken"].as_str().unwrap());
    let increment =
        target("events-list-03-incremental.request.http").replace("CPDAlvWDx70CEPDAlvWDx70CGAU%3D", &token);
    assert!(increment.contains(&token));
    assert_eq!(anna.done("GET", &increment, &Value::Null).await["items"], json!([]));
    let found = anna.done("GET", &target("events-find-by-crmid.request.http"), &Value::Null).await;
    assert_eq!(found["items"][0]["id"], event["id"]);
    let name = "event-patch-ifmatch.request.http";
    let body: Value = serde_json::from_str(text(name).lines().last().unwrap()).unwrap();
    let headers = [("If-Match", event["etag"].as_str().unwrap())];
    let patched = anna.send_with("PATCH", &target(name), &headers, &body).await;
    assert_eq!((patched.status, &patched.json()["location"]), (200, &json!("Room 7")));
    let watch = with(example("watch.request.json"), json!({ "expiration": "4102444800000" }));
    let channel = anna.done("POST", "/calendar/v3/calendars/primary/events/watch", &watch).await;
    let mut stop = example("channel-stop.request.json");
    stop["id"] = channel["id"].clone();
    stop["resourceId"] = channel["resourceId"].clone();
    anna.done("POST", "/calendar/v3/channels/stop", &stop).await;
    let authorize = target("oauth-authorize.request.http").replace("https://accounts.google.com", "");
    let sent = http::send(&google.base_url(), "GET", &authorize, &[], "").await.unwrap();
    let location = url::Url::parse(sent.header("location").unwrap()).unwrap();
    let code = location.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let redeem = async |name: &str, old: &str, new: &str| {
        let form = text(name).lines().last().unwrap().replace(old, &encoded(new));
        let form = form.replace("GOCSPX-x", &options().client_secret);
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        let got = http::send(&google.base_url(), "POST", "/token", &headers, &form).await.unwrap();
        assert_eq!(got.status, 200, "{got:?}");
        got.json()
    };
    let tokens = redeem("oauth-redeem.request.http", "4%2F0AfJohXn", &code).await;
    let old = "1%2F%2FxEoDL4iW3cxlI7yDbSRFYNG01kVKM2C-259HOF2aQbI";
    redeem("oauth-refresh.request.http", old, tokens["refresh_token"].as_str().unwrap()).await;
    assert_eq!(google.outside_description(), []);
}
