//! Series: masters, occurrences, exceptions and gaps.

use serde_json::{Value, json};
use simulators::microsoft::conforms;

use super::client::{ANNA, Client, World, code_of, event_path, meeting, weekly, with};

const MARCH: &str = "startDateTime=2026-03-01T00:00:00Z&endDateTime=2026-04-01T00:00:00Z";

async fn instances(client: &Client, master: &Value, window: &str) -> Vec<Value> {
    let path = format!("{}/instances?{window}&$top=100", event_path(master));
    client.get(&path).await["value"].as_array().unwrap().clone()
}

fn starts(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["start"]["dateTime"].as_str().unwrap().split_once('.').unwrap().0)
        .collect()
}

async fn mondays(client: &Client) -> Value {
    client.create(&with(meeting("jour fixe", "2026-03-09", 10), weekly("2026-03-09", "Monday"))).await
}

#[tokio::test]
async fn occurrences_keep_their_wall_time_when_the_clocks_change() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let master = mondays(&anna).await;
    conforms("event", &master).unwrap();
    assert_eq!(
        (&master["type"], &master["recurrence"]["range"]["recurrenceTimeZone"]),
        (&json!("seriesMaster"), &json!("W. Europe Standard Time"))
    );
    let found = instances(&anna, &master, MARCH).await;
    let expected =
        ["2026-03-09T09:00:00", "2026-03-16T09:00:00", "2026-03-23T09:00:00", "2026-03-30T08:00:00"];
    assert_eq!(starts(&found), expected);
    for one in &found {
        conforms("event", one).unwrap();
        assert_eq!(
            (&one["type"], &one["seriesMasterId"], &one["subject"]),
            (&json!("occurrence"), &master["id"], &json!("jour fixe"))
        );
        assert_eq!(anna.get(&event_path(one)).await["start"], one["start"]);
    }
    assert_eq!(found[3]["originalStart"], "2026-03-30T08:00:00Z");
    let view = anna.get(&format!("/me/calendarView?{MARCH}")).await;
    assert_eq!(starts(view["value"].as_array().unwrap()), expected);
    let list = anna.get("/me/events").await;
    assert_eq!(list["value"].as_array().unwrap().len(), 1, "a list has the master alone");
}

#[tokio::test]
async fn an_exception_is_a_changed_occurrence_and_a_gap_a_deleted_one() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let master = mondays(&anna).await;
    let found = instances(&anna, &master, MARCH).await;
    let moved = anna.patch(&found[1], &meeting("verlegt", "2026-03-17", 14)).await;
    assert_eq!(
        (&moved["type"], &moved["id"], &moved["originalStart"]),
        (&json!("exception"), &found[1]["id"], &json!("2026-03-16T09:00:00Z"))
    );
    anna.delete(&found[2]).await;
    assert_eq!(
        starts(&instances(&anna, &master, MARCH).await),
        ["2026-03-09T09:00:00", "2026-03-17T13:00:00", "2026-03-30T08:00:00"]
    );
    assert_eq!(anna.send("GET", &event_path(&found[2]), &Value::Null).await.status, 404);
    let select = "$select=subject,cancelledOccurrences&$expand=exceptionOccurrences";
    let shown = anna.get(&format!("{}?{select}", event_path(&master))).await;
    let gap = format!("OID.{}.2026-03-23", master["id"].as_str().unwrap());
    assert_eq!(shown["cancelledOccurrences"], json!([gap]));
    assert_eq!(shown["exceptionOccurrences"][0]["subject"], "verlegt");
    conforms("event", &shown).unwrap();
    anna.patch(&master, &json!({ "subject": "neu" })).await;
    let subjects: Vec<Value> =
        instances(&anna, &master, MARCH).await.iter().map(|one| one["subject"].clone()).collect();
    assert_eq!(subjects, ["neu", "verlegt", "neu"], "exceptions keep what is their own");
    let etag = moved["@odata.etag"].as_str().unwrap();
    let got =
        anna.with("PATCH", &event_path(&moved), &json!({ "subject": "x" }), &[("If-Match", etag)]).await;
    assert_eq!(got.status, 200, "an exception has a version of its own");
    anna.patch(&master, &meeting("neu", "2026-03-09", 11)).await;
    let after = instances(&anna, &master, MARCH).await;
    assert_eq!(starts(&after).len(), 4, "a new time drops exceptions and gaps");
    assert!(after.iter().all(|one| one["type"] == "occurrence"));
    anna.delete(&master).await;
    assert_eq!(anna.send("GET", &event_path(&found[0]), &Value::Null).await.status, 404);
    world.assert_inside_description();
}

#[tokio::test]
async fn an_occurrence_stays_between_its_neighbours() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let master = mondays(&anna).await;
    let found = instances(&anna, &master, MARCH).await;
    for (date, status) in [("2026-03-09", 400), ("2026-03-23", 400), ("2026-03-10", 200), ("2026-03-22", 200)]
    {
        let got = anna.send("PATCH", &event_path(&found[1]), &meeting("x", date, 10)).await;
        assert_eq!(got.status, status, "{date}");
        if status == 400 {
            assert_eq!(code_of(&got), "ErrorOccurrenceCrossingBoundary");
        }
    }
    let got = anna.send("PATCH", &event_path(&found[1]), &weekly("2026-03-16", "Monday")).await;
    assert_eq!(got.status, 400, "an occurrence has no recurrence");
}

#[tokio::test]
async fn all_kinds_of_series_can_be_made() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let year = "startDateTime=2026-01-01T00:00:00Z&endDateTime=2027-01-01T00:00:00Z";
    for (pattern, range, count) in [
        (
            json!({ "type": "daily", "interval": 1 }),
            json!({ "type": "endDate", "endDate": "2026-03-18" }),
            10,
        ),
        (
            json!({ "type": "weekly", "interval": 2, "daysOfWeek": ["Monday", "friday"] }),
            json!({ "type": "numbered", "numberOfOccurrences": 7 }),
            7,
        ),
        (
            json!({ "type": "absoluteMonthly", "interval": 1, "dayOfMonth": 9 }),
            json!({ "type": "noEnd" }),
            10,
        ),
        (
            json!({ "type": "relativeMonthly", "interval": 1, "daysOfWeek": ["monday"], "index": "second" }),
            json!({ "type": "noEnd" }),
            10,
        ),
        (
            json!({ "type": "absoluteYearly", "interval": 1, "dayOfMonth": 9, "month": 3 }),
            json!({ "type": "noEnd" }),
            1,
        ),
        (
            json!({ "type": "relativeYearly", "interval": 1, "daysOfWeek": ["monday"], "index": "second", "month": 3 }),
            json!({ "type": "noEnd" }),
            1,
        ),
    ] {
        let range = with(range, json!({ "startDate": "2026-03-09" }));
        let recurrence = json!({ "recurrence": { "pattern": pattern, "range": range } });
        let made = anna.create(&with(meeting("x", "2026-03-09", 10), recurrence)).await;
        conforms("event", &made).unwrap();
        assert_eq!(made["recurrence"]["pattern"]["type"], pattern["type"]);
        assert_eq!(instances(&anna, &made, year).await.len(), count, "{pattern}");
    }
    let wrong = json!({ "recurrence": { "pattern": { "type": "weekly", "interval": 1 }, "range": { "type": "noEnd", "startDate": "2026-03-09" } } });
    let got = anna.send("POST", "/me/events", &with(meeting("x", "2026-03-09", 10), wrong)).await;
    assert_eq!((got.status, code_of(&got)), (400, "ErrorPropertyValidationFailure".to_owned()));
}

#[tokio::test]
async fn a_start_that_fits_no_slot_moves_to_the_first_one() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let made = anna.create(&with(meeting("x", "2026-03-09", 10), weekly("2026-03-09", "wednesday"))).await;
    assert_eq!(made["start"]["dateTime"], "2026-03-11T09:00:00.0000000");
    let single = anna.patch(&made, &json!({ "recurrence": null })).await;
    assert_eq!((&single["type"], &single["recurrence"]), (&json!("singleInstance"), &Value::Null));
}

#[tokio::test]
async fn an_all_day_series_is_one_of_dates() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let day =
        |date: &str| json!({ "dateTime": format!("{date}T00:00:00"), "timeZone": "W. Europe Standard Time" });
    let body = json!({ "isAllDay": true, "start": day("2026-03-23"), "end": day("2026-03-24") });
    let made = anna.create(&with(body, weekly("2026-03-23", "monday"))).await;
    let window = "startDateTime=2026-03-20T00:00:00Z&endDateTime=2026-04-07T00:00:00Z";
    let found = instances(&anna.preferring("outlook.timezone=\"Tokyo Standard Time\""), &made, window).await;
    assert_eq!(starts(&found), ["2026-03-23T00:00:00", "2026-03-30T00:00:00", "2026-04-06T00:00:00"]);
}
