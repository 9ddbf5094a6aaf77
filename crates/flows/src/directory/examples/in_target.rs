//! What others do in the target, and how it is written.

use std::collections::BTreeSet;

use super::super::espocrm;
use super::super::fixtures::id;
use super::super::ids::{MemberId, TargetId};
use super::super::key::Key;
use super::super::model::{Group, World};
use super::super::record::{Field, Value};
use super::super::rules::{Hierarchy, Rules};
use super::{d, edit, field, look, small, text, user, with_department, with_member};

#[test]
fn what_a_target_keeps_in_another_form_is_written_once() {
    let country = espocrm::Country::new("CN").unwrap();
    let rules = Rules { creates_users: true, ..espocrm::rules(Hierarchy::Flat, country) };
    let mut world = World::new(rules);
    with_department(&mut world, 1, 0);
    with_department(&mut world, 10, 1);
    world.wecom.departments.get_mut(&d(10)).unwrap().name = Some("A=B".to_owned());
    with_member(&mut world, "Zhang+San", &[10]);
    with_member(&mut world, "n", &[10]);
    look(&mut world, user("n"));
    edit(&mut world, "Zhang+San", |m| {
        m.mobile = Some("13800000000".to_owned());
        m.telephone = Some("8001".to_owned());
        m.email = Some("San@Example.test".to_owned());
        m.alias = Some("San".to_owned());
        m.leaders = Some(vec![id("n")]);
    });
    assert_eq!(world.shown().groups[&d(10)].1, "A＝B");
    let says = |of| field(&world, "Zhang+San", of);
    assert_eq!(says(Field::MobilePhone), Some(text("+8613800000000")));
    assert_eq!(says(Field::WorkMail), Some(text("san@example.test")));
    for without in [Field::WorkPhone, Field::NickName, Field::DisplayName, Field::Manager] {
        assert_eq!(says(without), None, "{without:?}");
    }
    world.assert_settled();
    world.assert_quiet();
    world.publish_swept(user("Zhang+San"));
    let writes = world.counts.writes;
    world.work();
    assert_eq!(world.counts.writes, writes);
}

#[test]
fn what_was_deleted_in_the_target_is_made_anew_with_its_members() {
    let mut world = small(Rules::default());
    let group = world.department_links[&d(20)].1.group().unwrap().target.clone();
    world.groups.remove(&group);
    with_member(&mut world, "n", &[20]);
    look(&mut world, user("n"));
    world.assert_converged();
    assert_eq!(world.shown().users[&id("m")].2, BTreeSet::from([d(20)]));
    let user_target = world.member_links[&id("m")].1.target.clone();
    world.users.remove(&user_target);
    edit(&mut world, "m", |m| m.alias = Some("a".to_owned()));
    assert!(
        world.groups.values().all(|group| !group.members.contains(&user_target)),
        "its old id stays behind"
    );
    world.assert_converged();
}

#[test]
fn changes_of_a_group_are_written_in_batches() {
    let mut world = small(Rules { batch_max: 4, ..Rules::default() });
    for n in 0..10 {
        with_member(&mut world, &format!("n{n}"), &[20]);
        world.publish(user(&format!("n{n}")));
    }
    world.work();
    world.assert_converged();
    assert!(world.counts.member_changes <= 4, "{}", world.counts.member_changes);
}

#[test]
fn what_does_not_carry_our_prefix_is_never_touched() {
    let mut world = small(Rules::default());
    let foreign = TargetId("foreign".to_owned());
    let members = BTreeSet::from([foreign.clone()]);
    let group = Group { external_id: None, name: "D10".to_owned(), members, version: 0 };
    world.groups.insert(foreign.clone(), group.clone());
    let ours = world.department_links[&d(20)].1.group().unwrap().target.clone();
    world.groups.get_mut(&ours).unwrap().members.insert(foreign.clone());
    world.sweep();
    assert_eq!(world.counts.writes, 0);
    assert!(world.groups[&ours].members.contains(&foreign), "put there by somebody else");
    assert_eq!(world.groups[&foreign], group);
}

#[test]
fn a_sweep_repairs_what_somebody_changed_in_the_target() {
    let mut world = small(Rules::default());
    let MemberTarget { user, group } = targets(&world, "m", 20);
    world.users.get_mut(&user).unwrap().attributes.insert(Field::DisplayName, text("x"));
    world.groups.get_mut(&group).unwrap().name = "x".to_owned();
    world.groups.get_mut(&group).unwrap().members.clear();
    let facts = world.sweep();
    assert_eq!((facts.differs, facts.equal), (2, 2));
    world.assert_converged();
    world.wecom.members.clear();
    look(&mut world, Key::Member(id("m")));
    assert_eq!(world.sweep().extra, 0, "out of use, and stays so");
    world.users.get_mut(&user).unwrap().attributes.insert(Field::Active, Value::Flag(true));
    assert_eq!(world.sweep().extra, 1);
    assert_eq!(world.users[&user].attributes[&Field::Active], Value::Flag(false));
    world.assert_converged();
}

struct MemberTarget {
    user: TargetId,
    group: TargetId,
}

fn targets(world: &World, userid: &str, department: u32) -> MemberTarget {
    let member: MemberId = id(userid);
    MemberTarget {
        user: world.member_links[&member].1.target.clone(),
        group: world.department_links[&d(department)].1.group().unwrap().target.clone(),
    }
}
