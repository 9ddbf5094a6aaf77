//! What is kept in the store, and one piece of work on it: everything a request changes, in all mailboxes, in one commit.
//!
//! Each calendar has a log with one row for each event: where it was written last. A delta round reads the log.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::event::{Event, Item};
use super::notifications::{self, Odds};
use crate::journal::ActorKind;
use crate::store::{Change, Note, Store};

pub(super) const EVENTS: &str = "event";
const NUMBERS: &str = "number";
const MAILS: &str = "mail";

/// The table of a calendar's log.
pub(super) fn log_of(calendar: &str) -> String {
    format!("log:{calendar}")
}

/// A number as a row's id: in order as text.
pub(super) fn row_id(number: u64) -> String {
    format!("{number:016x}")
}

pub(super) fn find(store: &Store, number: u64) -> Option<Event> {
    read(store.get(EVENTS, &row_id(number))?)
}

pub(super) fn read(value: &Value) -> Option<Event> {
    Event::deserialize_from(value)
}

impl Event {
    fn deserialize_from(value: &Value) -> Option<Self> {
        serde::Deserialize::deserialize(value).ok()
    }
}

/// A row of a calendar's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Row {
    pub(super) number: u64,
    /// How often it had moved, where it is gone from this calendar.
    pub(super) gone: Option<u32>,
    pub(super) at: Timestamp,
}

/// The rows after the given one, oldest first.
pub(super) fn rows_after(store: &Store, calendar: &str, row: u64) -> impl Iterator<Item = (u64, Row)> {
    let table = log_of(calendar);
    let rows: Vec<(u64, Row)> = store
        .rows_after(&table, &row_id(row))
        .filter_map(|(id, row)| {
            Some((u64::from_str_radix(id, 16).ok()?, serde::Deserialize::deserialize(row).ok()?))
        })
        .collect();
    rows.into_iter()
}

/// All events of a calendar as they are stored, in the order of their last writes.
pub(super) fn stored_of<'a>(store: &'a Store, calendar: &str) -> impl Iterator<Item = &'a Value> {
    let rows: Vec<(u64, Row)> =
        rows_after(store, calendar, 0).filter(|(_, row)| row.gone.is_none()).collect();
    rows.into_iter().filter_map(|(_, row)| store.get(EVENTS, &row_id(row.number)))
}

/// All events of a calendar, in the order of their last writes.
pub(super) fn events_of(store: &Store, calendar: &str) -> impl Iterator<Item = Event> {
    stored_of(store, calendar).filter_map(read)
}

/// A mail that a write sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mail {
    Invitation,
    Update,
    Cancellation,
    Response,
}

impl Mail {
    fn name(self) -> &'static str {
        match self {
            Self::Invitation => "invitation",
            Self::Update => "update",
            Self::Cancellation => "cancellation",
            Self::Response => "response",
        }
    }
}

/// One piece of work.
pub(super) struct Work<'a> {
    pub(super) store: &'a mut Store,
    pub(super) now: Timestamp,
    odds: Odds,
    /// Who the mails come of.
    actor: ActorKind,
    last: u64,
    pending: BTreeMap<u64, Option<Event>>,
    /// Events that keep their place in the log, so that no delta round shows the write.
    quiet: BTreeSet<u64>,
    changes: Vec<Change>,
}

impl<'a> Work<'a> {
    pub(super) fn new(store: &'a mut Store, now: Timestamp, odds: Odds) -> Self {
        let last = store.get(NUMBERS, "last").and_then(Value::as_u64).unwrap_or(0);
        Self {
            store,
            now,
            odds,
            actor: ActorKind::Api,
            last,
            pending: BTreeMap::new(),
            quiet: BTreeSet::new(),
            changes: Vec::new(),
        }
    }

    /// The same, done by somebody else than a client.
    pub(super) fn by(mut self, actor: ActorKind) -> Self {
        self.actor = actor;
        self
    }

    /// A number that nothing had before.
    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// An event as this work has left it.
    pub(super) fn event(&self, number: u64) -> Option<Event> {
        match self.pending.get(&number) {
            Some(event) => event.clone(),
            None => find(self.store, number),
        }
    }

    /// Gives an item its new version.
    pub(super) fn stamp(&mut self, item: &mut Item) {
        item.change = self.number();
        item.modified = self.now;
    }

    pub(super) fn put(&mut self, event: &Event) {
        self.pending.insert(event.number, Some(event.clone()));
    }

    /// As [`Self::put`], and where it is to be unseen, delta rounds and notifications do not show it.
    pub(super) fn put_quietly(&mut self, event: &Event, is_unseen: bool) {
        if is_unseen {
            self.quiet.insert(event.number);
        }
        self.put(event);
    }

    pub(super) fn remove(&mut self, event: &Event) {
        self.pending.insert(event.number, None);
    }

    pub(super) fn change(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Counts a mail.
    pub(super) fn mail(&mut self, mail: Mail, from: &str, to: &str, event: &Event) {
        let id = row_id(self.number());
        let sent = json!({
            "kind": mail.name(), "from": from, "to": to, "at": self.now, "iCalUId": event.i_cal_uid,
            "actor_kind": self.actor,
            "subject": event.item.fields.get("subject"),
        });
        self.changes.push(Change::set(MAILS, &id, sent));
    }

    /// Writes all of it at once.
    pub(super) fn commit(mut self, note: Option<Note>) -> io::Result<()> {
        for (number, event) in std::mem::take(&mut self.pending) {
            let before = find(self.store, number);
            let kind = match (&before, &event) {
                (None, None) => continue,
                (None, Some(_)) => "created",
                (Some(_), Some(_)) => "updated",
                (Some(_), None) => "deleted",
            };
            if self.quiet.contains(&number) {
                self.changes.extend(event.map(|event| Change::set(EVENTS, &row_id(number), json!(event))));
                continue;
            }
            let row = self.number();
            if let Some(before) = &before {
                self.changes.push(Change::remove(&log_of(&before.calendar), &row_id(before.row)));
            }
            let is_gone =
                |before: &&Event| event.as_ref().is_none_or(|event| event.calendar != before.calendar);
            if let Some(before) = before.as_ref().filter(is_gone) {
                let gone = Row { number, gone: Some(before.revision), at: self.now };
                self.changes.push(Change::set(&log_of(&before.calendar), &row_id(row), json!(gone)));
            }
            match event.clone() {
                Some(mut event) => {
                    event.row = row;
                    let logged = Row { number, gone: None, at: self.now };
                    self.changes.push(Change::set(&log_of(&event.calendar), &row_id(row), json!(logged)));
                    self.changes.push(Change::set(EVENTS, &row_id(number), json!(event)));
                }
                None => self.changes.push(Change::remove(EVENTS, &row_id(number))),
            }
            if let Some(event) = event.or(before) {
                let due = notifications::about(self.store, self.now, self.odds, row, kind, &event);
                self.changes.extend(due);
            }
        }
        self.changes.push(Change::set(NUMBERS, "last", json!(self.last)));
        self.store.commit(self.now, note, self.changes)
    }
}

/// Every mail that a write sent, oldest first.
pub(super) fn mails(store: &Store) -> Vec<Value> {
    store.rows(MAILS).map(|(_, mail)| mail.clone()).collect()
}
