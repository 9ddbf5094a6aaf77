//! The properties of the plan, on the model: whatever people do on either side, and wherever a run is stopped.

use jiff::{Timestamp, ToSpan, Zoned};
use proptest::prelude::*;

use super::copies::Invited;
use super::event::{Attendee, Attendees, Busy, Event, Field, Place, Reach, Response, When, Window};
use super::further::{Further, Importance};
use super::link::PairLink;
use super::merge::{Terms, Winner, merge};
use super::model::{Look, Stop, World};
use super::plan::{Policy, Rules};
use super::series::{CrmSeries, Series};
use super::sides::{Calendar, EventStatus, Guests, MeetingKind, MeetingRef, MeetingStatus, Provider};

fn config() -> ProptestConfig {
    ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() }
}

pub(super) fn now() -> Timestamp {
    "2026-03-20T09:15:00Z".parse().unwrap()
}

pub(super) fn rules(policy: Policy) -> Rules {
    let window =
        Window { from: "2025-03-20T00:00:00Z".parse().unwrap(), to: "2026-06-20T00:00:00Z".parse().unwrap() };
    Rules { policy, send_mail: false, window, crm_series: CrmSeries::default() }
}

pub(super) fn calendars(providers: &[Provider]) -> Vec<Calendar> {
    let named = |(n, provider): (usize, &Provider)| Calendar {
        id: format!("cal{n}"),
        provider: *provider,
        user_id: format!("user{n}"),
        mail: format!("user{n}@example.org"),
    };
    providers.iter().enumerate().map(named).collect()
}

pub(super) fn world(providers: &[Provider], policy: Policy) -> World {
    World::new(calendars(providers), rules(policy), now())
}

pub(super) fn hour(n: i64) -> When {
    let start: Zoned = "2026-03-27T09:00[Europe/Berlin]".parse().unwrap();
    let start = start.checked_add(n.days()).unwrap();
    let end = start.checked_add(1.hour()).unwrap();
    When::Timed { start, end }
}

pub(super) fn day(n: i8) -> When {
    let first = jiff::civil::date(2026, 4, n);
    When::AllDay { first, after: first.tomorrow().unwrap() }
}

pub(super) fn simple(subject: &str) -> Event {
    Event::new(subject, hour(0))
}

pub(super) fn person(reach: Reach, response: Response) -> Attendee {
    Attendee { response, reach, ..Attendee::default() }
}

fn provider() -> impl Strategy<Value = Provider> {
    prop_oneof![Just(Provider::Microsoft), Just(Provider::Google)]
}

fn policy() -> impl Strategy<Value = Policy> {
    proptest::sample::select(vec![Policy::NewestWins, Policy::CrmWins, Policy::CalendarWins, Policy::Ask])
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof!["", "A", "B", "C"]
}

fn when() -> impl Strategy<Value = When> {
    prop_oneof![3 => (0i64..3).prop_map(hour), 1 => (1i8..3).prop_map(day)]
}

pub(super) fn weekly() -> Series {
    Series::from_lines(&["RRULE:FREQ=WEEKLY"], &hour(0)).unwrap()
}

fn response() -> impl Strategy<Value = Response> {
    prop_oneof![Just(Response::None), Just(Response::Accepted), Just(Response::Declined)]
}

/// Guests as a calendar may have them: some the CRM knows, some not.
fn guests() -> impl Strategy<Value = Attendees> {
    proptest::collection::btree_map(
        prop_oneof!["known1", "known2", "user1@example.org", "stranger"],
        response(),
        0..3,
    )
    .prop_map(|people| {
        people.into_iter().map(|(mail, response)| (mail.clone(), person(reach_of(&mail), response))).collect()
    })
}

fn reach_of(mail: &str) -> Reach {
    match mail {
        "stranger" => Reach::Unknown,
        mail if mail.starts_with("user") => Reach::Connected,
        _ => Reach::Known,
    }
}

prop_compose! {
    fn further()(
        categories in proptest::collection::btree_set(word(), 0..3),
        importance in prop_oneof![Just(Importance::Normal), Just(Importance::High)],
        web_link in proptest::option::weighted(0.2, Just("https://calendar.example.org/1".to_owned())),
    ) -> Further {
        Further { categories: categories.into_iter().filter(|word| !word.is_empty()).collect(), importance, web_link }
    }
}

prop_compose! {
    fn event(with_guests: bool)(
        subject in word(), when in when(), body in word(), location in word(),
        busy in prop_oneof![Just(Busy::Free), Just(Busy::Busy), Just(Busy::OutOfOffice)], private: bool,
        reminders in proptest::collection::btree_set(prop_oneof![Just(5u32), Just(10), Just(60)], 0..3),
        online in proptest::option::weighted(0.2, Just("https://meet.example.org/1".to_owned())),
        attendees in guests(), series in proptest::bool::weighted(0.2), further in further(),
    ) -> Event {
        let place = if series && !when.is_all_day() { Place::Master(weekly()) } else { Place::Single };
        let attendees = if with_guests { attendees } else { Attendees::new() };
        Event { subject, when, body, location, busy, private, reminders, online_link: online, attendees, place, further }
    }
}

/// What the CRM may say: people that it knows.
fn crm_event() -> impl Strategy<Value = Event> {
    event(true).prop_map(|mut event| {
        event.attendees.retain(|_, attendee| attendee.reach != Reach::Unknown);
        event
    })
}

/// What people do.
#[derive(Debug, Clone)]
enum Deed {
    EditEvent(usize, Vec<Field>, Event),
    Answer(usize, Response),
    EditMeeting(Vec<Field>, Event),
    DeleteEvent(usize),
    CancelEvent(usize),
    DeleteMeeting,
    ToggleUser(usize),
    Status(MeetingStatus),
    /// A run, stopped somewhere.
    Run(usize, Option<(usize, bool)>),
}

fn fields() -> impl Strategy<Value = Vec<Field>> {
    proptest::sample::subsequence(Field::ALL.to_vec(), 1..4)
}

fn deed() -> impl Strategy<Value = Deed> {
    let stop = proptest::option::of((0usize..6, any::<bool>()));
    prop_oneof![
        4 => (0usize..3, fields(), event(true)).prop_map(|(n, f, e)| Deed::EditEvent(n, f, e)),
        4 => (fields(), crm_event()).prop_map(|(f, e)| Deed::EditMeeting(f, e)),
        1 => (0usize..3, response()).prop_map(|(n, response)| Deed::Answer(n, response)),
        1 => (0usize..3).prop_map(Deed::DeleteEvent),
        1 => (0usize..3).prop_map(Deed::CancelEvent),
        1 => Just(Deed::DeleteMeeting),
        1 => (0usize..3).prop_map(Deed::ToggleUser),
        1 => prop_oneof![Just(MeetingStatus::Held), Just(MeetingStatus::NotHeld), Just(MeetingStatus::Planned)]
            .prop_map(Deed::Status),
        6 => (0usize..12, stop).prop_map(|(n, stop)| Deed::Run(n, stop)),
    ]
}

/// How it began.
#[derive(Debug, Clone)]
enum Birth {
    /// An event in each of these calendars, with one key; the first one's user is the organiser, or an outsider.
    Calendar { copies: usize, outsider: bool, event: Box<Event> },
    /// A meeting or call of all users.
    Crm { kind: MeetingKind, event: Box<Event> },
}

fn birth() -> impl Strategy<Value = Birth> {
    let kind = prop_oneof![3 => Just(MeetingKind::Meeting), 1 => Just(MeetingKind::Call)];
    prop_oneof![
        (1usize..4, any::<bool>(), event(true)).prop_map(|(copies, outsider, event)| {
            Birth::Calendar { copies, outsider, event: Box::new(event) }
        }),
        (kind, crm_event()).prop_map(|(kind, mut event)| {
            if kind == MeetingKind::Call {
                event.place = Place::Single;
                event.when = hour(0);
            }
            Birth::Crm { kind, event: Box::new(event) }
        }),
    ]
}

fn begin(birth: &Birth, providers: &[Provider], policy: Policy) -> World {
    let mut world = world(providers, policy);
    match birth {
        Birth::Calendar { copies, outsider, event } => {
            for calendar in 0..(*copies).min(providers.len()) {
                let mut event = (**event).clone();
                // What the organiser's calendar cannot say, nobody is invited with.
                event.further = providers[0].holds(&event).further;
                if *copies > 1 || *outsider {
                    // The others are invited.
                    let invited = (1..*copies)
                        .map(|n| (format!("user{n}@example.org"), person(Reach::Connected, Response::None)));
                    event.attendees.extend(invited);
                }
                world.add_event(calendar, event, "uid1", calendar == 0 && !outsider);
            }
        }
        Birth::Crm { kind, event } => {
            let users: Vec<String> =
                world.calendars.iter().map(|calendar| calendar.user_id.clone()).collect();
            let users: Vec<&str> = users.iter().map(String::as_str).collect();
            world.add_meeting(*kind, (**event).clone(), &users);
        }
    }
    world
}

pub(super) fn first_event(world: &World, calendar: usize) -> Option<String> {
    world.events.get(calendar)?.keys().next().cloned()
}

pub(super) fn first_meeting(world: &World) -> Option<MeetingRef> {
    world.meetings.keys().next().cloned()
}

fn take_fields(to: &mut Event, fields: &[Field], from: &Event) {
    fields.iter().for_each(|field| to.take(*field, from));
    if to.when.is_all_day() && to.place.series().is_some() {
        to.place = Place::Single;
    }
}

fn act(world: &mut World, deed: &Deed) {
    match deed {
        Deed::EditEvent(calendar, fields, event) => {
            if let Some(id) = first_event(world, *calendar) {
                world.edit_event(*calendar, &id, |side| {
                    if side.is_organizer {
                        take_fields(&mut side.event, fields, event);
                    }
                });
            }
        }
        Deed::Answer(calendar, response) => {
            if let Some(id) = first_event(world, *calendar) {
                world.edit_event(*calendar, &id, |side| {
                    if !side.is_organizer {
                        side.answer = *response;
                    }
                });
            }
        }
        Deed::EditMeeting(fields, event) => {
            if let Some(record) = first_meeting(world) {
                world.edit_meeting(&record, |side| {
                    take_fields(&mut side.event, fields, event);
                    if record.kind == MeetingKind::Call {
                        side.event.place = Place::Single;
                        if side.event.when.is_all_day() {
                            side.event.when = hour(2);
                        }
                    }
                });
            }
        }
        Deed::DeleteEvent(calendar) => {
            if let Some(id) = first_event(world, *calendar) {
                world.events[*calendar].remove(&id);
            }
        }
        Deed::CancelEvent(calendar) => {
            if let Some(id) = first_event(world, *calendar) {
                world.edit_event(*calendar, &id, |side| side.status = EventStatus::Cancelled);
            }
        }
        Deed::DeleteMeeting => {
            if let Some(record) = first_meeting(world) {
                world.meetings.remove(&record);
            }
        }
        // Who is made a user of a meeting that was born of their own event, before that one has been read, has two of it.
        Deed::ToggleUser(calendar) => {
            let user = world.calendars[calendar % world.calendars.len()].user_id.clone();
            let is_made_here = |record: &MeetingRef| world.meetings[record].key.is_none();
            if let Some(record) = first_meeting(world).filter(is_made_here) {
                world.edit_meeting(&record, |side| {
                    if !side.users.remove(&user) {
                        side.users.insert(user);
                    }
                });
            }
        }
        Deed::Status(status) => {
            if let Some(record) = first_meeting(world) {
                world.edit_meeting(&record, |side| side.status = *status);
            }
        }
        Deed::Run(n, stop) => {
            let looks = world.looks();
            if let Some(look) = looks.get(n % looks.len().max(1)) {
                world.run(look, stop.map(|(step, after_effect)| Stop { step, after_effect }));
            }
        }
    }
}

/// What must not depend on stops: both sides' content, and how pairs ended.
fn outcome(world: &World) -> impl PartialEq + std::fmt::Debug + use<> {
    let events: Vec<Vec<_>> = world
        .events
        .iter()
        .map(|calendar| {
            calendar.values().map(|s| (s.key.clone(), s.event.clone(), s.listed.clone())).collect()
        })
        .collect();
    let meetings: Vec<_> = world.meetings.values().map(|side| (side.event.clone(), side.status)).collect();
    let mut ends: Vec<_> =
        world.links.iter().map(|(calendar, link)| (*calendar, link.tombstone.is_some())).collect();
    ends.sort();
    (events, meetings, ends)
}

/// Answers of users to an organiser from outside that the CRM was not told of.
fn untold(world: &World) -> Vec<(String, Response)> {
    let mut found = Vec::new();
    for (calendar, link) in world.links.iter().filter(|(_, link)| link.tombstone.is_none()) {
        let (Some(id), Some(record)) = (&link.event_id, &link.meeting) else { continue };
        let (Some(event), Some(meeting)) = (world.events[*calendar].get(id), world.meetings.get(record))
        else {
            continue;
        };
        let user = &world.calendars[*calendar].user_id;
        let organises = |(at, it): &(usize, PairLink)| {
            let there = it.event_id.as_ref().and_then(|id| world.events[*at].get(id));
            there.is_some_and(|other| other.is_organizer && other.key == event.key)
        };
        let is_from_outside = !event.is_organizer && !world.links.iter().any(organises);
        let told = world.answers.get(&(record.clone(), user.clone())).copied().unwrap_or_default();
        if is_from_outside && meeting.users.contains(user) && told != event.answer {
            found.push((id.clone(), event.answer));
        }
    }
    found
}

/// Values that are different on both sides of a pair though nothing was left on purpose.
fn disagreements(world: &World) -> Vec<(Field, Event, Event)> {
    let mut found = Vec::new();
    for (calendar, link) in world.links.iter().filter(|(_, link)| link.tombstone.is_none()) {
        let (Some(id), Some(record), Some(_)) = (&link.event_id, &link.meeting, &link.base) else { continue };
        let (Some(event), Some(meeting)) = (world.events[*calendar].get(id), world.meetings.get(record))
        else {
            continue;
        };
        let held = world.calendars[*calendar].provider.holds(&meeting.event);
        let waits = |field: Field| {
            link.conflict.as_ref().is_some_and(|open| open.fields.iter().any(|f| f.field == field))
        };
        for field in held.differences(&event.event) {
            // Peers have their own affairs, people are compared one by one, and links are never written.
            let compared = !field.is_personal()
                && !matches!(field, Field::Attendees | Field::OnlineLink | Field::WebLink);
            if compared && !link.left.contains(&field) && !waits(field) {
                found.push((field, meeting.event.clone(), event.event.clone()));
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(config())]

    /// *total*, *settles*, *quiet*, and no mail: whatever people do and wherever runs stop, runs come to an end after
    /// which nothing is planned; both sides then agree but for what is left on purpose; nobody was mailed; nothing
    /// exists twice.
    #[test]
    fn whatever_happens_it_settles(
        birth in birth(), providers in proptest::collection::vec(provider(), 3), policy in policy(),
        deeds in proptest::collection::vec(deed(), 0..14),
    ) {
        let mut world = begin(&birth, &providers, policy);
        for deed in &deeds {
            act(&mut world, deed);
        }
        world.settle();
        prop_assert_eq!(disagreements(&world), Vec::new());
        prop_assert_eq!(untold(&world), Vec::new());
        prop_assert_eq!(world.mails, 0);
        // One that was deleted before its creator learned of it is created again: nobody could tell. So is one that went with
        // an invitation that was cancelled, by a run that died over it, while its organiser's event is there.
        let deletes = |deed: &&Deed| matches!(deed, Deed::DeleteMeeting | Deed::CancelEvent(_));
        let deleted = deeds.iter().filter(deletes).count();
        let births = if matches!(birth, Birth::Calendar { .. }) { 1 + u32::try_from(deleted).unwrap() } else { 0 };
        prop_assert!(world.meetings_created <= births);
        // One in each calendar, and one more for each time that a user comes back.
        let toggles = deeds.iter().filter(|deed| matches!(deed, Deed::ToggleUser(_))).count();
        prop_assert!(world.events_created <= 3 + u32::try_from(toggles).unwrap());
        for calendar in &world.events {
            let alive = calendar.values().filter(|side| side.status != EventStatus::Cancelled);
            prop_assert!(alive.count() <= 1, "an event came twice: {:#?}", calendar);
        }
    }

    /// *restarts*: stopped before or after the effect of any step, the next runs reach the same end.
    #[test]
    fn a_stop_anywhere_changes_nothing_in_the_end(
        birth in birth(), providers in proptest::collection::vec(provider(), 2), policy in policy(),
        deeds in proptest::collection::vec(deed().prop_filter("no runs", |d| !matches!(d, Deed::Run(..))), 0..3),
        which in 0usize..6, step in 0usize..7, after_effect: bool, settled_first: bool,
    ) {
        let mut world = begin(&birth, &providers, policy);
        if settled_first {
            world.settle();
        }
        deeds.iter().for_each(|deed| act(&mut world, deed));
        let mut undisturbed = world.clone();
        undisturbed.settle();
        let looks = world.looks();
        // All that comes before it runs as it would have.
        let at = which % looks.len().max(1);
        for look in &looks[..at.min(looks.len())] {
            world.run(look, None);
        }
        if let Some(look) = looks.get(at) {
            world.run(look, Some(Stop { step, after_effect }));
        }
        world.settle();
        prop_assert!(outcome(&world) == outcome(&undisturbed), "{:?}\n{:?}\n{:?} {:?}", outcome(&world), outcome(&undisturbed), world.notices, undisturbed.notices);
        prop_assert_eq!((world.meetings_created, world.events_created), (undisturbed.meetings_created, undisturbed.events_created));
    }

    /// *keeps*: changes of different fields on both sides all survive, on both sides.
    #[test]
    fn changes_of_different_fields_are_merged(
        base in event(false), mine in event(false), theirs in event(false), provider in provider(), policy in policy(),
        who in proptest::collection::vec(0u8..3, Field::ALL.len()),
    ) {
        let mut world = world(&[provider], policy);
        let mut base = provider.holds(&Event { place: Place::Single, online_link: None, ..base });
        base.further.web_link = None;
        let (mine, theirs) = (provider.holds(&mine), provider.holds(&theirs));
        let id = world.add_event(0, base.clone(), "uid1", true);
        world.settle();
        let record = first_meeting(&world).unwrap();
        let mut wanted = base;
        for (field, who) in Field::ALL.into_iter().zip(who) {
            if matches!(field, Field::OnlineLink | Field::WebLink | Field::Recurrence) {
                continue;
            }
            match who {
                0 => {}
                1 => {
                    world.edit_meeting(&record, |side| side.event.take(field, &mine));
                    wanted.take(field, &mine);
                }
                _ => {
                    world.edit_event(0, &id, |side| side.event.take(field, &theirs));
                    wanted.take(field, &theirs);
                }
            }
        }
        let before = world.writes;
        world.settle();
        prop_assert_eq!(wanted.differences(&world.meetings[&record].event), Vec::new());
        prop_assert_eq!(wanted.differences(&world.events[0][&id].event), Vec::new());
        prop_assert!(world.writes - before <= 2, "one write for each side at most");
        prop_assert!(world.notices.is_empty());
    }

    /// *no resurrected deletion*: once one side is deleted, nothing is created any more, and what was deleted stays so.
    #[test]
    fn what_is_deleted_stays_deleted(
        birth in birth(), provider in provider(), policy in policy(), in_the_crm: bool,
        deeds in proptest::collection::vec(deed(), 0..8),
    ) {
        let birth = match birth { Birth::Calendar { event, outsider, .. } => Birth::Calendar { copies: 1, outsider, event }, other => other };
        let mut world = begin(&birth, &[provider], policy);
        world.settle();
        let created = (world.meetings_created, world.events_created);
        act(&mut world, &if in_the_crm { Deed::DeleteMeeting } else { Deed::DeleteEvent(0) });
        // Who is made a user of the meeting once more gets it once more.
        let deeds = deeds.iter().filter(|deed| !matches!(deed, Deed::ToggleUser(_)));
        deeds.for_each(|deed| act(&mut world, deed));
        world.settle();
        prop_assert_eq!((world.meetings_created, world.events_created), created);
        if in_the_crm {
            prop_assert!(world.meetings.is_empty());
        } else {
            prop_assert!(world.events[0].is_empty());
        }
    }

    /// All links lost: the ids on both sides bring them back, in whatever order calendars are read. Nothing is created,
    /// also where something was let go before, and nothing is written where both sides agree.
    #[test]
    fn lost_links_are_rebuilt_without_a_write(
        birth in birth(), providers in proptest::collection::vec(provider(), 3), policy in policy(),
        own in proptest::collection::vec((0usize..3, event(false)), 0..3),
        held: bool, removed in proptest::option::of(0usize..3), backwards: bool,
    ) {
        let mut world = begin(&birth, &providers, policy);
        world.settle();
        for (calendar, event) in own {
            let personal = vec![Field::Busy, Field::Private, Field::Reminders];
            act(&mut world, &Deed::EditEvent(calendar, personal, event));
            world.settle();
        }
        if held {
            act(&mut world, &Deed::Status(MeetingStatus::Held));
        }
        if let Some(calendar) = removed {
            act(&mut world, &Deed::DeleteEvent(calendar));
        }
        world.settle();
        let before = world.clone();
        let alive = |world: &World| world.links.iter().filter(|(_, link)| link.tombstone.is_none()).count();
        world.links.clear();
        // Outlook remembers for some hours only what it created.
        world.tokens.clear();
        // The CRM's webhooks may well come before a calendar is read.
        world.is_read = false;
        let (mut events, meetings): (Vec<Look>, Vec<Look>) =
            world.looks().into_iter().partition(|look| matches!(look, Look::Event(..)));
        if backwards {
            events.reverse();
        }
        for look in meetings.iter().chain(&events) {
            world.run(look, None);
        }
        world.is_read = true;
        world.settle();
        prop_assert_eq!(world.writes, before.writes);
        prop_assert_eq!(&world.events, &before.events);
        prop_assert_eq!(&world.meetings, &before.meetings);
        prop_assert_eq!(alive(&world), alive(&before));
    }

    /// *mirrors*: where both sides can say the same and write the same, the rules are the same for both.
    #[test]
    fn the_merge_is_symmetric(
        base in event(false), crm in event(false), calendar in event(false), based: bool, crm_wins: bool,
    ) {
        let plain = |event: Event| Event {
            online_link: None,
            further: Further { web_link: None, ..event.further },
            place: Place::Single,
            reminders: event.reminders.into_iter().take(1).collect(),
            ..event
        };
        let (base, crm, calendar) = (plain(base), plain(crm), plain(calendar));
        let merged = |crm: &Event, calendar: &Event, winner| {
            let mut world = world(&[Provider::Microsoft], Policy::Ask);
            let id = world.add_event(0, calendar.clone(), "uid1", true);
            let terms = Terms {
                provider: Provider::Microsoft, event: &world.events[0][&id], kind: MeetingKind::Meeting,
                guests: Guests::Listed, send_mail: false, personal: true, apart: None, adopts: false,
                winner: Some(winner), takes_over: false, invited: &Invited::default(),
            };
            merge(based.then_some(&base), crm, &terms)
        };
        let (mine, theirs) = if crm_wins { (Winner::Crm, Winner::Calendar) } else { (Winner::Calendar, Winner::Crm) };
        let (one, other) = (merged(&crm, &calendar, mine), merged(&calendar, &crm, theirs));
        prop_assert_eq!(one.crm, other.calendar);
        prop_assert_eq!(one.calendar, other.crm);
        prop_assert_eq!(one.to_crm, other.to_calendar);
        prop_assert_eq!(one.to_calendar, other.to_crm);
        prop_assert_eq!(one.conflicts, other.conflicts);
        prop_assert_eq!(one.left, other.left);
    }
}
