//! One example for each rule.

use std::collections::BTreeSet;

use jiff::ToSpan as _;

use super::action::{Oddity, Refusal};
use super::deciding::Mode;
use super::department::Department;
use super::espocrm;
use super::fixtures::{self, id};
use super::ids::{DepartmentId, ExternalId, MemberId, TargetId};
use super::key::Key;
use super::known::{Answer, Known, Read};
use super::member::Member;
use super::model::{Group, User, World};
use super::record::{Attributes, Field, Value};
use super::rules::{Hierarchy, Leavers, Login, Rules};
use super::tree::Attached;

fn d(id: u32) -> DepartmentId {
    DepartmentId(id)
}

fn user(userid: &str) -> Key {
    Key::Member(id(userid))
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn with_department(world: &mut World, id: u32, parent: u32) {
    let name = Some(format!("D{id}"));
    let department = Department { id: d(id), parent: Some(d(parent)), name, order: None, leaders: None };
    world.wecom.departments.insert(d(id), department);
}

fn with_member(world: &mut World, userid: &str, departments: &[u32]) {
    let ids: Vec<_> = departments.iter().copied().map(d).collect();
    let mut member = Member { name: Some("张三".to_owned()), ..Member::new(id(userid), userid) };
    member.set_departments(&ids, &[], &[]);
    world.wecom.members.insert(member.id.clone(), member);
}

fn edit(world: &mut World, userid: &str, edit: impl FnOnce(&mut Member)) {
    edit(world.wecom.members.get_mut(&id(userid)).unwrap());
    look(world, user(userid));
}

fn look(world: &mut World, key: Key) {
    world.publish(key);
    world.work();
}

/// Root, 10 below it, 20 below that, and `m` in 20; all of it in the target.
fn small(rules: Rules) -> World {
    let mut world = World::new(rules);
    with_department(&mut world, 1, 0);
    with_department(&mut world, 10, 1);
    with_department(&mut world, 20, 10);
    with_member(&mut world, "m", &[20]);
    look(&mut world, user("m"));
    world.assert_converged();
    world.counts = super::model::Counts::default();
    world
}

fn account<'a>(world: &'a World, userid: &str) -> &'a User {
    &world.users[&world.member_links[&id(userid)].1.target]
}

fn field(world: &World, userid: &str, field: Field) -> Option<Value> {
    account(world, userid).attributes.get(&field).cloned()
}

fn parked(world: &World) -> Vec<(String, Vec<String>)> {
    let texts = |keys: &BTreeSet<Key>| keys.iter().map(ToString::to_string).collect();
    world.parked.iter().map(|(awaited, keys)| (awaited.to_string(), texts(keys))).collect()
}

#[test]
fn a_member_brings_the_way_to_the_root() {
    let world = small(Rules::default());
    assert_eq!(world.shown().groups.len(), 3);
    assert_eq!(field(&world, "m", Field::FamilyName), Some(text("张")));
    assert_eq!(field(&world, "m", Field::GivenName), Some(text("三")));
    assert_eq!(field(&world, "m", Field::Active), Some(Value::Flag(true)));
    assert_eq!(field(&world, "m", Field::WorkMail), None, "not told, not written");
}

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
fn an_unknown_department_parks_its_members_and_each_is_released_once() {
    let mut world = small(Rules::default());
    for n in 0..5 {
        with_member(&mut world, &format!("n{n}"), &[30]);
        look(&mut world, user(&format!("n{n}")));
    }
    assert_eq!(parked(&world).len(), 1);
    assert_eq!(parked(&world)[0].1.len(), 5);
    assert_eq!(world.users.len(), 1, "nothing half done");
    look(&mut world, user("m"));
    look(&mut world, Key::Department(d(10)));
    assert_eq!((world.counts.parked, world.counts.released), (5, 0), "others' runs touch none of them");
    with_department(&mut world, 30, 20);
    look(&mut world, Key::Department(d(30)));
    world.assert_converged();
    let counts = &world.counts;
    assert_eq!((counts.parked, counts.released, counts.released_in_vain), (5, 5, 0));
}

#[test]
fn a_parent_that_cannot_be_read_is_waited_for_and_somebody_looks_at_it() {
    let mut world = small(Rules::default());
    with_department(&mut world, 30, 20);
    with_department(&mut world, 40, 30);
    with_member(&mut world, "n", &[40]);
    world.wecom.down.insert(d(30));
    look(&mut world, user("n"));
    look(&mut world, Key::Department(d(40)));
    let waiting = vec!["dept.40".to_owned(), "user.n".to_owned()];
    assert_eq!(parked(&world), [("dept.30".to_owned(), waiting)]);
    assert_eq!(world.later, BTreeSet::from([Key::Department(d(30))]), "its own message is tried again");
    world.wecom.down.clear();
    std::mem::take(&mut world.later).into_iter().for_each(|key| world.publish(key));
    world.work();
    world.assert_converged();
    assert_eq!((world.counts.parked, world.counts.released), (2, 2));
}

#[test]
fn a_department_that_we_may_not_see_is_left_out_and_asked_for_once_a_day() {
    let mut world = small(Rules::default());
    with_department(&mut world, 99, 1);
    world.wecom.invisible.insert(d(99));
    for n in 0..3 {
        with_member(&mut world, &format!("n{n}"), &[10, 99]);
        look(&mut world, user(&format!("n{n}")));
    }
    world.assert_converged();
    assert_eq!(world.counts.reads, 4, "each member, and the department once");
    assert!(world.oddities.contains(&Oddity::InvisibleDepartment(id("n2"), d(99))));
    world.now += 25.hours();
    world.wecom.invisible.clear();
    look(&mut world, user("n0"));
    world.assert_converged();
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
fn a_cycle_that_only_our_memory_has_is_none() {
    let mut world = small(Rules::default());
    // 20 goes up, 10 goes below it; only the second event comes.
    world.wecom.departments.get_mut(&d(20)).unwrap().parent = Some(d(1));
    world.wecom.departments.get_mut(&d(10)).unwrap().parent = Some(d(20));
    look(&mut world, Key::Department(d(10)));
    world.assert_converged();
    assert_eq!(world.counts.reads, 2);
}

#[test]
fn a_cycle_that_wecom_has_is_broken_at_the_smallest_id_whoever_comes_first() {
    for order in [[10, 20], [20, 10]] {
        let mut world = small(Rules::default());
        world.wecom.departments.get_mut(&d(10)).unwrap().parent = Some(d(20));
        order.iter().for_each(|id| look(&mut world, Key::Department(d(*id))));
        world.assert_converged();
        assert!(world.oddities.contains(&Oddity::Attached(d(10), Attached::Cycle)));
        world.assert_quiet();
    }
    for order in [[30, 40], [40, 30]] {
        let mut world = small(Rules::default());
        with_department(&mut world, 30, 40);
        with_department(&mut world, 40, 30);
        order.iter().for_each(|id| look(&mut world, Key::Department(d(*id))));
        world.assert_converged();
        world.assert_quiet();
    }
}

#[test]
fn who_names_no_usable_parent_is_attached_to_the_root() {
    let mut world = small(Rules::default());
    with_department(&mut world, 30, 30);
    with_department(&mut world, 40, 1);
    world.wecom.departments.get_mut(&d(40)).unwrap().parent = None;
    with_department(&mut world, 50, 99);
    world.wecom.invisible.insert(d(99));
    [30, 40, 50].into_iter().for_each(|id| look(&mut world, Key::Department(d(id))));
    world.assert_converged();
    for (id, why) in
        [(30, Attached::OwnParent), (40, Attached::NoParent), (50, Attached::InvisibleParent(d(99)))]
    {
        assert!(world.oddities.contains(&Oddity::Attached(d(id), why)));
    }
}

#[test]
fn a_full_compare_attaches_who_is_below_an_unknown_department() {
    let mut world = small(Rules::default());
    with_department(&mut world, 40, 99);
    with_department(&mut world, 50, 40);
    look(&mut world, Key::Department(d(50)));
    assert_eq!(parked(&world), [("dept.99".to_owned(), vec!["dept.50".to_owned()])]);
    let reads = world.counts.reads;
    world.publish_swept(Key::Department(d(50)));
    world.work();
    assert_eq!(world.counts.reads, reads + 3, "the way up to the unknown one");
    world.publish_swept(Key::Department(d(40)));
    world.work();
    assert!(world.oddities.contains(&Oddity::Attached(d(40), Attached::UnknownParent(d(99)))));
    assert_eq!(world.shown(), world.wanted());
    // What waits looks for itself.
    look(&mut world, Key::Department(d(50)));
    with_department(&mut world, 99, 10);
    look(&mut world, Key::Department(d(99)));
    world.assert_converged();
    world.assert_quiet();
}

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

#[test]
fn a_rename_that_comes_late_keeps_the_account_that_is_in_use() {
    for (age, kept_is_new) in [(1, false), (48, true)] {
        let mut world = small(Rules::default());
        let old = world.member_links[&id("m")].1.target.clone();
        let member = world.wecom.members.remove(&id("m")).unwrap();
        let renamed = Member { id: id("m.new"), userid: "M.new".to_owned(), ..member };
        world.wecom.members.insert(id("m.new"), renamed);
        look(&mut world, user("m.new"));
        let new = world.member_links[&id("m.new")].1.target.clone();
        assert_ne!(new, old);
        world.now += age.hours();
        look(&mut world, Key::Rename { old: id("m"), new: id("m.new") });
        let (kept, retired) = if kept_is_new { (&new, &old) } else { (&old, &new) };
        assert_eq!(world.member_links[&id("m.new")].1.target, *kept);
        assert_eq!(world.users[retired].external_id, Some(ExternalId::Retired(retired.clone())));
        assert_eq!(world.users[retired].attributes[&Field::Active], Value::Flag(false));
        world.assert_converged();
    }
}

#[test]
fn a_late_event_of_the_old_userid_ends_nobody_and_a_new_owner_gets_an_account() {
    let mut world = small(Rules::default());
    let target = world.member_links[&id("m")].1.target.clone();
    let member = world.wecom.members.remove(&id("m")).unwrap();
    let renamed = Member { id: id("m.new"), userid: "m.new".to_owned(), ..member };
    world.wecom.members.insert(id("m.new"), renamed);
    look(&mut world, Key::Rename { old: id("m"), new: id("m.new") });
    look(&mut world, user("m"));
    world.assert_converged();
    assert_eq!(world.member_links[&id("m.new")].1.target, target);
    with_member(&mut world, "m", &[10]);
    look(&mut world, user("m"));
    look(&mut world, Key::Rename { old: id("m"), new: id("m.new") });
    world.assert_converged();
    assert_eq!(world.users.len(), 2);
    world.wecom.members.remove(&id("m"));
    look(&mut world, user("m"));
    world.assert_converged();
}

#[test]
fn paths_follow_what_is_above() {
    for hierarchy in [Hierarchy::Flat, Hierarchy::Rollup] {
        let mut world = small(Rules::default().with_hierarchy(hierarchy));
        assert_eq!(world.shown().groups[&d(20)].1, "D10 / D20");
        world.wecom.departments.get_mut(&d(10)).unwrap().name = Some("新".to_owned());
        look(&mut world, Key::Department(d(10)));
        assert_eq!(world.shown().groups[&d(20)].1, "新 / D20");
        world.wecom.departments.get_mut(&d(20)).unwrap().parent = Some(d(1));
        look(&mut world, Key::Department(d(20)));
        world.assert_converged();
        let expected = if hierarchy == Hierarchy::Flat { vec![d(20)] } else { vec![d(1), d(20)] };
        assert_eq!(world.shown().users[&id("m")].2, expected.into_iter().collect());
    }
}

#[test]
fn long_paths_are_cut_with_a_hash() {
    let rules = Rules { name_chars_max: 100, ..Rules::default() };
    let mut world = small(rules.with_hierarchy(Hierarchy::Flat));
    for (id, parent) in [(30, 20), (40, 30)] {
        with_department(&mut world, id, parent);
        world.wecom.departments.get_mut(&d(id)).unwrap().name = Some("很长的名字".repeat(12));
    }
    look(&mut world, Key::Department(d(40)));
    assert_eq!(world.shown().groups[&d(40)].1.chars().count(), 100);
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
    world.groups.values_mut().for_each(|other| other.members.retain(|id| *id != group));
    world.assert_converged();
    assert_eq!(world.shown().users[&id("m")].2, BTreeSet::from([d(20)]));
    let user_target = world.member_links[&id("m")].1.target.clone();
    world.users.remove(&user_target);
    edit(&mut world, "m", |m| m.alias = Some("a".to_owned()));
    world.groups.values_mut().for_each(|other| other.members.retain(|id| *id != user_target));
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

/// A run of this key, stopped as soon as it has noted something for a group's members.
fn stopped_after_notes(world: &mut World, key: Key) {
    let mut run = world.begin(key, Mode::Hint, Known::default());
    while world.notes.is_empty() {
        assert!(!world.step(&mut run), "nothing was noted");
    }
    world.leases.clear();
}

#[test]
fn notes_of_a_run_that_was_stopped_do_not_outlive_what_they_say() {
    for hierarchy in [Hierarchy::Nested, Hierarchy::Flat, Hierarchy::Rollup] {
        let mut world = small(Rules::default().with_hierarchy(hierarchy));
        world.wecom.members.get_mut(&id("m")).unwrap().set_departments(&[d(10)], &[], &[]);
        stopped_after_notes(&mut world, user("m"));
        edit(&mut world, "m", |m| m.set_departments(&[d(20)], &[], &[]));
        world.look_at_all();
        world.assert_converged();

        let member = world.wecom.members.remove(&id("m")).unwrap();
        stopped_after_notes(&mut world, user("m"));
        world.wecom.members.insert(member.id.clone(), member);
        look(&mut world, user("m"));
        world.look_at_all();
        world.assert_converged();

        with_member(&mut world, "new", &[10]);
        stopped_after_notes(&mut world, user("new"));
        edit(&mut world, "new", |m| m.set_departments(&[d(20)], &[], &[]));
        world.look_at_all();
        world.assert_converged();
        world.assert_quiet();
    }
}

#[test]
fn a_group_whose_run_was_stopped_is_placed_by_whoever_depends_on_it() {
    let mut world = small(Rules::default());
    with_department(&mut world, 30, 10);
    stopped_after_notes(&mut world, Key::Department(d(30)));
    world.wecom.departments.get_mut(&d(30)).unwrap().parent = Some(d(1));
    with_member(&mut world, "n", &[30]);
    look(&mut world, user("n"));
    world.look_at_all();
    world.assert_converged();

    world.wecom.departments.get_mut(&d(30)).unwrap().parent = Some(d(20));
    stopped_after_notes(&mut world, Key::Department(d(30)));
    world.wecom.departments.get_mut(&d(30)).unwrap().parent = Some(d(1));
    look(&mut world, Key::Department(d(30)));
    world.look_at_all();
    world.assert_converged();
    world.assert_quiet();
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
