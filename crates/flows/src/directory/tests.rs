//! Properties on random trees, of the first sync, and of the full compare.

use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan as _;

use super::action::Oddity;
use super::compare::{Compare, Content, Entry, Finding, OutOfOrder, Side};
use super::department::Department;
use super::first_sync::{Begin, FirstSync, Phase, Request, begin};
use super::fixtures::{self, id};
use super::ids::{DepartmentId, ExternalId, MemberId};
use super::key::Key;
use super::member::Member;
use super::model::World;
use super::record::{Field, Value};
use super::rounds::Lists;
use super::rules::{Hierarchy, Leavers, Rules};
use super::tree::{Attached, Tree, TreeProblem};

pub(super) fn dept(id: u32, parent: u32) -> Department {
    let name = Some(format!("D{id}"));
    Department { id: DepartmentId(id), parent: Some(DepartmentId(parent)), name, order: None, leaders: None }
}

pub(super) fn person(userid: &str, departments: &[u32]) -> Member {
    let ids: Vec<_> = departments.iter().copied().map(DepartmentId).collect();
    let mut member = Member::new(id(userid), userid);
    member.name = Some(userid.to_uppercase());
    member.set_departments(&ids, &[], &[]);
    member
}

/// A world whose root is linked.
fn rooted(rules: Rules) -> World {
    let mut world = World::new(rules);
    world.wecom.departments.insert(DepartmentId::ROOT, dept(1, 0));
    world.publish(Key::Department(DepartmentId::ROOT));
    world.work();
    world.counts = super::model::Counts::default();
    world
}

#[test]
fn the_company_has_the_expected_levels_whatever_the_order() {
    let expected = fixtures::expected_first_sync();
    let mut rng = fastrand::Rng::with_seed(1);
    let mut list = fixtures::company();
    for _ in 0..50 {
        rng.shuffle(&mut list);
        let tree = Tree::new(list.clone());
        let levels: Vec<Vec<u32>> =
            tree.levels().iter().map(|level| level.iter().map(|id| id.0).collect()).collect();
        assert_eq!(serde_json::to_value(&levels).unwrap(), expected["levels"]);
        assert_eq!(tree.problems(), []);
        assert_eq!(tree.len(), 40);
    }
}

#[test]
fn what_is_broken_is_attached_to_the_root_and_reported() {
    let d = DepartmentId;
    let mut rng = fastrand::Rng::with_seed(1);
    let mut list = fixtures::broken();
    for _ in 0..50 {
        rng.shuffle(&mut list);
        let tree = Tree::new(list.clone());
        assert_eq!(
            tree.problems(),
            [
                TreeProblem::Attached(d(2), Attached::Cycle),
                TreeProblem::Attached(d(4), Attached::OwnParent),
                TreeProblem::Attached(d(5), Attached::UnknownParent(d(77))),
                TreeProblem::Double(d(7)),
                TreeProblem::NoName(d(8)),
            ]
        );
        assert_eq!(tree.levels(), [vec![d(1)], vec![d(2), d(4), d(5), d(7)], vec![d(3), d(6), d(8)]]);
        assert_eq!(tree.get(d(7)).unwrap().name.as_deref(), Some("己"));
    }
    let scoped = Tree::new(fixtures::scoped());
    let tops: Vec<_> = scoped.levels()[0].iter().map(|id| id.0).collect();
    assert_eq!(tops, [2654]);
    assert_eq!(scoped.levels().iter().map(Vec::len).sum::<usize>(), 6);
}

#[test]
fn any_list_is_a_tree() {
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..2_000 {
        let count = rng.u32(1..12);
        let list: Vec<_> = (0..count).map(|_| dept(rng.u32(0..10), rng.u32(0..12))).collect();
        let tree = Tree::new(list.clone());
        let all: Vec<_> = tree.levels().iter().flatten().copied().collect();
        let distinct: BTreeSet<_> = list.iter().map(|d| d.id).filter(|id| id.0 != 0).collect();
        assert_eq!(all.len(), distinct.len(), "{list:?}");
        assert_eq!(all.iter().copied().collect::<BTreeSet<_>>(), distinct);
        for (level, ids) in tree.levels().iter().enumerate() {
            ids.iter().for_each(|id| assert_eq!(tree.way(*id).len(), level + 1, "{list:?}"));
        }
    }
}

/// A tree of so many departments with ids that say nothing about their depth, and members with leaders.
pub(super) fn grow(world: &mut World, rng: &mut fastrand::Rng, departments: usize, members: usize) {
    let mut ids = vec![DepartmentId::ROOT];
    while ids.len() < departments {
        let id = rng.u32(2..100_000);
        let parent = ids[rng.usize(..ids.len())];
        if !ids.contains(&DepartmentId(id)) {
            ids.push(DepartmentId(id));
            world.wecom.departments.insert(DepartmentId(id), dept(id, parent.0));
        }
    }
    for n in 0..members {
        let count = rng.usize(1..4);
        let own: Vec<_> = (0..count).map(|_| ids[rng.usize(..ids.len())].0).collect();
        let mut member = person(&format!("M{n}"), &own);
        let leaders = (0..rng.usize(..3)).map(|_| id(&format!("m{}", rng.usize(..members + 2))));
        member.leaders = Some(leaders.collect());
        world.wecom.members.insert(member.id.clone(), member);
    }
}

/// Something changes in WeCom; answers which events that makes.
pub(super) fn change(world: &mut World, rng: &mut fastrand::Rng, next: &mut u32) -> Vec<Key> {
    let tree = world.wecom.tree();
    let departments: Vec<_> = world.wecom.departments.keys().copied().filter(|id| id.0 != 1).collect();
    let members: Vec<_> = world.wecom.members.keys().cloned().collect();
    if departments.is_empty() || members.is_empty() {
        return Vec::new();
    }
    let any = departments[rng.usize(..departments.len())];
    let other = departments[rng.usize(..departments.len())];
    let who = members[rng.usize(..members.len())].clone();
    match rng.u8(..8) {
        0 | 1 => {
            if tree.way(other).iter().any(|step| step.id == any) {
                return Vec::new();
            }
            world.wecom.departments.get_mut(&any).unwrap().parent = Some(other);
            vec![Key::Department(any)]
        }
        2 => {
            let is_used = world.wecom.departments.values().any(|d| d.parent == Some(any))
                || world.wecom.members.values().any(|m| m.departments.iter().flatten().any(|id| *id == any));
            if is_used {
                return Vec::new();
            }
            world.wecom.departments.remove(&any);
            vec![Key::Department(any)]
        }
        3 => {
            world.wecom.departments.get_mut(&any).unwrap().name = Some(format!("N{}", rng.u8(..4)));
            vec![Key::Department(any)]
        }
        4 => {
            let moved = world.wecom.members.get_mut(&who).unwrap();
            moved.set_departments(&[any, other], &[], &[]);
            vec![Key::Member(who)]
        }
        5 => {
            world.wecom.members.remove(&who);
            vec![Key::Member(who)]
        }
        6 => {
            *next += 1;
            let mut member = world.wecom.members.remove(&who).unwrap();
            member.userid = format!("R{next}");
            member.id = id(&member.userid);
            let new = member.id.clone();
            for other in world.wecom.members.values_mut() {
                for leader in other.leaders.iter_mut().flatten().filter(|leader| **leader == who) {
                    leader.clone_from(&new);
                }
            }
            world.wecom.members.insert(new.clone(), member);
            vec![Key::Rename { old: who, new }]
        }
        _ => {
            *next += 1;
            let member = person(&format!("R{next}"), &[any.0]);
            let id = member.id.clone();
            world.wecom.members.insert(id.clone(), member);
            vec![Key::Member(id)]
        }
    }
}

#[test]
fn a_thousand_trees_imported_leaves_first_are_there_at_the_permitted_reads() {
    let (mut all_reads, mut all_permitted) = (0.0, 0.0);
    for seed in 0..1_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = rooted(Rules::default());
        grow(&mut world, &mut rng, 60, 25);
        let tree = world.wecom.tree();
        let mut events: Vec<_> = world.wecom.members.keys().cloned().map(Key::Member).collect();
        let departments = tree.levels().iter().rev().flatten().filter(|id| id.0 != 1);
        events.extend(departments.copied().map(Key::Department));
        let one_by_one = seed % 2 == 0;
        for event in &events {
            world.publish(event.clone());
            if one_by_one {
                world.work();
            }
        }
        world.work();
        world.assert_converged();
        let parents: BTreeSet<_> = tree.departments().filter_map(|d| tree.parent(d.id)).collect();
        #[expect(clippy::cast_precision_loss, reason = "small counts")]
        let (reads, permitted) =
            (world.counts.reads as f64, 1.2 * events.len() as f64 + parents.len() as f64);
        all_reads += reads;
        all_permitted += permitted;
        assert_eq!((world.counts.parked, world.counts.conflicts), (0, 0));
        if seed % 50 == 0 {
            world.assert_quiet();
        }
    }
    assert!(all_reads <= all_permitted, "{all_reads} reads, {all_permitted} permitted");
}

#[test]
fn whatever_happens_in_whatever_order_both_sides_agree_in_the_end() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let hierarchy = [Hierarchy::Nested, Hierarchy::Flat, Hierarchy::Rollup][rng.usize(..3)];
        let leavers = if rng.bool() { Leavers::Deactivate } else { Leavers::Delete };
        let rules = Rules { leavers, batch_max: rng.usize(1..8), ..Rules::default() };
        let mut world = rooted(rules.with_hierarchy(hierarchy));
        grow(&mut world, &mut rng, 12, 12);
        let mut events: Vec<_> = world.wecom.members.keys().cloned().map(Key::Member).collect();
        events.extend(world.wecom.departments.keys().copied().map(Key::Department));
        let mut next = 0;
        for _ in 0..6 {
            for _ in 0..rng.usize(..6) {
                events.extend(change(&mut world, &mut rng, &mut next));
            }
            rng.shuffle(&mut events);
            for event in std::mem::take(&mut events) {
                world.publish(event.clone());
                // Late, and once more.
                if rng.u8(..4) == 0 {
                    events.push(event);
                }
            }
            let workers = rng.usize(1..9);
            let stops = [0.0, 0.01, 0.05][rng.usize(..3)];
            world.work_with(workers, &mut rng, stops);
        }
        events.into_iter().for_each(|key| world.publish(key));
        world.work_with(8, &mut rng, 0.0);
        // A sweep makes good what no event told: who reports to whom after accounts were moved.
        world.sweep();
        world.assert_converged();
        // The sweep repairs the target, not our memory of memberships: that is made good by the next look.
        world.look_at_all();
        world.assert_converged();
        world.assert_quiet();
    }
}

fn request(now: jiff::Timestamp) -> Request<'static> {
    Request { id: "f1", by: "operator", again: false, now }
}

fn started(world: &World) -> FirstSync {
    match begin(None, &request(world.now)) {
        Begin::Start(sync) => *sync,
        other => panic!("{other:?}"),
    }
}

fn company() -> World {
    let mut world = World::new(Rules::default());
    world.wecom.departments = fixtures::company().into_iter().map(|d| (d.id, d)).collect();
    world.wecom.members = fixtures::users().into_iter().map(|m| (m.id.clone(), m)).collect();
    world.wecom.departments.insert(DepartmentId(999_999), dept(999_999, 1));
    world.wecom.invisible.insert(DepartmentId(999_999));
    world
}

#[test]
fn a_company_is_begun_once() {
    let world = company();
    let sync = started(&world);
    let second = Request { id: "f2", by: "gateway", ..request(world.now) };
    assert_eq!(begin(Some(&sync), &second), Begin::Join(Box::new(sync.clone())));
    assert_eq!(begin(Some(&sync), &Request { again: true, ..second }), Begin::Join(Box::new(sync.clone())));
    let over = FirstSync { phase: Phase::Done, ..sync };
    assert_eq!(begin(Some(&over), &second), Begin::Refuse(Box::new(over.clone())));
    let Begin::Start(again) = begin(Some(&over), &Request { again: true, ..second }) else { panic!() };
    assert_eq!((again.id.as_str(), again.phase), ("f2", Phase::Departments));
}

#[test]
fn the_first_sync_finds_what_it_must_wherever_it_is_stopped() {
    let expected = fixtures::expected_first_sync();
    for (seed, stops) in [(1, 0.0), (2, 0.002), (3, 0.01)] {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = company();
        let mut sync = started(&world);
        let resumed = world.first_sync(&mut sync, &mut rng, stops);
        assert!(if stops > 0.0 { resumed >= 5 } else { resumed == 0 }, "{resumed}");
        world.work();
        assert_eq!((sync.phase, sync.departments, sync.members), (Phase::Done, 40, Some(300)));
        assert_eq!(world.counts.users_created, 300, "wherever it is stopped, nobody is created twice");
        assert_eq!(world.counts.groups_created, 40);
        world.assert_converged();
        world.assert_quiet();
        let shown = world.shown();
        for (department, userids) in expected["members_per_department"].as_object().unwrap() {
            let department = DepartmentId(department.parse().unwrap());
            let userids: Vec<MemberId> =
                userids.as_array().unwrap().iter().map(|u| id(u.as_str().unwrap())).collect();
            if department.0 == 999_999 {
                continue;
            }
            let there = shown.users.iter().filter(|(_, (.., within))| within.contains(&department));
            assert_eq!(
                there.map(|(id, _)| id.clone()).collect::<BTreeSet<_>>(),
                userids.into_iter().collect(),
                "{department}"
            );
        }
        for userid in ["ZhaoLiu", "wangwu"] {
            let oddity = Oddity::InvisibleDepartment(id(userid), DepartmentId(999_999));
            assert!(world.oddities.contains(&oddity), "{:?}", world.oddities);
        }
        assert!(world.oddities.contains(&Oddity::UnknownLeader(id("ghost_led"), id("no-such-user"))));
        assert_eq!(shown.managers[&id("loop_a")], id("loop_b"));
        assert_eq!(shown.managers[&id("loop_b")], id("loop_a"));
        assert!(!shown.managers.contains_key(&id("self_led")));
        for (userid, active) in [("disabled1", false), ("left1", false), ("inactive1", true), ("ceo", true)] {
            let target = &world.member_links[&id(userid)].1.target;
            assert_eq!(world.users[target].attributes[&Field::Active], Value::Flag(active), "{userid}");
        }
    }
}

#[test]
fn a_broken_tree_is_synced_all_the_same() {
    let mut world = World::new(Rules::default());
    let list = fixtures::broken();
    world.wecom.departments = Tree::new(list).departments().map(|d| (d.id, d.clone())).collect();
    let mut sync = started(&world);
    world.first_sync(&mut sync, &mut fastrand::Rng::with_seed(1), 0.0);
    world.work();
    world.assert_converged();
    world.assert_quiet();
}

#[test]
fn what_an_earlier_life_left_in_the_target_is_adopted_or_ended() {
    let mut world = company();
    let mut rng = fastrand::Rng::with_seed(1);
    let mut sync = started(&world);
    world.first_sync(&mut sync, &mut rng, 0.0);
    world.work();
    // The store is lost, and two members and what they were linked by.
    world.department_links.clear();
    world.member_links.clear();
    world.wecom.members.remove(&id("zhangsan"));
    world.wecom.members.remove(&id("u0021"));
    world.counts = super::model::Counts::default();
    let mut sync = started(&world);
    world.first_sync(&mut sync, &mut rng, 0.0);
    world.work();
    assert_eq!((world.counts.users_created, world.counts.groups_created), (0, 0));
    assert_eq!((world.users.len(), world.groups.len()), (300, 40));
    world.assert_settled();
    let inactive = world.users.values().filter(|u| u.attributes[&Field::Active] == Value::Flag(false));
    assert_eq!(inactive.count(), 4, "disabled1, left1, and the two that are gone");
}

#[test]
fn progress_and_time_left_are_counted_from_the_last_stop() {
    let world = company();
    let tree = world.wecom.tree();
    let sync = started(&world);
    let later = world.now + 1.hour();
    let sync = FirstSync { done: 100, ..sync }.resume(&tree, Some(300), later);
    assert_eq!(sync.progress(later).per_second, None);
    let sync = FirstSync { done: 140, ..sync };
    let progress = sync.progress(later + 10.seconds());
    assert_eq!((progress.done, progress.total), (140, Some(680)));
    assert_eq!(progress.per_second, Some(4.0));
    assert_eq!(progress.left, Some(std::time::Duration::from_secs(135)));
    let uncounted = FirstSync { members: None, ..sync };
    assert_eq!((uncounted.progress(later).total, uncounted.progress(later).left), (None, None));
}

fn entry(text: &str, name: &str) -> Entry {
    Entry { external_id: text.parse().unwrap(), content: Content::Group(name.to_owned()) }
}

#[test]
fn the_compare_finds_the_same_with_pages_of_any_size() {
    let mut rng = fastrand::Rng::with_seed(3);
    for _ in 0..500 {
        let mut sides = [BTreeMap::new(), BTreeMap::new()];
        for side in &mut sides {
            for _ in 0..rng.usize(..15) {
                side.insert(ExternalId::Department(DepartmentId(rng.u32(1..20))), rng.u8(..3).to_string());
            }
        }
        let [wecom, target] = &sides;
        let mut expected: Vec<Finding> = Vec::new();
        for id in wecom.keys().chain(target.keys()).collect::<BTreeSet<_>>() {
            match (wecom.get(id), target.get(id)) {
                (Some(one), Some(other)) if one == other => {}
                (Some(_), Some(_)) => expected.push(Finding::Differs(id.clone())),
                (Some(_), None) => expected.push(Finding::Missing(id.clone())),
                _ => expected.push(Finding::Extra(id.clone())),
            }
        }
        let stream = |side: &BTreeMap<ExternalId, String>| {
            let entries = side.iter().map(|(id, name)| entry(&id.to_string(), name));
            entries.collect::<Vec<_>>().into_iter().peekable()
        };
        let (mut wecom, mut target) = (stream(wecom), stream(target));
        let (mut compare, mut found) = (Compare::default(), Vec::new());
        while let Some(side) = compare.wants() {
            let stream = if side == Side::Wecom { &mut wecom } else { &mut target };
            let page: Vec<_> = stream.by_ref().take(rng.usize(..4)).collect();
            let is_last = stream.peek().is_none();
            found.extend(compare.feed(side, page, is_last).unwrap());
        }
        assert!(compare.is_over());
        assert_eq!(found, expected);
    }
}

#[test]
fn a_page_out_of_order_stops_the_compare() {
    let mut compare = Compare::default();
    let page = [entry("wecom:dept:2", "a"), entry("wecom:dept:1", "b")];
    let error = compare.feed(Side::Target, page, true).unwrap_err();
    assert_eq!(error, OutOfOrder("wecom:dept:1".parse().unwrap()));
    let mut compare = Compare::default();
    let twice = || [entry("wecom:dept:2", "a"), entry("wecom:dept:2", "a")];
    assert_eq!(compare.feed(Side::Wecom, twice(), true).unwrap(), []);
    let double = Finding::Double("wecom:dept:2".parse().unwrap());
    assert_eq!(compare.feed(Side::Target, twice(), true).unwrap(), [double]);
    assert_eq!(compare.facts().equal, 1);
}

#[test]
fn lists_that_come_back_empty_cut_off_or_shuffled_end_nobody() {
    let mut world = company();
    let mut rng = fastrand::Rng::with_seed(5);
    let mut sync = started(&world);
    world.first_sync(&mut sync, &mut rng, 0.0);
    world.work();
    let whole = world.lists();
    let before = world.shown();
    let empty = Lists { tree: Tree::default(), members: Vec::new() };
    let cut = Lists { members: whole.members[..30].to_vec(), ..whole.clone() };
    let no_departments = Lists { tree: Tree::default(), ..whole.clone() };
    let mut shuffled = whole.clone();
    rng.shuffle(&mut shuffled.members);
    for (lists, is_blind) in [(empty, true), (cut, false), (no_departments, false), (shuffled, false)] {
        let facts = world.compare(&lists, 10);
        assert_eq!(facts.is_blind(), is_blind);
        assert_eq!(facts.records(), 340, "by the target, not by what was listed");
        world.work();
        assert_eq!(world.shown(), before);
        assert!(world.counts.tombstones.is_empty(), "{:?}", world.counts.tombstones);
    }
    // The single reads lie as well: each end is counted, so that the guard can stop them.
    let gone: Vec<_> = world.wecom.members.keys().take(200).cloned().collect();
    gone.iter().for_each(|id| drop(world.wecom.members.remove(id)));
    let lists = world.lists();
    let facts = world.compare(&lists, 10);
    world.work();
    assert_eq!(facts.extra, 200);
    assert_eq!(world.counts.tombstones, gone.into_iter().map(Key::Member).collect());
}
