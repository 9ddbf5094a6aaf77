//! Google: OAuth 2.0 and Calendar v3, on one listener.
//!
//! | path | what |
//! |---|---|
//! | `GET /o/oauth2/v2/auth` | authorisation endpoint (`accounts.google.com`) |
//! | `POST /token`, `POST /revoke` | token endpoint and revocation (`oauth2.googleapis.com`) |
//! | `/calendar/v3/…` | Calendar (`www.googleapis.com`) |
//!
//! Every request to Calendar is held against the vendor's discovery document (`data/calendar.v3.json`, pruned to what is
//! simulated). What lies outside it (an unknown path or parameter, a member that the schema lacks) is answered 400 and
//! noted in the journal as [`OUTSIDE_DESCRIPTION`]; the real service is said to pass over unknown members, which hides a
//! mistake.
//!
//! Each guest who is a user has a copy of the event in his primary calendar, with the same id and iCalUID; what is shared
//! follows the organiser's copy, what is private (reminders, colour, `extendedProperties.private`, …) stays. Each mail
//! that a write would have sent is in the journal as [`MAIL`].
//!
//! Requests are counted by method id (`calendar.events.list`, …), `oauth.authorize`, `oauth.token.refresh_token`,
//! `oauth.token.authorization_code`, `oauth.token.jwt_bearer` and `oauth.revoke`. The control API has, beside what every system has,
//! `POST /_control/connect` with `{"user", "scopes"}`: tokens as if that user had just agreed. Events go by
//! `calendar:id` there; a person's fields may hold `calendarId`, `sendUpdates`, `responseStatus` (his answer to an
//! invitation) and `splitAt` ("this and following").
//!
//! Where the vendor's behaviour is not known, the harder case for a client is simulated, marked `[A]`:
//! - `[A]` without `sendUpdates`, guests without a Google calendar are written to;
//! - `[A]` every accepted write gives a new etag, also one that changes nothing;
//! - `[A]` changes of events before `timeMin` of the full list come in increments, and so do cancelled ones that were
//!   never shown; deletions bring no more than what the description calls sure;
//! - `[A]` a sync token with other parameters than those of its full list is 400, as is a page token;
//! - `[A]` when a series' times or rule change, occurrences that were changed before and no longer fit are cancelled;
//! - `[A]` what is changed in a series leaves those of its occurrences alone that were changed before;
//! - `[A]` revoking any token ends the whole consent.
//!
//! Not simulated: batches, conferences that are made on request
//! (`conferenceData` is kept as given).

mod answers;
mod calendars;
mod channels;
mod consent;
mod description;
mod event;
mod events;
mod events_list;
mod fields;
mod list;
mod mails;
mod options;
mod person;
mod quota;
mod recurrence;
mod screen;
mod series;
mod service_accounts;
mod times;
mod tokens;
mod write;

use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};

use self::answers::{Refusal, auth_error, bad_request, insufficient_permissions};
use self::description::{Call, Description};
use self::fields::Selection;
use self::options::{Effect, Pending};
use self::quota::Quota;
use self::tokens::Grant;
use self::write::By;
use crate::deliveries;
use crate::dice::Dice;
use crate::host::{Core, Simulator};
use crate::journal::{ActorKind, JournalEntry, Operation};
use crate::store::{Note, Store};
use crate::upstream::{Delivery, Record, Upstream};
use crate::wire::{Answer, Request};

pub use self::service_accounts::GoogleServiceAccount;

pub use self::options::{
    AccessRole, Consent, ForcedError, GoogleCalendar, GoogleOptions, GoogleUser, PushOptions, RefreshRotation,
};

/// Name in the journal of a request that lies outside the vendor's description.
pub const OUTSIDE_DESCRIPTION: &str = "OutsideDescription";
/// Name in the journal of a mail that a write would have sent.
pub const MAIL: &str = mails::ENTITY;

/// The simulated system.
#[derive(Debug)]
pub struct Google {
    options: GoogleOptions,
    base_url: String,
    description: &'static Description,
    pending: Vec<Pending>,
    refuse_refresh: Option<String>,
    expire_at_page: Option<u32>,
    quota: Quota,
    push_dice: Dice,
}

/// A running Google.
pub type GoogleSimulator = Simulator<Google>;

/// What a client holds after a user agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoogleTokens {
    /// Refresh token.
    pub refresh_token: String,
    /// Access token.
    pub access_token: String,
}

impl GoogleSimulator {
    /// Starts it on 127.0.0.1, with its notifications if the options give an interval.
    ///
    /// # Errors
    /// When the port is taken, the folder cannot be used, or the description cannot be read.
    pub async fn start(options: GoogleOptions) -> io::Result<Self> {
        let (hosting, interval) = (options.hosting.clone(), options.push_interval);
        let google = Google {
            push_dice: Dice::new(options.push.seed),
            options,
            base_url: String::new(),
            description: description::get().map_err(io::Error::other)?,
            pending: Vec::new(),
            refuse_refresh: None,
            expire_at_page: None,
            quota: Quota::default(),
        };
        let simulator = Self::host(google, hosting).await?;
        if let Some(interval) = interval {
            tokio::spawn(deliveries::run(simulator.shared().clone(), interval));
        }
        Ok(simulator)
    }

    /// Sends the notifications that are due; answers the number of requests sent.
    pub async fn deliver_notifications(&self) -> usize {
        deliveries::deliver_due(self.shared()).await
    }

    /// The mails that writes would have sent, oldest first.
    #[must_use]
    pub fn mails(&self) -> Vec<JournalEntry> {
        self.journal_of(MAIL)
    }

    /// Those of [`Self::mails`] that a client's writes would have sent: what a sync must not do.
    #[must_use]
    pub fn mails_by_clients(&self) -> Vec<JournalEntry> {
        self.mails().into_iter().filter(|mail| mail.actor_kind == ActorKind::Api).collect()
    }

    /// The requests that lay outside the vendor's description.
    #[must_use]
    pub fn outside_description(&self) -> Vec<JournalEntry> {
        self.journal_of(OUTSIDE_DESCRIPTION)
    }

    /// Answers an invitation as the owner of that calendar would; the event goes by `calendar:id`.
    ///
    /// # Errors
    /// When he is not invited.
    pub fn answer_invitation_as_person(&self, id: &str, response_status: &str) -> Result<(), String> {
        let fields = json!({ "responseStatus": response_status });
        self.edit_as_person(id, &fields.as_object().cloned().unwrap_or_default())
    }

    /// Tokens as if this user had just agreed to these scopes in the browser.
    ///
    /// # Errors
    /// When there is no such user, or the state cannot be saved.
    pub fn connect_as_person(&self, user: &str, scopes: &[&str]) -> io::Result<GoogleTokens> {
        let now = self.shared().now();
        let mut core = self.shared().core();
        let Core { upstream, store } = &mut *core;
        upstream.connect(store, now, user, scopes)
    }
}

impl Google {
    fn connect(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        user: &str,
        scopes: &[&str],
    ) -> io::Result<GoogleTokens> {
        self.settle(store, now)?;
        if !self.options.users.iter().any(|known| known.email == user) {
            return Err(io::Error::other(format!("there is no user {user}")));
        }
        let agreed = tokens::Agreed {
            user: user.to_owned(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            redirect_uri: String::new(),
            challenge: None,
            is_offline: true,
            is_asked_again: true,
        };
        tokens::issue_code(store, now, &agreed)?;
        let scope = scopes.join(" ");
        let refresh_token = self.issue_refresh(store, now, user, &scope)?;
        let answer = self.issue_access(store, now, &self.options.client_id, user, &scope, None)?;
        let body: Value = serde_json::from_slice(&answer.body).map_err(io::Error::other)?;
        let access_token = body["access_token"].as_str().unwrap_or_default().to_owned();
        Ok(GoogleTokens { refresh_token, access_token })
    }

    /// Lays out what is not there yet, and does what settings have asked for.
    fn settle(&mut self, store: &mut Store, now: Timestamp) -> io::Result<()> {
        calendars::ensure(&self.options, store, now)?;
        for pending in std::mem::take(&mut self.pending) {
            match pending {
                Pending::WithdrawAccess(user) => tokens::withdraw(store, now, &user, ActorKind::Person)?,
                Pending::EndAccessTokens => tokens::end_access_tokens(store, now)?,
                Pending::ExpireSyncTokens => list::expire_tokens(store, now)?,
                Pending::Access { calendar, user, role } => {
                    calendars::set_role(store, now, &calendar, &user, role)?;
                }
            }
        }
        Ok(())
    }

    fn calendar_api(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        request: &Request,
        path: &[&str],
    ) -> io::Result<Answer> {
        let grant = match tokens::check_bearer(store, now, request) {
            Ok(grant) => grant,
            Err(refusal) => return Ok(refusal.answer()),
        };
        let call = match self.description.call(request, path) {
            Ok(call) => call,
            Err(problem) => {
                let note = Note {
                    operation: Operation::Create,
                    entity: OUTSIDE_DESCRIPTION,
                    record_id: format!("{} {}", request.method, request.path),
                    actor_kind: ActorKind::Api,
                    actor: grant.user,
                    before: None,
                    after: Some(json!({ "problem": problem, "query": request.query })),
                };
                store.commit(now, Some(note), Vec::new())?;
                return Ok(bad_request(problem).answer());
            }
        };
        if let Some(answer) = self.quota.check(&self.options, now, &grant.user, &call.method.id) {
            return Ok(answer);
        }
        if call.method.scopes.is_disjoint(&grant.scopes) && !call.method.scopes.is_empty() {
            return Ok(insufficient_permissions().answer());
        }
        let outcome = self.operate(store, now, request, &grant, &call)?;
        Ok(match outcome {
            Ok(answer) => selected(&call, answer),
            Err(refusal) => refusal.answer(),
        })
    }

    fn operate(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        request: &Request,
        grant: &Grant,
        call: &Call,
    ) -> io::Result<Result<Answer, Refusal>> {
        let user = grant.user.as_str();
        let by = By { kind: ActorKind::Api, user };
        match call.method.id.as_str() {
            "calendar.calendarList.list" => self.calendar_list(store, now, user, call),
            "calendar.calendarList.get" => {
                Ok(Self::calendar_list_entry(store, user, call.path("calendarId")))
            }
            "calendar.calendars.get" => Ok(Self::calendar(store, user, call.path("calendarId"))),
            "calendar.events.list" => self.list_events(store, now, user, call),
            "calendar.events.instances" => self.list_instances(store, now, user, call),
            "calendar.events.get" => Ok(self.get_event(store, now, user, call, request)),
            "calendar.events.insert" => self.insert_event(store, now, &by, call),
            "calendar.events.import" => self.import_event(store, now, &by, call),
            "calendar.events.patch" | "calendar.events.update" => {
                self.change_event(store, now, &by, call, request)
            }
            "calendar.events.delete" => self.delete_event(store, now, &by, call, request),
            "calendar.events.move" => self.move_event(store, now, &by, call),
            "calendar.events.watch" => self.watch(store, now, grant, call),
            "calendar.channels.stop" => Self::stop_channel(store, now, grant, call),
            other => Ok(Err(bad_request(format!("{other} is not simulated.")))),
        }
    }
}

/// The part of an answer that the request asks for.
fn selected(call: &Call, mut answer: Answer) -> Answer {
    let selection = call.parameter("fields").and_then(Selection::read);
    if let (Some(selection), Ok(whole)) = (selection, serde_json::from_slice::<Value>(&answer.body)) {
        answer.body = selection.of(&whole).to_string().into();
    }
    answer
}

impl Upstream for Google {
    const NAME: &'static str = "google";

    fn answer(&mut self, store: &mut Store, now: Timestamp, request: &Request) -> io::Result<Answer> {
        self.settle(store, now)?;
        match (request.method.as_str(), request.segments().as_slice()) {
            ("GET", ["o", "oauth2", "v2", "auth"]) => self.authorize(store, now, request),
            ("POST", ["o", "oauth2", "v2", "consent"]) => self.consent(store, now, request),
            ("POST", ["token"]) => self.token(store, now, request),
            ("POST", ["revoke"]) => self.revoke(store, now, request),
            (_, ["calendar", "v3", path @ ..]) => self.calendar_api(store, now, request, path),
            _ => Ok(Answer::html(404, "<html><body>404. That’s an error.</body></html>")),
        }
    }

    fn page(&mut self, store: &mut Store, now: Timestamp, request: &Request) -> io::Result<Option<Answer>> {
        crate::screen::answer(self, store, now, request).map(Some)
    }

    fn set_base_url(&mut self, base_url: &str) {
        base_url.clone_into(&mut self.base_url);
    }

    fn empty_list(&self) -> Value {
        json!({ "kind": "calendar#events", "items": [] })
    }

    fn unauthorized(&self) -> Answer {
        auth_error().answer()
    }

    fn records(&self, store: &Store) -> Vec<Value> {
        self.all_events(store)
    }

    fn record(&self, store: &Store, id: &str) -> Option<Value> {
        Self::one_event(store, id)
    }

    fn seed(&mut self, store: &mut Store, now: Timestamp, record: Record) -> io::Result<String> {
        self.settle(store, now)?;
        self.seed_event(store, now, record).map_err(io::Error::other)
    }

    fn edit(&mut self, store: &mut Store, now: Timestamp, id: &str, fields: &Record) -> Result<(), String> {
        self.settle(store, now).map_err(|error| error.to_string())?;
        self.edit_by_hand(store, now, id, fields)
    }

    fn create(&mut self, store: &mut Store, now: Timestamp, fields: &Record) -> Result<String, String> {
        self.settle(store, now).map_err(|error| error.to_string())?;
        self.create_by_hand(store, now, fields)
    }

    fn remove(&mut self, store: &mut Store, now: Timestamp, id: &str) -> Result<(), String> {
        self.settle(store, now).map_err(|error| error.to_string())?;
        self.delete_by_hand(store, now, id)
    }

    fn configure(&mut self, settings: &Record) -> Result<(), String> {
        for (key, value) in settings {
            match self.options.set(key, value)? {
                Effect::None => {}
                Effect::Later(pending) => self.pending.push(pending),
                Effect::Errors(errors) => self.quota.add(errors),
                Effect::NoErrors => self.quota.clear_errors(),
                Effect::RefuseRefresh(why) => self.refuse_refresh = why,
                Effect::ExpireAtPage(number) => self.expire_at_page = Some(number),
                Effect::Push => self.push_dice = Dice::new(self.options.push.seed),
            }
        }
        Ok(())
    }

    fn endpoint(&self, request: &Request) -> Option<String> {
        match request.segments().as_slice() {
            ["o", "oauth2", "v2", "auth"] => Some("oauth.authorize".to_owned()),
            ["token"] => {
                let form = tokens::Form::of(request);
                let known = ["authorization_code", "refresh_token"];
                let grant_type = form.get("grant_type").filter(|name| known.contains(name));
                match form.get("grant_type") {
                    Some(service_accounts::GRANT_TYPE) => Some("oauth.token.jwt_bearer".to_owned()),
                    _ => Some(format!("oauth.token.{}", grant_type.unwrap_or("other"))),
                }
            }
            ["revoke"] => Some("oauth.revoke".to_owned()),
            ["calendar", "v3", path @ ..] => {
                let method = self.description.method(request, path);
                Some(method.map_or_else(|| "calendar.unknown".to_owned(), |method| method.id.clone()))
            }
            _ => None,
        }
    }

    fn control(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        method: &str,
        path: &[&str],
        body: &Value,
    ) -> Result<Value, String> {
        match (method, path) {
            ("POST", ["connect"]) => {
                let user = body["user"].as_str().unwrap_or_default();
                let scopes: Vec<&str> =
                    body["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let tokens = self.connect(store, now, user, &scopes).map_err(|error| error.to_string())?;
                Ok(json!({ "refresh_token": tokens.refresh_token, "access_token": tokens.access_token }))
            }
            _ => Err(format!("no control request {method} {}", path.join("/"))),
        }
    }

    fn next_delivery(&mut self, store: &mut Store, now: Timestamp) -> io::Result<Option<Delivery>> {
        Self::next_notification(store, now)
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
