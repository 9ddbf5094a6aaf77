//! What the flow asks of the CRM: meetings, calls and people in canonical form.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use async_trait::async_trait;
use jiff::Timestamp;
use shared::fault::Fault;
use shared::flow::Check;

use super::client::Written;
use super::event::{Event, Field, Response};
use super::sides::{MeetingKind, MeetingRef, MeetingSide};

/// Most records that are looked for at once: more would make the request's address too long.
pub const PRESENT_MAX: usize = 100;

/// The CRM's side.
#[async_trait]
pub trait CrmClient: Send + Sync + Debug {
    /// A record as it stands now; none where it is gone.
    async fn get(&self, record: &MeetingRef) -> Result<Option<CrmFound>, Fault>;

    /// The meeting that was born of the event with this key ([`super::sides::SharedKey::text`]); the oldest where there
    /// are several.
    async fn find(&self, key: &str) -> Result<Option<CrmFound>, Fault>;

    /// Creates a planned meeting of a user, with its event's key. Not safe to repeat: the caller searches first.
    /// Attendees whom the CRM does not know are not written.
    async fn create(&self, key: &str, event: &Event, user_id: &str) -> Result<CrmFound, Fault>;

    /// Writes these fields of a record whose present version is `expected`. The target's attendees are all its people that
    /// have a mail address, as in [`CrmMeeting`]: who is not among them is removed, so the user of the pair's calendar must
    /// be put back before.
    async fn update(
        &self,
        record: &MeetingRef,
        expected: Option<i64>,
        target: &Event,
        fields: &[Field],
    ) -> Result<Written<CrmFound>, Fault>;

    /// Puts a user among the people of a record whose present version is `expected`; who is there already stays as they are.
    async fn join(
        &self,
        record: &MeetingRef,
        expected: Option<i64>,
        user_id: &str,
        response: Response,
    ) -> Result<Written<CrmFound>, Fault>;

    /// Notes with a record whose present version is `expected` from which calendars its event was deleted, by our ids of
    /// them: all of them, as in [`MeetingSide::removed_from`].
    async fn note_removal(
        &self,
        record: &MeetingRef,
        expected: Option<i64>,
        from: &BTreeSet<String>,
    ) -> Result<Written<CrmFound>, Fault>;

    /// Deletes a record. Safe to repeat.
    async fn delete(&self, record: &MeetingRef) -> Result<(), Fault>;

    /// Records of a kind that were changed at or after a time, by (time, id), after the last one of the page before.
    async fn changed(&self, kind: MeetingKind, since: &ChangedAfter, max: u16)
    -> Result<Vec<Changed>, Fault>;

    /// Planned records of a user that touch a stretch of time, by id, after the last one of the page before.
    async fn of_user(
        &self,
        kind: MeetingKind,
        user_id: &str,
        window: &super::event::Window,
        after: Option<&str>,
        max: u16,
    ) -> Result<Vec<Changed>, Fault>;

    /// Which of these records are there, at most [`PRESENT_MAX`] of them; only those of a user, where one is named.
    async fn present(
        &self,
        records: &BTreeSet<MeetingRef>,
        user_id: Option<&str>,
    ) -> Result<BTreeSet<MeetingRef>, Fault>;

    /// Who the CRM knows by these mail addresses, in lower case; unknown ones are left out.
    async fn people(&self, mails: &BTreeSet<String>) -> Result<BTreeMap<String, Person>, Fault>;

    /// By which mail addresses, in lower case, the CRM knows these users; who has none is left out.
    async fn mails_of(&self, user_ids: &BTreeSet<String>) -> Result<BTreeMap<String, String>, Fault>;

    /// Tells a user.
    async fn tell(&self, user_id: &str, text: &str) -> Result<(), Fault>;

    /// Looks at what the flow needs of the CRM. `webhooks` are the ids of those whose deliveries can be verified.
    async fn check(&self, webhooks: &BTreeSet<String>) -> Vec<Check>;

    /// Gives back what this process holds in the fleet; for a process that ends.
    async fn leave(&self);
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CrmFound {
    /// In canonical form.
    Meeting(Box<CrmMeeting>),
    /// Nothing that can be synchronised, with the reason.
    Unreadable {
        /// Which.
        record: MeetingRef,
        /// Why, and what its user can do.
        why: String,
    },
}

/// A meeting or call, with all its people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrmMeeting {
    /// What it says. Its attendees are all its users, contacts and leads that have a mail address, with
    /// [`super::event::Reach::Known`].
    pub side: MeetingSide,
    /// Mail addresses of its users in lower case, by user id.
    pub user_mails: BTreeMap<String, String>,
}

/// Someone the CRM knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The type: User, Contact or Lead; where one address is known as several, the first of these.
    pub kind: PersonKind,
    /// The id.
    pub id: String,
    /// The name.
    pub name: String,
}

/// What someone is to the CRM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PersonKind {
    /// A user.
    User,
    /// A contact.
    Contact,
    /// A lead.
    Lead,
}

/// Where a list of changed records goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedAfter {
    /// From this time on.
    pub at: Timestamp,
    /// Of those at that very time, after this id.
    pub id: Option<String>,
}

/// A record that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Which.
    pub record: MeetingRef,
    /// When.
    pub at: Option<Timestamp>,
    /// Its version, where it has one.
    pub version: Option<i64>,
    /// Ids of its users.
    pub users: BTreeSet<String>,
}
