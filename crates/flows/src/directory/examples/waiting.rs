//! What a run depends on: fetched, or waited for.

use std::collections::BTreeSet;

use jiff::ToSpan as _;

use super::super::action::Oddity;
use super::super::fixtures::id;
use super::super::key::Key;
use super::super::record::{Field, Value};
use super::super::rules::Rules;
use super::{d, field, look, parked, small, text, user, with_department, with_member};

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
