//! Writing events: create, change, delete, cancel, answer. A person at the screen goes the same way as a client.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::answers::{Refusal, Stop};
use super::event::{Event, Item, Person, QUIET};
use super::ids;
use super::meetings;
use super::render::{self, Style};
use super::state::{self, Work};
use super::{Mailbox, Microsoft};
use crate::journal::{ActorKind, Operation};
use crate::store::{Change, Note, Store};
use crate::upstream::Record;

const TRANSACTIONS: &str = "transaction";

/// Who writes.
#[derive(Debug, Clone)]
pub(super) struct By {
    pub(super) kind: ActorKind,
    pub(super) name: String,
}

/// Which event, or which occurrence of one.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) event: Event,
    pub(super) slot: Option<Date>,
}

impl Target {
    /// The item that it names.
    pub(super) fn item(&self) -> Item {
        self.slot
            .and_then(|slot| self.event.occurrence(slot))
            .map_or_else(|| self.event.item.clone(), |item| item.into_owned())
    }

    fn etag(&self) -> String {
        let own = self.slot.and_then(|slot| self.event.exceptions.get(&slot));
        ids::etag(own.map_or(self.event.item.change, |item| item.change))
    }

    /// Refuses a write whose If-Match names another version.
    pub(super) fn check_version(&self, if_match: Option<&str>) -> Result<(), Refusal> {
        match if_match {
            Some(wanted) if wanted != "*" && wanted != self.etag() => Err(Refusal::new(
                412,
                "ErrorIrresolvableConflict",
                "The send or update operation could not be performed because the change key passed in the request does \
                 not match the current change key for the item.",
            )),
            _ => Ok(()),
        }
    }

    /// As the journal has it.
    pub(super) fn journaled(&self) -> Value {
        let style = Style::plain();
        let item = self.item();
        let mut shown = match self.slot {
            None => render::whole(&style, &self.event),
            Some(slot) => render::occurrence(&style, &self.event, slot, &item),
        };
        shown.insert("singleValueExtendedProperties".to_owned(), json!(item.properties));
        shown.insert("mailbox".to_owned(), json!(self.event.mailbox));
        Value::Object(shown)
    }

    pub(super) fn id(&self) -> String {
        ids::event(ids::Form::Immutable, self.event.number, self.event.revision, self.slot)
    }
}

/// Finds an event of a mailbox, or of one of its calendars.
pub(super) fn find(
    store: &Store,
    mailbox: &Mailbox,
    calendar: Option<&str>,
    id: &str,
) -> Result<Target, Refusal> {
    let malformed = || Refusal::new(400, "ErrorInvalidIdMalformed", "Id is malformed.");
    let named = ids::read(id).ok_or_else(malformed)?;
    let event = state::find(store, named.number)
        .filter(|event| event.mailbox == mailbox.address)
        .filter(|event| named.revision.is_none_or(|revision| revision == event.revision))
        .filter(|event| calendar.is_none_or(|calendar| calendar == event.calendar))
        .ok_or_else(Refusal::not_found)?;
    if let Some(slot) = named.slot
        && event.occurrence(slot).is_none()
    {
        return Err(Refusal::not_found());
    }
    Ok(Target { event, slot: named.slot })
}

fn note(by: &By, operation: Operation, before: Option<&Target>, after: Option<&Target>) -> Option<Note> {
    let target = after.or(before)?;
    Some(Note {
        operation,
        entity: "event",
        record_id: target.id(),
        actor_kind: by.kind,
        actor: by.name.clone(),
        before: before.map(Target::journaled),
        after: after.map(Target::journaled),
    })
}

/// What a retry must repeat to be taken for the same create.
fn fingerprint(body: &Record) -> String {
    let mut sorted: Vec<(&String, &Value)> = body.iter().collect();
    sorted.sort_by_key(|(name, _)| name.as_str());
    URL_SAFE_NO_PAD.encode(Sha256::digest(json!(sorted).to_string()))
}

/// Whether attendees are told about a write of these members.
fn is_loud(body: &Record) -> bool {
    body.keys().any(|name| !QUIET.contains(&name.as_str()) && name != "transactionId" && !name.contains('@'))
}

impl Microsoft {
    /// Makes an event; the one that the same request made before, where it names a transaction.
    pub(super) fn create(
        &self,
        store: &mut Store,
        now: Timestamp,
        by: &By,
        mailbox: &Mailbox,
        calendar: &str,
        body: &Record,
    ) -> Result<Event, Stop> {
        if body.get("start").is_none_or(Value::is_null) || body.get("end").is_none_or(Value::is_null) {
            return Err(Refusal::invalid("Start and end of the event are missing.").into());
        }
        let transaction = body.get("transactionId").and_then(Value::as_str).filter(|id| !id.is_empty());
        if let Some(made) = transaction.and_then(|id| self.transaction(store, now, mailbox, id)) {
            let event = made.0.and_then(|number| state::find(store, number));
            return match event.filter(|_| made.1 == fingerprint(body)) {
                Some(event) => Ok(event),
                None => Err(Refusal::new(
                    409,
                    "ErrorDuplicateTransactionId",
                    "Your request can't be completed. The TransactionId specified in the request has already been used \
                     to create a different event.",
                )
                .into()),
            };
        }
        let mut work = Work::new(store, now, self.odds()).by(by.kind);
        let number = work.number();
        let own = Person { name: mailbox.name.clone(), address: mailbox.address.clone() };
        let foreign =
            organizer_of(body).filter(|person| !person.address.eq_ignore_ascii_case(&mailbox.address));
        let organizer = foreign.filter(|_| by.kind != ActorKind::Api);
        let is_organizer = organizer.is_none();
        let mut item = Item::new(now, if is_organizer { "organizer" } else { "notResponded" });
        item.apply(body)?;
        work.stamp(&mut item);
        let uid = body.get("iCalUId").and_then(Value::as_str).filter(|_| !is_organizer).map(str::to_owned);
        let mut event = Event {
            number,
            revision: 0,
            mailbox: mailbox.address.clone(),
            calendar: calendar.to_owned(),
            row: 0,
            i_cal_uid: uid.unwrap_or_else(|| ids::i_cal_uid(number)),
            transaction_id: transaction.map(str::to_owned),
            organizer: organizer.unwrap_or(own),
            is_organizer,
            copies: BTreeMap::new(),
            copy_of: None,
            item,
            recurrence: None,
            exceptions: BTreeMap::new(),
            gaps: BTreeSet::new(),
        };
        event.set_recurrence(body.get("recurrence").unwrap_or(&Value::Null))?;
        if event.is_organizer && by.kind != ActorKind::Seed {
            meetings::tell(&mut work, &self.mailboxes, &mut event, &[], None);
        } else if event.is_organizer {
            meetings::lay_out(&mut work, &self.mailboxes, &mut event);
        }
        work.put(&event);
        if let Some(id) = transaction {
            let made = json!({ "number": number, "fingerprint": fingerprint(body), "at": now });
            work.change(Change::set(TRANSACTIONS, &format!("{} {id}", mailbox.address), made));
        }
        let target = Target { event: event.clone(), slot: None };
        work.commit(note(by, Operation::Create, None, Some(&target)))?;
        Ok(event)
    }

    /// The event that a transaction made, and its request, for as long as that is remembered.
    fn transaction(
        &self,
        store: &Store,
        now: Timestamp,
        mailbox: &Mailbox,
        id: &str,
    ) -> Option<(Option<u64>, String)> {
        let made = store.get(TRANSACTIONS, &format!("{} {id}", mailbox.address))?;
        let at: Timestamp = made["at"].as_str()?.parse().ok()?;
        let memory = SignedDuration::from_hours(i64::from(self.options.transaction_memory_hours));
        let fingerprint = made["fingerprint"].as_str()?.to_owned();
        (now.duration_since(at) < memory).then(|| (made["number"].as_u64(), fingerprint))
    }

    /// Writes what the body names into an event or into one occurrence.
    pub(super) fn change(
        &self,
        store: &mut Store,
        now: Timestamp,
        by: &By,
        before: Target,
        body: &Record,
    ) -> Result<Target, Stop> {
        if body.get("transactionId").is_some_and(|id| *id != json!(before.event.transaction_id)) {
            return Err(Refusal::invalid("The transactionId of an event cannot be changed.").into());
        }
        let mut after = before.clone();
        let event = &mut after.event;
        // `[A]` What belongs to the organiser is refused in an attendee's copy.
        if !event.is_organizer && by.kind == ActorKind::Api && is_loud(body) {
            let message =
                "Your request can't be completed. You need to be the organizer to change this meeting.";
            return Err(Refusal::new(403, "ErrorAccessDenied", message).into());
        }
        let mut work = Work::new(store, now, self.odds()).by(by.kind);
        let invited = meetings::invited(&before.item());
        match before.slot {
            Some(slot) => {
                if body.get("recurrence").is_some_and(|recurrence| !recurrence.is_null()) {
                    return Err(Refusal::invalid("An occurrence has no recurrence.").into());
                }
                let mut item = before.item();
                item.apply(body)?;
                let (earlier, later) = event.neighbours(slot);
                let date = item.start.date();
                if date != before.item().start.date()
                    && (earlier.is_some_and(|earlier| date <= earlier)
                        || later.is_some_and(|later| date >= later))
                {
                    let message = "Modified occurrence is crossing or overlapping adjacent occurrence.";
                    return Err(Refusal::new(400, "ErrorOccurrenceCrossingBoundary", message).into());
                }
                work.stamp(&mut item);
                event.exceptions.insert(slot, item);
            }
            None => {
                event.item.apply(body)?;
                let is_moved = (event.item.start, &event.item.start_zone)
                    != (before.event.item.start, &before.event.item.start_zone)
                    || (event.item.end, event.item.is_all_day())
                        != (before.event.item.end, before.event.item.is_all_day());
                match body.get("recurrence") {
                    Some(recurrence) => {
                        let mut renewed = event.clone();
                        renewed.set_recurrence(recurrence)?;
                        if renewed.recurrence != event.recurrence || is_moved {
                            *event = renewed;
                        }
                    }
                    None if is_moved => event.restart(),
                    None => {}
                }
                let mut item = event.item.clone();
                work.stamp(&mut item);
                event.item = item;
            }
        }
        if event.is_organizer && is_loud(body) {
            meetings::tell(&mut work, &self.mailboxes, event, &invited, before.slot);
        }
        work.put(event);
        work.commit(note(by, Operation::Update, Some(&before), Some(&after)))?;
        Ok(after)
    }

    /// Deletes an event or one occurrence; attendees are told when the organiser does it.
    pub(super) fn delete(
        &self,
        store: &mut Store,
        now: Timestamp,
        by: &By,
        before: Target,
    ) -> Result<(), Stop> {
        let mut work = Work::new(store, now, self.odds()).by(by.kind);
        let mut event = before.event.clone();
        let invited = meetings::invited(&before.item());
        if event.is_organizer {
            meetings::call_off(&mut work, &mut event, &invited, before.slot);
        }
        match before.slot {
            None => work.remove(&event),
            Some(slot) => {
                event.exceptions.remove(&slot);
                event.gaps.insert(slot);
                if self.options.deleted_occurrences_show {
                    let mut item = event.item.clone();
                    work.stamp(&mut item);
                    event.item = item;
                }
                work.put_quietly(&event, !self.options.deleted_occurrences_show);
            }
        }
        work.commit(note(by, Operation::Delete, Some(&before), None))?;
        Ok(())
    }

    /// Answers an invitation.
    pub(super) fn respond(
        &self,
        store: &mut Store,
        now: Timestamp,
        by: &By,
        before: Target,
        response: &str,
        is_told: bool,
    ) -> Result<(), Stop> {
        if before.event.is_organizer {
            let message = "Your request can't be completed. You can't respond to this meeting because you're the meeting organizer.";
            return Err(Refusal::new(400, "ErrorInvalidRequest", message).into());
        }
        let mut after = before.clone();
        let mut work = Work::new(store, now, self.odds()).by(by.kind);
        let address = before.event.mailbox.clone();
        let name = self
            .mailboxes
            .iter()
            .find(|mailbox| mailbox.address == address)
            .map(|mailbox| mailbox.name.clone());
        let who = Person { name: name.unwrap_or_default(), address };
        meetings::respond(&mut work, &mut after.event, before.slot, response, is_told, &who);
        let is_gone = response == "declined";
        let operation = if is_gone { Operation::Delete } else { Operation::Update };
        work.commit(note(by, operation, Some(&before), Some(&after).filter(|_| !is_gone)))?;
        Ok(())
    }

    /// Moves an event to another calendar of the mailbox: its ordinary id changes.
    pub(super) fn move_event(
        &self,
        store: &mut Store,
        now: Timestamp,
        by: &By,
        before: Target,
        calendar: &str,
    ) -> Result<(), Stop> {
        let mut after = before.clone();
        calendar.clone_into(&mut after.event.calendar);
        after.event.revision += 1;
        let mut work = Work::new(store, now, self.odds()).by(by.kind);
        let mut item = after.event.item.clone();
        work.stamp(&mut item);
        after.event.item = item;
        work.put(&after.event);
        work.commit(note(by, Operation::Update, Some(&before), Some(&after)))?;
        Ok(())
    }

    /// What the service does by itself, seconds after a create: the version moves, the content does not.
    pub(super) fn keep_house(&self, store: &mut Store, now: Timestamp, target: Target) -> Result<(), Stop> {
        let mut event = target.event;
        let mut work = Work::new(store, now, self.odds());
        let mut item = event.item.clone();
        work.stamp(&mut item);
        event.item = item;
        work.put(&event);
        work.commit(None)?;
        Ok(())
    }
}

/// The organiser of an event that came by mail from outside.
fn organizer_of(body: &Record) -> Option<Person> {
    let address = body.get("organizer")?["emailAddress"]["address"].as_str()?;
    let name = body.get("organizer")?["emailAddress"]["name"].as_str().unwrap_or(address);
    Some(Person { name: name.to_owned(), address: address.to_owned() })
}
