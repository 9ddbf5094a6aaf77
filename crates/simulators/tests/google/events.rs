//! Single events: ids, conditions, times, properties.

use serde_json::{Value, json};

use super::{
    ANNA, BERND, CLARA, Client, EVENTS, assert_error, assert_shape, configure, example, guests, ids, later,
    meeting, reason, start, with,
};
use crate::replay::object;

fn one(id: &str) -> String {
    format!("{EVENTS}/{id}")
}

#[tokio::test]
async fn events_look_as_the_vendor_s() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    let properties = json!({ "private": { "crmId": "5f0c2b7d1e3a4c5b6" } });
    let reminders = json!({ "useDefault": false, "overrides": [{ "method": "popup", "minutes": 15 }] });
    let body = with(
        example("event-insert.request.json"),
        json!({
            "description": "<b>Agenda</b>", "location": "Room 4", "visibility": "private", "reminders": reminders,
            "attendees": [{ "email": "guest@example.org", "displayName": "Guest" }],
        }),
    );
    let got = anna.send("POST", EVENTS, &body).await;
    assert_eq!(got.status, 200, "{got:?}");
    assert_shape("event-single.json", &got.json());
    let event = got.json();
    assert_eq!(got.header("etag"), event["etag"].as_str());
    for name in ["start", "end", "extendedProperties", "reminders", "attendees", "iCalUID", "id", "status"] {
        assert_eq!(event[name], example("event-single.json")[name], "{name}");
    }
    assert_eq!(event["organizer"], json!({ "email": ANNA, "self": true }));
    assert_eq!(anna.event("p8f3k2m5q7r9s1t3v5a7c9e1g3").await, event);

    let day = json!({
        "id": "alldac0123456789", "summary": "Holiday", "start": { "date": "2026-04-03" },
        "end": { "date": "2026-04-04" }, "reminders": reminders, "transparency": "transparent",
    });
    assert_shape("event-allday.json", &anna.insert(&day).await);

    let series = with(
        meeting("Weekly", 9, 10),
        json!({
            "id": "master0123456789", "description": "<b>Agenda</b>", "location": "Room 4", "reminders": reminders,
            "attendees": [{ "email": "guest@example.org", "displayName": "Guest" }], "visibility": "private",
            "extendedProperties": properties,
            "recurrence": ["RRULE:FREQ=WEEKLY;COUNT=10;BYDAY=MO", "EXDATE;TZID=Europe/Berlin:20260323T100000"],
        }),
    );
    assert_shape("event-recurring-master.json", &anna.insert(&series).await);
    let moved = json!({
        "summary": "Weekly (moved)", "start": { "dateTime": "2026-03-17T10:00:00+01:00" },
        "end": { "dateTime": "2026-03-17T11:00:00+01:00" },
    });
    let exception = anna.done("PATCH", &one("master0123456789_20260316T090000Z"), &moved).await;
    assert_shape("event-recurring-exception.json", &exception);
    for name in ["start", "end", "originalStartTime", "recurringEventId", "id", "iCalUID"] {
        assert_eq!(exception[name], example("event-recurring-exception.json")[name], "{name}");
    }
}

#[tokio::test]
async fn an_id_is_taken_for_ever_and_a_put_revives_what_was_deleted() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    let body = with(meeting("A", 9, 10), json!({ "id": "abcde01234" }));
    anna.insert(&body).await;
    assert_error(&anna.send("POST", EVENTS, &body).await, "error-409-duplicate.json");
    assert_eq!(anna.send("DELETE", &one("abcde01234"), &Value::Null).await.status, 204);
    assert_error(&anna.send("POST", EVENTS, &body).await, "error-409-duplicate.json");
    assert_error(&anna.send("DELETE", &one("abcde01234"), &Value::Null).await, "error-410-deleted.json");
    assert_eq!(anna.event("abcde01234").await["status"], "cancelled");
    anna.done("PATCH", &one("abcde01234"), &json!({ "summary": "still gone" })).await;
    assert_eq!(anna.event("abcde01234").await["status"], "cancelled");
    anna.done("PUT", &one("abcde01234"), &meeting("B", 9, 10)).await;
    let revived = anna.event("abcde01234").await;
    assert_eq!((&revived["status"], &revived["summary"]), (&json!("confirmed"), &json!("B")));

    anna.done("DELETE", &one("abcde01234"), &Value::Null).await;
    later(&google, 24 * 29);
    let anna = Client::new(&google, ANNA);
    assert_error(&anna.send("GET", &one("abcde01234"), &Value::Null).await, "error-404.json");
    assert_eq!(anna.send("POST", EVENTS, &body).await.status, 409);
    for id in ["abcd", "UPPER0", "wxyz01", "with_underscore", "ümlaut"] {
        let got = anna.send("POST", EVENTS, &with(meeting("A", 9, 10), json!({ "id": id }))).await;
        assert_eq!((got.status, reason(&got).as_str()), (400, "invalid"), "{id}");
    }
    let both = with(meeting("A", 9, 10), json!({ "id": "fghij01234", "iCalUID": "x@y" }));
    assert_eq!(anna.send("POST", EVENTS, &both).await.status, 400);
}

#[tokio::test]
async fn every_write_gives_an_etag_and_a_condition_holds_back_what_is_stale() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    let first = anna.insert(&meeting("A", 9, 10)).await;
    let (id, old) = (first["id"].as_str().unwrap(), first["etag"].as_str().unwrap());
    let second = anna.done("PATCH", &one(id), &json!({ "summary": "B" })).await;
    assert_ne!(second["etag"], first["etag"]);
    for (method, body) in
        [("PATCH", json!({ "summary": "C" })), ("PUT", meeting("C", 9, 10)), ("DELETE", Value::Null)]
    {
        let got = anna.send_with(method, &one(id), &[("If-Match", old)], &body).await;
        assert_error(&got, "error-412-conditionnotmet.json");
    }
    let new = second["etag"].as_str().unwrap();
    let got = anna.send_with("GET", &one(id), &[("If-None-Match", new)], &Value::Null).await;
    assert_eq!((got.status, got.body.len()), (304, 0));
    let third = anna.send_with("PATCH", &one(id), &[("If-Match", new)], &json!({ "summary": "B" })).await;
    assert_eq!(third.status, 200);
    assert_ne!(third.json()["etag"], second["etag"], "also when nothing differs");
    let etag = third.json()["etag"].as_str().unwrap().to_owned();
    let got = anna.send_with("DELETE", &one(id), &[("If-Match", &etag)], &Value::Null).await;
    assert_eq!(got.status, 204);
}

#[tokio::test]
async fn a_patch_merges_objects_and_replaces_lists_and_a_put_replaces_all() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    let body = with(
        meeting("A", 9, 10),
        json!({
            "location": "Room 4", "attendees": guests(&["x@else.example", "y@else.example"]),
            "extendedProperties": { "private": { "a": "1", "b": "2" }, "shared": { "s": "1" } },
        }),
    );
    let id = anna.insert(&body).await["id"].as_str().unwrap().to_owned();
    let patch = json!({
        "location": null, "attendees": guests(&["x@else.example"]),
        "extendedProperties": { "private": { "a": null, "c": "3" } },
    });
    let patched = anna.done("PATCH", &one(&id), &patch).await;
    assert_eq!(patched.get("location"), None);
    assert_eq!(patched["attendees"].as_array().unwrap().len(), 1);
    assert_eq!(
        patched["extendedProperties"],
        json!({ "private": { "b": "2", "c": "3" }, "shared": { "s": "1" } })
    );
    assert_eq!(patched["summary"], "A");
    let day = json!({ "start": { "date": "2026-03-09" }, "end": { "date": "2026-03-10" } });
    assert_eq!(
        anna.send("PATCH", &one(&id), &day).await.status,
        400,
        "dateTime and timeZone must be set to null"
    );
    let null = json!({
        "start": { "date": "2026-03-09", "dateTime": null, "timeZone": null },
        "end": { "date": "2026-03-10", "dateTime": null, "timeZone": null },
    });
    let patched = anna.done("PATCH", &one(&id), &null).await;
    assert_eq!((&patched["start"], &patched["sequence"]), (&json!({ "date": "2026-03-09" }), &json!(1)));
    let put = anna.done("PUT", &one(&id), &meeting("B", 9, 10)).await;
    assert_eq!((put.get("attendees"), put.get("extendedProperties")), (None, None));
    assert_eq!(put["reminders"], json!({ "useDefault": true }));
}

#[tokio::test]
async fn what_cannot_be_an_event_is_refused() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    let time = |time: &str, zone: &str| json!({ "dateTime": time, "timeZone": zone });
    let span = |start: Value, end: Value| json!({ "start": start, "end": end });
    let good = meeting("A", 9, 10);
    let many: Vec<Value> = (0..201).map(|n| json!({ "email": format!("a{n}@else.example") })).collect();
    let six: Vec<Value> = (0..6).map(|n| json!({ "method": "popup", "minutes": n })).collect();
    for (body, expected) in [
        (
            span(time("2026-03-09T11:00:00", "Europe/Berlin"), time("2026-03-09T10:00:00", "Europe/Berlin")),
            "timeRangeEmpty",
        ),
        (span(json!({ "date": "2026-03-09" }), json!({ "date": "2026-03-09" })), "timeRangeEmpty"),
        (span(json!({ "date": "2026-03-09" }), time("2026-03-09T10:00:00Z", "UTC")), "invalid"),
        (
            span(time("2026-03-09T10:00:00", "W. Europe Standard Time"), time("2026-03-09T11:00:00", "UTC")),
            "invalid",
        ),
        (
            span(json!({ "dateTime": "2026-03-09T10:00:00" }), json!({ "dateTime": "2026-03-09T11:00:00" })),
            "invalid",
        ),
        (with(good.clone(), json!({ "recurrence": ["RRULE:FREQ=NEVER"] })), "invalid"),
        (
            with(good.clone(), json!({ "recurrence": ["DTSTART:20260309T100000Z", "RRULE:FREQ=DAILY"] })),
            "invalid",
        ),
        (
            with(
                span(
                    json!({ "dateTime": "2026-03-09T10:00:00Z" }),
                    json!({ "dateTime": "2026-03-09T11:00:00Z" }),
                ),
                json!({ "recurrence": ["RRULE:FREQ=DAILY;COUNT=2"] }),
            ),
            "required",
        ),
        (with(good.clone(), json!({ "attendees": [{ "displayName": "no address" }] })), "required"),
        (with(good.clone(), json!({ "attendees": [{ "email": "none" }] })), "invalid"),
        (
            with(
                good.clone(),
                json!({ "attendees": [{ "email": "a@b.example", "responseStatus": "maybe" }] }),
            ),
            "invalid",
        ),
        (with(good.clone(), json!({ "attendees": many })), "invalid"),
        (with(good.clone(), json!({ "visibility": "secret" })), "invalid"),
        (with(good.clone(), json!({ "reminders": { "useDefault": false, "overrides": six } })), "invalid"),
        (
            with(
                good.clone(),
                json!({ "reminders": { "useDefault": true, "overrides": [{ "method": "popup", "minutes": 1 }] } }),
            ),
            "invalid",
        ),
        (
            with(
                good.clone(),
                json!({ "reminders": { "overrides": [{ "method": "popup", "minutes": 40_321 }] } }),
            ),
            "invalid",
        ),
        (
            with(good.clone(), json!({ "extendedProperties": { "private": { "k".repeat(45): "v" } } })),
            "invalid",
        ),
        (
            with(good.clone(), json!({ "extendedProperties": { "private": { "k": "v".repeat(1_025) } } })),
            "invalid",
        ),
    ] {
        let got = anna.send("POST", EVENTS, &body).await;
        assert_eq!((got.status, reason(&got).as_str()), (400, expected), "{body}");
    }
    assert_eq!(google.outside_description(), []);
    assert_eq!(google.records(), Vec::<Value>::new());
}

#[tokio::test]
async fn times_are_shown_in_the_zone_of_the_calendar_or_of_the_request() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    let body = json!({
        "start": { "dateTime": "2026-03-28T23:30:00-04:00", "timeZone": "America/New_York" },
        "end": { "dateTime": "2026-03-29T00:30:00-04:00", "timeZone": "America/New_York" },
    });
    let event = anna.insert(&body).await;
    let shown = json!({ "dateTime": "2026-03-29T05:30:00+02:00", "timeZone": "America/New_York" });
    assert_eq!(event["start"], shown);
    let path = format!("{}?timeZone=UTC", one(event["id"].as_str().unwrap()));
    assert_eq!(anna.done("GET", &path, &Value::Null).await["start"]["dateTime"], "2026-03-29T03:30:00Z");
}

#[tokio::test]
async fn an_event_is_found_by_the_private_property_that_a_client_gave_it() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    let property =
        |id: &str| json!({ "extendedProperties": { "private": { "crmId": id, "kind": "Meeting" } } });
    let a = anna.insert(&with(meeting("A", 9, 10), property("1"))).await["id"].as_str().unwrap().to_owned();
    anna.insert(&with(meeting("B", 9, 10), property("2"))).await;
    anna.insert(&meeting("C", 9, 10)).await;
    let find = async |query: &str| {
        let body = anna.done("GET", &format!("{EVENTS}?{query}"), &Value::Null).await;
        assert_eq!(body.get("nextSyncToken"), None);
        body["items"].as_array().unwrap().clone()
    };
    assert_eq!(ids(&find("privateExtendedProperty=crmId%3D1").await), [a.as_str()]);
    let both = "privateExtendedProperty=crmId%3D2&privateExtendedProperty=kind%3DMeeting";
    assert_eq!(find(both).await.len(), 1);
    assert_eq!(find("privateExtendedProperty=crmId%3D2&privateExtendedProperty=kind%3DCall").await.len(), 0);
    assert_eq!(find("sharedExtendedProperty=crmId%3D1").await.len(), 0);
    anna.done("DELETE", &one(&a), &Value::Null).await;
    assert_eq!(find("privateExtendedProperty=crmId%3D1").await.len(), 0);
    assert_eq!(find("privateExtendedProperty=crmId%3D1&showDeleted=true").await.len(), 1);
    assert_eq!(find("q=b").await.len(), 1);
}

#[tokio::test]
async fn an_imported_event_keeps_its_uid_and_organiser_and_writes_to_nobody() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    let path = format!("{EVENTS}/import");
    let body = with(
        meeting("Court", 9, 10),
        json!({
            "iCalUID": "hearing-1@court.example", "organizer": { "email": "clerk@court.example" },
            "attendees": guests(&[ANNA, BERND]),
        }),
    );
    let event = anna.done("POST", &path, &body).await;
    assert_eq!(
        (&event["iCalUID"], &event["organizer"]["email"]),
        (&json!("hearing-1@court.example"), &json!("clerk@court.example"))
    );
    let again = anna.done("POST", &path, &with(body.clone(), json!({ "summary": "Court (moved)" }))).await;
    assert_eq!((&again["id"], &again["summary"]), (&event["id"], &json!("Court (moved)")));
    assert_eq!((google.mails(), google.records().len()), (vec![], 1));
    assert_eq!(anna.send("POST", &path, &meeting("no uid", 9, 10)).await.status, 400);
    let id = event["id"].as_str().unwrap();
    let got = anna.send("PATCH", &one(id), &json!({ "summary": "mine" })).await;
    assert_error(&got, "error-403-forbiddennonorganizer.json");
}

#[tokio::test]
async fn calendars_of_others_are_as_open_as_they_were_shared() {
    let google = start().await;
    let (anna, bernd) = (Client::new(&google, ANNA), Client::new(&google, BERND));
    let secret = anna.insert(&with(meeting("Secret", 9, 10), json!({ "visibility": "private" }))).await;
    let shared = format!("/calendar/v3/calendars/{}/events", super::encoded(ANNA));
    let one = format!("{shared}/{}", secret["id"].as_str().unwrap());
    let share = |role: Value| {
        configure(&google, json!({ "calendar_access": { "calendar": ANNA, "user": BERND, "role": role } }))
    };
    assert_error(&bernd.get(&shared).await, "error-404.json");
    share(json!("reader"));
    let seen = bernd.done("GET", &one, &Value::Null).await;
    assert_eq!((seen.get("summary"), seen["start"].is_object()), (None, true));
    let got = bernd.send("POST", &shared, &meeting("B", 9, 10)).await;
    assert_eq!((got.status, reason(&got).as_str()), (403, "forbidden"));
    share(json!("writer"));
    assert_eq!(bernd.done("GET", &one, &Value::Null).await["summary"], "Secret");
    let made = bernd.done("POST", &shared, &meeting("B", 9, 10)).await;
    assert_eq!((&made["creator"]["email"], &made["organizer"]["email"]), (&json!(BERND), &json!(ANNA)));
    share(Value::Null);
    assert_error(&bernd.get(&shared).await, "error-404.json");
}

#[tokio::test]
async fn an_event_moves_to_another_calendar_with_its_id() {
    let mut options = super::options();
    options.calendars.push(simulators::google::GoogleCalendar {
        id: "team@group.calendar.google.com".to_owned(),
        summary: "Team".to_owned(),
        time_zone: "Europe/Berlin".to_owned(),
        owner: ANNA.to_owned(),
        shared_with: vec![(CLARA.to_owned(), simulators::google::AccessRole::Reader)],
    });
    let google = simulators::GoogleSimulator::start(options).await.unwrap();
    let anna = Client::new(&google, ANNA);
    let (_, token) = anna.list("").await;
    let event = anna.insert(&meeting("A", 9, 10)).await;
    let id = event["id"].as_str().unwrap();
    let path = format!("{}/move?destination=team%40group.calendar.google.com", one(id));
    let moved = anna.done("POST", &path, &Value::Null).await;
    assert_eq!((&moved["id"], &moved["iCalUID"]), (&event["id"], &event["iCalUID"]));
    assert_eq!(moved["organizer"]["email"], "team@group.calendar.google.com");
    assert_eq!(anna.since(&token).await.0[0]["status"], "cancelled");
    let got = Client::new(&google, CLARA).get(&path).await;
    assert_eq!(got.status, 400, "no GET");
}

#[tokio::test]
async fn the_journal_tells_who_wrote_what() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    let id = anna.insert(&meeting("A", 9, 10)).await["id"].as_str().unwrap().to_owned();
    anna.done("PATCH", &one(&id), &json!({ "summary": "A" })).await;
    let key = format!("{ANNA}:{id}");
    google.edit_as_person(&key, &object(json!({ "summary": "B" }))).unwrap();
    google.delete_as_person(&key).unwrap();
    let own: Vec<_> = google.journal().into_iter().filter(|entry| entry.entity == "Event").collect();
    let told: Vec<String> = own
        .iter()
        .map(|entry| format!("{:?} {:?} {}", entry.actor_kind, entry.operation, entry.record_id == key))
        .collect();
    assert_eq!(told, ["Api Create true", "Api Update true", "Person Update true", "Person Delete true"]);
    assert_eq!(simulators::writes_without_change(&own).len(), 1);
    assert_eq!(google.counters()["calendar.events.patch"], 1);
    assert!(google.delete_as_person(&key).is_err());
    assert!(google.edit_as_person("nothing", &object(json!({}))).is_err());
}
