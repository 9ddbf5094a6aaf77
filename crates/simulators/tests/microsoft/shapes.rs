//! The vendor's recorded examples: they fit the description, and our answers have their shape.

use std::path::PathBuf;

use serde_json::{Value, json};
use simulators::microsoft::conforms;

use super::client::{ANNA, BERND, World, attendees, event_path, meeting, with};
use crate::fixture::shape_differences;

/// A body, without the head of a message where there is one.
fn recorded(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/microsoft").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let body =
        text.split_once("\n\n").filter(|_| name.ends_with(".http")).map_or(text.as_str(), |(_, body)| body);
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn recorded_bodies_fit_the_description() {
    for (kind, names) in [
        (
            "event",
            &[
                "event-single.response.json",
                "event-seriesmaster.response.json",
                "event-exception.full.json",
                "event-cancelled.attendee.json",
                "event-allday.response.json",
            ][..],
        ),
        ("eventCollection", &["event-instances.response.json"]),
        (
            "eventDeltaPage",
            &[
                "delta-events-01-first.response.json",
                "delta-events-02-next.response.json",
                "delta-events-03-last.response.json",
                "delta-events-04-nextround.response.json",
                "delta-events-06-empty-page.response.json",
            ],
        ),
        ("deltaOccurrence", &["delta-events-05-occurrence.item.json"]),
        ("calendarCollection", &["calendars-list.response.json"]),
        ("subscription", &["subscription-create.response.json", "subscription-renew.response.json"]),
        ("subscriptionCollection", &["subscription-list.response.json"]),
        (
            "changeNotificationCollection",
            &[
                "notification-events-batch.request.json",
                "lifecycle-missed.request.json",
                "lifecycle-reauthorizationrequired.request.json",
            ],
        ),
        ("tokenResponse", &["oauth-token.response.json", "oauth-clientcredentials.response.json"]),
        (
            "tokenError",
            &[
                "oauth-error-consent-65001.json",
                "oauth-error-inactive-700082.json",
                "oauth-error-mfa-50076.json",
                "oauth-error-secret-7000215.json",
            ],
        ),
        ("error", &["error-401-token.json", "error-412-conflict.json", "error-429-mailboxconcurrency.http"]),
    ] {
        for name in names {
            if let Err(error) = conforms(kind, &recorded(name)) {
                panic!("{name}: {error}");
            }
        }
    }
    assert!(conforms("event", &json!({ "subjct": "x" })).is_err());
}

/// What is another person's choice, and what the vendor's own document leaves out or shows in another call alone.
fn differences(recorded: &Value, own: &Value, apart: &[&str]) -> Vec<String> {
    let found = shape_differences("", recorded, own);
    found.into_iter().filter(|line| !apart.iter().any(|name| line.starts_with(name))).collect()
}

#[tokio::test]
async fn recorded_requests_are_taken_and_answered_in_the_recorded_shape() {
    let world = World::new().await;
    let anna = world.client(ANNA).await.preferring("outlook.timezone=\"Pacific Standard Time\"");
    let made = anna.create(&recorded("event-create-01.request.http")).await;
    // Exchange itself gives `locations` fewer members than `location`.
    let apart = [".locations", ".location"];
    assert_eq!(differences(&recorded("event-single.response.json"), &made, &apart), Vec::<String>::new());
    assert_eq!(
        made["start"],
        json!({ "dateTime": "2017-04-15T12:00:00.0000000", "timeZone": "Pacific Standard Time" })
    );
    let series = anna.create(&recorded("event-seriesmaster.request.http")).await;
    assert_eq!(series["recurrence"], recorded("event-seriesmaster.response.json")["recurrence"]);
    let apart = [".locations", ".location", ".transactionId"];
    assert_eq!(
        differences(&recorded("event-seriesmaster.response.json"), &series, &apart),
        Vec::<String>::new()
    );
    anna.create(&recorded("event-create-extendedproperty.request.http")).await;
    let day = anna.create(&recorded("event-allday.request.json")).await;
    assert_eq!(day["end"]["dateTime"], "2019-11-12T00:00:00.0000000");
    world.assert_inside_description();
}

#[tokio::test]
async fn a_cancelled_meeting_and_an_exception_have_the_recorded_shape() {
    let world = World::new().await;
    let (anna, bernd) = (world.client(ANNA).await, world.client(BERND).await);
    let body = with(meeting("x", "2026-03-09", 10), attendees(&[BERND]));
    let made = anna.create(&with(body, json!({ "location": { "displayName": "Harry's Bar" } }))).await;
    anna.delete(&made).await;
    let cancelled = bernd.get("/me/events").await["value"][0].clone();
    let apart = [".locations", ".location"];
    assert_eq!(
        differences(&recorded("event-cancelled.attendee.json"), &cancelled, &apart),
        Vec::<String>::new()
    );
    let series = anna.create(&recorded("event-seriesmaster.request.http")).await;
    let window = "startDateTime=2017-09-01T00:00:00Z&endDateTime=2017-10-01T00:00:00Z";
    let select = "$select=subject,bodyPreview,seriesMasterId,type,recurrence,start,end";
    let list = anna.get(&format!("{}/instances?{window}&{select}", event_path(&series))).await;
    let recorded_list = recorded("event-instances.response.json");
    assert_eq!(differences(&recorded_list["value"][1], &list["value"][0], &[]), Vec::<String>::new());
    let exception = anna.patch(&list["value"][0], &json!({ "subject": "y" })).await;
    let apart = [".locations", ".location", ".@odata.context"];
    assert_eq!(differences(&recorded("event-exception.full.json"), &exception, &apart), Vec::<String>::new());
}

#[tokio::test]
async fn delta_items_calendars_and_errors_have_the_recorded_shape() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    anna.create(&recorded("event-seriesmaster.request.http")).await;
    let first = "/me/calendarView/delta?startdatetime=2017-09-01T00:00:00Z&enddatetime=2017-09-10T00:00:00Z";
    let page = anna.get(first).await;
    let occurrence = &page["value"][1];
    assert_eq!(
        differences(&recorded("delta-events-05-occurrence.item.json"), occurrence, &[]),
        Vec::<String>::new()
    );
    let calendars = anna.get("/me/calendars").await;
    let apart = [".@odata.id", ".isDefaultCalendar"];
    let (ours, theirs) = (&calendars["value"][0], &recorded("calendars-list.response.json")["value"][0]);
    assert_eq!(differences(theirs, ours, &apart), Vec::<String>::new());
    world.pass(6_000);
    let got = anna.send("GET", "/me/calendars", &Value::Null).await;
    assert_eq!(differences(&recorded("error-401-token.json"), &got.json(), &[]), Vec::<String>::new());
    assert!(got.header("request-id").is_some());
}

#[tokio::test]
async fn token_answers_have_the_recorded_shape() {
    let world = World::new().await;
    let tokens = world.connect(ANNA).await;
    assert_eq!(differences(&recorded("oauth-token.response.json"), &tokens, &[]), Vec::<String>::new());
    let refresh = tokens["refresh_token"].as_str().unwrap();
    for (path, control, name) in [
        ("identity/withdraw-consent", json!({ "mailbox": ANNA }), "oauth-error-consent-65001.json"),
        (
            "identity/refuse",
            json!({ "mailbox": ANNA, "error": "interaction_required", "code": 50_076,
                                    "suberror": "basic_action" }),
            "oauth-error-mfa-50076.json",
        ),
        ("identity/revoke", json!({}), "oauth-error-revoked-50173.json"),
    ] {
        world.control("POST", path, control);
        let got = world.refresh(refresh).await.json();
        assert_eq!(differences(&recorded(name), &got, &[]), Vec::<String>::new(), "{name}");
        assert_eq!(
            (&got["error"], &got["error_codes"]),
            (&recorded(name)["error"], &recorded(name)["error_codes"])
        );
    }
}
