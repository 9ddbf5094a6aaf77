//! A simulated Microsoft with somebody who has connected, and their calendar.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use connector_msgraph::{MsGraph, Settings, default_limits};
use flows::calendar::client::{CalendarClient, CalendarProvider as _, Found, Item, PageAnswer, PageRead};
use flows::calendar::cursor::{Next, Request};
use flows::calendar::event::{Event, When, Window};
use flows::calendar::outlook::Outlook;
use flows::calendar::sides::EventSide;
use http_client::Limits;
use jiff::{Timestamp, ToSpan as _, Zoned};
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use shared::clock::ManualClock;
use shared::fault::Fault;
use shared::meter::NoMeter;
use shared::ports::token_source::TokenSource;
use simulators::microsoft::{CLIENT_ID, CLIENT_SECRET, Consent, TENANT};
use simulators::{Clock, Hosting, MicrosoftOptions, MicrosoftSimulator};
use vault::{AccountId, CrmUser, ProviderName};

use crate::object;

pub const ANNA: &str = "anna@kanzlei.example";
const REDIRECT: &str = "https://sync.example/connect/microsoft/callback";
const SCOPES: &str = "offline_access openid User.Read Calendars.ReadWrite MailboxSettings.Read";
/// The pair of RFC 7636.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub fn now() -> Timestamp {
    "2026-03-02T08:00:00Z".parse().unwrap()
}

/// Anna's tokens, had from the simulated identity platform.
#[derive(Debug)]
pub struct Tokens {
    url: String,
    browser: reqwest::Client,
    refresh: SecretString,
    held: tokio::sync::Mutex<Option<SecretString>>,
    claims: Mutex<Option<String>>,
    pub refused: AtomicUsize,
}

#[expect(clippy::disallowed_methods, reason = "the test is a browser")]
fn browser() -> reqwest::Client {
    let _installed = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

impl Tokens {
    async fn connect(microsoft: &MicrosoftSimulator) -> Self {
        let (url, browser) = (microsoft.base_url(), browser());
        microsoft.set_consent(Consent::As(ANNA.to_owned()));
        let mut page = Url::parse(&format!("{url}/{TENANT}/oauth2/v2.0/authorize")).unwrap();
        page.query_pairs_mut().extend_pairs([
            ("client_id", CLIENT_ID),
            ("response_type", "code"),
            ("redirect_uri", REDIRECT),
            ("scope", SCOPES),
            ("state", "s"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ]);
        let answer = browser.get(page).send().await.unwrap();
        let location = Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
        let code = location.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
        let mut tokens = Self {
            url,
            browser,
            refresh: SecretString::from(String::new()),
            held: tokio::sync::Mutex::default(),
            claims: Mutex::default(),
            refused: AtomicUsize::new(0),
        };
        let got = tokens
            .ask(&[
                ("grant_type", "authorization_code"),
                ("code", &code),
                ("redirect_uri", REDIRECT),
                ("code_verifier", VERIFIER),
            ])
            .await;
        tokens.refresh = SecretString::from(got["refresh_token"].as_str().unwrap().to_owned());
        tokens
    }

    async fn ask(&self, pairs: &[(&str, &str)]) -> Value {
        let mut form = Url::parse("http://form").unwrap();
        let own = [("client_id", CLIENT_ID), ("client_secret", CLIENT_SECRET)];
        form.query_pairs_mut().extend_pairs(own).extend_pairs(pairs);
        let request = self
            .browser
            .post(format!("{}/{TENANT}/oauth2/v2.0/token", self.url))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.query().unwrap().to_owned());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }
}

#[async_trait]
impl TokenSource for Tokens {
    async fn token(&self) -> Result<SecretString, Fault> {
        let mut held = self.held.lock().await;
        if let Some(token) = &*held {
            return Ok(token.clone());
        }
        let claims = self.claims.lock().unwrap().take();
        let mut pairs =
            vec![("grant_type", "refresh_token"), ("refresh_token", self.refresh.expose_secret())];
        pairs.extend(claims.as_ref().map(|claims| ("claims", claims.as_str())));
        let got = self.ask(&pairs).await;
        let token = SecretString::from(got["access_token"].as_str().unwrap().to_owned());
        *held = Some(token.clone());
        Ok(token)
    }

    async fn refused(&self, token: &SecretString, claims: Option<&str>) -> Result<(), Fault> {
        self.refused.fetch_add(1, Ordering::SeqCst);
        let mut held = self.held.lock().await;
        if held.as_ref().is_some_and(|held| held.expose_secret() == token.expose_secret()) {
            *held = None;
        }
        let claims = claims.map(|claims| String::from_utf8(STANDARD.decode(claims).unwrap()).unwrap());
        *self.claims.lock().unwrap() = claims;
        Ok(())
    }
}

pub struct World {
    pub microsoft: MicrosoftSimulator,
    pub outlook: Outlook,
    pub tokens: Arc<Tokens>,
    pub calendar: Arc<dyn CalendarClient>,
}

impl World {
    pub async fn new() -> Self {
        Self::start(MicrosoftOptions::default()).await
    }

    pub async fn start(options: MicrosoftOptions) -> Self {
        let hosting = Hosting { clock: Clock::from_fn(now), ..Hosting::default() };
        let microsoft = MicrosoftSimulator::start(MicrosoftOptions { hosting, ..options }).await.unwrap();
        let clock = Arc::new(ManualClock::new(now()));
        let outlook = Outlook::new(settings(&microsoft), Arc::new(NoMeter), clock);
        let tokens = Arc::new(Tokens::connect(&microsoft).await);
        let calendar = outlook.open(&anna(), tokens.clone(), None).unwrap();
        Self { microsoft, outlook, tokens, calendar }
    }

    /// The mailbox by its connector alone.
    pub fn graph(&self) -> MsGraph {
        let clock = Arc::new(ManualClock::new(now()));
        let tokens = self.tokens.clone();
        MsGraph::new(&settings(&self.microsoft), "anna", tokens, Arc::new(NoMeter), clock).unwrap()
    }

    pub fn control(&self, path: &str, body: Value) -> Value {
        self.microsoft.control("POST", path, &body).unwrap()
    }

    /// Requests that reached the simulator, of this method and path.
    pub fn count(&self, operation: &str) -> u64 {
        self.microsoft.counters().get(operation).copied().unwrap_or_default()
    }

    pub fn seed(&self, fields: Value) -> String {
        self.microsoft.seed(object(fields)).unwrap()
    }

    pub fn edit(&self, id: &str, fields: Value) {
        self.microsoft.edit_as_person(id, &object(fields)).unwrap();
    }

    /// How many events there are, in whoever's calendar.
    pub fn events(&self) -> usize {
        self.microsoft.records().len()
    }

    pub async fn page(&self, request: &Request, events_max: u16) -> Option<PageRead> {
        page(&*self.calendar, request, events_max).await
    }

    /// All pages of a round: what was in them, the token, and how many there were.
    pub async fn round(&self, first: Request, events_max: u16) -> (Vec<Item>, Option<String>, usize) {
        round(&*self.calendar, first, events_max).await
    }

    pub async fn get(&self, id: &str) -> EventSide {
        event(self.calendar.get(id).await.unwrap().unwrap())
    }

    /// Nothing was asked that Graph has not.
    pub fn check(&self) {
        assert_eq!(self.microsoft.outside_description(), Vec::<Value>::new());
    }
}

fn settings(microsoft: &MicrosoftSimulator) -> Settings {
    Settings {
        url: Url::parse(&format!("{}/v1.0", microsoft.base_url())).unwrap(),
        limits: Limits { requests_per_second_max: 1_000, ..default_limits() },
        fleet: None,
    }
}

pub fn anna() -> AccountId {
    AccountId::of_user(ProviderName::new("microsoft").unwrap(), CrmUser::new("anna").unwrap())
}

pub async fn page(calendar: &dyn CalendarClient, request: &Request, events_max: u16) -> Option<PageRead> {
    match calendar.page(request, events_max).await.unwrap() {
        PageAnswer::Page(page) => Some(page),
        PageAnswer::Expired => None,
    }
}

pub async fn round(
    calendar: &dyn CalendarClient,
    first: Request,
    events_max: u16,
) -> (Vec<Item>, Option<String>, usize) {
    let (mut request, mut items) = (first, Vec::new());
    for pages in 1..500 {
        let page = page(calendar, &request, events_max).await.expect("a page");
        items.extend(page.items);
        match page.next {
            Next::Page(page) => request = Request::Page { page, token: None },
            Next::End(token) => return (items, token, pages),
        }
    }
    panic!("a round without an end");
}

pub fn window() -> Window {
    Window { from: "2026-03-01T00:00:00Z".parse().unwrap(), to: "2026-04-01T00:00:00Z".parse().unwrap() }
}

pub fn event(found: Found) -> EventSide {
    match found {
        Found::Event(side) => *side,
        Found::Unreadable { why, .. } => panic!("{why}"),
    }
}

pub fn found(item: &Item) -> &EventSide {
    match item {
        Item::Found(found) => match &**found {
            Found::Event(side) => side,
            Found::Unreadable { why, .. } => panic!("{why}"),
        },
        Item::Removed { .. } => panic!("{item:?}"),
    }
}

/// An hour in Vienna, which Outlook has as Berlin.
pub fn hour(start: &str) -> When {
    let start: Zoned = format!("{start}[Europe/Vienna]").parse().unwrap();
    let end = start.checked_add(1.hour()).unwrap();
    When::Timed { start, end }
}

pub fn simple(subject: &str) -> Event {
    Event::new(subject, hour("2026-03-09T10:00"))
}

/// An event of an hour as a person makes it.
pub fn meeting(subject: &str, date: &str, hour: u8) -> Value {
    json!({
        "subject": subject,
        "start": { "dateTime": format!("{date}T{hour:02}:00:00"), "timeZone": "W. Europe Standard Time" },
        "end": { "dateTime": format!("{date}T{:02}:00:00", hour + 1), "timeZone": "W. Europe Standard Time" },
    })
}

/// The same, every week.
pub fn weekly(subject: &str, date: &str, hour: u8, day: &str) -> Value {
    let mut event = meeting(subject, date, hour);
    event["recurrence"] = json!({
        "pattern": { "type": "weekly", "interval": 1, "daysOfWeek": [day] },
        "range": { "type": "noEnd", "startDate": date },
    });
    event
}
