//! Canonical events as Graph is told of them: what is named, and nothing else. Pure.

use connector_msgraph as wire;
use jiff::Zoned;
use jiff::tz::TimeZone;
use shared::fault::Fault;

use super::{body, read, recurrence};
use crate::calendar::event::{Attendees, Busy, Event, Field, Place, When, with_list};
use crate::calendar::further::Importance;
use crate::calendar::series::{Series, SeriesError};
use crate::calendar::sides::{Guests, MeetingRef};
use crate::calendar::zones;

const UTC: &str = "UTC";

/// What has to be known of the event that is written over.
#[derive(Debug, Clone, Default)]
pub(super) struct Current {
    /// How people join online, as it stands in the body.
    pub join_block: Option<String>,
    /// Who is invited, and how.
    pub attendees: Vec<wire::Attendee>,
    /// The rule and the times as they are, so that a rule that stays is not written: what was changed by itself would go.
    pub series: Option<(Series, When)>,
}

/// What is written of an event.
pub(super) fn patch(
    event: &Event,
    fields: &[Field],
    guests: Guests,
    current: &Current,
) -> Result<wire::EventPatch, Fault> {
    let mut patch = wire::EventPatch::default();
    for field in fields {
        match field {
            Field::Subject => patch.subject = Some(event.subject.clone()),
            Field::When => set_times(&mut patch, event)?,
            Field::Body => patch.body = Some(write_body(event, guests, current)),
            Field::Location => {
                patch.location = Some(wire::Location { display_name: Some(event.location.clone()) });
            }
            Field::Busy => patch.show_as = Some(show_as(event.busy)),
            Field::Private => {
                let private = event.private;
                patch.sensitivity =
                    Some(if private { wire::Sensitivity::Private } else { wire::Sensitivity::Normal });
            }
            Field::Reminders => set_reminder(&mut patch, event),
            // Made by the calendar.
            Field::OnlineLink | Field::WebLink => {}
            Field::Categories => {
                patch.categories = Some(event.further.categories.iter().cloned().collect());
            }
            Field::Importance => {
                patch.importance = Some(match event.further.importance {
                    Importance::Low => wire::Importance::Low,
                    Importance::Normal => wire::Importance::Normal,
                    Importance::High => wire::Importance::High,
                });
            }
            Field::Attendees => match guests {
                Guests::Written => patch.attendees = Some(attendees(&event.attendees, &current.attendees)),
                Guests::Listed => patch.body = Some(write_body(event, guests, current)),
                Guests::Read => {}
            },
            Field::Recurrence => {}
        }
    }
    if fields.iter().any(|field| matches!(field, Field::Recurrence | Field::When)) {
        set_rule(&mut patch, event, fields, current)?;
    }
    Ok(patch)
}

/// The CRM's record, to stand with an event.
pub(super) fn stamp(record: &MeetingRef) -> Vec<wire::ExtendedProperty> {
    let value = Some(read::stamp_text(record));
    vec![wire::ExtendedProperty { id: wire::CRM_ID_PROPERTY.to_owned(), value }]
}

fn show_as(busy: Busy) -> wire::ShowAs {
    match busy {
        Busy::Free => wire::ShowAs::Free,
        Busy::Tentative => wire::ShowAs::Tentative,
        Busy::Busy => wire::ShowAs::Busy,
        Busy::OutOfOffice => wire::ShowAs::Oof,
        Busy::Elsewhere => wire::ShowAs::WorkingElsewhere,
    }
}

/// The earliest one: there is only one.
fn set_reminder(patch: &mut wire::EventPatch, event: &Event) {
    let minutes = event.reminders.last().map(|minutes| i32::try_from(*minutes).unwrap_or(i32::MAX));
    patch.is_reminder_on = Some(minutes.is_some());
    patch.reminder_minutes_before_start = minutes;
}

fn write_body(event: &Event, guests: Guests, current: &Current) -> wire::Body {
    let text = match guests {
        Guests::Listed => with_list(&event.body, &event.attendees),
        Guests::Written | Guests::Read => event.body.clone(),
    };
    match &current.join_block {
        None => wire::Body { content_type: wire::BodyType::Text, content: text },
        Some(block) => wire::Body { content_type: wire::BodyType::Html, content: body::html(&text, block) },
    }
}

/// People as they are invited now; who is new is required.
fn attendees(wanted: &Attendees, current: &[wire::Attendee]) -> Vec<wire::Attendee> {
    let address =
        |attendee: &wire::Attendee| attendee.email_address.address.as_deref().map(str::to_lowercase);
    let invite = |mail: &str, name: &str| {
        let known = current.iter().find(|known| address(known).as_deref() == Some(mail));
        known.cloned().unwrap_or_else(|| wire::Attendee {
            email_address: wire::EmailAddress {
                name: (!name.is_empty()).then(|| name.to_owned()),
                address: Some(mail.to_owned()),
            },
            kind: Some(wire::AttendeeType::Required),
            status: None,
        })
    };
    wanted.iter().map(|(mail, attendee)| invite(attendee.address(mail), &attendee.name)).collect()
}

fn set_times(patch: &mut wire::EventPatch, event: &Event) -> Result<(), Fault> {
    let midnight = |day: jiff::civil::Date| wire::DateTimeTimeZone {
        date_time: format!("{day}T00:00:00"),
        time_zone: UTC.to_owned(),
    };
    let (start, end) = match (&event.when, event.place.series()) {
        (When::AllDay { first, after }, _) => (midnight(*first), midnight(*after)),
        (When::Timed { start, end }, None) => (in_own_zone(start), in_own_zone(end)),
        (When::Timed { start, end }, Some(series)) => {
            let zone = series.time_zone().map_err(|error| unwritable(&error.into()))?;
            (in_zone(start, &zone)?, in_zone(end, &zone)?)
        }
    };
    (patch.start, patch.end) = (Some(start), Some(end));
    patch.is_all_day = Some(event.when.is_all_day());
    Ok(())
}

fn clock(at: &Zoned) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

/// In its own zone; in UTC where Windows has no such zone, or its clock shows that time twice.
fn in_own_zone(at: &Zoned) -> wire::DateTimeTimeZone {
    let name = zones::windows_name(at.time_zone()).ok().filter(|_| {
        let again = at.time_zone().to_ambiguous_zoned(at.datetime()).compatible();
        again.is_ok_and(|again| again.timestamp() == at.timestamp())
    });
    match name {
        // What the name means to Outlook is the zone of its table, which differs from others in the past.
        Some(name) if reads_back(at, name) => {
            wire::DateTimeTimeZone { date_time: clock(at), time_zone: name.to_owned() }
        }
        Some(_) | None => wire::DateTimeTimeZone {
            date_time: clock(&at.with_time_zone(TimeZone::UTC)),
            time_zone: UTC.to_owned(),
        },
    }
}

fn reads_back(at: &Zoned, name: &str) -> bool {
    let read = zones::read(name, None).ok().and_then(|zone| at.datetime().to_zoned(zone).ok());
    read.is_some_and(|read| read.timestamp() == at.timestamp())
}

/// On the clock that a series follows: never in UTC, or daylight saving time shifts it.
fn in_zone(at: &Zoned, zone: &TimeZone) -> Result<wire::DateTimeTimeZone, Fault> {
    let name = zones::windows_name(zone).map_err(|error| unwritable(&error.into()))?;
    let date_time = clock(&at.with_time_zone(zone.clone()));
    Ok(wire::DateTimeTimeZone { date_time, time_zone: name.to_owned() })
}

fn unwritable(error: &SeriesError) -> Fault {
    Fault::permanent("rule_not_in_outlook", format!("The series cannot be written to Outlook: {error}."))
}

/// A rule and its times go together: the rule counts from them.
fn set_rule(
    patch: &mut wire::EventPatch,
    event: &Event,
    fields: &[Field],
    current: &Current,
) -> Result<(), Fault> {
    match &event.place {
        Place::Master(series) => {
            let stays = current
                .series
                .as_ref()
                .is_some_and(|(now, when)| now.has_rule_of(series) && *when == event.when);
            if !stays {
                set_times(patch, event)?;
                let rule = series.to_graph(&event.when).map_err(|error| unwritable(&error))?;
                patch.recurrence = wire::Wanted::This(recurrence::write(&rule));
            }
        }
        Place::Single if fields.contains(&Field::Recurrence) => {
            if current.series.is_some() {
                patch.recurrence = wire::Wanted::Nothing;
            }
        }
        Place::Single | Place::Occurrence { .. } | Place::Exception { .. } => {}
    }
    Ok(())
}
