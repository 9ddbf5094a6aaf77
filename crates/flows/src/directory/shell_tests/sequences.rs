//! The event sequences of WeCom and random trees, played by the flow itself: doubled, in other orders, with several workers,
//! stops at any await and requests that fail. Each failure names its seed.

use std::collections::BTreeSet;

use super::super::compare::Finding;
use super::super::fixtures::{self, Sequence, department, member};
use super::super::ids::DepartmentId;
use super::super::key::{Event, Hint, Key, hint};
use super::super::rules::{Hierarchy, Leavers, Rules};
use super::super::sequences::{expected, given, happen, permutations, shuffled};
use super::super::tests::{change, grow};
use super::chance::Odds;
use super::stage::{Counts, Stage};

/// How a sequence is played.
#[derive(Debug, Clone, Copy)]
struct Way {
    one_by_one: bool,
    doubled: bool,
    workers: usize,
    odds: Odds,
    has_twins: bool,
    seed: u64,
}

const PLAIN: Way = Way {
    one_by_one: true,
    doubled: false,
    workers: 1,
    odds: Odds { failures: 0.0, stops: 0.0, late: 0.0 },
    has_twins: false,
    seed: 1,
};

/// A runtime whose time passes when nobody has anything to do.
fn play<T>(play: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(play)
}

async fn stage_of(sequence: &Sequence, rules: &Rules, way: Way) -> Stage {
    let mut stage = Stage::new(rules.clone(), way.seed).await;
    stage.has_twins = way.has_twins;
    for (key, value) in sequence.initial["departments"].as_object().unwrap() {
        let mut value = value.clone();
        value["id"] = key.parse::<u32>().unwrap().into();
        let department = department(&value);
        stage.publish(Key::Department(department.id));
        stage.source.wecom.lock().unwrap().departments.insert(department.id, department);
    }
    for (userid, value) in sequence.initial["users"].as_object().unwrap() {
        let mut value = value.clone();
        value["userid"] = userid.clone().into();
        let member = member(&value);
        stage.publish(Key::Member(member.id.clone()));
        stage.source.wecom.lock().unwrap().members.insert(member.id.clone(), member);
    }
    stage.work(1).await;
    stage.world().await.assert_converged();
    stage
}

fn deliver(stage: &Stage, sequence: &Sequence, event: &serde_json::Value) {
    let spelled = event["UserID"].as_str();
    let spelled = spelled.map(|userid| sequence.spelled.get(userid).map_or(userid, String::as_str));
    let department = event["Id"].as_u64().map(|id| id.to_string());
    let event = Event {
        change: event["ChangeType"].as_str().unwrap(),
        userid: spelled,
        new_userid: event["NewUserID"].as_str(),
        department: department.as_deref(),
    };
    match hint(&event) {
        Hint::Look(key) => stage.publish(key),
        Hint::Nothing => {}
        Hint::Malformed(why) => panic!("{why}"),
    }
}

/// Plays a sequence; the target shows the expected end.
async fn check(sequence: &Sequence, order: &[usize], way: Way, rules: &Rules) -> Stage {
    let stage = stage_of(sequence, rules, way).await;
    {
        let mut wecom = stage.source.wecom.lock().unwrap();
        wecom.invisible.extend(sequence.invisible.iter().copied());
        wecom.is_down = sequence.is_blackout;
    }
    stage.chance.set(way.odds);
    let mut happened = 0;
    let twice = if way.doubled { 2 } else { 1 };
    for round in 0..twice {
        for delivery in order {
            let (_, visible, event) = &sequence.deliveries[*delivery];
            let ops = sequence.ops.iter().take(*visible).skip(happened);
            stage.with_wecom(|world| ops.for_each(|op| happen(world, op)));
            happened = happened.max(*visible);
            for _ in round..twice {
                deliver(&stage, sequence, event);
                if way.one_by_one {
                    stage.work(way.workers).await;
                }
            }
        }
    }
    stage.with_wecom(|world| sequence.ops.iter().skip(happened).for_each(|op| happen(world, op)));
    stage.source.wecom.lock().unwrap().is_down = false;
    stage.work(way.workers).await;
    stage.chance.set(Odds::default());
    stage.work(way.workers).await;
    if !sequence.needs_sweep.is_null() {
        sweep_all(&stage, "s1").await;
    }
    let world = stage.world().await;
    if rules.hierarchy == Hierarchy::Nested {
        assert_eq!(world.shown(), expected(sequence), "{} {order:?} {way:?}", sequence.name);
    }
    world.assert_converged();
    stage
}

/// Looks at all there is on either side, as what a sweep found.
async fn sweep_all(stage: &Stage, sweep_id: &str) {
    let wecom = stage.source.wecom.lock().unwrap().clone();
    let links = stage.store.documents::<serde_json::Value>("link/directory/");
    let linked = links.iter().map(|(id, ..)| id.parse::<Key>().unwrap());
    let departments = wecom.departments.keys().copied().map(Key::Department);
    let members = wecom.members.keys().cloned().map(Key::Member);
    // What the target lists as ours, too: a create that was done late may be linked nowhere.
    let world = stage.world().await;
    let users = world.users.values().filter_map(|user| user.external_id.clone());
    let groups = world.groups.values().filter_map(|group| group.external_id.clone());
    let listed = users.chain(groups).filter_map(|id| Finding::Extra(id).key());
    let keys: BTreeSet<Key> = departments.chain(members).chain(linked).chain(listed).collect();
    keys.into_iter().for_each(|key| stage.publish_swept(key, sweep_id));
    stage.work(2).await;
    let links = stage.store.documents::<serde_json::Value>("link/directory/user.");
    for (id, ..) in links {
        stage.publish_swept(Key::Leader(fixtures::id(&id)), sweep_id);
    }
    stage.work(2).await;
}

#[test]
fn every_sequence_ends_as_expected_in_the_order_given() {
    for sequence in fixtures::sequences() {
        for one_by_one in [true, false] {
            for doubled in [true, false] {
                let way = Way { one_by_one, doubled, ..PLAIN };
                play(async {
                    let stage = check(&sequence, &given(&sequence), way, &Rules::default()).await;
                    stage.assert_quiet().await;
                });
            }
        }
    }
}

#[test]
fn every_order_of_a_small_sequence_ends_as_expected_also_doubled() {
    for sequence in fixtures::sequences().iter().filter(|sequence| sequence.deliveries.len() <= 4) {
        for order in permutations(sequence.deliveries.len()) {
            for doubled in [true, false] {
                let way = Way { doubled, one_by_one: !doubled, workers: 2, ..PLAIN };
                play(check(sequence, &order, way, &Rules::default()));
            }
        }
    }
}

#[test]
fn stops_at_any_await_failing_requests_and_twins_change_nothing() {
    let mut all = Counts::default();
    for sequence in fixtures::sequences() {
        let count = if sequence.deliveries.len() > 100 { 1 } else { 12 };
        for seed in 0..count {
            let odds = [
                Odds { failures: 0.0, stops: 0.3, late: 0.5 },
                Odds { failures: 0.03, stops: 0.0, late: 0.0 },
                Odds { failures: 0.01, stops: 0.2, late: 0.2 },
            ][usize::try_from(seed % 3).unwrap()];
            let (one_by_one, has_twins) = (seed % 2 == 0, seed % 4 == 3);
            let way = Way { one_by_one, workers: 4, odds, has_twins, doubled: has_twins, seed };
            println!("{}: seed {seed}: {way:?}", sequence.name);
            let counts = play(async {
                let stage = check(&sequence, &shuffled(&sequence, seed), way, &Rules::default()).await;
                stage.assert_quiet().await;
                stage.counts()
            });
            all = all.and(&counts);
        }
    }
    println!("{all:?}");
    all.assert_happened();
    assert!(all.conflicts > 0, "twins never met: {all:?}");
}

#[test]
fn random_trees_end_as_wecom_has_them_whatever_fails() {
    let mut all = Counts::default();
    for seed in 0..100 {
        println!("seed {seed}");
        all = all.and(&play(random_tree(seed)));
    }
    println!("{all:?}");
    all.assert_happened();
}

async fn random_tree(seed: u64) -> Counts {
    let mut rng = fastrand::Rng::with_seed(seed);
    let hierarchy = [Hierarchy::Nested, Hierarchy::Flat, Hierarchy::Rollup][rng.usize(..3)];
    let leavers = if rng.bool() { Leavers::Deactivate } else { Leavers::Delete };
    let rules = Rules { leavers, batch_max: rng.usize(1..8), ..Rules::default() };
    let stage = Stage::new(rules.with_hierarchy(hierarchy), seed).await;
    let root = super::super::tests::dept(1, 0);
    stage.source.wecom.lock().unwrap().departments.insert(DepartmentId::ROOT, root);
    stage.publish(Key::Department(DepartmentId::ROOT));
    stage.work(1).await;
    stage.with_wecom(|world| grow(world, &mut rng, 8, 8));
    let mut events: Vec<Key> = {
        let wecom = stage.source.wecom.lock().unwrap();
        let members = wecom.members.keys().cloned().map(Key::Member);
        members.chain(wecom.departments.keys().copied().map(Key::Department)).collect()
    };
    let mut next = 0;
    for _ in 0..4 {
        for _ in 0..rng.usize(..5) {
            events.extend(stage.with_wecom(|world| change(world, &mut rng, &mut next)));
        }
        rng.shuffle(&mut events);
        for event in std::mem::take(&mut events) {
            stage.publish(event.clone());
            // Late, and once more.
            if rng.u8(..4) == 0 {
                events.push(event);
            }
        }
        let stops = [0.0, 0.1, 0.3][rng.usize(..3)];
        let (failures, late) = ([0.0, 0.02][rng.usize(..2)], [0.0, 0.7][rng.usize(..2)]);
        stage.chance.set(Odds { failures, stops, late });
        stage.work(rng.usize(1..6)).await;
    }
    events.into_iter().for_each(|key| stage.publish(key));
    stage.chance.set(Odds::default());
    stage.work(4).await;
    // A sweep makes good what no event told.
    sweep_all(&stage, "s1").await;
    stage.look_at_all().await;
    stage.world().await.assert_converged();
    stage.assert_quiet().await;
    stage.counts()
}
