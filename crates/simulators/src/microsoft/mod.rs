//! Microsoft: the identity platform (`/{tenant}/oauth2/v2.0/…`) and the calendar part of Graph (`/v1.0/…`) on one listener.
//!
//! Every request of Graph is held against the vendor's own description (`data/`, see [`conforms`]): a path, a query option
//! or a body that it has not is refused as Graph does, and stands in [`Simulator::outside_description`], which a test
//! asserts to be empty. What the real service has and this one has not is answered 501, so that no test takes it for a
//! real answer.
//!
//! Where the vendor is silent, the harder case for a client is simulated, marked `[A]` (assumption):
//! - `[A]` a PATCH that names a member which attendees are told about sends mail, whether or not it differs;
//! - `[A]` an attendee's copy takes only members that are the attendee's own; others are 403;
//! - `[A]` a PATCH of a master that moves its start or changes its recurrence drops its exceptions;
//! - `[A]` a transaction whose event is gone, or whose body was another one, is 409; it is forgotten after hours;
//! - `[A]` more than four items of a batch for one mailbox, of which none waits for another, are throttled.
//!
//! A person's hand: `seed`, `create_as_person` and `edit_as_person` take an event's members and `mailbox` (an address; the
//! first one when absent), `calendar` (an id), and for an event from outside `organizer` with `iCalUId`. An edit takes
//! `response` (`accepted`, `tentativelyAccepted`, `declined`) with `sendResponse`, `calendar` (moves it there) and
//! `housekeeping` (a new version without a change) instead. `originalStartTimeZone` and `originalEndTimeZone` can be
//! `tzone://Microsoft/Custom`. Ids are those of [`Simulator::records`], those of occurrences
//! too. The other control requests are listed in [`control`].

mod answers;
mod ask;
mod batch;
mod bearer;
mod calendars;
pub mod control;
mod delta;
mod description;
mod event;
mod events;
mod grants;
mod graph;
mod identity;
mod ids;
mod lists;
mod meetings;
mod notifications;
mod prefer;
mod query;
mod recurrence;
mod render;
mod screen;
mod state;
mod subscriptions;
mod text;
mod throttle;
mod token;
mod zones;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub use delta::TokenDeath;
pub use description::conforms;
pub use identity::Consent;

use delta::Deaths;
use events::By;
use notifications::Odds;
use throttle::Throttle;
use token::Denial;

use crate::deliveries;
use crate::dice::Dice;
use crate::host::{Hosting, Simulator};
use crate::journal::ActorKind;
use crate::store::Store;
use crate::upstream::{Delivery, Record, Upstream};
use crate::wire::{Answer, Request};

/// Id of the registered application of [`MicrosoftOptions::default`].
pub const CLIENT_ID: &str = "00001111-aaaa-2222-bbbb-3333cccc4444";
/// Its secret; it holds what a form must encode.
pub const CLIENT_SECRET: &str = "simulated~secret+with/odd=signs";
/// The tenant.
pub const TENANT: &str = "84bd8158-6d4d-4958-8b9f-9d6445542f95";

/// A person with a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    /// Address and userPrincipalName, in lower case.
    pub address: String,
    /// Display name.
    pub name: String,
    /// Object id; made of the address.
    pub object_id: String,
    /// Time zone of the mailbox, a Windows name.
    pub zone: String,
}

impl Mailbox {
    /// A mailbox in Central Europe.
    #[must_use]
    pub fn new(address: &str, name: &str) -> Self {
        let address = address.to_lowercase();
        let hash = Sha256::digest(&address);
        let mut bytes = [0_u8; 16];
        bytes.copy_from_slice(&hash[..16]);
        let object_id = uuid::Uuid::from_bytes(bytes).to_string();
        Self { address, name: name.to_owned(), object_id, zone: "W. Europe Standard Time".to_owned() }
    }

    /// The id of its default calendar.
    #[must_use]
    pub fn default_calendar(&self) -> String {
        let hash = Sha256::digest(&self.address);
        ids::calendar(u64::from(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])))
    }
}

/// Settings of the simulated Microsoft. [`Simulator::configure`] takes those that have a name in the text below.
#[derive(Debug, Clone)]
pub struct MicrosoftOptions {
    /// Listener, folder, clock.
    pub hosting: Hosting,
    /// The tenant's id.
    pub tenant: String,
    /// The registered application.
    pub client_id: String,
    /// `client_secret`.
    pub client_secret: String,
    /// `redirect_uris`: those registered, compared exactly.
    pub redirect_uris: Vec<String>,
    /// What an administrator has given the application itself.
    pub application_permissions: Vec<String>,
    /// The people; more can be added by a control request.
    pub mailboxes: Vec<Mailbox>,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// `transaction_memory_hours`: how long a transactionId is remembered.
    pub transaction_memory_hours: u32,
    /// `revoke_used_refresh_tokens`: a refresh token is good for one use. The real service is kinder.
    pub revoke_used_refresh_tokens: bool,
    /// `loop_requests_max`: uses of one refresh token in five minutes, before a loop is detected.
    pub loop_requests_max: usize,
    /// `requests_max`: requests in ten minutes for one mailbox.
    pub requests_max: usize,
    /// `concurrent_requests_max`: requests at once for one mailbox.
    pub concurrent_requests_max: usize,
    /// `delta_token_hours`: how long a link is good; for ever when absent.
    pub delta_token_hours: Option<u32>,
    /// `delta_delay_seconds`: how long a change takes to show in a delta round.
    pub delta_delay_seconds: u32,
    /// `empty_page_chance`: share of pages that are empty and have a link all the same.
    pub empty_page_chance: f64,
    /// `replay_chance`: share of pages that begin with something shown before.
    pub replay_chance: f64,
    /// `deleted_occurrences_show`: whether a delta round shows the master when an occurrence was deleted.
    pub deleted_occurrences_show: bool,
    /// `notification_delay_seconds_max`: how late notifications come, at most.
    pub notification_delay_seconds_max: u32,
    /// `notification_loss`: share of notifications that never come.
    pub notification_loss: f64,
    /// `notification_duplicates`: share of notifications that come two to four times.
    pub notification_duplicates: f64,
    /// How often notifications are sent by themselves; never when absent.
    pub notification_interval: Option<Duration>,
}

impl Default for MicrosoftOptions {
    fn default() -> Self {
        Self {
            hosting: Hosting::default(),
            tenant: TENANT.to_owned(),
            client_id: CLIENT_ID.to_owned(),
            client_secret: CLIENT_SECRET.to_owned(),
            redirect_uris: vec!["https://sync.example/connect/microsoft/callback".to_owned()],
            application_permissions: vec![
                "Calendars.ReadWrite".to_owned(),
                "MailboxSettings.Read".to_owned(),
            ],
            mailboxes: vec![
                Mailbox::new("anna@kanzlei.example", "Anna Anwalt"),
                Mailbox::new("bernd@kanzlei.example", "Bernd Bär"),
                Mailbox::new("clara@kanzlei.example", "Clara Kurz"),
            ],
            seed: 1,
            transaction_memory_hours: 24,
            revoke_used_refresh_tokens: false,
            loop_requests_max: 30,
            requests_max: 10_000,
            concurrent_requests_max: 4,
            delta_token_hours: None,
            delta_delay_seconds: 0,
            empty_page_chance: 0.0,
            replay_chance: 0.0,
            deleted_occurrences_show: true,
            notification_delay_seconds_max: 0,
            notification_loss: 0.0,
            notification_duplicates: 0.0,
            notification_interval: None,
        }
    }
}

/// The simulated system.
#[derive(Debug)]
pub struct Microsoft {
    options: MicrosoftOptions,
    base_url: String,
    mailboxes: Vec<Mailbox>,
    consent: Consent,
    is_secret_expired: bool,
    /// Mailboxes whose tokens are answered with a challenge, and since when.
    challenged: BTreeMap<String, Timestamp>,
    /// What is wrong with a mailbox.
    problems: BTreeMap<String, String>,
    deaths: BTreeMap<String, Deaths>,
    token_errors: VecDeque<Denial>,
    token_requests: BTreeMap<String, u64>,
    /// When each refresh token was used lately.
    uses: BTreeMap<String, VecDeque<Timestamp>>,
    throttle: Throttle,
    dice: Dice,
}

/// A running Microsoft.
pub type MicrosoftSimulator = Simulator<Microsoft>;

impl MicrosoftSimulator {
    /// Starts it on 127.0.0.1, with its notifications if the options give an interval.
    ///
    /// # Errors
    /// When the port is taken or the folder cannot be used.
    pub async fn start(options: MicrosoftOptions) -> io::Result<Self> {
        let (hosting, interval) = (options.hosting.clone(), options.notification_interval);
        let microsoft = Microsoft {
            base_url: String::new(),
            mailboxes: options.mailboxes.clone(),
            consent: Consent::default(),
            is_secret_expired: false,
            challenged: BTreeMap::new(),
            problems: BTreeMap::new(),
            deaths: BTreeMap::new(),
            token_errors: VecDeque::new(),
            token_requests: BTreeMap::new(),
            uses: BTreeMap::new(),
            throttle: Throttle::new(options.seed),
            dice: Dice::new(options.seed),
            options,
        };
        let simulator = Self::host(microsoft, hosting).await?;
        if let Some(interval) = interval {
            tokio::spawn(deliveries::run(simulator.shared().clone(), interval));
        }
        Ok(simulator)
    }

    /// Sends the notifications that are due by the simulator's clock; answers the number of requests sent.
    pub async fn deliver_notifications(&self) -> usize {
        deliveries::deliver_due(self.shared()).await
    }

    /// Every mail that a write sent: `kind` (`invitation`, `update`, `cancellation`, `response`), `from`, `to`, `at`,
    /// `iCalUId`, and `actor_kind`: whether a client (`api`) or a `person` wrote.
    #[must_use]
    pub fn mails(&self) -> Vec<Value> {
        state::mails(&self.shared().core().store)
    }

    /// Those of [`Self::mails`] that a client's writes sent: what a sync must not do.
    #[must_use]
    pub fn mails_by_clients(&self) -> Vec<Value> {
        let is_api = |mail: &Value| mail["actor_kind"] == json!(ActorKind::Api);
        self.mails().into_iter().filter(is_api).collect()
    }

    /// Requests that the vendor's description does not have (the newest thousand); none, if all is well.
    #[must_use]
    pub fn outside_description(&self) -> Vec<Value> {
        graph::outside(&self.shared().core().store)
    }

    /// Requests to the token endpoint: by kind of grant, and of refreshes by mailbox (`refresh_token anna@…`).
    #[must_use]
    pub fn token_requests(&self) -> BTreeMap<String, u64> {
        self.shared().core().upstream.token_requests.clone()
    }

    /// What the authorisation page does without being asked.
    pub fn set_consent(&self, consent: Consent) {
        self.shared().core().upstream.consent = consent;
    }
}

impl Microsoft {
    /// A mailbox by address or object id.
    fn mailbox(&self, user: &str) -> Option<&Mailbox> {
        self.mailboxes
            .iter()
            .find(|mailbox| mailbox.address.eq_ignore_ascii_case(user) || mailbox.object_id == user)
    }

    fn odds(&self) -> Odds {
        Odds {
            delay_seconds_max: self.options.notification_delay_seconds_max,
            loss: self.options.notification_loss,
            duplicates: self.options.notification_duplicates,
            seed: self.options.seed,
        }
    }

    /// `http://…/v1.0`, as the client calls this machine: it may know it by another name than the listener does.
    fn root(&self, request: &Request) -> String {
        let host = request.header("Host").map(|host| format!("http://{host}"));
        format!("{}/v1.0", host.as_ref().unwrap_or(&self.base_url))
    }

    fn count_token_request(&mut self, kind: &str, mailbox: Option<&str>) {
        let known = ["authorization_code", "refresh_token", "client_credentials"];
        let kind = known.into_iter().find(|known| *known == kind).unwrap_or("other");
        *self.token_requests.entry(kind.to_owned()).or_default() += 1;
        if let Some(mailbox) = mailbox {
            *self.token_requests.entry(format!("{kind} {mailbox}")).or_default() += 1;
        }
    }

    fn next_token_error(&mut self) -> Option<Denial> {
        self.token_errors.pop_front()
    }

    /// Whether the same refresh token was used too often.
    fn is_looping(&mut self, now: Timestamp, token: &str, span: SignedDuration) -> bool {
        self.uses.retain(|_, uses| uses.back().is_some_and(|last| now.duration_since(*last) < span));
        let uses = self.uses.entry(token.to_owned()).or_default();
        while uses.front().is_some_and(|first| now.duration_since(*first) >= span) {
            uses.pop_front();
        }
        uses.push_back(now);
        uses.len() > self.options.loop_requests_max
    }

    /// 60 to 90 minutes.
    fn token_seconds(&mut self) -> u32 {
        3_600 + u32::try_from(self.dice.below(1_800)).unwrap_or(0)
    }

    /// An event or an occurrence by any of its ids, in whichever mailbox, for a person's hand.
    fn target(&self, store: &Store, id: &str) -> Result<events::Target, String> {
        let id = graph::decoded(id);
        let number = ids::read(&id).ok_or("no id of an event")?.number;
        let event = state::find(store, number).ok_or("no such event")?;
        let mailbox = self.mailbox(&event.mailbox).ok_or("no such mailbox")?;
        events::find(store, mailbox, None, &id).map_err(|refusal| refusal.message)
    }

    fn make(
        &self,
        store: &mut Store,
        now: Timestamp,
        by: &By,
        fields: &Record,
    ) -> Result<String, answers::Stop> {
        let mut fields = fields.clone();
        let refused = |message: &str| answers::Refusal::invalid(message);
        let mailbox = match fields.shift_remove("mailbox") {
            None => self.mailboxes.first(),
            Some(address) => address.as_str().and_then(|address| self.mailbox(address)),
        };
        let mailbox = mailbox.ok_or_else(|| refused("no such mailbox"))?.clone();
        let calendar = match fields.shift_remove("calendar") {
            None => mailbox.default_calendar(),
            Some(id) => id.as_str().unwrap_or_default().to_owned(),
        };
        if calendars::find(store, &mailbox, &calendar).is_none() {
            return Err(refused("no such calendar").into());
        }
        let body = description::read_event(Value::Object(fields)).map_err(|error| refused(&error))?;
        let event = self.create(store, now, by, &mailbox, &calendar, &body)?;
        Ok(ids::event(ids::Form::Immutable, event.number, event.revision, None))
    }
}

fn told(stop: answers::Stop) -> String {
    match stop {
        answers::Stop::Refused(refusal) => refusal.message,
        answers::Stop::Io(error) => error.to_string(),
    }
}

fn person(target: &events::Target) -> By {
    By { kind: ActorKind::Person, name: target.event.mailbox.clone() }
}

impl Upstream for Microsoft {
    const NAME: &'static str = "microsoft";

    fn answer(&mut self, store: &mut Store, now: Timestamp, request: &Request) -> io::Result<Answer> {
        match request.segments().as_slice() {
            ["v1.0", ..] => self.graph(store, now, request),
            [tenant, "oauth2", "v2.0", rest @ ..] => self.identity(store, now, request, tenant, rest),
            [tenant, "v2.0", ".well-known", "openid-configuration"] if request.method == "GET" => {
                let root = self.root(request).trim_end_matches("/v1.0").to_owned();
                let own = format!("{root}/{tenant}");
                Ok(Answer::json(
                    200,
                    &json!({
                        "issuer": format!("{own}/v2.0"),
                        "authorization_endpoint": format!("{own}/oauth2/v2.0/authorize"),
                        "token_endpoint": format!("{own}/oauth2/v2.0/token"),
                        "tenant_region_scope": "EU",
                    }),
                ))
            }
            _ => Ok(Answer::status(404)),
        }
    }

    fn page(&mut self, store: &mut Store, now: Timestamp, request: &Request) -> io::Result<Option<Answer>> {
        crate::screen::answer(self, store, now, request).map(Some)
    }

    fn set_base_url(&mut self, base_url: &str) {
        base_url.clone_into(&mut self.base_url);
    }

    fn empty_list(&self) -> Value {
        json!({ "value": [] })
    }

    fn unauthorized(&self) -> Answer {
        let refusal = bearer::unauthorized("Lifetime validation failed, the token is expired.");
        let body = json!({ "error": { "code": refusal.code, "message": refusal.message } });
        let answer = Answer::json(401, &body);
        refusal.headers.iter().fold(answer, |answer, (name, value)| answer.with(name, value))
    }

    fn records(&self, store: &Store) -> Vec<Value> {
        store
            .rows(state::EVENTS)
            .filter_map(|(_, row)| state::read(row))
            .map(|event| events::Target { event, slot: None }.journaled())
            .collect()
    }

    fn record(&self, store: &Store, id: &str) -> Option<Value> {
        self.target(store, id).ok().map(|target| target.journaled())
    }

    fn seed(&mut self, store: &mut Store, now: Timestamp, record: Record) -> io::Result<String> {
        let by = By { kind: ActorKind::Seed, name: "seed".to_owned() };
        self.make(store, now, &by, &record).map_err(|stop| io::Error::other(told(stop)))
    }

    fn edit(&mut self, store: &mut Store, now: Timestamp, id: &str, fields: &Record) -> Result<(), String> {
        let target = self.target(store, id)?;
        let by = person(&target);
        if let Some(response) = fields.get("response") {
            let response = response.as_str().unwrap_or_default();
            if !["accepted", "tentativelyAccepted", "declined"].contains(&response) {
                return Err("response is not accepted, tentativelyAccepted or declined".to_owned());
            }
            let is_told = fields.get("sendResponse") != Some(&json!(false));
            return self.respond(store, now, &by, target, response, is_told).map_err(told);
        }
        if let Some(calendar) = fields.get("calendar") {
            let calendar = calendar.as_str().unwrap_or_default();
            let mailbox = self.mailbox(&target.event.mailbox).ok_or("no such mailbox")?;
            calendars::find(store, mailbox, calendar).ok_or("no such calendar")?;
            return self.move_event(store, now, &by, target, calendar).map_err(told);
        }
        if fields.get("housekeeping") == Some(&json!(true)) {
            return self.keep_house(store, now, target).map_err(told);
        }
        let body = description::read_event(Value::Object(fields.clone()))?;
        self.change(store, now, &by, target, &body).map_err(told).map(|_| ())
    }

    fn create(&mut self, store: &mut Store, now: Timestamp, fields: &Record) -> Result<String, String> {
        let mailbox = fields.get("mailbox").and_then(Value::as_str).map(str::to_lowercase);
        let first = self.mailboxes.first().map(|mailbox| mailbox.address.clone());
        let by = By { kind: ActorKind::Person, name: mailbox.or(first).unwrap_or_default() };
        self.make(store, now, &by, fields).map_err(told)
    }

    fn remove(&mut self, store: &mut Store, now: Timestamp, id: &str) -> Result<(), String> {
        let target = self.target(store, id)?;
        let by = person(&target);
        self.delete(store, now, &by, target).map_err(told)
    }

    fn configure(&mut self, settings: &Record) -> Result<(), String> {
        settings.iter().try_for_each(|(key, value)| control::configure(&mut self.options, key, value))
    }

    fn control(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        method: &str,
        path: &[&str],
        body: &Value,
    ) -> Result<Value, String> {
        control::answer(self, store, now, method, path, body)
    }

    fn endpoint(&self, request: &Request) -> Option<String> {
        graph::endpoint(request)
    }

    fn lane(&self, store: &Store, request: &Request) -> Option<String> {
        self.lane_of(store, request)
    }

    fn lane_requests_max(&self) -> usize {
        self.options.concurrent_requests_max
    }

    fn crowded(&mut self) -> Answer {
        let refusal = self.throttle.crowded();
        let body = json!({ "error": { "code": refusal.code, "message": refusal.message } });
        let answer = Answer::json(429, &body);
        refusal.headers.iter().fold(answer, |answer, (name, value)| answer.with(name, value))
    }

    fn handshakes(&mut self, store: &Store, now: Timestamp, request: &Request) -> Vec<String> {
        match self.caller(store, now, request) {
            Ok(_) => subscriptions::handshakes(request),
            Err(_) => Vec::new(),
        }
    }

    fn next_delivery(&mut self, store: &mut Store, now: Timestamp) -> io::Result<Option<Delivery>> {
        self.next_notification(store, now)
    }

    fn settle_delivery(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        delivery: &Delivery,
        status: u16,
    ) -> io::Result<()> {
        self.settle_notification(store, now, delivery, status)
    }
}
