//! Every write of an event, whoever does it: the copy that is written, the occurrences of a series that it takes with
//! it, the copies of the others who take part, the mails that go out, the channels that are told.

use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::event::{self, CHANGE, REMOVED, SHARED, WRITTEN};
use super::series;
use super::times::millis;
use super::{Google, mails};
use crate::journal::{ActorKind, Operation};
use crate::store::{Change, Note, Store};
use crate::upstream::Record;

pub(super) const ENTITY: &str = "Event";
/// A change that another one brought about: the copy of a guest, an occurrence of a deleted series.
pub(super) const COPY: &str = "EventCopy";

/// Who writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct By<'a> {
    pub(super) kind: ActorKind,
    pub(super) user: &'a str,
}

/// An event before and after; `before` is an occurrence of the rule where nothing was stored yet.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) before: Option<Record>,
    pub(super) after: Record,
}

/// What the journal tells of an event: all but what the system keeps by itself.
fn told(event: &Record) -> Value {
    let kept = ["etag", "updated", "sequence", CHANGE, REMOVED, WRITTEN];
    let told = event.iter().filter(|(name, _)| !kept.contains(&name.as_str()));
    Value::Object(told.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// What all who take part have in common.
pub(super) fn shared(event: &Record) -> Record {
    let mut shared = Record::new();
    for name in SHARED {
        if let Some(value) = event.get(name) {
            shared.insert(name.to_owned(), value.clone());
        }
    }
    if let Some(properties) = event.get("extendedProperties").and_then(|properties| properties.get("shared"))
    {
        shared.insert("shared properties".to_owned(), properties.clone());
    }
    shared
}

/// What an attendee may not change in his copy.
pub(super) fn not_own(event: &Record, address: &str) -> Record {
    let mut shared = shared(event);
    for name in ["sequence", "creator", "organizer"] {
        shared.shift_remove(name);
    }
    if let Some(all) = shared.get_mut("attendees").and_then(Value::as_array_mut) {
        all.retain(|attendee| !event::email(attendee).eq_ignore_ascii_case(address));
    }
    shared
}

/// Makes an event cancelled.
pub(super) fn cancelled(mut event: Record, now: Timestamp) -> Record {
    event.insert("status".to_owned(), json!("cancelled"));
    event.insert(REMOVED.to_owned(), json!(now.to_string()));
    event.insert("updated".to_owned(), json!(millis(now)));
    event
}

fn overwrite_shared(copy: &mut Record, from: &Record, now: Timestamp) {
    for name in SHARED {
        match from.get(name) {
            Some(value) => copy.insert(name.to_owned(), value.clone()),
            None => copy.shift_remove(name),
        };
    }
    let shared = from.get("extendedProperties").and_then(|properties| properties.get("shared"));
    let own = copy.entry("extendedProperties".to_owned()).or_insert_with(|| json!({}));
    match (shared, own.as_object_mut()) {
        (Some(shared), Some(own)) => {
            own.insert("shared".to_owned(), shared.clone());
        }
        (None, Some(own)) => {
            own.shift_remove("shared");
        }
        (_, None) => {}
    }
    if copy.get("extendedProperties").and_then(Value::as_object).is_some_and(Record::is_empty) {
        copy.shift_remove("extendedProperties");
    }
    copy.insert("updated".to_owned(), json!(millis(now)));
    if !event::is_cancelled(copy) {
        copy.shift_remove(REMOVED);
    }
}

/// An event as it first appears in a guest's calendar, below his copy of the series where he has one.
fn fresh_copy(store: &Store, user: &str, event: &Record, master: Option<&Record>) -> Record {
    let mut copy = event.clone();
    copy.shift_remove("colorId");
    copy.insert("reminders".to_owned(), json!({ "useDefault": true }));
    if let Some(properties) = copy.get_mut("extendedProperties").and_then(Value::as_object_mut) {
        properties.shift_remove("private");
        if properties.is_empty() {
            copy.shift_remove("extendedProperties");
        }
    }
    if let (Some(master), Some(original)) = (master, event::when(event, "originalStartTime")) {
        let master = event::text(master, "id");
        copy.insert("id".to_owned(), json!(format!("{master}_{}", original.stamp())));
        copy.insert("recurringEventId".to_owned(), json!(master));
    } else if series::stored(store, user, event::text(event, "id")).is_some() {
        copy.insert("id".to_owned(), json!(super::events::new_id()));
    }
    copy
}

impl Google {
    /// Stores one event in one calendar.
    fn put(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        by: &By<'_>,
        calendar: &str,
        step: &Step,
        entity: &'static str,
    ) -> io::Result<Record> {
        let mut after = step.after.clone();
        after.insert(CHANGE.to_owned(), json!(store.sequence() + 1));
        after.insert(WRITTEN.to_owned(), json!(now.to_string()));
        let id = event::text(&after, "id").to_owned();
        let is_deletion =
            event::is_cancelled(&after) && !step.before.as_ref().is_some_and(event::is_cancelled);
        let operation = match &step.before {
            _ if is_deletion => Operation::Delete,
            None => Operation::Create,
            Some(_) => Operation::Update,
        };
        let note = Note {
            operation,
            entity,
            record_id: format!("{calendar}:{id}"),
            actor_kind: by.kind,
            actor: by.user.to_owned(),
            before: step.before.as_ref().map(told),
            after: (!is_deletion).then(|| told(&after)),
        };
        let change = Change::set(&series::table(calendar), &id, Value::Object(after.clone()));
        store.commit(now, Some(note), vec![change])?;
        self.tell_channels(store, now, calendar)?;
        Ok(after)
    }

    /// Writes an event in one calendar, with everything that follows from it. Answers the event as stored.
    pub(super) fn write(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        by: &By<'_>,
        calendar: &str,
        step: &Step,
        mails: mails::Policy,
    ) -> io::Result<Record> {
        let written = self.put(store, now, by, calendar, step, ENTITY)?;
        let step = Step { before: step.before.clone(), after: written.clone() };
        let taken_along = self.tidy_series(store, now, by, calendar, &step)?;
        if event::organizer(&written).eq_ignore_ascii_case(calendar) {
            for step in std::iter::once(&step).chain(&taken_along) {
                self.propagate(store, now, by, calendar, step)?;
            }
        } else {
            self.tell_organizer(store, now, by, calendar, &step)?;
        }
        self.send_mails(store, now, by, calendar, &step, mails)?;
        Ok(written)
    }

    /// Cancels the stored occurrences that a change of their master leaves without a place.
    fn tidy_series(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        by: &By<'_>,
        calendar: &str,
        step: &Step,
    ) -> io::Result<Vec<Step>> {
        let Some(before) = &step.before else { return Ok(Vec::new()) };
        let same = |name: &str| before.get(name) == step.after.get(name);
        let is_gone = event::is_cancelled(&step.after);
        if event::recurrence(before).is_empty() || (same("start") && same("recurrence") && !is_gone) {
            return Ok(Vec::new());
        }
        let mut done = Vec::new();
        for exception in series::exceptions(store, calendar, event::text(before, "id")) {
            if event::is_cancelled(&exception) || (!is_gone && series::is_of(&step.after, &exception)) {
                continue;
            }
            let after = cancelled(exception.clone(), now);
            let step = Step { before: Some(exception), after };
            let after = self.put(store, now, by, calendar, &step, COPY)?;
            done.push(Step { before: step.before, after });
        }
        Ok(done)
    }

    /// The copy of an event in another user's calendar, by id or, where that was taken, by its iCalUID.
    fn copy_of(store: &Store, calendar: &str, event: &Record) -> Option<Record> {
        let (id, uid) = (event::text(event, "id"), event::text(event, "iCalUID"));
        let is_copy = |copy: &Record| event::text(copy, "iCalUID") == uid;
        if let Some(copy) = series::stored(store, calendar, id).filter(is_copy) {
            return Some(copy);
        }
        let original = event::when(event, "originalStartTime");
        let is_it = |row: &&Record| is_copy(row) && event::when(row, "originalStartTime") == original;
        series::rows(store, calendar).into_iter().find(is_it).cloned()
    }

    /// The series in this calendar of which an event is an occurrence, whatever its id is there.
    fn master_copy(store: &Store, calendar: &str, event: &Record) -> Option<Record> {
        let mut master = Record::new();
        master.insert("id".to_owned(), event.get("recurringEventId")?.clone());
        master.insert("iCalUID".to_owned(), event.get("iCalUID")?.clone());
        Self::copy_of(store, calendar, &master)
    }

    fn is_user(&self, address: &str) -> bool {
        self.options.users.iter().any(|user| user.email.eq_ignore_ascii_case(address))
    }

    /// Brings the organiser's copy into the calendars of the users who take part, or took part.
    fn propagate(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        by: &By<'_>,
        calendar: &str,
        step: &Step,
    ) -> io::Result<()> {
        if step.after.get("privateCopy") == Some(&json!(true)) {
            return Ok(());
        }
        let both = step.before.iter().flat_map(event::attendees).chain(event::attendees(&step.after));
        let mut users: Vec<String> = both
            .map(|attendee| event::email(attendee).to_lowercase())
            .filter(|address| self.is_user(address))
            .collect();
        users.sort_unstable();
        users.dedup();
        users.retain(|user| !user.eq_ignore_ascii_case(calendar));
        for user in users {
            if let Some((copy, entity)) = self.copy_for(store, now, &user, step) {
                let written = self.put(store, now, by, &user, &copy, entity)?;
                let written = Step { before: copy.before, after: written };
                self.tidy_series(store, now, by, &user, &written)?;
            }
        }
        Ok(())
    }

    /// What becomes of one user's copy, if anything.
    fn copy_for(
        &self,
        store: &Store,
        now: Timestamp,
        user: &str,
        step: &Step,
    ) -> Option<(Step, &'static str)> {
        let event = &step.after;
        let is_wanted = event::attendee(event, user).is_some() && !event::is_cancelled(event);
        let is_new = step
            .before
            .as_ref()
            .is_none_or(|before| event::attendee(before, user).is_none() || event::is_cancelled(before));
        let master = Self::master_copy(store, user, event);
        let copy = Self::copy_of(store, user, event);
        let step = match (copy, is_wanted) {
            (Some(copy), true) => {
                // Who deleted his copy does not get it back with each change.
                if event::is_cancelled(&copy) && !is_new {
                    return None;
                }
                let mut after = copy.clone();
                overwrite_shared(&mut after, event, now);
                if shared(&after) == shared(&copy) {
                    return None;
                }
                Step { before: Some(copy), after }
            }
            (Some(copy), false) if event::is_cancelled(&copy) => return None,
            (Some(copy), false) => {
                let mut after = copy.clone();
                overwrite_shared(&mut after, event, now);
                Step { before: Some(copy), after: cancelled(after, now) }
            }
            (None, true) => {
                if master.as_ref().is_some_and(event::is_cancelled) && !is_new {
                    return None;
                }
                Step { before: None, after: fresh_copy(store, user, event, master.as_ref()) }
            }
            // A guest of the series who is not one of this occurrence.
            (None, false) => {
                let master = master.filter(|master| !event::is_cancelled(master))?;
                let before =
                    event::when(event, "originalStartTime").map(|when| series::occurrence(&master, &when));
                let copy = fresh_copy(store, user, event, Some(&master));
                Step { before, after: cancelled(copy, now) }
            }
        };
        Some((step, COPY))
    }

    /// A guest answered, deleted his copy, or changed what guests may change: the organiser's copy follows, and with it
    /// all others.
    fn tell_organizer(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        by: &By<'_>,
        guest: &str,
        step: &Step,
    ) -> io::Result<()> {
        let organizer = event::organizer(&step.after).to_lowercase();
        let occurrence = || {
            let master = Self::master_copy(store, &organizer, &step.after)?;
            let start = event::when(&step.after, "originalStartTime")?;
            series::find(store, &organizer, &format!("{}_{}", event::text(&master, "id"), start.stamp()))
        };
        let original = Self::copy_of(store, &organizer, &step.after).or_else(occurrence);
        let Some(original) = original.filter(|original| !event::is_cancelled(original)) else {
            return Ok(());
        };
        let mut after = original.clone();
        let may = original.get("guestsCanModify") == Some(&json!(true));
        if may && !event::is_cancelled(&step.after) {
            overwrite_shared(&mut after, &step.after, now);
        }
        let mut answer = event::attendee(&step.after, guest).cloned();
        if event::is_cancelled(&step.after)
            && let Some(answer) = &mut answer
        {
            answer["responseStatus"] = json!("declined");
        }
        let all = after.get_mut("attendees").and_then(Value::as_array_mut).into_iter().flatten();
        for attendee in all.filter(|attendee| event::email(attendee).eq_ignore_ascii_case(guest)) {
            if let Some(answer) = &answer {
                *attendee = answer.clone();
            }
        }
        if shared(&after) == shared(&original) {
            return Ok(());
        }
        after.insert("updated".to_owned(), json!(millis(now)));
        let step = Step { before: Some(original), after };
        let after = self.put(store, now, by, &organizer, &step, COPY)?;
        self.propagate(store, now, by, &organizer, &Step { before: step.before, after })
    }
}
