//! Who reports to whom.

use super::super::action::Oddity;
use super::super::deciding::Mode;
use super::super::fixtures::id;
use super::super::ids::ExternalId;
use super::super::key::Key;
use super::super::known::Known;
use super::super::record::{Field, Value};
use super::super::rules::{Leavers, Rules};
use super::{d, edit, field, look, small, text, user, with_member};

#[test]
fn leaders_are_set_when_they_come_and_nobody_waits() {
    let mut world = small(Rules::default());
    edit(&mut world, "m", |m| m.leaders = Some(vec![id("m"), id("boss"), id("ghost")]));
    assert!(world.shown().managers.is_empty());
    assert!(world.oddities.contains(&Oddity::UnknownLeader(id("m"), id("boss"))));
    assert!(world.parked.is_empty());
    let reads = world.counts.reads;
    with_member(&mut world, "boss", &[1]);
    look(&mut world, user("boss"));
    assert_eq!(world.counts.reads, reads + 1, "m is not read again");
    assert_eq!(world.shown().managers[&id("m")], id("boss"));
    edit(&mut world, "m", |m| m.leaders = Some(Vec::new()));
    assert!(world.shown().managers.is_empty());
}

#[test]
fn who_reported_to_one_who_left_is_told_at_once_and_again_on_return() {
    for leavers in [Leavers::Deactivate, Leavers::Delete] {
        let mut world = small(Rules { leavers, ..Rules::default() });
        with_member(&mut world, "boss", &[1]);
        with_member(&mut world, "deputy", &[1]);
        ["boss", "deputy"].into_iter().for_each(|name| look(&mut world, user(name)));
        edit(&mut world, "m", |m| m.leaders = Some(vec![id("boss"), id("deputy")]));
        assert_eq!(world.shown().managers[&id("m")], id("boss"));
        let boss = world.wecom.members.remove(&id("boss")).unwrap();
        let reads = world.counts.reads;
        look(&mut world, user("boss"));
        assert_eq!(world.counts.reads, reads + 1, "m is not read again");
        world.assert_converged();
        assert_eq!(world.shown().managers[&id("m")], id("deputy"));
        world.wecom.members.insert(id("boss"), boss);
        look(&mut world, user("boss"));
        world.assert_converged();
        world.assert_quiet();
    }
}

#[test]
fn who_reported_to_one_who_left_is_told_though_the_run_was_stopped() {
    for leavers in [Leavers::Deactivate, Leavers::Delete] {
        for stop in 0..40 {
            let mut world = small(Rules { leavers, ..Rules::default() });
            with_member(&mut world, "boss", &[1]);
            look(&mut world, user("boss"));
            edit(&mut world, "m", |m| m.leaders = Some(vec![id("boss")]));
            world.wecom.members.remove(&id("boss"));
            let mut run = world.begin(user("boss"), Mode::Hint, Known::default());
            for _ in 0..stop {
                if world.step(&mut run) {
                    break;
                }
            }
            world.leases.clear();
            look(&mut world, user("boss"));
            world.assert_converged();
        }
    }
}

#[test]
fn who_reports_to_one_who_was_deleted_in_the_target_gets_the_one_that_is_made_anew() {
    let mut world = small(Rules::default());
    with_member(&mut world, "boss", &[20]);
    look(&mut world, user("boss"));
    edit(&mut world, "m", |m| m.leaders = Some(vec![id("boss")]));
    world.assert_converged();
    let lost = world.member_links[&id("boss")].1.target.clone();
    world.users.remove(&lost);
    world.sweep();
    let made = world.member_links[&id("boss")].1.target.clone();
    assert_ne!(made, lost);
    assert_eq!(field(&world, "m", Field::Manager), Some(text(&made.0)));
    world.assert_converged();
}

#[test]
fn who_leads_a_department_has_it_among_its_roles() {
    let mut world = small(Rules::default());
    edit(&mut world, "m", |m| m.set_departments(&[d(20), d(10)], &[], &[true]));
    assert_eq!(
        field(&world, "m", Field::Leads),
        Some(Value::Texts(vec![ExternalId::Department(d(20)).to_string()]))
    );
    // Where the member's list is short, the department's counts.
    world.wecom.departments.get_mut(&d(10)).unwrap().leaders = Some(vec![id("m")]);
    look(&mut world, Key::Department(d(10)));
    let leads = [10, 20].map(|id| ExternalId::Department(d(id)).to_string()).to_vec();
    assert_eq!(field(&world, "m", Field::Leads), Some(Value::Texts(leads)));
}
