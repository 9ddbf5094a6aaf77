//! What users are told in the CRM. Pure; the texts hold the values, so they go nowhere else.

use super::action::{Kept, Notice};
use super::event::Field;
use super::sides::Provider;

/// The vendor's product, as its users call it.
pub(super) fn product(provider: Provider) -> &'static str {
    match provider {
        Provider::Microsoft => "Outlook",
        Provider::Google => "Google Calendar",
    }
}

/// A notice, in EspoCRM's Markdown.
pub(super) fn text(notice: &Notice, title: &str, provider: Provider) -> String {
    let product = product(provider);
    match notice {
        Notice::Conflict(fields) => {
            let lines: Vec<String> = fields
                .iter()
                .map(|field| {
                    let name = field_name(field.field);
                    format!("- {name}: \"{}\" in EspoCRM, \"{}\" in {product}", field.crm, field.calendar)
                })
                .collect();
            format!("**{title}** was changed in EspoCRM and in {product}:\n\n{}", lines.join("\n"))
        }
        Notice::Left(fields) => {
            let names: Vec<&str> = fields.iter().map(|field| field_name(*field)).collect();
            format!(
                "**{title}**: what differs between EspoCRM and {product} cannot be carried over and stays different: {}.",
                names.join(", ")
            )
        }
        Notice::EventKept(why) => {
            format!("**{title}** was deleted in EspoCRM; its event in {product} stays: {}.", kept(*why))
        }
        Notice::MeetingKept(why) => {
            format!(
                "The event of **{title}** was deleted in {product}; the record in EspoCRM stays: {}.",
                kept(*why)
            )
        }
    }
}

fn kept(why: Kept) -> &'static str {
    match why {
        Kept::Edited => "it was edited meanwhile",
        Kept::ReachesOthers => "deleting it would be told to its attendees, or is its organiser's to do",
        Kept::Unknown => "both sides never agreed on it",
    }
}

fn field_name(field: Field) -> &'static str {
    match field {
        Field::Subject => "subject",
        Field::When => "time",
        Field::Body => "description",
        Field::Location => "location",
        Field::Busy => "shown as",
        Field::Private => "private",
        Field::Reminders => "reminders",
        Field::OnlineLink => "online meeting",
        Field::Attendees => "attendees",
        Field::Recurrence => "recurrence",
        Field::Categories => "categories",
        Field::Importance => "importance",
        Field::WebLink => "web link",
    }
}
