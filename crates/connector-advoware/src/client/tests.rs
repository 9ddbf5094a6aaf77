//! Address, token and pauses over several requests, against a server that can refuse, fail and sleep.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Request as Incoming, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use serde_json::json;
use shared::clock::SystemClock;
use shared::meter::NoMeter;

use super::*;
use crate::BetNr;

/// The firm's server, the security gateway and the configurator in one. Tokens are numbered from 1.
#[derive(Debug)]
struct Firm {
    url: String,
    calls: BTreeMap<&'static str, u32>,
    /// Tokens below this number are refused.
    token_accepted_min: u32,
    token_status: u16,
    token_seconds: u64,
    data_status: u16,
    configurator_status: u16,
}

type Shared = Arc<std::sync::Mutex<Firm>>;

async fn serve(State(firm): State<Shared>, request: Incoming) -> Response {
    let mut firm = firm.lock().unwrap();
    let status = |status: u16| StatusCode::from_u16(status).unwrap();
    let mut count = |call| {
        let calls = firm.calls.entry(call).or_default();
        *calls += 1;
        *calls
    };
    match request.uri().path() {
        "/AdvonetConfigurator/api/Url" => {
            count("look_up");
            let url = json!({"relayUrl": firm.url, "connectorUrl": null, "securityGateway": firm.url});
            (status(firm.configurator_status), Json(url)).into_response()
        }
        "/api/v1/Token" => {
            let number = count("token");
            let token = json!({"access_token": format!("{number}"), "expires_in": firm.token_seconds});
            (status(firm.token_status), Json(token)).into_response()
        }
        _ => {
            count("data");
            let bearer = request.headers().get("authorization").and_then(|v| v.to_str().ok()).unwrap_or("");
            let token: u32 = bearer.trim_start_matches("Bearer ").parse().unwrap_or(0);
            if token < firm.token_accepted_min {
                return StatusCode::UNAUTHORIZED.into_response();
            }
            (status(firm.data_status), Json(json!([{"betNr": 7, "rowId": "R"}]))).into_response()
        }
    }
}

async fn start() -> (Advoware, Shared) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let firm = Arc::new(std::sync::Mutex::new(Firm {
        url: url.clone(),
        calls: BTreeMap::new(),
        token_accepted_min: 1,
        token_status: 200,
        token_seconds: 3_600,
        data_status: 200,
        configurator_status: 200,
    }));
    let router = Router::new().fallback(serve).with_state(Arc::clone(&firm));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let key = SecretString::from(STANDARD.encode("test-secret-key"));
    let credentials =
        Credentials::new("app", &key, "kanzlei", "db", "MM", SecretString::from("password")).unwrap();
    let settings = Settings {
        configurator: Url::parse(&url).unwrap(),
        credentials,
        limits: Limits::default(),
        fleet: None,
    };
    (Advoware::new(settings, Arc::new(NoMeter), Arc::new(SystemClock)).unwrap(), firm)
}

async fn get(advoware: &Advoware) -> Result<(), Fault> {
    advoware.get(BetNr::try_from(7).unwrap()).await.map(|party| assert!(party.is_some()))
}

fn calls(firm: &Shared) -> (u32, u32, u32) {
    let firm = firm.lock().unwrap();
    let of = |call| firm.calls.get(call).copied().unwrap_or(0);
    (of("look_up"), of("token"), of("data"))
}

fn set(firm: &Shared, change: impl FnOnce(&mut Firm)) {
    change(&mut firm.lock().unwrap());
}

/// Lets time pass, without waiting for it.
async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

async fn side_by_side(advoware: &Advoware, count: usize) -> Vec<Result<(), Fault>> {
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let advoware = advoware.clone();
            tokio::spawn(async move { get(&advoware).await })
        })
        .collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

#[tokio::test]
async fn one_look_up_and_one_token_serve_many_requests() {
    let (advoware, firm) = start().await;
    assert!(side_by_side(&advoware, 10).await.iter().all(Result::is_ok));
    get(&advoware).await.unwrap();
    assert_eq!(calls(&firm), (1, 1, 11));
}

#[tokio::test]
async fn a_token_is_replaced_before_its_end() {
    let (advoware, firm) = start().await;
    get(&advoware).await.unwrap();
    pass(2_870).await;
    get(&advoware).await.unwrap();
    assert_eq!(calls(&firm), (1, 1, 2));
    pass(10).await;
    assert!(side_by_side(&advoware, 5).await.iter().all(Result::is_ok));
    assert_eq!(calls(&firm), (1, 2, 7));
}

#[tokio::test]
async fn an_early_replacement_that_fails_leaves_the_old_token_in_use() {
    let (advoware, firm) = start().await;
    get(&advoware).await.unwrap();
    pass(3_000).await;
    set(&firm, |firm| firm.token_status = 503);
    get(&advoware).await.unwrap();
    pass(700).await;
    assert_eq!(get(&advoware).await.unwrap_err().code, "upstream_failed");
    assert_eq!(calls(&firm), (1, 3, 2));
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_for_all() {
    let (advoware, firm) = start().await;
    get(&advoware).await.unwrap();
    set(&firm, |firm| firm.token_accepted_min = 2);
    assert!(side_by_side(&advoware, 6).await.iter().all(Result::is_ok));
    let (look_ups, tokens, _) = calls(&firm);
    assert_eq!((look_ups, tokens), (1, 2));
}

#[tokio::test]
async fn a_new_token_that_is_refused_too_pauses_the_account() {
    let (advoware, firm) = start().await;
    set(&firm, |firm| firm.token_accepted_min = u32::MAX);
    assert_eq!(get(&advoware).await.unwrap_err().kind, FaultKind::Unauthorized);
    assert_eq!(calls(&firm), (1, 2, 2));
    for result in side_by_side(&advoware, 5).await {
        assert_eq!(result.unwrap_err().code, "account_paused");
    }
    assert_eq!(calls(&firm), (1, 2, 2), "never in a loop");
    set(&firm, |firm| firm.token_accepted_min = 1);
    pass(61).await;
    get(&advoware).await.unwrap();
}

#[tokio::test]
async fn a_refused_sign_in_is_tried_once_a_pause() {
    let (advoware, firm) = start().await;
    set(&firm, |firm| firm.token_status = 401);
    let results = side_by_side(&advoware, 8).await;
    let refused = results.iter().filter(|r| r.as_ref().is_err_and(|f| f.code == "sign_in_refused")).count();
    assert_eq!((refused, calls(&firm)), (1, (1, 1, 0)));
    pass(61).await;
    set(&firm, |firm| firm.token_status = 200);
    get(&advoware).await.unwrap();
}

#[tokio::test]
async fn an_address_that_fails_is_looked_up_again_but_not_all_the_time() {
    let (advoware, firm) = start().await;
    get(&advoware).await.unwrap();
    set(&firm, |firm| firm.data_status = 502);
    get(&advoware).await.unwrap_err();
    get(&advoware).await.unwrap_err();
    assert_eq!(calls(&firm).0, 1);
    pass(61).await;
    set(&firm, |firm| firm.data_status = 200);
    get(&advoware).await.unwrap();
    assert_eq!(calls(&firm).0, 2);
}

#[tokio::test]
async fn without_the_configurator_the_old_address_goes_on_being_used() {
    let (advoware, firm) = start().await;
    get(&advoware).await.unwrap();
    set(&firm, |firm| firm.configurator_status = 500);
    pass(5 * 60 * 60).await;
    get(&advoware).await.unwrap();
    get(&advoware).await.unwrap();
    assert_eq!(calls(&firm).0, 2);
}

#[tokio::test]
async fn sign_in_proves_the_settings() {
    let (advoware, firm) = start().await;
    assert_eq!(advoware.sign_in().await.unwrap().as_str(), firm.lock().unwrap().url);
    assert_eq!(calls(&firm), (1, 1, 0));
}

#[test]
fn credentials_are_checked_and_never_printed() {
    let key = |text: &str| {
        Credentials::new("app", &SecretString::from(text), "k", "d", "u", SecretString::from("hush"))
    };
    assert!(matches!(key("no base64!"), Err(SetupError::Credential(_))));
    assert!(matches!(key(""), Err(SetupError::Credential(_))));
    assert_eq!(format!("{:?}", key("aHVzaA==").unwrap()), "Credentials(u of k, ***)");
}
