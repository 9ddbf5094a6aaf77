//! Quotas, and errors in Google's shape on demand.

use serde_json::{Value, json};
use simulators::{FaultKind, FaultRule};

use super::{ANNA, BERND, Client, EVENTS, assert_error, configure, later, meeting, reason, start, with};
use crate::http;
use crate::replay::object;

#[tokio::test]
async fn a_user_and_a_project_have_so_many_requests_a_minute() {
    let google = start().await;
    let (anna, bernd) = (Client::new(&google, ANNA), Client::new(&google, BERND));
    configure(&google, json!({ "requests_per_minute_per_user": 3, "requests_per_minute": 5 }));
    for _ in 0..3 {
        assert_eq!(anna.get(EVENTS).await.status, 200);
    }
    let got = anna.get(EVENTS).await;
    assert_error(&got, "error-403-userratelimit.json");
    assert_eq!(got.header("retry-after"), None);
    for _ in 0..2 {
        assert_eq!(bernd.get(EVENTS).await.status, 200);
    }
    assert_error(&bernd.get(EVENTS).await, "error-403-ratelimit.json");
    configure(&google, json!({ "quota_status": 429, "quota_retry_after": 7 }));
    let got = anna.get(EVENTS).await;
    assert_eq!((got.status, got.header("retry-after")), (429, Some("7")));
    assert_eq!(reason(&got), "userRateLimitExceeded");
    google.set_clock_offset(jiff::SignedDuration::from_secs(60));
    assert_eq!(anna.get(EVENTS).await.status, 200);
}

#[tokio::test]
async fn errors_can_be_had_on_demand() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    let errors = json!([
        { "operation": "calendar.events.insert", "status": 403, "reason": "quotaExceeded", "times": 1 },
        { "operation": "calendar.events.list", "status": 500, "reason": "backendError", "times": 2 },
        { "operation": "calendar.events.list", "status": 429, "reason": "rateLimitExceeded", "retry_after": "3", "times": 1 },
    ]);
    configure(&google, json!({ "errors": errors }));
    let got = anna.send("POST", EVENTS, &meeting("A", 9, 10)).await;
    assert_error(&got, "error-403-calendarlimits.json");
    assert_eq!(google.records(), Vec::<Value>::new());
    for _ in 0..2 {
        assert_error(&anna.get(EVENTS).await, "error-500.json");
    }
    let got = anna.get(EVENTS).await;
    assert_eq!((got.status, got.header("retry-after")), (429, Some("3")));
    assert_eq!(anna.get(EVENTS).await.status, 200);
    configure(&google, json!({ "errors": [{ "status": 503, "reason": "backendError" }] }));
    assert_eq!(anna.get(EVENTS).await.status, 503);
    configure(&google, json!({ "errors": null }));
    assert_eq!(anna.get(EVENTS).await.status, 200);
    assert!(google.configure(&object(json!({ "errors": [{ "nope": 1 }] }))).is_err());
    assert!(google.configure(&object(json!({ "nope": 1 }))).is_err());
}

/// The rules that every simulator has: an answer that is lost after the write, a status without a body.
#[tokio::test]
async fn an_answer_can_be_lost_after_the_write() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    let tokens = google.connect_as_person(ANNA, &[super::SCOPE]).unwrap();
    let authorization = format!("Bearer {}", tokens.access_token);
    google.fault(FaultRule::new(FaultKind::CloseAfter).on("POST", "/calendar/v3/*").times(1));
    let body = with(meeting("A", 9, 10), json!({ "id": "abcde01234" }));
    let headers = [("Authorization", authorization.as_str())];
    let lost = http::send(&google.base_url(), "POST", EVENTS, &headers, &body.to_string()).await;
    assert!(lost.is_none());
    assert_eq!(anna.send("POST", EVENTS, &body).await.status, 409);
    assert_eq!(anna.event("abcde01234").await["summary"], "A");
    google.fault(FaultRule::new(FaultKind::Unauthorized).times(1));
    assert_error(&anna.get(EVENTS).await, "error-401.json");
    later(&google, 1);
    assert_eq!(anna.get(EVENTS).await.status, 401, "the token has ended");
}
