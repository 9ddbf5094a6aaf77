//! The steps of a plan, and what a plan amounts to.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::event::{Event, Field, OriginalStart, Response, Unfit};
use super::link::{ConflictField, PairLink};
use super::sides::{Guests, MeetingRef};

/// What makes repeating a create harmless: the connector makes Graph's `transactionId` or Google's event id of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CreateToken {
    /// In which calendar.
    pub calendar_id: String,
    /// Of which record.
    pub record: MeetingRef,
    /// When the event ended that the record had there before.
    pub after: Option<Timestamp>,
}

/// One step. What notifies nobody is asked for as such: Google's `sendUpdates=none`.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Save our memory.
    SaveLink(Box<PairLink>),
    /// Create a meeting in the CRM, with the event's key, after a search for one that has it already. Under a lease of
    /// that key: several calendars may have the event.
    CreateMeeting {
        /// The key that is kept with it.
        key: String,
        /// What it says.
        event: Box<Event>,
        /// Whose it is.
        user_id: String,
    },
    /// Write fields of the CRM's record.
    UpdateMeeting {
        /// Which.
        record: MeetingRef,
        /// The version that was read, for optimistic concurrency.
        expected: Option<i64>,
        /// The source of the values.
        target: Box<Event>,
        /// Which of them.
        fields: Vec<Field>,
    },
    /// Put a user among the CRM's record's people, with their answer: whose event it is.
    JoinMeeting {
        /// Which.
        record: MeetingRef,
        /// The version that was read, for optimistic concurrency.
        expected: Option<i64>,
        /// Who.
        user_id: String,
        /// What they answered.
        response: Response,
    },
    /// Note with the CRM's record from which calendars its event was deleted while it stayed.
    NoteRemoval {
        /// Which.
        record: MeetingRef,
        /// The version that was read, for optimistic concurrency.
        expected: Option<i64>,
        /// Our ids of all these calendars.
        from: BTreeSet<String>,
    },
    /// Delete the CRM's record.
    DeleteMeeting {
        /// Which.
        record: MeetingRef,
    },
    /// Create an event with the CRM's id, after a search for one that has it already.
    CreateEvent {
        /// What makes repeating it harmless.
        token: CreateToken,
        /// What it says.
        event: Box<Event>,
        /// How attendees are written.
        guests: Guests,
    },
    /// Write fields of an event.
    UpdateEvent {
        /// Its id.
        id: String,
        /// The version that was read, for `If-Match`.
        expected: String,
        /// The source of the values.
        target: Box<Event>,
        /// Which of them.
        fields: Vec<Field>,
        /// How attendees are written.
        guests: Guests,
    },
    /// Put the CRM's id with an event. Notifies nobody.
    StampEvent {
        /// Its id.
        id: String,
        /// The CRM's record.
        record: MeetingRef,
    },
    /// Delete an event.
    DeleteEvent {
        /// Its id.
        id: String,
        /// The version that was read, for `If-Match`.
        expected: String,
    },
    /// Read the event, and plan again with it.
    ReadEvent {
        /// Its id.
        id: String,
    },
    /// Read the CRM's record, and plan again with it.
    ReadMeeting {
        /// Which.
        record: MeetingRef,
    },
    /// Find which event of this calendar the stamp of a record was put with, and plan again with it.
    FindOriginal {
        /// The record.
        record: MeetingRef,
    },
    /// Compare the instances of a series inside the window: what of them is gone or changed is told by nothing else.
    LookAtInstances {
        /// The event's id.
        id: String,
    },
    /// Find the day of a series that a record of the CRM is about, and plan again with it.
    FindDay {
        /// The series' event.
        series_id: String,
        /// The day's start by the rule.
        original: OriginalStart,
    },
    /// Tell a user.
    Notify(Notice),
}

impl Action {
    /// The word for metrics and outcomes.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SaveLink(_) => "save_link",
            Self::CreateMeeting { .. } => "create_meeting",
            Self::UpdateMeeting { .. } => "update_meeting",
            Self::JoinMeeting { .. } => "join_meeting",
            Self::NoteRemoval { .. } => "note_removal",
            Self::DeleteMeeting { .. } => "delete_meeting",
            Self::CreateEvent { .. } => "create_event",
            Self::UpdateEvent { .. } => "update_event",
            Self::StampEvent { .. } => "stamp_event",
            Self::DeleteEvent { .. } => "delete_event",
            Self::ReadEvent { .. } => "read_event",
            Self::ReadMeeting { .. } => "read_meeting",
            Self::FindOriginal { .. } => "find_original",
            Self::LookAtInstances { .. } => "look_at_instances",
            Self::FindDay { .. } => "find_day",
            Self::Notify(_) => "notify",
        }
    }

    /// Whether a system other than our own store is written.
    pub fn is_upstream_write(&self) -> bool {
        match self {
            Self::CreateMeeting { .. }
            | Self::UpdateMeeting { .. }
            | Self::JoinMeeting { .. }
            | Self::NoteRemoval { .. }
            | Self::DeleteMeeting { .. }
            | Self::CreateEvent { .. }
            | Self::UpdateEvent { .. }
            | Self::StampEvent { .. }
            | Self::DeleteEvent { .. }
            | Self::Notify(_) => true,
            Self::SaveLink(_)
            | Self::ReadEvent { .. }
            | Self::ReadMeeting { .. }
            | Self::FindOriginal { .. }
            | Self::LookAtInstances { .. }
            | Self::FindDay { .. } => false,
        }
    }
}

/// What a user is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Both sides changed fields to different values.
    Conflict(Vec<ConflictField>),
    /// Values cannot be carried over to the other side and stay different.
    Left(Vec<Field>),
    /// The meeting was deleted, and the event stays.
    EventKept(Kept),
    /// The event was deleted, and the meeting stays.
    MeetingKept(Kept),
}

/// Why the other one stays when one was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It was edited meanwhile.
    Edited,
    /// Deleting it would reach its attendees, or is its organiser's to do.
    ReachesOthers,
    /// What it said when both agreed is not known.
    Unknown,
}

/// What a plan amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Both sides will agree, or agree already.
    Converges,
    /// Something has to be read first.
    LooksFirst,
    /// The pair has come to its end, or had.
    Ended,
    /// There is nothing that is ours to synchronise.
    Ignored(Ignored),
    /// It cannot be synchronised as it is; nothing is written.
    Skipped(Skipped),
}

/// Why nothing is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// A deletion of what we never knew.
    UnknownDeleted,
    /// It was deleted once on one side, and is not made anew.
    EndedBefore,
    /// It lies outside the window, and was never inside.
    OutsideWindow,
    /// The meeting is not this calendar's user's.
    NotTheirs,
    /// It did not take place.
    NotHeld,
    /// The user gets it by invitation.
    Invited,
    /// The event that it was born of is not linked yet, and may be in this very calendar.
    WaitsForEvent,
    /// The calendar has not been read from beginning to end yet, so the event may be there already.
    NotReadYet,
    /// It is a part of a series that is held as such.
    PartOfSeries,
    /// There is nothing on either side.
    Nothing,
}

/// Why it cannot be synchronised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped {
    /// The event.
    Event(Unfit),
    /// The CRM's record.
    Meeting(Unfit),
    /// The calendar has no such rule.
    Recurrence,
    /// The CRM's record has no room for the series any more.
    Outgrown,
}

/// The decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What it amounts to.
    pub verdict: Verdict,
    /// The steps, in order.
    pub actions: Vec<Action>,
    /// Whether to plan again with what the steps answered: what is agreed on is saved only then.
    pub again: bool,
    /// Whether it deletes, which the mass-delete guard counts.
    pub deletes: bool,
    /// Fields in conflict that are decided, or asked about, for the first time.
    pub conflicts: usize,
}

impl Plan {
    /// A plan of nothing but these steps.
    pub fn of(verdict: Verdict, actions: Vec<Action>) -> Self {
        Self { verdict, actions, again: false, deletes: false, conflicts: 0 }
    }

    pub(super) fn again(verdict: Verdict, actions: Vec<Action>) -> Self {
        Self { again: true, ..Self::of(verdict, actions) }
    }
}
