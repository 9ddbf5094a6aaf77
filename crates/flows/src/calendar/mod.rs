//! `calendar`: EspoCRM's meetings and calls, and the events of Outlook and Google calendars, kept the same.
//!
//! What is decided is pure (`plan.rs` and what it uses), on canonical forms of its own; vendors are spoken to behind
//! [`client::CalendarClient`] and [`crm::CrmClient`]. A calendar's run is `rounds.rs`, a record's `records.rs`; both settle
//! pairs (`pair.rs`). ADR 38 says which messages there are, and why.
//!
//! # The rules
//! - An event becomes a meeting, never a call; meetings and calls of a user go out to the calendars that the user
//!   connected. What lies outside the window is not born; what was inside once stays linked, wherever it moves.
//! - A pair is an event of one calendar and a record of the CRM. It is compared three-way, value by value, with what
//!   both last agreed on. Versions say that something may have changed, contents say what: our own write that comes
//!   back says what is agreed on, so nothing follows from it.
//! - Both changed a value differently: the newer one wins by the systems' own times, or what the policy says. `ask`
//!   leaves the value as it is on both sides until a person makes them equal. The user is told once.
//! - One real-world event is one meeting, however many calendars have it (`copies.rs`): the organiser's copy speaks
//!   for it, or where that is no calendar of ours, the first one. Copies that the provider made follow by themselves.
//!   Further users of a meeting that was born in the CRM have events of their own: these go both ways, but in a
//!   conflict the meeting counts, and what is one user's own affair stays that user's.
//! - What cannot be carried over stays different, and the user is told once: an outsider's meeting, a meeting whose
//!   guests Outlook would mail, an all-day call, a rule that Outlook does not have. What is edited there later is
//!   merged as ever.
//! - No mail: Outlook mails attendees on every write, so they are listed in the body of events of ours, and of events
//!   that have some only what nobody else sees is written.
//! - Categories, importance and the calendar's own link are carried over where that is asked for (`further.rs`).
//! - People: whether they are invited goes both ways, one by one; what they answered goes to the CRM only. People that
//!   the CRM does not know stay in the calendar; users with a connected calendar have an event there instead. Nobody is
//!   invited by two events of a meeting. Users are known by the mailboxes that they connected, too (`people.rs`).
//! - A copy that comes when its meeting was made by another one brings its user into the meeting, and the organiser's goes
//!   on from what that one agreed on.
//! - Deletions (`end.rs`): a deleted or cancelled event takes the planned meeting with it, a deleted meeting its event
//!   where that reaches nobody. What is history, was edited since, or would reach others, stays and is let go.
//!   A tombstone keeps what was deleted from being made anew, and the record names the calendars that it must not come
//!   into again. `@removed` is a hint: the event is read first, and an unknown id is ignored.
//! - Before a create, what is created is noted in the link, and a create without outcome is searched for first: an
//!   event by the CRM's id with it, a meeting by the event's key in it. Nothing is created in a calendar that was not
//!   read once from beginning to end. These ids also bring links back that were lost; without what was agreed on before,
//!   one user's own affairs stay as they are on both sides.
//! - A plan that writes is followed by another one with what the writes answered; only that one saves the agreement.
//! - A series is one meeting with its rule where the CRM can hold it, else a meeting for each occurrence in the window.
//!   Exceptions are meetings of their own with the start by the rule, and that day in all calendars that have the series
//!   (`part.rs`); gaps are part of the rule, and what is left out on either side takes place on none.
//! - An attendee's copy waits for the organiser's where that one's calendar is read as well.
//! - How far a calendar was read is `cursor.rs`: after an expired token all is read again and compared with the links,
//!   and what is missing inside the window is looked at before it is called deleted. What is linked and lies outside the
//!   window gets a message of its own then, since only the token would have told of it.
//!
//! Vendors: <https://learn.microsoft.com/graph/api/event-delta>,
//! <https://developers.google.com/workspace/calendar/api/guides/sync>, <https://docs.espocrm.com/development/api/>.

pub mod action;
mod again;
mod agree;
mod apply;
mod calendars;
pub mod client;
mod compare;
pub mod copies;
pub mod crm;
pub mod cursor;
mod delivery;
mod end;
pub mod espocrm;
pub mod event;
mod failing;
mod finding;
mod flow;
pub mod further;
pub mod google;
mod instances;
pub mod key;
pub mod link;
mod links;
pub mod merge;
mod notice;
mod original;
pub mod outlook;
mod pair;
mod part;
mod people;
pub mod plan;
mod reasons;
mod records;
mod report;
mod rounds;
pub mod series;
mod settings;
pub mod sides;
mod standing;
mod sweep;
mod watch;
pub mod zones;

pub use flow::{CalendarFlow, CalendarParts};
pub use settings::{CalendarSettings, UserSettings, WindowSettings};

/// The flow's name.
pub const NAME: &str = "calendar";

#[cfg(test)]
mod examples;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
