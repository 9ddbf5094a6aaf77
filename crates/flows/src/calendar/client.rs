//! What the flow asks of a calendar, at Outlook and Google alike: requests and answers in canonical form. How a vendor
//! says it is its implementation's affair.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use secrecy::SecretString;
use shared::fault::Fault;
use shared::ports::token_source::TokenSource;
use vault::AccountId;

use super::action::CreateToken;
use super::cursor::{Next, Request};
use super::event::{Event, Field, OriginalStart, Window};
use super::sides::{EventSide, Guests, MeetingRef, Provider};

/// A vendor's calendars.
pub trait CalendarProvider: Send + Sync + Debug {
    /// Whose.
    fn provider(&self) -> Provider;

    /// The calendar of an account; the user's own one where none is named. Reaches for nothing. What is opened for one
    /// account shares its limits.
    ///
    /// # Errors
    /// An address or credential that cannot be used.
    fn open(
        &self,
        account: &AccountId,
        tokens: Arc<dyn TokenSource>,
        calendar: Option<&str>,
    ) -> Result<Arc<dyn CalendarClient>, Fault>;
}

/// One calendar of one account. Attendees of the events that it answers are all but the account's user, with
/// [`super::event::Reach::Unknown`]: who they are to the CRM is the caller's to say.
#[async_trait]
pub trait CalendarClient: Send + Sync + Debug {
    /// The account's own mail address in lower case, and the zone of its mailbox.
    async fn owner(&self) -> Result<Owner, Fault>;

    /// One page of what is asked for, with so many events at most where the vendor heeds it.
    async fn page(&self, request: &Request, events_max: u16) -> Result<PageAnswer, Fault>;

    /// An event as it stands now, with its stamp; none where it is gone.
    async fn get(&self, event_id: &str) -> Result<Option<Found>, Fault>;

    /// The instances of a series inside a window; none where the series is gone.
    async fn instances(&self, event_id: &str, window: &Window) -> Result<Option<Instances>, Fault>;

    /// Events with this stamp; where a copied event keeps it (Outlook), the oldest first.
    async fn find(&self, record: &MeetingRef) -> Result<Vec<Found>, Fault>;

    /// Creates an event with its stamp. Safe to repeat with the same token for as long as the vendor remembers it.
    async fn create(&self, token: &CreateToken, event: &Event, guests: Guests) -> Result<EventSide, Fault>;

    /// Writes these fields of an event whose present version is `expected`. Where the fields are not the user's own
    /// affair and somebody could be mailed, the caller has decided that this is wanted.
    async fn update(&self, update: &EventUpdate<'_>) -> Result<Written<EventSide>, Fault>;

    /// Puts a record's id with an event. Notifies nobody.
    async fn stamp(&self, event_id: &str, record: &MeetingRef) -> Result<Written<EventSide>, Fault>;

    /// Deletes an event whose present version is `expected`. Safe to repeat.
    async fn delete(&self, event_id: &str, expected: &str) -> Result<Written<()>, Fault>;

    /// Asks the vendor to notify us of changes. Not safe to repeat blindly: what was asked for before goes on.
    async fn watch(&self, wanted: &WatchWanted) -> Result<Watch, Fault>;

    /// Lets a watch last longer; none where it has to be asked for anew.
    async fn renew(&self, watch: &Watch, until: Timestamp) -> Result<Option<Watch>, Fault>;

    /// Ends a watch. Safe to repeat.
    async fn unwatch(&self, watch: &Watch) -> Result<(), Fault>;

    /// Gives back what this process holds in the fleet; for a process that ends.
    async fn leave(&self);
}

/// Whose calendar it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Mail address in lower case.
    pub mail: String,
    /// Further addresses by which attendees may name the same person, in lower case.
    pub aliases: Vec<String>,
}

/// A page.
#[derive(Debug, Clone, PartialEq)]
pub enum PageAnswer {
    /// What was asked for.
    Page(PageRead),
    /// The token has expired: 410 and its like.
    Expired,
}

/// What a page holds. The same event may come several times in a round: the last one counts.
#[derive(Debug, Clone, PartialEq)]
pub struct PageRead {
    /// Its items in order. Occurrences that are as their series' rule makes them are left out.
    pub items: Vec<Item>,
    /// What comes after it.
    pub next: Next,
}

/// An item of a page.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// An event.
    Found(Box<Found>),
    /// It is reported as removed. Where `is_certain`, it is no more; else it may have left the window, and only a read
    /// tells.
    Removed {
        /// Its id.
        id: String,
        /// Whether nothing has to be read.
        is_certain: bool,
        /// For one of a series that was cancelled by itself: the series, and the start by its rule.
        of_series: Option<(String, OriginalStart)>,
    },
}

impl Item {
    /// The event's id.
    pub fn id(&self) -> &str {
        match self {
            Self::Found(found) => found.id(),
            Self::Removed { id, .. } => id,
        }
    }
}

/// An event as it came.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// In canonical form.
    Event(Box<EventSide>),
    /// Nothing that can be synchronised, with the reason: an unknown zone, a rule that nobody can read, no times.
    Unreadable {
        /// Its id.
        id: String,
        /// Its version.
        revision: String,
        /// Why, and what its user can do.
        why: String,
    },
}

impl Found {
    /// The event's id.
    pub fn id(&self) -> &str {
        match self {
            Self::Event(event) => &event.id,
            Self::Unreadable { id, .. } => id,
        }
    }

    /// The event's version.
    pub fn revision(&self) -> &str {
        match self {
            Self::Event(event) => &event.revision,
            Self::Unreadable { revision, .. } => revision,
        }
    }
}

/// The instances of a series inside a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Instances {
    /// Those that take place, changed by themselves or not, each with all it says.
    pub found: Vec<Found>,
    /// Starts by the rule inside the window at which nothing takes place, where the vendor tells.
    pub cancelled: Vec<OriginalStart>,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq)]
pub enum Written<T> {
    /// Done, with what is there now.
    Done(T),
    /// The event has another version than expected: read it again.
    Changed,
    /// The event is no more.
    Gone,
}

/// A write to an event.
#[derive(Debug, Clone, Copy)]
pub struct EventUpdate<'a> {
    /// Its id.
    pub id: &'a str,
    /// The version that was read.
    pub expected: &'a str,
    /// The source of the values.
    pub target: &'a Event,
    /// Which of them.
    pub fields: &'a [Field],
    /// How attendees are written.
    pub guests: Guests,
}

/// What we want to be told of a calendar, and where.
#[derive(Debug, Clone)]
pub struct WatchWanted {
    /// Our own id of it, new for each (Google's channel id).
    pub id: String,
    /// The address of our listener for changes.
    pub address: String,
    /// The address of our listener for the watch's own life (Microsoft).
    pub lifecycle_address: String,
    /// What proves that a notification is meant: comes back with each.
    pub secret: SecretString,
    /// Until when, at the latest; the vendor may cut it.
    pub until: Timestamp,
}

/// A watch that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// The vendor's id of it; for Google ours.
    pub id: String,
    /// What else is needed to end it (Google's `resourceId`).
    pub resource_id: Option<String>,
    /// When it ends by itself.
    pub until: Timestamp,
}
