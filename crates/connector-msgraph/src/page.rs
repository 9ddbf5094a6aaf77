//! A page of events: of a delta round, or of a list. One item that nobody can read does not fail the page.

use http_client::Answer;
use serde::Deserialize;
use serde_json::Value;
use shared::fault::Fault;
use url::Url;

use crate::client::own_link;
use crate::error;
use crate::event::{Event, EventType};

/// A page, or the news that there is none.
#[derive(Debug, Clone, PartialEq)]
pub enum PageRead {
    /// A page.
    Page(Page),
    /// The link has expired: the round has to begin anew.
    Expired,
}

/// A page.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Its items, in order. The same event may come several times.
    pub items: Vec<PageItem>,
    /// What comes after it.
    pub next: PageNext,
    /// Whether it is one of a delta round, and not of a list.
    pub is_round: bool,
}

/// What comes after a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageNext {
    /// Another page, also after an empty one.
    Page(String),
    /// The end of the round, with the link for the next one.
    Delta(String),
    /// The end of a list.
    End,
}

/// An item.
#[derive(Debug, Clone, PartialEq)]
pub enum PageItem {
    /// An event; one of a series as its rule makes it may be here with hardly more than its times.
    Event(Box<Event>),
    /// Deleted, or changed and outside the window.
    Removed {
        /// Its id.
        id: String,
    },
    /// Something with an id that is no event as this client knows them.
    Unreadable {
        /// Its id.
        id: String,
        /// Its version.
        etag: String,
        /// What is wrong with it; holds none of its values.
        why: String,
    },
}

#[derive(Deserialize)]
struct WirePage {
    value: Vec<Value>,
    #[serde(rename = "@odata.nextLink")]
    next: Option<String>,
    #[serde(rename = "@odata.deltaLink")]
    delta: Option<String>,
}

/// Reads a page of a delta round.
pub(crate) fn read_delta(base: &Url, answer: &Answer) -> Result<PageRead, Fault> {
    if error::is_expired(answer) {
        return Ok(PageRead::Expired);
    }
    let page = read(base, answer)?;
    match page.next {
        PageNext::End => Err(answer.unreadable("a page of changes without a link to go on")),
        PageNext::Page(_) | PageNext::Delta(_) => Ok(PageRead::Page(Page { is_round: true, ..page })),
    }
}

/// Reads a page of a list.
pub(crate) fn read(base: &Url, answer: &Answer) -> Result<Page, Fault> {
    let page: WirePage = error::success(answer)?.json()?;
    let link = |text: String| match own_link(base, &text) {
        Some(_) => Ok(text),
        None => Err(answer.unreadable("a link to another host, which is not followed")),
    };
    let next = match (page.next, page.delta) {
        (Some(next), _) => PageNext::Page(link(next)?),
        (None, Some(delta)) => PageNext::Delta(link(delta)?),
        (None, None) => PageNext::End,
    };
    let items: Option<Vec<PageItem>> = page.value.into_iter().map(item).collect();
    let items = items.ok_or_else(|| answer.unreadable("an item without an id"))?;
    Ok(Page { items, next, is_round: false })
}

fn item(value: Value) -> Option<PageItem> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let id = text("id").filter(|id| !id.is_empty())?;
    if value.get("@removed").is_some() {
        return Some(PageItem::Removed { id });
    }
    let etag = text("@odata.etag").unwrap_or_default();
    Some(match Event::deserialize(value) {
        Ok(event) => PageItem::Event(Box::new(event)),
        Err(error) => PageItem::Unreadable { id, etag, why: what_is_wrong(&error) },
    })
}

/// serde's own message may quote the value that it stumbled over.
fn what_is_wrong(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.strip_prefix("missing field ") {
        Some(field) => format!("it lacks {}", field.chars().take(60).collect::<String>()),
        None => "one of its members is not of the kind that Microsoft describes".to_owned(),
    }
}

impl Page {
    /// Ids of the series whose occurrences are here and which are not themselves.
    pub fn series_without_master(&self) -> Vec<String> {
        let events = || {
            self.items.iter().filter_map(|item| match item {
                PageItem::Event(event) => Some(event),
                PageItem::Removed { .. } | PageItem::Unreadable { .. } => None,
            })
        };
        let mut found: Vec<String> = Vec::new();
        for event in events().filter(|event| event.kind != Some(EventType::SeriesMaster)) {
            let Some(master) = &event.series_master_id else { continue };
            if !found.contains(master) && !events().any(|other| other.id == *master) {
                found.push(master.clone());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::recorded;

    fn answer(status: u16, body: &str) -> Answer {
        let head = [("Content-Type", "application/json")];
        Answer::recorded(crate::SYSTEM, "GET me/calendarView/delta", status, &head, body.to_owned())
    }

    fn base() -> Url {
        Url::parse("https://graph.microsoft.com/v1.0/").unwrap()
    }

    fn page(name: &str) -> Page {
        match read_delta(&base(), &answer(200, &recorded(name))).unwrap() {
            PageRead::Page(page) => page,
            PageRead::Expired => panic!("{name}"),
        }
    }

    #[test]
    fn the_vendors_round_is_read() {
        let first = page("delta-events-01-first.response.json");
        assert_eq!(first.items.len(), 2);
        let link = "https://graph.microsoft.com/v1.0/me/calendarView/delta?$skiptoken=R0usmcCM996atia_s";
        assert_eq!(first.next, PageNext::Page(link.to_owned()));
        assert!(matches!(page("delta-events-03-last.response.json").next, PageNext::Delta(_)));
        let next_round = page("delta-events-04-nextround.response.json");
        assert!(matches!(next_round.items[0], PageItem::Removed { .. }));
        let empty = page("delta-events-06-empty-page.response.json");
        assert!(empty.items.is_empty() && matches!(empty.next, PageNext::Page(_)));
    }

    #[test]
    fn an_occurrence_of_seven_members_is_read() {
        let item = item(serde_json::from_str(&recorded("delta-events-05-occurrence.item.json")).unwrap());
        let Some(PageItem::Event(event)) = item else { panic!("{item:?}") };
        assert_eq!((event.kind, event.subject), (Some(EventType::Occurrence), None));
    }

    #[test]
    fn one_bad_item_does_not_fail_its_page() {
        let body = r#"{"value":[{"id":"a","@odata.etag":"v","start":"Erika"},{"id":"b"}],
                       "@odata.deltaLink":"https://graph.microsoft.com/v1.0/x"}"#;
        let PageRead::Page(page) = read_delta(&base(), &answer(200, body)).unwrap() else { panic!() };
        let PageItem::Unreadable { id, etag, why } = &page.items[0] else { panic!("{:?}", page.items) };
        assert_eq!((id.as_str(), etag.as_str()), ("a", "v"));
        assert!(!why.contains("Erika"), "{why}");
        assert!(matches!(&page.items[1], PageItem::Event(event) if event.id == "b"));
    }

    #[test]
    fn what_is_no_page_is_no_empty_page() {
        for body in [
            "{}",
            "",
            r#"{"value":[]}"#,
            r#"{"value":[{"subject":"x"}],"@odata.deltaLink":"https://graph.microsoft.com/v1.0/x"}"#,
            r#"{"value":[],"@odata.nextLink":"https://evil.example/v1.0/x"}"#,
        ] {
            assert_eq!(
                read_delta(&base(), &answer(200, body)).unwrap_err().code,
                "answer_unreadable",
                "{body}"
            );
        }
        assert_eq!(read_delta(&base(), &answer(410, "")).unwrap(), PageRead::Expired);
        assert_eq!(read_delta(&base(), &answer(503, "")).unwrap_err().kind.name(), "retryable");
    }

    #[test]
    fn series_are_told_by_their_occurrences() {
        let body = r#"{"value":[{"id":"o1","type":"occurrence","seriesMasterId":"m"},{"id":"m2","type":"seriesMaster"},
            {"id":"o2","type":"occurrence","seriesMasterId":"m"},{"id":"e","type":"exception","seriesMasterId":"m2"}]}"#;
        assert_eq!(read(&base(), &answer(200, body)).unwrap().series_without_master(), ["m"]);
    }
}
