//! Runs that were stopped half way.

use super::super::deciding::Mode;
use super::super::fixtures::id;
use super::super::key::Key;
use super::super::known::Known;
use super::super::model::World;
use super::super::rules::{Hierarchy, Rules};
use super::{d, edit, look, small, user, with_department, with_member};

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
