//! Events: lists by tokens, instances, reads and writes.

use http_client::{Answer, Method, Request};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use shared::fault::Fault;

use crate::{Event, EventId, EventPatch, Google, Item, PRIMARY, Reminder, error};

const EVENTS: &str = "calendars/{calendarId}/events";
const EVENT: &str = "calendars/{calendarId}/events/{eventId}";
const INSTANCES: &str = "calendars/{calendarId}/events/{eventId}/instances";
/// Events in a page at most: the vendor's bound.
pub const PAGE_EVENTS_MAX: u16 = 2_500;
/// Pages of instances, and of events with a property, at most: more is a loop.
const PAGES_MAX: usize = 20;
/// The one type of events that is listed. It is a parameter of every list, since what is fetched by a sync token must
/// have been asked for in the same way.
const EVENT_TYPE: &str = "default";

/// A stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// What ends before it does not come.
    pub from: Timestamp,
    /// What starts then or later does not come.
    pub to: Timestamp,
}

/// What to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listing {
    /// Everything that ends after a time, to be followed by [`Listing::Changes`]. There is no upper bound, since a sync
    /// token would not keep it.
    Full(Timestamp),
    /// What changed since the sync token of a list that has ended.
    Changes(String),
    /// What touches a stretch of time.
    Range(Range),
    /// What has a private property.
    Property {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
}

/// One request of a list.
#[derive(Debug, Clone, Copy)]
pub struct ListQuery<'a> {
    /// What to list.
    pub listing: &'a Listing,
    /// The further page, which belongs to the same listing.
    pub page: Option<&'a str>,
    /// Events at most; the vendor's own bound is [`PAGE_EVENTS_MAX`].
    pub events_max: u16,
}

/// What a list answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Listed {
    /// A page.
    Page(Page),
    /// The token of the round, or the page's, is no longer good.
    Expired,
}

/// A page of events. It may be empty, or short, while there are further ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// What is on it.
    pub items: Vec<Item>,
    /// The token of the next page.
    pub next_page: Option<String>,
    /// On the last page: the token for what changes from now on.
    pub next_sync: Option<String>,
    /// The calendar's zone.
    pub time_zone: Option<String>,
    /// Reminders of events that have none of their own.
    pub default_reminders: Vec<Reminder>,
}

/// The instances of a series, those that were cancelled too.
pub type Instances = Vec<Item>;

/// What became of a write.
#[derive(Debug, Clone, PartialEq)]
pub enum Written<T> {
    /// Done.
    Done(T),
    /// The event has another version than expected.
    Changed,
    /// The event is no more.
    Gone,
}

/// To whom Google sends mail about a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mail {
    /// To nobody.
    #[default]
    None,
    /// To all who are invited.
    All,
}

impl Mail {
    /// It is always said: where it is not, some mails are sent.
    fn on(self, request: Request) -> Request {
        request.query("sendUpdates", if self == Self::All { "all" } else { "none" })
    }
}

impl Google {
    /// Lists events: `GET calendars/{calendarId}/events`. Series come as such, with those of their instances that were
    /// changed or cancelled by themselves. Safe to repeat.
    ///
    /// # Errors
    /// Permanent `calendar_gone`, `scope_missing`, `forbidden`, `request_refused`; retryable `answer_unreadable` for
    /// what is no list; what is common to all operations: `unauthorized`, `throttled` (the account pauses), `not_google`,
    /// `upstream_failed`, the faults of the token source, and of [`http_client::Upstream::send`].
    pub async fn list(&self, calendar: &str, query: &ListQuery<'_>) -> Result<Listed, Fault> {
        read_list(&self.send(list_request(calendar, query)).await?, query.listing)
    }

    /// All events with a private property, as [`Self::list`]. Reads page by page to the end.
    ///
    /// # Errors
    /// As [`Self::list`], and retryable `answer_unreadable` where the pages have no end.
    pub async fn with_property(&self, calendar: &str, name: &str, value: &str) -> Result<Vec<Item>, Fault> {
        let listing = Listing::Property { name: name.to_owned(), value: value.to_owned() };
        let mut found = Vec::new();
        let mut page: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let query = ListQuery { listing: &listing, page: page.as_deref(), events_max: PAGE_EVENTS_MAX };
            let answer = self.send(list_request(calendar, &query)).await?;
            match read_list(&answer, &listing)? {
                Listed::Page(read) => {
                    found.extend(read.items);
                    page = read.next_page;
                }
                Listed::Expired => return Err(answer.unreadable("an expired page of a short list")),
            }
            if page.is_none() {
                return Ok(found);
            }
        }
        Err(endless("events with a property"))
    }

    /// The instances of a series in a stretch of time: `GET calendars/{calendarId}/events/{eventId}/instances`, page by
    /// page. `None` where the series is gone. Safe to repeat.
    ///
    /// # Errors
    /// As [`Self::with_property`].
    pub async fn instances(
        &self,
        calendar: &str,
        id: &str,
        range: Range,
    ) -> Result<Option<Instances>, Fault> {
        let mut found = Vec::new();
        let mut page: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let answer = self.send(instances_request(calendar, id, range, page.as_deref())).await?;
            if error::is_gone(&answer) {
                self.check_calendar(calendar, &answer).await?;
                return Ok(None);
            }
            let read = read_page(error::success(&answer)?)?;
            found.extend(read.items);
            page = read.next_page;
            if page.is_none() {
                return Ok(Some(found));
            }
        }
        Err(endless("instances"))
    }

    /// Reads an event: `GET calendars/{calendarId}/events/{eventId}`. `None` where it is gone; one that was deleted not
    /// long ago comes as cancelled. Safe to repeat.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn get(&self, calendar: &str, id: &str) -> Result<Option<Item>, Fault> {
        let answer = self.send(get_request(calendar, id)).await?;
        if error::is_gone(&answer) {
            self.check_calendar(calendar, &answer).await?;
            return Ok(None);
        }
        read_event(&answer).map(Some)
    }

    /// Creates an event with an id of ours: `POST calendars/{calendarId}/events`. Safe to repeat: where the id is taken,
    /// the event that has it is read and answered, as it stands. One that was deleted since comes as cancelled, and is
    /// not revived.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn insert(
        &self,
        calendar: &str,
        id: &EventId,
        event: &EventPatch,
        mail: Mail,
    ) -> Result<Item, Fault> {
        let answer = self.send(insert_request(calendar, id, event, mail)).await?;
        if error::is_gone(&answer) {
            return Err(error::calendar_gone(&answer));
        }
        if !is_duplicate(&answer) {
            return read_event(&answer);
        }
        let answer = self.send(get_request(calendar, id.as_str())).await?;
        if error::is_gone(&answer) {
            // Deleted so long ago that nobody finds it; the id stays taken for ever.
            let event =
                Event { id: id.as_str().to_owned(), status: "cancelled".to_owned(), ..Event::default() };
            return Ok(Item::Event(Box::new(event)));
        }
        read_event(&answer)
    }

    /// Writes members of an event: `PATCH calendars/{calendarId}/events/{eventId}`, only where its version is
    /// `expected`, if that is given. Safe to repeat: without effect, or with the same.
    ///
    /// # Errors
    /// Permanent `not_organizer`; else as [`Self::list`].
    pub async fn patch(
        &self,
        calendar: &str,
        id: &str,
        expected: Option<&str>,
        patch: &EventPatch,
        mail: Mail,
    ) -> Result<Written<Item>, Fault> {
        let answer = self.send(patch_request(calendar, id, expected, patch, mail)).await?;
        match refused(&answer) {
            Some(Written::Gone) => self.check_calendar(calendar, &answer).await.map(|()| Written::Gone),
            Some(written) => Ok(written),
            None => Ok(match read_event(&answer)? {
                // A deleted event takes what is written, and stays deleted.
                Item::Event(event) if event.is_cancelled() => Written::Gone,
                item => Written::Done(item),
            }),
        }
    }

    /// Deletes an event whose version is `expected`: `DELETE calendars/{calendarId}/events/{eventId}`. An instance of a
    /// series becomes cancelled. Safe to repeat.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn delete(
        &self,
        calendar: &str,
        id: &str,
        expected: &str,
        mail: Mail,
    ) -> Result<Written<()>, Fault> {
        let answer = self.send(delete_request(calendar, id, expected, mail)).await?;
        match refused(&answer) {
            Some(Written::Gone) => self.check_calendar(calendar, &answer).await.map(|()| Written::Gone),
            Some(written) => Ok(written),
            None => error::success(&answer).map(|_| Written::Done(())),
        }
    }

    /// An event that is not there may be in a calendar that is not there any more, or is not shared any more. The
    /// user's own calendar always is.
    async fn check_calendar(&self, calendar: &str, gone: &Answer) -> Result<(), Fault> {
        if calendar == PRIMARY || gone.status() == 410 {
            return Ok(());
        }
        let answer = self.send(calendar_request(calendar)).await?;
        if error::is_gone(&answer) {
            return Err(error::calendar_gone(&answer));
        }
        error::success(&answer).map(|_| ())
    }
}

fn list_request(calendar: &str, query: &ListQuery<'_>) -> Request {
    let request = Request::new(Method::Get, EVENTS, &[calendar])
        .query("maxResults", query.events_max.clamp(1, PAGE_EVENTS_MAX).to_string())
        .query("eventTypes", EVENT_TYPE);
    // Nothing but the token may stand beside a token: each kind of list has parameters of its own.
    let request = match query.listing {
        Listing::Full(from) => request.query("timeMin", from.to_string()),
        Listing::Changes(token) => request.query("syncToken", token),
        Listing::Range(range) => {
            request.query("timeMin", range.from.to_string()).query("timeMax", range.to.to_string())
        }
        Listing::Property { name, value } => {
            request.query("privateExtendedProperty", format!("{name}={value}"))
        }
    };
    match query.page {
        Some(page) => request.query("pageToken", page),
        None => request,
    }
}

fn instances_request(calendar: &str, id: &str, range: Range, page: Option<&str>) -> Request {
    let request = Request::new(Method::Get, INSTANCES, &[calendar, id])
        .query("maxResults", PAGE_EVENTS_MAX.to_string())
        .query("showDeleted", "true")
        .query("timeMin", range.from.to_string())
        .query("timeMax", range.to.to_string());
    match page {
        Some(page) => request.query("pageToken", page),
        None => request,
    }
}

fn get_request(calendar: &str, id: &str) -> Request {
    Request::new(Method::Get, EVENT, &[calendar, id])
}

fn calendar_request(calendar: &str) -> Request {
    Request::new(Method::Get, EVENTS, &[calendar]).query("maxResults", "1").query("fields", "kind")
}

fn insert_request(calendar: &str, id: &EventId, event: &EventPatch, mail: Mail) -> Request {
    mail.on(Request::new(Method::Post, EVENTS, &[calendar])).json(&event.body_with_id(id))
}

fn patch_request(
    calendar: &str,
    id: &str,
    expected: Option<&str>,
    patch: &EventPatch,
    mail: Mail,
) -> Request {
    let request = mail.on(Request::new(Method::Patch, EVENT, &[calendar, id])).json(patch.body());
    match expected {
        Some(etag) => request.header("if-match", etag),
        None => request,
    }
}

fn delete_request(calendar: &str, id: &str, expected: &str, mail: Mail) -> Request {
    mail.on(Request::new(Method::Delete, EVENT, &[calendar, id])).header("if-match", expected)
}

/// The part of a list's answer that we use.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePage {
    kind: String,
    items: Vec<Value>,
    next_page_token: Option<String>,
    next_sync_token: Option<String>,
    time_zone: Option<String>,
    #[serde(default)]
    default_reminders: Vec<Reminder>,
}

fn read_list(answer: &Answer, listing: &Listing) -> Result<Listed, Fault> {
    if error::is_expired(answer) {
        return Ok(Listed::Expired);
    }
    if error::is_gone(answer) {
        return Err(error::calendar_gone(answer));
    }
    let page = read_page(error::success(answer)?)?;
    let goes_on = page.next_page.is_some() || page.next_sync.is_some();
    match listing {
        Listing::Full(_) | Listing::Changes(_) if !goes_on => {
            Err(answer.unreadable("a page with neither nextPageToken nor nextSyncToken"))
        }
        Listing::Full(_) | Listing::Changes(_) | Listing::Range(_) | Listing::Property { .. } => {
            Ok(Listed::Page(page))
        }
    }
}

fn read_page(answer: &Answer) -> Result<Page, Fault> {
    let wire: WirePage = answer.json()?;
    if wire.kind != "calendar#events" {
        return Err(answer.unreadable("something else than a list of events"));
    }
    Ok(Page {
        items: wire.items.into_iter().filter_map(Item::read).collect(),
        // The last page has no next one; both at once never come.
        next_sync: wire.next_sync_token.filter(|_| wire.next_page_token.is_none()),
        next_page: wire.next_page_token,
        time_zone: wire.time_zone,
        default_reminders: wire.default_reminders,
    })
}

fn read_event(answer: &Answer) -> Result<Item, Fault> {
    let read = Item::read(error::success(answer)?.json()?);
    read.ok_or_else(|| answer.unreadable("something else than an event"))
}

fn is_duplicate(answer: &Answer) -> bool {
    answer.status() == 409 && error::reason(answer).as_deref() == Some("duplicate")
}

/// Why a write had no effect, where that is no fault.
fn refused<T>(answer: &Answer) -> Option<Written<T>> {
    match answer.status() {
        412 => Some(Written::Changed),
        _ if error::is_gone(answer) => Some(Written::Gone),
        _ => None,
    }
}

fn endless(what: &str) -> Fault {
    let text = format!("Google has more than {PAGES_MAX} pages of {what}; tried again later.");
    Fault::retryable(http_client::codes::ANSWER_UNREADABLE, text)
}

#[cfg(test)]
mod tests;
