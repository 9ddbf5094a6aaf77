//! Both halves of each operation against the recorded exchanges.

use doubles::Exchange;
use serde_json::json;

use super::*;
use crate::fixtures;
use crate::{Order, Where};

fn beteiligte() -> EntityType {
    EntityType::new("CBeteiligte").unwrap()
}

fn id(text: &str) -> EspoId {
    EspoId::new(text).unwrap()
}

fn sent(exchange: &Exchange) -> Patch {
    let body = exchange.request_json();
    body.as_object()
        .unwrap()
        .iter()
        .fold(Patch::new(), |patch, (name, value)| patch.set_raw(name, value.clone()))
}

/// The request that we build is the one that was recorded.
fn check_request(request: &Request, recorded: &Exchange) {
    assert_eq!(request.method().as_str(), recorded.method);
    assert_eq!(request.path(), recorded.target);
    for header in ["content-type", "x-version-number", "x-skip-duplicate-check"] {
        assert_eq!(request.header_value(header), recorded.request_header(header), "{header}");
    }
    if !recorded.request_body.is_empty() {
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(body, recorded.request_json());
    }
}

#[test]
fn an_administrator_is_shown_what_was_deleted_and_it_is_gone_all_the_same() {
    let answer = fixtures::load("147-admin-reads-deleted-record").answer("GET Meeting/{id}");
    assert!(answer.is_success());
    assert_eq!(read_get(&answer, &EntityType::new("Meeting").unwrap()).unwrap(), None);
}

#[test]
fn get() {
    let recorded = fixtures::load("102-read");
    let request = get_request(&beteiligte(), &id("6b00526cc80a09e94"));
    check_request(&request, &recorded);
    assert_eq!(request.operation(), "GET CBeteiligte/{id}");
    let record = read_get(&recorded.answer(""), &beteiligte()).unwrap().unwrap();
    assert_eq!(record.int("betnr").unwrap(), Some(104_860));
    for gone in ["044-404-unknown-id", "141-get-deleted-404"] {
        assert_eq!(read_get(&fixtures::load(gone).answer(""), &beteiligte()).unwrap(), None);
    }
    let misconfigured = fixtures::load("043-404-unknown-entity-type").answer("");
    assert_eq!(read_get(&misconfigured, &beteiligte()).unwrap_err().code, "entity_type_unknown");
}

#[test]
fn create() {
    for (fixture, duplicates) in
        [("101-create", DuplicateCheck::AsConfigured), ("132-skip-duplicate-check", DuplicateCheck::Skip)]
    {
        let recorded = fixtures::load(fixture);
        let patch = sent(&recorded);
        check_request(&create_request(&beteiligte(), &patch, duplicates), &recorded);
        let created = read_create(&recorded.answer(""), &beteiligte(), &patch).unwrap();
        assert!(matches!(created, Created::Record(_)), "{fixture}");
    }
}

#[test]
fn a_duplicate_is_an_answer_with_the_records_that_are_there() {
    for fixture in ["130-409-duplicate", "131-409-duplicate-email"] {
        let recorded = fixtures::load(fixture);
        let patch = sent(&recorded);
        let Created::Duplicates(records) = read_create(&recorded.answer(""), &beteiligte(), &patch).unwrap()
        else {
            panic!("{fixture}: not seen as duplicate");
        };
        assert_eq!(records.first().unwrap().id().as_str(), "6b0052e277c0e1ed0", "{fixture}");
    }
}

#[test]
fn update() {
    let record_id = id("6b00526cc80a09e94");
    for (fixture, version) in
        [("103-put-partial", None), ("105-put-null", None), ("122-put-version-ok", Some(2))]
    {
        let recorded = fixtures::load(fixture);
        let patch = sent(&recorded);
        check_request(&update_request(&beteiligte(), &record_id, &patch, version), &recorded);
        assert!(read_update(&recorded.answer(""), &beteiligte(), &patch).unwrap().is_some(), "{fixture}");
    }
    let gone = fixtures::load("143-put-deleted-404");
    assert_eq!(read_update(&gone.answer(""), &beteiligte(), &sent(&gone)).unwrap(), None);
    let stale = fixtures::load("124-put-version-stale-same-field");
    let fault = read_update(&stale.answer(""), &beteiligte(), &sent(&stale)).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Conflict);
}

#[test]
fn a_silent_drop_is_a_permanent_fault_that_names_the_attributes() {
    let recorded = fixtures::load("106-put-unknown-and-readonly");
    let fault =
        read_update(&recorded.answer("PUT CBeteiligte/{id}"), &beteiligte(), &sent(&recorded)).unwrap_err();
    assert_eq!((fault.kind, fault.code), (FaultKind::Permanent, "attributes_dropped"));
    assert!(fault.text.contains("noSuchAttribute, deleted, id, createdAt"), "{fault}");
    assert_eq!(fault.answer.unwrap().excerpt, "", "a record's content is nobody's excerpt");
}

#[test]
fn delete() {
    let recorded = fixtures::load("140-delete");
    check_request(&delete_request(&beteiligte(), &id("6b0052e2a03dd98b9")), &recorded);
    assert!(read_delete(&recorded.answer("")).unwrap());
    assert!(!read_delete(&fixtures::load("142-delete-again-404").answer("")).unwrap());
}

fn check_list(fixture: &str, offset: u64, records: usize, next_offset: Option<u64>) {
    let page = read_list(&fixtures::load(fixture).answer(""), &beteiligte(), offset).unwrap();
    assert_eq!((page.records.len(), page.next_offset), (records, next_offset), "{fixture}");
}

#[test]
fn list() {
    check_list("153-page", 2, 2, Some(4));
    check_list("152-offset-beyond-end", 1_000, 0, None);
    check_list("154-x-no-total", 0, 2, Some(2));
    check_list("155-x-no-total-last-page", 200, 31, None);
    check_list("144-list-does-not-show-deleted", 0, 0, None);
    check_list("158-searchparams-json", 0, 2, Some(2));
}

#[test]
fn a_list_request_carries_everything_in_one_parameter() {
    let query = ListQuery::filtered(Where::is_not_null("betnr"))
        .select(&["id"])
        .order_by("modifiedAt", Order::Ascending)
        .page_size(50)
        .offset(100);
    let request = list_request(&beteiligte(), &query);
    assert_eq!(request.header_value("x-no-total"), Some("true"));
    let [(name, params)] = request.query_pairs() else { panic!("{request:?}") };
    let params: Value = serde_json::from_str(params).unwrap();
    let expected = json!({
        "maxSize": 50, "offset": 100, "select": ["id"], "orderBy": "modifiedAt", "order": "asc",
        "where": [{"type": "isNotNull", "attribute": "betnr"}],
    });
    assert_eq!((*name, params), ("searchParams", expected));
}

#[test]
fn total() {
    assert_eq!(read_total(&fixtures::load("151-maxsize-0").answer("")).unwrap(), 263);
    assert!(read_total(&fixtures::load("154-x-no-total").answer("")).is_err());
    let request = total_request(&beteiligte(), &ListQuery::default().page_size(50));
    assert_eq!(request.header_value("x-no-total"), None);
    assert!(request.query_pairs().iter().any(|(_, params)| params.contains("\"maxSize\":0")));
}

#[test]
fn what_is_no_list_is_never_an_empty_one() {
    for (kind, body) in [
        ("text/html", "<html>maintenance</html>"),
        ("application/json", ""),
        ("application/json", "{}"),
        ("application/json", r#"{"total":3}"#),
        ("application/json", r#"{"list":[]}"#),
        ("application/json", r#"{"total":3,"list":null}"#),
        ("application/json", r#"{"total":3,"list":[]}"#),
        ("application/json", r#"{"total":-1,"list":[]}"#),
        ("application/json", r#"{"total":1,"list":[{"name":"no id"}]}"#),
        ("application/json", r#"{"total":2,"list":[{"id":"6b00"#),
        ("application/json", "[]"),
        ("application/json", "true"),
    ] {
        let answer = Answer::recorded(crate::SYSTEM, "GET CBeteiligte", 200, &[("Content-Type", kind)], body);
        let fault = read_list(&answer, &beteiligte(), 0).unwrap_err();
        assert_eq!((fault.kind.name(), fault.code), ("retryable", "answer_unreadable"), "{body}");
    }
}
