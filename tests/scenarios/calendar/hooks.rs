//! Where the systems send what they have to say: takes everything, answers handshakes, and hands it on, now and then
//! twice or never.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use bytes::Bytes;
use serde_json::Value;
use simulators::Dice;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A request as it came in.
#[derive(Debug, Clone)]
pub struct Received {
    /// What follows the flow's prefix.
    pub path: String,
    pub query: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

pub const PREFIX: &str = "/webhooks/calendar";

#[derive(Debug)]
struct Inbox {
    received: Vec<Received>,
    /// Records of whose deletion EspoCRM told, and nobody heard.
    unheard: Vec<String>,
    dice: Dice,
    loss: f64,
    doubling: f64,
}

#[derive(Debug)]
pub struct Hooks {
    pub url: String,
    inbox: Arc<Mutex<Inbox>>,
    server: JoinHandle<()>,
}

impl Drop for Hooks {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The validation token of a handshake, decoded.
fn handshake(uri: &Uri) -> Option<String> {
    let address = reqwest::Url::parse(&format!("http://x{uri}")).ok()?;
    address.query_pairs().find(|(name, _)| name == "validationToken").map(|(_, token)| token.into_owned())
}

/// The records that a webhook of EspoCRM calls deleted.
fn deleted(received: &Received) -> Vec<String> {
    if !received.path.ends_with("/delete") {
        return Vec::new();
    }
    let items: Vec<Value> = serde_json::from_slice(&received.body).unwrap();
    items.iter().filter_map(|item| Some(item["id"].as_str()?.to_owned())).collect()
}

async fn take(State(inbox): State<Arc<Mutex<Inbox>>>, uri: Uri, headers: HeaderMap, body: Bytes) -> String {
    if let Some(token) = handshake(&uri) {
        return token;
    }
    let headers = headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
    let path = uri.path().strip_prefix(PREFIX).unwrap_or(uri.path()).trim_start_matches('/').to_owned();
    let query = uri.query().map(str::to_owned);
    let received = Received { path, query, headers: headers.collect(), body };
    let mut inbox = inbox.lock().unwrap();
    let (loss, doubling) = (inbox.loss, inbox.doubling);
    if inbox.dice.chance(loss) {
        inbox.unheard.extend(deleted(&received));
    } else {
        if inbox.dice.chance(doubling) {
            inbox.received.push(received.clone());
        }
        inbox.received.push(received);
    }
    String::new()
}

impl Hooks {
    pub async fn start(seed: u64) -> Self {
        let inbox = Inbox {
            received: Vec::new(),
            unheard: Vec::new(),
            dice: Dice::new(seed),
            loss: 0.0,
            doubling: 0.0,
        };
        let inbox = Arc::new(Mutex::new(inbox));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(take).with_state(Arc::clone(&inbox));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, inbox, server }
    }

    /// What share is lost from now on, and what share comes twice.
    pub fn astray(&self, loss: f64, doubling: f64) {
        let mut inbox = self.inbox.lock().unwrap();
        (inbox.loss, inbox.doubling) = (loss, doubling);
    }

    pub fn drain(&self) -> Vec<Received> {
        std::mem::take(&mut self.inbox.lock().unwrap().received)
    }

    /// What nobody heard of since this was last asked for.
    pub fn unheard(&self) -> Vec<String> {
        std::mem::take(&mut self.inbox.lock().unwrap().unheard)
    }
}
