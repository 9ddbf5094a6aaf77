//! One example for each rule: what the examples of all subjects begin with.

mod in_target;
mod leaders;
mod members;
mod renames;
mod stopped;
mod tree;
mod waiting;

use std::collections::BTreeSet;

use super::department::Department;
use super::fixtures::id;
use super::ids::DepartmentId;
use super::key::Key;
use super::member::Member;
use super::model::{User, World};
use super::record::{Field, Value};
use super::rules::Rules;

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
