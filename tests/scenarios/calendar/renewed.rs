//! Watches are renewed long before they end.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde_json::json;
use shared::clock::Clock as _;
use simulators::JournalEntry;

use super::affairs::Kind;
use super::crm;
use super::says::midnight;
use super::script::Edit;
use super::time::{FEW, connected, meeting};
use super::world::World;

/// Users 0 and 1 have Outlook and Google.
const USERS: [usize; 2] = [0, 1];
const DAYS: i64 = 20;
/// A watch is asked for six days.
const HALF_LIFE: SignedDuration = SignedDuration::from_hours(72);
/// Until the sweep after that.
const SWEEP: SignedDuration = SignedDuration::from_hours(4);

/// What Outlook and Google wrote down of their watches.
fn journals(world: &World) -> [Vec<JournalEntry>; 2] {
    [world.office.microsoft.journal_of("subscription"), world.office.google.journal_of("Channel")]
}

fn end(entry: &JournalEntry) -> Option<Timestamp> {
    let after = entry.after.as_ref()?;
    let text = after["expirationDateTime"].as_str().or(after["ends"].as_str())?;
    Some(text.parse().unwrap())
}

/// Watches of Outlook and Google that have neither been ended nor run out.
fn live(world: &World) -> [usize; 2] {
    let now = world.clock.now();
    journals(world).map(|journal| {
        let mut ends: BTreeMap<&str, Option<Timestamp>> = BTreeMap::new();
        for entry in &journal {
            ends.insert(&entry.record_id, end(entry));
        }
        ends.values().flatten().filter(|end| **end > now).count()
    })
}

#[tokio::test]
async fn watches_are_renewed_at_half_their_life_and_never_lapse() {
    let mut world = connected(&USERS).await;
    for day in 1..=DAYS {
        world.advance_to(midnight(FEW.first + day.days())).await;
        assert_eq!(live(&world), [1, 1], "day {day}");
    }
    let asked = journals(&world).map(|journal| {
        let times = journal.iter().filter(|entry| entry.after.is_some()).map(|entry| entry.at);
        times.collect::<Vec<_>>()
    });
    for times in &asked {
        assert!(times.len() >= 7, "{times:?}");
        for pair in times.windows(2) {
            let waited = pair[1].duration_since(pair[0]);
            assert!((HALF_LIFE..=HALF_LIFE + SWEEP).contains(&waited), "{times:?}");
        }
    }
    let [outlook, google] = asked.map(|times| u64::try_from(times.len()).unwrap());
    let counted = world.office.microsoft.counters();
    let sum = |method: &str| -> u64 {
        let begin = format!("{method} /v1.0/subscriptions");
        counted.iter().filter(|(name, _)| name.starts_with(&begin)).map(|(_, count)| count).sum()
    };
    assert_eq!((sum("POST"), sum("PATCH")), (1, outlook - 1), "Outlook's is made to last longer");
    let counted = world.office.google.counters();
    let ways = ["calendar.events.watch", "calendar.channels.stop"].map(|name| counted[name]);
    assert_eq!(ways, [google, google - 1], "Google's is followed by another one");

    let sweeps = world.engine.runs.sweeps;
    for user in USERS {
        let calendar = world.calendars_of(user)[0];
        world.perform(&Edit::Event { calendar, says: meeting(user), guests: Default::default(), rule: None });
    }
    world.quiet().await;
    assert_eq!(crm::all(&world.office.crm, Kind::Meeting).len(), USERS.len());
    assert_eq!(world.engine.runs.sweeps, sweeps, "they were told of");
}

#[tokio::test]
async fn a_watch_that_ran_out_while_nothing_ran_is_followed_by_another_one() {
    let mut world = connected(&USERS).await;
    world.clock.advance(Duration::from_secs(8 * 24 * 3_600));
    assert_eq!(live(&world), [0, 0]);
    world.sweep_now();
    world.quiet().await;
    assert_eq!(live(&world), [1, 1]);
}

/// Messages that wait under one key become one run, which would make only one of both of them.
#[tokio::test]
async fn what_outlook_says_of_its_watch_waits_apart_from_what_changed() {
    let mut world = connected(&USERS[..1]).await;
    let calendar = world.calendars_of(0)[0];
    world.perform(&Edit::Event { calendar, says: meeting(0), guests: Default::default(), rule: None });
    world.clock.advance(Duration::from_secs(60));
    world.hear().await;
    let removed = json!({ "event": "subscriptionRemoved" });
    world.office.microsoft.control("POST", "subscriptions/lifecycle", &removed).unwrap();
    let before = journals(&world)[0].len();
    world.hear().await;
    let keys = world.engine.waiting_keys();
    let of_watch = keys.iter().filter(|key| key.contains("watch.")).count();
    assert_eq!((keys.len(), of_watch), (2, 1), "{keys:?}");
    world.quiet().await;
    assert_eq!(journals(&world)[0].len(), before + 1, "it was asked for anew");
    assert_eq!(crm::all(&world.office.crm, Kind::Meeting).len(), 1);
}
