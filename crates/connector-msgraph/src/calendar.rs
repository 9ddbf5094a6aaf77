//! One calendar of a mailbox: reading it by changes, and reading and writing its events.
//! Vendor: <https://learn.microsoft.com/graph/api/event-delta>, <https://learn.microsoft.com/graph/api/resources/event>.

use http_client::{Answer, Method, Request};
use jiff::Timestamp;
use shared::fault::Fault;
use url::Url;

use crate::client::{MsGraph, Prefer, checked, is_id};
use crate::event::{Event, SELECTED};
use crate::page::{self, Page, PageItem, PageNext, PageRead};
use crate::patch::EventPatch;
use crate::{CRM_ID_PROPERTY, SetupError, error};

/// Items asked for on a page of a list.
const LIST_ITEMS_MAX: u16 = 500;
/// Pages of a list that is read to its end.
const LIST_PAGES_MAX: usize = 100;

const EVENT: &str = "me/events/{id}";

/// A calendar. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Calendar {
    pub(crate) graph: MsGraph,
    id: Option<String>,
}

/// A stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// From when, inclusive.
    pub from: Timestamp,
    /// To when, exclusive.
    pub to: Timestamp,
}

/// What became of a create.
#[derive(Debug, Clone, PartialEq)]
pub enum Created {
    /// The event; the one that the same request made before, where it was sent before.
    Event(Box<Event>),
    /// Its transaction has made an event before, which is not as it is wanted now, or is gone.
    Duplicate,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq)]
pub enum Written<T> {
    /// Done, with what is there now.
    Done(T),
    /// The event has another version than expected.
    Changed,
    /// The event is no more.
    Gone,
}

impl MsGraph {
    /// A calendar of the mailbox; the user's own one where none is named. Sends nothing.
    ///
    /// # Errors
    /// [`SetupError::Credential`] for what can be no calendar's id.
    pub fn calendar(&self, id: Option<&str>) -> Result<Calendar, SetupError> {
        if id.is_some_and(|id| !is_id(id)) {
            return Err(SetupError::Credential("the calendar's id is no id of Microsoft Graph".to_owned()));
        }
        Ok(Calendar { graph: self.clone(), id: id.map(str::to_owned) })
    }
}

impl Calendar {
    /// The mailbox it is in.
    pub fn graph(&self) -> &MsGraph {
        &self.graph
    }

    /// The first page of everything in a window: `GET calendarView/delta`. Safe to repeat.
    ///
    /// # Errors
    /// `forbidden`, `no_mailbox`, `request_refused`; what is common to all operations: `unauthorized` (the account
    /// pauses), `throttled`, `upstream_failed`, the faults of the tokens, and those of [`http_client::Upstream::send`].
    pub async fn delta(&self, window: Span, page_items_max: u16) -> Result<PageRead, Fault> {
        let answer = self.graph.send(delta_request(self.id.as_deref(), window, page_items_max)).await?;
        page::read_delta(self.graph.base(), &answer)
    }

    /// A page by a link that an earlier page gave, exactly as it gave it. A link to another host is as good as expired: it
    /// was given by another Graph than the one in the settings. Safe to repeat.
    ///
    /// # Errors
    /// As [`Self::delta`].
    pub async fn follow(&self, link: &str, page_items_max: u16) -> Result<PageRead, Fault> {
        let Some(url) = self.graph.own_link(link) else { return Ok(PageRead::Expired) };
        let is_delta = is_delta(&url);
        let answer = self.graph.send(follow_request(url, page_items_max)).await?;
        match is_delta {
            true => page::read_delta(self.graph.base(), &answer),
            false => page::read(self.graph.base(), &answer).map(PageRead::Page),
        }
    }

    /// The first page of what takes place in a window, without tokens: single events and occurrences, no series.
    /// `GET calendarView`. Safe to repeat.
    ///
    /// # Errors
    /// As [`Self::delta`].
    pub async fn view(&self, window: Span, page_items_max: u16) -> Result<Page, Fault> {
        let answer = self.graph.send(view_request(self.id.as_deref(), window, page_items_max)).await?;
        page::read(self.graph.base(), &answer)
    }

    /// An event with its CRM id, and of a series what was deleted of it; none where it is gone: `GET events/{id}`.
    /// Safe to repeat.
    ///
    /// # Errors
    /// As [`Self::delta`].
    pub async fn get(&self, id: &str) -> Result<Option<Event>, Fault> {
        read_get(&self.graph.send(get_request(checked(id)?, false)).await?)
    }

    /// The same with its body as HTML.
    ///
    /// # Errors
    /// As [`Self::delta`].
    pub async fn get_html(&self, id: &str) -> Result<Option<Event>, Fault> {
        read_get(&self.graph.send(get_request(checked(id)?, true)).await?)
    }

    /// What takes place of a series in a window, to the end of the list; none where the series is gone:
    /// `GET events/{id}/instances`. Safe to repeat.
    ///
    /// # Errors
    /// As [`Self::delta`].
    pub async fn instances(&self, id: &str, window: Span) -> Result<Option<Vec<PageItem>>, Fault> {
        let answer = self.graph.send(instances_request(checked(id)?, window)).await?;
        if error::is_gone(&answer) {
            return Ok(None);
        }
        self.to_the_end(answer).await.map(Some)
    }

    /// Events with this CRM id, compared exactly, the oldest first: `GET events?$filter=…`. One of a series is not found by
    /// it. Safe to repeat.
    ///
    /// # Errors
    /// As [`Self::delta`].
    pub async fn find(&self, crm_id: &str) -> Result<Vec<PageItem>, Fault> {
        let answer = self.graph.send(find_request(self.id.as_deref(), crm_id)).await?;
        let found = self.to_the_end(answer).await?;
        Ok(oldest_first(found, crm_id))
    }

    /// Creates an event: `POST events`. Safe to repeat with the same [`EventPatch::transaction_id`] for as long as the
    /// service remembers it, which is not documented: after hours, search first.
    ///
    /// # Errors
    /// As [`Self::delta`]; `zone_refused`.
    pub async fn create(&self, event: &EventPatch) -> Result<Created, Fault> {
        read_create(&self.graph.send(create_request(self.id.as_deref(), event)).await?)
    }

    /// Writes what is named of an event whose version is `expected`, or whatever it is: `PATCH events/{id}`. Safe to repeat
    /// where a version is expected.
    ///
    /// # Errors
    /// As [`Self::create`]; `occurrence_crosses_boundary`.
    pub async fn patch(
        &self,
        id: &str,
        expected: Option<&str>,
        patch: &EventPatch,
    ) -> Result<Written<Event>, Fault> {
        read_patch(&self.graph.send(patch_request(checked(id)?, expected, patch)).await?)
    }

    /// Deletes an event, or one of a series: `DELETE events/{id}`. Safe to repeat.
    ///
    /// # Errors
    /// As [`Self::delta`].
    pub async fn delete(&self, id: &str, expected: Option<&str>) -> Result<Written<()>, Fault> {
        read_delete(&self.graph.send(delete_request(checked(id)?, expected)).await?)
    }

    async fn to_the_end(&self, first: Answer) -> Result<Vec<PageItem>, Fault> {
        let mut items = Vec::new();
        let mut answer = first;
        for _ in 0..LIST_PAGES_MAX {
            let page = page::read(self.graph.base(), &answer)?;
            items.extend(page.items);
            let PageNext::Page(link) = page.next else { return Ok(items) };
            // Checked when the page was read.
            let Some(url) = self.graph.own_link(&link) else { break };
            answer = self.graph.send(follow_request(url, LIST_ITEMS_MAX)).await?;
        }
        Err(answer.unreadable("a list that does not end"))
    }
}

impl Event {
    /// The CRM's id with it, where it was asked for.
    pub fn crm_id(&self) -> Option<&str> {
        let properties = self.single_value_extended_properties.iter().flatten();
        let own = properties.into_iter().find(|property| property.id.eq_ignore_ascii_case(CRM_ID_PROPERTY));
        own.and_then(|property| property.value.as_deref())
    }
}

fn in_calendar(method: Method, calendar: Option<&str>, rest: &str) -> Request {
    match calendar {
        None => Request::new(method, format!("me/{rest}"), &[]),
        Some(id) => Request::new(method, format!("me/calendars/{{calendar}}/{rest}"), &[id]),
    }
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn windowed(request: Request, window: Span) -> Request {
    request.query("startDateTime", time(window.from)).query("endDateTime", time(window.to))
}

fn with_crm_id(request: Request) -> Request {
    let filter = format!("singleValueExtendedProperties($filter=id eq '{CRM_ID_PROPERTY}')");
    request.query("$expand", filter)
}

fn delta_request(calendar: Option<&str>, window: Span, page_items_max: u16) -> Request {
    let request = windowed(in_calendar(Method::Get, calendar, "calendarView/delta"), window);
    Prefer { html: false, page_items_max: Some(page_items_max) }.on(request)
}

/// `delta`, `delta()` or `microsoft.graph.delta`, whatever the service calls it.
fn is_delta(link: &Url) -> bool {
    let last = link.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default();
    let name = last.strip_suffix("()").or_else(|| last.strip_suffix("%28%29")).unwrap_or(last);
    name.strip_prefix("microsoft.graph.").unwrap_or(name).eq_ignore_ascii_case("delta")
}

fn follow_request(link: Url, page_items_max: u16) -> Request {
    let template = if is_delta(&link) { "calendarView/delta/{link}" } else { "events/{link}" };
    let request = Request::to_link(Method::Get, template, link);
    Prefer { html: false, page_items_max: Some(page_items_max) }.on(request)
}

fn view_request(calendar: Option<&str>, window: Span, page_items_max: u16) -> Request {
    let request = windowed(in_calendar(Method::Get, calendar, "calendarView"), window);
    Prefer::default().on(with_crm_id(request).query("$top", page_items_max.clamp(1, 1_000).to_string()))
}

pub(crate) fn get_request(id: &str, html: bool) -> Request {
    let request = Request::new(Method::Get, EVENT, &[id]).query("$select", SELECTED);
    Prefer { html, page_items_max: None }.on(with_crm_id(request))
}

pub(crate) fn read_get(answer: &Answer) -> Result<Option<Event>, Fault> {
    if error::is_gone(answer) {
        return Ok(None);
    }
    error::success(answer)?.json().map(Some)
}

fn instances_request(id: &str, window: Span) -> Request {
    let request = windowed(Request::new(Method::Get, "me/events/{id}/instances", &[id]), window);
    Prefer::default().on(with_crm_id(request).query("$top", LIST_ITEMS_MAX.to_string()))
}

fn find_request(calendar: Option<&str>, crm_id: &str) -> Request {
    let value = crm_id.replace('\'', "''");
    let filter = format!(
        "singleValueExtendedProperties/Any(ep: ep/id eq '{CRM_ID_PROPERTY}' and ep/value eq '{value}')"
    );
    let request = in_calendar(Method::Get, calendar, "events").query("$filter", filter);
    Prefer::default().on(with_crm_id(request).query("$top", LIST_ITEMS_MAX.to_string()))
}

/// Events with exactly this CRM id (the service compares without case), by when they were made.
fn oldest_first(found: Vec<PageItem>, crm_id: &str) -> Vec<PageItem> {
    let is_it = |item: &PageItem| matches!(item, PageItem::Event(event) if event.crm_id() == Some(crm_id));
    let mut found: Vec<PageItem> = found.into_iter().filter(is_it).collect();
    found.sort_by_key(|item| match item {
        PageItem::Event(event) => event.created_date_time,
        PageItem::Removed { .. } | PageItem::Unreadable { .. } => None,
    });
    found
}

fn create_request(calendar: Option<&str>, event: &EventPatch) -> Request {
    Prefer::default().on(in_calendar(Method::Post, calendar, "events").json(event))
}

fn read_create(answer: &Answer) -> Result<Created, Fault> {
    if error::is_duplicate_transaction(answer) {
        return Ok(Created::Duplicate);
    }
    error::success(answer)?.json().map(Created::Event)
}

fn expecting(request: Request, expected: Option<&str>) -> Request {
    match expected {
        Some(etag) => request.header("if-match", etag),
        None => request,
    }
}

fn patch_request(id: &str, expected: Option<&str>, patch: &EventPatch) -> Request {
    let request = Request::new(Method::Patch, EVENT, &[id]).json(patch);
    Prefer::default().on(expecting(request, expected))
}

fn read_patch(answer: &Answer) -> Result<Written<Event>, Fault> {
    match refusal(answer) {
        Some(written) => Ok(written),
        None => error::success(answer)?.json().map(Written::Done),
    }
}

fn delete_request(id: &str, expected: Option<&str>) -> Request {
    Prefer::default().on(expecting(Request::new(Method::Delete, EVENT, &[id]), expected))
}

fn read_delete(answer: &Answer) -> Result<Written<()>, Fault> {
    match refusal(answer) {
        Some(written) => Ok(written),
        None => error::success(answer).map(|_| Written::Done(())),
    }
}

fn refusal<T>(answer: &Answer) -> Option<Written<T>> {
    match answer.status() {
        412 => Some(Written::Changed),
        _ if error::is_gone(answer) => Some(Written::Gone),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span() -> Span {
        Span { from: "2026-01-01T00:00:00.5Z".parse().unwrap(), to: "2026-04-01T00:00:00Z".parse().unwrap() }
    }

    fn query(request: &Request) -> String {
        let pairs = request.query_pairs().iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("&")
    }

    #[test]
    fn of_copies_the_oldest_comes_first_and_ids_are_compared_exactly() {
        let item = |id: &str, crm_id: &str, made: &str| {
            let property = serde_json::json!({ "id": CRM_ID_PROPERTY, "value": crm_id });
            let event = serde_json::json!({
                "id": id, "createdDateTime": made, "singleValueExtendedProperties": [property],
            });
            PageItem::Event(Box::new(serde_json::from_value(event).unwrap()))
        };
        let found = vec![
            item("copy", "Meeting/a", "2026-03-02T08:00:00.5Z"),
            item("other", "Meeting/A", "2026-01-01T08:00:00Z"),
            item("original", "Meeting/a", "2026-03-02T08:00:00Z"),
        ];
        let ids = oldest_first(found, "Meeting/a").into_iter().map(|item| match item {
            PageItem::Event(event) => event.id,
            PageItem::Removed { .. } | PageItem::Unreadable { .. } => String::new(),
        });
        assert_eq!(ids.collect::<Vec<_>>(), ["original", "copy"]);
    }

    #[test]
    fn the_default_calendar_and_a_named_one() {
        let own = delta_request(None, span(), 100);
        assert_eq!(
            (own.path().as_str(), own.operation().as_str()),
            ("me/calendarView/delta", "GET me/calendarView/delta")
        );
        assert_eq!(query(&own), "startDateTime=2026-01-01T00:00:00Z&endDateTime=2026-04-01T00:00:00Z");
        let named = delta_request(Some("a/b="), span(), 100);
        assert_eq!(named.path(), "me/calendars/a/b=/calendarView/delta");
        assert_eq!(named.operation(), "GET me/calendars/{calendar}/calendarView/delta");
        assert!(own.header_value("prefer").unwrap().ends_with("odata.maxpagesize=100"));
    }

    #[test]
    fn every_request_asks_for_immutable_ids() {
        let patch = EventPatch::default();
        let link: Url =
            "https://graph.microsoft.com/v1.0/me/calendarView/delta?$skiptoken=x".parse().unwrap();
        for request in [
            delta_request(None, span(), 1),
            follow_request(link, 1),
            view_request(None, span(), 1),
            get_request("x", true),
            instances_request("x", span()),
            find_request(None, "x"),
            create_request(None, &patch),
            patch_request("x", Some("v"), &patch),
            delete_request("x", None),
        ] {
            let prefer = request.header_value("prefer").unwrap_or_default();
            assert!(prefer.starts_with("IdType=\"ImmutableId\", outlook.timezone=\"UTC\""), "{request:?}");
        }
    }

    #[test]
    fn links_of_rounds_are_told_from_those_of_lists() {
        for (path, expected) in [
            ("me/calendarView/delta?$deltatoken=x", true),
            ("me/calendars('x')/calendarView/microsoft.graph.delta()?$skiptoken=x", true),
            ("me/calendarView/microsoft.graph.delta?$skiptoken=x", true),
            ("me/calendarView?startDateTime=x&$skip=10", false),
            ("me/events/delta0", false),
        ] {
            let link = Url::parse(&format!("https://graph.microsoft.com/v1.0/{path}")).unwrap();
            assert_eq!(is_delta(&link), expected, "{path}");
        }
    }

    #[test]
    fn a_search_quotes_what_it_looks_for() {
        let text = query(&find_request(None, "Meeting/o'x"));
        assert!(
            text.contains(&format!("ep/id eq '{CRM_ID_PROPERTY}' and ep/value eq 'Meeting/o''x')")),
            "{text}"
        );
    }

    #[test]
    fn versions_are_expected_where_they_are_named() {
        assert_eq!(delete_request("x", Some("W/\"1\"")).header_value("if-match"), Some("W/\"1\""));
        assert_eq!(delete_request("x", None).header_value("if-match"), None);
    }

    #[test]
    fn what_became_of_a_write_is_told_by_status_and_code() {
        let answer = |status, body: &'static str| {
            Answer::recorded(
                crate::SYSTEM,
                "PATCH me/events/{id}",
                status,
                &[("Content-Type", "application/json")],
                body,
            )
        };
        let gone = r#"{"error":{"code":"ErrorItemNotFound","message":"x"}}"#;
        assert_eq!(read_patch(&answer(412, "")).unwrap(), Written::Changed);
        assert_eq!(read_patch(&answer(404, gone)).unwrap(), Written::Gone);
        assert!(matches!(read_patch(&answer(200, r#"{"id":"x"}"#)).unwrap(), Written::Done(_)));
        assert_eq!(read_patch(&answer(404, "")).unwrap_err().code, "not_found");
        assert_eq!(read_delete(&answer(204, "")).unwrap(), Written::Done(()));
        assert_eq!(read_delete(&answer(404, gone)).unwrap(), Written::Gone);
        assert_eq!(read_get(&answer(404, gone)).unwrap(), None);
        let duplicate = r#"{"error":{"code":"ErrorDuplicateTransactionId","message":"x"}}"#;
        assert_eq!(read_create(&answer(409, duplicate)).unwrap(), Created::Duplicate);
        assert!(read_create(&answer(409, "{}")).is_err());
    }
}
