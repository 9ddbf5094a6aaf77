//! Microsoft Graph v1.0: calendars by delta, subscriptions.
//!
//! [`MsGraph`] is one mailbox, with the limits that Outlook has for it. Each operation is two pure halves, a request and
//! the reading of its answer, with `http-client` between them. Vendor: <https://learn.microsoft.com/graph/api/overview>.

mod batch;
mod calendar;
mod client;
mod error;
mod event;
mod notifications;
mod page;
mod patch;
mod subscriptions;
mod user;

pub use calendar::{Calendar, Created, Span, Written};
pub use client::{MsGraph, Settings, default_limits, transaction_id};
pub use event::{
    Attendee, AttendeeType, Body, BodyType, DateTimeTimeZone, Day, EmailAddress, Event, EventType,
    ExtendedProperty, Importance, Location, OnlineMeeting, Pattern, PatternType, Range, RangeType, Recipient,
    Recurrence, Response, ResponseStatus, Sensitivity, ShowAs, WeekIndex,
};
pub use http_client::{Limits, SetupError, may_have_taken_effect};
pub use notifications::{
    Change, Lifecycle, Notification, NotificationError, NotificationKind, Notifications, Validation,
    read_notifications, read_validation,
};
pub use page::{Page, PageItem, PageNext, PageRead};
pub use patch::{EventPatch, Wanted};
pub use subscriptions::{Subscription, SubscriptionWanted};
pub use user::User;

/// The system's name in faults, metrics and logs.
pub const SYSTEM: &str = "msgraph";
/// The extended property of events that names the CRM's record. Its GUID is ours, and never changes: it is how events are
/// found again when everything else is lost.
pub const CRM_ID_PROPERTY: &str = "String {6d1d8d3c-7a52-4c0e-9a6e-2b1f5c4e8f37} Name CrmId";
