//! Throttling, and faults in the vendor's words.

use serde_json::{Value, json};
use simulators::{FaultKind, FaultRule, MicrosoftOptions};

use super::client::{ANNA, BERND, World, code_of, meeting};
use crate::http;

#[tokio::test]
async fn a_mailbox_takes_so_many_requests_in_ten_minutes() {
    let options = MicrosoftOptions { requests_max: 20, ..MicrosoftOptions::default() };
    let world = World::start(options).await;
    let (anna, bernd) = (world.client(ANNA).await, world.client(BERND).await);
    for _ in 0..20 {
        anna.get("/me/calendars").await;
    }
    let got = anna.send("GET", "/me/calendars", &Value::Null).await;
    assert_eq!((got.status, code_of(&got)), (429, "TooManyRequests".to_owned()));
    bernd.get("/me/calendars").await;
    let mut waits = std::collections::BTreeSet::new();
    for _ in 0..30 {
        let got = anna.send("GET", "/me/calendars", &Value::Null).await;
        waits.insert(got.header("retry-after").unwrap_or("none").to_owned());
    }
    assert!(waits.contains("none") && waits.contains("1") && waits.contains("600.128"), "{waits:?}");
    world.pass(600);
    anna.get("/me/calendars").await;
}

#[tokio::test]
async fn four_requests_for_one_mailbox_run_at_once() {
    let world = World::new().await;
    let (anna, bernd) = (world.client(ANNA).await, world.client(BERND).await);
    // Whatever is asked now never answers, and so keeps its place.
    world.microsoft.fault(FaultRule::new(FaultKind::TimeoutBefore).on("GET", "/v1.0/me/events").times(4));
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let (url, bearer) = (world.microsoft.base_url(), format!("Bearer {}", anna.token));
            tokio::spawn(async move {
                http::send(&url, "GET", "/v1.0/me/events", &[("Authorization", bearer.as_str())], "").await
            })
        })
        .collect();
    while !world.microsoft.faults().list().is_empty() {
        tokio::task::yield_now().await;
    }
    let got = anna.send("GET", "/me/events", &Value::Null).await;
    assert_eq!((got.status, code_of(&got)), (429, "ApplicationThrottled".to_owned()));
    assert_eq!(got.json()["error"]["message"], "Application is over its MailboxConcurrency limit.");
    bernd.get("/me/events").await;
    for one in waiting {
        one.abort();
    }
    world.microsoft.stop().await;
}

#[tokio::test]
async fn faults_strike_as_everywhere() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    for n in 0..4 {
        anna.create(&meeting(&format!("e{n}"), "2026-03-09", 9)).await;
    }
    let strike =
        |kind: FaultKind| world.microsoft.fault(FaultRule::new(kind).on("GET", "/v1.0/me/events").times(1));
    strike(FaultKind::Unauthorized);
    let got = anna.send("GET", "/me/events", &Value::Null).await;
    assert_eq!((got.status, code_of(&got)), (401, "InvalidAuthenticationToken".to_owned()));
    assert!(got.header("www-authenticate").is_some());
    strike(FaultKind::Status { status: 504 });
    assert_eq!(anna.send("GET", "/me/events", &Value::Null).await.status, 504);
    strike(FaultKind::EmptyList);
    assert_eq!(anna.get("/me/events").await, json!({ "value": [] }));
    strike(FaultKind::ShortList);
    assert_eq!(anna.get("/me/events").await["value"].as_array().unwrap().len(), 2);
    world.microsoft.fault(FaultRule::new(FaultKind::CloseAfter).on("POST", "/v1.0/me/events").times(1));
    let bearer = format!("Bearer {}", anna.token);
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let body = meeting("lost answer", "2026-03-10", 9).to_string();
    let got = http::send(&world.microsoft.base_url(), "POST", "/v1.0/me/events", &headers, &body).await;
    assert!(got.is_none());
    assert_eq!(world.microsoft.records().len(), 5);
}
