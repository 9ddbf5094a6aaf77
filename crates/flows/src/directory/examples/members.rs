//! A member and its account, case by case.

use std::collections::BTreeSet;

use super::super::action::{Oddity, Refusal};
use super::super::deciding::Mode;
use super::super::fixtures::{self, id};
use super::super::ids::TargetId;
use super::super::key::Key;
use super::super::known::{Answer, Known, Read};
use super::super::model::{User, World};
use super::super::record::{Attributes, Field, Value};
use super::super::rules::{Leavers, Login, Rules};
use super::{d, edit, field, look, small, text, user, with_department, with_member};

#[test]
fn what_is_absent_is_never_cleared_and_what_is_empty_is() {
    let mut world = small(Rules::default());
    edit(&mut world, "m", |m| {
        m.email = Some("m@example.test".to_owned());
        m.mobile = Some("138".to_owned());
        m.position = Some("经理".to_owned());
    });
    edit(&mut world, "m", |m| (m.email, m.mobile, m.position) = (None, None, None));
    for (of, value) in
        [(Field::WorkMail, "m@example.test"), (Field::MobilePhone, "138"), (Field::Title, "经理")]
    {
        assert_eq!(field(&world, "m", of), Some(text(value)));
    }
    edit(&mut world, "m", |m| m.position = Some(String::new()));
    assert_eq!(field(&world, "m", Field::Title), Some(text("")));
    edit(&mut world, "m", |m| m.departments = None);
    assert_eq!(world.shown().users[&id("m")].2, BTreeSet::from([d(20)]), "departments are not told");
}

#[test]
fn mails_have_their_places() {
    let mut world = small(Rules::default());
    let mails = |world: &World| (field(world, "m", Field::WorkMail), field(world, "m", Field::OtherMail));
    edit(&mut world, "m", |m| {
        (m.email, m.biz_mail) = (Some("own@x".to_owned()), Some("biz@x".to_owned()));
    });
    assert_eq!(mails(&world), (Some(text("own@x")), Some(text("biz@x"))));
    edit(&mut world, "m", |m| m.email = Some(String::new()));
    assert_eq!(mails(&world), (Some(text("biz@x")), Some(text(""))));
}

#[test]
fn a_disabled_member_keeps_its_groups() {
    let mut world = small(Rules::default());
    edit(&mut world, "m", |m| (m.status, m.enabled) = (Some(2), Some(false)));
    assert_eq!(field(&world, "m", Field::Active), Some(Value::Flag(false)));
    assert_eq!(world.shown().users[&id("m")].2, BTreeSet::from([d(20)]));
    edit(&mut world, "m", |m| (m.status, m.enabled) = (Some(4), Some(true)));
    assert_eq!(field(&world, "m", Field::Active), Some(Value::Flag(true)), "only not logged in yet");
}

#[test]
fn who_leaves_is_deactivated_and_has_the_same_account_on_return() {
    let mut world = small(Rules::default());
    let target = world.member_links[&id("m")].1.target.clone();
    let member = world.wecom.members.remove(&id("m")).unwrap();
    look(&mut world, user("m"));
    assert_eq!(world.users[&target].attributes[&Field::Active], Value::Flag(false));
    assert!(world.groups.values().all(|group| !group.members.contains(&target)));
    assert_eq!(world.counts.tombstones, BTreeSet::from([user("m")]), "the guard counts it");
    let writes = world.counts.writes;
    look(&mut world, user("m"));
    assert_eq!(world.counts.writes, writes, "once");
    world.wecom.members.insert(id("m"), member);
    look(&mut world, user("m"));
    world.assert_converged();
    assert_eq!(world.member_links[&id("m")].1.target, target);
    assert_eq!(world.users[&target].attributes[&Field::Active], Value::Flag(true));
}

#[test]
fn a_list_that_is_older_than_what_another_run_has_read_changes_nothing() {
    let mut world = small(Rules::default());
    edit(&mut world, "m", |m| m.position = Some("助理".to_owned()));
    let (member, department) =
        (world.wecom.members[&id("m")].clone(), world.wecom.departments[&d(20)].clone());
    let listed = |world: &mut World, key: Key| {
        let mut known = Known::default();
        known.learn_listed(Answer::Department(d(20), Read::Found(department.clone())));
        known.learn_listed(Answer::Member(id("m"), Box::new(Read::Found(member.clone()))));
        let mut run = world.begin(key, Mode::FirstSync, known);
        while !world.step(&mut run) {}
        world.assert_converged();
    };
    let reads = world.counts.reads;
    listed(&mut world, user("m"));
    assert_eq!(world.counts.reads, reads, "nothing is read where nothing differs");
    edit(&mut world, "m", |m| m.position = Some("经理".to_owned()));
    listed(&mut world, user("m"));
    assert_eq!(field(&world, "m", Field::Title), Some(text("经理")));
    world.wecom.departments.get_mut(&d(20)).unwrap().parent = Some(d(1));
    look(&mut world, Key::Department(d(20)));
    listed(&mut world, Key::Department(d(20)));
    world.wecom.members.clear();
    look(&mut world, user("m"));
    listed(&mut world, user("m"));
    assert_eq!(field(&world, "m", Field::Active), Some(Value::Flag(false)), "who left stays out");
}

#[test]
fn a_second_account_of_a_member_is_taken_out_of_use_by_a_full_compare() {
    for leavers in [Leavers::Deactivate, Leavers::Delete] {
        for leaves in [false, true] {
            let mut world = small(Rules { leavers, ..Rules::default() });
            let first = world.member_links[&id("m")].1.target.clone();
            let seconds = ["a", "z"].map(|id| TargetId(id.to_owned()));
            for second in &seconds {
                let mut user = world.users[&first].clone();
                user.attributes.insert(Field::UserName, text(&second.0));
                world.users.insert(second.clone(), user);
            }
            if leaves {
                world.wecom.members.clear();
                look(&mut world, user("m"));
            }
            world.publish_swept(user("m"));
            world.work();
            let is_active = |target: &TargetId| {
                world.users.get(target).map(|user| user.attributes[&Field::Active] == Value::Flag(true))
            };
            assert!(seconds.iter().all(|second| is_active(second) != Some(true)), "{leavers:?} {leaves}");
            assert_eq!(is_active(&first).unwrap_or_default(), !leaves, "{leavers:?} {leaves}");
            assert!(world.counts.tombstones.contains(&user("m")), "the guard counts it");
            let writes = world.counts.writes;
            world.publish_swept(user("m"));
            world.work();
            assert_eq!(world.counts.writes, writes, "once");
        }
    }
}

#[test]
fn who_leaves_is_deleted_by_setting_after_its_memberships() {
    let mut world = small(Rules { leavers: Leavers::Delete, ..Rules::default() });
    world.wecom.members.clear();
    look(&mut world, user("m"));
    assert!(world.users.is_empty() && world.member_links.is_empty());
    world.assert_converged();
}

#[test]
fn a_deactivated_twin_is_adopted() {
    let mut world = small(Rules::default());
    world.member_links.clear();
    let target = world.users.keys().next().unwrap().clone();
    world.users.get_mut(&target).unwrap().attributes.insert(Field::Active, Value::Flag(false));
    look(&mut world, user("m"));
    world.assert_converged();
    assert_eq!((world.users.len(), world.counts.users_created), (1, 0));
    assert_eq!(world.users[&target].attributes[&Field::Active], Value::Flag(true));
}

#[test]
fn an_account_of_somebody_else_is_left_alone_and_a_person_is_told() {
    let mut world = small(Rules::default());
    let attributes = Attributes::from([(Field::UserName, text("NewBie"))]);
    let foreign = User { external_id: None, attributes, version: 0 };
    world.users.insert(TargetId("foreign".to_owned()), foreign.clone());
    with_member(&mut world, "newbie", &[10]);
    look(&mut world, user("newbie"));
    let taken = Refusal::NameTaken { member: id("newbie"), name: "newbie".to_owned() };
    assert_eq!(world.refused.get(&user("newbie")), Some(&taken));
    assert_eq!(world.users[&TargetId("foreign".to_owned())], foreign);
    world.users.remove(&TargetId("foreign".to_owned()));
    look(&mut world, user("newbie"));
    world.assert_converged();
}

#[test]
fn users_are_not_created_where_that_is_off() {
    let mut world = World::new(Rules { creates_users: false, ..Rules::default() });
    with_department(&mut world, 1, 0);
    with_member(&mut world, "m", &[1]);
    look(&mut world, user("m"));
    assert!(world.users.is_empty() && world.member_links.is_empty());
    assert_eq!(world.groups.len(), 1);
}

#[test]
fn a_lost_right_ends_nothing() {
    let mut world = small(Rules::default());
    world.wecom.invisible.insert(d(20));
    world.wecom.invisible_members.insert(id("m"));
    look(&mut world, Key::Department(d(20)));
    look(&mut world, user("m"));
    assert_eq!(world.counts.writes, 0);
    let lost = [Key::Department(d(20)), user("m")].map(Oddity::Invisible);
    assert!(lost.iter().all(|oddity| world.oddities.contains(oddity)));
}

#[test]
fn a_login_that_wecom_does_not_give_any_more_stays() {
    let mut world = small(Rules { login: Login::Mail, ..Rules::default() });
    assert_eq!(field(&world, "m", Field::UserName), Some(text("m")), "while there is no mail");
    edit(&mut world, "m", |m| m.email = Some("m@example.test".to_owned()));
    assert_eq!(field(&world, "m", Field::UserName), Some(text("m@example.test")));
    edit(&mut world, "m", |m| m.email = None);
    assert_eq!(field(&world, "m", Field::UserName), Some(text("m@example.test")));
}

#[test]
fn the_employees_number_is_an_extended_attribute() {
    let number = Some("工号".to_owned());
    let mut world = World::new(Rules { employee_number: number, ..Rules::default() });
    with_department(&mut world, 1, 0);
    let mut zhangsan = fixtures::users().into_iter().find(|m| m.id == id("zhangsan")).unwrap();
    zhangsan.set_departments(&[d(1)], &[], &[]);
    world.wecom.members.insert(zhangsan.id.clone(), zhangsan);
    look(&mut world, user("zhangsan"));
    assert_eq!(field(&world, "zhangsan", Field::EmployeeNumber), Some(text("A-0001")));
    assert_eq!(field(&world, "zhangsan", Field::NickName), Some(text("jackzhang")));
}
