//! A SCIM 2.0 service: users, groups, and who is in them. Shares no code with the connector.
//!
//! | path, below `/scim/v2` or without it | what |
//! |---|---|
//! | `GET ServiceProviderConfig`, `ResourceTypes`, `Schemas`, and one of them | what it can do, or says that it can |
//! | `POST`, `GET Users`, `Groups` | create; list with `filter`, `sortBy`, `startIndex`, `count`, `attributes` |
//! | `POST Users/.search`, `Groups/.search`, `.search` | list; the last one users and groups |
//! | `GET`, `PUT`, `PATCH`, `DELETE Users/{id}`, `Groups/{id}` | one |
//! | `POST Bulk` | several; references in any order, but not in a circle |
//!
//! It behaves as the independent server of the tests was measured to behave, and lacks what [`ScimOptions`] say. As there,
//! `externalId` is not unique, members are not checked, and who is deleted stays a member. Main records are users and groups
//! together; a seed with a `userName` is a user. Requests are counted as `PATCH /Groups/{id}`.
//!
//! Not simulated: `Users` `groups`, `/Me`, cursors (RFC 9865), lists at the base address by `GET`, certificates, passwords.

mod bulk;
mod discovery;
mod filter;
mod lists;
mod options;
mod patch;
mod refusal;
mod resources;
mod schema;
mod throttle;

use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};

use self::discovery::is_discovery;
use self::lists::{Query, View, fields};
use self::refusal::{Refusal, scim_json};
use self::resources::{By, Draft, delete};
use self::schema::Kind;
use self::throttle::Throttle;
use crate::host::Simulator;
use crate::store::Store;
use crate::upstream::{Record, Upstream};
use crate::wire::{Answer, Request};

pub use self::options::{ScimDiscovery, ScimMemberTypes, ScimNesting, ScimOptions};

/// The bearer token, unless the options say another one.
pub const TOKEN: &str = "token-of-the-simulated-scim-service";
/// What the base address ends with.
const BASE_PATH: &str = "/scim/v2";

/// The simulated system.
#[derive(Debug)]
pub struct Scim {
    options: ScimOptions,
    base: String,
    throttle: Throttle,
}

/// A running SCIM service.
pub type ScimSimulator = Simulator<Scim>;

impl ScimSimulator {
    /// Starts it on 127.0.0.1, empty.
    ///
    /// # Errors
    /// When the port is taken or the folder cannot be used.
    pub async fn start(options: ScimOptions) -> io::Result<Self> {
        let hosting = options.hosting.clone();
        Self::host(Scim { options, base: String::new(), throttle: Throttle::default() }, hosting).await
    }

    /// The address that clients are given: `http://127.0.0.1:<port>/scim/v2`.
    #[must_use]
    pub fn service_url(&self) -> String {
        format!("{}{BASE_PATH}", self.base_url())
    }
}

/// A request about resources, in one of its own or in a bulk request.
#[derive(Debug, Clone)]
struct Call {
    method: String,
    /// The body, or what is wrong with it.
    body: Result<Value, String>,
    /// `If-Match`
    expected: Option<String>,
    query: Query,
    view: View,
}

impl Call {
    fn of(request: &Request) -> Self {
        let body = serde_json::from_slice(&request.body).map_err(|error| error.to_string());
        Self {
            method: request.method.clone(),
            body,
            expected: request.header("if-match").map(str::to_owned),
            query: Query::of(request),
            view: View::of(request),
        }
    }

    fn body(&self) -> Result<&Value, Refusal> {
        self.body.as_ref().map_err(|error| Refusal::bad("invalidSyntax", format!("Invalid JSON: {error}")))
    }
}

/// What was done with a resource.
#[derive(Debug, Clone)]
struct Done {
    status: u16,
    kind: Kind,
    id: String,
    body: Option<Value>,
}

impl Scim {
    fn respond(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        request: &Request,
    ) -> io::Result<Result<Answer, Refusal>> {
        let segments: Vec<String> = segments(request).into_iter().map(decoded).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        if is_discovery(&segments) {
            return Ok(self.discover(request, &segments).map(|body| scim_json(200, &body)));
        }
        if let Err(refusal) = self.check_media_type(request) {
            return Ok(Err(refusal));
        }
        match (request.method.as_str(), segments.as_slice()) {
            ("POST", ["Bulk"]) => Ok(self.bulk(store, now, &request.body)?.map(|body| scim_json(200, &body))),
            ("POST", [".search"]) => {
                let call = Call::of(request);
                let kinds: Vec<Kind> = self.options.kinds().collect();
                let listed = call.body().and_then(|body| self.list(store, &kinds, &Query::of_body(body)));
                Ok(listed.map(|body| scim_json(200, &body)))
            }
            (_, ["Bulk" | ".search"]) => Ok(Err(Refusal::method("POST"))),
            _ => {
                let call = Call::of(request);
                let done = self.resource(store, now, &segments, &call)?;
                Ok(done.map(|done| self.answer_of(store, request, &done)))
            }
        }
    }

    fn answer_of(&self, store: &Store, request: &Request, done: &Done) -> Answer {
        if done.id.is_empty() {
            return scim_json(done.status, done.body.as_ref().unwrap_or(&Value::Null));
        }
        let version = self.version(store, done.kind, &done.id);
        let is_known = version.is_some() && request.header("if-none-match") == version.as_deref();
        let answer = match &done.body {
            Some(_) if is_known && request.method == "GET" => Answer::status(304),
            Some(body) => scim_json(done.status, body),
            None => Answer::status(done.status),
        };
        let location = format!("{}/{}/{}", self.base, done.kind.endpoint(), done.id);
        let answer = answer.with("Location", location);
        match version {
            Some(version) => answer.with("ETag", version),
            None => answer,
        }
    }

    fn check_media_type(&self, request: &Request) -> Result<(), Refusal> {
        let given = request.header("content-type").unwrap_or_default();
        let kind = given.split(';').next().unwrap_or_default().trim();
        let taken = match kind {
            "application/json" => true,
            "application/scim+json" => !self.options.plain_json_only,
            _ => request.body.is_empty(),
        };
        if taken {
            Ok(())
        } else {
            Err(Refusal::plain(415, "The request body must be application/scim+json"))
        }
    }

    /// One request about users or groups.
    fn resource(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        segments: &[&str],
        call: &Call,
    ) -> io::Result<Result<Done, Refusal>> {
        let unknown = || Refusal::plain(404, "Not found");
        let Some(kind) = Kind::ALL.into_iter().find(|kind| segments.first() == Some(&kind.endpoint())) else {
            let refusal = match segments {
                ["Me"] => Refusal::plain(501, "/Me is not supported"),
                _ => unknown(),
            };
            return Ok(Err(refusal));
        };
        if kind == Kind::Group && !self.options.groups {
            return Ok(Err(unknown()));
        }
        let listed = |body| Done { status: 200, kind, id: String::new(), body: Some(body) };
        match (call.method.as_str(), &segments[1..]) {
            ("GET", []) => Ok(self.list(store, &[kind], &call.query).map(listed)),
            ("POST", [".search"]) => {
                Ok(call.body().and_then(|body| self.list(store, &[kind], &Query::of_body(body)).map(listed)))
            }
            ("POST", []) => {
                let made = call.body().and_then(|body| schema::resource(kind, body));
                let draft = match made {
                    Ok(attributes) => Draft::new(store, kind, attributes),
                    Err(refusal) => return Ok(Err(refusal)),
                };
                self.keep(store, now, draft, (201, Some(&call.view)), Scim::take_members)
            }
            (_, []) => Ok(Err(Refusal::method("GET, POST"))),
            (_, [".search"]) => Ok(Err(Refusal::method("POST"))),
            (_, [id]) => {
                let not_found = || Refusal::plain(404, format!("{} '{id}' not found", kind.name()));
                let Some(draft) = Draft::of(store, kind, id) else { return Ok(Err(not_found())) };
                self.one_call(store, now, draft, call)
            }
            _ => Ok(Err(unknown())),
        }
    }

    fn one_call(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        mut draft: Draft,
        call: &Call,
    ) -> io::Result<Result<Done, Refusal>> {
        let (kind, id) = (draft.kind, draft.id.clone());
        // Also where it has no versions of its own, as the measured server does.
        let is_stale = call.expected.is_some() && call.expected != resources::version(store, kind, &id);
        match call.method.as_str() {
            "GET" => {
                let body = self.shown(store, kind, &id, &call.view);
                Ok(Ok(Done { status: 200, kind, id, body }))
            }
            "PUT" | "PATCH" | "DELETE" if is_stale => Ok(Err(Refusal::stale())),
            "PUT" => match call.body().and_then(|body| schema::resource(kind, body)) {
                Ok(attributes) => {
                    draft.attributes = attributes;
                    self.keep(store, now, draft, (200, Some(&call.view)), Scim::take_members)
                }
                Err(refusal) => Ok(Err(refusal)),
            },
            "PATCH" if !self.options.patch => Ok(Err(Refusal::plain(501, "PATCH is not supported"))),
            "PATCH" => {
                let body = match call.body() {
                    Ok(body) => body.clone(),
                    Err(refusal) => return Ok(Err(refusal)),
                };
                let answer = if call.view.is_chosen() { (200, Some(&call.view)) } else { (204, None) };
                self.keep(store, now, draft, answer, |scim, store, draft| {
                    patch::apply(draft, store, &scim.options, &body)
                })
            }
            "DELETE" => {
                delete(store, now, kind, &id, By::Api)?;
                Ok(Ok(Done { status: 204, kind, id, body: None }))
            }
            _ => Ok(Err(Refusal::method("GET, PUT, PATCH, DELETE"))),
        }
    }

    fn take_members(&self, store: &Store, draft: &mut Draft) -> Result<(), Refusal> {
        match draft.kind {
            Kind::Group => draft.take_members(store),
            Kind::User => Ok(()),
        }
    }

    /// Changes a draft and keeps it; answers with this status, and with what of it is asked for.
    fn keep(
        &self,
        store: &mut Store,
        now: Timestamp,
        mut draft: Draft,
        (status, view): (u16, Option<&View>),
        change: impl Fn(&Self, &Store, &mut Draft) -> Result<(), Refusal>,
    ) -> io::Result<Result<Done, Refusal>> {
        if let Err(refusal) = change(self, store, &mut draft) {
            return Ok(Err(refusal));
        }
        let kind = draft.kind;
        let saved = draft.save(store, now, &self.options, By::Api)?;
        Ok(saved.map(|id| {
            let body = view.and_then(|view| self.shown(store, kind, &id, view));
            Done { status, kind, id, body }
        }))
    }

    fn version(&self, store: &Store, kind: Kind, id: &str) -> Option<String> {
        if self.options.etag { resources::version(store, kind, id) } else { None }
    }

    fn by_hand(
        &self,
        store: &mut Store,
        now: Timestamp,
        id: Option<&str>,
        record: &Record,
        by: By,
    ) -> io::Result<Result<String, Refusal>> {
        let is_user = record.contains_key("userName");
        let known = id.and_then(|id| Kind::ALL.into_iter().find_map(|kind| Draft::of(store, kind, id)));
        let kind = known.as_ref().map_or(if is_user { Kind::User } else { Kind::Group }, |draft| draft.kind);
        let given = match schema::resource(kind, &Value::Object(fields(record))) {
            Ok(given) => given,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let has_members = given.contains_key("members");
        let mut draft = match (known, id) {
            (Some(draft), _) => draft,
            (None, id) => {
                let mut draft = Draft::new(store, kind, Record::new());
                if let Some(id) = id {
                    id.clone_into(&mut draft.id);
                }
                draft
            }
        };
        draft.attributes.extend(given);
        for (name, _) in fields(record).iter().filter(|(_, value)| schema::is_nothing(value)) {
            draft.attributes.retain(|known, _| !known.eq_ignore_ascii_case(name));
        }
        if has_members && let Err(refusal) = draft.take_members(store) {
            return Ok(Err(refusal));
        }
        draft.save(store, now, &self.options, by)
    }
}

/// What follows the base address.
fn segments(request: &Request) -> Vec<&str> {
    let path = request.path.strip_prefix(BASE_PATH).unwrap_or(&request.path);
    path.split('/').filter(|segment| !segment.is_empty()).collect()
}

fn decoded(segment: &str) -> String {
    let encoded = format!("x={}", segment.replace('+', "%2B"));
    url::form_urlencoded::parse(encoded.as_bytes()).map(|(_, text)| text.into_owned()).collect()
}

fn told<T>(done: io::Result<Result<T, Refusal>>) -> Result<T, String> {
    done.map_err(|error| error.to_string())?.map_err(|refusal| refusal.said())
}

impl Upstream for Scim {
    const NAME: &'static str = "scim";

    fn answer(&mut self, store: &mut Store, now: Timestamp, request: &Request) -> io::Result<Answer> {
        if !self.throttle.takes(now, self.options.requests_per_second) {
            let refusal = Refusal::plain(429, "Too many requests").answer(self.options.bare_errors);
            return Ok(refusal.with("Retry-After", self.options.retry_after.to_string()));
        }
        if request.header("authorization") != Some(&format!("Bearer {}", self.options.token)) {
            return Ok(self.unauthorized());
        }
        let answer = self.respond(store, now, request)?;
        Ok(answer.unwrap_or_else(|refusal| refusal.answer(self.options.bare_errors)))
    }

    fn set_base_url(&mut self, base_url: &str) {
        self.base = format!("{base_url}{BASE_PATH}");
    }

    fn empty_list(&self) -> Value {
        lists::response(0, 1, Vec::new())
    }

    fn unauthorized(&self) -> Answer {
        let detail = "Authorization failure. The authorization header is invalid or missing";
        let answer = Refusal::plain(401, detail).answer(self.options.bare_errors);
        answer.with("WWW-Authenticate", "Bearer realm=\"SCIM\"")
    }

    fn records(&self, store: &Store) -> Vec<Value> {
        self.all(store)
    }

    fn record(&self, store: &Store, id: &str) -> Option<Value> {
        Kind::ALL.into_iter().find_map(|kind| self.one(store, kind, id))
    }

    fn seed(&mut self, store: &mut Store, now: Timestamp, record: Record) -> io::Result<String> {
        let id = record.get("id").and_then(Value::as_str).map(str::to_owned);
        let saved = self.by_hand(store, now, id.as_deref(), &record, By::Seed)?;
        saved.map_err(|refusal| io::Error::other(refusal.said()))
    }

    fn edit(&mut self, store: &mut Store, now: Timestamp, id: &str, fields: &Record) -> Result<(), String> {
        if self.record(store, id).is_none() {
            return Err(format!("{id} is not there"));
        }
        told(self.by_hand(store, now, Some(id), fields, By::Person)).map(drop)
    }

    fn create(&mut self, store: &mut Store, now: Timestamp, fields: &Record) -> Result<String, String> {
        told(self.by_hand(store, now, None, fields, By::Person))
    }

    fn remove(&mut self, store: &mut Store, now: Timestamp, id: &str) -> Result<(), String> {
        for kind in Kind::ALL {
            if delete(store, now, kind, id, By::Person).map_err(|error| error.to_string())? {
                return Ok(());
            }
        }
        Err(format!("{id} is not there"))
    }

    fn configure(&mut self, settings: &Record) -> Result<(), String> {
        self.options.configure(settings)
    }

    fn control(
        &mut self,
        store: &mut Store,
        _now: Timestamp,
        method: &str,
        path: &[&str],
        _body: &Value,
    ) -> Result<Value, String> {
        match (method, path) {
            // Whole lists of records are large where there are many.
            ("GET", ["counts"]) => {
                let count = |kind: Kind| store.rows(kind.endpoint()).count();
                Ok(json!({ "users": count(Kind::User), "groups": count(Kind::Group) }))
            }
            (method, path) => Err(format!("no control request {method} {}", path.join("/"))),
        }
    }

    fn endpoint(&self, request: &Request) -> Option<String> {
        let mut segments = segments(request);
        if let Some(id) = segments.get_mut(1).filter(|id| **id != ".search") {
            *id = "{id}";
        }
        Some(format!("{} /{}", request.method, segments.join("/")))
    }
}
