//! Both sides of a pair are there: what has to be written so that they agree. Pure.

use super::action::{Action, Notice, Plan, Skipped, Verdict};
use super::copies::{Copy, Invited, Role, is_unanswered, role};
use super::event::{Event, Field, Place, Response};
use super::link::{Attempt, ConflictField, Creating, OpenConflict, PairLink, Side, people_digest};
use super::merge::{Merged, Terms, Winner, merge};
use super::plan::{Input, stamp_is_missing};
use super::sides::{EventSide, Guests, MeetingSide, Provider, Stamp};

/// Plans for a pair of which both are there.
pub(super) fn agree(input: &Input<'_>, event: &EventSide, meeting: &MeetingSide) -> Plan {
    let checks =
        [event.event.check().map_err(Skipped::Event), meeting.event.check().map_err(Skipped::Meeting)];
    if let Some(Err(why)) = checks.into_iter().find(Result::is_err) {
        return Plan::of(Verdict::Skipped(why), Vec::new());
    }
    let link = fresh(input, event, meeting);
    let event = &with_gaps(event, &link, meeting, input.calendar.provider);
    let copy = this_copy(input, event);
    let (assigned, born_of) = (meeting.assigned_user_id.as_deref(), meeting.key.as_deref());
    let role = role(&copy, input.copies, assigned, born_of);
    if joins(input, event, meeting) {
        // The link comes first: a user of the meeting without one would get an event of ours beside this one.
        let (key, is_organizer) = (Some(event.key.clone()), event.is_organizer);
        let link = PairLink { key, is_organizer, answer: event.answer, ..link };
        let mut actions = saved(input, link);
        actions.push(join(input, event, meeting));
        return Plan::again(Verdict::Converges, actions);
    }
    if has_answered(input, &link, event, meeting) {
        let mut actions = vec![join(input, event, meeting)];
        actions.extend(saved(input, PairLink { answer: event.answer, ..link }));
        return Plan::again(Verdict::Converges, actions);
    }
    if role == Role::Follower {
        let link = PairLink { base: None, apart: None, ..settled(&link, event, meeting) };
        return Plan::of(Verdict::Converges, saved(input, link));
    }
    let base = base(&link, event, meeting, input.calendar.provider);
    let guests = Guests::of(input.calendar.provider, event, input.rules.send_mail);
    let invited = Invited::beside(&copy, input.copies, assigned, born_of);
    let mut terms = Terms {
        invited: &invited,
        provider: input.calendar.provider,
        event,
        kind: meeting.record.kind,
        guests,
        send_mail: input.rules.send_mail,
        personal: role == Role::Source,
        takes_over: link.base.is_some() && link.revision.is_none() && link.creating.is_none(),
        apart: link.apart.as_ref(),
        // That the meeting was born of this event is certain; what other copies there are, only once all are linked again.
        adopts: !(event.is_organizer && meeting.key.as_ref() == Some(&event.key.text())),
        winner: match role {
            Role::Peer if !is_unanswered(&copy, input.copies, meeting) => Some(Winner::Crm),
            Role::Source | Role::Peer => input.rules.policy.winner(meeting, event),
            Role::Follower => Some(Winner::Crm),
        },
    };
    let mut merged = merge(base.as_ref(), &meeting.event, &terms);
    let conflict = conflict(&merged, event, meeting);
    if let Some(open) = link.conflict.as_ref().filter(|open| open.winner.is_some() && open.covers(&conflict))
    {
        terms.winner = open.winner;
        merged = merge(base.as_ref(), &meeting.event, &terms);
    }
    let link = PairLink { base: merged.base.clone(), apart: merged.apart.clone(), ..link };
    let stamps = stamp_is_missing(&link, event, meeting);
    if merged.to_crm.is_empty() && merged.to_calendar.is_empty() && !stamps {
        let undecided = terms.winner.is_none();
        let link = PairLink { peer: role == Role::Peer, ..link };
        return conclude(input, event, meeting, &merged, link, conflict, undecided);
    }
    write(input, event, meeting, &merged, terms, conflict, stamps)
}

/// Occurrences that are known to be left out stay so, where what was read does not tell: those of the last attempt as
/// well, once they have arrived.
fn with_gaps(event: &EventSide, link: &PairLink, meeting: &MeetingSide, provider: Provider) -> EventSide {
    let before = with_known_gaps(event, link.agreed().unwrap_or(&meeting.event));
    base(link, &before, meeting, provider).map_or(before, |base| with_known_gaps(event, &base))
}

/// The same, by what was agreed on.
pub(super) fn with_known_gaps(event: &EventSide, agreed: &Event) -> EventSide {
    let mut event = event.clone();
    let known = agreed.place.series();
    if let (false, Place::Master(series), Some(known)) = (event.gaps_known, &mut event.event.place, known) {
        series.gaps.extend(known.gaps.iter().cloned());
    }
    event
}

/// The writes. What is agreed on is saved by the plan that follows, with what they answered.
fn write(
    input: &Input<'_>,
    event: &EventSide,
    meeting: &MeetingSide,
    merged: &Merged,
    terms: Terms<'_>,
    conflict: Vec<ConflictField>,
    stamps: bool,
) -> Plan {
    let begun = fresh(input, event, meeting);
    let known = begun.conflict.as_ref().is_some_and(|open| open.covers(&conflict));
    let conflicts = if known { 0 } else { conflict.len() };
    let mut actions = Vec::new();
    if !merged.to_crm.is_empty() || !merged.to_calendar.is_empty() {
        let open = OpenConflict { fields: conflict, winner: terms.winner, told: false };
        let link = PairLink {
            attempt: Some(Attempt::of(merged)),
            conflict: if open.fields.is_empty() || known { begun.conflict.clone() } else { Some(open) },
            // What of the last attempt has arrived is known now.
            base: base(&begun, event, meeting, terms.provider),
            ..begun
        };
        actions.extend(saved(input, link));
    }
    if !merged.to_calendar.is_empty() {
        actions.push(Action::UpdateEvent {
            id: event.id.clone(),
            expected: event.revision.clone(),
            target: Box::new(merged.calendar.clone()),
            fields: merged.to_calendar.clone(),
            guests: terms.guests,
        });
    }
    if !merged.to_crm.is_empty() {
        actions.push(Action::UpdateMeeting {
            record: meeting.record.clone(),
            expected: meeting.version,
            target: Box::new(merged.crm.clone()),
            fields: merged.to_crm.clone(),
        });
    }
    if stamps {
        actions.push(Action::StampEvent { id: event.id.clone(), record: meeting.record.clone() });
    }
    Plan { conflicts, ..Plan::again(Verdict::Converges, actions) }
}

/// Nothing is left to write: users are told what they have to know, and what is agreed on is saved.
fn conclude(
    input: &Input<'_>,
    event: &EventSide,
    meeting: &MeetingSide,
    merged: &Merged,
    link: PairLink,
    conflict: Vec<ConflictField>,
    undecided: bool,
) -> Plan {
    let mut actions = Vec::new();
    let known = link.conflict.as_ref().is_some_and(|open| open.covers(&conflict));
    let mut conflicts = 0;
    let mut next = settled(&link, event, meeting);
    next.conflict = None;
    // A conflict that was decided has been written; one that waits for a person is still one.
    let open = match link.conflict {
        Some(open) if known => Some(open),
        _ if conflict.is_empty() => None,
        _ => {
            conflicts = conflict.len();
            Some(OpenConflict { fields: conflict.clone(), winner: None, told: false })
        }
    };
    if let Some(open) = open {
        if !open.told {
            actions.push(Action::Notify(Notice::Conflict(open.fields.clone())));
        }
        next.conflict = (undecided && !conflict.is_empty()).then_some(OpenConflict { told: true, ..open });
    }
    let news: Vec<Field> = merged.left.iter().filter(|field| !link.left.contains(field)).copied().collect();
    if !news.is_empty() {
        actions.push(Action::Notify(Notice::Left(news)));
    }
    next.left.clone_from(&merged.left);
    // Outlook says of a series that it changed, and not which of its occurrences are gone.
    let changed = link.revision.as_ref() != Some(&event.revision);
    if event.event.place.series().is_some() && input.calendar.provider == Provider::Microsoft && changed {
        actions.push(Action::LookAtInstances { id: event.id.clone() });
    }
    actions.extend(saved(input, next));
    Plan { conflicts, ..Plan::of(Verdict::Converges, actions) }
}

/// The link to go on with: ours, or a new one where it was of another record.
fn fresh(input: &Input<'_>, event: &EventSide, meeting: &MeetingSide) -> PairLink {
    let is_of = |link: &&PairLink| {
        link.meeting.as_ref().is_none_or(|record| *record == meeting.record)
            && link.event_id.as_ref().is_none_or(|id| *id == event.id)
    };
    let link = input.link.filter(is_of).cloned().unwrap_or_default();
    let link = PairLink { event_id: Some(event.id.clone()), meeting: Some(meeting.record.clone()), ..link };
    // What another copy of the event has agreed on with the meeting is where the organiser's copy goes on.
    match input.inherited.filter(|_| link.may_inherit()) {
        Some(inherited) => PairLink { base: Some(inherited.clone()), creating: None, ..link },
        None => link,
    }
}

/// Whether the meeting was made by another copy of the event, or of the series that it is a day of, before anybody knew whose
/// this one is: its user comes to the meeting, once. Whom the CRM takes out of it later stays out.
fn joins(input: &Input<'_>, event: &EventSide, meeting: &MeetingSide) -> bool {
    let is_new = input.link.is_none_or(|link| link.revision.is_none() && link.creating.is_none());
    let is_of_birth = meeting.key.as_ref() == Some(&event.key.text());
    is_new && (is_of_birth || input.whole.is_some()) && !meeting.users.contains(&input.calendar.user_id)
}

/// The calendar's user among the meeting's people, with their answer.
fn join(input: &Input<'_>, event: &EventSide, meeting: &MeetingSide) -> Action {
    Action::JoinMeeting {
        record: meeting.record.clone(),
        expected: meeting.version,
        user_id: input.calendar.user_id.clone(),
        response: if event.is_organizer { Response::Accepted } else { event.answer },
    }
}

/// Whether the calendar's user answered otherwise than the CRM knows. Of whom one of us invited, the organiser's copy tells.
fn has_answered(input: &Input<'_>, link: &PairLink, event: &EventSide, meeting: &MeetingSide) -> bool {
    let told_by_organizer = input.copies.iter().any(|copy| copy.is_organizer && copy.key == event.key);
    event.answer != link.answer && !told_by_organizer && meeting.users.contains(&input.calendar.user_id)
}

/// What was agreed on: what was last saved, or was being created, and what has arrived of what was being written.
fn base(link: &PairLink, event: &EventSide, meeting: &MeetingSide, provider: Provider) -> Option<Event> {
    let base = &match &link.creating {
        // What is still to be left out of a series that was made was not put back by anybody.
        Some(Creating { side: Side::Calendar, event: asked }) if link.base.is_none() => {
            let place = provider.holds(asked).rule_in_part(&event.event);
            Event { place: place.unwrap_or_else(|| asked.place.clone()), ..asked.clone() }
        }
        _ => link.agreed()?.clone(),
    };
    let forward = |attempt: &Attempt| attempt.bring_forward(base, &meeting.event, &event.event, provider);
    Some(link.attempt.as_ref().map_or_else(|| base.clone(), forward))
}

/// The link once all is written.
fn settled(link: &PairLink, event: &EventSide, meeting: &MeetingSide) -> PairLink {
    PairLink {
        key: Some(event.key.clone()),
        is_organizer: event.is_organizer,
        revision: Some(event.revision.clone()),
        version: meeting.version,
        people: Some(people_digest(&meeting.event.attendees)),
        stamped: link.stamped || matches!(&event.stamp, Stamp::Of(record) if *record == meeting.record),
        creating: None,
        made_of: link.made_of.filter(|made_of| meeting.version == Some(*made_of)),
        attempt: None,
        ..link.clone()
    }
}

fn saved(input: &Input<'_>, link: PairLink) -> Vec<Action> {
    if input.link == Some(&link) { Vec::new() } else { vec![Action::SaveLink(Box::new(link))] }
}

fn conflict(merged: &Merged, event: &EventSide, meeting: &MeetingSide) -> Vec<ConflictField> {
    let shown = |field: &Field| ConflictField {
        field: *field,
        crm: meeting.event.show(*field),
        calendar: event.event.show(*field),
    };
    merged.conflicts.iter().map(shown).collect()
}

/// This pair, as its meeting's other copies see it.
pub(super) fn this_copy(input: &Input<'_>, event: &EventSide) -> Copy {
    Copy {
        calendar_id: input.calendar.id.clone(),
        provider: input.calendar.provider,
        user_id: input.calendar.user_id.clone(),
        event_id: event.id.clone(),
        key: event.key.clone(),
        is_organizer: event.is_organizer,
        guests: event.event.attendees.iter().map(|(mail, one)| one.address(mail).to_owned()).collect(),
        made_of: None,
    }
}
