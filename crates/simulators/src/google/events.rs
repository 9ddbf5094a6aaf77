//! The methods of `events`, but for its list.

use std::io;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use super::answers::{
    Refusal, condition_not_met, deleted, duplicate, forbidden, forbidden_for_non_organizer, invalid,
    not_found, required,
};
use super::calendars::{self, Access};
use super::description::{Call, without_nulls};
use super::event::{self, REMOVED, View, WRITABLE};
use super::mails::Policy;
use super::options::AccessRole;
use super::times::millis;
use super::write::{By, Step, cancelled, not_own};
use super::{Google, series};
use crate::store::Store;
use crate::upstream::Record;
use crate::wire::{Answer, Request};

/// An answer, a refusal, or a state that could not be saved.
pub(super) type Outcome<T> = io::Result<Result<T, Refusal>>;

/// As Google makes them: 26 letters and digits of base32hex.
pub(super) fn new_id() -> String {
    Uuid::new_v4().simple().to_string().chars().take(26).collect()
}

fn shown(view: &View<'_>, event: &Record) -> Answer {
    Answer::json(200, &view.show(event)).with("ETag", event::etag_of(event))
}

/// Whether a condition in a header lets the request pass.
fn check_match(request: &Request, event: &Record) -> Result<(), Refusal> {
    let Some(wanted) = request.header("If-Match") else { return Ok(()) };
    let etag = event::etag_of(event);
    let is_met = wanted.split(',').map(str::trim).any(|wanted| wanted == "*" || wanted == etag);
    if is_met { Ok(()) } else { Err(condition_not_met()) }
}

/// A calendar in which this user may write.
fn writable(store: &Store, user: &str, calendar: &str) -> Result<Access, Refusal> {
    let access = calendars::find(store, user, calendar)?;
    if access.role < AccessRole::Writer { Err(forbidden()) } else { Ok(access) }
}

impl Google {
    /// Whether it was cancelled so long ago that nobody finds it any more.
    pub(super) fn is_forgotten(&self, event: &Record, now: Timestamp) -> bool {
        let life = SignedDuration::from_hours(24 * i64::from(self.options.cancelled_days));
        event
            .get(REMOVED)
            .and_then(Value::as_str)
            .and_then(|removed| removed.parse::<Timestamp>().ok())
            .is_some_and(|removed| now.duration_since(removed) > life)
    }

    fn find_event(&self, store: &Store, now: Timestamp, calendar: &str, id: &str) -> Result<Record, Refusal> {
        let found = series::find(store, calendar, id).filter(|event| !self.is_forgotten(event, now));
        found.ok_or_else(not_found)
    }

    /// The event that a request is to change, in a calendar in which its user may write.
    fn event_to_change(
        &self,
        store: &Store,
        now: Timestamp,
        by: &By<'_>,
        call: &Call,
    ) -> Result<(Access, Record), Refusal> {
        let access = writable(store, by.user, call.path("calendarId"))?;
        let event = self.find_event(store, now, &access.id, call.path("eventId"))?;
        Ok((access, event))
    }

    pub(super) fn get_event(
        &self,
        store: &Store,
        now: Timestamp,
        user: &str,
        call: &Call,
        request: &Request,
    ) -> Result<Answer, Refusal> {
        let access = calendars::find(store, user, call.path("calendarId"))?;
        let event = self.find_event(store, now, &access.id, call.path("eventId"))?;
        if request.header("If-None-Match") == Some(event::etag_of(&event).as_str()) {
            return Ok(Answer::status(304).with("ETag", event::etag_of(&event)));
        }
        Ok(shown(&View::new(&access, call), &event))
    }

    pub(super) fn insert_event(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        by: &By<'_>,
        call: &Call,
    ) -> Outcome<Answer> {
        let access = match writable(store, by.user, call.path("calendarId")) {
            Ok(access) => access,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut body = call.body.clone();
        if call.parameter("conferenceDataVersion") != Some("1") {
            body.shift_remove("conferenceData");
        }
        if !call.is_on("supportsAttachments") {
            body.shift_remove("attachments");
        }
        let made = self.insert(store, now, by, &access, &body, Policy::of(call))?;
        Ok(made.map(|event| shown(&View::new(&access, call), &event)))
    }

    pub(super) fn insert(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        by: &By<'_>,
        access: &Access,
        body: &Record,
        mails: Policy,
    ) -> Outcome<Record> {
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        let (id, uid) = (text("id"), text("iCalUID"));
        if id.is_some() && uid.is_some() {
            return Ok(Err(invalid("id and iCalUID must not both be given.")));
        }
        if let Some(id) = id {
            if let Err(refusal) = event::check_id(id) {
                return Ok(Err(refusal));
            }
            // Also one that was deleted, for ever.
            if series::stored(store, &access.id, id).is_some() {
                return Ok(Err(duplicate()));
            }
        }
        let id = id.map_or_else(new_id, str::to_owned);
        let is_person = by.kind != crate::journal::ActorKind::Api;
        let written = match event::read(body, access, is_person) {
            Ok(written) => written,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let uid = uid.map_or_else(|| format!("{id}@google.com"), str::to_owned);
        let mut after = base(&id, &uid, now);
        after.insert("creator".to_owned(), json!({ "email": by.user }));
        after.insert("organizer".to_owned(), json!({ "email": access.id }));
        after.extend(written);
        self.write(store, now, by, &access.id, &Step { before: None, after }, mails).map(Ok)
    }

    /// `events.import`: a copy of an event whose organiser may be anywhere. Nobody is written to.
    pub(super) fn import_event(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        by: &By<'_>,
        call: &Call,
    ) -> Outcome<Answer> {
        let read = || {
            let access = writable(store, by.user, call.path("calendarId"))?;
            let uid = call
                .body
                .get("iCalUID")
                .and_then(Value::as_str)
                .ok_or_else(|| required("Missing iCalUID."))?;
            Ok((event::read(&call.body, &access, false)?, uid.to_owned(), access))
        };
        let (written, uid, access) = match read() {
            Ok(read) => read,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let before = series::rows(store, &access.id)
            .into_iter()
            .filter(|row| event::text(row, "iCalUID") == uid && !row.contains_key("recurringEventId"))
            .find(|row| !event::is_cancelled(row))
            .cloned();
        let mut after = before.clone().unwrap_or_else(|| base(&new_id(), &uid, now));
        after.retain(|name, _| !WRITABLE.contains(&name.as_str()));
        let organizer = call.body.get("organizer").and_then(|organizer| organizer.get("email")?.as_str());
        let organizer = organizer.map_or_else(|| access.id.clone(), str::to_lowercase);
        after.insert("organizer".to_owned(), json!({ "email": organizer }));
        after.insert("creator".to_owned(), json!({ "email": organizer }));
        after.insert("privateCopy".to_owned(), json!(true));
        after.insert("updated".to_owned(), json!(millis(now)));
        after.extend(written);
        let event = self.write(store, now, by, &access.id, &Step { before, after }, Policy::None)?;
        Ok(Ok(shown(&View::new(&access, call), &event)))
    }

    /// `events.patch` and `events.update`.
    pub(super) fn change_event(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        by: &By<'_>,
        call: &Call,
        request: &Request,
    ) -> Outcome<Answer> {
        let found = || {
            let (access, event) = self.event_to_change(store, now, by, call)?;
            check_match(request, &event)?;
            Ok((access, event))
        };
        let (access, before) = match found() {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut body = call.body.clone();
        if call.parameter("conferenceDataVersion") != Some("1") {
            keep_as_it_was(&mut body, &before, "conferenceData");
        }
        if !call.is_on("supportsAttachments") {
            keep_as_it_was(&mut body, &before, "attachments");
        }
        let is_whole = request.method == "PUT";
        let changed = self.change(store, now, by, &access, before, &body, is_whole, Policy::of(call))?;
        Ok(changed.map(|event| shown(&View::new(&access, call), &event)))
    }

    /// Changes an event: the members in the body, or all of it.
    #[expect(clippy::too_many_arguments, reason = "what a write is made of")]
    pub(super) fn change(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        by: &By<'_>,
        access: &Access,
        before: Record,
        body: &Record,
        is_whole: bool,
        mails: Policy,
    ) -> Outcome<Record> {
        let mut input = Record::new();
        if is_whole {
            event::merge(&mut input, body);
        } else {
            input.clone_from(&before);
            let mut body = body.clone();
            body.retain(|name, _| WRITABLE.contains(&name.as_str()));
            event::merge(&mut input, &body);
        }
        // A list that is said to be cut is none: only who is in it changes.
        if body.get("attendeesOmitted") == Some(&json!(true)) {
            let given: Vec<Value> = event::attendees(&input).to_vec();
            let mut all: Vec<Value> = event::attendees(&before).to_vec();
            for attendee in &mut all {
                let own = given
                    .iter()
                    .find(|given| event::email(given).eq_ignore_ascii_case(event::email(attendee)));
                if let Some(own) = own {
                    *attendee = own.clone();
                }
            }
            input.insert("attendees".to_owned(), json!(all));
        }
        let is_person = by.kind != crate::journal::ActorKind::Api;
        let written = match event::read(&input, access, is_person) {
            Ok(written) => written,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut after = before.clone();
        after.retain(|name, _| !WRITABLE.contains(&name.as_str()));
        after.extend(written);
        if after.contains_key("recurringEventId") && !event::recurrence(&after).is_empty() {
            return Ok(Err(invalid("An instance of a recurring event cannot recur itself.")));
        }
        if before.get("eventType") != after.get("eventType") {
            return Ok(Err(invalid("The event type cannot be changed.")));
        }
        let is_organizer = event::organizer(&before).eq_ignore_ascii_case(&access.id);
        let may = is_organizer || before.get("guestsCanModify") == Some(&json!(true));
        if event::is_cancelled(&after) && !event::is_cancelled(&before) {
            after = cancelled(if may { after } else { before.clone() }, now);
        } else if !event::is_cancelled(&after) {
            after.shift_remove(REMOVED);
            if !may && not_own(&before, &access.id) != not_own(&after, &access.id) {
                return Ok(Err(forbidden_for_non_organizer()));
            }
        }
        let changed: Vec<&str> =
            WRITABLE.into_iter().filter(|name| before.get(*name) != after.get(*name)).collect();
        if changed.iter().any(|name| ["start", "end", "recurrence"].contains(name)) {
            let sequence = before.get("sequence").and_then(Value::as_u64).unwrap_or(0);
            after.insert("sequence".to_owned(), json!(sequence + 1));
        }
        // A change of reminders alone does not count as one of the event.
        if changed != ["reminders"] {
            after.insert("updated".to_owned(), json!(millis(now)));
        }
        self.write(store, now, by, &access.id, &Step { before: Some(before), after }, mails).map(Ok)
    }

    pub(super) fn delete_event(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        by: &By<'_>,
        call: &Call,
        request: &Request,
    ) -> Outcome<Answer> {
        let found = || {
            let (access, event) = self.event_to_change(store, now, by, call)?;
            if event::is_cancelled(&event) {
                return Err(deleted());
            }
            check_match(request, &event)?;
            Ok((access, event))
        };
        let (access, before) = match found() {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let after = cancelled(before.clone(), now);
        let step = Step { before: Some(before), after };
        self.write(store, now, by, &access.id, &step, Policy::of(call))?;
        Ok(Ok(Answer::status(204)))
    }

    /// `events.move`: the event keeps its id and gets another organiser.
    pub(super) fn move_event(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        by: &By<'_>,
        call: &Call,
    ) -> Outcome<Answer> {
        let found = || {
            let (source, event) = self.event_to_change(store, now, by, call)?;
            let target = writable(store, by.user, call.parameter("destination").unwrap_or_default())?;
            if !event::organizer(&event).eq_ignore_ascii_case(&source.id) {
                return Err(forbidden_for_non_organizer());
            }
            if event::is_cancelled(&event) || event.contains_key("recurringEventId") {
                return Err(invalid("Only events with a life of their own can be moved."));
            }
            let there = series::stored(store, &target.id, event::text(&event, "id"));
            if there.as_ref().is_some_and(|there| !event::is_cancelled(there)) {
                return Err(duplicate());
            }
            Ok((source, target, event, there))
        };
        let (source, target, event, there) = match found() {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut moved = event.clone();
        moved.insert("organizer".to_owned(), json!({ "email": target.id }));
        moved.insert("updated".to_owned(), json!(millis(now)));
        // The guests keep their copies: what leaves the source is the organiser's alone.
        let mut left = cancelled(event.clone(), now);
        left.insert("privateCopy".to_owned(), json!(true));
        self.write(store, now, by, &source.id, &Step { before: Some(event), after: left }, Policy::None)?;
        let step = Step { before: there, after: moved };
        let written = self.write(store, now, by, &target.id, &step, Policy::of(call))?;
        Ok(Ok(shown(&View::new(&target, call), &written)))
    }
}

/// A member that the request has no say in.
fn keep_as_it_was(body: &mut Record, before: &Record, name: &str) {
    match before.get(name) {
        Some(value) => body.insert(name.to_owned(), value.clone()),
        None => body.shift_remove(name),
    };
}

/// What a new event has beside its content.
pub(super) fn base(id: &str, uid: &str, now: Timestamp) -> Record {
    let base = without_nulls(&json!({
        "id": id, "iCalUID": uid, "sequence": 0, "created": millis(now), "updated": millis(now),
        "htmlLink": format!("https://www.google.com/calendar/event?eid={id}"),
    }));
    base.as_object().cloned().unwrap_or_default()
}
