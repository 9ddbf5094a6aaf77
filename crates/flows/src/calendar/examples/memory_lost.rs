//! What happens where our memory is lost, case by case.

use std::collections::BTreeSet;

use super::super::action::{Ignored, Verdict};
use super::super::event::{Busy, Event, OriginalStart, Place};
use super::super::model::{Look, Stop, World};
use super::super::plan::Policy;
use super::super::sides::{MeetingKind, MeetingStatus, Provider, Stamp};
use super::super::tests::{first_event, first_meeting, simple, world};

/// Our memory is lost, and Outlook's of what it created.
fn forget(world: &mut World) {
    world.links.clear();
    world.tokens.clear();
}

#[test]
fn what_was_let_go_stays_so_where_our_memory_is_lost() {
    // One of two users removes the own event: the meeting says so, once.
    let mut world = world(&[Provider::Microsoft, Provider::Microsoft], Policy::NewestWins);
    let record = world.add_meeting(MeetingKind::Meeting, simple("A"), &["user0", "user1"]);
    world.settle();
    let before = world.writes;
    world.events[1].clear();
    world.settle();
    assert_eq!(world.meetings[&record].removed_from, BTreeSet::from(["cal1".to_owned()]));
    assert_eq!(world.writes - before, 1);
    forget(&mut world);
    assert_eq!(
        world.would(&Look::Meeting(1, record)).verdict,
        Verdict::Ignored(Ignored::EndedBefore),
        "the first thing that is looked at"
    );
    world.settle();
    assert_eq!((world.events_created, world.events[1].len()), (2, 0));

    // One that was held, and was born in the CRM.
    let mut world = super::super::tests::world(&[Provider::Microsoft], Policy::NewestWins);
    let record = world.add_meeting(MeetingKind::Call, simple("A"), &["user0"]);
    world.settle();
    world.edit_meeting(&record, |side| side.status = MeetingStatus::Held);
    world.events[0].clear();
    world.settle();
    forget(&mut world);
    world.edit_meeting(&record, |side| side.event.body = "Minutes".into());
    world.settle();
    assert_eq!((world.events_created, world.events[0].len()), (1, 0));

    // What was born of its event waits for that one anyway: nothing needs to be noted.
    let mut world = super::super::tests::world(&[Provider::Microsoft], Policy::NewestWins);
    world.add_event(0, simple("A"), "uid1", true);
    world.settle();
    let record = first_meeting(&world).unwrap();
    world.edit_meeting(&record, |side| side.event.body = "Minutes".into());
    world.events[0].clear();
    let before = world.writes;
    world.settle();
    forget(&mut world);
    world.settle();
    assert_eq!((world.writes, world.events_created), (before, 0));
    assert_eq!(world.meetings[&record].removed_from, BTreeSet::new());
}

#[test]
fn a_copied_event_is_one_of_its_own_where_our_memory_is_lost() {
    for is_born_here in [false, true] {
        let mut world = world(&[Provider::Microsoft], Policy::NewestWins);
        if is_born_here {
            world.add_event(0, simple("A"), "uid1", true);
        } else {
            world.add_meeting(MeetingKind::Meeting, simple("A"), &["user0"]);
        }
        world.settle();
        let (record, original) = (first_meeting(&world).unwrap(), first_event(&world, 0).unwrap());
        let stamp = world.events[0][&original].stamp.clone();
        let copy = world.add_event(0, simple("B"), "uid of the copy", true);
        world.edit_event(0, &copy, |side| side.stamp = stamp);
        forget(&mut world);
        // The original lies outside the window: nothing tells of it.
        world.run(&Look::Event(0, copy.clone()), None);
        assert_eq!(world.meetings[&record].event.subject, "A", "born in the calendar: {is_born_here}");
        assert_eq!(world.events[0][&copy].event.subject, "B");
        assert_eq!((world.meetings.len(), world.meetings_created), (2, 1 + u32::from(is_born_here)));
        // Until somebody moves it.
        world.settle();
        assert_eq!((world.links.len(), world.meetings.len(), world.events[0].len()), (2, 2, 2));
        assert_eq!(world.meetings[&record].event.subject, "A");
        assert_ne!(world.events[0][&copy].stamp, world.events[0][&original].stamp);
    }
}

#[test]
fn a_copied_event_is_one_of_its_own_though_the_run_that_finds_out_is_stopped() {
    for (step, after_effect) in (0..5).flat_map(|step| [(step, false), (step, true)]) {
        let mut world = world(&[Provider::Microsoft], Policy::NewestWins);
        let record = world.add_meeting(MeetingKind::Meeting, simple("A"), &["user0"]);
        world.settle();
        let original = first_event(&world, 0).unwrap();
        let stamp = world.events[0][&original].stamp.clone();
        let copy = world.add_event(0, simple("B"), "uid of the copy", true);
        world.edit_event(0, &copy, |side| side.stamp = stamp);
        forget(&mut world);
        let is_whole = world.run(&Look::Event(0, copy.clone()), Some(Stop { step, after_effect }));
        assert!(!is_whole, "{step}: it has more steps");
        world.run(&Look::Event(0, copy.clone()), None);
        assert_eq!(world.events[0][&copy].event.subject, "B", "{step} {after_effect}");
        world.settle();
        let subjects: Vec<&str> = world.meetings.values().map(|side| side.event.subject.as_str()).collect();
        assert_eq!((subjects.len(), world.meetings[&record].event.subject.as_str()), (2, "A"));
        assert!(subjects.contains(&"B"), "{subjects:?}");
    }
}

#[test]
fn a_copied_day_of_a_series_is_an_event_of_its_own_where_our_memory_is_lost() {
    for provider in [Provider::Microsoft, Provider::Google] {
        let mut world = world(&[provider], Policy::NewestWins);
        let start = simple("A").when.started_by();
        let place = Place::Exception { series_id: "s1".to_owned(), original: OriginalStart::At(start) };
        let day = Event { place, ..simple("A") };
        let record = world.add_meeting(MeetingKind::Meeting, day, &["user0"]);
        let copy = world.add_event(0, simple("B"), "uid of the copy", true);
        world.edit_event(0, &copy, |side| side.stamp = Stamp::Of(record.clone()));
        world.settle();
        assert_eq!(world.meetings[&record].event.subject, "A");
        assert_eq!((world.meetings.len(), world.events[0][&copy].event.subject.as_str()), (2, "B"));
    }
}

#[test]
fn what_differs_from_its_meeting_goes_on_with_it_where_our_memory_is_lost() {
    let mut world = world(&[Provider::Microsoft], Policy::NewestWins);
    let record = world.add_meeting(MeetingKind::Meeting, simple("A"), &["user0"]);
    world.settle();
    forget(&mut world);
    let id = first_event(&world, 0).unwrap();
    world.edit_event(0, &id, |side| side.event.subject = "B".into());
    world.settle();
    assert_eq!((world.meetings.len(), world.events[0].len()), (1, 1));
    assert_eq!(world.meetings[&record].event.subject, "B");
}

#[test]
fn an_outsiders_event_whose_meeting_was_deleted_has_no_other_one_where_our_memory_is_lost() {
    let mut world = world(&[Provider::Google], Policy::NewestWins);
    let id = world.add_event(0, simple("A"), "uid1", false);
    world.settle();
    let record = first_meeting(&world).unwrap();
    assert_eq!(world.events[0][&id].stamp, Stamp::None, "its key is enough while there is a meeting");
    world.meetings.remove(&record);
    world.settle();
    assert_eq!(world.events[0][&id].stamp, Stamp::Of(record));
    forget(&mut world);
    world.settle();
    assert_eq!((world.meetings_created, world.meetings.len()), (1, 0));
}

#[test]
fn a_copy_that_comes_back_makes_no_meeting_anew_where_our_memory_is_lost() {
    let mut world = world(&[Provider::Microsoft, Provider::Microsoft], Policy::NewestWins);
    let own = world.add_event(0, simple("A"), "uid1", true);
    world.settle();
    let record = first_meeting(&world).unwrap();
    world.edit_event(0, &own, |side| side.event.body = "Edited".into());
    world.meetings.remove(&record);
    world.settle();
    forget(&mut world);
    world.settle();
    // The other user had declined; a change of the organiser's brings the invitation back.
    world.add_event(1, simple("A"), "uid1", false);
    world.settle();
    assert_eq!((world.meetings_created, world.meetings.len()), (1, 0));
}

#[test]
fn a_users_own_affairs_stay_as_they_are_where_our_memory_is_lost() {
    let mut world = world(&[Provider::Google, Provider::Microsoft], Policy::NewestWins);
    let record = world.add_meeting(MeetingKind::Meeting, simple("A"), &["user0", "user1"]);
    world.settle();
    let (source, peer) = (first_event(&world, 0).unwrap(), first_event(&world, 1).unwrap());
    world.edit_event(1, &peer, |side| side.event.private = true);
    world.settle();
    let before = world.writes;
    forget(&mut world);
    // Nothing tells yet that another copy speaks for the meeting.
    world.run(&Look::Event(1, peer.clone()), None);
    world.settle();
    assert_eq!(world.writes, before);
    assert!(!world.meetings[&record].event.private && world.events[1][&peer].event.private);
    // It is each user's own affair as before, and the source's goes both ways.
    world.edit_event(1, &peer, |side| side.event.reminders = BTreeSet::from([10]));
    world.edit_event(0, &source, |side| side.event.private = true);
    world.settle();
    assert!(world.meetings[&record].event.private && world.meetings[&record].event.reminders.is_empty());

    // Nobody else speaks for it: neither side is written until one of them is edited, and then only that value.
    let mut world = super::super::tests::world(&[Provider::Microsoft], Policy::CrmWins);
    let record = world.add_meeting(MeetingKind::Meeting, simple("A"), &["user0"]);
    world.settle();
    let id = first_event(&world, 0).unwrap();
    forget(&mut world);
    world.edit_event(0, &id, |side| (side.event.private, side.event.busy) = (true, Busy::Free));
    let before = world.writes;
    world.settle();
    assert_eq!(world.writes, before);
    world.edit_event(0, &id, |side| side.event.reminders = BTreeSet::from([10]));
    world.edit_meeting(&record, |side| side.event.busy = Busy::Tentative);
    world.settle();
    let (meeting, event) = (&world.meetings[&record].event, &world.events[0][&id].event);
    assert_eq!((meeting.private, event.private), (false, true));
    assert_eq!((meeting.busy, event.busy), (Busy::Tentative, Busy::Tentative));
    assert_eq!((&meeting.reminders, &event.reminders), (&BTreeSet::from([10]), &BTreeSet::from([10])));
    // An edit of what is still apart is carried over like any other.
    world.edit_event(0, &id, |side| side.event.private = false);
    world.edit_meeting(&record, |side| side.event.private = true);
    world.settle();
    assert!(
        world.meetings[&record].event.private && world.events[0][&id].event.private,
        "as the policy says"
    );
    assert!(world.links.iter().all(|(_, link)| link.apart.is_none()));
    world.meetings.remove(&record);
    world.settle();
    assert!(world.events[0].is_empty(), "what both agree on goes with the meeting");
}
