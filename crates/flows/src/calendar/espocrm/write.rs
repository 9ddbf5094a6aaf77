//! The canonical form → what is written to EspoCRM. Pure.

use std::collections::{BTreeMap, BTreeSet};

use connector_espocrm::{Patch, values};
use serde_json::{Map, Value, json};

use super::needs::{BUSY, IMPORTANCE, Own};
use super::read::{Linked, Mails, NO_SUBJECT, STAND_INS, link, response_word};
use crate::calendar::crm::{Person, PersonKind};
use crate::calendar::event::{Attendee, Attendees, Event, Field, Place, Response, When};
use crate::calendar::further::Carried;
use crate::calendar::sides::MeetingKind;
use crate::calendar::zones;

/// These fields of an event, but for attendees: those need to know who is there ([`attendees`]).
pub(super) fn content(kind: MeetingKind, target: &Event, fields: &[Field]) -> Patch {
    fields.iter().fold(Patch::new(), |patch, field| set(patch, kind, target, *field))
}

fn set(patch: Patch, kind: MeetingKind, target: &Event, field: Field) -> Patch {
    let own = |patch: Patch, field: Own, value: Value| patch.set(field.attribute(), value);
    match field {
        Field::Subject => patch.set("name", name(&target.subject)),
        Field::When => set_when(patch, kind, target),
        Field::Body => patch.set("description", target.body.as_str()),
        Field::Location => own(patch, Own::Location, json!(target.location)),
        Field::Busy => {
            let word = BUSY.iter().find(|(busy, _)| *busy == target.busy).map_or("busy", |(_, word)| word);
            own(patch, Own::BusyState, json!(word))
        }
        Field::Private => own(patch, Own::IsPrivate, json!(target.private)),
        Field::Reminders => {
            let minutes: Vec<String> = target.reminders.iter().map(u32::to_string).collect();
            own(patch, Own::ReminderMinutes, json!(minutes.join(", ")))
        }
        Field::OnlineLink => own(patch, Own::OnlineLink, json!(target.online_link)),
        Field::Attendees => patch,
        Field::Recurrence => match &target.place {
            Place::Single => own(patch, Own::RecurrenceRule, Value::Null),
            Place::Master(series) => {
                let patch = own(patch, Own::RecurrenceRule, json!(series.to_lines().join("\n")));
                if kind == MeetingKind::Meeting { set_zone(patch, target) } else { patch }
            }
            Place::Occurrence { .. } | Place::Exception { .. } => patch,
        },
        Field::Categories => {
            let lines: Vec<&str> = target.further.categories.iter().map(String::as_str).collect();
            own(patch, Own::Categories, json!(lines.join("\n")))
        }
        Field::Importance => {
            let word = IMPORTANCE.iter().find(|(own, _)| *own == target.further.importance);
            own(patch, Own::Importance, json!(word.map_or("normal", |(_, word)| word)))
        }
        Field::WebLink => own(patch, Own::WebLink, json!(target.further.web_link)),
    }
}

/// The calendars from which a record's event was deleted, one a line.
pub(super) fn removed_from(calendars: &BTreeSet<String>) -> Patch {
    let lines: Vec<&str> = calendars.iter().map(String::as_str).collect();
    Patch::new().set(Own::RemovedFrom.attribute(), lines.join("\n").as_str())
}

/// The subject as EspoCRM takes it.
fn name(subject: &str) -> String {
    let taken =
        |own: char| STAND_INS.iter().find(|(meant, _)| *meant == own).map_or(own, |(_, stand_in)| *stand_in);
    match subject.chars().map(taken).collect::<String>() {
        empty if empty.is_empty() => NO_SUBJECT.to_owned(),
        name => name,
    }
}

/// All of the times in one write: a start that is written alone moves the end, and dates that stay win over times. Whole
/// days are nothing that a call can hold.
fn set_when(patch: Patch, kind: MeetingKind, target: &Event) -> Patch {
    let patch = match (&target.when, kind) {
        (When::Timed { start, end }, _) => patch
            .set("dateStart", values::datetime(start.timestamp()))
            .set("dateEnd", values::datetime(end.timestamp())),
        (When::AllDay { first, .. }, MeetingKind::Meeting) => patch
            .set("dateStartDate", values::date(*first))
            .set("dateEndDate", values::date(target.when.last_day().unwrap_or(*first))),
        (When::AllDay { .. }, MeetingKind::Call) => return patch,
    };
    let patch = match (target.when.is_all_day(), kind) {
        (true, _) => patch.set("isAllDay", true),
        (false, MeetingKind::Meeting) => {
            patch.set("isAllDay", false).clear("dateStartDate").clear("dateEndDate")
        }
        (false, MeetingKind::Call) => patch,
    };
    set_zone(patch, target)
}

/// The zone whose clock a rule follows, else the one that it was made in.
fn set_zone(patch: Patch, target: &Event) -> Patch {
    let of_rule = target.place.series().and_then(|series| series.zone.clone());
    let of_start = || Some(zones::iana_name(target.zone()?).ok()?.to_owned());
    let zone = target.zone().and_then(|_| of_rule.or_else(of_start));
    patch.set(Own::TimeZone.attribute(), json!(zone))
}

/// A new meeting of a user, planned, with its event's key.
pub(super) fn create(
    key: &str,
    event: &Event,
    user_id: &str,
    found: &BTreeMap<String, Person>,
    carried: &Carried,
) -> Patch {
    let is_there = |field: &Field| carried.has(*field) || !Carried::WORDS.iter().any(|(_, own)| own == field);
    let fields: Vec<Field> = Field::ALL.into_iter().filter(is_there).collect();
    let patch = content(MeetingKind::Meeting, event, &fields)
        .set("status", "Planned")
        .set("assignedUserId", user_id)
        .set(Own::EventKey.attribute(), key);
    let patch = match &event.place {
        Place::Single | Place::Master(_) => patch,
        Place::Occurrence { series_id, original } | Place::Exception { series_id, original } => patch
            .set(Own::SeriesId.attribute(), series_id.as_str())
            .set(Own::OriginalStart.attribute(), original.text()),
    };
    attendees(patch, &[], &Mails::new(), &event.attendees, found)
}

/// Who is to be linked: the target's people. `present` are linked now, `mails` are their addresses; `found` is who the CRM
/// knows of the target's others, the rest is left out. Who has no address is nobody's to remove. Nothing is written of a
/// link that stays as it is, since what is written of one replaces all of it.
pub(super) fn attendees(
    patch: Patch,
    present: &[Linked],
    mails: &Mails,
    target: &Attendees,
    found: &BTreeMap<String, Person>,
) -> Patch {
    let mail = |one: &Linked| mails.get(&(one.kind, one.id.clone()));
    let mut wanted: BTreeMap<PersonKind, BTreeMap<String, Response>> = BTreeMap::new();
    let mut known: BTreeSet<&String> = BTreeSet::new();
    for one in present {
        let said = match mail(one) {
            None => Some(one.response),
            Some(mail) => {
                known.extend(target.get_key_value(mail).map(|(mail, _)| mail));
                target.get(mail).map(|attendee| attendee.response)
            }
        };
        if let Some(said) = said {
            wanted.entry(one.kind).or_default().insert(one.id.clone(), said);
        }
    }
    let others = target.iter().filter(|(mail, _)| !known.contains(mail));
    for (person, Attendee { response, .. }) in others.filter_map(|(mail, a)| Some((found.get(mail)?, a))) {
        wanted.entry(person.kind).or_default().entry(person.id.clone()).or_insert(*response);
    }
    let kinds = [PersonKind::User, PersonKind::Contact, PersonKind::Lead];
    kinds.into_iter().fold(patch, |patch, kind| {
        let wanted = wanted.remove(&kind).unwrap_or_default();
        if said(present, kind) == wanted { patch } else { linking(patch, kind, &wanted) }
    })
}

/// A user beside those who are linked, with an answer; nothing where they are there with it.
pub(super) fn joined(present: &[Linked], user_id: &str, response: Response) -> Patch {
    let mut users = said(present, PersonKind::User);
    if users.insert(user_id.to_owned(), response) == Some(response) {
        return Patch::new();
    }
    linking(Patch::new(), PersonKind::User, &users)
}

/// What those of a kind answered.
fn said(present: &[Linked], kind: PersonKind) -> BTreeMap<String, Response> {
    present.iter().filter(|one| one.kind == kind).map(|one| (one.id.clone(), one.response)).collect()
}

fn linking(patch: Patch, kind: PersonKind, wanted: &BTreeMap<String, Response>) -> Patch {
    let column = |(id, said): (&String, &Response)| (id.clone(), json!({ "status": response_word(*said) }));
    let columns: Map<String, Value> = wanted.iter().map(column).collect();
    let ids: Vec<&String> = wanted.keys().collect();
    patch
        .set_raw(&format!("{}Ids", link(kind)), json!(ids))
        .set_raw(&format!("{}Columns", link(kind)), Value::Object(columns))
}
