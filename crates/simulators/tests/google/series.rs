//! Series: occurrences, exceptions, cancelled ones.

use serde_json::{Value, json};

use super::{ANNA, BERND, Client, EVENTS, assert_shape, guests, ids, meeting, reason, start, with};
use crate::replay::object;

const MASTER: &str = "series0123456789";

fn weekly() -> Value {
    with(meeting("Weekly", 9, 10), json!({ "id": MASTER, "recurrence": ["RRULE:FREQ=WEEKLY;COUNT=5"] }))
}

fn one(id: &str) -> String {
    format!("{EVENTS}/{id}")
}

fn nth(stamp: &str) -> String {
    format!("{MASTER}_{stamp}")
}

async fn instances(client: &Client, query: &str) -> Vec<Value> {
    let body = client.done("GET", &format!("{EVENTS}/{MASTER}/instances?{query}"), &Value::Null).await;
    body["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn occurrences_have_ids_by_their_start_in_utc_and_keep_wall_time() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    anna.insert(&weekly()).await;
    let all = instances(&anna, "").await;
    let expected: Vec<String> =
        ["20260309T090000Z", "20260316T090000Z", "20260323T090000Z", "20260330T080000Z", "20260406T080000Z"]
            .iter()
            .map(|stamp| nth(stamp))
            .collect();
    assert_eq!(ids(&all), expected);
    assert_eq!(all[3]["start"]["dateTime"], "2026-03-30T10:00:00+02:00");
    assert_eq!(all[3]["recurringEventId"], MASTER);
    assert_eq!(anna.event(&nth("20260330T080000Z")).await, all[3]);
    assert_eq!(anna.get(&one(&nth("20260331T080000Z"))).await.status, 404);
    let some =
        instances(&anna, "timeMin=2026-03-16T10:00:00%2B01:00&timeMax=2026-03-30T10:00:00%2B02:00").await;
    assert_eq!(ids(&some), expected[1..3]);
    let by_start = instances(&anna, "originalStart=2026-03-16T09:00:00Z").await;
    assert_eq!(ids(&by_start), expected[1..2]);
    assert_eq!(anna.list("").await.0.len(), 1, "a list shows the master");
    let single = anna.list("singleEvents=true").await.0;
    assert_eq!(ids(&single), expected);
}

#[tokio::test]
async fn an_occurrence_that_is_changed_or_deleted_becomes_an_event_of_its_own() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    anna.insert(&weekly()).await;
    let (_, token) = anna.list("").await;
    let (changed, deleted) = (nth("20260316T090000Z"), nth("20260330T080000Z"));
    anna.done("PATCH", &one(&changed), &json!({ "summary": "Other" })).await;
    assert_eq!(anna.send("DELETE", &one(&deleted), &Value::Null).await.status, 204);
    assert_eq!(reason(&anna.send("DELETE", &one(&deleted), &Value::Null).await), "deleted");
    let (increment, token) = anna.since(&token).await;
    assert_eq!(ids(&increment), [changed.as_str(), deleted.as_str()], "the master did not change");
    assert_shape("event-cancelled-instance.json", &increment[1]);
    assert_eq!(increment[1]["originalStartTime"]["dateTime"], "2026-03-30T10:00:00+02:00");
    // A full list shows the cancelled occurrence as long as the series lives.
    let (full, _) = anna.list("").await;
    let mut expected = [MASTER, &changed, &deleted];
    expected.sort_unstable();
    assert_eq!(ids(&full), expected);
    assert_eq!(instances(&anna, "").await.len(), 4);
    assert_eq!(instances(&anna, "showDeleted=true").await.len(), 5);
    assert_eq!(anna.list("singleEvents=true").await.0.len(), 4);
    // A change of the master leaves alone what was changed before.
    anna.done("PATCH", &one(MASTER), &json!({ "summary": "All" })).await;
    assert_eq!(anna.event(&changed).await["summary"], "Other");
    assert_eq!(ids(&anna.since(&token).await.0), [MASTER]);
    let recurs = json!({ "recurrence": ["RRULE:FREQ=DAILY;COUNT=2"] });
    assert_eq!(anna.send("PATCH", &one(&changed), &recurs).await.status, 400);
}

#[tokio::test]
async fn a_new_rule_cancels_exceptions_that_no_longer_fit_and_deletion_cancels_all() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    anna.insert(&weekly()).await;
    let (second, fifth) = (nth("20260316T090000Z"), nth("20260406T080000Z"));
    for id in [&second, &fifth] {
        anna.done("PATCH", &one(id), &json!({ "summary": "Other" })).await;
    }
    let (_, token) = anna.list("").await;
    anna.done("PATCH", &one(MASTER), &json!({ "recurrence": ["RRULE:FREQ=WEEKLY;COUNT=3"] })).await;
    let (increment, token) = anna.since(&token).await;
    assert_eq!(ids(&increment), [MASTER, fifth.as_str()]);
    assert_eq!(increment[1]["status"], "cancelled");
    anna.done("DELETE", &one(MASTER), &Value::Null).await;
    let (increment, _) = anna.since(&token).await;
    assert_eq!(ids(&increment), [MASTER, second.as_str()]);
    assert!(increment.iter().all(|event| event["status"] == "cancelled"));
    assert_eq!(anna.list("").await.0, Vec::<Value>::new());
    assert_eq!(anna.list("showDeleted=true").await.0.len(), 3);
}

#[tokio::test]
async fn guests_of_a_series_have_its_exceptions_too() {
    let google = start().await;
    let (anna, bernd) = (Client::new(&google, ANNA), Client::new(&google, BERND));
    anna.insert(&with(weekly(), json!({ "attendees": guests(&[BERND]) }))).await;
    let (_, token) = bernd.list("").await;
    let (moved, gone) = (nth("20260316T090000Z"), nth("20260323T090000Z"));
    anna.done("PATCH", &one(&moved), &json!({ "location": "Room 7" })).await;
    anna.done("DELETE", &one(&gone), &Value::Null).await;
    let (increment, token) = bernd.since(&token).await;
    assert_eq!(ids(&increment), [moved.as_str(), gone.as_str()]);
    assert_eq!((&increment[0]["location"], &increment[1]["status"]), (&json!("Room 7"), &json!("cancelled")));
    // He declines one occurrence; the organiser sees it in that one alone.
    google.answer_invitation_as_person(&format!("{BERND}:{}", nth("20260330T080000Z")), "declined").unwrap();
    assert_eq!(anna.event(&nth("20260330T080000Z")).await["attendees"][0]["responseStatus"], "declined");
    assert_eq!(anna.event(MASTER).await["attendees"][0]["responseStatus"], "needsAction");
    // An outsider to the series is invited to one occurrence only.
    let clara = Client::new(&google, super::CLARA);
    let both = guests(&[BERND, super::CLARA]);
    anna.done("PATCH", &one(&moved), &json!({ "attendees": both })).await;
    assert_eq!(ids(&clara.list("").await.0), [moved.as_str()]);
    anna.done("DELETE", &one(MASTER), &Value::Null).await;
    assert_eq!(clara.list("").await.0, Vec::<Value>::new());
    let (increment, _) = bernd.since(&token).await;
    assert!(increment.iter().all(|event| event["status"] == "cancelled"), "{increment:#?}");
    assert_eq!(bernd.list("").await.0, Vec::<Value>::new());
}

#[tokio::test]
async fn this_and_following_is_a_new_series() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    anna.insert(&weekly()).await;
    let (_, token) = anna.list("").await;
    let fields = json!({ "splitAt": "2026-03-23T10:00:00", "summary": "From now on" });
    google.edit_as_person(&format!("{ANNA}:{MASTER}"), &object(fields)).unwrap();
    let (increment, _) = anna.since(&token).await;
    let new = format!("{MASTER}_R20260323T090000");
    assert_eq!(ids(&increment), [MASTER, new.as_str()]);
    assert_eq!(increment[0]["recurrence"], json!(["RRULE:FREQ=WEEKLY;UNTIL=20260323T085959Z"]));
    assert_eq!(increment[1]["recurrence"], json!(["RRULE:FREQ=WEEKLY;COUNT=3"]));
    assert_eq!(increment[1]["summary"], "From now on");
    let all = anna.done("GET", &format!("{EVENTS}?singleEvents=true&orderBy=startTime"), &Value::Null).await;
    assert_eq!(all["items"].as_array().unwrap().len(), 5, "as many as before");
}

#[tokio::test]
async fn an_all_day_series_has_dates() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    let body = json!({
        "id": MASTER, "start": { "date": "2026-03-28" }, "end": { "date": "2026-03-30" },
        "recurrence": ["RRULE:FREQ=MONTHLY;COUNT=2"],
    });
    anna.insert(&body).await;
    let all = instances(&anna, "").await;
    assert_eq!(ids(&all), [nth("20260328"), nth("20260428")]);
    assert_eq!(
        (&all[1]["start"], &all[1]["end"]),
        (&json!({ "date": "2026-04-28" }), &json!({ "date": "2026-04-30" }))
    );
    assert_eq!(all[1]["originalStartTime"], json!({ "date": "2026-04-28" }));
}
