//! Both sides of a pair as they were read, and what each of them can hold. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::event::{Attendee, Busy, Event, Field, OriginalStart, Reach, Response};
use super::further::Further;
use super::series::Series;

/// Whose calendars they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// Outlook, by Microsoft Graph. Mails attendees on every write and has no switch for it.
    Microsoft,
    /// Google Calendar.
    Google,
}

impl Provider {
    /// An event with no more in it than the calendar can say.
    pub fn holds(self, event: &Event) -> Event {
        let reminders_max = match self {
            Self::Microsoft => 1,
            Self::Google => 5,
        };
        // The earliest ones: nobody is reminded too late.
        let reminders = event.reminders.iter().rev().take(reminders_max).copied().collect();
        let busy = match (self, event.busy) {
            (Self::Microsoft, busy) => busy,
            (Self::Google, Busy::Free) => Busy::Free,
            (Self::Google, _) => Busy::Busy,
        };
        let further = match self {
            Self::Microsoft => event.further.clone(),
            Self::Google => Further { web_link: event.further.web_link.clone(), ..Further::default() },
        };
        Event { reminders, busy, further, ..event.clone() }
    }
}

/// The calendar of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    /// Our id of it: of the account and the calendar in it.
    pub id: String,
    /// Whose.
    pub provider: Provider,
    /// The CRM user who connected it.
    pub user_id: String,
    /// That account's mail address, in lower case.
    pub mail: String,
}

/// Calendars that are noted with a record as those that had it.
pub const REMOVED_FROM_MAX: usize = 100;

/// What the CRM's record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeetingKind {
    /// A meeting: what events become.
    Meeting,
    /// A call: goes out, and is never born of an event.
    Call,
}

/// A record of the CRM.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MeetingRef {
    /// Its type.
    pub kind: MeetingKind,
    /// Its id.
    pub id: String,
}

/// Longest key of an event in the CRM, in characters: what a database can keep in an index.
pub const KEY_CHARS_MAX: usize = 191;

/// What is the same in all calendars that hold a real-world event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SharedKey {
    /// `iCalUId`. Shared within a series, so it is not enough.
    pub ical_uid: String,
    /// The start by the rule, for one of a series.
    pub original: Option<OriginalStart>,
}

impl SharedKey {
    /// The form that is kept in the CRM: what is longer than its field ends in a digest of all of it.
    pub fn text(&self) -> String {
        let uid = self.ical_uid.trim();
        let whole = match &self.original {
            None => uid.to_owned(),
            Some(original) => format!("{uid}|{}", original.text()),
        };
        if whole.chars().count() <= KEY_CHARS_MAX {
            return whole;
        }
        let digest = hex::encode(Sha256::digest(whole.as_bytes()));
        let begin: String = whole.chars().take(KEY_CHARS_MAX - digest.len() - 1).collect();
        format!("{begin}#{digest}")
    }
}

/// The CRM's id that stands with an event (extended property).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stamp {
    /// Not known: it does not come with changes.
    Unread,
    /// None.
    None,
    /// The record that it names. A copied event has the stamp of its original.
    Of(MeetingRef),
}

/// How an event is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventStatus {
    /// Takes place.
    Confirmed,
    /// Takes place perhaps.
    Tentative,
    /// Was cancelled by its organiser and still lies about.
    Cancelled,
}

/// An event as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSide {
    /// Its id in this calendar.
    pub id: String,
    /// Its version, opaque.
    pub revision: String,
    /// What it has in common with its copies in other calendars.
    pub key: SharedKey,
    /// What it says. Its attendees are all but the calendar's user.
    pub event: Event,
    /// How it is meant.
    pub status: EventStatus,
    /// Whether the calendar's user is its organiser.
    pub is_organizer: bool,
    /// The organiser's mail address in lower case, where somebody else is it.
    pub organizer: Option<String>,
    /// What the calendar's user answered to an organiser who is somebody else.
    pub answer: Response,
    /// Whether the vendor shows only a part of the attendees: then the list must not be written back, and who is not in
    /// it may be invited all the same.
    pub attendees_cut: bool,
    /// Whether all occurrences of the series that are left out are known. Neither Outlook's nor Google's changes tell:
    /// what was known before then counts beside what is said.
    pub gaps_known: bool,
    /// The list of attendees that stands in the body.
    pub listed: Vec<String>,
    /// The CRM's id with it.
    pub stamp: Stamp,
    /// When it was made, by the vendor's clock.
    pub created_at: Option<Timestamp>,
    /// When it was last changed, likewise.
    pub changed_at: Option<Timestamp>,
}

/// `status` of a meeting or call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeetingStatus {
    /// Planned.
    Planned,
    /// Held: history, never deleted.
    Held,
    /// Not held: history, never deleted.
    NotHeld,
}

/// A meeting or call as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeetingSide {
    /// Which.
    pub record: MeetingRef,
    /// `versionNumber`, where optimistic concurrency is on.
    pub version: Option<i64>,
    /// The key of the event that it was born of, as it is kept in the CRM.
    pub key: Option<String>,
    /// What it says. Its attendees are all people of the meeting but the user of the pair's calendar.
    pub event: Event,
    /// Its status.
    pub status: MeetingStatus,
    /// Ids of its users.
    pub users: BTreeSet<String>,
    /// Id of the assigned user.
    pub assigned_user_id: Option<String>,
    /// Our ids of the calendars from which its event was deleted while it stayed: it does not go there again, also where
    /// our own memory of it is lost.
    pub removed_from: BTreeSet<String>,
    /// When it was made, by the CRM's clock.
    pub created_at: Option<Timestamp>,
    /// When it was last changed, likewise.
    pub modified_at: Option<Timestamp>,
}

/// How attendees stand in the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guests {
    /// As attendees, both ways.
    Written,
    /// As attendees, and only the calendar changes them.
    Read,
    /// As a list in the body: writing them would mail them.
    Listed,
}

impl Guests {
    /// How attendees of an event of ours stand.
    pub fn of_new(provider: Provider, send_mail: bool) -> Self {
        match provider {
            Provider::Microsoft if !send_mail => Self::Listed,
            Provider::Microsoft | Provider::Google => Self::Written,
        }
    }

    /// How attendees of this event stand.
    pub fn of(provider: Provider, event: &EventSide, send_mail: bool) -> Self {
        if !event.is_organizer || event.attendees_cut {
            return Self::Read;
        }
        match Self::of_new(provider, send_mail) {
            Self::Listed if !event.event.attendees.is_empty() => Self::Read,
            guests => guests,
        }
    }
}

/// Whether writing a field of this event reaches nobody but its calendar's user, and is ours to do.
pub fn is_writable(
    provider: Provider,
    event: &EventSide,
    field: Field,
    value: &Event,
    send_mail: bool,
) -> bool {
    if matches!(field, Field::OnlineLink | Field::WebLink) {
        return false;
    }
    // An attendee owns no more than how the event stands in the own calendar.
    if !event.is_organizer {
        return field.is_personal();
    }
    let mails = provider == Provider::Microsoft && !event.event.attendees.is_empty() && !send_mail;
    if mails && !field.is_personal() {
        return false;
    }
    match field {
        Field::Recurrence => {
            let can_say =
                |series: &Series| provider == Provider::Google || series.to_graph(&value.when).is_ok();
            event.event.place.original().is_none() && value.place.series().is_none_or(can_say)
        }
        _ => true,
    }
}

/// Whether the CRM's record can hold a field's value.
pub fn can_hold(kind: MeetingKind, field: Field, value: &Event) -> bool {
    match (kind, field) {
        (MeetingKind::Call, Field::When) => !value.when.is_all_day(),
        (MeetingKind::Call, Field::Recurrence) => value.place.series().is_none(),
        (MeetingKind::Meeting | MeetingKind::Call, _) => true,
    }
}

/// An event for the CRM: only people that it knows.
pub fn for_crm(event: &Event) -> Event {
    let is_known = |(_, attendee): &(&String, &Attendee)| attendee.reach != Reach::Unknown;
    let attendees = event.attendees.iter().filter(is_known);
    Event { attendees: attendees.map(|(mail, a)| (mail.clone(), a.clone())).collect(), ..event.clone() }
}

/// An event for a calendar: people with a synchronised calendar of their own are not invited by us, they have the
/// meeting there.
pub fn for_calendar(provider: Provider, event: &Event, guests: Guests) -> Event {
    let mut event = provider.holds(event);
    if guests == Guests::Written {
        event.attendees.retain(|_, attendee| attendee.reach != Reach::Connected);
    }
    event.online_link = None;
    event.further.web_link = None;
    event
}
