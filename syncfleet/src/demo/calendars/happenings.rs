//! From the ledgers of the systems to lines: what somebody did here, and what came of it there. Pure.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use simulators::{ActorKind, JournalEntry, Operation};
use unicode_normalization::UnicodeNormalization as _;

/// Most edits by people that are remembered.
const EDITS_MAX: usize = 200;
/// From here on it is no longer said how long it took: the program did not run, or nothing was connected.
const TOLD_WITHIN: SignedDuration = SignedDuration::from_secs(60);

/// Where something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Outlook,
    Google,
    EspoCrm,
}

impl Place {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Outlook => "Outlook",
            Self::Google => "Google",
            Self::EspoCrm => "EspoCRM",
        }
    }

    /// The fields that people see, by which it is told whether a write changed anything.
    fn shown(self) -> &'static [&'static str] {
        match self {
            Self::Outlook => &["subject", "start", "end", "location", "isAllDay", "isCancelled"],
            Self::Google => &["summary", "start", "end", "location", "status"],
            Self::EspoCrm => {
                &["name", "dateStart", "dateEnd", "dateStartDate", "dateEndDate", "cLocation", "status"]
            }
        }
    }

    /// What a record is called; none where it is in no calendar.
    fn thing(self, entity: &str) -> Option<&'static str> {
        match (self, entity) {
            (Self::Outlook, "event") | (Self::Google, "Event") => Some("event"),
            (Self::EspoCrm, "Meeting") => Some("meeting"),
            (Self::EspoCrm, "Call") => Some("call"),
            _ => None,
        }
    }
}

/// An edit by a person.
#[derive(Debug)]
struct Edit {
    place: Place,
    operation: Operation,
    at: Timestamp,
    /// Titles before and after.
    titles: [Option<String>; 2],
}

/// What people did lately.
#[derive(Debug, Default)]
pub(super) struct Happenings {
    edits: VecDeque<Edit>,
}

/// EspoCRM takes no `<` in names, and has the broad form of it instead: both are the same title here.
fn title(place: Place, record: Option<&Value>) -> Option<String> {
    let name = place.shown().first()?;
    Some(record?.get(name)?.as_str()?.nfkc().collect())
}

fn done(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "created",
        Operation::Update => "changed",
        Operation::Delete => "deleted",
    }
}

impl Happenings {
    /// The line for an entry; none where it says nothing new to people.
    pub(super) fn tell(&mut self, place: Place, entry: &JournalEntry) -> Option<String> {
        if place == Place::EspoCrm && entry.entity == "Note" && entry.actor_kind == ActorKind::Api {
            let post = entry.after.as_ref()?.get("post")?.as_str()?;
            let words: Vec<&str> = post.split_whitespace().collect();
            return Some(format!("EspoCRM: its user is told: {}", words.join(" ")));
        }
        let thing = place.thing(&entry.entity)?;
        let titles = [&entry.before, &entry.after].map(|record| title(place, record.as_ref()));
        match entry.actor_kind {
            ActorKind::Seed => None,
            ActorKind::Person => {
                if self.edits.len() == EDITS_MAX {
                    self.edits.pop_front();
                }
                self.edits.push_back(Edit { place, operation: entry.operation, at: entry.at, titles });
                None
            }
            ActorKind::Api => {
                if entry.operation == Operation::Update && !is_seen(place, entry) {
                    return None;
                }
                Some(self.consequence(place, entry, thing, &titles))
            }
        }
    }

    fn consequence(
        &self,
        place: Place,
        entry: &JournalEntry,
        thing: &str,
        titles: &[Option<String>; 2],
    ) -> String {
        let shown = titles[1].as_ref().or(titles[0].as_ref()).map_or("(without title)", String::as_str);
        let what = format!("{} {thing} {}", place.name(), done(entry.operation));
        let cause = self.edits.iter().rev().find(|edit| {
            let is_about =
                edit.titles.iter().flatten().any(|title| titles.iter().flatten().any(|own| own == title));
            edit.place != place && edit.at <= entry.at && is_about
        });
        let Some(cause) = cause else { return format!("“{shown}” → {what}") };
        let took = entry.at.duration_since(cause.at);
        let said = format!("{}: “{shown}” {} → {what}", cause.place.name(), done(cause.operation));
        match took < TOLD_WITHIN {
            true => format!("{said}, {:.1} s", took.as_secs_f64()),
            false => said,
        }
    }
}

/// Whether people see a difference.
fn is_seen(place: Place, entry: &JournalEntry) -> bool {
    let of =
        |record: &Option<Value>, name: &str| record.as_ref().and_then(|record| record.get(name)).cloned();
    place.shown().iter().any(|name| of(&entry.before, name) != of(&entry.after, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn entry(
        entity: &str,
        kind: ActorKind,
        operation: Operation,
        at: &str,
        before: Value,
        after: Value,
    ) -> JournalEntry {
        let some = |value: Value| Some(value).filter(|value| !value.is_null());
        JournalEntry {
            sequence: 1,
            at: at.parse().unwrap(),
            system: "x".into(),
            operation,
            entity: entity.into(),
            record_id: "1".into(),
            actor_kind: kind,
            actor: "anna".into(),
            before: some(before),
            after: some(after),
        }
    }

    #[test]
    fn what_somebody_did_is_told_with_what_came_of_it() {
        let (person, api) = (ActorKind::Person, ActorKind::Api);
        let mut happenings = Happenings::default();
        let (ten, then) = ("2026-11-25T10:00:00Z", "2026-11-25T10:00:00.640Z");
        let (event, meeting) = (json!({ "subject": "Jour fixe" }), json!({ "name": "Jour fixe" }));
        let made = entry("event", person, Operation::Create, ten, Value::Null, event.clone());
        assert_eq!(happenings.tell(Place::Outlook, &made), None);
        let arrived = entry("Meeting", api, Operation::Create, then, Value::Null, meeting.clone());
        let told = happenings.tell(Place::EspoCrm, &arrived).unwrap();
        assert_eq!(told, "Outlook: “Jour fixe” created → EspoCRM meeting created, 0.6 s");
        let stamped = json!({ "subject": "Jour fixe", "changeKey": "x" });
        let marked = entry("event", api, Operation::Update, then, event, stamped);
        assert_eq!(happenings.tell(Place::Outlook, &marked), None, "nobody sees that");

        let renamed = json!({ "name": "Weekly" });
        let edit = entry("Meeting", person, Operation::Update, ten, meeting.clone(), renamed);
        assert_eq!(happenings.tell(Place::EspoCrm, &edit), None);
        let (before, after) = (json!({ "subject": "Jour fixe" }), json!({ "subject": "Weekly" }));
        let written = entry("event", api, Operation::Update, "2026-11-25T12:00:00Z", before, after);
        let told = happenings.tell(Place::Outlook, &written).unwrap();
        assert_eq!(
            told, "EspoCRM: “Weekly” changed → Outlook event changed",
            "two hours are no time it took"
        );
    }

    #[test]
    fn what_was_there_before_is_told_without_a_cause() {
        let mut happenings = Happenings::default();
        let call = json!({ "name": "Call the court" });
        let ten = "2026-11-25T10:00:00Z";
        let seeded = entry("Call", ActorKind::Seed, Operation::Create, ten, Value::Null, call.clone());
        assert_eq!(happenings.tell(Place::EspoCrm, &seeded), None);
        let event = json!({ "subject": "Call the court" });
        let brought = entry("event", ActorKind::Api, Operation::Create, ten, Value::Null, event);
        let told = happenings.tell(Place::Outlook, &brought).unwrap();
        assert_eq!(told, "“Call the court” → Outlook event created");
        let user = entry("User", ActorKind::Api, Operation::Update, ten, Value::Null, call);
        assert_eq!(happenings.tell(Place::EspoCrm, &user), None);
    }

    #[test]
    fn what_users_are_told_is_one_line() {
        let note = json!({ "post": "**Jour fixe** was changed:\n\n- subject" });
        let told =
            entry("Note", ActorKind::Api, Operation::Create, "2026-11-25T10:00:00Z", Value::Null, note);
        let line = Happenings::default().tell(Place::EspoCrm, &told).unwrap();
        assert_eq!(line, "EspoCRM: its user is told: **Jour fixe** was changed: - subject");
    }

    #[test]
    fn not_more_is_remembered_than_is_needed() {
        let mut happenings = Happenings::default();
        for _ in 0..EDITS_MAX + 5 {
            let made = json!({ "subject": "x" });
            let ten = "2026-11-25T10:00:00Z";
            let edit = entry("event", ActorKind::Person, Operation::Create, ten, Value::Null, made);
            happenings.tell(Place::Outlook, &edit);
        }
        assert_eq!(happenings.edits.len(), EDITS_MAX);
    }
}
