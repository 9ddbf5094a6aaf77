//! Google calendars through the flow's client, against the simulated Google over HTTP.

mod channels;
mod faults;
mod lists;
mod writes;

use std::sync::{Arc, Mutex, PoisonError};

use connector_google::Settings;
use flows::calendar::action::CreateToken;
use flows::calendar::client::{CalendarClient, CalendarProvider as _, Found, Written};
use flows::calendar::event::{Event, When};
use flows::calendar::google::GoogleCalendars;
use flows::calendar::sides::{EventSide, Guests, MeetingKind, MeetingRef};
use http_client::Limits;
use jiff::Zoned;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use shared::clock::SystemClock;
use shared::fault::Fault;
use shared::meter::NoMeter;
use shared::ports::token_source::TokenSource;
use simulators::google::GoogleOptions;
use simulators::{Clock, GoogleSimulator, Hosting};
use vault::{AccountId, CrmUser, ProviderName};

use crate::object;

const ANNA: &str = "anna@kanzlei.example";
const BERND: &str = "bernd@kanzlei.example";
/// What the product asks for.
const SCOPES: [&str; 2] = [
    "https://www.googleapis.com/auth/calendar.events",
    "https://www.googleapis.com/auth/calendar.calendarlist.readonly",
];

fn noon() -> jiff::Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn options() -> GoogleOptions {
    // A clock that stands still.
    let hosting = Hosting { clock: Clock::from_fn(noon), ..Hosting::default() };
    GoogleOptions { hosting, plain_http_channels: true, ..GoogleOptions::default() }
}

/// A user's tokens: one that was refused is followed by another, as after a refresh.
#[derive(Debug)]
struct Tokens {
    google: Arc<GoogleSimulator>,
    user: &'static str,
    present: Mutex<String>,
    refused: Mutex<u64>,
}

impl Tokens {
    fn new(google: &Arc<GoogleSimulator>, user: &'static str) -> Arc<Self> {
        let present = Mutex::new(Self::fresh(google, user));
        Arc::new(Self { google: Arc::clone(google), user, present, refused: Mutex::new(0) })
    }

    fn fresh(google: &GoogleSimulator, user: &str) -> String {
        google.connect_as_person(user, &SCOPES).unwrap().access_token
    }

    fn refusals(&self) -> u64 {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl TokenSource for Tokens {
    async fn token(&self) -> Result<SecretString, Fault> {
        Ok(SecretString::from(self.present.lock().unwrap().clone()))
    }

    async fn refused(&self, token: &SecretString, _claims: Option<&str>) -> Result<(), Fault> {
        let mut present = self.present.lock().unwrap();
        assert_eq!(token.expose_secret(), present.as_str());
        *self.refused.lock().unwrap() += 1;
        *present = Self::fresh(&self.google, self.user);
        Ok(())
    }
}

/// Google, and the product's view of it.
struct World {
    google: Arc<GoogleSimulator>,
    provider: GoogleCalendars,
}

impl World {
    async fn new(options: GoogleOptions) -> Self {
        Self::with_mail(options, false).await
    }

    async fn with_mail(options: GoogleOptions, send_mail: bool) -> Self {
        Self::at(Arc::new(GoogleSimulator::start(options).await.unwrap()), send_mail)
    }

    /// The same Google, seen by another process.
    fn again(&self) -> Self {
        Self::at(Arc::clone(&self.google), false)
    }

    fn at(google: Arc<GoogleSimulator>, send_mail: bool) -> Self {
        let url = format!("{}/calendar/v3", google.base_url()).parse().unwrap();
        let limits = Limits { requests_per_second_max: 10_000, concurrency_max: 10, ..Limits::default() };
        let settings = Settings { url, limits, fleet: None };
        let provider = GoogleCalendars::new(settings, send_mail, Arc::new(NoMeter), Arc::new(SystemClock));
        Self { google, provider }
    }

    fn open(&self, user: &'static str) -> Arc<dyn CalendarClient> {
        self.open_with(user, Tokens::new(&self.google, user), None)
    }

    fn open_with(&self, user: &str, tokens: Arc<Tokens>, calendar: Option<&str>) -> Arc<dyn CalendarClient> {
        let name = user.split('@').next().unwrap();
        let account = AccountId::of_user(ProviderName::new("google").unwrap(), CrmUser::new(name).unwrap());
        self.provider.open(&account, tokens, calendar).unwrap()
    }

    fn set(&self, settings: Value) {
        self.google.configure(&object(settings)).unwrap();
    }

    /// A person makes an event; answers `calendar:id`.
    fn person_adds(&self, user: &str, event: Value) -> String {
        let mut event = object(event);
        event.insert("calendarId".to_owned(), json!(user));
        event.insert("sendUpdates".to_owned(), json!("none"));
        self.google.create_as_person(&event).unwrap()
    }

    fn person_edits(&self, id: &str, fields: Value) {
        self.google.edit_as_person(id, &object(fields)).unwrap();
    }

    fn stored(&self, id: &str) -> Value {
        self.google.record(id).unwrap()
    }

    fn calls(&self, operation: &str) -> u64 {
        self.google.counters().get(operation).copied().unwrap_or(0)
    }

    /// What holds of every run: Google was asked for nothing that it does not describe, and nobody got mail.
    fn check(&self) {
        assert_eq!(self.google.outside_description(), [], "requests that Google does not describe");
        assert_eq!(self.google.mails_by_clients(), [], "mails");
    }
}

/// An hour on that day of March 2026, at ten in Berlin, as Google has it.
fn hour(summary: &str, day: u8) -> Value {
    let at = |hour| json!({ "dateTime": format!("2026-03-{day:02}T{hour:02}:00:00"), "timeZone": "Europe/Berlin" });
    json!({ "summary": summary, "start": at(10), "end": at(11) })
}

fn with(mut event: Value, more: Value) -> Value {
    event.as_object_mut().unwrap().extend(object(more));
    event
}

/// The same, as we have it.
fn meeting(subject: &str, day: u8) -> Event {
    let at = |hour| -> Zoned { format!("2026-03-{day:02}T{hour:02}:00[Europe/Berlin]").parse().unwrap() };
    Event::new(subject, When::Timed { start: at(10), end: at(11) })
}

fn record(id: &str) -> MeetingRef {
    MeetingRef { kind: MeetingKind::Meeting, id: id.to_owned() }
}

fn token(id: &str) -> CreateToken {
    CreateToken { calendar_id: "google/user/anna primary".to_owned(), record: record(id), after: None }
}

async fn create(client: &dyn CalendarClient, id: &str, event: &Event) -> EventSide {
    client.create(&token(id), event, Guests::Written).await.unwrap()
}

async fn read(client: &dyn CalendarClient, id: &str) -> EventSide {
    match client.get(id).await.unwrap() {
        Some(Found::Event(side)) => *side,
        other => panic!("{other:?}"),
    }
}

fn done<T: std::fmt::Debug>(written: Written<T>) -> T {
    match written {
        Written::Done(value) => value,
        other => panic!("{other:?}"),
    }
}

/// `calendar:id` without its calendar.
fn id_of(id: &str) -> &str {
    id.split_once(':').unwrap().1
}
