//! Invitations: copies in the guests' calendars, answers, mails.

use serde_json::{Value, json};

use super::{ANNA, BERND, CLARA, Client, EVENTS, assert_error, guests, ids, meeting, start, with};
use crate::replay::object;

const OUTSIDE: &str = "guest@else.example";

fn one(id: &str) -> String {
    format!("{EVENTS}/{id}")
}

fn status(event: &Value, email: &str) -> String {
    let all = event["attendees"].as_array().unwrap();
    let attendee = all.iter().find(|attendee| attendee["email"] == email).unwrap();
    attendee["responseStatus"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_guest_has_a_copy_that_follows_the_organiser_s() {
    let google = start().await;
    let (anna, bernd) = (Client::new(&google, ANNA), Client::new(&google, BERND));
    let private = json!({ "private": { "crmId": "1" }, "shared": { "room": "4" } });
    let body = with(
        meeting("A", 9, 10),
        json!({ "attendees": guests(&[BERND, CLARA, OUTSIDE]), "extendedProperties": private, "colorId": "3" }),
    );
    let event = anna.insert(&body).await;
    let id = event["id"].as_str().unwrap();
    let copy = bernd.event(id).await;
    assert_eq!(copy["iCalUID"], event["iCalUID"]);
    assert_eq!(copy["extendedProperties"], json!({ "shared": { "room": "4" } }));
    assert_eq!((copy.get("colorId"), &copy["organizer"]), (None, &json!({ "email": ANNA })));
    assert_eq!(
        copy["attendees"][0],
        json!({ "email": BERND, "responseStatus": "needsAction", "self": true })
    );
    // What is his own stays his own.
    let own = json!({ "colorId": "5", "extendedProperties": { "private": { "crmId": "2" } }, "reminders": { "useDefault": false } });
    bernd.done("PATCH", &one(id), &own).await;
    assert_eq!(anna.event(id).await["extendedProperties"]["private"]["crmId"], "1");
    let before = bernd.event(id).await;
    anna.done("PATCH", &one(id), &json!({ "location": "Room 7", "attendees": guests(&[BERND, OUTSIDE]) }))
        .await;
    let after = bernd.event(id).await;
    assert_eq!((&after["location"], &after["colorId"]), (&json!("Room 7"), &json!("5")));
    assert_eq!(after["extendedProperties"]["private"]["crmId"], "2");
    assert_ne!(after["etag"], before["etag"]);
    let clara = Client::new(&google, CLARA);
    assert_eq!(clara.event(id).await["status"], "cancelled", "no longer invited");
    // A change of the organiser's own does not touch the copies.
    anna.done("PATCH", &one(id), &json!({ "colorId": "7" })).await;
    assert_eq!(bernd.event(id).await["etag"], after["etag"]);
    anna.done("DELETE", &one(id), &Value::Null).await;
    assert_eq!(bernd.event(id).await["status"], "cancelled");
    let to = |mail: &simulators::JournalEntry| mail.after.as_ref().unwrap()["to"].clone();
    assert!(google.mails().iter().all(|mail| to(mail) == OUTSIDE), "who has no calendar here");
}

#[tokio::test]
async fn an_answer_reaches_all_copies() {
    let google = start().await;
    let (anna, bernd, clara) =
        (Client::new(&google, ANNA), Client::new(&google, BERND), Client::new(&google, CLARA));
    let body = with(meeting("A", 9, 10), json!({ "attendees": guests(&[BERND, CLARA]) }));
    let id = anna.insert(&body).await["id"].as_str().unwrap().to_owned();
    google.answer_invitation_as_person(&format!("{BERND}:{id}"), "accepted").unwrap();
    for client in [&anna, &bernd, &clara] {
        assert_eq!(status(&client.event(&id).await, BERND), "accepted");
    }
    let mut all = clara.event(&id).await["attendees"].clone();
    all[1]["responseStatus"] = json!("declined");
    clara.done("PATCH", &one(&id), &json!({ "attendees": all })).await;
    assert_eq!(status(&anna.event(&id).await, CLARA), "declined");
    assert_eq!(status(&bernd.event(&id).await, CLARA), "declined");
    // Who deletes his copy declines, and does not get it back with each change.
    google.delete_as_person(&format!("{BERND}:{id}")).unwrap();
    assert_eq!(status(&anna.event(&id).await, BERND), "declined");
    anna.done("PATCH", &one(&id), &json!({ "location": "Room 7" })).await;
    assert_eq!(bernd.event(&id).await["status"], "cancelled");
    assert!(
        google.answer_invitation_as_person(&format!("{ANNA}:{id}"), "accepted").is_err(),
        "he is no guest"
    );
}

#[tokio::test]
async fn what_is_shared_is_the_organiser_s() {
    let google = start().await;
    let (anna, bernd) = (Client::new(&google, ANNA), Client::new(&google, BERND));
    let body = with(meeting("A", 9, 10), json!({ "attendees": guests(&[BERND, CLARA]) }));
    let id = anna.insert(&body).await["id"].as_str().unwrap().to_owned();
    let mut for_clara = bernd.event(&id).await["attendees"].clone();
    for_clara[1]["responseStatus"] = json!("accepted");
    for patch in [
        json!({ "summary": "B" }),
        json!({ "attendees": for_clara }),
        json!({ "extendedProperties": { "shared": { "a": "b" } } }),
    ] {
        let got = bernd.send("PATCH", &one(&id), &patch).await;
        assert_error(&got, "error-403-forbiddennonorganizer.json");
    }
    anna.done("PATCH", &one(&id), &json!({ "guestsCanModify": true })).await;
    bernd.done("PATCH", &one(&id), &json!({ "summary": "B" })).await;
    assert_eq!(anna.event(&id).await["summary"], "B");
    assert_eq!(Client::new(&google, CLARA).event(&id).await["summary"], "B");
}

#[tokio::test]
async fn every_mail_that_a_write_sends_is_counted() {
    let google = start().await;
    let (anna, bernd) = (Client::new(&google, ANNA), Client::new(&google, BERND));
    let body = with(meeting("A", 9, 10), json!({ "attendees": guests(&[BERND, OUTSIDE]) }));
    let mut seen = 0;
    let mut mails = || {
        let all = google.mails();
        let new: Vec<String> = all[seen..]
            .iter()
            .map(|mail| mail.after.as_ref().unwrap())
            .map(|mail| format!("{} {}", mail["to"].as_str().unwrap(), mail["kind"].as_str().unwrap()))
            .collect();
        seen = all.len();
        new
    };
    let id = anna.done("POST", &format!("{EVENTS}?sendUpdates=none"), &body).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(mails().is_empty());
    let all = format!("{}?sendUpdates=all", one(&id));
    anna.done("PATCH", &all, &json!({ "location": "Room 7" })).await;
    assert_eq!(mails(), [format!("{BERND} update"), format!("{OUTSIDE} update")]);
    anna.done("PATCH", &all, &json!({ "colorId": "3" })).await;
    assert!(mails().is_empty(), "nobody else sees that");
    anna.done("PATCH", &format!("{}?sendUpdates=externalOnly", one(&id)), &json!({ "location": "Room 8" }))
        .await;
    assert_eq!(mails(), [format!("{OUTSIDE} update")]);
    anna.done("PATCH", &one(&id), &json!({ "location": "Room 9" })).await;
    assert_eq!(mails(), [format!("{OUTSIDE} update")], "not said, so some may be sent");
    let mut own = bernd.event(&id).await["attendees"].clone();
    own[0]["responseStatus"] = json!("accepted");
    bernd.done("PATCH", &all, &json!({ "attendees": own })).await;
    assert_eq!(mails(), [format!("{ANNA} response")]);
    google.edit_as_person(&format!("{ANNA}:{id}"), &object(json!({ "location": "Room 1" }))).unwrap();
    assert!(mails().is_empty(), "a person is asked, and said no");
    anna.done("DELETE", &all, &Value::Null).await;
    assert_eq!(mails(), [format!("{BERND} cancellation"), format!("{OUTSIDE} cancellation")]);
}

#[tokio::test]
async fn an_invitation_from_outside_comes_with_an_organiser_who_has_no_calendar_here() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    let (_, token) = anna.list("").await;
    let key = google
        .seed(object(with(
            meeting("Hearing", 9, 10),
            json!({
                "calendarId": ANNA, "id": "hearing01", "iCalUID": "1@court.example",
                "organizer": { "email": "clerk@court.example" }, "attendees": guests(&[ANNA, "clerk@court.example"]),
            }),
        )))
        .unwrap();
    assert_eq!(key, format!("{ANNA}:hearing01"));
    assert_eq!(ids(&anna.since(&token).await.0), ["hearing01"]);
    google.answer_invitation_as_person(&key, "tentative").unwrap();
    assert_eq!(status(&anna.event("hearing01").await, ANNA), "tentative");
    assert_eq!(google.records().len(), 1);
    assert_eq!(google.record(&key).unwrap()["calendarId"], ANNA);
}

#[tokio::test]
async fn a_list_of_guests_may_be_cut_and_is_then_not_written_back() {
    let google = start().await;
    let anna = Client::new(&google, ANNA);
    let many: Vec<Value> = (0..5_000).map(|n| json!({ "email": format!("a{n}@else.example") })).collect();
    let fields = with(meeting("Crowd", 9, 10), json!({ "attendees": many, "calendarId": ANNA }));
    let key = google.create_as_person(&object(fields)).unwrap();
    let id = key.split(':').nth(1).unwrap();
    assert_eq!(anna.event(id).await["attendees"].as_array().unwrap().len(), 5_000);
    let cut = anna.done("GET", &format!("{}?maxAttendees=10", one(id)), &Value::Null).await;
    assert_eq!((&cut["attendeesOmitted"], cut["attendees"].as_array().unwrap().len()), (&json!(true), 0));
}

#[tokio::test]
async fn an_id_that_a_guest_has_used_himself_does_not_keep_the_invitation_out() {
    let google = start().await;
    let (anna, bernd) = (Client::new(&google, ANNA), Client::new(&google, BERND));
    let own = json!({ "calendarId": BERND, "id": "abcde01234", "iCalUID": "own@else.example" });
    google.seed(object(with(meeting("own", 9, 10), own))).unwrap();
    let body = with(meeting("A", 10, 10), json!({ "id": "abcde01234", "attendees": guests(&[BERND]) }));
    let event = anna.insert(&with(body, json!({ "recurrence": ["RRULE:FREQ=WEEKLY;COUNT=3"] }))).await;
    let copy = async || {
        let all = bernd.list("").await.0;
        all.into_iter()
            .find(|copy| copy["iCalUID"] == event["iCalUID"] && copy.get("recurringEventId").is_none())
    };
    let id = copy().await.unwrap()["id"].as_str().unwrap().to_owned();
    assert_ne!(id, "abcde01234");
    anna.done("PATCH", &one("abcde01234"), &json!({ "summary": "B" })).await;
    assert_eq!(copy().await.unwrap()["summary"], "B");
    google.answer_invitation_as_person(&format!("{BERND}:{id}"), "accepted").unwrap();
    assert_eq!(status(&anna.event("abcde01234").await, BERND), "accepted");
    assert_eq!(bernd.event("abcde01234").await["summary"], "own");
    // One occurrence changes: it belongs to his copy of the series.
    anna.done("PATCH", &one("abcde01234_20260317T090000Z"), &json!({ "summary": "C" })).await;
    let changed = bernd.event(&format!("{id}_20260317T090000Z")).await;
    assert_eq!((&changed["summary"], &changed["recurringEventId"]), (&json!("C"), &json!(id)));
    anna.done("DELETE", &one("abcde01234"), &Value::Null).await;
    assert_eq!(ids(&bernd.list("").await.0), ["abcde01234"]);
}
