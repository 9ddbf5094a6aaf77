//! Lists by tokens, series and their instances.

use flows::calendar::client::{CalendarClient, Item, PageAnswer};
use flows::calendar::cursor::{Cursor, Kind, Next, Page, Reach, Request, Step, Why};
use flows::calendar::event::{OriginalStart, Place, Window};
use serde_json::json;

use super::*;

const REACH: Reach = Reach { back_days: 365, ahead_days: 90, page_events_max: 2 };

/// What a round brought: its items, and how often its token or a page's had expired.
struct Brought {
    items: Vec<Item>,
    pages: usize,
    expired: usize,
    kind: Kind,
}

impl Brought {
    fn ids(&self) -> Vec<&str> {
        self.items.iter().map(Item::id).collect()
    }

    fn unreadable(&self) -> Vec<String> {
        let why = |item: &Item| match item {
            Item::Found(found) => match &**found {
                Found::Unreadable { why, .. } => Some(why.clone()),
                Found::Event(_) => None,
            },
            Item::Removed { .. } => None,
        };
        self.items.iter().filter_map(why).collect()
    }
}

/// One round, as the flow plays it.
async fn round(client: &dyn CalendarClient, cursor: &mut Cursor) -> Brought {
    let mut brought = Brought { items: Vec::new(), pages: 0, expired: 0, kind: Kind::Changes };
    for _ in 0..100 {
        let request = cursor.request(&REACH, noon());
        brought.kind = cursor.round.as_ref().unwrap().kind;
        let read = match client.page(&request, cursor.page_events(&REACH)).await.unwrap() {
            PageAnswer::Expired => {
                brought.expired += 1;
                brought.items.clear();
                cursor.expired(&REACH, noon());
                continue;
            }
            PageAnswer::Page(read) => read,
        };
        brought.pages += 1;
        let page = Page {
            next: read.next,
            fingerprint: brought.pages as u64,
            new_events: read.items.len() as u64,
            is_empty: read.items.is_empty(),
        };
        brought.items.extend(read.items);
        match cursor.applied(&page, noon()) {
            Step::Continues => {}
            Step::Compare(_) | Step::Ended => return brought,
            Step::Looped => panic!("a loop"),
        }
    }
    panic!("no end")
}

#[tokio::test]
async fn a_calendar_is_read_in_pages_and_then_only_what_changed() {
    let world = World::new(options()).await;
    let client = world.open(ANNA);
    assert_eq!(client.owner().await.unwrap().mail, ANNA);
    let ids: Vec<String> = (2..7).map(|day| world.person_adds(ANNA, hour("A", day))).collect();
    let day = |day: &str| json!({"date": day});
    world.person_adds(
        ANNA,
        json!({"summary": "Long ago", "start": day("2020-01-01"), "end": day("2020-01-02")}),
    );
    let focus = with(hour("Think", 9), json!({"eventType": "focusTime"}));
    world.person_adds(ANNA, focus);
    let mut cursor = Cursor::default();
    let all = round(&*client, &mut cursor).await;
    let mut wanted: Vec<&str> = ids.iter().map(|id| id_of(id)).collect();
    wanted.sort_unstable();
    assert_eq!((all.ids(), all.pages, all.kind), (wanted, 3, Kind::Full(Why::First)));
    assert!(all.unreadable().is_empty());

    assert!(round(&*client, &mut cursor).await.items.is_empty());
    world.person_edits(&ids[0], json!({"summary": "B"}));
    world.google.delete_as_person(&ids[1]).unwrap();
    world.person_edits(&ids[2], json!({"start": {"dateTime": "2027-03-01T10:00:00+01:00"}, "end": {"dateTime": "2027-03-01T11:00:00+01:00"}}));
    let changes = round(&*client, &mut cursor).await;
    assert_eq!((changes.ids(), changes.kind), (ids[..3].iter().map(|id| id_of(id)).collect(), Kind::Changes));
    let removed: Vec<bool> = changes
        .items
        .iter()
        .map(|item| matches!(item, Item::Removed { is_certain: true, of_series: None, .. }))
        .collect();
    assert_eq!(removed, [false, true, false], "what left the window is there");
    assert_eq!(world.calls("calendar.calendarList.get"), 1, "whose calendar it is, is asked once");
    world.check();
}

#[tokio::test]
async fn a_token_that_expires_at_any_page_leads_to_a_whole_round_and_loses_nothing() {
    for empty in [None, Some(2)] {
        for page in 1..=4_u32 {
            for full in [true, false] {
                let world = World::new(options()).await;
                let client = world.open(ANNA);
                world.set(json!({"empty_page_every": empty}));
                let ids: Vec<String> = (2..9).map(|day| world.person_adds(ANNA, hour("A", day))).collect();
                let mut cursor = Cursor::default();
                if !full {
                    round(&*client, &mut cursor).await;
                    ids.iter().for_each(|id| world.person_edits(id, json!({"summary": "B"})));
                }
                world.set(json!({"expire_at_page": page}));
                let brought = round(&*client, &mut cursor).await;
                let mut wanted: Vec<&str> = ids.iter().map(|id| id_of(id)).collect();
                wanted.sort_unstable();
                assert_eq!((brought.ids(), brought.expired), (wanted, 1), "page {page} of {full}, {empty:?}");
                assert!(matches!(brought.kind, Kind::Full(_)));
                assert!(round(&*client, &mut cursor).await.items.is_empty(), "its token is good");
                world.check();
            }
        }
    }
}

#[tokio::test]
async fn every_token_can_expire_and_a_text_that_is_none_is_as_good_as_that() {
    let world = World::new(options()).await;
    let client = world.open(ANNA);
    world.person_adds(ANNA, hour("A", 2));
    let mut cursor = Cursor::default();
    round(&*client, &mut cursor).await;
    world.set(json!({"expire_sync_tokens": true}));
    let again = round(&*client, &mut cursor).await;
    assert_eq!((again.expired, again.items.len(), again.kind), (1, 1, Kind::Full(Why::Expired)));
    for request in [
        Request::Changes("nonsense".to_owned()),
        Request::Page { page: "nonsense".to_owned(), token: None },
        Request::Page { page: "2026-01-01T00:00:00Z||nonsense".to_owned(), token: None },
    ] {
        assert_eq!(client.page(&request, 2).await.unwrap(), PageAnswer::Expired, "{request:?}");
    }
    world.check();
}

#[tokio::test]
async fn the_whole_window_can_be_listed_without_tokens() {
    let world = World::new(options()).await;
    let client = world.open(ANNA);
    let ids: Vec<String> = (2..7).map(|day| world.person_adds(ANNA, hour("A", day))).collect();
    let window =
        Window { from: "2026-03-03T00:00:00Z".parse().unwrap(), to: "2026-03-06T00:00:00Z".parse().unwrap() };
    let (mut request, mut found) = (Request::Listing(window), Vec::new());
    loop {
        let PageAnswer::Page(read) = client.page(&request, 2).await.unwrap() else { panic!("expired") };
        found.extend(read.items.iter().map(|item| item.id().to_owned()));
        match read.next {
            Next::Page(page) => request = Request::Page { page, token: None },
            Next::End(token) => break assert_eq!(token, None),
        }
    }
    let mut wanted: Vec<&str> = ids[1..4].iter().map(|id| id_of(id)).collect();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
    world.check();
}

#[tokio::test]
async fn a_series_comes_as_such_with_what_deviates_from_it() {
    let world = World::new(options()).await;
    let client = world.open(ANNA);
    let weekly = with(
        hour("Weekly", 2),
        json!({"recurrence": ["RRULE:FREQ=WEEKLY;COUNT=6", "EXDATE;TZID=Europe/Berlin:20260309T100000"]}),
    );
    let master = world.person_adds(ANNA, weekly);
    world.person_edits(&format!("{master}_20260316T090000Z"), json!({"summary": "Moved",
        "start": {"dateTime": "2026-03-17T10:00:00+01:00"}, "end": {"dateTime": "2026-03-17T11:00:00+01:00"}}));
    world.google.delete_as_person(&format!("{master}_20260323T090000Z")).unwrap();
    let mut cursor = Cursor::default();
    let all = round(&*client, &mut cursor).await;
    let mut seen = Vec::new();
    for item in &all.items {
        match item {
            Item::Found(found) => match &**found {
                Found::Event(side) => match &side.event.place {
                    Place::Master(series) => seen.push(format!("master {}", series.to_lines().join(" "))),
                    Place::Exception { original, .. } => seen.push(format!("{} by itself", original.text())),
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            },
            Item::Removed { is_certain, of_series, .. } => {
                let (series, original) = of_series.as_ref().unwrap();
                assert_eq!((*is_certain, series.as_str()), (true, id_of(&master)));
                seen.push(format!("{} gone", original.text()));
            }
        }
    }
    assert_eq!(
        seen,
        [
            "master RRULE:FREQ=WEEKLY;BYDAY=MO;COUNT=6 EXDATE:20260309T090000Z",
            "2026-03-16T09:00:00Z by itself",
            "2026-03-23T09:00:00Z gone",
        ]
    );

    let window =
        Window { from: "2026-03-01T00:00:00Z".parse().unwrap(), to: "2026-04-05T00:00:00Z".parse().unwrap() };
    let instances = client.instances(id_of(&master), &window).await.unwrap().unwrap();
    let places: Vec<(bool, String)> = instances
        .found
        .iter()
        .map(|found| match found {
            Found::Event(side) => (
                matches!(side.event.place, Place::Exception { .. }),
                side.event.place.original().unwrap().text(),
            ),
            other @ Found::Unreadable { .. } => panic!("{other:?}"),
        })
        .collect();
    let at = |text: &str| format!("2026-{text}:00:00Z");
    assert_eq!(places, [(false, at("03-02T09")), (true, at("03-16T09")), (false, at("03-30T08"))]);
    assert_eq!(instances.cancelled, [OriginalStart::At(at("03-23T09").parse().unwrap())]);
    assert_eq!(client.instances("nothing", &window).await.unwrap(), None);

    // A change of one of them comes as that one.
    world.google.delete_as_person(&format!("{master}_20260330T080000Z")).unwrap();
    let changes = round(&*client, &mut cursor).await;
    assert!(
        matches!(changes.items.as_slice(), [Item::Removed { of_series: Some(_), .. }]),
        "{:?}",
        changes.items
    );
    world.google.delete_as_person(&master).unwrap();
    let changes = round(&*client, &mut cursor).await;
    assert!(
        changes
            .items
            .iter()
            .any(|item| matches!(item, Item::Removed { of_series: None, id, .. } if id == id_of(&master)))
    );
    world.check();
}

#[tokio::test]
async fn what_cannot_be_synchronised_is_told_and_spoils_no_page() {
    let world = World::new(options()).await;
    let client = world.open(ANNA);
    world.person_adds(ANNA, hour("Good", 2));
    let many: Vec<Value> = (0..5_000).map(|n| json!({"email": format!("guest{n}@example.org")})).collect();
    world.person_adds(ANNA, with(hour("Crowd", 3), json!({"attendees": many})));
    world.person_adds(ANNA, with(hour("Long", 4), json!({"description": "x".repeat(1_000_000)})));
    world.person_adds(
        ANNA,
        with(hour("Odd", 5), json!({"recurrence": ["RRULE:FREQ=WEEKLY", "EXRULE:FREQ=MONTHLY"]})),
    );
    let all = round(&*client, &mut Cursor::default()).await;
    assert_eq!(all.items.len(), 4);
    let why = all.unreadable();
    assert!(matches!(why.as_slice(), [one] if one.contains("EXRULE")), "{why:?}");
    world.check();
}
