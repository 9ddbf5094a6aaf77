//! Reading a calendar by changes, and by lists.

use std::collections::BTreeSet;

use flows::calendar::client::{CalendarProvider as _, Item};
use flows::calendar::cursor::{Next, Request};
use flows::calendar::event::{OriginalStart, Place};
use flows::calendar::sides::Stamp;
use serde_json::json;
use simulators::MicrosoftOptions;

use super::world::{ANNA, World, anna, found, meeting, page, round, weekly, window};

fn ids(items: &[Item]) -> BTreeSet<String> {
    items.iter().map(|item| item.id().to_owned()).collect()
}

/// The id of one of a series, as a person sees it.
async fn occurrence(world: &World, series: &str, at: usize) -> String {
    let instances = world.calendar.instances(series, &window()).await.unwrap().unwrap();
    instances.found[at].id().to_owned()
}

#[tokio::test]
async fn a_calendar_is_read_in_pages_and_then_by_changes() {
    let world = World::start(MicrosoftOptions {
        empty_page_chance: 0.3,
        replay_chance: 0.3,
        ..MicrosoftOptions::default()
    })
    .await;
    let mut expected = BTreeSet::new();
    for day in 2..9 {
        expected.insert(world.seed(meeting("x", &format!("2026-03-{day:02}"), 9)));
    }
    let series = world.seed(weekly("series", "2026-03-03", 14, "tuesday"));
    let moved = occurrence(&world, &series, 1).await;
    world.edit(&moved, json!({ "subject": "moved by itself" }));
    world.seed(meeting("outside", "2026-05-01", 9));
    expected.extend([series.clone(), moved.clone()]);

    let (items, token, pages) = world.round(Request::Full(window()), 2).await;
    assert_eq!(ids(&items), expected, "no occurrence that is as its rule makes it");
    assert!(pages > 3, "{pages}");
    let exception = items.iter().find(|item| item.id() == moved).unwrap();
    let side = found(exception);
    let original = OriginalStart::At("2026-03-10T13:00:00Z".parse().unwrap());
    assert_eq!(side.event.place, Place::Exception { series_id: series.clone(), original });
    assert_eq!((side.stamp.clone(), side.event.subject.as_str()), (Stamp::Unread, "moved by itself"));
    let master = items.iter().find(|item| item.id() == series).unwrap();
    assert!(!found(master).gaps_known && found(master).event.place.series().is_some());

    // What changed since, and nothing else.
    let mut all = expected.into_iter().filter(|id| *id != series && *id != moved);
    let (edited, deleted) = (all.next().unwrap(), all.next().unwrap());
    world.edit(&edited, json!({ "subject": "edited" }));
    world.microsoft.delete_as_person(&deleted).unwrap();
    let away = all.next().unwrap();
    world.edit(&away, meeting("away", "2026-06-01", 9));
    let (items, token, _) = world.round(Request::Changes(token.unwrap()), 100).await;
    let news: BTreeSet<String> = [edited, deleted.clone(), away.clone()].into();
    assert!(ids(&items).is_superset(&news), "{items:?}");
    for id in [&deleted, &away] {
        let removed = Item::Removed { id: id.clone(), is_certain: false, of_series: None };
        assert_eq!(items.iter().rfind(|item| item.id() == id), Some(&removed));
    }
    assert!(world.calendar.get(&deleted).await.unwrap().is_none());
    assert_eq!(world.get(&away).await.event.subject, "away", "it is still there");
    assert!(token.is_some());
    world.check();
}

#[tokio::test]
async fn an_expired_link_is_told_at_any_page_and_in_any_words() {
    let deaths = ["gone_with_location", "gone", "resync_required", "bad_request", "not_found"];
    for (after, death) in deaths.into_iter().enumerate() {
        let world = World::new().await;
        for day in 2..12 {
            world.seed(meeting("x", &format!("2026-03-{day:02}"), 9));
        }
        world.control("delta/expire", json!({ "mailbox": ANNA, "after_requests": after, "death": death }));
        let mut request = Request::Full(window());
        let mut pages = 0;
        while let Some(page) = world.page(&request, 1).await {
            pages += 1;
            let Next::Page(page) = page.next else { panic!("the round came to its end") };
            request = Request::Page { page, token: None };
        }
        assert_eq!(pages, after + 1, "{death}");
        let (items, token, _) = world.round(Request::Full(window()), 100).await;
        assert_eq!(items.len(), 10);
        world.control("delta/expire", json!({ "mailbox": ANNA, "death": death }));
        assert!(world.page(&Request::Changes(token.unwrap()), 100).await.is_none(), "{death}");
        world.check();
    }
}

#[tokio::test]
async fn a_link_to_another_host_is_never_followed() {
    let world = World::new().await;
    let before = world.microsoft.counters();
    let foreign =
        Request::Changes("https://evil.example/v1.0/me/calendarView/delta?$deltatoken=x".to_owned());
    assert!(world.page(&foreign, 100).await.is_none());
    assert_eq!(world.microsoft.counters(), before);
}

#[tokio::test]
async fn a_calendar_is_read_without_tokens() {
    let world = World::new().await;
    let mut expected = BTreeSet::new();
    for day in 2..9 {
        expected.insert(world.seed(meeting("x", &format!("2026-03-{day:02}"), 9)));
    }
    for hour in 10..16 {
        expected.insert(world.seed(weekly("series", "2026-02-03", hour, "tuesday")));
    }
    let series = world.seed(weekly("exceptional", "2026-03-03", 16, "tuesday"));
    let changed = occurrence(&world, &series, 0).await;
    world.edit(&changed, json!({ "subject": "changed" }));
    expected.extend([series, changed]);
    let (items, token, pages) = world.round(Request::Listing(window()), 12).await;
    assert_eq!((ids(&items), token), (expected, None));
    assert!(pages > 2);
    let batches = world.count("POST /v1.0/$batch");
    let single = world.count("GET /v1.0/me/events/{event-id}");
    assert!(batches >= 2 && single <= 4, "series are read several at once: {batches}, {single}");
    world.check();
}

#[tokio::test]
async fn a_named_calendar_has_its_own_events() {
    let world = World::new().await;
    let id = world.control("calendars", json!({ "mailbox": ANNA, "name": "Gericht" }))["id"].clone();
    let mut event = meeting("there", "2026-03-05", 9);
    event["calendar"] = id.clone();
    let there = world.seed(event);
    let here = world.seed(meeting("here", "2026-03-05", 9));
    let named = world.outlook.open(&anna(), world.tokens.clone(), id.as_str()).unwrap();
    let (items, token, _) = round(&*named, Request::Full(window()), 100).await;
    assert_eq!(ids(&items), BTreeSet::from([there.clone()]));
    assert_eq!(ids(&world.round(Request::Full(window()), 100).await.0), BTreeSet::from([here]));
    world.edit(&there, json!({ "subject": "edited" }));
    let changes = page(&*named, &Request::Changes(token.unwrap()), 100).await.unwrap();
    assert_eq!(found(&changes.items[0]).event.subject, "edited");
    assert!(world.outlook.open(&anna(), world.tokens.clone(), Some("..")).is_err());
    world.check();
}

#[tokio::test]
async fn whose_it_is_is_asked_once_and_a_zone_without_name_is_that_of_the_mailbox() {
    let world = World::new().await;
    let owner = world.calendar.owner().await.unwrap();
    assert_eq!(owner.mail, ANNA);
    let mut event = meeting("x", "2026-03-05", 9);
    event["originalStartTimeZone"] = json!("tzone://Microsoft/Custom");
    let id = world.seed(event);
    for _ in 0..3 {
        assert_eq!(world.get(&id).await.event.zone().unwrap().iana_name(), Some("Europe/Berlin"));
    }
    assert_eq!((world.count("GET /v1.0/me"), world.count("GET /v1.0/me/mailboxSettings")), (1, 1));
    world.check();
}
