//! A client with a token, and a Microsoft whose clock the test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use serde_json::{Value, json};
use simulators::microsoft::{CLIENT_ID, CLIENT_SECRET, Consent, TENANT};
use simulators::{Clock, Hosting, MicrosoftOptions, MicrosoftSimulator};

use crate::http::{self, Got};
use crate::replay::object;

pub const ANNA: &str = "anna@kanzlei.example";
pub const BERND: &str = "bernd@kanzlei.example";
pub const CLARA: &str = "clara@kanzlei.example";
pub const REDIRECT: &str = "https://sync.example/connect/microsoft/callback";
pub const SCOPES: &str =
    "offline_access openid User.Read https://graph.microsoft.com/Calendars.ReadWrite MailboxSettings.Read";
/// The pair of RFC 7636.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// The simulator and its clock.
pub struct World {
    pub microsoft: MicrosoftSimulator,
    seconds: Arc<AtomicI64>,
}

pub fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

pub fn form(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

impl World {
    pub async fn start(options: MicrosoftOptions) -> Self {
        let begin: Timestamp = "2026-03-02T08:00:00Z".parse().unwrap();
        let seconds = Arc::new(AtomicI64::new(begin.as_second()));
        let read = Arc::clone(&seconds);
        let clock = Clock::from_fn(move || Timestamp::from_second(read.load(Ordering::SeqCst)).unwrap());
        let hosting = Hosting { clock, ..Hosting::default() };
        let microsoft = MicrosoftSimulator::start(MicrosoftOptions { hosting, ..options }).await.unwrap();
        Self { microsoft, seconds }
    }

    /// One that goes by the wall clock.
    pub fn over(microsoft: MicrosoftSimulator) -> Self {
        Self { microsoft, seconds: Arc::default() }
    }

    pub async fn new() -> Self {
        Self::start(MicrosoftOptions::default()).await
    }

    pub fn pass(&self, seconds: i64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    pub fn control(&self, method: &str, path: &str, body: Value) -> Value {
        self.microsoft.control(method, path, &body).unwrap()
    }

    pub async fn authorize(&self, query: &str) -> Got {
        let path = format!("/{TENANT}/oauth2/v2.0/authorize?{query}");
        http::send(&self.microsoft.base_url(), "GET", &path, &[], "").await.unwrap()
    }

    /// The code that a person's consent gives.
    pub async fn code(&self, address: &str, scopes: &str) -> String {
        self.microsoft.set_consent(Consent::As(address.to_owned()));
        let query = form(&[
            ("client_id", CLIENT_ID),
            ("response_type", "code"),
            ("redirect_uri", REDIRECT),
            ("scope", scopes),
            ("state", "s"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ]);
        let got = self.authorize(&query).await;
        self.microsoft.set_consent(Consent::Page);
        assert_eq!(got.status, 302, "{}", String::from_utf8_lossy(&got.body));
        let location = url::Url::parse(got.header("location").unwrap()).unwrap();
        location.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned()
    }

    /// A token request with the client's id and secret.
    pub async fn token(&self, pairs: &[(&str, &str)]) -> Got {
        let mut all = vec![("client_id", CLIENT_ID), ("client_secret", CLIENT_SECRET)];
        all.extend_from_slice(pairs);
        self.raw_token(TENANT, &all).await
    }

    pub async fn raw_token(&self, tenant: &str, pairs: &[(&str, &str)]) -> Got {
        let path = format!("/{tenant}/oauth2/v2.0/token");
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        http::send(&self.microsoft.base_url(), "POST", &path, &headers, &form(pairs)).await.unwrap()
    }

    pub async fn redeem(&self, code: &str) -> Got {
        self.token(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ])
        .await
    }

    pub async fn refresh(&self, token: &str) -> Got {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    /// The tokens of a person who connects.
    pub async fn connect(&self, address: &str) -> Value {
        let got = self.redeem(&self.code(address, SCOPES).await).await;
        assert_eq!(got.status, 200, "{}", got.json());
        got.json()
    }

    pub async fn client(&self, address: &str) -> Client {
        let tokens = self.connect(address).await;
        self.client_with(tokens["access_token"].as_str().unwrap())
    }

    pub fn client_with(&self, token: &str) -> Client {
        Client { url: self.microsoft.base_url(), token: token.to_owned(), prefer: None }
    }

    /// Bodies that the description has not would be seen here.
    pub fn assert_inside_description(&self) {
        assert_eq!(self.microsoft.outside_description(), Vec::<Value>::new());
    }

    pub fn mails(&self) -> Vec<(String, String)> {
        let text = |mail: &Value, name: &str| mail[name].as_str().unwrap().to_owned();
        self.microsoft.mails().iter().map(|mail| (text(mail, "kind"), text(mail, "to"))).collect()
    }
}

/// Who asks.
#[derive(Clone)]
pub struct Client {
    url: String,
    pub token: String,
    prefer: Option<String>,
}

impl Client {
    pub fn preferring(&self, prefer: &str) -> Self {
        Self { prefer: Some(prefer.to_owned()), ..self.clone() }
    }

    pub async fn with(&self, method: &str, path: &str, body: &Value, headers: &[(&str, &str)]) -> Got {
        let bearer = format!("Bearer {}", self.token);
        let mut all = vec![("Authorization", bearer.as_str())];
        if !body.is_null() {
            all.push(("Content-Type", "application/json"));
        }
        if let Some(prefer) = &self.prefer {
            all.push(("Prefer", prefer));
        }
        all.extend_from_slice(headers);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let path = if path.starts_with('/') { format!("/v1.0{path}") } else { path.replace(&self.url, "") };
        http::send(&self.url, method, &path, &all, &body).await.unwrap()
    }

    pub async fn send(&self, method: &str, path: &str, body: &Value) -> Got {
        self.with(method, path, body, &[]).await
    }

    pub async fn get(&self, path: &str) -> Value {
        let got = self.send("GET", path, &Value::Null).await;
        assert_eq!(got.status, 200, "{path}: {}", got.json());
        got.json()
    }

    pub async fn create(&self, body: &Value) -> Value {
        let got = self.send("POST", "/me/events", body).await;
        assert_eq!(got.status, 201, "{}", got.json());
        got.json()
    }

    pub async fn patch(&self, event: &Value, body: &Value) -> Value {
        let got = self.send("PATCH", &event_path(event), body).await;
        assert_eq!(got.status, 200, "{}", got.json());
        got.json()
    }

    pub async fn delete(&self, event: &Value) {
        assert_eq!(self.send("DELETE", &event_path(event), &Value::Null).await.status, 204);
    }

    /// All pages from a link or a first request on: the items, and the delta link.
    pub async fn round(&self, link: &str) -> (Vec<Value>, String) {
        let mut link = link.to_owned();
        let mut items = Vec::new();
        for _ in 0..1_000 {
            let page = self.get(&link).await;
            simulators::microsoft::conforms("eventDeltaPage", &page).unwrap();
            items.extend(page["value"].as_array().unwrap().clone());
            match (page["@odata.nextLink"].as_str(), page["@odata.deltaLink"].as_str()) {
                (Some(next), None) => next.clone_into(&mut link),
                (None, Some(delta)) => return (items, delta.to_owned()),
                links => panic!("{links:?}"),
            }
        }
        panic!("a round without an end");
    }
}

pub fn event_path(event: &Value) -> String {
    format!("/me/events/{}", encoded(event["id"].as_str().unwrap()))
}

/// An event of an hour, in Berlin.
pub fn meeting(subject: &str, date: &str, hour: u8) -> Value {
    json!({
        "subject": subject,
        "start": { "dateTime": format!("{date}T{hour:02}:00:00"), "timeZone": "W. Europe Standard Time" },
        "end": { "dateTime": format!("{date}T{:02}:00:00", hour + 1), "timeZone": "W. Europe Standard Time" },
    })
}

pub fn with(mut event: Value, members: Value) -> Value {
    event.as_object_mut().unwrap().extend(object(members));
    event
}

pub fn attendees(addresses: &[&str]) -> Value {
    let attendee = |address: &&str| json!({ "type": "required", "emailAddress": { "address": address } });
    json!({ "attendees": addresses.iter().map(attendee).collect::<Vec<_>>() })
}

pub fn weekly(start: &str, day: &str) -> Value {
    json!({ "recurrence": {
        "pattern": { "type": "weekly", "interval": 1, "daysOfWeek": [day] },
        "range": { "type": "noEnd", "startDate": start },
    }})
}

pub fn code_of(got: &Got) -> String {
    let body = got.json();
    simulators::microsoft::conforms("error", &body).unwrap();
    body["error"]["code"].as_str().unwrap().to_owned()
}
