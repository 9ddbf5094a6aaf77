//! Delta rounds: pages, what changed, what left the window, links that die.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use simulators::MicrosoftOptions;
use simulators::microsoft::conforms;

use super::client::{ANNA, BERND, Client, World, encoded, event_path, meeting, weekly, with};
use crate::replay::object;

const FIRST: &str =
    "/me/calendarView/delta?startDateTime=2026-03-01T00:00:00Z&endDateTime=2026-04-01T00:00:00Z";

fn ids(items: &[Value]) -> Vec<&Value> {
    items.iter().map(|item| &item["id"]).collect()
}

fn is_removed(item: &Value) -> bool {
    conforms("removedItem", item).is_ok()
}

async fn many(client: &Client, count: u8) -> Vec<Value> {
    let mut made = Vec::new();
    for n in 0..count {
        made.push(client.create(&meeting(&format!("e{n}"), "2026-03-09", 6 + n)).await);
    }
    made
}

#[tokio::test]
async fn a_round_comes_in_pages_and_the_next_one_has_what_changed() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let made = many(&anna, 5).await;
    let outside = anna.create(&meeting("draußen", "2026-05-04", 10)).await;
    let paged = anna.preferring("odata.maxpagesize=2");
    let first = paged.get(FIRST).await;
    assert_eq!(first["value"].as_array().unwrap().len(), 2);
    assert!(first["@odata.nextLink"].as_str().unwrap().starts_with(&world.microsoft.base_url()));
    let (items, delta) = paged.round(FIRST).await;
    assert_eq!(ids(&items), ids(&made), "what lies outside is not shown");
    for item in &items {
        assert_eq!(item["@odata.type"], "#microsoft.graph.event");
        conforms("event", item).unwrap();
    }
    let (nothing, again) = anna.round(&delta).await;
    assert!(nothing.is_empty());

    anna.patch(&made[1], &json!({ "subject": "neu" })).await;
    anna.delete(&made[2]).await;
    anna.patch(&made[3], &meeting("hinaus", "2026-06-01", 10)).await;
    anna.patch(&outside, &json!({ "subject": "auch draußen" })).await;
    let added = anna.create(&meeting("dazu", "2026-03-10", 10)).await;
    for link in [&delta, &again] {
        let (items, _) = anna.round(link).await;
        let told: BTreeMap<String, bool> =
            items.iter().map(|item| (item["id"].as_str().unwrap().to_owned(), is_removed(item))).collect();
        let expected =
            [(&made[1], false), (&made[2], true), (&made[3], true), (&outside, true), (&added, false)];
        let expected = expected.map(|(event, removed)| (event["id"].as_str().unwrap().to_owned(), removed));
        assert_eq!(told, BTreeMap::from(expected));
    }
    world.assert_inside_description();
}

#[tokio::test]
async fn a_series_comes_with_its_occurrences_cut_to_seven_members() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let master =
        anna.create(&with(meeting("jour fixe", "2026-02-02", 10), weekly("2026-02-02", "monday"))).await;
    let paged = anna.preferring("odata.maxpagesize=2, IdType=\"ImmutableId\"");
    let (items, delta) = paged.round(FIRST).await;
    assert_eq!(items.len(), 6, "a series is not split: the master and five Mondays");
    assert_eq!((&items[0]["type"], &items[0]["subject"]), (&json!("seriesMaster"), &json!("jour fixe")));
    for item in &items[1..] {
        conforms("deltaOccurrence", item).unwrap();
        assert_eq!(item["seriesMasterId"], items[0]["id"]);
        assert_eq!(item.as_object().unwrap().len(), 7);
    }
    let exception = paged.patch(&items[2], &meeting("verlegt", "2026-03-10", 10)).await;
    paged.delete(&items[3]).await;
    let (items, delta) = paged.round(&delta).await;
    let kinds: Vec<&str> = items.iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["seriesMaster", "occurrence", "exception", "occurrence", "occurrence"]);
    assert_eq!(
        (&items[2]["id"], &items[2]["originalStart"]),
        (&exception["id"], &json!("2026-03-09T09:00:00Z"))
    );
    paged.patch(&master, &weekly("2026-02-02", "Tuesday")).await;
    let got = paged
        .send(
            "PATCH",
            &event_path(&master),
            &json!({ "recurrence": {
        "pattern": { "type": "weekly", "interval": 1, "daysOfWeek": ["tuesday"] },
        "range": { "type": "endDate", "startDate": "2026-02-03", "endDate": "2026-02-10" } } }),
        )
        .await;
    assert_eq!(got.status, 200);
    let (items, _) = paged.round(&delta).await;
    assert_eq!(items.len(), 1);
    assert!(is_removed(&items[0]), "a series that ended before the window is as one that is gone");
}

#[tokio::test]
async fn an_exception_that_left_the_window_is_removed_alone() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    anna.create(&with(meeting("x", "2026-03-09", 10), weekly("2026-03-09", "monday"))).await;
    let (items, delta) = anna.round(FIRST).await;
    let last = items.last().unwrap();
    assert_eq!(last["start"]["dateTime"], "2026-03-30T08:00:00.0000000");
    anna.patch(last, &meeting("x", "2026-04-02", 10)).await;
    let (items, _) = anna.round(&delta).await;
    assert_eq!(
        items.iter().filter(|item| is_removed(item)).map(|item| &item["id"]).collect::<Vec<_>>(),
        [&last["id"]]
    );
}

#[tokio::test]
async fn a_deleted_occurrence_may_come_as_nothing_at_all() {
    let options = MicrosoftOptions { deleted_occurrences_show: false, ..MicrosoftOptions::default() };
    let world = World::start(options).await;
    let anna = world.client(ANNA).await;
    let master = anna.create(&with(meeting("x", "2026-03-09", 10), weekly("2026-03-09", "monday"))).await;
    let (items, delta) = anna.round(FIRST).await;
    anna.delete(&items[2]).await;
    assert!(anna.round(&delta).await.0.is_empty());
    let window = "startDateTime=2026-03-01T00:00:00Z&endDateTime=2026-04-01T00:00:00Z";
    let left = anna.get(&format!("{}/instances?{window}", event_path(&master))).await;
    assert_eq!(left["value"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn what_changes_during_a_round_comes_in_the_next() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    let made = many(&anna, 4).await;
    let paged = anna.preferring("odata.maxpagesize=2");
    let page = paged.get(FIRST).await;
    anna.patch(&made[3], &json!({ "subject": "neu" })).await;
    let late = anna.create(&meeting("spät", "2026-03-10", 10)).await;
    let (items, delta) = paged.round(page["@odata.nextLink"].as_str().unwrap()).await;
    assert_eq!(ids(&items), [&made[2]["id"]]);
    let (items, _) = paged.round(&delta).await;
    assert_eq!(ids(&items), [&made[3]["id"], &late["id"]]);
}

#[tokio::test]
async fn the_function_refuses_what_it_cannot() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    for option in ["$select=subject", "$filter=x", "$expand=x", "$orderby=start", "$search=x"] {
        assert_eq!(
            anna.send("GET", &format!("{FIRST}&{option}"), &Value::Null).await.status,
            400,
            "{option}"
        );
    }
    for path in [
        "/me/calendarView/delta",
        "/me/calendarView/delta?startDateTime=2026-03-01T00:00:00Z",
        "/me/calendarView/delta?startDateTime=x&endDateTime=2026-03-01T00:00:00Z",
        "/me/calendarView/delta?startDateTime=2026-03-02T00:00:00Z&endDateTime=2026-03-01T00:00:00Z",
        "/me/calendarView/delta?$deltatoken=made-up",
    ] {
        assert_eq!(anna.send("GET", path, &Value::Null).await.status, 400, "{path}");
    }
    let (_, delta) = anna.round(FIRST).await;
    let bernd = world.client(BERND).await;
    assert_eq!(bernd.send("GET", &delta, &Value::Null).await.status, 400, "a link is of one calendar");
    let window = "startDateTime=2026-03-01T00:00:00Z&endDateTime=2026-04-01T00:00:00Z";
    let id = encoded(anna.get("/me/calendar").await["id"].as_str().unwrap());
    anna.create(&meeting("x", "2026-03-09", 9)).await;
    for path in [
        format!("/me/calendars/{id}/calendarView/delta?{window}"),
        format!("/me/calendarView/delta()?{window}"),
        format!("/users/{ANNA}/calendarView/microsoft.graph.delta()?{window}"),
    ] {
        let (items, delta) = anna.round(&path).await;
        assert_eq!(items.len(), 1, "{path}");
        assert!(anna.round(&delta).await.0.is_empty());
    }
}

#[tokio::test]
async fn a_link_dies_at_any_page_in_every_way() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    many(&anna, 6).await;
    let paged = anna.preferring("odata.maxpagesize=2");
    for (death, status, code) in [
        ("gone_with_location", 410, "SyncStateNotFound"),
        ("gone", 410, "SyncStateNotFound"),
        ("resync_required", 410, "resyncRequired"),
        ("bad_request", 400, "syncStateNotFound"),
        ("not_found", 404, "SyncStateInvalid"),
    ] {
        for after in 0..3 {
            let mut link = paged.get(FIRST).await["@odata.nextLink"].as_str().unwrap().to_owned();
            let expire = json!({ "mailbox": ANNA, "after_requests": after, "death": death });
            world.control("POST", "delta/expire", expire);
            for _ in 0..after {
                let page = paged.get(&link).await;
                let next = page["@odata.nextLink"].as_str().or(page["@odata.deltaLink"].as_str());
                next.unwrap().clone_into(&mut link);
            }
            let got = paged.send("GET", &link, &Value::Null).await;
            assert_eq!(
                (got.status, super::client::code_of(&got)),
                (status, code.to_owned()),
                "{death} {after}"
            );
            assert_eq!(paged.send("GET", &link, &Value::Null).await.status, status, "and it stays dead");
            let location = got.header("location");
            assert_eq!(location.is_some(), death == "gone_with_location");
            let (items, _) = paged.round(location.unwrap_or(FIRST)).await;
            assert_eq!(items.len(), 6);
        }
    }
    let (_, delta) = anna.round(FIRST).await;
    world.control("POST", "delta/expire", json!({}));
    assert_eq!(anna.send("GET", &delta, &Value::Null).await.status, 410);
}

#[tokio::test]
async fn a_link_may_live_for_a_set_time_only() {
    let options = MicrosoftOptions { delta_token_hours: Some(1), ..MicrosoftOptions::default() };
    let world = World::start(options).await;
    let anna = world.client(ANNA).await;
    let (_, delta) = anna.round(FIRST).await;
    world.pass(3_500);
    let (_, delta) = anna.round(&delta).await;
    world.pass(3_601);
    let anna = world.client(ANNA).await;
    assert_eq!(anna.send("GET", &delta, &Value::Null).await.status, 410);
}

#[tokio::test]
async fn pages_may_be_empty_or_show_something_again() {
    let options =
        MicrosoftOptions { empty_page_chance: 0.5, replay_chance: 0.5, ..MicrosoftOptions::default() };
    let world = World::start(options).await;
    let anna = world.client(ANNA).await;
    let made = many(&anna, 12).await;
    let paged = anna.preferring("odata.maxpagesize=1");
    let (mut link, mut pages, mut seen) = (FIRST.to_owned(), Vec::new(), Vec::new());
    loop {
        let page = paged.get(&link).await;
        pages.push(page["value"].as_array().unwrap().len());
        seen.extend(page["value"].as_array().unwrap().clone());
        match page["@odata.nextLink"].as_str() {
            Some(next) => {
                assert_ne!(next, link);
                next.clone_into(&mut link);
            }
            None => break,
        }
    }
    assert!(pages.contains(&0), "{pages:?}");
    assert!(seen.len() > made.len(), "something was shown again");
    let distinct: BTreeSet<&str> = seen.iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(distinct.len(), made.len());
}

#[tokio::test]
async fn a_change_takes_its_time() {
    let options = MicrosoftOptions { delta_delay_seconds: 60, ..MicrosoftOptions::default() };
    let world = World::start(options).await;
    let anna = world.client(ANNA).await;
    let (_, delta) = anna.round(FIRST).await;
    let made = anna.create(&meeting("x", "2026-03-09", 9)).await;
    let (nothing, delta) = anna.round(&delta).await;
    assert!(nothing.is_empty());
    world.pass(61);
    assert_eq!(ids(&anna.round(&delta).await.0), [&made["id"]]);
}

#[tokio::test]
async fn what_moved_to_another_calendar_is_removed_here_and_there_it_is() {
    let world = World::new().await;
    let anna = world.client(ANNA).await.preferring("IdType=\"ImmutableId\"");
    let calendar =
        world.control("POST", "calendars", json!({ "mailbox": ANNA, "name": "Privat" }))["id"].clone();
    let other = FIRST.replace("/me/", &format!("/me/calendars/{}/", encoded(calendar.as_str().unwrap())));
    let made = anna.create(&meeting("x", "2026-03-09", 9)).await;
    let ((_, here), (_, there)) = (anna.round(FIRST).await, anna.round(&other).await);
    let id = made["id"].as_str().unwrap();
    world.microsoft.edit_as_person(id, &object(json!({ "calendar": calendar }))).unwrap();
    let (here, there) = (anna.round(&here).await.0, anna.round(&there).await.0);
    assert!(is_removed(&here[0]) && ids(&here) == [&made["id"]]);
    assert_eq!((ids(&there), &there[0]["subject"]), (vec![&made["id"]], &json!("x")));
}

#[tokio::test]
async fn a_round_may_stand_still() {
    let world = World::new().await;
    let anna = world.client(ANNA).await;
    many(&anna, 6).await;
    let paged = anna.preferring("odata.maxpagesize=2");
    let link = paged.get(FIRST).await["@odata.nextLink"].as_str().unwrap().to_owned();
    world.control("POST", "delta/stall", json!({ "mailbox": ANNA, "times": 2 }));
    let stalled = [paged.get(&link).await, paged.get(&link).await];
    assert_eq!(stalled[0], stalled[1]);
    assert_eq!(stalled[0]["@odata.nextLink"], json!(link));
    assert_eq!(paged.round(&link).await.0.len(), 4);
}
