//! Google: consent and tokens, events, incremental lists, notifications.

mod channels;
mod description;
mod events;
mod guests;
mod mirror;
mod oauth;
mod process;
mod quota;
mod series;
mod service_accounts;
mod sync;

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulators::google::{GoogleOptions, GoogleSimulator};
use simulators::{Clock, Hosting};

use crate::fixture::shape_differences;
use crate::http::{self, Got};
use crate::replay::object;

pub const ANNA: &str = "anna@kanzlei.example";
pub const BERND: &str = "bernd@kanzlei.example";
pub const CLARA: &str = "clara@kanzlei.example";
pub const SCOPE: &str = "https://www.googleapis.com/auth/calendar";
pub const EVENTS: &str = "/calendar/v3/calendars/primary/events";

/// A clock that stands still until a test moves it.
fn noon() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

pub fn options() -> GoogleOptions {
    let hosting = Hosting { clock: Clock::from_fn(noon), ..Hosting::default() };
    GoogleOptions { hosting, plain_http_channels: true, ..GoogleOptions::default() }
}

pub async fn start() -> GoogleSimulator {
    GoogleSimulator::start(options()).await.unwrap()
}

pub fn configure(google: &GoogleSimulator, settings: Value) {
    google.configure(&object(settings)).unwrap();
}

/// Moves the clock, from noon on.
pub fn later(google: &GoogleSimulator, hours: i64) {
    google.set_clock_offset(SignedDuration::from_hours(hours));
}

/// Where the vendor's examples are, taken from its guides or composed after its description.
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/google")
}

/// One of the vendor's examples.
pub fn example(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder().join(name)).unwrap()).unwrap()
}

/// Whether an answer has the members of an example, no more and no fewer, of the same types.
pub fn assert_shape(name: &str, own: &Value) {
    let differences = shape_differences(name, &example(name), own);
    assert!(differences.is_empty(), "{differences:#?} in {own:#}");
}

/// Whether an answer is the error of an example, to the letter.
pub fn assert_error(got: &Got, name: &str) {
    let expected = example(name);
    assert_eq!(got.json(), expected, "{name}");
    assert_eq!(json!(got.status), expected["error"]["code"]);
}

pub fn reason(got: &Got) -> String {
    got.json()["error"]["errors"][0]["reason"].as_str().unwrap_or_default().to_owned()
}

/// A user's client.
pub struct Client {
    url: String,
    authorization: String,
}

impl Client {
    pub fn new(google: &GoogleSimulator, user: &str) -> Self {
        let tokens = google.connect_as_person(user, &[SCOPE]).unwrap();
        Self::with_token(google, &tokens.access_token)
    }

    pub fn with_token(google: &GoogleSimulator, access_token: &str) -> Self {
        Self { url: google.base_url(), authorization: format!("Bearer {access_token}") }
    }

    pub async fn send(&self, method: &str, path: &str, body: &Value) -> Got {
        self.send_with(method, path, &[], body).await
    }

    pub async fn send_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Got {
        let mut all =
            vec![("Authorization", self.authorization.as_str()), ("Content-Type", "application/json")];
        all.extend_from_slice(headers);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        http::send(&self.url, method, path, &all, &body).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Got {
        self.send("GET", path, &Value::Null).await
    }

    /// Sends what must succeed; answers the body, or null when there is none.
    pub async fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        let got = self.send(method, path, body).await;
        assert!((200..300).contains(&got.status), "{method} {path} {body}: {got:?}");
        if got.body.is_empty() { Value::Null } else { got.json() }
    }

    pub async fn insert(&self, body: &Value) -> Value {
        self.done("POST", EVENTS, body).await
    }

    pub async fn event(&self, id: &str) -> Value {
        self.done("GET", &format!("{EVENTS}/{id}"), &Value::Null).await
    }

    /// A whole list, page by page; answers the items of each page, and the sync token of the last.
    pub async fn pages(&self, query: &str) -> (Vec<Vec<Value>>, String) {
        let mut pages = Vec::new();
        let mut page = String::new();
        loop {
            let body = self.done("GET", &format!("{EVENTS}?{query}{page}"), &Value::Null).await;
            pages.push(body["items"].as_array().unwrap().clone());
            match (body["nextPageToken"].as_str(), body["nextSyncToken"].as_str()) {
                (Some(next), None) => page = format!("&pageToken={}", encoded(next)),
                (None, Some(token)) => return (pages, token.to_owned()),
                both => panic!("one token a page, not {both:?}"),
            }
        }
    }

    /// A whole list as one, and its sync token.
    pub async fn list(&self, query: &str) -> (Vec<Value>, String) {
        let (pages, token) = self.pages(query).await;
        (pages.concat(), token)
    }

    /// What changed since a sync token, and the next one.
    pub async fn since(&self, token: &str) -> (Vec<Value>, String) {
        self.list(&format!("syncToken={}", encoded(token))).await
    }
}

pub fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

pub fn ids(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["id"].as_str().unwrap()).collect()
}

/// An hour on that day of March 2026, from that hour in Berlin.
pub fn meeting(summary: &str, day: u8, hour: u8) -> Value {
    let at = |hour| json!({ "dateTime": format!("2026-03-{day:02}T{hour:02}:00:00"), "timeZone": "Europe/Berlin" });
    json!({ "summary": summary, "start": at(hour), "end": at(hour + 1) })
}

/// The same with more members.
pub fn with(mut event: Value, more: Value) -> Value {
    event.as_object_mut().unwrap().extend(object(more));
    event
}

pub fn guests(emails: &[&str]) -> Value {
    json!(emails.iter().map(|email| json!({ "email": email })).collect::<Vec<_>>())
}
