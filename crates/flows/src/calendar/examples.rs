//! What the rules say, case by case, on the model.

mod memory_lost;
mod people;
mod stopped;

use std::collections::BTreeSet;

use super::action::{Action, Ignored, Notice, Skipped, Verdict};
use super::event::{Attendee, Attendees, Event, Field, Place, Unfit, When};
use super::model::{Look, World};
use super::plan::Policy;
use super::series::{Holding, Series};
use super::sides::{EventSide, EventStatus, MeetingKind, MeetingRef, MeetingStatus, Provider};
use super::tests::{day, first_event, first_meeting, hour, now, simple, weekly, world};

#[test]
fn five_events_are_one_meeting_and_only_the_organisers_is_written() {
    for organizer in [Some(3), None] {
        let providers =
            [Provider::Google, Provider::Microsoft, Provider::Google, Provider::Google, Provider::Google];
        let mut world = world(&providers, Policy::NewestWins);
        let ids: Vec<String> = (0..5)
            .map(|calendar| {
                world.add_event(calendar, simple("Jour fixe"), "uid1", organizer == Some(calendar))
            })
            .collect();
        world.settle();
        assert_eq!((world.meetings.len(), world.links.len()), (1, 5));
        let record = first_meeting(&world).unwrap();
        let before = world.clone();
        // The organiser moves it, and the provider moves all copies; it goes to the CRM once.
        for (calendar, id) in ids.iter().enumerate() {
            world.edit_event(calendar, id, |side| side.event.when = hour(2));
        }
        world.settle();
        assert_eq!(world.meetings[&record].event.when, hour(2));
        assert_eq!(world.writes - before.writes, 1);
        // The CRM changes it: only the organiser's copy is written; an outsider's is nobody's to write.
        world.edit_meeting(&record, |side| side.event.subject = "Moved".into());
        world.settle();
        let written: Vec<usize> = (0..5)
            .filter(|calendar| world.events[*calendar][&ids[*calendar]].event.subject == "Moved")
            .collect();
        assert_eq!(written, organizer.into_iter().collect::<Vec<_>>());
        assert_eq!(world.meetings[&record].event.subject, "Moved");
        assert_eq!(world.notices.contains(&Notice::Left(vec![Field::Subject])), organizer.is_none());
        // An attendee removes the own copy: that says nothing about the meeting.
        world.events[1].clear();
        world.settle();
        assert!(world.meetings.contains_key(&record));
        // It is cancelled.
        for (calendar, id) in ids.iter().enumerate() {
            world.edit_event(calendar, id, |side| side.status = EventStatus::Cancelled);
        }
        world.settle();
        assert_eq!(
            world.meetings.contains_key(&record),
            organizer.is_none(),
            "what was edited in the CRM stays"
        );
    }
}

#[test]
fn calls_go_out_and_come_back_as_calls_and_are_never_born_of_events() {
    let mut world = world(&[Provider::Microsoft], Policy::NewestWins);
    let record = world.add_meeting(MeetingKind::Call, simple("Call Erika"), &["user0"]);
    world.settle();
    let id = first_event(&world, 0).unwrap();
    world.links.clear();
    world.is_read = false;
    world.settle();
    world.is_read = true;
    world.settle();
    assert_eq!((world.meetings.len(), world.links.len()), (1, 1));
    // All day is nothing that a call can be: it is left, and its user is told.
    world.edit_event(0, &id, |side| side.event.when = day(1));
    world.settle();
    assert_eq!(world.meetings[&record].event.when, hour(0));
    assert_eq!(world.notices, [Notice::Left(vec![Field::When])]);
    world.edit_event(0, &id, |side| side.event.when = hour(1));
    world.settle();
    assert_eq!(world.meetings[&record].event.when, hour(1));
    assert_eq!(world.writes, 2);
}

#[test]
fn history_is_kept_when_its_event_is_deleted() {
    for status in [MeetingStatus::Held, MeetingStatus::NotHeld] {
        let mut world = world(&[Provider::Google], Policy::NewestWins);
        let id = world.add_event(0, simple("A"), "uid1", true);
        world.settle();
        let record = first_meeting(&world).unwrap();
        world.edit_meeting(&record, |side| side.status = status);
        world.settle();
        world.events[0].remove(&id);
        world.settle();
        assert!(world.meetings.contains_key(&record));
        assert_eq!(world.events_created, 0);
    }
}

#[test]
fn an_edit_is_not_lost_with_what_was_deleted_on_the_other_side() {
    let mut world = world(&[Provider::Google], Policy::NewestWins);
    let id = world.add_event(0, simple("A"), "uid1", true);
    world.settle();
    let record = first_meeting(&world).unwrap();
    world.edit_meeting(&record, |side| side.event.body = "Minutes".into());
    world.events[0].remove(&id);
    world.settle();
    assert!(world.meetings.contains_key(&record) && world.events[0].is_empty());
    assert_eq!(world.notices.len(), 1);
}

#[test]
fn what_is_removed_is_looked_at_and_what_we_never_knew_is_not() {
    let mut world = world(&[Provider::Microsoft], Policy::NewestWins);
    let id = world.add_event(0, simple("A"), "uid1", true);
    let unknown = world.would(&Look::Removed(0, "e99".into()));
    assert_eq!((unknown.verdict, unknown.actions.len()), (Verdict::Ignored(Ignored::UnknownDeleted), 0));
    world.settle();
    let look = Look::Removed(0, id.clone());
    assert_eq!(world.would(&look).actions, [Action::ReadEvent { id: id.clone() }]);
    // It was moved out of the window: it is kept, and its new time is taken over.
    world.edit_event(0, &id, |side| side.event.when = hour(500));
    world.run(&look, None);
    let record = first_meeting(&world).unwrap();
    assert_eq!(world.meetings[&record].event.when, hour(500));
    world.events[0].remove(&id);
    world.run(&look, None);
    assert!(world.meetings.is_empty());
}

#[test]
fn what_never_was_in_the_window_is_ignored_on_both_sides() {
    let mut world = world(&[Provider::Google], Policy::NewestWins);
    world.add_event(0, Event::new("A", hour(500)), "uid1", true);
    world.add_meeting(MeetingKind::Meeting, Event::new("B", hour(-500)), &["user0"]);
    let long_ago = Event { place: Place::Master(weekly()), ..simple("C") };
    let mut old = long_ago.clone();
    old.when = hour(-700);
    world.add_event(0, old, "uid2", true);
    world.settle();
    assert_eq!(
        (world.meetings_created, world.events_created),
        (1, 0),
        "only the series has occurrences inside"
    );
}

#[test]
fn an_event_that_has_another_id_keeps_its_meeting() {
    for provider in [Provider::Google, Provider::Microsoft] {
        let mut world = world(&[provider], Policy::NewestWins);
        let id = world.add_event(0, simple("A"), "uid1", true);
        world.settle();
        let record = first_meeting(&world).unwrap();
        // Moved, or restored from a backup.
        let side = world.events[0].remove(&id).unwrap();
        let moved = EventSide { id: "moved".to_owned(), ..side };
        world.events[0].insert(moved.id.clone(), moved);
        world.run(&Look::Event(0, "moved".to_owned()), None);
        world.run(&Look::Removed(0, id), None);
        world.settle();
        world.edit_meeting(&record, |side| side.event.subject = "B".into());
        world.settle();
        assert_eq!(world.events[0]["moved"].event.subject, "B");
        assert_eq!((world.meetings_created, world.events_created), (1, 0));
        // The user deletes it.
        world.events[0].clear();
        world.settle();
        assert!(world.meetings.is_empty());
    }
}

#[test]
fn a_copied_event_is_an_event_of_its_own() {
    let mut world = world(&[Provider::Microsoft], Policy::NewestWins);
    world.add_meeting(MeetingKind::Meeting, simple("A"), &["user0"]);
    world.settle();
    let original = first_event(&world, 0).unwrap();
    let stamp = world.events[0][&original].stamp.clone();
    let copy = world.add_event(0, simple("A"), "uid of the copy", true);
    world.edit_event(0, &copy, |side| side.stamp = stamp);
    world.settle();
    assert_eq!((world.meetings.len(), world.links.len()), (2, 2));
}

#[test]
fn a_copied_event_is_one_of_its_own_also_when_its_original_is_no_more() {
    let mut world = world(&[Provider::Microsoft], Policy::NewestWins);
    let id = world.add_event(0, simple("A"), "uid1", true);
    world.settle();
    let record = first_meeting(&world).unwrap();
    let stamp = world.events[0][&id].stamp.clone();
    world.edit_meeting(&record, |side| side.event.body = "edited".into());
    world.events[0].clear();
    world.settle();
    assert!(world.meetings.contains_key(&record), "what was edited stays");
    // It lay outside the window until now.
    let copy = world.add_event(0, simple("B"), "uid of the copy", true);
    world.edit_event(0, &copy, |side| side.stamp = stamp);
    world.settle();
    assert_eq!(world.events[0][&copy].event.subject, "B");
    let subjects: Vec<&str> = world.meetings.values().map(|side| side.event.subject.as_str()).collect();
    assert_eq!((subjects.len(), subjects.contains(&"A"), subjects.contains(&"B")), (2, true, true));
}

#[test]
fn a_conflict_is_told_once_and_one_that_waits_is_left_alone() {
    for (policy, told) in [(Policy::NewestWins, 1), (Policy::Ask, 1)] {
        let mut world = world(&[Provider::Google], policy);
        let id = world.add_event(0, simple("A"), "uid1", true);
        world.settle();
        let record = first_meeting(&world).unwrap();
        world.edit_meeting(&record, |side| side.event.subject = "Mine".into());
        world.edit_event(0, &id, |side| side.event.subject = "Theirs".into());
        world.settle();
        assert_eq!(world.notices.len(), told);
        let subjects = (&*world.meetings[&record].event.subject, &*world.events[0][&id].event.subject);
        match policy {
            Policy::Ask => assert_eq!(subjects, ("Mine", "Theirs")),
            _ => assert_eq!(subjects, ("Theirs", "Theirs"), "the later one"),
        }
        // Other fields go on meanwhile, and a person ends it.
        world.edit_event(0, &id, |side| side.event.location = "Room 1".into());
        world.settle();
        assert_eq!(world.meetings[&record].event.location, "Room 1");
        world.edit_event(0, &id, |side| side.event.subject = "Mine".into());
        world.settle();
        assert_eq!(world.meetings[&record].event.subject, "Mine");
        assert_eq!(world.notices.len(), told);
        assert!(world.links.iter().all(|(_, link)| link.conflict.is_none()));
    }
}

#[test]
fn what_outlook_does_not_say_of_a_series_is_kept_and_looked_for() {
    let mut world = world(&[Provider::Microsoft], Policy::NewestWins);
    let mut series = weekly();
    series.gaps.extend(
        series
            .occurrences(&hour(0), now(), world.rules.window.to)
            .unwrap()
            .into_iter()
            .take(1)
            .map(|o| o.original),
    );
    let event = Event { place: Place::Master(series.clone()), ..simple("A") };
    let id = world.add_event(0, event, "uid1", true);
    world.settle();
    let looks = world.looks_at_instances;
    let record = first_meeting(&world).unwrap();
    assert_eq!(world.meetings[&record].event.place.series(), Some(&series));
    world.edit_event(0, &id, |side| {
        side.gaps_known = false;
        side.event.place = Place::Master(weekly());
        side.event.subject = "B".into();
    });
    world.settle();
    assert_eq!(world.meetings[&record].event.place.series(), Some(&series), "the gap is not forgotten");
    assert_eq!(world.meetings[&record].event.subject, "B");
    assert_eq!(world.looks_at_instances, looks + 1, "which of its occurrences are gone is looked for, once");
}

#[test]
fn a_series_that_the_crm_cannot_hold_comes_as_its_occurrences() {
    let mut world = world(&[Provider::Microsoft], Policy::NewestWins);
    world.rules.crm_series.has_fields = false;
    let master = Event { place: Place::Master(weekly()), ..simple("A") };
    let id = world.add_event(0, master.clone(), "uid1", true);
    let plan = world.would(&Look::Event(0, id.clone()));
    assert_eq!(plan.actions, [Action::LookAtInstances { id: id.clone() }]);
    let found = weekly().occurrences(&master.when, now(), world.rules.window.to).unwrap();
    let ids: Vec<String> =
        found.iter().take(3).map(|one| world.add_event(0, one.event(&master, &id), "uid1", true)).collect();
    // Where the series is held as such, they are part of it.
    assert_eq!(world.would(&Look::Event(0, ids[0].clone())).verdict, Verdict::Ignored(Ignored::PartOfSeries));
    world.holding = Holding::Occurrences;
    for id in &ids {
        world.run(&Look::Event(0, id.clone()), None);
    }
    assert_eq!(world.meetings.len(), 3, "one uid, three starts by the rule");
    // One is deleted in the CRM: that one is deleted in the calendar.
    let record = world.links[1].1.meeting.clone().unwrap();
    world.meetings.remove(&record);
    ids.iter().for_each(|id| {
        world.run(&Look::Event(0, id.clone()), None);
    });
    assert_eq!((world.meetings.len(), world.events[0].contains_key(&ids[1])), (2, false));
    assert_eq!((world.meetings_created, world.events[0].len()), (3, 3));
}

/// A series that is linked: its event, its meeting, and what it is without some of its occurrences.
fn linked_series(provider: Provider) -> (World, String, MeetingRef, impl Fn(&[usize]) -> Place) {
    let mut world = world(&[provider], Policy::NewestWins);
    let series = weekly();
    let id = world.add_event(0, Event { place: Place::Master(series.clone()), ..simple("A") }, "uid1", true);
    world.settle();
    let record = first_meeting(&world).unwrap();
    let found = series.occurrences(&hour(0), now(), world.rules.window.to).unwrap();
    let without = move |which: &[usize]| {
        let gaps = which.iter().map(|n| found[*n].original.clone()).collect();
        Place::Master(series.leaving_out(gaps))
    };
    (world, id, record, without)
}

#[test]
fn what_is_left_out_of_a_series_on_either_side_takes_place_on_none() {
    for provider in [Provider::Google, Provider::Microsoft] {
        let (mut world, id, record, without) = linked_series(provider);
        world.edit_meeting(&record, |side| side.event.place = without(&[1]));
        world.edit_event(0, &id, |side| (side.event.place, side.gaps_known) = (without(&[2, 3]), true));
        world.settle();
        assert_eq!(world.meetings[&record].event.place, without(&[1, 2, 3]));
        assert_eq!(world.events[0][&id].event.place, without(&[1, 2, 3]));
        assert_eq!(world.notices, [], "nobody is asked");
        // One that is put back in the CRM takes place again.
        world.edit_meeting(&record, |side| side.event.place = without(&[1, 3]));
        world.settle();
        assert_eq!(world.events[0][&id].event.place, without(&[1, 3]));
    }
}

#[test]
fn a_day_that_is_left_out_keeps_no_series_whose_other_side_was_deleted() {
    for in_crm in [true, false] {
        let (mut world, id, record, without) = linked_series(Provider::Microsoft);
        let without = without(&[1]);
        if in_crm {
            world.edit_event(0, &id, |side| (side.event.place, side.gaps_known) = (without, true));
            world.meetings.remove(&record);
        } else {
            world.edit_meeting(&record, |side| side.event.place = without);
            world.events[0].clear();
            world.run(&Look::Removed(0, id), None);
        }
        world.settle();
        assert!(world.events[0].is_empty() && world.meetings.is_empty(), "deleted in the CRM: {in_crm}");
        assert_eq!(world.notices, []);
    }
}

#[test]
fn a_rule_and_its_start_are_one_value() {
    let mut world = world(&[Provider::Google], Policy::NewestWins);
    let id = world.add_event(0, Event { place: Place::Master(weekly()), ..simple("A") }, "uid1", true);
    world.settle();
    let record = first_meeting(&world).unwrap();
    let daily = Series::from_lines(&["RRULE:FREQ=DAILY"], &hour(0)).unwrap();
    world.edit_meeting(&record, |side| side.event.place = Place::Master(daily.clone()));
    world.edit_event(0, &id, |side| side.event.when = hour(3));
    world.settle();
    for event in [&world.meetings[&record].event, &world.events[0][&id].event] {
        assert_eq!(
            (&event.when, event.place.series()),
            (&hour(3), Some(&weekly())),
            "the newer one, as a whole"
        );
    }
    assert_eq!(world.notices.len(), 1);
}

#[test]
fn what_cannot_be_synchronised_is_skipped_with_its_reason_and_nothing_is_written() {
    let mut world = world(&[Provider::Google], Policy::NewestWins);
    let backwards = match hour(0) {
        When::Timed { start, end } => When::Timed { start: end, end: start },
        other => other,
    };
    let id = world.add_event(0, Event { when: backwards, ..simple("A") }, "uid1", true);
    let plan = world.would(&Look::Event(0, id.clone()));
    assert_eq!(plan.verdict, Verdict::Skipped(Skipped::Event(Unfit::EndBeforeStart)));
    world.edit_event(0, &id, |side| side.event.when = hour(0));
    world.settle();
    let record = first_meeting(&world).unwrap();
    world.edit_event(0, &id, |side| side.event.body = "x".repeat(1_000_000));
    world.settle();
    assert_eq!(world.meetings[&record].event.body, "");
    let crowd: Attendees = (0..5_000).map(|n| (format!("{n}@example.org"), Attendee::default())).collect();
    world.edit_event(0, &id, |side| (side.event.body, side.event.attendees) = (String::new(), crowd));
    let plan = world.would(&Look::Event(0, id));
    assert_eq!(plan.verdict, Verdict::Skipped(Skipped::Event(Unfit::TooManyAttendees)));

    let mut world = super::tests::world(&[Provider::Microsoft], Policy::NewestWins);
    let odd = Series::from_lines(&["RRULE:FREQ=YEARLY;BYYEARDAY=100"], &hour(0)).unwrap();
    let record = world.add_meeting(
        MeetingKind::Meeting,
        Event { place: Place::Master(odd), ..simple("A") },
        &["user0"],
    );
    assert_eq!(world.would(&Look::Meeting(0, record)).verdict, Verdict::Skipped(Skipped::Recurrence));
}

#[test]
fn a_series_that_outgrows_its_record_is_left_alone_and_comes_back() {
    let mut world = world(&[Provider::Google], Policy::NewestWins);
    let weekly = Series::from_lines(&["RRULE:FREQ=WEEKLY"], &hour(0)).unwrap();
    let id = world.add_event(0, Event { place: Place::Master(weekly), ..simple("A") }, "uid1", true);
    world.settle();
    let record = world.meetings.keys().next().unwrap().clone();
    let held = world.meetings[&record].event.clone();
    world.rules.crm_series.rule_chars_max = 10;
    world.edit_event(0, &id, |side| side.event.subject = "B".into());
    let look = Look::Event(0, id);
    assert_eq!(world.would(&look).verdict, Verdict::Skipped(Skipped::Outgrown));
    world.settle();
    assert_eq!(world.meetings[&record].event, held);
    world.rules.crm_series.rule_chars_max = 1_000;
    world.settle();
    assert_eq!(world.meetings[&record].event.subject, "B");
}

#[test]
fn deletions_are_marked_for_the_guard_and_nothing_else_is() {
    let mut world = world(&[Provider::Google], Policy::NewestWins);
    let id = world.add_event(0, simple("A"), "uid1", true);
    let look = Look::Event(0, id.clone());
    assert!(!world.would(&look).deletes);
    world.settle();
    world.events[0].remove(&id);
    assert!(world.would(&look).deletes);
    let names: BTreeSet<&str> = world.would(&look).actions.iter().map(Action::name).collect();
    assert_eq!(names, BTreeSet::from(["delete_meeting", "save_link"]));
}
