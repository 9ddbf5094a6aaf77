//! A service that answers as a test says, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request as Incoming;
use axum::http::{Response, StatusCode};
use http_client::Limits;
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::clock::SystemClock;
use shared::meter::NoMeter;
use url::Url;

use crate::client::{Scim, Settings, Sizes};
use crate::{Overrides, fixtures};

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Method and address, as on the wire.
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// An answer: status, headers, body.
pub(crate) type Reply = (u16, Vec<(&'static str, String)>, String);

/// What came so far.
pub(crate) type Log = Arc<Mutex<Vec<Asked>>>;

/// A SCIM answer.
pub(crate) fn scim(status: u16, body: &Value) -> Reply {
    (status, vec![("content-type", "application/scim+json".to_owned())], body.to_string())
}

/// An error with a type.
pub(crate) fn refusal(status: u16, kind: &str) -> Reply {
    scim(status, &json!({"status": status.to_string(), "scimType": kind, "detail": "a test"}))
}

/// A list of all that there is.
pub(crate) fn list(resources: &[Value]) -> Reply {
    scim(200, &json!({"totalResults": resources.len(), "startIndex": 1, "Resources": resources}))
}

/// The recorded answer.
pub(crate) fn recorded(name: &str) -> Reply {
    let answer = fixtures::answer(name);
    let etag = answer.header("etag").map(|tag| ("etag", tag.to_owned()));
    let head = [("content-type", "application/scim+json".to_owned())].into_iter().chain(etag).collect();
    (answer.status(), head, String::from_utf8(answer.body().to_vec()).unwrap())
}

/// Starts a service that answers so; discovery is answered as recorded where `answer` has no answer. Its base address
/// has a path.
pub(crate) async fn start(answer: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static) -> (Scim, Log) {
    start_with(Overrides::default(), answer).await
}

/// As [`start`], with settings of its own.
pub(crate) async fn start_with(
    overrides: Overrides,
    answer: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static,
) -> (Scim, Log) {
    let log = Log::default();
    let (remember, answer) = (Arc::clone(&log), Arc::new(answer));
    let router = Router::new().fallback(move |request: Incoming| {
        let (remember, answer) = (Arc::clone(&remember), Arc::clone(&answer));
        async move {
            let asked = asked(request).await;
            let discovery = match asked.line.as_str() {
                "GET /acme/v2/ServiceProviderConfig" => Some(recorded("001-service-provider-config")),
                "GET /acme/v2/ResourceTypes" => Some(recorded("002-resource-types")),
                _ => None,
            };
            if discovery.is_none() {
                remember.lock().unwrap().push(asked.clone());
            }
            let missing = || scim(404, &json!({"status": "404", "detail": "not scripted"}));
            let (status, headers, body) = answer(&asked).or(discovery).unwrap_or_else(missing);
            let mut response = Response::builder().status(StatusCode::from_u16(status).unwrap());
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Body::from(body)).unwrap()
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/acme/v2", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (client(url, overrides), log)
}

/// A client of a service at this address.
pub(crate) fn client(url: Url, overrides: Overrides) -> Scim {
    let settings = Settings {
        url,
        token: SecretString::from("hush-hush"),
        limits: Limits { requests_per_second_max: 10_000, ..Limits::default() },
        fleet: None,
        overrides,
        sizes: Sizes::default(),
    };
    Scim::new(settings, Arc::new(NoMeter), Arc::new(SystemClock)).unwrap()
}

async fn asked(request: Incoming) -> Asked {
    let (head, body) = request.into_parts();
    let headers = head.headers.iter();
    let headers = headers.map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect();
    let bytes = to_bytes(body, 10_000_000).await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    Asked { line: format!("{} {}", head.method, head.uri), headers, body }
}

/// Method and address of what came, without `/acme/v2/` and query.
pub(crate) fn lines(log: &Log) -> Vec<String> {
    let short = |asked: &Asked| asked.line.split('?').next().unwrap().replace("/acme/v2/", "");
    log.lock().unwrap().iter().map(short).collect()
}
