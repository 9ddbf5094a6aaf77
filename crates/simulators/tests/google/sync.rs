//! Pages and increments.

use serde_json::{Value, json};

use super::{
    ANNA, BERND, Client, EVENTS, assert_error, assert_shape, configure, encoded, ids, later, meeting, reason,
    start, with,
};
use crate::replay::object;

async fn fill(client: &Client, count: u8) {
    for day in 1..=count {
        let id = format!("event{day:02}");
        client.insert(&with(meeting(&id, day, 10), json!({ "id": id }))).await;
    }
}

fn one(id: &str) -> String {
    format!("{EVENTS}/{id}")
}

#[tokio::test]
async fn a_full_list_comes_in_pages_and_ends_with_a_sync_token() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    fill(&anna, 5).await;
    let (pages, token) = anna.pages("maxResults=2&showDeleted=false&timeMin=2025-03-01T00%3A00%3A00Z").await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(ids(&pages.concat()), ["event01", "event02", "event03", "event04", "event05"]);
    let first = anna.done("GET", &format!("{EVENTS}?maxResults=2"), &Value::Null).await;
    let names = |body: &Value| body.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&first), names(&super::example("events-list-01-full.response.json")));
    assert!(first["nextPageToken"].is_string() && first.get("nextSyncToken").is_none());
    let increment = anna.done("GET", &format!("{EVENTS}?syncToken={}", encoded(&token)), &Value::Null).await;
    assert_eq!(names(&increment), names(&super::example("events-list-03-incremental.response.json")));
    assert_eq!(increment["items"], json!([]));
}

#[tokio::test]
async fn an_increment_shows_what_changed_and_what_is_gone_each_once() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    fill(&anna, 5).await;
    let (_, token) = anna.list("timeMin=2026-03-03T00:00:00Z").await;
    anna.done("PATCH", &one("event04"), &json!({ "summary": "B" })).await;
    anna.done("PATCH", &one("event04"), &json!({ "summary": "C" })).await;
    anna.done("DELETE", &one("event05"), &Value::Null).await;
    google
        .edit_as_person(&format!("{ANNA}:event01"), &object(json!({ "summary": "before timeMin" })))
        .unwrap();
    let key = google.create_as_person(&object(meeting("new", 20, 9))).unwrap();
    anna.done("DELETE", &one("event02"), &Value::Null).await;
    let (increment, next) = anna.since(&token).await;
    let new = key.split(':').nth(1).unwrap();
    assert_eq!(ids(&increment), ["event04", "event05", "event01", new, "event02"]);
    assert_shape("event-cancelled.json", &increment[1]);
    assert_eq!(increment[0]["summary"], "C");
    assert_eq!(anna.since(&next).await.0, Vec::<Value>::new());
    assert_eq!(ids(&anna.since(&token).await.0).len(), 5, "an old token shows it all again");
    configure(&google, json!({ "cancelled_with_details": true }));
    assert_eq!(anna.since(&token).await.0[1]["summary"], "event05");
}

#[tokio::test]
async fn what_changes_while_one_pages_comes_with_the_next_increment_at_the_latest() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    fill(&anna, 4).await;
    let first = anna.done("GET", &format!("{EVENTS}?maxResults=2"), &Value::Null).await;
    anna.done("PATCH", &one("event01"), &json!({ "summary": "seen before" })).await;
    anna.done("PATCH", &one("event04"), &json!({ "summary": "not seen yet" })).await;
    let page = encoded(first["nextPageToken"].as_str().unwrap());
    let last = anna.done("GET", &format!("{EVENTS}?maxResults=2&pageToken={page}"), &Value::Null).await;
    assert_eq!(ids(last["items"].as_array().unwrap()), ["event03", "event04"]);
    let token = last["nextSyncToken"].as_str().unwrap();
    let (increment, _) = anna.since(token).await;
    assert_eq!(ids(&increment), ["event01", "event04"], "the second one once more");

    // The same in an increment: what moves to its end is shown again, nothing is left out.
    let base = format!("{EVENTS}?maxResults=1&syncToken={}", encoded(token));
    let first = anna.done("GET", &base, &Value::Null).await;
    anna.done("PATCH", &one("event01"), &json!({ "summary": "again" })).await;
    let page = format!("&pageToken={}", encoded(first["nextPageToken"].as_str().unwrap()));
    let second = anna.done("GET", &format!("{base}{page}"), &Value::Null).await;
    assert_eq!(ids(second["items"].as_array().unwrap()), ["event04"]);
    let page = format!("&pageToken={}", encoded(second["nextPageToken"].as_str().unwrap()));
    let third = anna.done("GET", &format!("{base}{page}"), &Value::Null).await;
    assert_eq!(ids(third["items"].as_array().unwrap()), ["event01"]);
    // Asking again for a page gives it again.
    assert_eq!(anna.done("GET", &base, &Value::Null).await["items"][0]["id"], "event04");
}

#[tokio::test]
async fn what_may_not_stand_beside_a_sync_token_is_refused() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    fill(&anna, 1).await;
    let (_, token) = anna.list("").await;
    let token = encoded(&token);
    for parameter in [
        "iCalUID=x",
        "orderBy=updated",
        "privateExtendedProperty=a%3Db",
        "q=x",
        "sharedExtendedProperty=a%3Db",
        "timeMin=2026-03-01T00:00:00Z",
        "timeMax=2026-03-01T00:00:00Z",
        "updatedMin=2026-03-01T00:00:00Z",
        "showDeleted=false",
        "singleEvents=true",
        "timeZone=UTC",
        "maxAttendees=1",
        "eventTypes=default",
    ] {
        let got = anna.get(&format!("{EVENTS}?syncToken={token}&{parameter}")).await;
        assert_eq!((got.status, reason(&got).as_str()), (400, "badRequest"), "{parameter}");
    }
    for (query, expected) in [
        ("syncToken=nonsense".to_owned(), "invalid"),
        ("pageToken=nonsense".to_owned(), "invalid"),
        (format!("pageToken={token}"), "invalid"),
    ] {
        let got = anna.get(&format!("{EVENTS}?{query}")).await;
        assert_eq!((got.status, reason(&got).as_str()), (400, expected), "{query}");
    }
    assert_eq!(
        anna.get(&format!("{EVENTS}?syncToken={token}&showDeleted=true&maxResults=7")).await.status,
        200
    );
    let bernd = Client::new(&google, BERND);
    assert_eq!(bernd.get(&format!("{EVENTS}?syncToken={token}")).await.status, 400, "another calendar's");
    assert_eq!(google.outside_description(), []);
}

#[tokio::test]
async fn a_page_token_belongs_to_its_request() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    fill(&anna, 3).await;
    let query = "timeMin=2026-03-01T00:00:00Z&maxResults=1";
    let first = anna.done("GET", &format!("{EVENTS}?{query}"), &Value::Null).await;
    let page = encoded(first["nextPageToken"].as_str().unwrap());
    for query in
        ["maxResults=1", "timeMin=2026-03-02T00:00:00Z", "timeMin=2026-03-01T00:00:00Z&singleEvents=true"]
    {
        let got = anna.get(&format!("{EVENTS}?{query}&pageToken={page}")).await;
        assert_eq!((got.status, reason(&got).as_str()), (400, "badRequest"), "{query}");
    }
    assert_eq!(anna.get(&format!("{EVENTS}?{query}&pageToken={page}")).await.status, 200);
}

#[tokio::test]
async fn tokens_expire_at_any_page_by_age_by_command_and_with_rights() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    fill(&anna, 3).await;
    let (_, token) = anna.list("").await;
    for day in 1..=3 {
        anna.done("PATCH", &one(&format!("event{day:02}")), &json!({ "summary": "B" })).await;
    }
    for number in 1..=3 {
        let (_, token) = anna.list("").await;
        for day in 1..=3 {
            anna.done("PATCH", &one(&format!("event{day:02}")), &json!({ "summary": "C" })).await;
        }
        configure(&google, json!({ "expire_at_page": number }));
        let base = format!("{EVENTS}?maxResults=1&syncToken={}", encoded(&token));
        let mut page = String::new();
        for _ in 1..number {
            let body = anna.done("GET", &format!("{base}{page}"), &Value::Null).await;
            page = format!("&pageToken={}", encoded(body["nextPageToken"].as_str().unwrap()));
        }
        let got = anna.get(&format!("{base}{page}")).await;
        assert_error(&got, "error-410-fullsyncrequired.json");
        assert_eq!(anna.get(&base).await.status, 410, "from the start as well");
    }
    assert_eq!(
        anna.get(&format!("{EVENTS}?syncToken={}", encoded(&token))).await.status,
        410,
        "and older ones"
    );

    let (_, token) = anna.list("").await;
    configure(&google, json!({ "expire_sync_tokens": true }));
    let got = anna.get(&format!("{EVENTS}?syncToken={}", encoded(&token))).await;
    assert_error(&got, "error-410-fullsyncrequired.json");

    let (_, token) = anna.list("").await;
    let access = json!({ "calendar_access": { "calendar": ANNA, "user": ANNA, "role": "owner" } });
    configure(&google, access);
    assert_eq!(anna.get(&format!("{EVENTS}?syncToken={}", encoded(&token))).await.status, 410);

    let (_, token) = anna.list("").await;
    later(&google, 24 * 28 + 1);
    let anna = Client::new(&google, ANNA);
    assert_eq!(anna.get(&format!("{EVENTS}?syncToken={}", encoded(&token))).await.status, 410);
    let (_, token) = anna.list("").await;
    assert_eq!(anna.since(&token).await.0, Vec::<Value>::new(), "a fresh one is good");
}

#[tokio::test]
async fn a_full_list_has_no_tombstones() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    fill(&anna, 3).await;
    anna.done("DELETE", &one("event02"), &Value::Null).await;
    assert_eq!(ids(&anna.list("").await.0), ["event01", "event03"]);
    assert_eq!(ids(&anna.list("showDeleted=true").await.0), ["event01", "event02", "event03"]);
    assert_eq!(anna.event("event02").await["status"], "cancelled");
}

#[tokio::test]
async fn pages_can_be_short_or_empty() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    fill(&anna, 5).await;
    configure(&google, json!({ "page_items_max": 2, "empty_page_every": 2 }));
    let (pages, token) = anna.pages("maxResults=2500").await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 0, 2, 0, 1]);
    assert_eq!(pages.concat().len(), 5);
    for day in 1..=5 {
        anna.done("PATCH", &one(&format!("event{day:02}")), &json!({ "summary": "B" })).await;
    }
    let (pages, _) = anna.pages(&format!("syncToken={}", encoded(&token))).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 0, 2, 0, 1]);
    assert!(google.configure(&object(json!({ "empty_page_every": 1 }))).is_err());
}

#[tokio::test]
async fn bounds_are_those_of_start_and_end() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    fill(&anna, 3).await;
    let series =
        with(meeting("S", 1, 8), json!({ "id": "series01", "recurrence": ["RRULE:FREQ=DAILY;COUNT=20"] }));
    anna.insert(&series).await;
    let bounds = "timeMin=2026-03-02T10:00:00Z&timeMax=2026-03-03T09:00:00Z";
    assert_eq!(ids(&anna.list(bounds).await.0), ["series01"], "both ends are exclusive");
    let bounds = "timeMin=2026-03-02T09:59:59Z&timeMax=2026-03-03T09:00:01Z";
    assert_eq!(ids(&anna.list(bounds).await.0), ["event02", "event03", "series01"]);
    assert_eq!(ids(&anna.list("timeMin=2026-03-21T00:00:00Z").await.0), Vec::<&str>::new());
    let got = anna.get(&format!("{EVENTS}?timeMin=2026-03-02T00:00:00Z&timeMax=2026-03-02T00:00:00Z")).await;
    assert_error(&got, "error-400-timerangeempty.json");
    let got = anna.get(&format!("{EVENTS}?updatedMin=2026-01-02T00:00:00Z")).await;
    assert_error(&got, "error-410-updatedmintoolongago.json");
    assert_eq!(anna.get(&format!("{EVENTS}?orderBy=startTime")).await.status, 400);
}

#[tokio::test]
async fn the_list_of_calendars_has_increments_too() {
    let google = start().await;
    let bernd = Client::new(&google, BERND);
    let path = "/calendar/v3/users/me/calendarList";
    let full = bernd.done("GET", path, &Value::Null).await;
    let only = &full["items"][0];
    assert_eq!(
        (&only["id"], &only["primary"], &only["accessRole"]),
        (&json!(BERND), &json!(true), &json!("owner"))
    );
    let share = |role: Value| {
        configure(&google, json!({ "calendar_access": { "calendar": ANNA, "user": BERND, "role": role } }))
    };
    share(json!("reader"));
    let since = async |token: &Value| {
        let body = bernd
            .done("GET", &format!("{path}?syncToken={}", encoded(token.as_str().unwrap())), &Value::Null)
            .await;
        (body["items"].clone(), body["nextSyncToken"].clone())
    };
    let (items, token) = since(&full["nextSyncToken"]).await;
    assert_eq!(
        (&items[0]["id"], &items[0]["accessRole"], items.as_array().unwrap().len()),
        (&json!(ANNA), &json!("reader"), 1)
    );
    share(Value::Null);
    let (items, _) = since(&token).await;
    assert_eq!((&items[0]["id"], &items[0]["deleted"]), (&json!(ANNA), &json!(true)));
    let full = bernd.done("GET", path, &Value::Null).await;
    assert_eq!(full["items"].as_array().unwrap().len(), 1);
    let one = bernd.done("GET", &format!("{path}/primary"), &Value::Null).await;
    assert_eq!(one["timeZone"], "Europe/Berlin");
}

#[tokio::test]
async fn a_list_may_lag_behind_a_write_and_misses_nothing_by_it() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    fill(&anna, 2).await;
    google.set_clock_offset(jiff::SignedDuration::from_secs(60));
    configure(&google, json!({ "list_lag_seconds": 10 }));
    let (_, token) = anna.list("").await;
    anna.done("PATCH", &one("event01"), &json!({ "summary": "B" })).await;
    anna.insert(&with(meeting("new", 20, 10), json!({ "id": "event03" }))).await;
    assert_eq!(anna.event("event01").await["summary"], "B", "one event is shown as it is");
    let (increment, token) = anna.since(&token).await;
    assert_eq!((increment, anna.list("").await.0.len()), (vec![], 1), "left out, not shown as it was");
    google.set_clock_offset(jiff::SignedDuration::from_secs(69));
    let (increment, token) = anna.since(&token).await;
    assert_eq!(increment, Vec::<Value>::new());
    google.set_clock_offset(jiff::SignedDuration::from_secs(70));
    assert_eq!(ids(&anna.since(&token).await.0), ["event01", "event03"]);
}
