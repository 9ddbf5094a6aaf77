//! What the flow remembers about a linked pair: an event in one calendar, and a meeting or call. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::copies::Copy;
use super::event::{Attendees, Busy, Event, Field, Place, Response};
use super::key::digest;
use super::merge::{Merged, Winner};
use super::sides::{Calendar, MeetingRef, MeetingSide, Provider, SharedKey};

/// Digits that tell people of records apart.
const PEOPLE_DIGITS: usize = 16;

/// The link of one event and one record of the CRM.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PairLink {
    /// The event's id; none while it is being created.
    pub event_id: Option<String>,
    /// The CRM's record; none while it is being created.
    pub meeting: Option<MeetingRef>,
    /// What the event has in common with its copies in other calendars.
    pub key: Option<SharedKey>,
    /// Whether the calendar's user is the organiser.
    #[serde(default)]
    pub is_organizer: bool,
    /// What the user had answered when the CRM was last told of it.
    #[serde(default)]
    pub answer: Response,
    /// The event's version as it was last read in agreement with `base`.
    pub revision: Option<String>,
    /// The record's version, likewise.
    pub version: Option<i64>,
    /// Whom the record had among its people then, as a digest: not all that is known of them stands with the event.
    #[serde(default)]
    pub people: Option<String>,
    /// What both sides last agreed on; none before the first agreement, and for a copy that another one speaks for.
    pub base: Option<Event>,
    /// What is its user's own affair in the calendar, where that differs from `base` and nobody knows why: neither side is
    /// written until one of them is edited.
    #[serde(default)]
    pub apart: Option<Personal>,
    /// Whether another event speaks for the meeting, so that what is one user's own affair is not compared.
    #[serde(default)]
    pub peer: bool,
    /// Whether the CRM's id stands with the event.
    #[serde(default)]
    pub stamped: bool,
    /// A create that was begun: its answer may have been lost.
    #[serde(default)]
    pub creating: Option<Creating>,
    /// The record's version that the event was made of, until another one is agreed on.
    #[serde(default)]
    pub made_of: Option<i64>,
    /// When the event ended that the meeting had here before: tells the creation of this one from that of the other.
    #[serde(default)]
    pub created_after: Option<Timestamp>,
    /// Writes that were begun.
    #[serde(default)]
    pub attempt: Option<Attempt>,
    /// A conflict that its user was told of, or is being told of.
    #[serde(default)]
    pub conflict: Option<OpenConflict>,
    /// Fields that stay different, and that the user was told of.
    #[serde(default)]
    pub left: Vec<Field>,
    /// The pair has come to its end: nothing is done for it any more, and nothing is made anew.
    #[serde(default)]
    pub tombstone: Option<Tombstone>,
}

impl PairLink {
    /// Whether another copy of the event spoke for it when it was last looked at, and nothing is under way.
    pub fn follows(&self) -> bool {
        let settled = self.revision.is_some() && self.creating.is_none() && self.attempt.is_none();
        settled && self.base.is_none() && !self.is_organizer && self.tombstone.is_none()
    }

    /// What was last agreed on: what was saved, or what was being created on the other side.
    pub fn agreed(&self) -> Option<&Event> {
        self.base.as_ref().or_else(|| self.creating.as_ref().map(|creating| &creating.event))
    }

    /// The event, as the meeting's other copies see it. Whom it invites is not known, and neither its id nor its key while
    /// it is being created.
    pub fn as_copy(&self, calendar: &Calendar) -> Copy {
        let no_key = || SharedKey { ical_uid: String::new(), original: None };
        Copy {
            calendar_id: calendar.id.clone(),
            provider: calendar.provider,
            user_id: calendar.user_id.clone(),
            event_id: self.event_id.clone().unwrap_or_default(),
            key: self.key.clone().unwrap_or_else(no_key),
            is_organizer: self.is_organizer,
            guests: BTreeSet::new(),
            made_of: self.made_of,
        }
    }

    /// Whether the record says what was agreed on, and nothing is under way or in dispute.
    pub fn says(&self, meeting: &MeetingSide) -> bool {
        let is_quiet = self.creating.is_none()
            && self.attempt.is_none()
            && self.conflict.is_none()
            && self.tombstone.is_none()
            && self.left.is_empty();
        let is_agreed = |base: &Event| {
            let has_people = match &self.people {
                Some(people) => *people == people_digest(&meeting.event.attendees),
                None => base.same(&meeting.event, Field::Attendees),
            };
            let is_others = |field: Field| field == Field::Attendees || self.peer && field.is_personal();
            has_people && base.differences(&meeting.event).into_iter().all(is_others)
        };
        is_quiet && self.revision.is_some() && self.base.as_ref().is_some_and(is_agreed)
    }

    /// Whether it is the end of a series: what deviates from the series ends with it.
    pub fn ends_series(&self) -> bool {
        let is_series = |event: &Event| matches!(event.place, Place::Master(_));
        self.tombstone.is_some() && self.agreed().is_some_and(is_series)
    }

    /// Whether what another copy of the event has agreed on counts: nothing was agreed on by this one. A meeting that it
    /// began to create may have been created by the other one.
    pub fn may_inherit(&self) -> bool {
        let begun = self.creating.as_ref().is_some_and(|creating| creating.side == Side::Calendar);
        self.base.is_none() && !begun
    }

    /// Whether a meeting of its own was begun to be created for the event.
    pub fn creates_meeting(&self) -> bool {
        self.creating.as_ref().is_some_and(|creating| creating.side == Side::Crm)
    }

    /// What the calendar says of what was agreed on.
    pub fn in_calendar(&self, agreed: &Event, provider: Provider) -> Event {
        Personal::put(self.apart.as_ref(), provider.holds(agreed))
    }
}

/// Tells people of a record apart from others, and from themselves with another answer.
pub(super) fn people_digest(people: &Attendees) -> String {
    // Serialising plain structs cannot fail.
    digest(&[&serde_json::to_string(people).unwrap_or_default()], PEOPLE_DIGITS)
}

/// What is one user's own affair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Personal {
    busy: Busy,
    private: bool,
    reminders: BTreeSet<u32>,
}

impl Personal {
    /// Of an event.
    pub fn of(event: &Event) -> Self {
        Self { busy: event.busy, private: event.private, reminders: event.reminders.clone() }
    }

    /// The event with it, where there is one.
    pub fn put(own: Option<&Self>, event: Event) -> Event {
        match own.cloned() {
            Some(Self { busy, private, reminders }) => Event { busy, private, reminders, ..event },
            None => event,
        }
    }
}

/// What is being created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creating {
    /// Where.
    pub side: Side,
    /// What.
    pub event: Event,
}

/// A side of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The CRM.
    Crm,
    /// The calendar.
    Calendar,
}

/// Writes that were begun, noted before the first of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// What the CRM was to say.
    pub crm: Event,
    /// What the calendar was to say.
    pub calendar: Event,
    /// What would have been agreed on.
    pub base: Option<Event>,
    /// The fields for the CRM.
    pub to_crm: Vec<Field>,
    /// The fields for the calendar.
    pub to_calendar: Vec<Field>,
}

impl Attempt {
    /// What is begun.
    pub fn of(merged: &Merged) -> Self {
        Self {
            crm: merged.crm.clone(),
            calendar: merged.calendar.clone(),
            base: merged.base.clone(),
            to_crm: merged.to_crm.clone(),
            to_calendar: merged.to_calendar.clone(),
        }
    }

    /// The base, brought forward by what has arrived: a value of ours that stands where it was to go is agreed on, so
    /// what the other side says beside it was edited since.
    pub fn bring_forward(&self, base: &Event, crm: &Event, calendar: &Event, provider: Provider) -> Event {
        let mut base = base.clone();
        let Some(agreed) = &self.base else { return base };
        for field in self.to_crm.iter().filter(|field| crm.same(&self.crm, **field)) {
            base.take(*field, agreed);
        }
        let asked = provider.holds(&self.calendar);
        for field in self.to_calendar.iter().filter(|field| calendar.same(&asked, **field)) {
            base.take(*field, agreed);
        }
        if self.to_calendar.contains(&Field::Recurrence)
            && let Some(place) = asked.rule_in_part(calendar)
        {
            base.place = place;
        }
        base
    }
}

/// Both sides changed the same fields to different values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenConflict {
    /// The fields, with both values.
    pub fields: Vec<ConflictField>,
    /// Who wins, once that is decided: an attempt that comes after decides no differently.
    pub winner: Option<Winner>,
    /// Whether its user was told.
    #[serde(default)]
    pub told: bool,
}

impl OpenConflict {
    /// Whether these fields, with these values, are all part of it.
    pub fn covers(&self, fields: &[ConflictField]) -> bool {
        fields.iter().all(|field| self.fields.contains(field))
    }
}

/// One field of a conflict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictField {
    /// Which.
    pub field: Field,
    /// The CRM's value, as a person reads it.
    pub crm: String,
    /// The calendar's value.
    pub calendar: String,
}

/// How a pair came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// When that was noticed.
    pub at: Timestamp,
    /// Why.
    pub why: EndedBy,
}

impl EndedBy {
    /// Whether it says nothing of the meeting's other events.
    pub fn is_of_one_copy(self) -> bool {
        matches!(self, Self::CopyRemoved | Self::TakenOut)
    }
}

/// Why a pair came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The event was deleted or cancelled, and the meeting with it.
    EventDeleted,
    /// The event was deleted or cancelled; the meeting stays, since it is history, or was edited, or was never agreed
    /// on.
    EventDeletedMeetingKept,
    /// One copy of several was removed from its calendar.
    CopyRemoved,
    /// Its user was taken out of the meeting, and the event that was made for them was deleted.
    TakenOut,
    /// The meeting was deleted, and the event with it.
    MeetingDeleted,
    /// The meeting was deleted; the event stays, since deleting it would reach others, or it was edited.
    MeetingDeletedEventKept,
    /// Both are gone.
    BothDeleted,
}

#[cfg(test)]
mod tests {
    use super::super::event::{Attendee, Reach};
    use super::super::merge::Winner;
    use super::super::model::Look;
    use super::super::plan::Policy;
    use super::super::sides::Provider;
    use super::super::tests::{first_meeting, simple, world};
    use super::*;

    #[test]
    fn only_what_was_agreed_on_is_no_news() {
        let mut world = world(&[Provider::Google], Policy::NewestWins);
        let id = world.add_event(0, simple("A"), "uid1", true);
        world.settle();
        let record = first_meeting(&world).unwrap();
        let (link, meeting) = (world.links[0].1.clone(), world.meetings[&record].clone());
        assert!(link.says(&meeting));
        let edited = Event { location: "Room 1".into(), ..meeting.event.clone() };
        assert!(!link.says(&MeetingSide { event: edited, ..meeting.clone() }));
        let invited = Attendee { reach: Reach::Known, ..Attendee::default() };
        let mut people = meeting.clone();
        people.event.attendees.insert("guest@example.org".into(), invited);
        assert!(!link.says(&people));
        let known = PairLink { people: Some(people_digest(&people.event.attendees)), ..link.clone() };
        assert!(known.says(&people) && !known.says(&meeting), "of its people the event need not tell");
        let busy =
            MeetingSide { event: Event { busy: Busy::Free, ..meeting.event.clone() }, ..meeting.clone() };
        assert!(!link.says(&busy));
        assert!(PairLink { peer: true, ..link.clone() }.says(&busy), "that is another one's own affair");
        let conflict = OpenConflict { fields: Vec::new(), winner: Some(Winner::Crm), told: false };
        let event = simple("A");
        let creating = Creating { side: Side::Crm, event };
        for open in [
            PairLink { conflict: Some(conflict), ..link.clone() },
            PairLink { creating: Some(creating), ..link.clone() },
            PairLink { left: vec![Field::Subject], ..link.clone() },
            PairLink { base: None, ..link.clone() },
        ] {
            assert!(!open.says(&meeting), "{open:?}");
        }
        world.events[0].clear();
        world.run(&Look::Removed(0, id), None);
        assert!(world.links.iter().all(|(_, ended)| ended.tombstone.is_some()));
        let ended = PairLink { base: link.base.clone(), ..world.links[0].1.clone() };
        assert!(!ended.says(&meeting));
    }
}
