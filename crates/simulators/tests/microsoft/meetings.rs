//! Meetings in several mailboxes, and the mails that writes send.

use serde_json::{Value, json};

use super::client::{
    ANNA, BERND, CLARA, Client, World, attendees, code_of, event_path, meeting, weekly, with,
};
use crate::replay::object;

fn mail(kind: &str, to: &str) -> (String, String) {
    (kind.to_owned(), to.to_owned())
}

async fn only(client: &Client) -> Value {
    let list = client.get("/me/events").await;
    let [event] = list["value"].as_array().unwrap().as_slice() else { panic!("{list}") };
    event.clone()
}

fn status_of<'a>(event: &'a Value, address: &str) -> &'a Value {
    let all = event["attendees"].as_array().unwrap();
    &all.iter().find(|attendee| attendee["emailAddress"]["address"] == address).unwrap()["status"]["response"]
}

#[tokio::test]
async fn everybody_has_a_copy_and_every_loud_write_sends_mail() {
    let world = World::new().await;
    let (anna, bernd, clara) =
        (world.client(ANNA).await, world.client(BERND).await, world.client(CLARA).await);
    let made = anna
        .create(&with(meeting("Vergleich", "2026-03-09", 10), attendees(&[BERND, "gast@example.com"])))
        .await;
    assert_eq!(world.mails(), [mail("invitation", BERND), mail("invitation", "gast@example.com")]);
    let copy = only(&bernd).await;
    assert_eq!(
        (&copy["iCalUId"], &copy["subject"], &copy["start"]),
        (&made["iCalUId"], &made["subject"], &made["start"])
    );
    assert_eq!(
        (&copy["isOrganizer"], &copy["organizer"]["emailAddress"]["address"]),
        (&json!(false), &json!(ANNA))
    );
    assert_eq!(
        (&copy["responseStatus"]["response"], &copy["showAs"]),
        (&json!("notResponded"), &json!("tentative"))
    );
    assert_ne!(copy["id"], made["id"]);
    assert_eq!(made["responseStatus"]["response"], "organizer");

    anna.patch(
        &made,
        &json!({ "showAs": "free", "isReminderOn": false, "categories": ["x"], "sensitivity": "private" }),
    )
    .await;
    assert_eq!(world.mails().len(), 2, "what is one's own is quiet");
    assert_eq!(only(&bernd).await["@odata.etag"], copy["@odata.etag"]);
    anna.patch(&made, &json!({ "location": { "displayName": "Saal" } })).await;
    assert_eq!(world.mails()[2..], [mail("update", BERND), mail("update", "gast@example.com")]);
    assert_eq!(only(&bernd).await["location"]["displayName"], "Saal");

    anna.patch(&made, &attendees(&[BERND, CLARA])).await;
    assert_eq!(
        world.mails()[4..],
        [mail("update", BERND), mail("invitation", CLARA), mail("cancellation", "gast@example.com")]
    );
    assert_eq!(only(&clara).await["iCalUId"], made["iCalUId"]);
    anna.delete(&made).await;
    assert_eq!(world.mails()[7..], [mail("cancellation", BERND), mail("cancellation", CLARA)]);
    let cancelled = only(&bernd).await;
    assert_eq!(
        (&cancelled["isCancelled"], &cancelled["subject"], &cancelled["showAs"]),
        (&json!(true), &json!("Canceled: Vergleich"), &json!("free"))
    );
    bernd.delete(&cancelled).await;
    assert_eq!(world.mails().len(), 9, "taking a copy away sends nothing");
    world.assert_inside_description();
}

#[tokio::test]
async fn an_attendee_changes_what_is_his_own_alone() {
    let world = World::new().await;
    let (anna, bernd) = (world.client(ANNA).await, world.client(BERND).await);
    anna.create(&with(meeting("Vergleich", "2026-03-09", 10), attendees(&[BERND]))).await;
    let copy = only(&bernd).await;
    let got = bernd.send("PATCH", &event_path(&copy), &json!({ "subject": "x" })).await;
    assert_eq!((got.status, code_of(&got)), (403, "ErrorAccessDenied".to_owned()));
    bernd.patch(&copy, &json!({ "categories": ["x"], "showAs": "busy" })).await;
    assert_eq!(bernd.send("POST", &format!("{}/cancel", event_path(&copy)), &json!({})).await.status, 400);
    assert_eq!(world.mails().len(), 1);
}

#[tokio::test]
async fn an_answer_shows_at_the_organisers() {
    let world = World::new().await;
    let (anna, bernd, clara) =
        (world.client(ANNA).await, world.client(BERND).await, world.client(CLARA).await);
    let made = anna.create(&with(meeting("Vergleich", "2026-03-09", 10), attendees(&[BERND, CLARA]))).await;
    let copy = only(&bernd).await;
    let got = bernd
        .send(
            "POST",
            &format!("{}/accept", event_path(&copy)),
            &json!({ "comment": "ja", "sendResponse": true }),
        )
        .await;
    assert_eq!(got.status, 202);
    assert_eq!(only(&bernd).await["responseStatus"]["response"], "accepted");
    let held = anna.get(&event_path(&made)).await;
    assert_eq!((status_of(&held, BERND), status_of(&held, CLARA)), (&json!("accepted"), &json!("none")));
    assert_ne!(held["@odata.etag"], made["@odata.etag"]);
    assert_eq!(world.mails()[2..], [mail("response", ANNA)]);

    anna.patch(&made, &meeting("Vergleich", "2026-03-10", 10)).await;
    assert_eq!(only(&bernd).await["responseStatus"]["response"], "notResponded", "a new time asks anew");
    let theirs = world.microsoft.records();
    let theirs =
        theirs.iter().find(|event| event["mailbox"] == CLARA).unwrap()["id"].as_str().unwrap().to_owned();
    let answer = json!({ "response": "declined", "sendResponse": false });
    world.microsoft.edit_as_person(&theirs, &object(answer)).unwrap();
    assert_eq!(clara.get("/me/events").await["value"], json!([]), "a declined meeting leaves the calendar");
    assert_eq!(status_of(&anna.get(&event_path(&made)).await, CLARA), &json!("none"), "nobody was told");
    assert_eq!(world.mails().len(), 5);
    assert_eq!(anna.send("POST", &format!("{}/accept", event_path(&made)), &json!({})).await.status, 400);
}

#[tokio::test]
async fn a_series_is_shared_with_its_exceptions() {
    let world = World::new().await;
    let (anna, bernd) = (world.client(ANNA).await, world.client(BERND).await);
    let body = with(meeting("jour fixe", "2026-03-09", 10), weekly("2026-03-09", "monday"));
    let made = anna.create(&with(body, attendees(&[BERND]))).await;
    let window = "startDateTime=2026-03-01T00:00:00Z&endDateTime=2026-04-01T00:00:00Z";
    let of = async |client: &Client, event: &Value| {
        let list = client.get(&format!("{}/instances?{window}", event_path(event))).await;
        list["value"].as_array().unwrap().clone()
    };
    let own = of(&anna, &made).await;
    anna.patch(&own[1], &meeting("verlegt", "2026-03-17", 10)).await;
    anna.delete(&own[2]).await;
    assert_eq!(
        world.mails(),
        [mail("invitation", BERND), mail("update", BERND), mail("cancellation", BERND)]
    );
    let copy = only(&bernd).await;
    assert_eq!(copy["recurrence"], made["recurrence"]);
    let theirs = of(&bernd, &copy).await;
    let told: Vec<(&Value, &Value, &Value)> =
        theirs.iter().map(|one| (&one["subject"], &one["type"], &one["isCancelled"])).collect();
    let (yes, no) = (json!(true), json!(false));
    let (occurrence, exception) = (json!("occurrence"), json!("exception"));
    assert_eq!(
        told,
        [
            (&json!("jour fixe"), &occurrence, &no),
            (&json!("verlegt"), &exception, &no),
            (&json!("Canceled: jour fixe"), &exception, &yes),
            (&json!("jour fixe"), &occurrence, &no),
        ]
    );
    assert_eq!(of(&anna, &made).await.len(), 3);
}

#[tokio::test]
async fn what_was_there_before_sent_nothing_and_what_comes_from_outside_has_its_organiser() {
    let world = World::new().await;
    let bernd = world.client(BERND).await;
    let seeded =
        with(with(meeting("alt", "2026-03-09", 10), attendees(&[BERND])), json!({ "mailbox": ANNA }));
    world.microsoft.seed(object(seeded)).unwrap();
    assert_eq!(only(&bernd).await["subject"], "alt");
    let foreign = json!({ "mailbox": CLARA, "iCalUId": "foreign-1",
        "organizer": { "emailAddress": { "name": "Gast", "address": "gast@example.com" } } });
    let id = world
        .microsoft
        .create_as_person(&object(with(meeting("extern", "2026-03-09", 12), foreign)))
        .unwrap();
    let held = world.microsoft.record(&id).unwrap();
    assert_eq!((&held["isOrganizer"], &held["iCalUId"]), (&json!(false), &json!("foreign-1")));
    assert_eq!(held["organizer"]["emailAddress"]["address"], "gast@example.com");
    assert!(world.mails().is_empty());
    world.microsoft.edit_as_person(&id, &object(json!({ "response": "accepted" }))).unwrap();
    assert_eq!(world.mails(), [mail("response", "gast@example.com")]);
}

#[tokio::test]
async fn a_mail_tells_whether_a_client_or_a_person_sent_it() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let invitation = with(meeting("x", "2026-03-09", 10), attendees(&[BERND]));
    let id = world.microsoft.create_as_person(&object(invitation)).unwrap();
    world.microsoft.edit_as_person(&id, &object(json!({ "subject": "y" }))).unwrap();
    assert_eq!((world.mails().len(), world.microsoft.mails_by_clients().len()), (2, 0));
    anna.patch(&only(&anna).await, &json!({ "subject": "z" })).await;
    let sent = world.microsoft.mails_by_clients();
    assert_eq!((sent.len(), &sent[0]["kind"]), (1, &json!("update")));
}
