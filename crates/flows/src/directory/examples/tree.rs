//! Where a department is, and what it is called.

use super::super::action::Oddity;
use super::super::fixtures::id;
use super::super::key::Key;
use super::super::rules::{Hierarchy, Rules};
use super::super::tree::Attached;
use super::{d, look, parked, small, with_department};

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
