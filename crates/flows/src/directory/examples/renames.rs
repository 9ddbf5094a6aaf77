//! Changed userids.

use jiff::ToSpan as _;

use super::super::fixtures::id;
use super::super::ids::ExternalId;
use super::super::key::Key;
use super::super::member::Member;
use super::super::record::{Field, Value};
use super::super::rules::Rules;
use super::{look, small, user, with_member};

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
