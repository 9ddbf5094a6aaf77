//! The mails that a write sends: counted, never sent.

use std::io;

use jiff::Timestamp;
use serde_json::json;

use super::Google;
use super::description::Call;
use super::event;
use super::write::{By, Step, not_own, shared};
use crate::journal::{ActorKind, Operation};
use crate::store::{Note, Store};
use crate::upstream::Record;

/// Name of a mail in the journal.
pub(super) const ENTITY: &str = "Mail";

/// To whom mail goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    All,
    ExternalOnly,
    None,
    /// The client did not say. `[A]` "some emails might still be sent": those to guests who have no Google calendar.
    Unsaid,
}

impl Policy {
    pub(super) fn of(call: &Call) -> Self {
        Self::from_name(call.parameter("sendUpdates").or(match call.parameter("sendNotifications") {
            Some("true") => Some("all"),
            _ => None,
        }))
    }

    pub(super) fn from_name(name: Option<&str>) -> Self {
        match name {
            Some("all") => Self::All,
            Some("externalOnly") => Self::ExternalOnly,
            Some("none") => Self::None,
            _ => Self::Unsaid,
        }
    }
}

/// Who is written to and why, before anybody is left out. `calendar` is the one that was written.
fn wanted(calendar: &str, before: Option<&Record>, after: &Record) -> Vec<(String, &'static str)> {
    let organizer = event::organizer(after).to_lowercase();
    if organizer != calendar.to_lowercase() {
        let answered =
            before.and_then(|before| event::attendee(before, calendar)) != event::attendee(after, calendar);
        let left = event::is_cancelled(after);
        let changed = before.is_none_or(|before| not_own(before, calendar) != not_own(after, calendar));
        let kind = if answered || left { "response" } else { "update" };
        return if answered || left || changed { vec![(organizer, kind)] } else { Vec::new() };
    }
    let is_live = |event: &&Record| !event::is_cancelled(event);
    let guests = |event: Option<&Record>| -> Vec<String> {
        let all = event.map(event::attendees).unwrap_or_default().iter();
        all.filter(|attendee| attendee.get("resource") != Some(&json!(true)))
            .map(|attendee| event::email(attendee).to_lowercase())
            .filter(|address| *address != organizer)
            .collect()
    };
    let (old, new) = (guests(before.filter(is_live)), guests(Some(after).filter(is_live)));
    let is_changed = before.is_none_or(|before| shared(before) != shared(after));
    let gone =
        old.iter().filter(|address| !new.contains(address)).map(|address| (address.clone(), "cancellation"));
    let there = new.iter().filter_map(|address| match old.contains(address) {
        true => is_changed.then(|| (address.clone(), "update")),
        false => Some((address.clone(), "invitation")),
    });
    gone.chain(there).collect()
}

impl Google {
    pub(super) fn send_mails(
        &self,
        store: &mut Store,
        now: Timestamp,
        by: &By<'_>,
        calendar: &str,
        step: &Step,
        policy: Policy,
    ) -> io::Result<()> {
        let is_person = by.kind != ActorKind::Api;
        let goes = |address: &str| match policy {
            Policy::All => true,
            Policy::None => false,
            Policy::Unsaid if is_person => false,
            Policy::ExternalOnly | Policy::Unsaid => {
                !self.options.users.iter().any(|user| user.email.eq_ignore_ascii_case(address))
            }
        };
        let id = event::text(&step.after, "id");
        for (to, kind) in wanted(calendar, step.before.as_ref(), &step.after) {
            if !goes(&to) {
                continue;
            }
            let note = Note {
                operation: Operation::Create,
                entity: ENTITY,
                record_id: format!("{calendar}:{id}:{to}"),
                actor_kind: by.kind,
                actor: by.user.to_owned(),
                before: None,
                after: Some(json!({ "to": to, "kind": kind, "calendar": calendar, "event": id })),
            };
            store.commit(now, Some(note), Vec::new())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn event(value: Value) -> Record {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn guests_are_written_to_when_something_concerns_them() {
        let both = event(json!({ "summary": "A", "organizer": { "email": "o@x" }, "attendees": [
            { "email": "a@x" }, { "email": "b@x" }, { "email": "O@x" }, { "email": "room@x", "resource": true } ] }));
        let one = event(
            json!({ "summary": "A", "organizer": { "email": "o@x" }, "attendees": [{ "email": "a@x" }] }),
        );
        let mut other = both.clone();
        other.insert("reminders".to_owned(), json!({ "useDefault": false }));
        let mut gone = both.clone();
        gone.insert("status".to_owned(), json!("cancelled"));
        let told = |before: Option<&Record>, after: &Record| {
            let all = wanted("o@x", before, after);
            all.into_iter().map(|(to, kind)| format!("{to} {kind}")).collect::<Vec<_>>()
        };
        assert_eq!(told(None, &both), ["a@x invitation", "b@x invitation"]);
        assert_eq!(told(Some(&both), &one), ["b@x cancellation", "a@x update"]);
        assert_eq!(told(Some(&one), &both), ["a@x update", "b@x invitation"]);
        assert_eq!(told(Some(&both), &gone), ["a@x cancellation", "b@x cancellation"]);
        assert_eq!(told(Some(&gone), &both), ["a@x invitation", "b@x invitation"]);
        assert!(told(Some(&both), &other).is_empty());
    }

    #[test]
    fn the_organiser_is_written_to_when_a_guest_answers_or_leaves() {
        let before = event(json!({ "organizer": { "email": "o@x" }, "attendees": [{ "email": "a@x" }] }));
        let mut answered = before.clone();
        answered["attendees"][0]["responseStatus"] = json!("accepted");
        let mut own = before.clone();
        own.insert("colorId".to_owned(), json!("3"));
        assert_eq!(wanted("a@x", Some(&before), &answered), [("o@x".to_owned(), "response")]);
        assert!(wanted("a@x", Some(&before), &own).is_empty());
    }
}
