//! Pages of a list, as a sequence that ends whatever the service does. RFC 7644, section 3.4.2.4.
//!
//! A service may give fewer than were asked for, so the next page starts behind what was received. Pages are no
//! snapshot: what comes twice is passed on once.

use std::collections::HashSet;

use http_client::Answer;
use serde_json::{Map, Value};
use shared::fault::Fault;

use crate::resource::{Resource, get};

/// Resources of a list at most: more is a loop, or needs another way than one process's memory.
pub(crate) const RESOURCES_MAX: usize = 1_000_000;
/// Pages in a row that bring nothing new: the service does not heed where they start.
const STALE_PAGES_MAX: u32 = 3;

/// A page, as read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Page {
    /// All that the list has, by the service's word at this time.
    pub(crate) total: u64,
    /// How many came, usable or not.
    pub(crate) received: u64,
    pub(crate) resources: Vec<Resource>,
}

impl Page {
    /// What is no list is never taken for an empty one.
    pub(crate) fn read(answer: &Answer) -> Result<Self, Fault> {
        let list: Map<String, Value> = answer.json()?;
        let no_list = |what: &str| answer.unreadable(&format!("a list {what}"));
        let total = get(&list, "totalResults").and_then(Value::as_u64);
        let total = total.ok_or_else(|| no_list("without totalResults"))?;
        let resources = match get(&list, "Resources") {
            None => Vec::new(),
            Some(Value::Array(resources)) => resources.clone(),
            Some(_) => return Err(no_list("whose Resources are none")),
        };
        let received = resources.len() as u64;
        Ok(Self { total, received, resources: resources.into_iter().filter_map(Resource::of).collect() })
    }
}

/// The pages have no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endless;

/// Where a list is.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    next: Option<u64>,
    total: u64,
    seen: HashSet<String>,
    stale: u32,
    resources_max: usize,
}

impl Listing {
    pub(crate) fn new(resources_max: usize) -> Self {
        Self::from(1, resources_max)
    }

    /// Goes on where another one was: what came before that is not known, and may come again.
    pub(crate) fn from(start: u64, resources_max: usize) -> Self {
        Self { next: Some(start.max(1)), total: 0, seen: HashSet::new(), stale: 0, resources_max }
    }

    /// Where the next page starts, counted from 1.
    pub(crate) fn next(&self) -> Option<u64> {
        self.next
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Whether all came that the service said there was. Only then is missing what did not come.
    pub(crate) fn is_complete(&self) -> bool {
        self.next.is_none() && self.seen.len() as u64 >= self.total
    }

    /// Takes the page that was asked for last, and answers what of it is new.
    pub(crate) fn take(&mut self, page: Page) -> Result<Vec<Resource>, Endless> {
        let start = self.next.unwrap_or(1);
        self.total = page.total;
        let mut news = page.resources;
        news.retain(|resource| self.seen.insert(resource.id().to_owned()));
        self.stale = if news.is_empty() { self.stale + 1 } else { 0 };
        let next = start.saturating_add(page.received);
        self.next = (page.received > 0 && next <= page.total).then_some(next);
        let goes_on_for_ever = self.stale >= STALE_PAGES_MAX
            || self.seen.len() >= self.resources_max
            || next > self.resources_max as u64;
        if self.next.is_some() && goes_on_for_ever {
            self.next = None;
            return Err(Endless);
        }
        Ok(news)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::fixtures;

    fn page(total: u64, ids: &[String]) -> Page {
        let resources = ids.iter().filter_map(|id| Resource::of(json!({"id": id}))).collect();
        Page { total, received: ids.len() as u64, resources }
    }

    fn read(name: &str) -> Page {
        Page::read(&fixtures::answer(name)).unwrap()
    }

    #[test]
    fn recorded_pages_lead_to_the_end() {
        let mut listing = Listing::new(RESOURCES_MAX);
        for (start, name) in [(1, "038-list-page-1"), (3, "039-list-page-2")] {
            assert_eq!(listing.next(), Some(start));
            assert_eq!(fixtures::load(name).query("startIndex"), Some(start.to_string()));
            assert_eq!(listing.take(read(name)).unwrap().len(), 2);
        }
        assert!(listing.next().is_none() && listing.is_complete() && listing.total() == 4);
    }

    #[test]
    fn a_list_is_gone_on_with_from_anywhere_and_ends() {
        let mut listing = Listing::from(3, RESOURCES_MAX);
        assert_eq!(listing.next(), Some(3));
        assert_eq!(listing.take(read("039-list-page-2")).unwrap().len(), 2);
        assert!(listing.next().is_none());
        let mut far = Listing::from(RESOURCES_MAX as u64, RESOURCES_MAX);
        assert_eq!(far.take(page(u64::MAX, &["a".to_owned()])), Err(Endless));
    }

    #[test]
    fn recorded_lists_without_resources_are_read() {
        assert_eq!(read("036-filter-no-match"), Page { total: 0, received: 0, resources: Vec::new() });
        assert_eq!((read("040-list-count-0").total, read("041-list-past-end").received), (4, 0));
        let absent = fixtures::made(200, "application/scim+json", r#"{"totalResults": 0}"#);
        assert_eq!(Page::read(&absent).unwrap().received, 0);
        assert_eq!(
            (read("016-filter-group-externalid").received, read("045-filter-members").received),
            (2, 1)
        );
        assert_eq!((read("042-list-attributes").received, read("044-search-post").received), (2, 1));
    }

    #[test]
    fn what_is_no_list_is_no_empty_list() {
        for body in
            ["{}", "[]", "", "null", r#"{"totalResults":"x"}"#, r#"{"totalResults":3,"Resources":{}}"#]
        {
            let fault = Page::read(&fixtures::made(200, "application/json", body)).unwrap_err();
            assert_eq!((fault.code, fault.kind.name()), ("answer_unreadable", "retryable"), "{body}");
        }
    }

    #[test]
    fn a_list_that_lacks_something_is_not_complete() {
        let mut cut = Listing::new(RESOURCES_MAX);
        cut.take(page(5, &["a".to_owned(), "b".to_owned()])).unwrap();
        cut.take(page(5, &[])).unwrap();
        assert!(cut.next().is_none() && !cut.is_complete());
        let mut doubled = Listing::new(RESOURCES_MAX);
        doubled.take(page(2, &["a".to_owned(), "a".to_owned()])).unwrap();
        assert!(doubled.next().is_none() && !doubled.is_complete(), "the other one was hidden by the double");
        let mut odd = Listing::new(RESOURCES_MAX);
        assert_eq!(odd.take(page(2, &["a".to_owned(), String::new()])).unwrap().len(), 1);
        assert!(odd.next().is_none() && !odd.is_complete());
    }

    #[test]
    fn a_service_that_gives_the_first_page_for_ever_is_found_out() {
        let mut listing = Listing::new(RESOURCES_MAX);
        let first = page(1_000, &["a".to_owned(), "b".to_owned()]);
        assert_eq!(listing.take(first.clone()).unwrap().len(), 2);
        assert_eq!(listing.take(first.clone()).unwrap(), []);
        assert_eq!(listing.take(first.clone()).unwrap(), []);
        assert_eq!(listing.take(first), Err(Endless));
        assert_eq!(listing.next(), None);
    }

    proptest! {
        /// A service that keeps to the protocol, with pages of any sizes: everything comes, once.
        #[test]
        fn everything_comes_once(count in 0_usize..60, sizes in prop::collection::vec(1_usize..20, 1..20)) {
            let all: Vec<String> = (0..count).map(|number| number.to_string()).collect();
            let mut listing = Listing::new(RESOURCES_MAX);
            let (mut got, mut sizes) = (Vec::new(), sizes.iter().cycle());
            while let Some(start) = listing.next() {
                let from = usize::try_from(start - 1).unwrap().min(count);
                let to = (from + sizes.next().unwrap()).min(count);
                let news = listing.take(page(count as u64, &all[from..to])).unwrap();
                got.extend(news.iter().map(|resource| resource.id().to_owned()));
            }
            prop_assert!(listing.is_complete());
            prop_assert_eq!(got, all);
        }

        /// Whatever a service answers, the pages end, and nothing is passed on twice.
        #[test]
        fn pages_end_whatever_comes(
            pages in prop::collection::vec((any::<u64>(), prop::collection::vec(0_u32..60, 0..10)), 1..50),
            resources_max in 1_usize..40,
        ) {
            let mut listing = Listing::new(resources_max);
            let (mut got, mut asked) = (HashSet::new(), 0);
            let mut pages = pages.iter().cycle();
            while listing.next().is_some() {
                asked += 1;
                prop_assert!(asked <= resources_max * 3 + 3, "{asked} pages");
                let (total, ids) = pages.next().unwrap();
                let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
                for resource in listing.take(page(*total, &ids)).unwrap_or_default() {
                    prop_assert!(got.insert(resource.id().to_owned()));
                }
            }
        }
    }
}
