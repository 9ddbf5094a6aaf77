//! What happens where a run was stopped, case by case.

use jiff::ToSpan as _;

use super::super::event::{Busy, Event, Place};
use super::super::model::{Look, Stop, World};
use super::super::plan::Policy;
use super::super::sides::{EventStatus, MeetingKind, Provider};
use super::super::tests::{first_event, first_meeting, hour, now, simple, weekly, world};

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

#[test]
fn an_organiser_whose_run_was_stopped_goes_on_from_what_a_copy_made_meanwhile() {
    let begun = Stop { step: 0, after_effect: true };
    for stop in [None, Some(Stop { step: 1, after_effect: true }), Some(Stop { step: 2, after_effect: true })]
    {
        let mut world = world(&[Provider::Microsoft, Provider::Microsoft], Policy::NewestWins);
        let own = world.add_event(0, simple("Jour fixe"), "uid1", true);
        let invited = Event { busy: Busy::Tentative, ..simple("Jour fixe") };
        let copy = world.add_event(1, invited, "uid1", false);
        assert!(!world.run(&Look::Event(0, own.clone()), Some(begun)));
        world.run(&Look::Event(1, copy), stop);
        world.run(&Look::Event(0, own.clone()), None);
        world.settle();
        assert_eq!(world.meetings[&first_meeting(&world).unwrap()].event.busy, Busy::Busy, "{stop:?}");
        assert_eq!(world.events[0][&own].event.busy, Busy::Busy, "{stop:?}");
        assert_eq!((&world.notices, world.meetings_created), (&Vec::new(), 1), "{stop:?}");
    }
}

/// Outlook leaves out each occurrence by a request of its own, and a run may be stopped before it.
#[test]
fn what_was_still_to_be_left_out_is_not_taken_for_put_back() {
    let weekly_but = |left_out: usize| {
        let mut series = weekly();
        let occurrences = series.occurrences(&hour(0), now(), now() + 60 * 24.hours()).unwrap();
        series.gaps.extend(occurrences.into_iter().take(left_out).map(|occurrence| occurrence.original));
        series
    };
    for is_new in [true, false] {
        let mut world = world(&[Provider::Microsoft], Policy::NewestWins);
        let wanted = Event { place: Place::Master(weekly_but(2)), ..simple("A") };
        let begun =
            if is_new { wanted.clone() } else { Event { place: Place::Master(weekly()), ..simple("A") } };
        let record = world.add_meeting(MeetingKind::Meeting, begun, &["user0"]);
        if !is_new {
            world.settle();
            world.edit_meeting(&record, |side| side.event.place = wanted.place.clone());
        }
        assert!(!world.run(&Look::Meeting(0, record.clone()), Some(Stop { step: 1, after_effect: true })));
        let id = first_event(&world, 0).unwrap();
        world.edit_event(0, &id, |side| {
            (side.event.place, side.gaps_known) = (Place::Master(weekly_but(1)), true);
        });
        world.settle();
        for said in [&world.meetings[&record].event, &world.events[0][&id].event] {
            assert_eq!(said.place, wanted.place, "{is_new}");
        }
        assert_eq!((&world.notices, world.events_created), (&Vec::new(), 1));
    }
}
