//! What is set for a user alone: how far, in what pages, and whether at all.

use std::collections::{BTreeMap, BTreeSet};

use flows::calendar::{UserSettings, WindowSettings};
use jiff::ToSpan as _;

use super::affairs::Kind;
use super::faults;
use super::installation::PAGE_EVENTS;
use super::says::{Change, Says, When, ZONES};
use super::script::Edit;
use super::shown::Place;
use super::time::{FEW, connected, plain};
use super::world::{REACH, World};

/// Users 0 and 1 have Outlook and Google, and settings of their own.
const OWN: [usize; 2] = [0, 1];
const IN_CRM: Place = Place::Crm(Kind::Meeting);

fn days(days: i64) -> u16 {
    u16::try_from(days).unwrap()
}

/// As for all.
fn as_all() -> UserSettings {
    let window = WindowSettings {
        back_days: days(REACH.back_days),
        ahead_days: days(REACH.ahead_days),
        page_events_max: PAGE_EVENTS,
    };
    UserSettings { enabled: true, calendars: BTreeMap::new(), window }
}

/// A world in which this is set for some users, and these have connected their calendars.
async fn world_of(own: &[(usize, UserSettings)], users: &[usize]) -> World {
    let mut world = connected(&[]).await;
    for (user, settings) in own {
        let id = world.office.users[*user].crm_id.clone();
        world.installation.users.insert(id, settings.clone());
    }
    world.restart().await;
    for user in users {
        let calendar = world.calendars_of(*user)[0];
        world.connect(calendar).await;
    }
    world.quiet().await;
    world
}

/// From now on, all users' calendars are read in pages of so many events.
pub async fn set_page_size(world: &mut World, page_events_max: u16) {
    let window = WindowSettings { page_events_max, ..as_all().window };
    let ids = world.office.users.iter().map(|user| user.crm_id.clone());
    let settings = UserSettings { window, ..as_all() };
    world.installation.users = ids.map(|id| (id, settings.clone())).collect();
    world.restart().await;
}

fn says(days: i64, affair: usize) -> Says {
    let start = (FEW.first + days.days()).at(10, 0, 0, 0);
    plain("Verhandlung", affair, When::Timed { start, minutes: 60, zone: ZONES[0] })
}

/// An event on that day; answers its number.
fn add_event(world: &mut World, calendar: usize, days: i64) -> usize {
    let affair = world.office.affairs.len();
    let says = says(days, affair);
    world.perform(&Edit::Event { calendar, says, guests: BTreeSet::new(), rule: None });
    affair
}

/// A meeting on that day, which is the first user's; answers its number.
fn add_meeting(world: &mut World, users: &[usize], days: i64) -> usize {
    let affair = world.office.affairs.len();
    let (says, assigned) = (says(days, affair), users[0]);
    let (kind, users, contacts) = (Kind::Meeting, users.iter().copied().collect(), BTreeSet::new());
    world.perform(&Edit::Meeting { kind, assigned, users, contacts, says });
    affair
}

/// Where it is.
fn places(world: &World, affair: usize) -> BTreeSet<Place> {
    let shown = world.office.shown().into_iter();
    let of_it = shown.filter(|one| one.number() == Some(affair) && !one.is_cancelled());
    of_it.map(|one| one.place).collect()
}

/// Pages of calendars that were asked for so far.
pub fn pages_read(world: &World) -> u64 {
    let all = world.office.microsoft.counters().into_iter().chain(world.office.google.counters());
    let is_page = |name: &str| name.ends_with("/calendarView/delta") || name == "calendar.events.list";
    all.filter(|(name, _)| is_page(name)).map(|(_, count)| count).sum()
}

#[tokio::test]
async fn a_users_own_window_is_for_that_users_calendar_alone() {
    let window = WindowSettings { back_days: 7, ahead_days: 7, ..as_all().window };
    let own = OWN.map(|user| (user, UserSettings { window, ..as_all() }));
    let users: [usize; 4] = [0, 1, 2, 3];
    let mut world = world_of(&own, &users).await;
    for user in users {
        let at = world.calendars_of(user)[0];
        let [before, inside, beyond] = [-20, 3, 20].map(|days| add_event(&mut world, at, days));
        world.quiet().await;
        let is_wide = !OWN.contains(&user);
        let in_crm = [before, inside, beyond].map(|affair| places(&world, affair).contains(&IN_CRM));
        assert_eq!(in_crm, [is_wide, true, is_wide], "user {user}");
        let change = Change::When(says(4, beyond).when);
        world.perform(&Edit::InCalendar { affair: beyond, calendar: at, change });
        world.quiet().await;
        assert!(places(&world, beyond).contains(&IN_CRM), "user {user}, brought into the window");
    }
    let far = add_meeting(&mut world, &[2, 0, 1, 3], 20);
    let near = add_meeting(&mut world, &[2, 0, 1, 3], 5);
    world.quiet().await;
    let calendar = |user: usize| Place::Calendar(world.calendars_of(user)[0]);
    assert_eq!(places(&world, far), BTreeSet::from([IN_CRM, calendar(2), calendar(3)]));
    let everywhere: BTreeSet<Place> = users.map(calendar).into_iter().chain([IN_CRM]).collect();
    assert_eq!(places(&world, near), everywhere);
}

/// Requests for pages of six events whose token was lost.
async fn requests(user: usize, page_events_max: Option<u16>) -> u64 {
    let own = page_events_max.map(|page_events_max| {
        let window = WindowSettings { page_events_max, ..as_all().window };
        (user, UserSettings { window, ..as_all() })
    });
    let mut world = world_of(own.as_slice(), &[user]).await;
    let calendar = world.calendars_of(user)[0];
    for days in 3..9 {
        add_event(&mut world, calendar, days);
    }
    world.quiet().await;
    faults::forget(&world.office, calendar, None, &mut world.script.dice);
    let before = pages_read(&world);
    world.sweep_now();
    world.quiet().await;
    pages_read(&world) - before
}

#[tokio::test]
async fn a_users_calendar_is_read_in_pages_of_the_users_own_size() {
    for user in OWN {
        assert_eq!(requests(user, None).await, 1 + 1, "user {user}: what is refused, and all in one");
        assert_eq!(requests(user, Some(2)).await, 1 + 3, "user {user}, two in each");
    }
}

#[tokio::test]
async fn the_calendar_of_a_user_who_is_left_out_is_neither_read_nor_written() {
    let own = OWN.map(|user| (user, UserSettings { enabled: false, ..as_all() }));
    let mut world = world_of(&own, &OWN).await;
    let calendars = OWN.map(|user| world.calendars_of(user)[0]);
    let events = calendars.map(|calendar| add_event(&mut world, calendar, 3));
    world.sweep_now();
    world.quiet().await;
    let counted = [world.office.microsoft.counters(), world.office.google.counters()];
    let mut asked: Vec<String> = counted.into_iter().flat_map(BTreeMap::into_keys).collect();
    asked.retain(|name| !name.contains("oauth"));
    assert_eq!(asked, Vec::<String>::new());

    let served = world.calendars_of(2)[0];
    world.connect(served).await;
    let meetings = OWN.map(|user| add_meeting(&mut world, &[2, user], 5));
    world.sweep_now();
    world.quiet().await;
    let own = calendars.map(Place::Calendar);
    for user in OWN {
        assert_eq!(places(&world, events[user]), BTreeSet::from([own[user]]), "user {user}");
        let with_served = BTreeSet::from([IN_CRM, Place::Calendar(served)]);
        assert_eq!(places(&world, meetings[user]), with_served, "user {user}");
    }

    world.installation.users.clear();
    world.restart().await;
    world.quiet().await;
    for user in OWN {
        assert_eq!(places(&world, events[user]), BTreeSet::from([IN_CRM, own[user]]), "user {user}");
        let all = BTreeSet::from([IN_CRM, own[user], Place::Calendar(served)]);
        assert_eq!(places(&world, meetings[user]), all, "user {user}");
    }
}
