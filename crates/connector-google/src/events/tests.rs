use serde_json::{Value, json};

use super::*;
use crate::{SYSTEM, fixtures};

fn listing(listing: &Listing, page: Option<&str>) -> Request {
    list_request("user@example.com", &ListQuery { listing, page, events_max: 2 })
}

fn pairs(request: &Request) -> Vec<(&str, &str)> {
    request.query_pairs().iter().map(|(name, value)| (*name, value.as_str())).collect()
}

fn full() -> Listing {
    Listing::Full("2025-03-01T00:00:00Z".parse().unwrap())
}

fn page(answer: &Answer, listing: &Listing) -> Page {
    match read_list(answer, listing).unwrap() {
        Listed::Page(page) => page,
        Listed::Expired => panic!("expired"),
    }
}

#[test]
fn nothing_stands_beside_a_sync_token_that_may_not() {
    let always = [("maxResults", "2"), ("eventTypes", "default")];
    let time = ("timeMin", "2025-03-01T00:00:00Z");
    let request = listing(&full(), None);
    assert_eq!(request.path(), "calendars/user@example.com/events");
    assert_eq!(pairs(&request), [always[0], always[1], time]);
    assert_eq!(pairs(&listing(&full(), Some("P="))), [always[0], always[1], time, ("pageToken", "P=")]);
    let changes = Listing::Changes("T=".to_owned());
    assert_eq!(pairs(&listing(&changes, None)), [always[0], always[1], ("syncToken", "T=")]);
    assert_eq!(
        pairs(&listing(&changes, Some("P="))),
        [always[0], always[1], ("syncToken", "T="), ("pageToken", "P=")]
    );
    let found = Listing::Property { name: "crmId".to_owned(), value: "5f0c2b7d1e3a4c5b6".to_owned() };
    assert!(fixtures::text("events-find-by-crmid.request.http").contains("crmId%3D5f0c2b7d1e3a4c5b6"));
    assert_eq!(pairs(&listing(&found, None))[2], ("privateExtendedProperty", "crmId=5f0c2b7d1e3a4c5b6"));
    for (asked, sent) in [(0, "1"), (100, "100"), (u16::MAX, "2500")] {
        let query = ListQuery { listing: &full(), page: None, events_max: asked };
        assert_eq!(pairs(&list_request("primary", &query))[0], ("maxResults", sent));
    }
}

#[test]
fn the_vendor_s_lists_are_read_to_their_end() {
    let first = page(&fixtures::answer("events-list-01-full.response.json"), &full());
    assert_eq!((first.items.len(), first.next_sync), (2, None));
    assert_eq!(first.next_page.as_deref(), Some("CiAKGjBpNDd2Nmp2Zml2cXRwYjBpOXA"));
    assert_eq!(first.default_reminders, [Reminder { method: "popup".to_owned(), minutes: 10 }]);
    assert_eq!(first.time_zone.as_deref(), Some("Europe/Berlin"));
    let last = page(&fixtures::answer("events-list-02-full.response.json"), &full());
    assert_eq!((last.next_page, last.next_sync.as_deref()), (None, Some("CPDAlvWDx70CEPDAlvWDx70CGAU=")));
    let changes = Listing::Changes("x".to_owned());
    let increment = page(&fixtures::answer("events-list-03-incremental.response.json"), &changes);
    let cancelled = |item: &Item| matches!(item, Item::Event(event) if event.is_cancelled());
    assert!(increment.items.len() == 2 && increment.items.iter().all(cancelled));
}

#[test]
fn an_expired_token_is_no_empty_page() {
    for name in ["error-410-fullsyncrequired", "error-410-updatedmintoolongago"] {
        assert_eq!(read_list(&fixtures::error(name, &[]), &full()), Ok(Listed::Expired), "{name}");
    }
    let gone = read_list(&fixtures::error("error-404", &[]), &full()).unwrap_err();
    assert_eq!(gone.code, "calendar_gone");
}

#[test]
fn what_is_no_list_is_never_taken_for_an_empty_one() {
    for body in [
        json!({}),
        json!({"kind": "calendar#events"}),
        json!({"kind": "calendar#events", "items": []}),
        json!({"kind": "calendar#calendarList", "items": [], "nextSyncToken": "x"}),
        json!({"kind": "calendar#events", "items": {}, "nextSyncToken": "x"}),
    ] {
        let answer = Answer::recorded(SYSTEM, "GET x", 200, &[], body.to_string());
        let fault = read_list(&answer, &full()).unwrap_err();
        assert_eq!((fault.code, fault.kind.name()), ("answer_unreadable", "retryable"), "{body}");
    }
    let empty = json!({"kind": "calendar#events", "items": [], "nextPageToken": "x"}).to_string();
    let empty = page(&Answer::recorded(SYSTEM, "GET x", 200, &[], empty), &full());
    assert!(empty.items.is_empty() && empty.next_page.is_some(), "an empty page may have a next one");
}

#[test]
fn one_odd_event_does_not_spoil_the_page() {
    let body = json!({"kind": "calendar#events", "nextSyncToken": "x", "items": [
        {"id": "good1", "status": "confirmed"}, 7, {"id": "odd11", "start": "yesterday"}, {"id": "good2"} ]});
    let read = page(&Answer::recorded(SYSTEM, "GET x", 200, &[], body.to_string()), &full());
    let told: Vec<bool> = read.items.iter().map(|item| matches!(item, Item::Event(_))).collect();
    assert_eq!(told, [true, false, true]);
}

#[test]
fn every_write_says_who_gets_mail_and_what_it_expects() {
    let patch = EventPatch::default().summary("Review contract (new room)").location("Room 7");
    let etag = "\"3415467890000000\"";
    let id = "p8f3k2m5q7r9s1t3v5a7c9e1g3";
    let request = patch_request("primary", id, Some(etag), &patch, Mail::None);
    let example = fixtures::text("event-patch-ifmatch.request.http");
    assert!(
        example.starts_with(&format!("PATCH /calendar/v3/{}?sendUpdates=none ", request.path())),
        "{example}"
    );
    assert!(example.contains(&format!("If-Match: {}", request.header_value("if-match").unwrap())));
    let body: Value = serde_json::from_str(example.lines().last().unwrap()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(request.body()).unwrap(), body);

    let delete = delete_request("primary", id, etag, Mail::None);
    assert_eq!(delete.header_value("if-match"), Some(etag));
    let insert = insert_request("primary", &EventId::of(&["x"]), &patch, Mail::None);
    for request in [&request, &delete, &insert] {
        assert_eq!(pairs(request), [("sendUpdates", "none")]);
    }
    let told = insert_request("primary", &EventId::of(&["x"]), &patch, Mail::All);
    assert_eq!(pairs(&told), [("sendUpdates", "all")]);
    let unconditional = patch_request("primary", id, None, &patch, Mail::None);
    assert_eq!(unconditional.header_value("if-match"), None);
}

#[test]
fn what_a_write_met_is_told_apart() {
    let met = |name: &str| refused::<()>(&fixtures::error(name, &[]));
    assert_eq!(met("error-412-conditionnotmet"), Some(Written::Changed));
    assert_eq!(met("error-410-deleted"), Some(Written::Gone));
    assert_eq!(met("error-404"), Some(Written::Gone));
    for name in ["error-403-forbiddennonorganizer", "error-409-duplicate", "error-500"] {
        assert_eq!(met(name), None, "{name}");
    }
    assert!(is_duplicate(&fixtures::error("error-409-duplicate", &[])));
    let page = Answer::recorded(SYSTEM, "DELETE x", 404, &[("Content-Type", "text/html")], "<html>");
    assert_eq!(refused::<()>(&page), None);
}
