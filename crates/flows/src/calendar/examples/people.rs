//! Meetings of several people, case by case.

use super::super::action::{Ignored, Notice, Verdict};
use super::super::event::{Attendees, Busy, Event, Reach, Response};
use super::super::model::{Look, World};
use super::super::plan::Policy;
use super::super::sides::{MeetingKind, Provider};
use super::super::tests::{first_event, first_meeting, person, simple, world};

/// Of a user's two calendars the first by its id gets the meeting in the run that finds both sides edited.
#[test]
fn an_event_that_was_just_made_of_a_meeting_does_not_answer_for_it() {
    let mut world = world(&[Provider::Google, Provider::Microsoft], Policy::NewestWins);
    world.calendars[0].user_id = "user1".into();
    let record = world.add_meeting(MeetingKind::Meeting, simple("A"), &["user1"]);
    world.run(&Look::Meeting(1, record.clone()), None);
    let id = first_event(&world, 1).unwrap();
    let both_edited = |world: &mut World, crm: &str, calendar: &str| {
        world.edit_meeting(&record, |side| side.event.subject = crm.into());
        world.edit_event(1, &id, |side| side.event.subject = calendar.into());
        world.run(&Look::Meeting(0, record.clone()), None);
        world.run(&Look::Meeting(1, record.clone()), None);
        world.settle();
        world.meetings[&record].event.subject.clone()
    };
    assert_eq!(both_edited(&mut world, "B", "C"), "C", "the later one");
    assert_eq!(world.events_created, 2);
    assert_eq!(both_edited(&mut world, "D", "E"), "D", "the first calendar speaks for the meeting now");
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

    let mut world = super::super::tests::world(&[Provider::Google, Provider::Microsoft], Policy::NewestWins);
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

#[test]
fn who_is_taken_out_of_a_meeting_loses_the_event_that_was_made_of_it_and_has_it_again_when_back() {
    for provider in [Provider::Google, Provider::Microsoft] {
        let mut world = world(&[Provider::Google, provider], Policy::NewestWins);
        let record = world.add_meeting(MeetingKind::Meeting, simple("A"), &["user0", "user1"]);
        world.settle();
        let is_user = |world: &mut World, is_user: bool| {
            world.edit_meeting(&record, |side| {
                side.users.retain(|user| user != "user1");
                side.users.extend(is_user.then(|| "user1".to_owned()));
            });
            world.settle();
            (world.events[0].len(), world.events[1].len())
        };
        assert_eq!(is_user(&mut world, false), (1, 0));
        assert_eq!(is_user(&mut world, true), (1, 1));
        // What was edited in the event is carried over first.
        let id = first_event(&world, 1).unwrap();
        world.edit_event(1, &id, |side| side.event.location = "Room 1".into());
        assert_eq!(is_user(&mut world, false), (1, 0));
        assert_eq!(world.meetings[&record].event.location, "Room 1");
        // The own event of whoever organises it stays.
        let own = world.add_event(1, simple("B"), "uid1", true);
        world.settle();
        let born = world.meetings.values().find(|side| side.key.is_some()).unwrap().record.clone();
        world.edit_meeting(&born, |side| side.users.clear());
        world.settle();
        assert!(world.events[1].contains_key(&own));
    }
}
