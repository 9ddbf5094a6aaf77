//! Single events: create, read, change, delete, find; zones, all-day, versions and ids.

use serde_json::{Value, json};
use simulators::microsoft::conforms;
use simulators::{ActorKind, Operation, writes_without_change};

use super::client::{ANNA, BERND, World, code_of, encoded, event_path, meeting, with};
use crate::http::Got;
use crate::replay::object;

const PROPERTY: &str = "String {66f5a359-4659-4638-81a3-d1d2b2f5c5b4} Name CrmId";

fn refused(got: &Got) -> (u16, String) {
    (got.status, code_of(got))
}

fn refusal(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn subjects(list: &Value) -> Vec<&str> {
    list["value"].as_array().unwrap().iter().map(|event| event["subject"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_event_is_made_changed_and_deleted() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let body = with(
        meeting("Termin", "2026-03-09", 10),
        json!({ "body": { "contentType": "Text", "content": "a <b>" }, "location": { "displayName": "Saal 1" },
                "categories": ["Gericht"], "showAs": "OOF" }),
    );
    let made = anna.create(&body).await;
    conforms("event", &made).unwrap();
    assert_eq!(
        (&made["start"]["dateTime"], &made["start"]["timeZone"]),
        (&json!("2026-03-09T09:00:00.0000000"), &json!("UTC"))
    );
    assert_eq!((&made["showAs"], &made["type"]), (&json!("oof"), &json!("singleInstance")));
    assert_eq!((&made["bodyPreview"], &made["body"]["contentType"]), (&json!("a <b>"), &json!("html")));
    assert_eq!(made["originalStartTimeZone"], "W. Europe Standard Time");
    let changed =
        anna.patch(&made, &json!({ "subject": "Neu", "locations": [{ "displayName": "Saal 2" }] })).await;
    assert_eq!(
        (&changed["subject"], &changed["categories"]),
        (&json!("Neu"), &json!(["Gericht"])),
        "the rest is kept"
    );
    assert_eq!(changed["location"]["displayName"], "Saal 2");
    assert_ne!(changed["@odata.etag"], made["@odata.etag"]);
    assert_eq!(changed["@odata.etag"], json!(format!("W/\"{}\"", changed["changeKey"].as_str().unwrap())));
    let changed =
        anna.patch(&made, &json!({ "location": { "displayName": "Saal 3" }, "categories": [] })).await;
    assert_eq!(
        (&changed["locations"][0]["displayName"], &changed["categories"]),
        (&json!("Saal 3"), &json!([]))
    );
    assert_eq!(anna.get(&event_path(&made)).await["subject"], "Neu");
    anna.delete(&made).await;
    let got = anna.send("GET", &event_path(&made), &Value::Null).await;
    assert_eq!(refused(&got), refusal(404, "ErrorItemNotFound"));
    let operations: Vec<Operation> = world.microsoft.journal().iter().map(|entry| entry.operation).collect();
    assert_eq!(operations, [Operation::Create, Operation::Update, Operation::Update, Operation::Delete]);
    assert!(world.mails().is_empty());
    world.assert_inside_description();
    let counters = world.microsoft.counters();
    assert_eq!((counters["POST /v1.0/me/events"], counters["PATCH /v1.0/me/events/{event-id}"]), (1, 2));
}

#[tokio::test]
async fn times_come_in_the_zone_that_is_preferred() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let made = anna.create(&meeting("Sommer", "2026-07-01", 10)).await;
    for (zone, time) in [
        ("Pacific Standard Time", "2026-07-01T01:00:00.0000000"),
        ("Europe/Berlin", "2026-07-01T10:00:00.0000000"),
        ("India Standard Time", "2026-07-01T13:30:00.0000000"),
    ] {
        let got = anna
            .preferring(&format!("outlook.timezone=\"{zone}\""))
            .send("GET", &event_path(&made), &Value::Null)
            .await;
        assert_eq!(got.json()["start"], json!({ "dateTime": time, "timeZone": zone }));
        assert_eq!(got.header("preference-applied"), Some(format!("outlook.timezone=\"{zone}\"").as_str()));
    }
    let got = anna
        .preferring("outlook.timezone=\"Europe/Vienna\"")
        .send("GET", &event_path(&made), &Value::Null)
        .await;
    assert_eq!(refused(&got), refusal(400, "TimeZoneNotSupportedException"));
    let text = anna.preferring("outlook.body-content-type=\"text\", IdType=\"ImmutableId\"");
    assert_eq!(text.get(&event_path(&made)).await["body"]["contentType"], "text");
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let zone = "W. Europe Standard Time";
    let at = |start: &str, from: &str, end: &str, to: &str| json!({ "start": { "dateTime": start, "timeZone": from }, "end": { "dateTime": end, "timeZone": to } });
    let post = async |body: Value| refused(&anna.send("POST", "/me/events", &body).await);
    let invalid = || refusal(400, "ErrorPropertyValidationFailure");
    let time = "2026-03-09T10:00:00";
    assert_eq!(post(json!({ "subject": "x" })).await, invalid());
    assert_eq!(post(at("2026-03-09T10:00:00Z", zone, time, zone)).await, invalid(), "no offset");
    assert_eq!(post(at("2026-03-09T10:00:00+01:00", zone, time, zone)).await, invalid());
    assert_eq!(post(at("soon", zone, time, zone)).await, invalid());
    let earlier = refusal(400, "ErrorCalendarEndDateIsEarlierThanStartDate");
    assert_eq!(post(at("2026-03-09T11:00:00", zone, time, zone)).await, earlier);
    assert_eq!(
        post(at(time, "Europe/Vienna", time, zone)).await,
        refusal(400, "TimeZoneNotSupportedException")
    );
    let day = |start: &str, from: &str, end: &str, to: &str| {
        with(at(start, from, end, to), json!({ "isAllDay": true }))
    };
    let midnight = "2026-03-09T00:00:00";
    assert_eq!(post(day(midnight, zone, "2026-03-10T01:00:00", zone)).await, invalid());
    assert_eq!(post(day(midnight, zone, "2026-03-10T00:00:00", "UTC")).await, invalid());
    assert_eq!(post(day(midnight, zone, midnight, zone)).await, invalid());
    let many: Vec<Value> =
        (0..501).map(|n| json!({ "emailAddress": { "address": format!("p{n}@example.com") } })).collect();
    assert_eq!(post(with(meeting("x", "2026-03-09", 9), json!({ "attendees": many }))).await, invalid());
    let nameless = json!({ "attendees": [{ "emailAddress": { "address": "nobody" } }] });
    assert_eq!(post(with(meeting("x", "2026-03-09", 9), nameless)).await, invalid());
    let property = json!({ "singleValueExtendedProperties": [{ "id": "CrmId", "value": "1" }] });
    assert_eq!(
        post(with(meeting("x", "2026-03-09", 9), property)).await,
        refusal(400, "ErrorInvalidProperty")
    );
    let huge = json!({ "body": { "contentType": "text", "content": "x".repeat(4 * 1024 * 1024) } });
    assert_eq!(post(with(meeting("x", "2026-03-09", 9), huge)).await.0, 413);
    world.assert_inside_description();
    assert!(world.microsoft.records().is_empty());
}

#[tokio::test]
async fn what_the_description_has_not_is_refused_and_noted() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let made = anna.create(&meeting("x", "2026-03-09", 9)).await;
    let path = event_path(&made);
    for (method, path, body, status) in [
        ("POST", "/me/events", json!({ "subjct": "x" }), 400),
        ("POST", "/me/events", json!({ "showAs": "asleep" }), 400),
        ("PATCH", path.as_str(), json!({ "subject": 7 }), 400),
        ("PATCH", path.as_str(), json!({ "location": { "name": "x" } }), 400),
        ("POST", &format!("{path}/accept"), json!({ "sendMail": true }), 400),
        ("GET", "/me/messages", Value::Null, 400),
        ("GET", "/me/eventz", Value::Null, 400),
        ("PUT", path.as_str(), json!({}), 405),
        ("GET", "/me/events?top=1", Value::Null, 400),
        ("GET", &format!("{path}?$top=1"), Value::Null, 400),
        ("GET", "/me/events?$select=subjekt", Value::Null, 400),
    ] {
        let before = world.microsoft.outside_description().len();
        let got = anna.send(method, path, &body).await;
        assert_eq!(got.status, status, "{method} {path} {body}");
        conforms("error", &got.json()).unwrap();
        assert_eq!(world.microsoft.outside_description().len(), before + 1, "{method} {path} {body}");
    }
    assert_eq!(world.control("GET", "outside-description", Value::Null)[5]["path"], "/v1.0/me/messages");
    assert_eq!(anna.get(&path).await["@odata.etag"], made["@odata.etag"]);
}

#[tokio::test]
async fn an_all_day_event_is_a_date_in_every_zone() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let day =
        |date: &str| json!({ "dateTime": format!("{date}T00:00:00"), "timeZone": "W. Europe Standard Time" });
    let made =
        anna.create(&json!({ "isAllDay": true, "start": day("2026-03-29"), "end": day("2026-03-30") })).await;
    for zone in ["UTC", "Pacific Standard Time", "Tokyo Standard Time"] {
        let shown = anna.preferring(&format!("outlook.timezone=\"{zone}\"")).get(&event_path(&made)).await;
        assert_eq!(shown["start"], json!({ "dateTime": "2026-03-29T00:00:00.0000000", "timeZone": zone }));
        assert_eq!(shown["end"]["dateTime"], "2026-03-30T00:00:00.0000000");
    }
}

#[tokio::test]
async fn a_transaction_makes_one_event() {
    let world = World::new().await;
    let (anna, bernd) = (world.client(ANNA).await, world.client(BERND).await);
    let body = with(meeting("x", "2026-03-09", 9), json!({ "transactionId": "crm-1" }));
    let made = anna.create(&body).await;
    assert_eq!((&anna.create(&body).await["id"], &made["transactionId"]), (&made["id"], &json!("crm-1")));
    assert_ne!(bernd.create(&body).await["id"], made["id"], "each mailbox has its own");
    let other = with(body.clone(), json!({ "subject": "y" }));
    let twice = refusal(409, "ErrorDuplicateTransactionId");
    assert_eq!(refused(&anna.send("POST", "/me/events", &other).await), twice);
    let changed = anna.send("PATCH", &event_path(&made), &json!({ "transactionId": "crm-2" })).await;
    assert_eq!(changed.status, 400);
    anna.delete(&made).await;
    assert_eq!(refused(&anna.send("POST", "/me/events", &body).await), twice, "what it made is gone");
    world.pass(25 * 3_600);
    let tokens = world.connect(ANNA).await;
    let anna = world.client_with(tokens["access_token"].as_str().unwrap());
    assert_ne!(anna.create(&body).await["id"], made["id"], "it is forgotten after a day");
}

#[tokio::test]
async fn a_write_may_ask_for_the_version_it_knows() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let made = anna.create(&meeting("x", "2026-03-09", 9)).await;
    let (path, etag) = (event_path(&made), made["@odata.etag"].as_str().unwrap());
    let patch =
        async |etag: &str| anna.with("PATCH", &path, &json!({ "subject": "y" }), &[("If-Match", etag)]).await;
    assert_eq!(patch(etag).await.status, 200);
    assert_eq!(refused(&patch(etag).await), refusal(412, "ErrorIrresolvableConflict"));
    let got = anna.with("DELETE", &path, &Value::Null, &[("If-Match", etag)]).await;
    assert_eq!(refused(&got), refusal(412, "ErrorIrresolvableConflict"));
    assert_eq!(patch("*").await.status, 200);
    assert_eq!(writes_without_change(&world.microsoft.journal()).len(), 1, "the last one changed nothing");
    let id = world.microsoft.records()[0]["id"].as_str().unwrap().to_owned();
    let before = anna.get(&path).await;
    world.microsoft.edit_as_person(&id, &object(json!({ "housekeeping": true }))).unwrap();
    let after = anna.get(&path).await;
    assert_ne!(after["@odata.etag"], before["@odata.etag"]);
    assert_eq!(after["subject"], before["subject"]);
}

#[tokio::test]
async fn the_crms_id_is_written_read_and_found() {
    let world = World::new().await;
    let (anna, bernd) = (world.client(ANNA).await, world.client(BERND).await);
    let tagged = |id: &str| json!({ "singleValueExtendedProperties": [{ "id": PROPERTY, "value": id }] });
    let made = anna.create(&with(meeting("a", "2026-03-09", 9), tagged("5f0C2b"))).await;
    anna.create(&with(meeting("b", "2026-03-09", 9), tagged("other"))).await;
    assert_eq!(made["singleValueExtendedProperties"], Value::Null, "not echoed");
    let expand =
        format!("$expand={}", encoded(&format!("singleValueExtendedProperties($filter=id eq '{PROPERTY}')")));
    let shown = anna.get(&format!("{}?{expand}", event_path(&made))).await;
    assert_eq!(shown["singleValueExtendedProperties"], json!([{ "id": PROPERTY, "value": "5f0C2b" }]));
    conforms("event", &shown).unwrap();
    let find = |property: &str, value: &str| {
        let clause = format!("ep/id eq '{property}' and ep/value eq '{value}'");
        let filter = encoded(&format!("singleValueExtendedProperties/Any(ep: {clause})"));
        format!("/me/events?$filter={filter}&{expand}")
    };
    let found = anna.get(&find(PROPERTY, "5F0c2B")).await;
    assert_eq!(subjects(&found), ["a"], "the value has no case");
    assert_eq!(found["value"][0]["singleValueExtendedProperties"][0]["value"], "5f0C2b");
    assert!(subjects(&anna.get(&find(&PROPERTY.replace("CrmId", "crmid"), "5f0C2b")).await).is_empty());
    assert!(subjects(&bernd.get(&find(PROPERTY, "5f0C2b")).await).is_empty());
    anna.patch(&made, &tagged("new")).await;
    assert_eq!(subjects(&anna.get(&find(PROPERTY, "new")).await), ["a"]);
    let uid = encoded(&format!("iCalUId eq '{}'", made["iCalUId"].as_str().unwrap()));
    assert_eq!(subjects(&anna.get(&format!("/me/events?$filter={uid}")).await), ["a"]);
    world.assert_inside_description();
    let unknown = anna.send("GET", "/me/events?$filter=subject%20eq%20'a'", &Value::Null).await;
    assert_eq!(unknown.status, 501, "no test takes it for a real answer");
}

#[tokio::test]
async fn ids_have_two_forms_and_one_of_them_moves() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let immutable = anna.preferring("IdType=\"ImmutableId\"");
    let made = anna.create(&meeting("a", "2026-03-09", 9)).await;
    let kept = immutable.get(&event_path(&made)).await;
    assert_ne!(kept["id"], made["id"]);
    let calendar =
        world.control("POST", "calendars", json!({ "mailbox": ANNA, "name": "Privat" }))["id"].clone();
    let id = kept["id"].as_str().unwrap();
    world.microsoft.edit_as_person(id, &object(json!({ "calendar": calendar }))).unwrap();
    assert_eq!(anna.send("GET", &event_path(&made), &Value::Null).await.status, 404);
    let moved = immutable.get(&event_path(&kept)).await;
    assert_eq!((&moved["id"], &moved["iCalUId"]), (&kept["id"], &made["iCalUId"]));
    assert_ne!(anna.get(&event_path(&kept)).await["id"], made["id"]);
    let list = anna.get(&format!("/me/calendars/{}/events", encoded(calendar.as_str().unwrap()))).await;
    assert_eq!(subjects(&list), ["a"]);
    assert!(subjects(&anna.get("/me/events").await).is_empty());
    let other = made["id"].as_str().unwrap().to_uppercase();
    let got = anna.send("GET", &format!("/me/events/{}", encoded(&other)), &Value::Null).await;
    assert_eq!(refused(&got), refusal(400, "ErrorInvalidIdMalformed"));
}

#[tokio::test]
async fn lists_come_in_pages() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    for n in 0..5 {
        anna.create(&meeting(&format!("e{n}"), "2026-03-09", 8 + n)).await;
    }
    let mut link = "/me/events?$top=2&$select=subject&$count=true".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = anna.get(&link).await;
        assert_eq!(page["@odata.count"], 5);
        seen.extend(subjects(&page).into_iter().map(str::to_owned));
        assert_eq!(
            page["value"][0].as_object().unwrap().keys().collect::<Vec<_>>(),
            ["@odata.etag", "id", "subject"]
        );
        match page["@odata.nextLink"].as_str() {
            Some(next) => next.clone_into(&mut link),
            None => break,
        }
    }
    assert_eq!(seen, ["e0", "e1", "e2", "e3", "e4"]);
    let view = "/me/calendarView?startDateTime=2026-03-09T08:30:00Z&endDateTime=2026-03-09T10:00:00Z";
    assert_eq!(subjects(&anna.get(view).await), ["e1", "e2"]);
}

#[tokio::test]
async fn calendars_can_be_made_renamed_and_deleted() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let list = anna.get("/me/calendars").await;
    conforms("calendarCollection", &list).unwrap();
    assert_eq!(list["value"][0]["id"], anna.get("/me/calendar").await["id"]);
    let made = anna.send("POST", "/me/calendars", &json!({ "name": "CRM" })).await;
    assert_eq!(made.status, 201);
    let path = format!("/me/calendars/{}", encoded(made.json()["id"].as_str().unwrap()));
    assert_eq!(
        refused(&anna.send("POST", "/me/calendars", &json!({ "name": "CRM" })).await),
        refusal(409, "ErrorFolderExists")
    );
    assert_eq!(anna.send("PATCH", &path, &json!({ "name": "Kanzlei" })).await.json()["name"], "Kanzlei");
    let event = anna.send("POST", &format!("{path}/events"), &meeting("x", "2026-03-09", 9)).await.json();
    assert_eq!(anna.send("DELETE", &path, &Value::Null).await.status, 204);
    assert_eq!(anna.send("GET", &event_path(&event), &Value::Null).await.status, 404);
    assert_eq!(anna.send("DELETE", "/me/calendars/none", &Value::Null).await.status, 404);
    let settings = anna.get("/me/mailboxSettings").await;
    conforms("mailboxSettings", &settings).unwrap();
    assert_eq!(settings["timeZone"], "W. Europe Standard Time");
    assert!(anna.get("/me/outlook/supportedTimeZones()").await["value"].as_array().unwrap().len() > 100);
    world.assert_inside_description();
}

#[tokio::test]
async fn a_mailbox_may_be_closed_or_somebody_elses() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let got = anna.send("GET", &format!("/users/{BERND}/events"), &Value::Null).await;
    assert_eq!(refused(&got), refusal(403, "ErrorAccessDenied"));
    for (problem, status, code) in [
        ("access_denied", 403, "ErrorAccessDenied"),
        ("not_enabled", 404, "MailboxNotEnabledForRESTAPI"),
        ("none_there", 404, "ErrorNonExistentMailbox"),
    ] {
        world.control("POST", "mailboxes/problem", json!({ "mailbox": ANNA, "problem": problem }));
        assert_eq!(refused(&anna.send("GET", "/me/events", &Value::Null).await), refusal(status, code));
    }
    world.control("POST", "mailboxes/problem", json!({ "mailbox": ANNA, "problem": null }));
    anna.get("/me/events").await;
    let tokens = world.redeem(&world.code(BERND, "User.Read").await).await.json();
    let bernd = world.client_with(tokens["access_token"].as_str().unwrap());
    assert_eq!(
        refused(&bernd.send("GET", "/me/events", &Value::Null).await),
        refusal(403, "ErrorAccessDenied")
    );
}

#[tokio::test]
async fn a_person_works_at_the_screen() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let fields = with(meeting("von Hand", "2026-03-09", 9), json!({ "mailbox": ANNA }));
    let id = world.microsoft.create_as_person(&object(fields)).unwrap();
    let held = anna.preferring("IdType=\"ImmutableId\"").get("/me/events").await;
    assert_eq!(held["value"][0]["id"], json!(id));
    world.microsoft.edit_as_person(&id, &object(json!({ "subject": "anders", "showAs": "Free" }))).unwrap();
    assert_eq!(world.microsoft.record(&id).unwrap()["showAs"], "free");
    assert!(world.microsoft.edit_as_person(&id, &object(json!({ "subjekt": "x" }))).is_err());
    world.microsoft.delete_as_person(&id).unwrap();
    assert!(world.microsoft.delete_as_person(&id).is_err());
    let seeded = with(meeting("war da", "2026-03-09", 9), json!({ "mailbox": BERND }));
    world.microsoft.seed(object(seeded)).unwrap();
    let actors: Vec<ActorKind> = world.microsoft.journal().iter().map(|entry| entry.actor_kind).collect();
    assert_eq!(actors, [ActorKind::Person, ActorKind::Person, ActorKind::Person, ActorKind::Seed]);
}

#[tokio::test]
async fn an_online_meeting_lives_in_its_body() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let body = with(
        meeting("x", "2026-03-09", 9),
        json!({ "isOnlineMeeting": true, "onlineMeetingProvider": "teamsForBusiness" }),
    );
    let made = anna.create(&body).await;
    let url = made["onlineMeeting"]["joinUrl"].as_str().unwrap().to_owned();
    assert!(made["body"]["content"].as_str().unwrap().contains(&url));
    conforms("event", &made).unwrap();
    let kept = anna.patch(&made, &json!({ "subject": "y", "isOnlineMeeting": false })).await;
    assert_eq!((&kept["onlineMeeting"]["joinUrl"], &kept["isOnlineMeeting"]), (&json!(url), &json!(true)));
    let lost = anna.patch(&made, &json!({ "body": { "contentType": "html", "content": "new" } })).await;
    assert_eq!(lost["onlineMeeting"], Value::Null);
}

#[tokio::test]
async fn a_zone_may_be_unreadable() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let name = "tzone://Microsoft/Custom";
    let custom = json!({ "originalStartTimeZone": name, "originalEndTimeZone": name });
    world.microsoft.create_as_person(&object(with(custom, meeting("x", "2026-03-09", 9)))).unwrap();
    let shown = anna.get("/me/events").await["value"][0].clone();
    assert_eq!(shown["originalStartTimeZone"], name);
    assert_eq!(shown["start"], json!({ "dateTime": "2026-03-09T08:00:00.0000000", "timeZone": "UTC" }));
    let zone = "W. Europe Standard Time";
    let moved = anna.patch(&shown, &meeting("x", "2026-03-09", 10)).await;
    assert_eq!(
        (&moved["originalStartTimeZone"], &moved["originalEndTimeZone"]),
        (&json!(zone), &json!(zone))
    );
}
