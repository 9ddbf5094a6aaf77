//! Each kind of fault, as a client meets it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use simulators::espocrm::API_KEY;
use simulators::{
    AdvowareOptions, AdvowareSimulator, EspocrmOptions, EspocrmSimulator, FaultKind, FaultRule,
};

use crate::espocrm::{TYPE, call, start};
use crate::http;
use crate::replay::object;

const HEADERS: [(&str, &str); 2] = [("X-Api-Key", API_KEY), ("Content-Type", "application/json")];
const BODY: &str = r#"{"lastName":"Fault"}"#;

/// The next create meets the fault; tells what came of it and whether it was written.
async fn create(crm: &EspocrmSimulator, fault: FaultKind) -> (Option<http::Got>, bool) {
    let before = crm.journal().len();
    crm.fault(FaultRule::new(fault).on("POST", "/api/v1/CB*").times(1));
    let got = http::send(&crm.base_url(), "POST", TYPE, &HEADERS, BODY).await;
    assert!(crm.faults().list().is_empty(), "used up");
    (got, crm.journal().len() > before)
}

#[tokio::test]
async fn refusals_write_nothing() {
    let crm = start().await;
    let throttled = |value: &str| FaultKind::Throttled { retry_after: value.to_owned() };
    for (fault, status, kind, retry_after) in [
        (throttled("7"), 429, None, Some("7")),
        (throttled("Fri, 20 Nov 2026 12:00:00 GMT"), 429, None, Some("Fri, 20 Nov 2026 12:00:00 GMT")),
        (FaultKind::Status { status: 503 }, 503, None, None),
        (FaultKind::Unauthorized, 401, Some("text/html; charset=UTF-8"), None),
        (FaultKind::HtmlPage, 200, Some("text/html; charset=UTF-8"), None),
        (FaultKind::HtmlBadGateway, 502, Some("text/html; charset=UTF-8"), None),
        (FaultKind::EmptyList, 200, Some("application/json"), None),
    ] {
        let (got, written) = create(&crm, fault.clone()).await;
        let got = got.unwrap();
        assert_eq!(
            (got.status, got.header("content-type"), got.header("retry-after")),
            (status, kind, retry_after),
            "{fault:?}"
        );
        assert!(!written, "{fault:?}");
    }
    assert_eq!(call(&crm, "GET", TYPE, &Value::Null).await.json()["total"], 0, "and the next one is well");
}

#[tokio::test]
async fn a_cut_body_promises_more_than_it_sends_after_the_write() {
    let crm = start().await;
    let (got, written) = create(&crm, FaultKind::CutBody).await;
    let got = got.unwrap();
    assert_eq!(got.status, 200);
    assert!(got.is_cut() && !got.body.is_empty() && written, "{got:?}");
}

#[tokio::test]
async fn a_closed_connection_leaves_open_whether_it_was_written() {
    let crm = start().await;
    assert!(matches!(create(&crm, FaultKind::CloseBefore).await, (None, false)));
    assert!(matches!(create(&crm, FaultKind::CloseAfter).await, (None, true)));
}

#[tokio::test]
async fn a_time_out_leaves_open_whether_it_was_written() {
    for (fault, entries) in [(FaultKind::TimeoutBefore, 0), (FaultKind::TimeoutAfter, 1)] {
        let crm = start().await;
        crm.fault(FaultRule::new(fault).times(1));
        let url = crm.base_url();
        let mut waiting = tokio::spawn(async move { http::send(&url, "POST", TYPE, &HEADERS, BODY).await });
        while crm.counters().is_empty() || crm.journal().len() < entries {
            tokio::task::yield_now().await;
        }
        let answered = tokio::time::timeout(Duration::from_millis(100), &mut waiting).await;
        assert!(answered.is_err(), "{answered:?}");
        assert_eq!(crm.journal().len(), entries);
    }
}

#[tokio::test]
async fn a_hanging_request_does_not_keep_the_simulator_from_stopping() {
    let crm = start().await;
    crm.fault(FaultRule::new(FaultKind::TimeoutBefore));
    let url = crm.base_url();
    let waiting = tokio::spawn(async move { http::send(&url, "GET", TYPE, &HEADERS, "").await.is_none() });
    while crm.counters().is_empty() {
        tokio::task::yield_now().await;
    }
    crm.stop().await;
    assert!(waiting.await.unwrap());
}

#[tokio::test]
async fn latency_delays_and_then_the_next_rule_applies() {
    let crm = start().await;
    crm.fault(FaultRule::new(FaultKind::Latency { latency_ms: 120 }));
    crm.fault(FaultRule::new(FaultKind::Status { status: 500 }).times(1));
    let begun = Instant::now();
    assert_eq!(call(&crm, "GET", TYPE, &Value::Null).await.status, 500);
    assert_eq!(call(&crm, "GET", TYPE, &Value::Null).await.status, 200);
    assert!(begun.elapsed() >= Duration::from_millis(240));
}

#[tokio::test]
async fn a_rule_strikes_only_what_it_names() {
    let crm = start().await;
    crm.fault(FaultRule::new(FaultKind::Status { status: 500 }).on("PUT", "/api/v1/CBeteiligte/*"));
    assert_eq!(call(&crm, "GET", TYPE, &Value::Null).await.status, 200);
    let id = crm.seed(object(json!({ "lastName": "A" }))).unwrap();
    for _ in 0..3 {
        assert_eq!(call(&crm, "PUT", &format!("{TYPE}/{id}"), &json!({})).await.status, 500);
    }
    crm.faults().clear();
    assert_eq!(call(&crm, "PUT", &format!("{TYPE}/{id}"), &json!({})).await.status, 200);
}

#[tokio::test]
async fn a_list_comes_by_halves() {
    let crm = EspocrmSimulator::start(EspocrmOptions::default()).await.unwrap();
    for n in 0..5 {
        crm.seed(json!({ "lastName": format!("n{n}") }).as_object().unwrap().clone()).unwrap();
    }
    let list = async || call(&crm, "GET", TYPE, &Value::Null).await.json();
    let whole = list().await;
    let of = |list: &Value| list["list"].as_array().unwrap().clone();
    crm.fault(FaultRule::new(FaultKind::ShortList).times(1));
    let short = list().await;
    assert_eq!((of(&short), &short["total"]), (of(&whole)[..2].to_vec(), &json!(2)), "as if that were all");
    crm.fault(FaultRule::new(FaultKind::HoledList).times(1));
    let holed = list().await;
    assert_eq!((of(&holed), &holed["total"]), (of(&whole)[2..].to_vec(), &json!(5)));
    assert_eq!(list().await, whole);
}

#[tokio::test]
async fn advoware_fails_in_its_own_words() {
    let advoware = AdvowareSimulator::start(AdvowareOptions::default()).await.unwrap();
    let url = advoware.base_url();
    advoware.fault(FaultRule::new(FaultKind::EmptyList).times(1));
    let got = http::send(&url, "GET", crate::advoware::PARTIES, &[], "").await.unwrap();
    assert_eq!(got.json(), json!([]));
    advoware.fault(FaultRule::new(FaultKind::Unauthorized).times(1));
    let got = http::send(&url, "GET", crate::advoware::PARTIES, &[], "").await.unwrap();
    assert_eq!(got.status, 401);
    assert!(got.header("date").is_some());
}
