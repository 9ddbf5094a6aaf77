//! From a request of Graph to what it asks for: who asks, whether the description has it, whose mailbox.

use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::answers::{self, Refusal, Stop};
use super::ask::{Ask, Caller};
use super::bearer;
use super::description::{self, Found, Operation};
use super::events;
use super::lists;
use super::prefer::Prefer;
use super::query::Options;
use super::zones;
use super::{Mailbox, Microsoft, batch};
use crate::store::{Change, Store};
use crate::upstream::Record;
use crate::wire::{Answer, Request};

const OUTSIDE: &str = "outside_description";
const OUTSIDE_MAX: usize = 1_000;
/// Largest body taken.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

const READ_CALENDARS: [&str; 4] =
    ["Calendars.Read", "Calendars.ReadWrite", "Calendars.Read.Shared", "Calendars.ReadWrite.Shared"];
const WRITE_CALENDARS: [&str; 2] = ["Calendars.ReadWrite", "Calendars.ReadWrite.Shared"];

/// A segment of a path with its percent signs read.
pub(super) fn decoded(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The decoded segments behind the version.
fn segments(request: &Request) -> Vec<String> {
    request.segments().iter().skip(1).map(|segment| decoded(segment)).collect()
}

/// What a request is counted as.
pub(super) fn endpoint(request: &Request) -> Option<String> {
    let raw = request.segments();
    match raw.as_slice() {
        ["v1.0", ..] => match description::find(&request.method, &segments(request)) {
            Found::Operation(template, _) => Some(format!("{} /v1.0{template}", request.method)),
            Found::NoMethod | Found::Nothing => Some("outside the description".to_owned()),
        },
        [_, "oauth2", "v2.0", name] => Some(format!("{} /{{tenant}}/oauth2/v2.0/{name}", request.method)),
        _ => None,
    }
}

/// Requests that the description does not have, oldest first.
pub(super) fn outside(store: &Store) -> Vec<Value> {
    store.rows(OUTSIDE).map(|(_, row)| row.clone()).collect()
}

fn note_outside(store: &mut Store, now: Timestamp, request: &Request, refusal: &Refusal) -> io::Result<()> {
    let last = store.rows(OUTSIDE).next_back().and_then(|(id, _)| id.parse::<u64>().ok()).unwrap_or(0);
    let row = json!({
        "at": now, "method": request.method, "path": request.path, "query": request.query, "message": refusal.message,
    });
    let mut changes = vec![Change::set(OUTSIDE, &format!("{:012}", last + 1), row)];
    if store.rows(OUTSIDE).count() >= OUTSIDE_MAX
        && let Some((first, _)) = store.rows(OUTSIDE).next()
    {
        changes.push(Change::remove(OUTSIDE, first));
    }
    store.commit(now, None, changes)
}

/// Reads the body of an operation that has one.
fn read_body(request: &Request, template: &str, operation: &Operation) -> Result<Record, Refusal> {
    if request.body.len() > BODY_BYTES_MAX {
        return Err(Refusal::new(413, "RequestEntityTooLarge", "The request body is larger than 4 MB."));
    }
    if !operation.has_body() {
        return Ok(Record::new());
    }
    let is_json = request.header("Content-Type").is_some_and(|kind| kind.starts_with("application/json"));
    let may_be_empty = operation.members.is_some();
    let is_fine = is_json || (may_be_empty && request.body.is_empty());
    if !is_fine {
        let message = "A missing or unsupported Content-Type header was received.";
        return Err(Refusal::outside(415, "RequestBodyRead", message));
    }
    let body = if request.body.is_empty() && may_be_empty {
        json!({})
    } else {
        serde_json::from_slice(&request.body)
            .map_err(|_| Refusal::outside(400, "BadRequest", "Unable to read JSON request payload."))?
    };
    description::read_body(&request.method, template, operation, body)
        .map_err(|error| Refusal::outside(400, "RequestBodyRead", error))
}

impl Microsoft {
    pub(super) fn graph(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        request: &Request,
    ) -> io::Result<Answer> {
        let answer = match self.granted(store, now, request) {
            Ok(answer) => answer,
            Err(Stop::Io(error)) => return Err(error),
            Err(Stop::Refused(refusal)) => {
                if refusal.is_outside {
                    note_outside(store, now, request, &refusal)?;
                }
                refusal.answer(now, request)
            }
        };
        let id = answers::request_id(request);
        let mut answer = answer
            .with("request-id", id.clone())
            .with("client-request-id", request.header("client-request-id").unwrap_or(&id))
            .with("x-ms-ags-diagnostic", "{\"ServerInfo\":{\"DataCenter\":\"Simulated\",\"Slice\":\"E\"}}");
        if let Some(applied) =
            Prefer::read(request).ok().map(|prefer| prefer.applied).filter(|all| !all.is_empty())
        {
            answer = answer.with("Preference-Applied", applied.join(", "));
        }
        Ok(answer)
    }

    fn granted(&mut self, store: &mut Store, now: Timestamp, request: &Request) -> Result<Answer, Stop> {
        let caller = self.caller(store, now, request)?;
        let segments = segments(request);
        let (template, operation) = match description::find(&request.method, &segments) {
            Found::Operation(template, operation) => (template, operation),
            Found::NoMethod => {
                let message = "Specified HTTP method is not allowed for the request target.";
                return Err(Refusal::outside(405, "UnsupportedMethod", message).into());
            }
            Found::Nothing => {
                let segment = segments.last().cloned().unwrap_or_default();
                let message = format!("Resource not found for the segment '{segment}'.");
                return Err(Refusal::outside(400, "BadRequest", message).into());
            }
        };
        for (name, _) in request.query_pairs() {
            if !operation.query.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
                let message = format!("The query option '{name}' is not one of this operation.");
                return Err(Refusal::outside(400, "BadRequest", message).into());
            }
        }
        let body = read_body(request, template, operation)?;
        if template == "/$batch" {
            return batch::answer(self, store, now, request, &body);
        }
        if template.starts_with("/subscriptions") {
            caller.check_scopes(&READ_CALENDARS)?;
            let id = segments.get(1).map(String::as_str);
            return self.subscriptions(store, now, &caller, request, template, id, &body);
        }
        let mailbox = self.mailbox_of(&caller, &segments)?;
        let lane = format!("{} {}", caller.client, mailbox.address);
        let upload = if request.method == "GET" { 0 } else { u64::try_from(request.body.len()).unwrap_or(0) };
        self.throttle.count(now, &lane, upload, self.options.requests_max)?;
        let ask = Ask {
            now,
            request,
            caller: &caller,
            mailbox,
            prefer: Prefer::read(request)?,
            root: self.root(request),
            url: format!("{}{}", self.root(request).trim_end_matches("/v1.0"), request.path),
        };
        // Behind the user: `me` is one segment, `users/{id}` are two.
        let skip = if segments.first().is_some_and(|first| first == "users") { 2 } else { 1 };
        self.of_mailbox(store, &ask, template, segments.get(skip..).unwrap_or_default(), &body)
    }

    /// Whose mailbox the path names, and whether the caller may see it.
    fn mailbox_of(&self, caller: &Caller, segments: &[String]) -> Result<Mailbox, Refusal> {
        let user = match (segments.first().map(String::as_str), segments.get(1)) {
            (Some("users"), Some(user)) => user,
            _ => match &caller.mailbox {
                Some(own) => own,
                None => {
                    let message = "/me request is only valid with delegated authentication flow.";
                    return Err(Refusal::new(400, "BadRequest", message));
                }
            },
        };
        let missing =
            || Refusal::new(404, "Request_ResourceNotFound", format!("Resource '{user}' does not exist."));
        let mailbox = self.mailbox(user).ok_or_else(missing)?.clone();
        if caller.mailbox.as_ref().is_some_and(|own| *own != mailbox.address) {
            caller.check_scopes(&["Calendars.Read.Shared", "Calendars.ReadWrite.Shared"])?;
        }
        match self.problems.get(&mailbox.address).map(String::as_str) {
            Some("access_denied") => {
                Err(Refusal::new(403, "ErrorAccessDenied", "Access to OData is disabled."))
            }
            Some("not_enabled") => {
                let message = "The mailbox is either inactive, soft-deleted, or is hosted on-premise.";
                Err(Refusal::new(404, "MailboxNotEnabledForRESTAPI", message))
            }
            Some(_) => {
                let message = "The SMTP address has no mailbox associated with it.";
                Err(Refusal::new(404, "ErrorNonExistentMailbox", message))
            }
            None => Ok(mailbox),
        }
    }

    /// What one mailbox at a time is asked through.
    pub(super) fn lane_of(&self, store: &Store, request: &Request) -> Option<String> {
        let segments = segments(request);
        let access = bearer::token(store, request)?;
        let is_mailbox = request.path.starts_with("/v1.0/me") || request.path.starts_with("/v1.0/users/");
        let user = segments.get(1).filter(|_| request.path.starts_with("/v1.0/users/"));
        let mailbox = user.and_then(|user| self.mailbox(user)).map(|mailbox| mailbox.address.clone());
        is_mailbox.then(|| format!("{} {}", access.client, mailbox.or(access.mailbox).unwrap_or_default()))
    }

    fn of_mailbox(
        &mut self,
        store: &mut Store,
        ask: &Ask<'_>,
        template: &str,
        rest: &[String],
        body: &Record,
    ) -> Result<Answer, Stop> {
        let names: Vec<&str> = rest.iter().map(String::as_str).collect();
        match names.as_slice() {
            [] => {
                ask.caller.check_scopes(&["User.Read", "User.Read.All"])?;
                return Ok(user(ask));
            }
            ["mailboxSettings"] => {
                ask.caller.check_scopes(&["MailboxSettings.Read", "MailboxSettings.ReadWrite"])?;
                return mailbox_settings(ask);
            }
            ["outlook", ..] => {
                let names: Vec<Value> = zones::windows_names()
                    .iter()
                    .map(|name| json!({ "alias": name, "displayName": name }))
                    .collect();
                return Ok(answers::ok(200, &json!({ "value": names })));
            }
            _ => {}
        }
        let scopes = if ask.request.method == "GET" { &READ_CALENDARS[..] } else { &WRITE_CALENDARS[..] };
        ask.caller.check_scopes(scopes)?;
        let default = ask.mailbox.default_calendar();
        // Which calendar the path names, and what of it.
        let (calendar, rest) = match names.as_slice() {
            ["calendars"] => return self.calendars(store, ask, body),
            ["calendars", id, rest @ ..] => (Some((*id).to_owned()), rest),
            ["calendar", rest @ ..] => (Some(default.clone()), rest),
            rest => (None, rest),
        };
        let id = calendar.clone().unwrap_or(default);
        if super::calendars::find(store, &ask.mailbox, &id).is_none() {
            return Err(Refusal::not_found().into());
        }
        if rest.is_empty() {
            return self.calendar(store, ask, &id, body);
        }
        self.of_calendar(store, ask, template, calendar.as_deref(), &id, rest, body)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request")]
    fn of_calendar(
        &mut self,
        store: &mut Store,
        ask: &Ask<'_>,
        template: &str,
        named: Option<&str>,
        calendar: &str,
        rest: &[&str],
        body: &Record,
    ) -> Result<Answer, Stop> {
        let by = ask.by();
        if template.ends_with("/delta") {
            return self.delta(store, ask, calendar);
        }
        match (ask.request.method.as_str(), rest) {
            ("GET", ["calendarView"]) => lists::view(store, ask, calendar),
            ("GET", ["events"]) => lists::list(store, ask, calendar),
            ("POST", ["events"]) => {
                let event = self.create(store, ask.now, &by, &ask.mailbox, calendar, body)?;
                let target = events::Target { event, slot: None };
                Ok(lists::one(ask, 201, &target, &Options::default()))
            }
            ("GET", ["events", id]) => lists::get(store, ask, named, id),
            ("GET", ["events", id, "instances"]) => lists::instances(store, ask, named, id),
            (method, ["events", id, action @ ..]) => {
                let target = events::find(store, &ask.mailbox, named, id)?;
                match (method, action) {
                    ("PATCH", []) => {
                        target.check_version(ask.request.header("If-Match"))?;
                        let after = self.change(store, ask.now, &by, target, body)?;
                        Ok(lists::one(ask, 200, &after, &Options::default()))
                    }
                    ("DELETE", []) => {
                        target.check_version(ask.request.header("If-Match"))?;
                        self.delete(store, ask.now, &by, target)?;
                        Ok(Answer::status(204))
                    }
                    (_, ["cancel"]) if !target.event.is_organizer => {
                        let message = "Your request can't be completed. You need to be an organizer to cancel a meeting.";
                        Err(Refusal::new(400, "ErrorInvalidRequest", message).into())
                    }
                    (_, ["cancel"]) => {
                        self.delete(store, ask.now, &by, target)?;
                        Ok(Answer::status(202))
                    }
                    (_, [action]) => {
                        let response = match *action {
                            "accept" => "accepted",
                            "decline" => "declined",
                            _ => "tentativelyAccepted",
                        };
                        if body.contains_key("ProposedNewTime") {
                            return Err(Refusal::not_simulated("proposedNewTime").into());
                        }
                        let is_told = body.get("SendResponse") != Some(&json!(false));
                        self.respond(store, ask.now, &by, target, response, is_told)?;
                        Ok(Answer::status(202))
                    }
                    _ => Err(Refusal::not_simulated(template).into()),
                }
            }
            _ => Err(Refusal::not_simulated(template).into()),
        }
    }
}

fn user(ask: &Ask<'_>) -> Answer {
    let Mailbox { address, name, object_id, .. } = &ask.mailbox;
    let body = json!({
        "@odata.context": format!("{}/$metadata#users/$entity", ask.root), "id": object_id, "displayName": name,
        "mail": address, "userPrincipalName": address,
    });
    answers::ok(200, &body)
}

fn mailbox_settings(ask: &Ask<'_>) -> Result<Answer, Stop> {
    if ask.request.method != "GET" {
        return Err(Refusal::not_simulated("writing mailboxSettings").into());
    }
    let zone = &ask.mailbox.zone;
    let body = json!({
        "@odata.context": format!("{}/$metadata#users('{}')/mailboxSettings", ask.root, ask.mailbox.object_id),
        "timeZone": zone, "dateFormat": "dd.MM.yyyy", "timeFormat": "HH:mm",
        "language": { "locale": "de-DE", "displayName": "German (Germany)" },
        "workingHours": {
            "daysOfWeek": ["monday", "tuesday", "wednesday", "thursday", "friday"],
            "startTime": "08:00:00.0000000", "endTime": "17:00:00.0000000", "timeZone": { "name": zone },
        },
    });
    Ok(answers::ok(200, &body))
}
