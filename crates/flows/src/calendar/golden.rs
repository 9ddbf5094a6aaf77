//! Plans as text, for readers: what a decision looks like, step by step, until nothing is left to plan.

use std::fmt::Write;

use super::action::{Action, Notice, Plan};
use super::event::{Attendees, Event, Field, Place, Reach, Response};
use super::link::PairLink;
use super::model::{Look, World};
use super::plan::Policy;
use super::sides::{EventStatus, MeetingKind, MeetingRef, Provider};
use super::tests::{day, first_event, first_meeting, hour, person, simple, weekly, world};

fn check(name: &str, world: &mut World, look: &Look) {
    let mut text = String::new();
    for plan in world.tell(look) {
        print(&mut text, &plan);
        plan.actions.iter().for_each(|action| line(&mut text, action));
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

fn print(text: &mut String, plan: &Plan) {
    write!(text, "{:?}", plan.verdict).unwrap();
    text.push_str(if plan.deletes { ", deletes" } else { "" });
    text.push_str(if plan.again { ", plans again" } else { "" });
    if plan.conflicts > 0 {
        write!(text, ", {} in conflict", plan.conflicts).unwrap();
    }
    text.push('\n');
}

fn line(text: &mut String, action: &Action) {
    write!(text, "- {} ", action.name()).unwrap();
    match action {
        Action::SaveLink(link) => link_line(text, link),
        Action::CreateMeeting { key, event, user_id } => {
            write!(text, "of {key} for {user_id}: {}", short(event)).unwrap();
        }
        Action::UpdateMeeting { record, expected, target, fields } => {
            write!(text, "{} at {expected:?}: {}", record.id, values(target, fields)).unwrap();
        }
        Action::JoinMeeting { record, expected, user_id, response } => {
            write!(text, "{} at {expected:?}: {user_id} {response:?}", record.id).unwrap();
        }
        Action::NoteRemoval { record, expected, from } => {
            write!(text, "{} at {expected:?}: {from:?}", record.id).unwrap();
        }
        Action::DeleteMeeting { record }
        | Action::ReadMeeting { record }
        | Action::FindOriginal { record } => {
            text.push_str(&record.id);
        }
        Action::CreateEvent { token, event, guests } => {
            write!(text, "of {} in {}, guests {guests:?}: ", token.record.id, token.calendar_id).unwrap();
            text.push_str(&short(event));
        }
        Action::UpdateEvent { id, expected, target, fields, guests } => {
            write!(text, "{id} at {expected}, guests {guests:?}: {}", values(target, fields)).unwrap();
        }
        Action::StampEvent { id, record } => write!(text, "{id} with {}", record.id).unwrap(),
        Action::DeleteEvent { id, expected } => write!(text, "{id} at {expected}").unwrap(),
        Action::ReadEvent { id } | Action::LookAtInstances { id } => text.push_str(id),
        Action::FindDay { series_id, original } => write!(text, "{series_id} {}", original.text()).unwrap(),
        Action::Notify(notice) => match notice {
            Notice::Conflict(fields) => {
                for field in fields {
                    write!(
                        text,
                        "conflict {:?}: CRM {:?}, calendar {:?}",
                        field.field, field.crm, field.calendar
                    )
                    .unwrap();
                }
            }
            other => write!(text, "{other:?}").unwrap(),
        },
    }
    text.push('\n');
}

fn link_line(text: &mut String, link: &PairLink) {
    let id = |record: &MeetingRef| record.id.clone();
    let (event, meeting) = (link.event_id.as_deref(), link.meeting.as_ref().map(id));
    write!(text, "{} ↔ {}", event.unwrap_or("?"), meeting.as_deref().unwrap_or("?")).unwrap();
    if let Some(creating) = &link.creating {
        write!(text, ", creating in {:?}", creating.side).unwrap();
    }
    if let Some(attempt) = &link.attempt {
        write!(text, ", attempt crm={:?} calendar={:?}", attempt.to_crm, attempt.to_calendar).unwrap();
    }
    if let Some(base) = &link.base {
        write!(text, ", base {}", short(base)).unwrap();
    }
    if let Some(revision) = &link.revision {
        write!(text, ", at {revision} and {:?}", link.version).unwrap();
    }
    if let Some(conflict) = &link.conflict {
        write!(text, ", conflict winner={:?} told={}", conflict.winner, conflict.told).unwrap();
    }
    if !link.left.is_empty() {
        write!(text, ", left {:?}", link.left).unwrap();
    }
    if let Some(tombstone) = &link.tombstone {
        write!(text, ", ended by {:?}", tombstone.why).unwrap();
    }
}

fn short(event: &Event) -> String {
    let people: Vec<&str> = event.attendees.keys().map(String::as_str).collect();
    let people = if people.is_empty() { String::new() } else { format!(" with {}", people.join(", ")) };
    let rule = event.place.series().map(|series| format!(" by {}", series.to_lines().join(" ")));
    format!("{:?}{people}{}", event.subject, rule.unwrap_or_default())
}

fn values(target: &Event, fields: &[Field]) -> String {
    fields.iter().map(|field| format!("{field:?}={:?}", target.show(*field))).collect::<Vec<_>>().join(", ")
}

fn guests() -> Attendees {
    [("erika@example.org".to_owned(), person(Reach::Known, Response::Accepted))].into()
}

/// An event and its meeting in agreement.
fn agreed(provider: Provider, policy: Policy, event: Event) -> (World, String, MeetingRef) {
    let mut world = world(&[provider], policy);
    let id = world.add_event(0, event, "uid1", true);
    world.settle();
    let record = first_meeting(&world).unwrap();
    (world, id, record)
}

#[test]
fn births() {
    for (provider, word) in [(Provider::Microsoft, "outlook"), (Provider::Google, "google")] {
        let mut born = world(&[provider], Policy::NewestWins);
        let id = born.add_event(0, Event { attendees: guests(), ..simple("Jour fixe") }, "uid1", true);
        check(&format!("event_from_{word}"), &mut born, &Look::Event(0, id));
        let mut born = world(&[provider], Policy::NewestWins);
        let event = Event { attendees: guests(), ..simple("Jour fixe") };
        let record = born.add_meeting(MeetingKind::Meeting, event, &["user0"]);
        check(&format!("meeting_to_{word}"), &mut born, &Look::Meeting(0, record));
    }
    let mut born = world(&[Provider::Microsoft], Policy::NewestWins);
    let event = Event { place: Place::Master(weekly()), ..simple("Weekly") };
    let id = born.add_event(0, event, "uid1", true);
    check("series_from_outlook", &mut born, &Look::Event(0, id));
}

#[test]
fn edits() {
    let (mut world, id, record) = agreed(Provider::Google, Policy::NewestWins, simple("A"));
    check("nothing", &mut world, &Look::Event(0, id.clone()));
    world.edit_meeting(&record, |side| side.event.location = "Room 1".into());
    world.edit_event(0, &id, |side| side.event.when = hour(1));
    check("merge", &mut world, &Look::Event(0, id));

    for (policy, word) in [(Policy::NewestWins, "newest_wins"), (Policy::Ask, "ask")] {
        let (mut world, id, record) = agreed(Provider::Google, policy, simple("A"));
        world.edit_meeting(&record, |side| side.event.subject = "Mine".into());
        world.edit_event(0, &id, |side| side.event.subject = "Theirs".into());
        check(&format!("conflict_{word}"), &mut world, &Look::Event(0, id));
    }

    let with_guests = Event { attendees: guests(), ..simple("A") };
    let (mut world, id, record) = agreed(Provider::Microsoft, Policy::NewestWins, with_guests);
    world.edit_meeting(&record, |side| (side.event.subject, side.event.private) = ("B".into(), true));
    check("guests_would_be_mailed", &mut world, &Look::Event(0, id));

    let mut world = super::tests::world(&[Provider::Microsoft], Policy::NewestWins);
    let record = world.add_meeting(MeetingKind::Call, simple("Call"), &["user0"]);
    world.settle();
    let id = first_event(&world, 0).unwrap();
    world.edit_event(0, &id, |side| side.event.when = day(1));
    check("call_all_day", &mut world, &Look::Meeting(0, record));
}

#[test]
fn ends() {
    let with_guests = Event { attendees: guests(), ..simple("A") };
    for (event, name) in
        [(simple("A"), "meeting_deleted"), (with_guests, "meeting_deleted_guests_would_be_mailed")]
    {
        let (mut world, id, record) = agreed(Provider::Microsoft, Policy::NewestWins, event);
        world.meetings.remove(&record);
        check(name, &mut world, &Look::Event(0, id));
    }
    let (mut world, id, record) = agreed(Provider::Microsoft, Policy::NewestWins, simple("A"));
    world.meetings.remove(&record);
    world.edit_event(0, &id, |side| side.event.body = "Minutes".into());
    check("meeting_deleted_event_edited", &mut world, &Look::Event(0, id));

    let (mut world, id, _) = agreed(Provider::Microsoft, Policy::NewestWins, simple("A"));
    world.events[0].remove(&id);
    check("event_removed", &mut world, &Look::Removed(0, id));

    let (mut world, id, _) = agreed(Provider::Google, Policy::NewestWins, simple("A"));
    world.edit_event(0, &id, |side| side.status = EventStatus::Cancelled);
    check("event_cancelled", &mut world, &Look::Event(0, id));
}

#[test]
fn copies() {
    let mut world = world(&[Provider::Google, Provider::Google], Policy::NewestWins);
    world.add_event(0, simple("A"), "uid1", true);
    let id = world.add_event(1, simple("A"), "uid1", false);
    world.run(&Look::Event(0, first_event(&world, 0).unwrap()), None);
    check("attendees_copy_of_somebody_new", &mut world, &Look::Event(1, id.clone()));
    let linked = world.links.pop();
    check("attendees_copy", &mut world, &Look::Event(1, id.clone()));
    assert_eq!(world.links.last(), linked.as_ref());
    world.events[1].remove(&id);
    check("attendees_copy_removed", &mut world, &Look::Event(1, id));
}
