//! The scripted times: four weeks, the days around changes of the clocks, and by command as long as wanted.

use std::collections::BTreeSet;
use std::time::Instant;

use jiff::ToSpan as _;
use jiff::civil::date;
use simulators::JournalEntry;

use super::affairs::{Affair, Kind, Tie};
use super::people::Office;
use super::says::{Change, Says, Show, When, ZONES, mark, marked, midnight};
use super::script::Edit;
use super::shown::Place;
use super::world::{Plan, World};
use super::{faults, for_users};

const MONTH: Plan = Plan {
    seed: 1,
    users: 10,
    affairs: 500,
    first: date(2026, 5, 4),
    days: 28,
    edits_a_day: 45,
    has_trouble: false,
    is_at_night: false,
};

/// Requests may be so many times the least.
const FACTOR_MAX: f64 = 1.2;

/// Who loses the grant for a day, and when; who connects late.
fn away(plan: &Plan, day: i64) -> Option<usize> {
    let users = i64::try_from(plan.users).unwrap();
    (day % 5 == 2).then(|| usize::try_from((day / 5 * 3 + 1) % (users - 1)).unwrap())
}

/// Plays it from the first day to the last; everything is compared every night.
async fn play(plan: Plan) -> World {
    let begun = Instant::now();
    let mut world = World::open(plan).await;
    world.begin().await;
    for day in 0..plan.days {
        let lost = away(&plan, day).map(|user| world.calendars_of(user)).unwrap_or_default();
        for at in &lost {
            world.lose_grant(*at);
        }
        if day == 3.min(plan.days - 1) {
            world.connect_late().await;
        }
        world.day(day).await;
        if day % 20 == 19 {
            let (days, factor) = (day + 1, world.calls().factor());
            println!(
                "  {days} days in {:?}, {factor:.3} times the least: {}",
                begun.elapsed(),
                world.counts()
            );
        }
        for at in lost {
            world.connect(at).await;
        }
        // What came into the window meanwhile is linked before anybody edits it.
        world.follow();
    }
    let last = plan.days;
    world.rest(&format!("after day {last}")).await;
    if plan.has_trouble {
        world.outlast().await;
    }
    println!("seed {}: {} days in {:?}: {}", plan.seed, plan.days, begun.elapsed(), world.counts());
    let calls = world.calls();
    println!("{calls}\n{}", world.engine.asked());
    assert!(calls.factor() <= FACTOR_MAX, "seed {}: {calls}", plan.seed);
    assert_eq!(world.store.being_created().await, Vec::<String>::new(), "seed {}", plan.seed);
    world
}

#[expect(clippy::disallowed_methods, reason = "how much is played is said by whoever plays")]
fn wanted(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|e| panic!("{variable}={text}: {e}")))
}

/// The seed to play: always the same, unless somebody names another one, as long as some of what the flow has to decide
/// is open (see the tests that are left out).
pub fn seed(default: u64) -> u64 {
    let seed = wanted("CALENDAR_SEED").unwrap_or(default);
    println!("CALENDAR_SEED={seed}");
    seed
}

/// How far the journals of all three are.
struct Written {
    crm: u64,
    microsoft: u64,
    google: u64,
}

impl Written {
    fn so_far(office: &Office) -> Self {
        Self {
            crm: office.crm.journal_sequence(),
            microsoft: office.microsoft.journal_sequence(),
            google: office.google.journal_sequence(),
        }
    }

    fn since(&self, office: &Office) -> impl Iterator<Item = JournalEntry> {
        let crm = office.crm.journal_after(self.crm).into_iter();
        let microsoft = office.microsoft.journal_after(self.microsoft);
        crm.chain(microsoft).chain(office.google.journal_after(self.google))
    }
}

/// What clients wrote since then of what both sides agree on. What was `at_edge` of the windows may have come into those that are
/// set anew.
fn written(office: &Office, since: &Written, at_edge: &BTreeSet<usize>) -> Vec<JournalEntry> {
    let undecided =
        office.affairs.iter().filter(|affair| affair.is_undecided || at_edge.contains(&affair.number));
    let undecided: BTreeSet<&String> = undecided
        .flat_map(|affair| affair.id.iter().chain(affair.copies.values().filter_map(|copy| copy.id.as_ref())))
        .collect();
    // Watches are asked for anew: the old ones are forgotten with everything else. What people are told is no write.
    let others = ["Channel", "subscription", "Subscription", "Webhook", "Note"];
    let is_write = |entry: &JournalEntry| {
        entry.actor_kind == simulators::ActorKind::Api
            && !others.contains(&entry.entity.as_str())
            && !undecided.contains(&entry.record_id)
    };
    since.since(office).filter(is_write).collect()
}

/// Our memory is lost but for the grants: the next comparison brings all links back, and writes nothing.
async fn forget_everything(world: &mut World) {
    let before = Written::so_far(&world.office);
    let at_edge = world.at_edge();
    world.forget().await;
    world.rest("after the store was emptied, again").await;
    let written = written(&world.office, &before, &at_edge);
    assert!(written.is_empty(), "seed {}: written although both sides agreed: {written:#?}", world.plan.seed);
    // Whether people were told of what stays different is forgotten, too; of nothing else are they told again.
    for text in world.notices_after(before.crm) {
        let affair = marked(&text).map(|number| &world.office.affairs[number]);
        // At the edge the calendar that speaks for a meeting may come to it after another one, which then speaks meanwhile.
        let speaks =
            |affair: &Affair| at_edge.contains(&affair.number) && text.contains("** was changed in ");
        let is_expected = |affair: &Affair| affair.stays_different() || speaks(affair);
        assert!(affair.is_some_and(is_expected), "seed {}: told {text}", world.plan.seed);
    }
    // The links are really there again: what people write goes its way. A full comparison is one of the window. What lies
    // outside is found again by what is written in the CRM (see below); of events outside Outlook says nothing but that
    // something is removed, and of a record that is deleted the CRM says nothing but its id.
    world.close_outside();
    for _ in 0..20 {
        world.edit();
    }
    world.rest("after edits with links that were brought back").await;
}

/// Requests fail, answers are lost, notifications are lost, late and doubled, and processes die; at the end the store is
/// emptied.
#[tokio::test]
async fn a_month_of_an_office_ends_as_its_people_wrote() {
    // Or as long, and with as many people, as `cargo xtask calendar` and its variables say.
    let number = |variable, default: u64| usize::try_from(wanted(variable).unwrap_or(default)).unwrap();
    let days = number("CALENDAR_DAYS", 28);
    let affairs = number("CALENDAR_MEETINGS", 500);
    let plan = Plan {
        seed: seed(5),
        users: number("CALENDAR_USERS", 10),
        affairs,
        days: i64::try_from(days).unwrap(),
        // As many as it takes to make them all, since three in ten make something.
        edits_a_day: (affairs * 4 / days.max(1)).max(45),
        has_trouble: true,
        ..MONTH
    };
    let mut world = play(plan).await;
    forget_everything(&mut world).await;
}

#[tokio::test]
async fn clocks_change_in_spring() {
    let plan = Plan { affairs: 120, first: date(2026, 3, 28), days: 3, is_at_night: true, ..MONTH };
    play(Plan { seed: seed(624_848_786), ..plan }).await;
}

#[tokio::test]
async fn clocks_change_in_autumn() {
    let plan = Plan { affairs: 120, first: date(2026, 10, 24), days: 3, is_at_night: true, ..MONTH };
    play(Plan { seed: seed(1_016_750_844), ..plan }).await;
}

/// A few people, and nothing that goes wrong by chance.
pub const FEW: Plan = Plan { users: 4, affairs: 60, days: 1, edits_a_day: 30, has_trouble: false, ..MONTH };

/// A world in which something waits to be carried over in every calendar.
async fn with_news(seed: u64) -> World {
    let mut world = World::open(Plan { seed, ..FEW }).await;
    world.begin().await;
    world.news();
    world
}

/// A world in which these users have connected all their calendars, and nothing is there.
pub async fn connected(users: &[usize]) -> World {
    let mut world = World::open(Plan { seed: seed(1), affairs: 8, ..FEW }).await;
    for at in users.iter().flat_map(|user| world.calendars_of(*user)).collect::<Vec<_>>() {
        world.connect(at).await;
    }
    world.rest("begin").await;
    world
}

/// A plain hour in some days.
pub fn meeting(affair: usize) -> Says {
    let start = (FEW.first + 10.days()).at(10, 0, 0, 0);
    plain("Besprechung", affair, When::Timed { start, minutes: 60, zone: ZONES[0] })
}

/// What a plain event says.
pub fn plain(subject: &str, affair: usize, when: When) -> Says {
    Says {
        subject: format!("{subject} {}", mark(affair)),
        when,
        body: String::new(),
        location: String::new(),
        show: Show::Busy,
        private: false,
    }
}

/// No full reading tells of events outside the window, so their links do not come back with the others.
#[tokio::test]
async fn an_event_outside_the_window_is_found_again_when_our_memory_was_lost() {
    let mut world = World::open(Plan { seed: seed(1), affairs: 8, ..FEW }).await;
    world.begin().await;
    let on = |days: i64| {
        let start = (FEW.first + days.days()).at(10, 0, 0, 0);
        When::Timed { start, minutes: 60, zone: ZONES[0] }
    };
    let first = world.office.affairs.len();
    let numbers = [first, first + 1];
    for number in numbers {
        let says = plain("Verhandlung", number, on(10));
        let (kind, users, contacts) = (Kind::Meeting, (0..FEW.users).collect(), BTreeSet::new());
        world.perform(&Edit::Meeting { kind, assigned: 0, users, contacts, says });
    }
    world.rest("made").await;
    for affair in numbers {
        world.perform(&Edit::InCrm { affair, change: Change::When(on(100)) });
    }
    world.rest("put off").await;
    world.forget().await;
    let subject = Change::Subject(format!("Beweisaufnahme {}", mark(numbers[0])));
    world.perform(&Edit::InCrm { affair: numbers[0], change: subject });
    world.perform(&Edit::InCrm { affair: numbers[1], change: Change::When(on(20)) });
    world.rest("edited outside, and brought back into the window").await;
}

/// Windows are set anew on different days: what a colleague was invited to may lie in the colleague's already. The meeting
/// is made of the organiser's event all the same, which alone says that it is private.
#[tokio::test]
async fn a_copy_at_the_edge_of_the_window_waits_for_its_organisers() {
    let mut world = World::open(Plan { seed: seed(1), affairs: 8, ..FEW }).await;
    world.begin().await;
    let day = |days: i64| midnight(FEW.first + days.days());
    world.advance_to(day(3)).await;
    world.connect_late().await;
    let (organiser, colleague) = (2, 0);
    let affair = world.office.affairs.len();
    let start = (FEW.first + 66.days()).at(10, 0, 0, 0);
    let says = plain("Mandant", affair, When::Timed { start, minutes: 60, zone: ZONES[0] });
    let guests = BTreeSet::from([world.office.calendars[colleague].mail.clone()]);
    world.perform(&Edit::Event { calendar: organiser, says, guests, rule: None });
    world.perform(&Edit::InCalendar { affair, calendar: organiser, change: Change::Private(true) });
    for days in 4..13 {
        world.advance_to(day(days)).await;
        world.rest(&format!("day {days}")).await;
        let is_there = world.office.affairs[affair].id.is_some();
        // On the 7th day the colleague's window has it, on the 10th the organiser's.
        assert_eq!(is_there, days >= 10, "day {days}");
    }
}

/// A meeting was deleted while its event was edited, which stays, as does a colleague's invitation to it. It came from a
/// mailbox that the CRM does not know, and the colleague's calendar is read first when our memory is lost.
#[tokio::test]
async fn an_invitation_to_what_is_left_of_a_meeting_makes_none_where_our_memory_is_lost() {
    let mut world = World::open(Plan { seed: seed(1), users: 10, affairs: 8, ..FEW }).await;
    world.begin().await;
    let (organiser, colleague) = (11, 7);
    assert!(world.office.calendars[organiser].key > world.office.calendars[colleague].key);
    let affair = world.office.affairs.len();
    let start = (FEW.first + 10.days()).at(10, 0, 0, 0);
    let says = plain("Fristen", affair, When::Timed { start, minutes: 60, zone: ZONES[0] });
    let guests = BTreeSet::from([world.office.calendars[colleague].mail.clone()]);
    world.perform(&Edit::Event { calendar: organiser, says, guests, rule: None });
    world.rest("made").await;
    let change = Change::Body("geändert".to_owned());
    world.perform(&Edit::DeleteMeetingAgainst { affair, calendar: organiser, change });
    world.rest("deleted, and edited").await;
    world.forget().await;
    assert!(world.office.affairs[affair].stays_different());
}

/// Of a user's two calendars one has the meeting, and the other one gets it in the run that finds both sides edited.
#[tokio::test]
async fn an_event_that_is_there_speaks_before_one_that_is_made() {
    let mut world = World::open(Plan { seed: seed(1), users: 5, affairs: 8, ..FEW }).await;
    let (user, outlook, google) = (4, 4, 5);
    for at in 0..=google {
        world.connect(at).await;
    }
    world.rest("begin").await;
    world.lose_grant(google);
    let affair = world.office.affairs.len();
    let start = (FEW.first + 10.days()).at(10, 0, 0, 0);
    let says = Says {
        subject: format!("Anruf {}", mark(affair)),
        when: When::Timed { start, minutes: 60, zone: ZONES[0] },
        body: String::new(),
        location: String::new(),
        show: Show::Busy,
        private: false,
    };
    let (users, contacts) = (BTreeSet::from([user]), BTreeSet::new());
    world.perform(&Edit::Meeting { kind: Kind::Call, assigned: user, users, contacts, says });
    world.rest("made").await;
    let events = world.office.microsoft.records().len();
    assert_eq!((events, world.office.google.records().len()), (1, 0));
    // The oracle asks nothing of a user who is away, and so has not seen that it is there.
    world.office.affairs[affair].copies.get_mut(&outlook).unwrap().tie = Tie::Linked;
    let at = mark(affair);
    let (here, there) = (format!("Verhandlung {at}"), format!("Review {at}"));
    let clash = Edit::Clash {
        affair,
        calendar: outlook,
        here: Change::Subject(here),
        there: Change::Subject(there),
        calendar_is_later: true,
        seconds: 2,
    };
    world.perform(&clash);
    world.connect(google).await;
    world.rest("both edited").await;
    assert_eq!(world.office.google.records().len(), 1);
}

/// After so many times that nothing had an n-th request, nothing has a later one.
const WITHOUT_MAX: u32 = 5;

/// What happens to the n-th request, page or write happens to each of them, until a run needs no more of them.
#[tokio::test]
async fn tokens_expire_before_every_request_of_a_run() {
    let mut world = with_news(seed(1_798_262_654)).await;
    let (mut struck, mut without) = (0, 0);
    for n in 0.. {
        let expired = |path: &str| simulators::FaultRule {
            path: Some(path.to_owned()),
            ..simulators::FaultRule::new(simulators::FaultKind::Unauthorized).after(n).times(1)
        };
        let office = &world.office;
        office.microsoft.fault(expired(faults::GRAPH));
        office.google.fault(expired(faults::GOOGLE));
        world.quiet().await;
        let office = &world.office;
        let left = [office.microsoft.faults(), office.google.faults()].map(|faults| {
            let left = faults.list().len();
            faults.clear();
            left
        });
        world.rest(&format!("401 before request {n}")).await;
        struck += 2 - left.iter().sum::<usize>();
        without = if left == [1, 1] { without + 1 } else { 0 };
        if without == WITHOUT_MAX {
            println!("{n} requests, {struck} struck");
            assert!(struck > 5, "{struck}");
            return;
        }
        world.news();
    }
}

/// So few that the calendars have several pages.
const PAGE: u16 = 1;

/// Events in a calendar.
fn events_of(world: &World, calendar: usize) -> usize {
    world.office.shown().iter().filter(|one| one.place == Place::Calendar(calendar)).count()
}

#[tokio::test]
async fn tokens_of_changes_expire_at_every_page() {
    let mut world = with_news(seed(2_138_322_796)).await;
    for_users::set_page_size(&mut world, PAGE).await;
    let pages = (0..world.office.calendars.len()).map(|at| events_of(&world, at).div_ceil(usize::from(PAGE)));
    // One more than the fullest calendar has: an empty one with the token.
    let pages_max = u32::try_from(pages.max().unwrap()).unwrap() + 1;
    assert!(pages_max > 3, "{pages_max} pages");
    println!("{pages_max} pages");
    for n in 0..pages_max {
        for calendar in 0..world.office.calendars.len() {
            faults::forget(&world.office, calendar, None, &mut world.script.dice);
            faults::forget(&world.office, calendar, Some(n), &mut world.script.dice);
            world.sweep_now();
            world.quiet().await;
        }
        world.rest(&format!("410 at page {n} of {pages_max}")).await;
        world.news();
    }
}

/// The process ends at the n-th write of our store, before it and after it, for each of them that all calendars' runs make
/// together: they are read from their beginning, and something waits to be carried over.
#[tokio::test]
async fn a_process_ends_at_every_write_of_a_run() {
    let mut world = with_news(seed(9)).await;
    for n in 0.. {
        let mut struck = false;
        for is_done in [false, true] {
            for calendar in 0..world.office.calendars.len() {
                faults::forget(&world.office, calendar, None, &mut world.script.dice);
            }
            world.store.arm(n, is_done);
            world.quiet().await;
            struck |= !world.store.disarm();
            world.rest(&format!("a crash at write {n}, done: {is_done}")).await;
            world.news();
        }
        if !struck {
            println!("{n} writes");
            assert!(n > 20, "{n}");
            return;
        }
    }
}
