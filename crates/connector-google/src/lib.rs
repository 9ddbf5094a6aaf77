//! Google Calendar v3: events by sync tokens, watch channels.
//!
//! [`Google`] is one account. Each operation is two pure halves, a request and the reading of its answer, with
//! `http-client` between them. What is odd about the vendor's API stands in the README and, once each, in the code.
//!
//! Vendor: <https://developers.google.com/workspace/calendar/api/v3/reference>.

mod calendars;
mod channels;
mod client;
mod error;
mod event;
mod events;
#[cfg(test)]
mod fixtures;
mod id;
pub mod notification;
mod patch;
mod throttle;

pub use calendars::OwnCalendar;
pub use channels::{Channel, ChannelWanted};
pub use client::{Google, Settings, default_limits};
pub use event::{
    Attendee, Conference, EntryPoint, Event, ExtendedProperties, Item, Organizer, Reminder, Reminders, Time,
};
pub use events::{Instances, ListQuery, Listed, Listing, Mail, PAGE_EVENTS_MAX, Page, Range, Written};
pub use http_client::{Limits, SetupError, may_have_taken_effect};
pub use id::EventId;
pub use patch::EventPatch;

/// The system's name in faults, metrics and logs.
pub const SYSTEM: &str = "google";
/// The calendar of an account that is its user's own.
pub const PRIMARY: &str = "primary";
