//! A process dies within a run, before or after each write of our store: what the run was about is done by the next one.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::ToSpan as _;
use jiff::civil::{Date, date};
use simulators::{FaultKind, FaultRule};

use super::affairs::{Kind, contact_mail};
use super::faults;
use super::says::{Change, Provider, Rule, Says, Show, When, ZONES, mark};
use super::script::{Edit, SlotChange};
use super::world::{Plan, World};

const FIRST: Date = date(2026, 5, 4);

async fn world(users: usize) -> World {
    let plan = Plan {
        seed: 1,
        users,
        affairs: 8,
        first: FIRST,
        days: 1,
        edits_a_day: 0,
        has_trouble: false,
        is_at_night: false,
    };
    let mut world = World::open(plan).await;
    world.begin().await;
    world
}

fn meeting(kind: Kind, number: usize) -> Edit {
    let (users, contacts) = (BTreeSet::from([0, 1]), BTreeSet::new());
    Edit::Meeting { kind, assigned: 0, users, contacts, says: says(number) }
}

fn says(number: usize) -> Says {
    Says {
        subject: format!("Besprechung {}", mark(number)),
        when: When::Timed { start: (FIRST + 7.days()).at(10, 0, 0, 0), minutes: 60, zone: ZONES[0] },
        body: String::new(),
        location: String::new(),
        show: Show::Busy,
        private: false,
    }
}

/// Performs what `last` answers, whose run dies at each of its writes, and compares; `first` makes what it is about.
async fn die_at_every_write(first: impl Fn(usize) -> Vec<Edit>, last: impl Fn(usize) -> Edit) {
    die_in(world(4).await, first, last, |_| None).await;
}

/// The same, where somebody does something before the next process is there.
async fn die_in(
    mut world: World,
    first: impl Fn(usize) -> Vec<Edit>,
    last: impl Fn(usize) -> Edit,
    meanwhile: impl Fn(usize) -> Option<Edit>,
) {
    let mut deaths = 0;
    for n in 0.. {
        let number = world.office.affairs.len();
        for edit in first(number) {
            world.perform(&edit);
            world.rest("before").await;
        }
        world.perform(&last(number));
        let is_done = n % 2 == 1;
        world.while_down = meanwhile(number);
        world.store.arm(n / 2, is_done);
        world.quiet().await;
        let struck = !world.store.disarm();
        world.while_down = None;
        let what = format!("dead at write {}, done: {is_done}", n / 2);
        world.rest(&what).await;
        assert_eq!(world.store.being_created().await, Vec::<String>::new(), "{what}");
        if !struck {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 5, "{deaths}");
}

#[tokio::test]
async fn a_deleted_event_takes_the_meeting_and_its_other_events_with_it() {
    let delete = |affair| Edit::DeleteEvent { affair, calendar: 0 };
    die_at_every_write(|number| vec![meeting(Kind::Meeting, number)], delete).await;
}

/// Its link does not know the event yet, which is there or not.
#[tokio::test]
async fn a_record_that_is_deleted_while_its_events_are_being_created_takes_them_with_it() {
    for kind in [Kind::Meeting, Kind::Call] {
        let delete = |affair| Some(Edit::DeleteMeeting { affair });
        die_in(world(4).await, |_| Vec::new(), |number| meeting(kind, number), delete).await;
    }
}

#[tokio::test]
async fn events_and_meetings_that_are_being_created_are_created_once() {
    let event = |number| Edit::Event { calendar: 0, says: says(number), guests: BTreeSet::new(), rule: None };
    die_at_every_write(|_| Vec::new(), |number| meeting(Kind::Meeting, number)).await;
    die_at_every_write(|_| Vec::new(), event).await;
}

/// Its link does not know the meeting yet, which is there or not.
#[tokio::test]
async fn an_event_that_is_deleted_while_its_meeting_is_being_created_takes_it_with_it() {
    for calendar in [0, 1] {
        let event = |number| {
            let guests = BTreeSet::new();
            Edit::Event { calendar, says: says(number), guests, rule: None }
        };
        let delete = |affair| Some(Edit::DeleteEvent { affair, calendar });
        die_in(world(4).await, |_| Vec::new(), event, delete).await;
    }
}

/// The meeting was held, so it stays; it says nothing new, and its guests need another invitation all the same.
#[tokio::test]
async fn who_was_invited_by_a_deleted_event_is_invited_by_another_one() {
    let world = world(10).await;
    // The last user has both.
    let calendars = world.calendars_of(9);
    let is_outlook = |at: &&usize| world.office.calendars[**at].provider == Provider::Microsoft;
    let calendar = *calendars.iter().find(is_outlook).unwrap();
    assert_eq!(calendars.len(), 2);
    let held = |affair| {
        let (says, guests) = (says(affair), BTreeSet::from([contact_mail(0)]));
        vec![Edit::Event { calendar, says, guests, rule: None }, Edit::Conclude { affair, held: true }]
    };
    die_in(world, held, |affair| Edit::DeleteEvent { affair, calendar }, |_| None).await;
}

/// The meeting is there, but its event cannot be written until no sweep asks for the meeting any more.
#[tokio::test]
async fn a_meeting_whose_creation_ends_late_comes_to_the_users_other_calendar() {
    let mut world = world(10).await;
    for calendar in world.calendars_of(9) {
        let affair = world.office.affairs.len();
        let broken = |path: &str| FaultRule {
            path: Some(path.to_owned()),
            method: Some("PATCH".to_owned()),
            ..FaultRule::new(FaultKind::Status { status: 503 })
        };
        world.office.microsoft.fault(broken(faults::GRAPH));
        world.office.google.fault(broken(faults::GOOGLE));
        world.perform(&Edit::Event { calendar, says: says(affair), guests: BTreeSet::new(), rule: None });
        for _ in 0..4 {
            world.quiet().await;
            world.clock.advance(Duration::from_secs(3_600));
            let (kind, users, contacts) = (Kind::Meeting, BTreeSet::from([0]), BTreeSet::new());
            let says = says(world.office.affairs.len());
            world.perform(&Edit::Meeting { kind, assigned: 0, users, contacts, says });
            world.sweep_now();
        }
        world.quiet().await;
        faults::clear(&world.office);
        world.rest("all can be written again").await;
        assert_eq!(world.office.affairs[affair].copies.len(), 2);
    }
}

#[tokio::test]
async fn a_day_that_a_series_leaves_out_is_left_out_of_its_meeting() {
    let rule = Rule { is_weekly: true, times: 4 };
    let series =
        |number| Edit::Event { calendar: 0, says: says(number), guests: BTreeSet::new(), rule: Some(rule) };
    let slot = |affair, change| Edit::Slot { affair, calendar: 0, date: FIRST + 21.days(), change };
    let renamed = |number| SlotChange::Change(Change::Subject(format!("Ausnahme {}", mark(number))));
    die_at_every_write(
        |number| vec![series(number), slot(number, renamed(number))],
        |number| slot(number, SlotChange::Delete),
    )
    .await;
}

/// A series with a day that was changed and one that is left out, in this calendar.
fn series_with_odd_days(number: usize, calendar: usize) -> Vec<Edit> {
    let rule = Rule { is_weekly: true, times: 4 };
    let slot = |days: i64, change| Edit::Slot { affair: number, calendar, date: FIRST + days.days(), change };
    let renamed = SlotChange::Change(Change::Subject(format!("Ausnahme {}", mark(number))));
    vec![
        Edit::Event { calendar, says: says(number), guests: BTreeSet::new(), rule: Some(rule) },
        slot(21, renamed),
        slot(14, SlotChange::Delete),
    ]
}

#[tokio::test]
async fn a_series_that_is_deleted_takes_its_changed_days_with_it() {
    for calendar in [0, 1] {
        let series = |number| series_with_odd_days(number, calendar);
        die_at_every_write(series, |affair| Edit::DeleteEvent { affair, calendar }).await;
    }
}

#[tokio::test]
async fn a_series_whose_meeting_is_deleted_goes_with_its_changed_days() {
    for calendar in [0, 1] {
        let series = |number| series_with_odd_days(number, calendar);
        die_at_every_write(series, |affair| Edit::DeleteMeeting { affair }).await;
    }
}
