//! The canonical event as members of Google's. Pure.

use std::collections::BTreeSet;

use connector_google as google;
use jiff::Zoned;
use jiff::tz::TimeZone;

use super::html;
use super::read::{Facts, in_force, is_person};
use crate::calendar::event::{Attendees, Event, Field, Place, When};
use crate::calendar::zones;

/// Reminders at most.
const REMINDERS_MAX: usize = 5;
/// Longest time between a reminder and the start, in minutes: four weeks.
const REMINDER_MINUTES_MAX: u32 = 40_320;

/// What an event has that the canonical form does not tell, and that must stay.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kept {
    /// Those who are invited, with all that is said of them.
    pub attendees: Vec<google::Attendee>,
    /// Reminders, those by mail too.
    pub reminders: Option<google::Reminders>,
}

impl Kept {
    /// What there is to keep of an event.
    pub fn of(event: &google::Event) -> Self {
        Self { attendees: event.attendees.clone(), reminders: event.reminders.clone() }
    }

    /// Whether writing this field takes more than the canonical form tells.
    pub fn is_needed_for(field: Field) -> bool {
        matches!(field, Field::Attendees | Field::Reminders)
    }
}

/// Fields of an event, to be written over what is there.
pub fn patch(event: &Event, fields: &[Field], kept: &Kept, facts: &Facts) -> google::EventPatch {
    let mut patch = google::EventPatch::default();
    for field in fields {
        patch = match field {
            Field::Subject => patch.summary(&event.subject),
            Field::When => with_times(patch, event),
            Field::Body => patch.description(&html::from_text(&event.body)),
            Field::Location => patch.location(&event.location),
            Field::Busy => patch.busy(event.busy != crate::calendar::event::Busy::Free),
            Field::Private => patch.private(event.private),
            Field::Reminders => patch.reminders(&reminders(&event.reminders, kept, facts)),
            Field::Attendees => patch.attendees(&attendees(&event.attendees, kept, facts)),
            Field::Recurrence => with_rule(patch, event),
            // Google makes it, or has none.
            Field::OnlineLink | Field::WebLink | Field::Categories | Field::Importance => patch,
        };
    }
    patch
}

fn with_times(patch: google::EventPatch, event: &Event) -> google::EventPatch {
    match &event.when {
        When::AllDay { first, after } => {
            let day =
                |day: &jiff::civil::Date| google::Time { date: Some(day.to_string()), ..Default::default() };
            patch.times(&day(first), &day(after))
        }
        When::Timed { start, end } => {
            // The clock that a rule follows is that of its start.
            let zone = event.place.series().filter(|series| series.zone.is_some());
            let zone = zone.and_then(|series| series.time_zone().ok());
            let start = zone.map_or_else(|| start.clone(), |zone| start.with_time_zone(zone));
            patch.times(&time(&start), &time(end))
        }
    }
}

/// The instant in UTC, which is the same on both sides of a change of clocks, and the zone to show it in.
fn time(at: &Zoned) -> google::Time {
    let zone = zones::iana_name(at.time_zone()).unwrap_or("UTC");
    let text = at.with_time_zone(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    google::Time { date: None, date_time: Some(text), time_zone: Some(zone.to_owned()) }
}

/// With the rule comes the clock that it follows. One of a series has no rule of its own.
fn with_rule(patch: google::EventPatch, event: &Event) -> google::EventPatch {
    match &event.place {
        Place::Master(series) => with_times(patch, event).recurrence(&series.to_lines()),
        Place::Single => patch.recurrence(&[]),
        Place::Occurrence { .. } | Place::Exception { .. } => patch,
    }
}

/// Popups as wanted, and of the reminders by mail as many as there is room for. Where the popups are the calendar's own
/// ones, these hold, whatever they will be.
fn reminders(wanted: &BTreeSet<u32>, kept: &Kept, facts: &Facts) -> google::Reminders {
    let is_popup = |one: &&google::Reminder| one.method == "popup";
    let wanted: BTreeSet<u32> =
        wanted.iter().rev().take(REMINDERS_MAX).map(|minutes| (*minutes).min(REMINDER_MINUTES_MAX)).collect();
    let default: BTreeSet<u32> = facts.reminders.iter().filter(is_popup).map(|one| one.minutes).collect();
    if wanted == default {
        return google::Reminders { use_default: true, overrides: Vec::new() };
    }
    let popups =
        wanted.iter().map(|minutes| google::Reminder { method: "popup".to_owned(), minutes: *minutes });
    let present = in_force(kept.reminders.as_ref(), &facts.reminders);
    let others = present.iter().filter(|one| !is_popup(one)).cloned();
    google::Reminders { use_default: false, overrides: popups.chain(others).take(REMINDERS_MAX).collect() }
}

/// All who are invited: those who stay with all that is said of them, those who come, and the ones of whom the canonical
/// form does not tell.
fn attendees(wanted: &Attendees, kept: &Kept, facts: &Facts) -> Vec<google::Attendee> {
    let mail = |one: &google::Attendee| one.email().trim().to_lowercase();
    let addresses: BTreeSet<&str> = wanted.iter().map(|(mail, attendee)| attendee.address(mail)).collect();
    let stays = |one: &&google::Attendee| {
        facts.is_own(one) || !is_person(one) || addresses.contains(mail(one).as_str())
    };
    let there: BTreeSet<String> = kept.attendees.iter().map(mail).collect();
    let come =
        wanted.iter().map(|(mail, attendee)| google::Attendee::new(attendee.address(mail), &attendee.name));
    let come = come.filter(|one| !there.contains(one.email()) && !facts.is_own(one));
    kept.attendees.iter().filter(stays).cloned().chain(come).collect()
}

#[cfg(test)]
mod tests;
