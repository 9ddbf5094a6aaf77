//! What people do at the screen, and what a test lays out. Events go by `calendar:id`.

use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::answers::Refusal;
use super::calendars::{self, Access};
use super::event;
use super::events::base;
use super::mails::Policy;
use super::times::{When, millis};
use super::write::{By, Step, cancelled};
use super::{Google, series};
use crate::journal::ActorKind;
use crate::store::Store;
use crate::upstream::Record;

fn split_id(id: &str) -> Result<(&str, &str), String> {
    id.split_once(':').ok_or_else(|| format!("{id} is no calendar:event"))
}

fn taken(fields: &mut Record, name: &str) -> Option<String> {
    fields.shift_remove(name).and_then(|value| value.as_str().map(str::to_owned))
}

fn told<T>(outcome: io::Result<Result<T, Refusal>>) -> Result<T, String> {
    outcome
        .map_err(|error| error.to_string())?
        .map_err(|refusal| format!("{}: {}", refusal.reason, refusal.message))
}

impl Google {
    fn calendar_of(&self, store: &Store, id: Option<String>) -> Result<Access, String> {
        let id = id.or_else(|| self.options.users.first().map(|user| user.email.clone())).unwrap_or_default();
        calendars::find_as_owner(store, &id).ok_or_else(|| format!("there is no calendar {id}"))
    }

    /// An event of somebody's, cancelled or not, and the calendar that it is in.
    fn event_by_hand(&self, store: &Store, id: &str) -> Result<(Access, Record), String> {
        let (calendar, id) = split_id(id)?;
        let access = self.calendar_of(store, Some(calendar.to_owned()))?;
        let event = series::find(store, &access.id, id).ok_or("there is no such event")?;
        Ok((access, event))
    }

    pub(super) fn create_by_hand(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        fields: &Record,
    ) -> Result<String, String> {
        let mut fields = fields.clone();
        let access = self.calendar_of(store, taken(&mut fields, "calendarId"))?;
        let mails = Policy::from_name(taken(&mut fields, "sendUpdates").as_deref());
        let by = By { kind: ActorKind::Person, user: &access.user };
        let event = told(self.insert(store, now, &by, &access, &fields, mails))?;
        Ok(format!("{}:{}", access.id, event::text(&event, "id")))
    }

    pub(super) fn edit_by_hand(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        id: &str,
        fields: &Record,
    ) -> Result<(), String> {
        let mut fields = fields.clone();
        let (access, before) = self.event_by_hand(store, id)?;
        let mails = Policy::from_name(taken(&mut fields, "sendUpdates").as_deref());
        if let Some(at) = taken(&mut fields, "splitAt") {
            return self.split_by_hand(store, now, &access, before, &at, &fields);
        }
        if let Some(status) = taken(&mut fields, "responseStatus") {
            let mut all = event::attendees(&before).to_vec();
            let own = all.iter_mut().find(|one| event::email(one).eq_ignore_ascii_case(&access.id));
            own.ok_or("he is not invited")?["responseStatus"] = json!(status);
            fields.insert("attendees".to_owned(), json!(all));
        }
        let by = By { kind: ActorKind::Person, user: &access.user };
        told(self.change(store, now, &by, &access, before, &fields, false, mails)).map(|_| ())
    }

    /// "This and following events": the series ends before, a new one goes on from there.
    fn split_by_hand(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        access: &Access,
        master: Record,
        at: &str,
        fields: &Record,
    ) -> Result<(), String> {
        let first = event::when(&master, "start").ok_or("it has no start")?;
        let value = match &first {
            When::Day(_) => json!({ "date": at }),
            When::At { zone, .. } => json!({ "dateTime": at, "timeZone": zone }),
        };
        let at = When::read(&value, &access.time_zone)?;
        let lines = event::recurrence(&master);
        let starts = event::series(&master).ok_or("it is no series")?.occurrences();
        let index =
            starts.iter().position(|start| start.stamp() == at.stamp()).ok_or("nothing starts then")?;
        let later: Vec<String> = lines
            .iter()
            .map(|line| {
                let parts = line.split(';').map(|part| match part.split_once("COUNT=") {
                    Some((head, count)) => {
                        let count = count.parse::<usize>().unwrap_or(1).saturating_sub(index).max(1);
                        format!("{head}COUNT={count}")
                    }
                    None => part.to_owned(),
                });
                parts.collect::<Vec<_>>().join(";")
            })
            .collect();
        let by = By { kind: ActorKind::Person, user: &access.user };
        let occurrence = series::occurrence(&master, &at);
        let id = format!("{}_R{}", event::text(&master, "id"), at.stamp().trim_end_matches('Z'));
        let mut next = master.clone();
        for (name, value) in [
            ("id", json!(id)),
            ("iCalUID", json!(format!("{id}@google.com"))),
            ("created", json!(millis(now))),
            ("updated", json!(millis(now))),
            ("start", occurrence.get("start").cloned().unwrap_or_default()),
            ("end", occurrence.get("end").cloned().unwrap_or_default()),
            ("recurrence", json!(later)),
        ] {
            next.insert(name.to_owned(), value);
        }
        event::merge(&mut next, fields);
        let written = event::read(&next, access, true).map_err(|refusal| refusal.message)?;
        next.extend(written);
        let ended = Record::from_iter([("recurrence".to_owned(), json!(series::ended_before(&lines, &at)))]);
        told(self.change(store, now, &by, access, master, &ended, false, Policy::None))?;
        let step = Step { before: None, after: next };
        self.write(store, now, &by, &access.id, &step, Policy::None)
            .map(|_| ())
            .map_err(|error| error.to_string())
    }

    pub(super) fn delete_by_hand(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        id: &str,
    ) -> Result<(), String> {
        let (access, before) = self.event_by_hand(store, id)?;
        if event::is_cancelled(&before) {
            return Err("it was deleted before".to_owned());
        }
        let by = By { kind: ActorKind::Person, user: &access.user };
        let after = cancelled(before.clone(), now);
        let step = Step { before: Some(before), after };
        let written = self.write(store, now, &by, &access.id, &step, Policy::Unsaid);
        written.map(|_| ()).map_err(|error| error.to_string())
    }

    /// An event as if it had always been. `organizer`, `creator`, `created`, `updated`, `iCalUID`, `recurringEventId`
    /// and `originalStartTime` are kept as given.
    pub(super) fn seed_event(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        record: Record,
    ) -> Result<String, String> {
        let mut record = record;
        let access = self.calendar_of(store, taken(&mut record, "calendarId"))?;
        let id = taken(&mut record, "id").unwrap_or_else(super::events::new_id);
        let uid = taken(&mut record, "iCalUID").unwrap_or_else(|| format!("{id}@google.com"));
        let written = event::read(&record, &access, true).map_err(|refusal| refusal.message)?;
        let mut after = base(&id, &uid, now);
        after.insert("creator".to_owned(), json!({ "email": access.user }));
        after.insert("organizer".to_owned(), json!({ "email": access.id }));
        let given = [
            "organizer",
            "creator",
            "created",
            "updated",
            "sequence",
            "recurringEventId",
            "privateCopy",
            "htmlLink",
        ];
        for name in given {
            if let Some(value) = record.get(name) {
                after.insert(name.to_owned(), value.clone());
            }
        }
        if let Some(original) = record.get("originalStartTime") {
            let original = When::read(original, &access.time_zone)?;
            after.insert("originalStartTime".to_owned(), original.stored());
        }
        after.extend(written);
        if event::is_cancelled(&after) {
            after = cancelled(after, now);
        }
        let before = series::stored(store, &access.id, &id);
        let by = By { kind: ActorKind::Seed, user: "seed" };
        let written = self.write(store, now, &by, &access.id, &Step { before, after }, Policy::None);
        written.map_err(|error| error.to_string())?;
        Ok(format!("{}:{id}", access.id))
    }

    pub(super) fn all_events(&self, store: &Store) -> Vec<Value> {
        let users = self.options.users.iter().map(|user| user.email.as_str());
        let calendars = users.chain(self.options.calendars.iter().map(|calendar| calendar.id.as_str()));
        calendars
            .flat_map(|calendar| {
                series::rows(store, calendar)
                    .into_iter()
                    .map(move |row| with_calendar(calendar, row))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    pub(super) fn one_event(store: &Store, id: &str) -> Option<Value> {
        let (calendar, id) = id.split_once(':')?;
        series::find(store, calendar, id).map(|event| with_calendar(calendar, &event))
    }
}

/// An event as stored, with the calendar it is in.
fn with_calendar(calendar: &str, event: &Record) -> Value {
    let mut shown = Record::from_iter([("calendarId".to_owned(), json!(calendar))]);
    let own = event.iter().filter(|(name, _)| !name.starts_with('_'));
    shown.extend(own.map(|(name, value)| (name.clone(), value.clone())));
    Value::Object(shown)
}
