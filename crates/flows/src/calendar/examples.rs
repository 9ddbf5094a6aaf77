//! What the rules say, case by case, on the model.

use std::collections::BTreeSet;

use super::action::{Action, Ignored, Notice, Skipped, Verdict};
use super::event::{Attendee, Attendees, Busy, Event, Field, Place, Reach, Response, Unfit, When};
use super::model::{Look, Stop, World};
use super::plan::Policy;
use super::series::{Holding, Series};
use super::sides::{EventStatus, MeetingKind, MeetingStatus, Provider, Stamp};
use super::tests::{day, first_event, first_meeting, hour, now, person, simple, weekly, world};

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
fn a_meeting_of_several_users_has_an_event_in_each_calendar_but_not_where_the_provider_invites() {
    let mut world = world(&[Provider::Google, Provider::Microsoft], Policy::NewestWins);
    let record = world.add_meeting(MeetingKind::Meeting, simple("A"), &["user1", "user0"]);
    world.settle();
    assert_eq!(world.events_created, 2);
    // The second user's copy is a full side of its own.
    let id = first_event(&world, 0).unwrap();
    world.edit_event(0, &id, |side| side.event.location = "Room 1".into());
    world.settle();
    let other = first_event(&world, 1).unwrap();
    assert_eq!(world.events[1][&other].event.location, "Room 1");
    // It ends alone; the assigned user's ends the meeting, and what is left.
    world.events[0].clear();
    world.settle();
    assert!(world.meetings.contains_key(&record));
    world.events[1].clear();
    world.settle();
    assert!(world.meetings.is_empty());

    let mut world = super::tests::world(&[Provider::Google, Provider::Microsoft], Policy::NewestWins);
    let mut event = simple("A");
    event.attendees.insert("user1@example.org".into(), person(Reach::Connected, Response::None));
    world.add_event(0, event, "uid1", true);
    let look = Look::Event(0, first_event(&world, 0).unwrap());
    world.run(&look, None);
    let record = first_meeting(&world).unwrap();
    world.edit_meeting(&record, |side| {
        side.users.insert("user1".into());
    });
    assert_eq!(world.would(&Look::Meeting(1, record)).verdict, Verdict::Ignored(Ignored::Invited));
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
fn a_meeting_that_is_kept_stays_without_event_though_its_creation_was_never_saved() {
    let mut world = world(&[Provider::Microsoft, Provider::Microsoft], Policy::NewestWins);
    let own = world.add_event(0, simple("A"), "uid1", true);
    let copy = world.add_event(1, simple("A"), "uid1", false);
    // The meeting is there; what was agreed on is not saved, so that the link does not name it.
    assert!(!world.run(&Look::Event(0, own.clone()), Some(Stop { step: 2, after_effect: false })));
    assert!(world.run(&Look::Event(1, copy), None));
    let record = first_meeting(&world).unwrap();
    world.edit_meeting(&record, |side| side.event.body = "edited".into());
    world.edit_event(0, &own, |side| side.status = EventStatus::Cancelled);
    world.settle();
    assert!(world.meetings.contains_key(&record));
    assert_eq!((world.events_created, world.events[0].len()), (0, 1));
}

#[test]
fn a_meeting_with_guests_in_outlook_is_not_deleted_nor_changed_there() {
    let mut event = simple("A");
    event.attendees.insert("known1".into(), person(Reach::Known, Response::Accepted));
    let mut world = world(&[Provider::Microsoft], Policy::NewestWins);
    let id = world.add_event(0, event, "uid1", true);
    world.settle();
    let record = first_meeting(&world).unwrap();
    assert_eq!(world.meetings[&record].event.attendees["known1"].response, Response::Accepted);
    world.edit_meeting(&record, |side| (side.event.subject, side.event.private) = ("B".into(), true));
    world.settle();
    let side = &world.events[0][&id].event;
    assert_eq!((side.subject.as_str(), side.private), ("A", true), "only what nobody else sees");
    world.meetings.remove(&record);
    world.settle();
    assert!(world.events[0].contains_key(&id));
    assert_eq!(world.mails, 0);
    assert!(matches!(world.notices.last(), Some(Notice::EventKept(_))));
}

#[test]
fn attendees_stand_in_the_body_where_outlook_would_mail_them() {
    let mut event = simple("A");
    event.attendees.insert("known1".into(), person(Reach::Known, Response::None));
    let mut world = world(&[Provider::Microsoft], Policy::NewestWins);
    let record = world.add_meeting(MeetingKind::Meeting, event, &["user0"]);
    world.settle();
    let id = first_event(&world, 0).unwrap();
    assert_eq!(world.events[0][&id].listed, ["- known1"]);
    assert!(world.events[0][&id].event.attendees.is_empty());
    world.edit_meeting(&record, |side| {
        side.event.attendees.insert("known2".into(), person(Reach::Known, Response::None));
    });
    world.settle();
    assert_eq!(world.events[0][&id].listed, ["- known1", "- known2"]);
    assert_eq!(world.meetings[&record].event.attendees.len(), 2);
    assert_eq!(world.mails, 0);
}

#[test]
fn who_is_missing_in_a_part_of_a_list_stays_invited() {
    for provider in [Provider::Google, Provider::Microsoft] {
        let mut event = simple("A");
        for mail in ["known1", "known2"] {
            event.attendees.insert(mail.into(), person(Reach::Known, Response::None));
        }
        let mut world = world(&[provider], Policy::NewestWins);
        let id = world.add_event(0, event, "uid1", false);
        world.settle();
        let record = first_meeting(&world).unwrap();
        // The organiser hides the list: an attendee sees no more than the own entry, or a few of them.
        world.edit_event(0, &id, |side| {
            side.attendees_cut = true;
            side.event.attendees.remove("known1");
            side.event.attendees.insert("known2".into(), person(Reach::Known, Response::Accepted));
            side.event.attendees.insert("known3".into(), person(Reach::Known, Response::None));
        });
        world.settle();
        let invited = &world.meetings[&record].event.attendees;
        assert_eq!(invited.keys().collect::<Vec<_>>(), ["known1", "known2", "known3"]);
        assert_eq!(invited["known2"].response, Response::Accepted);
        // The whole list again: who is not in it now is not invited.
        world.edit_event(0, &id, |side| side.attendees_cut = false);
        world.settle();
        let invited = &world.meetings[&record].event.attendees;
        assert_eq!(invited.keys().collect::<Vec<_>>(), ["known2", "known3"]);
        assert_eq!(world.mails, 0);
    }
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

#[test]
fn people_are_merged_one_by_one() {
    let mut event = simple("A");
    for (mail, reach) in [("known1", Reach::Known), ("known2", Reach::Known), ("stranger", Reach::Unknown)] {
        event.attendees.insert(mail.into(), person(reach, Response::None));
    }
    let mut world = world(&[Provider::Google], Policy::NewestWins);
    let id = world.add_event(0, event, "uid1", true);
    world.settle();
    let record = first_meeting(&world).unwrap();
    let mails = |attendees: &Attendees| attendees.keys().cloned().collect::<Vec<_>>();
    assert_eq!(mails(&world.meetings[&record].event.attendees), ["known1", "known2"]);
    // In the CRM one comes, one goes, and a colleague comes who has the meeting in a calendar of the own; in the
    // calendar one comes, and one answers.
    world.edit_meeting(&record, |side| {
        side.event.attendees.remove("known1");
        side.event.attendees.insert("known3".into(), person(Reach::Known, Response::Accepted));
        side.event.attendees.insert("user1@example.org".into(), person(Reach::Connected, Response::None));
    });
    world.edit_event(0, &id, |side| {
        side.event.attendees.insert("known4".into(), person(Reach::Known, Response::None));
        side.event.attendees.insert("known2".into(), person(Reach::Known, Response::Declined));
    });
    world.settle();
    let (meeting, event) = (&world.meetings[&record].event.attendees, &world.events[0][&id].event.attendees);
    assert_eq!(mails(meeting), ["known2", "known3", "known4", "user1@example.org"]);
    assert_eq!(mails(event), ["known2", "known3", "known4", "stranger"]);
    assert_eq!(meeting["known2"].response, Response::Declined);
    assert_eq!(event["known3"].response, Response::None, "what they answer is theirs to say");
    assert_eq!((meeting["known3"].response, world.mails), (Response::Accepted, 0));
}

#[test]
fn what_arrived_before_a_stop_is_agreed_on_and_an_edit_since_is_no_conflict() {
    for from_calendar in [true, false] {
        // The policy is against who edits, so that a conflict would show.
        let policy = if from_calendar { Policy::CrmWins } else { Policy::CalendarWins };
        let mut world = world(&[Provider::Google], policy);
        let id = world.add_event(0, simple("A"), "uid1", true);
        world.settle();
        let record = first_meeting(&world).unwrap();
        let edit = |world: &mut World, subject: &str| {
            if from_calendar {
                world.edit_event(0, &id, |side| side.event.subject = subject.into());
            } else {
                world.edit_meeting(&record, |side| side.event.subject = subject.into());
            }
        };
        edit(&mut world, "B");
        // Stopped after the write.
        assert!(!world.run(&Look::Event(0, id.clone()), Some(Stop { step: 1, after_effect: true })));
        edit(&mut world, "C");
        world.settle();
        let subjects = (&*world.meetings[&record].event.subject, &*world.events[0][&id].event.subject);
        assert_eq!(subjects, ("C", "C"));
        assert!(world.notices.is_empty());
    }
}

#[test]
fn an_occurrence_left_out_before_a_stop_stays_left_out() {
    let mut world = world(&[Provider::Google], Policy::NewestWins);
    let id = world.add_event(0, Event { place: Place::Master(weekly()), ..simple("A") }, "uid1", true);
    world.settle();
    let record = first_meeting(&world).unwrap();
    let occurrences = weekly().occurrences(&hour(0), now(), world.rules.window.to).unwrap();
    let gapless = world.events[0][&id].event.place.clone();
    let mut series = weekly();
    series.gaps.extend(occurrences.into_iter().take(1).map(|occurrence| occurrence.original));
    world.edit_event(0, &id, |side| side.event.place = Place::Master(series.clone()));
    // Stopped after the write.
    assert!(!world.run(&Look::Event(0, id.clone()), Some(Stop { step: 1, after_effect: true })));
    // A read of the series does not tell what is left out.
    world.edit_event(0, &id, |side| {
        (side.event.place, side.gaps_known) = (gapless, false);
        side.event.subject = "B".into();
    });
    world.settle();
    let meeting = &world.meetings[&record].event;
    assert_eq!((&*meeting.subject, meeting.place.series()), ("B", Some(&series)));
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

#[test]
fn an_organiser_who_comes_later_is_of_the_meeting_and_says_how_it_stands() {
    for provider in [Provider::Microsoft, Provider::Google] {
        for edited in [false, true] {
            let mut world = world(&[provider, Provider::Microsoft], Policy::NewestWins);
            let invited = Event { busy: Busy::Tentative, ..simple("Jour fixe") };
            let id = world.add_event(1, invited, "uid1", false);
            world.run(&Look::Event(1, id), None);
            let record = first_meeting(&world).unwrap();
            if edited {
                world.edit_meeting(&record, |side| side.event.location = "Room 1".into());
                world.settle();
            }
            // The organiser connects a calendar.
            world.add_event(0, simple("Jour fixe"), "uid1", true);
            world.settle();
            let meeting = &world.meetings[&record];
            assert_eq!(meeting.users, ["user0", "user1"].map(str::to_owned).into());
            assert_eq!(meeting.event.busy, Busy::Busy, "the organiser's own affair");
            let place = if edited { "Room 1" } else { "" };
            let organised = &world.events[0][&first_event(&world, 0).unwrap()].event;
            assert_eq!((&*meeting.event.location, &*organised.location), (place, place));
            assert!(!world.notices.iter().any(|notice| matches!(notice, Notice::Conflict(_))));
            assert_eq!(world.meetings_created, 1);
            // Whom the CRM takes out of the meeting stays out.
            world.edit_meeting(&record, |side| side.users.retain(|user| user != "user0"));
            world.settle();
            assert_eq!(world.meetings[&record].users.len(), 1);
        }
    }
}

#[test]
fn an_organiser_goes_on_from_what_a_copy_began_whose_run_was_stopped() {
    for (step, after_effect) in [(1, true), (2, false), (2, true)] {
        let mut world = world(&[Provider::Microsoft, Provider::Microsoft], Policy::NewestWins);
        let invited = Event { busy: Busy::Tentative, ..simple("Jour fixe") };
        let id = world.add_event(1, invited, "uid1", false);
        assert!(!world.run(&Look::Event(1, id), Some(Stop { step, after_effect })));
        let own = world.add_event(0, simple("Jour fixe"), "uid1", true);
        world.run(&Look::Event(0, own), None);
        world.settle();
        assert_eq!(world.meetings[&first_meeting(&world).unwrap()].event.busy, Busy::Busy);
        assert_eq!((&world.notices, world.meetings_created), (&Vec::new(), 1), "{step} {after_effect}");
    }
}

#[test]
fn a_guest_is_invited_once_and_by_another_event_when_that_one_goes() {
    let providers = [Provider::Google, Provider::Microsoft, Provider::Google, Provider::Google];
    let mut world = world(&providers, Policy::NewestWins);
    let mut event = simple("A");
    event.attendees.insert("known1".into(), person(Reach::Known, Response::None));
    // The assigned user's calendar is the second one, so that the others' events end alone.
    world.add_meeting(MeetingKind::Meeting, event, &["user1", "user0", "user2", "user3"]);
    world.settle();
    let invites = |world: &World, mail: &str| -> Vec<usize> {
        let of = |at: &usize| world.events[*at].values().any(|side| side.event.attendees.contains_key(mail));
        (0..4).filter(of).collect()
    };
    assert_eq!((world.events_created, invites(&world, "known1")), (4, vec![0]));
    // A guest of a further user's event is that event's.
    let id = first_event(&world, 2).unwrap();
    world.edit_event(2, &id, |side| {
        side.event.attendees.insert("known2".into(), person(Reach::Known, Response::None));
    });
    world.settle();
    assert_eq!((invites(&world, "known1"), invites(&world, "known2")), (vec![0], vec![2]));
    // Where two invite the same guest, the one that comes first goes on.
    let id = first_event(&world, 3).unwrap();
    world.edit_event(3, &id, |side| {
        side.event.attendees.insert("known1".into(), person(Reach::Known, Response::None));
    });
    world.settle();
    assert_eq!(invites(&world, "known1"), [0]);
    world.events[0].clear();
    world.settle();
    assert_eq!(
        (world.meetings.len(), invites(&world, "known1"), invites(&world, "known2")),
        (1, vec![2], vec![2])
    );
    assert_eq!(world.mails, 0);
}

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
    let mut world = super::tests::world(&[Provider::Microsoft], Policy::NewestWins);
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
    let mut world = super::tests::world(&[Provider::Microsoft], Policy::NewestWins);
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
    let mut world = super::tests::world(&[Provider::Microsoft], Policy::CrmWins);
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

#[test]
fn who_joins_gets_no_second_event_where_the_run_is_stopped() {
    for (step, after_effect) in [(0, true), (1, false), (1, true), (2, false), (2, true)] {
        let mut world = world(&[Provider::Google, Provider::Microsoft], Policy::NewestWins);
        let invited = world.add_event(1, simple("A"), "uid1", false);
        let own = world.add_event(0, simple("A"), "uid1", true);
        world.run(&Look::Event(1, invited), None);
        let record = first_meeting(&world).unwrap();
        world.run(&Look::Event(0, own), Some(Stop { step, after_effect }));
        world.run(&Look::Meeting(0, record.clone()), None);
        world.settle();
        assert_eq!(
            (world.events_created, world.meetings[&record].users.len()),
            (0, 2),
            "{step} {after_effect}"
        );
    }
}
