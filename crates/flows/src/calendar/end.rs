//! One side of a pair is gone: what becomes of the other. Nothing that was deleted is ever made anew; what was edited
//! meanwhile, is history, or cannot be deleted without reaching others, stays and is let go. Pure.

use super::action::{Action, Kept, Notice, Plan, Verdict};
use super::agree::{this_copy, with_known_gaps};
use super::copies::{Copy, Role, role};
use super::event::{Event, Field};
use super::link::{EndedBy, PairLink, Tombstone};
use super::plan::{Input, is_invited, waits_for_event};
use super::sides::{EventSide, MeetingSide, MeetingStatus, Provider, REMOVED_FROM_MAX, SharedKey, Stamp};

/// The event is no more, or was cancelled.
pub(super) fn event_gone(input: &Input<'_>, link: &PairLink, meeting: &MeetingSide, cancelled: bool) -> Plan {
    let copy = link.as_copy(input.calendar);
    if is_replaced(&copy, input.copies) {
        return ended(input, link, EndedBy::CopyRemoved, Vec::new());
    }
    let role = role(&copy, input.copies, meeting.assigned_user_id.as_deref(), meeting.key.as_deref());
    // Stopped between creating and saving, the link does not name the meeting yet: an end that does not name it either
    // would let it go out anew.
    let link = &PairLink { meeting: Some(meeting.record.clone()), version: meeting.version, ..link.clone() };
    let stays = |why, notices| match removal(input, meeting) {
        Some(note) => Plan::again(Verdict::Ended, vec![note]),
        None => ended(input, link, why, notices),
    };
    // The event of somebody who is none of the meeting's users was deleted for that: by us, or by them.
    let is_born = meeting.key.is_some() && meeting.key == link.key.as_ref().map(SharedKey::text);
    if !is_born && !meeting.users.contains(&input.calendar.user_id) {
        return ended(input, link, EndedBy::TakenOut, Vec::new());
    }
    // An attendee who removes the own copy says nothing about the meeting, as long as others have theirs.
    let speaks = cancelled || link.is_organizer || input.copies.is_empty();
    if role != Role::Source || !speaks || input.series_left {
        return stays(EndedBy::CopyRemoved, Vec::new());
    }
    let kept = |why| {
        let notice = Action::Notify(Notice::MeetingKept(why));
        stays(EndedBy::EventDeletedMeetingKept, vec![notice])
    };
    if meeting.status != MeetingStatus::Planned {
        return stays(EndedBy::EventDeletedMeetingKept, Vec::new());
    }
    match link.agreed() {
        None => kept(Kept::Unknown),
        Some(base) if differs(base, &meeting.event, link) => kept(Kept::Edited),
        Some(_) => {
            let delete = Action::DeleteMeeting { record: meeting.record.clone() };
            Plan { deletes: true, ..ended(input, link, EndedBy::EventDeleted, vec![delete]) }
        }
    }
}

/// Whether the event is there under another id: one that was moved, or restored from a backup.
fn is_replaced(this: &Copy, others: &[Copy]) -> bool {
    others.iter().any(|other| other.calendar_id == this.calendar_id && other.key == this.key)
}

/// The note with the record that its event was deleted here, where nothing else keeps it from going out anew once our own
/// memory is lost: neither the event that it was born of nor an invitation.
fn removal(input: &Input<'_>, meeting: &MeetingSide) -> Option<Action> {
    let here = &input.calendar.id;
    let is_noted = meeting.removed_from.contains(here) || meeting.removed_from.len() >= REMOVED_FROM_MAX;
    if is_noted || waits_for_event(input, meeting) || is_invited(input, meeting) {
        return None;
    }
    let from = meeting.removed_from.iter().chain([here]).cloned().collect();
    Some(Action::NoteRemoval { record: meeting.record.clone(), expected: meeting.version, from })
}

/// The CRM's record is no more.
pub(super) fn meeting_gone(input: &Input<'_>, event: &EventSide) -> Plan {
    // Without link, the event's stamp names a record that is no more: it is not made anew, nor by other users' copies, which
    // have the key in common with it.
    let link = input.link.cloned().unwrap_or_else(|| PairLink {
        key: Some(event.key.clone()),
        is_organizer: event.is_organizer,
        ..PairLink::default()
    });
    let link = PairLink { event_id: Some(event.id.clone()), ..link };
    let role = role(&this_copy(input, event), input.copies, None, None);
    let stays = |notices| match missing_stamp(&link, event) {
        Some(stamp) => Plan::again(Verdict::Ended, vec![stamp]),
        None => ended(input, &link, EndedBy::MeetingDeletedEventKept, notices),
    };
    if role == Role::Follower {
        return stays(Vec::new());
    }
    let kept = |why| stays(vec![Action::Notify(Notice::EventKept(why))]);
    let Some(base) = link.agreed() else { return kept(Kept::Unknown) };
    let present = with_known_gaps(event, base);
    if differs(&link.in_calendar(base, input.calendar.provider), &present.event, &link) {
        return kept(Kept::Edited);
    }
    if !is_deletable(input, event) {
        return kept(Kept::ReachesOthers);
    }
    let delete = Action::DeleteEvent { id: event.id.clone(), expected: event.revision.clone() };
    Plan { deletes: true, ..ended(input, &link, EndedBy::MeetingDeleted, vec![delete]) }
}

/// The event that was made of a meeting goes when its user is taken out of the meeting; none where that is not so, where
/// it was edited, which comes first, or where deleting it would reach others.
pub(super) fn taken_out(input: &Input<'_>, event: &EventSide, meeting: &MeetingSide) -> Option<Plan> {
    let is_theirs = meeting.users.contains(&input.calendar.user_id);
    let is_born = meeting.key.as_ref() == Some(&event.key.text());
    let link = input.link.filter(|link| link.meeting.as_ref() == Some(&meeting.record))?;
    let base = link.base.as_ref().filter(|_| !is_theirs && !is_born && link.attempt.is_none())?;
    let present = with_known_gaps(event, base);
    let is_edited = differs(&link.in_calendar(base, input.calendar.provider), &present.event, link);
    if is_edited || !is_deletable(input, event) {
        return None;
    }
    let delete = Action::DeleteEvent { id: event.id.clone(), expected: event.revision.clone() };
    Some(Plan { deletes: true, ..ended(input, link, EndedBy::TakenOut, vec![delete]) })
}

/// An event that stays says that it had a meeting: else it would have a new one where our own memory is lost. While there
/// was one, an outsider's event was found by its key.
fn missing_stamp(link: &PairLink, event: &EventSide) -> Option<Action> {
    let record = link.meeting.as_ref()?;
    let is_missing = match &event.stamp {
        Stamp::Of(_) => false,
        Stamp::None => true,
        Stamp::Unread => !link.stamped,
    };
    is_missing.then(|| Action::StampEvent { id: event.id.clone(), record: record.clone() })
}

/// Neither is there any more.
pub(super) fn both_gone(input: &Input<'_>) -> Plan {
    match input.link {
        Some(link) => ended(input, link, EndedBy::BothDeleted, Vec::new()),
        None => Plan::of(Verdict::Ended, Vec::new()),
    }
}

/// Only where it reaches nobody: an attendee's copy is the organiser's affair, removing it would decline.
fn is_deletable(input: &Input<'_>, event: &EventSide) -> bool {
    let silent = match input.calendar.provider {
        Provider::Google => true,
        Provider::Microsoft => event.event.attendees.is_empty() || input.rules.send_mail,
    };
    event.is_organizer && silent
}

/// Whether somebody edited it since both agreed, so that something is there only. People say nothing.
fn differs(base: &Event, present: &Event, link: &PairLink) -> bool {
    let attempted = |field: &Field| {
        let is_in = |event: &Event| event.same(present, *field);
        link.attempt.as_ref().is_some_and(|attempt| is_in(&attempt.crm) || is_in(&attempt.calendar))
    };
    // What is one user's own affair was never compared with a meeting that another event speaks for.
    let counts = |field: &Field| match field {
        Field::Attendees => false,
        // What was left out since is nothing that would be lost; days whose meetings go first are left out by us.
        Field::Recurrence => !base.leaves_out_no_more_than(present),
        field => !(link.peer && field.is_personal()),
    };
    base.differences(present).iter().any(|field| counts(field) && !attempted(field))
}

fn ended(input: &Input<'_>, link: &PairLink, why: EndedBy, mut actions: Vec<Action>) -> Plan {
    let tombstone = Some(Tombstone { at: input.now, why });
    let link = PairLink { tombstone, creating: None, attempt: None, conflict: None, ..link.clone() };
    actions.push(Action::SaveLink(Box::new(link)));
    Plan::of(Verdict::Ended, actions)
}
