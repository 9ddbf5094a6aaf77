//! The decision for one pair: an event of one calendar, and a meeting or call of the CRM. No clock, no I/O, no
//! randomness; the same input gives the same plan in the same order.
//!
//! A plan that writes is followed by another one, made with what the writes answered: only that one saves what is
//! agreed on. A stop in between is then nothing special: the next run sees what has arrived.

use jiff::Timestamp;

use super::action::{Action, CreateToken, Ignored, Plan, Skipped, Verdict};
use super::agree::agree;
use super::copies::{Copy, Invited};
use super::end::{both_gone, event_gone, meeting_gone, taken_out};
use super::event::{Attendee, Event, Field, Place, Response, Window};
use super::link::{Creating, EndedBy, PairLink, Side, Tombstone};
use super::merge::Winner;
use super::original::Original;
use super::part::Whole;
use super::series::{CrmSeries, Holding};
use super::sides::{
    Calendar, EventSide, EventStatus, Guests, MeetingRef, MeetingSide, MeetingStatus, Provider, Stamp,
    for_calendar, for_crm,
};

/// Who wins where both sides changed a field to different values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// The later change by the systems' own times; the CRM where they do not tell.
    #[default]
    NewestWins,
    /// The CRM.
    CrmWins,
    /// The calendar.
    CalendarWins,
    /// Nobody: the fields stay as they are until a person makes them equal.
    Ask,
}

impl Policy {
    pub(super) fn winner(self, meeting: &MeetingSide, event: &EventSide) -> Option<Winner> {
        match self {
            Self::CrmWins => Some(Winner::Crm),
            Self::CalendarWins => Some(Winner::Calendar),
            // A missing time counts as unchanged; `None` is less than any time.
            Self::NewestWins if event.changed_at > meeting.modified_at => Some(Winner::Calendar),
            Self::NewestWins => Some(Winner::Crm),
            Self::Ask => None,
        }
    }
}

/// What the settings say to a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Who wins.
    pub policy: Policy,
    /// Whether attendees may get mail from a write.
    pub send_mail: bool,
    /// What is synchronised; what was inside once and is linked stays so.
    pub window: Window,
    /// What the CRM can hold of series.
    pub crm_series: CrmSeries,
}

/// What is known of the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// None is known, and no create whose answer was lost left one behind.
    Absent,
    /// The calendar reports it as removed: deleted, or changed outside the window. Only a read can tell.
    Hinted,
    /// A read says that it is no more.
    Gone,
    /// The event.
    Found(Box<EventSide>),
}

/// What is known of the CRM's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Crm {
    /// None is known: neither by link, nor by the event's stamp, nor by its key.
    Absent,
    /// The CRM says that it is no more.
    Gone,
    /// The record.
    Found(Box<MeetingSide>),
}

/// Everything a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The calendar.
    pub calendar: &'a Calendar,
    /// The event.
    pub event: &'a Remote,
    /// The CRM's record: that of the link, else the one whose link has the event's key, else the one that the event's
    /// stamp names, else the one that the CRM finds by the key.
    pub meeting: &'a Crm,
    /// Our memory of the pair: found by the event's id, by the record, or while something is being created by the
    /// event's stamp or the record's key. While a create is under way, an event without known stamp is read with it.
    pub link: Option<&'a PairLink>,
    /// The event of this calendar that the meeting's stamp was put with, once it was searched for.
    pub original: Option<&'a Original>,
    /// The meeting's other copies that are linked and alive.
    pub copies: &'a [Copy],
    /// For an organiser's event that agreed on nothing yet: what another copy of it has agreed on.
    pub inherited: Option<&'a Event>,
    /// For one of a series that is linked to nothing yet: the series, where this calendar has it by an event of its own.
    pub whole: Option<&'a Whole>,
    /// For one of a series: whether the series has left this calendar, and goes on in others.
    pub series_left: bool,
    /// Whether the event's key or the record is one that came to its end before.
    pub ended: bool,
    /// Whether the calendar was read once from beginning to end since our memory of it began.
    pub is_read: bool,
    /// For one of a series: how the series is held.
    pub holding: Holding,
    /// The settings.
    pub rules: &'a Rules,
    /// The present time.
    pub now: Timestamp,
}

/// Decides.
pub fn plan(input: &Input<'_>) -> Plan {
    if input.link.is_some_and(|link| link.tombstone.is_some()) {
        return match comes_back(input) {
            Some((meeting, ended_at)) => {
                let input = Input { link: None, event: &Remote::Absent, ..*input };
                create_event(&input, meeting, Some(ended_at))
            }
            None => Plan::of(Verdict::Ended, Vec::new()),
        };
    }
    let known_event = input.link.and_then(|link| link.event_id.as_ref());
    let known_record = input.link.and_then(|link| link.meeting.as_ref());
    let event = match input.event {
        Remote::Absent if known_event.is_some() => return hinted(known_event),
        Remote::Absent => None,
        Remote::Hinted => return hinted(known_event),
        Remote::Gone => return gone(input, false),
        Remote::Found(event) if event.status == EventStatus::Cancelled => return gone(input, true),
        Remote::Found(event) => Some(event.as_ref()),
    };
    match (event, input.meeting) {
        (Some(event), Crm::Found(meeting)) if is_copied(input, event, meeting) => {
            create_meeting(input, event)
        }
        (Some(event), Crm::Found(meeting)) => taken_out(input, event, meeting)
            .or_else(|| outgrown(input, event))
            .or_else(|| find_original(input, event, meeting))
            .unwrap_or_else(|| agree(input, event, meeting)),
        (Some(event), Crm::Gone) => meeting_gone(input, event),
        (Some(event), Crm::Absent) => match known_record {
            Some(record) => read_meeting(record),
            None => create_meeting(input, event),
        },
        (None, Crm::Found(meeting)) => {
            let after = input.link.and_then(|link| link.created_after);
            create_event(input, meeting, after)
        }
        (None, Crm::Gone) => input.link.map_or_else(|| ignored(Ignored::Nothing), |_| both_gone(input)),
        (None, Crm::Absent) => ignored(Ignored::Nothing),
    }
}

/// A meeting whose user was taken out of it, and is one of its users again; and when the event of before ended.
fn comes_back<'a>(input: &Input<'a>) -> Option<(&'a MeetingSide, Timestamp)> {
    let Tombstone { at, why } = input.link?.tombstone?;
    let Crm::Found(meeting) = input.meeting else { return None };
    let is_theirs = meeting.users.contains(&input.calendar.user_id);
    let is_gone = match input.event {
        Remote::Absent | Remote::Gone => true,
        Remote::Found(event) => event.status == EventStatus::Cancelled,
        Remote::Hinted => false,
    };
    (why == EndedBy::TakenOut && is_theirs && is_gone).then_some((meeting, at))
}

/// A series whose rule has become longer, by the days that it leaves out, than the record's field.
fn outgrown(input: &Input<'_>, event: &EventSide) -> Option<Plan> {
    let series = event.event.place.series()?;
    let is_outgrown = series.holding(&input.rules.crm_series) == Holding::Occurrences;
    is_outgrown.then(|| Plan::of(Verdict::Skipped(Skipped::Outgrown), Vec::new()))
}

pub(super) fn ignored(why: Ignored) -> Plan {
    Plan::of(Verdict::Ignored(why), Vec::new())
}

/// What a calendar reports as removed may have been moved out of the window: look at it. What we never knew is not
/// looked at: whatever changes outside the window is reported so.
fn hinted(known: Option<&String>) -> Plan {
    match known {
        Some(id) => Plan::again(Verdict::LooksFirst, vec![Action::ReadEvent { id: id.clone() }]),
        None => ignored(Ignored::UnknownDeleted),
    }
}

fn read_meeting(record: &MeetingRef) -> Plan {
    Plan::again(Verdict::LooksFirst, vec![Action::ReadMeeting { record: record.clone() }])
}

/// The event is no more, or cancelled.
fn gone(input: &Input<'_>, cancelled: bool) -> Plan {
    match (input.link, input.meeting) {
        (None, _) => ignored(Ignored::UnknownDeleted),
        (Some(PairLink { meeting: Some(record), .. }), Crm::Absent) => read_meeting(record),
        // A meeting that was being created is found by the event's key, or is not there.
        (Some(_), Crm::Absent | Crm::Gone) => both_gone(input),
        (Some(link), Crm::Found(meeting)) => event_gone(input, link, meeting, cancelled),
    }
}

/// A copied event carries the stamp of its original: the older link wins, else the older event, and the copy is an event of
/// its own. The one that the meeting was born of is no copy; one that is no day of a series is none of a record's that is.
fn is_copied(input: &Input<'_>, event: &EventSide, meeting: &MeetingSide) -> bool {
    let is_born = meeting.key.as_ref() == Some(&event.key.text());
    let has_link = input.copies.iter().any(|copy| {
        copy.calendar_id == input.calendar.id && copy.event_id != event.id && copy.key != event.key
    });
    let is_younger = input.original.is_some_and(|original| original.was_copied_to(event, &meeting.record));
    let is_part = |event: &Event| event.place.original().is_some();
    let is_of_part = is_by_stamp(input, event, meeting) && is_part(&meeting.event) && !is_part(&event.event);
    !is_born
        && input.link.is_none_or(|link| link.meeting.as_ref() != Some(&meeting.record))
        && (has_link || is_younger || is_of_part)
}

/// Whether nothing but the stamp tells that the event is the meeting's.
fn is_by_stamp(input: &Input<'_>, event: &EventSide, meeting: &MeetingSide) -> bool {
    input.link.is_none()
        && event.stamp == Stamp::Of(meeting.record.clone())
        && meeting.key.as_ref() != Some(&event.key.text())
}

/// Where nothing but Outlook's stamp tells that the event is the meeting's, and both say different things, our memory may be
/// lost, and the original be one that no reading tells of. Google's stamp names its event. What is one of a series is found
/// by no search.
fn find_original(input: &Input<'_>, event: &EventSide, meeting: &MeetingSide) -> Option<Plan> {
    let fields = [Field::Subject, Field::When, Field::Body, Field::Location, Field::Recurrence];
    let said = input.calendar.provider.holds(&meeting.event);
    let is_asked = input.calendar.provider == Provider::Microsoft
        && input.original.is_none()
        && event.event.place.original().is_none()
        && is_by_stamp(input, event, meeting)
        && fields.into_iter().any(|field| !said.same(&event.event, field));
    let look = || vec![Action::FindOriginal { record: meeting.record.clone() }];
    is_asked.then(|| Plan::again(Verdict::LooksFirst, look()))
}

/// An event without record in the CRM becomes a meeting, never a call.
fn create_meeting(input: &Input<'_>, event: &EventSide) -> Plan {
    if input.ended {
        return ignored(Ignored::EndedBefore);
    }
    if let Err(unfit) = event.event.check() {
        return Plan::of(Verdict::Skipped(Skipped::Event(unfit)), Vec::new());
    }
    if !input.rules.window.has(&event.event) {
        return ignored(Ignored::OutsideWindow);
    }
    match &event.event.place {
        Place::Occurrence { .. } if input.holding == Holding::Series => {
            return ignored(Ignored::PartOfSeries);
        }
        Place::Master(series) if series.holding(&input.rules.crm_series) == Holding::Occurrences => {
            let look = Action::LookAtInstances { id: event.id.clone() };
            return Plan::of(Verdict::Converges, vec![look]);
        }
        Place::Single | Place::Master(_) | Place::Occurrence { .. } | Place::Exception { .. } => {}
    }
    let mut wanted = for_crm(&event.event);
    let link = PairLink {
        event_id: Some(event.id.clone()),
        key: Some(event.key.clone()),
        is_organizer: event.is_organizer,
        creating: Some(Creating { side: Side::Crm, event: answered_base(&wanted) }),
        ..PairLink::default()
    };
    let mut actions = Vec::new();
    if input.link != Some(&link) {
        actions.push(Action::SaveLink(Box::new(link)));
    }
    // They are not agreed on: the event does not have them.
    for (mail, person) in input.whole.into_iter().flat_map(|whole| &whole.people) {
        wanted
            .attendees
            .entry(mail.clone())
            .or_insert_with(|| Attendee { response: Response::None, ..person.clone() });
    }
    actions.push(Action::CreateMeeting {
        key: event.key.text(),
        event: Box::new(wanted),
        user_id: input.calendar.user_id.clone(),
    });
    Plan::again(Verdict::Converges, actions)
}

/// A meeting or call without event in its user's calendar goes out; `after` one that it had before, if there was one.
fn create_event(input: &Input<'_>, meeting: &MeetingSide, after: Option<Timestamp>) -> Plan {
    let creating = input.link.is_some_and(|link| link.creating.is_some());
    if input.ended || meeting.removed_from.contains(&input.calendar.id) {
        return ignored(Ignored::EndedBefore);
    }
    if !meeting.users.contains(&input.calendar.user_id) {
        return ignored(Ignored::NotTheirs);
    }
    if meeting.status == MeetingStatus::NotHeld && !creating {
        return ignored(Ignored::NotHeld);
    }
    if !input.is_read {
        return ignored(Ignored::NotReadYet);
    }
    if waits_for_event(input, meeting) {
        return ignored(Ignored::WaitsForEvent);
    }
    if is_invited(input, meeting) {
        return ignored(Ignored::Invited);
    }
    if meeting.event.place.original().is_some() && input.whole.is_none() {
        return ignored(Ignored::PartOfSeries);
    }
    if let Err(unfit) = meeting.event.check() {
        return Plan::of(Verdict::Skipped(Skipped::Meeting(unfit)), Vec::new());
    }
    if !input.rules.window.has(&meeting.event) && !creating {
        return ignored(Ignored::OutsideWindow);
    }
    if let Some((whole, original)) = input.whole.zip(meeting.event.place.original()) {
        let look = Action::FindDay { series_id: whole.event_id.clone(), original: original.clone() };
        return Plan::again(Verdict::LooksFirst, vec![look]);
    }
    let provider = input.calendar.provider;
    let series = meeting.event.place.series();
    if provider == Provider::Microsoft && series.is_some_and(|s| s.to_graph(&meeting.event.when).is_err()) {
        return Plan::of(Verdict::Skipped(Skipped::Recurrence), Vec::new());
    }
    let guests = Guests::of_new(provider, input.rules.send_mail);
    let mut wanted = for_calendar(provider, &meeting.event, guests);
    if guests == Guests::Written {
        let invited = Invited::by(input.copies).elsewhere;
        wanted.attendees.retain(|mail, _| !invited.contains(mail));
    }
    let link = PairLink {
        meeting: Some(meeting.record.clone()),
        is_organizer: true,
        made_of: meeting.version,
        created_after: after,
        creating: Some(Creating {
            side: Side::Calendar,
            event: written_base(&meeting.event, &wanted, guests),
        }),
        ..PairLink::default()
    };
    let mut actions = Vec::new();
    if input.link != Some(&link) {
        actions.push(Action::SaveLink(Box::new(link)));
    }
    actions.push(Action::CreateEvent {
        token: CreateToken { calendar_id: input.calendar.id.clone(), record: meeting.record.clone(), after },
        event: Box::new(wanted),
        guests,
    });
    Plan::again(Verdict::Converges, actions)
}

/// Whether the event that the meeting was born of is in no calendar that we know.
pub(super) fn waits_for_event(input: &Input<'_>, meeting: &MeetingSide) -> bool {
    let is_there = |key: &String| input.copies.iter().any(|copy| copy.key.text() == *key);
    meeting.key.as_ref().is_some_and(|key| !is_there(key))
}

/// Whether the provider brings the meeting into this calendar. What we make invites nobody at another provider's, since it
/// sends no mail.
pub(super) fn is_invited(input: &Input<'_>, meeting: &MeetingSide) -> bool {
    let is_born = |copy: &Copy| meeting.key.as_ref() == Some(&copy.key.text());
    let arrives =
        |copy: &Copy| copy.provider == input.calendar.provider || input.rules.send_mail || is_born(copy);
    input.copies.iter().any(|copy| copy.guests.contains(&input.calendar.mail) && arrives(copy))
}

/// What both sides will have agreed on once the meeting is there.
fn answered_base(wanted: &Event) -> Event {
    let said = |attendee: &Attendee| Attendee { response: attendee.response, ..Attendee::default() };
    let attendees = wanted.attendees.iter().map(|(mail, a)| (mail.clone(), said(a))).collect();
    Event { attendees, ..wanted.clone() }
}

/// What both sides will have agreed on once the event is there.
fn written_base(meeting: &Event, wanted: &Event, guests: Guests) -> Event {
    let invited = wanted.attendees.keys().map(|mail| (mail.clone(), Attendee::default()));
    let attendees = match guests {
        Guests::Written => invited.collect(),
        Guests::Listed | Guests::Read => super::event::Attendees::new(),
    };
    Event { attendees, ..meeting.clone() }
}

/// Whether the CRM's id has to be put with the event. An outsider's event is found by the key that its meeting has.
pub(super) fn stamp_is_missing(link: &PairLink, event: &EventSide, meeting: &MeetingSide) -> bool {
    if !event.is_organizer && meeting.key.as_ref() == Some(&event.key.text()) {
        return false;
    }
    match &event.stamp {
        Stamp::Of(record) => *record != meeting.record,
        Stamp::None => true,
        Stamp::Unread => !link.stamped,
    }
}
