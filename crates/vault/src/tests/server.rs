//! An authorisation server as RFC 6749 describes it, with the moods of real ones. Shares no type with what it tests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;

/// How the server treats the next request for a token.
#[derive(Debug, Clone)]
pub enum Mood {
    /// Answers with this status and body, and does nothing else.
    Says(u16, Value),
    /// Answers with a page.
    Page(u16),
    /// Does what it was asked to, and closes the connection without answering.
    LosesTheAnswer,
    /// Does what it was asked to, and answers when it is told to go on.
    Hangs,
}

/// What is registered under a code.
#[derive(Debug, Clone)]
pub struct Consent {
    pub challenge: String,
    pub redirect: String,
    pub scope: String,
}

#[derive(Debug, Default)]
pub struct Inner {
    pub moods: VecDeque<Mood>,
    /// Forms that came, in order.
    pub requests: Vec<BTreeMap<String, String>>,
    pub revoked: Vec<String>,
    /// Refresh tokens that are good.
    pub refresh_tokens: BTreeSet<String>,
    pub codes: BTreeMap<String, Consent>,
    /// A refresh gives another refresh token.
    pub rotates: bool,
    /// And the one that was used dies.
    pub old_dies: bool,
    pub gives_no_refresh_token: bool,
    pub life_seconds: u64,
    pub id_token: Option<String>,
    number: u64,
}

/// The server.
#[derive(Debug, Clone)]
pub struct TokenServer {
    pub url: String,
    inner: Arc<Mutex<Inner>>,
    pub hanging: Arc<Notify>,
    go_on: Arc<Notify>,
}

impl TokenServer {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inner = Inner { life_seconds: 3_600, rotates: true, ..Inner::default() };
        let server =
            Self { url, inner: Arc::new(Mutex::new(inner)), hanging: Arc::default(), go_on: Arc::default() };
        let router = Router::new()
            .route("/contoso.example/oauth2/v2.0/token", post(token))
            .route("/revoke", post(revoke))
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    pub fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.inner.lock().unwrap())
    }

    pub fn requests(&self) -> usize {
        self.with(|inner| inner.requests.len())
    }

    pub fn next(&self, mood: Mood) {
        self.with(|inner| inner.moods.push_back(mood));
    }

    pub fn refuses(&self, status: u16, error: &str) {
        self.next(Mood::Says(
            status,
            json!({ "error": error, "error_description": "for jo@contoso.example" }),
        ));
    }

    pub fn go_on(&self) {
        self.go_on.notify_one();
    }
}

async fn token(State(server): State<TokenServer>, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
    assert!(!headers.contains_key("origin"));
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
    let mood = server.with(|inner| {
        inner.requests.push(form.clone());
        inner.moods.pop_front()
    });
    match mood {
        Some(Mood::Says(status, body)) => answer(status, &body),
        Some(Mood::Page(status)) => {
            let page = [("content-type", "text/html")];
            (StatusCode::from_u16(status).unwrap(), page, "<h1>asleep</h1>").into_response()
        }
        Some(Mood::LosesTheAnswer) => {
            server.with(|inner| serve(inner, &form));
            (StatusCode::OK, [("content-type", "application/json")], cut_off()).into_response()
        }
        Some(Mood::Hangs) => {
            let response = server.with(|inner| serve(inner, &form));
            server.hanging.notify_one();
            server.go_on.notified().await;
            response
        }
        None => server.with(|inner| serve(inner, &form)),
    }
}

/// A body that breaks off.
fn cut_off() -> axum::body::Body {
    let broken = async { Err::<Bytes, _>(std::io::Error::other("cut off")) };
    axum::body::Body::from_stream(futures_util::stream::once(broken))
}

fn serve(inner: &mut Inner, form: &BTreeMap<String, String>) -> Response {
    let get = |name: &str| form.get(name).map_or("", String::as_str);
    if (get("client_id"), get("client_secret"))
        != ("00001111-aaaa-2222-bbbb-3333cccc4444", "sampleCredentials")
    {
        return answer(401, &json!({"error": "invalid_client", "error_codes": [7000215]}));
    }
    let bad_grant = answer(400, &json!({"error": "invalid_grant", "error_codes": [70008]}));
    let mut scope = get("scope").to_owned();
    match get("grant_type") {
        "refresh_token" => {
            let used = get("refresh_token");
            if !inner.refresh_tokens.contains(used) {
                return bad_grant;
            }
            if inner.rotates && inner.old_dies {
                inner.refresh_tokens.remove(used);
            }
        }
        "authorization_code" => {
            let Some(consent) = inner.codes.remove(get("code")) else { return bad_grant };
            let verifier = get("code_verifier");
            let challenge = {
                use base64::Engine as _;
                base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
            };
            if challenge != consent.challenge || consent.redirect != get("redirect_uri") {
                return bad_grant;
            }
            scope = consent.scope;
        }
        "client_credentials" if get("scope").ends_with("/.default") => {}
        _ => return answer(400, &json!({"error": "invalid_request"})),
    }
    inner.number += 1;
    let number = inner.number;
    let mut body = json!({
        "token_type": "Bearer", "expires_in": inner.life_seconds, "access_token": format!("access-{number}"),
    });
    if !scope.is_empty() {
        body["scope"] = json!(scope.replace("offline_access ", ""));
    }
    let first = get("grant_type") == "authorization_code";
    let gives = get("grant_type") != "client_credentials" && !inner.gives_no_refresh_token;
    if gives && (first || inner.rotates) {
        let refresh = format!("refresh-{number}");
        inner.refresh_tokens.insert(refresh.clone());
        body["refresh_token"] = json!(refresh);
    }
    if let Some(id_token) = inner.id_token.clone().filter(|_| first) {
        body["id_token"] = json!(id_token);
    }
    answer(200, &body)
}

fn answer(status: u16, body: &Value) -> Response {
    let kind = [("content-type", "application/json; charset=utf-8")];
    (StatusCode::from_u16(status).unwrap(), kind, body.to_string()).into_response()
}

async fn revoke(State(server): State<TokenServer>, body: Bytes) -> Response {
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
    server.with(|inner| match inner.moods.pop_front() {
        Some(Mood::Says(status, body)) => answer(status, &body),
        _ => {
            inner.refresh_tokens.remove(&form["token"]);
            inner.revoked.push(form["token"].clone());
            answer(200, &json!({}))
        }
    })
}
