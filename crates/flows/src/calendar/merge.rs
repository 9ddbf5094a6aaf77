//! The comparison of three events, field by field: base, the CRM's, the calendar's. Pure.
//!
//! A value that cannot be carried over (an outsider's meeting, a meeting whose guests Outlook would mail, an all-day
//! call) is left as it is on both sides. What is agreed on is then the value of the side that was not written, so the
//! difference is neither lost nor written later.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use shared::change::Merge;

use super::copies::Invited;
use super::event::{self, Attendee, Attendees, Event, Field, OriginalStart, Place, Reach, Response};
use super::link::Personal;
use super::series::Series;
use super::sides::{EventSide, Guests, MeetingKind, Provider, can_hold, is_writable};

/// Whose value counts where both sides changed a field to different values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Winner {
    /// The CRM's.
    Crm,
    /// The calendar's.
    Calendar,
}

/// What is compared, and by which rules.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// Whose calendar.
    pub provider: Provider,
    /// The event as it was read.
    pub event: &'a EventSide,
    /// What the CRM's record is.
    pub kind: MeetingKind,
    /// How attendees stand.
    pub guests: Guests,
    /// Whether attendees may be mailed.
    pub send_mail: bool,
    /// Whether what is an attendee's own affair is compared.
    pub personal: bool,
    /// Whether the event takes the place of another copy of it, which spoke for the meeting until now: what was that one's
    /// user's own affair, and was not edited since, is replaced.
    pub takes_over: bool,
    /// What of it the calendar says otherwise than was agreed on ([`super::link::PairLink::apart`]).
    pub apart: Option<&'a Personal>,
    /// Whether it is left as it is on both sides where nothing was agreed on: another copy may speak for the meeting.
    pub adopts: bool,
    /// Who wins; none leaves what is in conflict to a person.
    pub winner: Option<Winner>,
    /// Whom other events of the meeting invite.
    pub invited: &'a Invited,
}

/// What comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// What the CRM is to say.
    pub crm: Event,
    /// What the calendar is to say.
    pub calendar: Event,
    /// What to remember as agreed; none while there was no agreement before, and a person has to decide the first one.
    pub base: Option<Event>,
    /// What to remember of what is the user's own affair, where the calendar says it otherwise.
    pub apart: Option<Personal>,
    /// Fields to write to the CRM.
    pub to_crm: Vec<Field>,
    /// Fields to write to the calendar.
    pub to_calendar: Vec<Field>,
    /// Fields that both sides changed to different values.
    pub conflicts: Vec<Field>,
    /// Fields that stay different, since a value cannot be carried over.
    pub left: Vec<Field>,
}

/// Merges. Without base, values that differ are in conflict.
pub fn merge(base: Option<&Event>, crm: &Event, terms: &Terms<'_>) -> Merged {
    let calendar = &terms.event.event;
    let mut agreed = base.unwrap_or(crm).clone();
    let mut merged = Merged {
        crm: crm.clone(),
        calendar: calendar.clone(),
        base: None,
        apart: terms.apart.cloned(),
        to_crm: Vec::new(),
        to_calendar: Vec::new(),
        conflicts: Vec::new(),
        left: Vec::new(),
    };
    // A rule counts from its start, on the clock of its start: of a series, both are one value.
    let is_series = |event: &Event| event.place.series().is_some();
    let in_series = is_series(crm) || is_series(calendar) || base.is_some_and(is_series);
    for field in Field::ALL.into_iter().filter(|field| terms.personal || !field.is_personal()) {
        match field {
            Field::Attendees => merge_attendees(&mut merged, &mut agreed, base, crm, terms),
            Field::When if in_series && merge_gaps(&mut merged, &mut agreed, base, crm, terms) => {}
            Field::When if in_series => {
                merge_value(&mut merged, &mut agreed, &[Field::When, Field::Recurrence], base, crm, terms);
            }
            Field::Recurrence if in_series => {}
            field => merge_value(&mut merged, &mut agreed, &[field], base, crm, terms),
        }
    }
    let undecided = terms.winner.is_none() && !merged.conflicts.is_empty();
    if terms.personal {
        merged.apart = apart(&merged, &agreed, base, terms);
    }
    merged.base = (base.is_some() || !undecided).then_some(agreed);
    merged
}

/// What the calendar says of its user's own affairs once all is written, where that differs from what is agreed on.
fn apart(merged: &Merged, agreed: &Event, base: Option<&Event>, terms: &Terms<'_>) -> Option<Personal> {
    let held = terms.provider.holds(agreed);
    let mut said = base.map_or_else(|| held.clone(), |base| in_calendar(base, terms));
    let is_decided = |field: &Field| terms.winner.is_some() || !merged.conflicts.contains(field);
    let personal = || Field::ALL.into_iter().filter(|field| field.is_personal());
    personal().filter(is_decided).for_each(|field| said.take(field, &merged.calendar));
    personal().any(|field| !said.same(&held, field)).then(|| Personal::of(&said))
}

/// What the calendar said of what was agreed on.
fn in_calendar(base: &Event, terms: &Terms<'_>) -> Event {
    Personal::put(terms.apart, terms.provider.holds(base))
}

/// Merges which occurrences are left out, where nothing else of the series differs and both sides have only left out more: one
/// that was left out on either side takes place on none. Answers false where that is not so.
fn merge_gaps(
    merged: &mut Merged,
    agreed: &mut Event,
    base: Option<&Event>,
    crm: &Event,
    terms: &Terms<'_>,
) -> bool {
    let calendar = &terms.event.event;
    let (Place::Master(own), Place::Master(other)) = (&crm.place, &calendar.place) else { return false };
    let before = match base.map(|base| base.place.series()) {
        None => BTreeSet::new(),
        Some(None) => return false,
        Some(Some(series)) => series.gaps.clone(),
    };
    let is_same = crm.same(calendar, Field::When) && own.has_rule_of(other) && own.gaps != other.gaps;
    if !is_same || !own.gaps.is_superset(&before) || !other.gaps.is_superset(&before) {
        return false;
    }
    let gaps: BTreeSet<OriginalStart> = own.gaps.union(&other.gaps).cloned().collect();
    let all = |series: &Series| Place::Master(series.leaving_out(gaps.clone()));
    agreed.take(Field::When, crm);
    agreed.place = all(own);
    if gaps != own.gaps {
        merged.crm.place = all(own);
        merged.to_crm.push(Field::Recurrence);
    }
    if gaps != other.gaps {
        let to_be = Event { place: all(other), ..calendar.clone() };
        if is_writable(terms.provider, terms.event, Field::Recurrence, &to_be, terms.send_mail) {
            merged.calendar.place = to_be.place;
            merged.to_calendar.push(Field::Recurrence);
        } else {
            agreed.place = calendar.place.clone();
            merged.left.push(Field::Recurrence);
        }
    }
    true
}

/// Merges fields that are one value.
fn merge_value(
    merged: &mut Merged,
    agreed: &mut Event,
    fields: &[Field],
    base: Option<&Event>,
    crm: &Event,
    terms: &Terms<'_>,
) {
    let calendar = &terms.event.event;
    let held_crm = terms.provider.holds(crm);
    let same = |a: &Event, b: &Event| fields.iter().all(|field| a.same(b, *field));
    let differing = || fields.iter().filter(|field| !held_crm.same(calendar, **field)).copied();
    let take = |to: &mut Event, from: &Event| fields.iter().for_each(|field| to.take(*field, from));
    let is_others = terms.takes_over
        && fields.iter().all(|field| field.is_personal())
        && base.is_some_and(|base| same(base, crm))
        && !same(crm, calendar);
    if is_others {
        take(&mut merged.crm, calendar);
        take(agreed, calendar);
        merged.to_crm.extend(fields);
        return;
    }
    if same(&held_crm, calendar) {
        take(agreed, crm);
        return;
    }
    let is_told = base.is_some_and(|base| same(&in_calendar(base, terms), calendar));
    let adopts = terms.adopts && fields.iter().all(|field| field.is_personal());
    let winner = match base {
        // They are apart, and neither was edited.
        Some(base) if is_told && same(base, crm) => return,
        None if adopts => return,
        Some(_) if is_told => Some(Winner::Crm),
        Some(base) if same(base, crm) => Some(Winner::Calendar),
        _ => {
            merged.conflicts.extend(differing());
            terms.winner
        }
    };
    let writable = |field| is_writable(terms.provider, terms.event, field, crm, terms.send_mail);
    match winner {
        Some(Winner::Crm) if differing().all(writable) => {
            take(&mut merged.calendar, &held_crm);
            take(agreed, crm);
            merged.to_calendar.extend(differing());
        }
        // What is agreed on is what the calendar says, and will be asked about again when it says something else.
        Some(Winner::Crm) => {
            take(agreed, calendar);
            merged.left.extend(differing());
        }
        Some(Winner::Calendar) if differing().all(|field| can_hold(terms.kind, field, calendar)) => {
            take(&mut merged.crm, calendar);
            take(agreed, calendar);
            merged.to_crm.extend(differing());
        }
        Some(Winner::Calendar) => {
            take(agreed, crm);
            merged.left.extend(differing());
        }
        None => {}
    }
}

/// People are merged one by one: whether they are there, both ways where that may be written; what they answered only
/// towards the CRM, since it is theirs to say.
fn merge_attendees(
    merged: &mut Merged,
    agreed: &mut Event,
    base: Option<&Event>,
    crm: &Event,
    terms: &Terms<'_>,
) {
    let calendar = &terms.event.event.attendees;
    if terms.guests == Guests::Listed {
        agreed.attendees = Attendees::new();
        merged.calendar.attendees.clone_from(&crm.attendees);
        if terms.event.listed != event::list(&crm.attendees) {
            merged.to_calendar.push(Field::Attendees);
        }
        return;
    }
    let empty = Attendees::new();
    let before = base.map_or(&empty, |base| &base.attendees);
    let mut mails: Vec<&String> = crm.attendees.keys().chain(calendar.keys()).chain(before.keys()).collect();
    mails.sort();
    mails.dedup();
    let mut people = People {
        crm: crm.attendees.clone(),
        calendar: calendar.clone(),
        base: empty.clone(),
        left: false,
        is_first: base.is_none(),
    };
    for mail in mails {
        people.merge(mail, before, terms);
    }
    if people.crm != crm.attendees {
        merged.to_crm.push(Field::Attendees);
    }
    if people.calendar.keys().ne(calendar.keys()) {
        merged.to_calendar.push(Field::Attendees);
    }
    if people.left {
        merged.left.push(Field::Attendees);
    }
    merged.crm.attendees = people.crm;
    merged.calendar.attendees = people.calendar;
    agreed.attendees = people.base;
}

struct People {
    crm: Attendees,
    calendar: Attendees,
    base: Attendees,
    left: bool,
    /// Nothing was agreed on before.
    is_first: bool,
}

impl People {
    fn merge(&mut self, mail: &str, before: &Attendees, terms: &Terms<'_>) {
        let (base, crm, calendar) = (before.get(mail), self.crm.get(mail), self.calendar.get(mail));
        if calendar.is_some_and(|attendee| attendee.reach == Reach::Unknown) && crm.is_none() {
            return;
        }
        let invited = terms.invited;
        let address = calendar.map_or(mail, |attendee| attendee.address(mail)).to_owned();
        let address = address.as_str();
        let there = Merge::of(&base.is_some(), &crm.is_some(), &calendar.is_some());
        let (base, crm, calendar) = (base.cloned(), crm.cloned(), calendar.cloned());
        match there {
            Merge::Agreed(true) if terms.guests == Guests::Written && invited.before.contains(address) => {
                self.calendar.remove(mail);
            }
            Merge::Agreed(true) => self.answered(mail, base.map(|base| base.response)),
            Merge::Agreed(false) => {}
            // Where nothing was agreed on, other events that invite somebody may not be known yet.
            Merge::TakeLeft(_) if self.is_first => {}
            Merge::TakeLeft(_) if terms.guests != Guests::Written => {
                self.left = true;
                self.keep(mail, base);
            }
            Merge::TakeLeft(true) => {
                let has_it = |person: &Attendee| {
                    person.reach == Reach::Connected || invited.elsewhere.contains(address)
                };
                if let Some(person) = crm.filter(|person| !has_it(person)) {
                    self.calendar.insert(mail.to_owned(), Attendee { response: Response::None, ..person });
                    self.keep(mail, Some(Attendee::default()));
                }
            }
            Merge::TakeLeft(false) => {
                self.calendar.remove(mail);
            }
            Merge::TakeRight(true) => {
                if let Some(person) = calendar {
                    self.crm.insert(mail.to_owned(), person.clone());
                    self.keep(mail, Some(person));
                }
            }
            // Of who is not in a part of a list nothing is known.
            Merge::TakeRight(false) if terms.event.attendees_cut => self.keep(mail, base),
            Merge::TakeRight(false) => {
                self.crm.remove(mail);
            }
            // Two of three truth values are always equal.
            Merge::Conflict { .. } => self.keep(mail, base),
        }
    }

    /// Of what is agreed, only the answer is kept: names are not compared.
    fn keep(&mut self, mail: &str, person: Option<Attendee>) {
        if let Some(Attendee { response, .. }) = person {
            self.base.insert(mail.to_owned(), Attendee { response, ..Attendee::default() });
        }
    }

    /// Both sides have the person: a new answer in the calendar goes to the CRM.
    fn answered(&mut self, mail: &str, agreed: Option<Response>) {
        let Some(said) = self.calendar.get(mail).cloned() else { return };
        let news = match agreed {
            Some(agreed) => said.response != agreed,
            None => said.response != Response::None,
        };
        if let Some(person) = self.crm.get_mut(mail).filter(|_| news) {
            person.response = said.response;
        }
        self.keep(mail, Some(said));
    }
}
