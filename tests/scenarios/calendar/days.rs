//! A series that two users have by events of their own, and its days that are changed by themselves.

use std::collections::BTreeSet;

use jiff::ToSpan as _;
use jiff::civil::Date;
use simulators::{FaultKind, FaultRule};

use super::affairs::Kind;
use super::crm;
use super::says::{Change, Rule, When, ZONES};
use super::script::{Edit, SlotChange};
use super::time::{connected, meeting};
use super::world::World;

/// Users 0 and 1 have Outlook and Google.
const USERS: [usize; 2] = [0, 1];

/// A weekly series in the first user's calendar, which the CRM's people have brought into the second one's.
async fn shared(first: usize, second: usize) -> World {
    let mut world = connected(&USERS).await;
    let calendar = world.calendars_of(first)[0];
    let (says, guests) = (meeting(0), BTreeSet::new());
    world.perform(&Edit::Event { calendar, says, guests, rule: Some(Rule { is_weekly: true, times: 6 }) });
    world.rest("made").await;
    let id = world.office.affairs[0].id.clone().unwrap();
    let users: Vec<&str> = USERS.iter().map(|user| world.office.users[*user].crm_id.as_str()).collect();
    let who = &world.office.users[first].crm_id;
    crm::set_people(&world.office.crm, who, (Kind::Meeting, &id), "usersIds", &users).unwrap();
    world.office.affairs[0].users.insert(second);
    world.rest("shared").await;
    world
}

/// The n-th day by the rule.
fn day(n: i32) -> Date {
    meeting(0).when.date() + (7 * n).days()
}

fn at(n: i32, hour: i8) -> Change {
    Change::When(When::Timed { start: day(n).at(hour, 10, 0, 0), minutes: 30, zone: ZONES[0] })
}

fn slot(calendar: usize, n: i32, change: Change) -> Edit {
    Edit::Slot { affair: 0, calendar, date: day(n), change: SlotChange::Change(change) }
}

/// Who takes part on the days that have meetings of their own.
fn people_of_days(world: &World) -> Vec<BTreeSet<String>> {
    let all = crm::all(&world.office.crm, Kind::Meeting);
    all.into_iter().filter(|it| it.original.is_some()).map(|it| it.people).collect()
}

#[tokio::test]
async fn a_day_that_is_changed_in_one_calendar_is_that_day_in_the_others() {
    for (first, second) in [(0, 1), (1, 0)] {
        let mut world = shared(first, second).await;
        let [here, there] = [first, second].map(|user| world.calendars_of(user)[0]);
        world.perform(&slot(here, 1, at(1, 15)));
        world.perform(&slot(there, 2, Change::Subject("Anders #0.".to_owned())));
        world.rest("changed in both").await;
        let both: BTreeSet<String> =
            USERS.iter().map(|user| world.office.users[*user].crm_id.clone()).collect();
        assert_eq!(people_of_days(&world), [both.clone(), both.clone()]);
        world.perform(&slot(there, 1, at(1, 16)));
        world.perform(&slot(here, 2, at(2, 9)));
        world.rest("changed again, by the other one").await;
        for (calendar, n) in [(here, 1), (there, 3)] {
            let change = SlotChange::Delete;
            world.perform(&Edit::Slot { affair: 0, calendar, date: day(n), change });
        }
        world.rest("left out").await;
        assert_eq!(people_of_days(&world), [both]);
        world.forget().await;
        world.perform(&Edit::DeleteEvent { affair: 0, calendar: here });
        world.rest("the series has ended").await;
        assert_eq!(people_of_days(&world), Vec::<BTreeSet<String>>::new(), "and its days with it");
    }
}

#[tokio::test]
async fn who_deletes_the_own_event_of_a_series_leaves_its_days_to_the_others() {
    for (first, second) in [(0, 1), (1, 0)] {
        let mut world = shared(first, second).await;
        let [here, there] = [first, second].map(|user| world.calendars_of(user)[0]);
        world.perform(&slot(there, 1, at(1, 15)));
        world.perform(&slot(here, 2, at(2, 16)));
        world.rest("changed").await;
        world.perform(&Edit::DeleteEvent { affair: 0, calendar: there });
        world.rest("deleted by the second user").await;
        assert_eq!(people_of_days(&world).len(), 2);
    }
}

/// The second user's series goes with the meeting, and then the CRM fails: that its days have still to go is learnt from the
/// calendar.
#[tokio::test]
async fn days_of_a_series_that_has_gone_go_with_it_though_the_crm_fails_in_between() {
    for (first, second) in [(0, 1), (1, 0)] {
        let mut world = shared(first, second).await;
        let [here, there] = [first, second].map(|user| world.calendars_of(user)[0]);
        world.perform(&slot(there, 1, at(1, 15)));
        world.rest("changed").await;
        let all = crm::all(&world.office.crm, Kind::Meeting);
        let day = all.iter().find(|it| it.original.is_some()).unwrap().id.clone();
        let path = format!("/api/v1/Meeting/{day}");
        world.office.crm.fault(FaultRule::new(FaultKind::Status { status: 503 }).on("GET", &path));
        world.perform(&Edit::DeleteEvent { affair: 0, calendar: here });
        world.quiet().await;
        assert_eq!(people_of_days(&world).len(), 1, "the fault has struck");
        world.rest("the CRM answers again").await;
        assert_eq!(people_of_days(&world), Vec::<BTreeSet<String>>::new());
    }
}

#[tokio::test]
async fn a_series_whose_meeting_is_deleted_goes_from_all_calendars_with_its_days() {
    for (first, second) in [(0, 1), (1, 0)] {
        let mut world = shared(first, second).await;
        let here = world.calendars_of(first)[0];
        world.perform(&slot(here, 1, at(1, 15)));
        world.rest("changed").await;
        world.perform(&Edit::DeleteMeeting { affair: 0 });
        world.rest("deleted in the CRM").await;
        assert_eq!(people_of_days(&world), Vec::<BTreeSet<String>>::new());
    }
}

#[tokio::test]
async fn a_day_that_both_change_at_once_has_one_meeting_wherever_a_process_dies() {
    let mut deaths = 0;
    for write in 0..10_u32 {
        let (first, second) = if write % 2 == 0 { (0, 1) } else { (1, 0) };
        let mut world = shared(first, second).await;
        let calendars = USERS.map(|user| world.calendars_of(user)[0]);
        world.store.arm(write / 2, write % 2 == 1);
        world.perform(&slot(calendars[0], 1, at(1, 15)));
        world.perform(&slot(calendars[1], 1, at(1, 16)));
        world.quiet().await;
        deaths += usize::from(!world.store.disarm());
        world.sweep_now();
        world.quiet().await;
        let days = crm::all(&world.office.crm, Kind::Meeting);
        let days: Vec<_> = days.into_iter().filter(|it| it.original.is_some()).collect();
        // Which of both wins is not said; there is one, and both calendars have it.
        assert_eq!(days.len(), 1, "write {write}: {days:?}");
        let shown = world.office.shown();
        let spans: Vec<_> =
            shown.iter().filter(|it| it.original == Some(day(1))).map(|it| &it.span).collect();
        assert_eq!(spans.len(), 3, "write {write}: {spans:?}");
        assert!(spans.iter().all(|span| **span == days[0].span), "write {write}: {spans:?}");
    }
    assert!(deaths > 6, "{deaths}");
}
