//! The first sync as the engine runs it.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::join_all;
use shared::clock::Clock as _;
use shared::envelope::Cause;
use shared::fault::FaultKind;
use shared::flow::{Flow as _, Run};

use super::super::first_sync::{Begin, Phase, Request};
use super::super::fixtures::{self, id};
use super::super::ids::{DepartmentId, TargetId};
use super::super::key::Key;
use super::super::model::User;
use super::super::record::{Attributes, Field, Value};
use super::super::rules::{Hierarchy, Rules};
use super::super::tests::{dept, grow, person};
use super::chance::Odds;
use super::lying::{Lies, LyingSource};
use super::stage::{Message, Stage};

/// A stage whose WeCom shows what it is told to.
pub async fn lying(rules: Rules, seed: u64) -> (Stage, Arc<LyingSource>) {
    let mut stage = Stage::new(rules, seed).await;
    let source = Arc::new(LyingSource::new(stage.source.clone()));
    stage.flow.source = source.clone();
    (stage, source)
}

pub fn plant(stage: &Stage, seed: u64, departments: usize, members: usize) {
    stage.with_wecom(|world| {
        world.wecom.departments.insert(DepartmentId::ROOT, dept(1, 0));
        grow(world, &mut fastrand::Rng::with_seed(seed), departments, members);
    });
}

async fn request(stage: &Stage, name: &str) -> Begin {
    let request = Request { id: name, by: "operator", again: false, now: stage.clock.now() };
    loop {
        if let Ok(begun) = stage.flow.request_first_sync(&request).await {
            return begun;
        }
    }
}

/// Runs it; none where it was not over after so many turns.
async fn stopped_after<F: Future>(turns: usize, run: F) -> Option<F::Output> {
    let (mut run, mut left) = (pin!(run), turns);
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        run.as_mut().poll(context).map(Some)
    })
    .await
}

/// Has it all synchronised once.
pub async fn first_sync(stage: &Stage) {
    request(stage, "f1").await;
    stage.publish_as(stage.flow.first_sync_key(), Cause::Manual, None);
    stage.work(4).await;
    let record = stage.flow.first_sync().await.unwrap().unwrap();
    assert_eq!(record.phase, Phase::Done, "{record:?}");
}

#[tokio::test(start_paused = true)]
async fn of_many_requests_at_once_one_begins_it_wherever_they_are_stopped() {
    let mut stopped = 0;
    for seed in 0..20 {
        let stage = Stage::new(Rules::default(), seed).await;
        plant(&stage, seed, 8, 12);
        stage.chance.set(Odds { failures: 0.02, stops: 0.0, ..Odds::default() });
        let mut rng = fastrand::Rng::with_seed(seed);
        let polls: Vec<usize> = (0..50).map(|n| if n < 20 { rng.usize(..12) } else { 10_000 }).collect();
        let one = async |n: usize| stopped_after(polls[n], request(&stage, &format!("f{n}"))).await;
        let answers = join_all((0..50).map(one)).await;
        stopped += answers.iter().filter(|answer| answer.is_none()).count();
        stage.chance.set(Odds::default());
        let last = request(&stage, "last").await;
        let record = stage.flow.first_sync().await.unwrap().unwrap();
        let mut begun = 0;
        for answer in answers.into_iter().flatten() {
            match answer {
                Begin::Start(it) => {
                    begun += 1;
                    assert_eq!(it.id, record.id);
                }
                Begin::Join(it) => assert_eq!(it.id, record.id, "{seed}"),
                Begin::Refuse(it) => panic!("{it:?}"),
            }
        }
        assert!(begun <= 1 && record.id != "last");
        assert!(matches!(last, Begin::Join(_)));
        (0..50).for_each(|_| stage.publish_as(stage.flow.first_sync_key(), Cause::Manual, None));
        stage.chance.set(Odds { failures: 0.002, stops: 0.3, ..Odds::default() });
        stage.work(2).await;
        stage.chance.set(Odds::default());
        stage.world().await.assert_converged();
        assert_eq!(stage.flow.first_sync().await.unwrap().unwrap().id, record.id);
        let again = request(&stage, "again").await;
        assert!(matches!(again, Begin::Refuse(it) if it.id == record.id));
    }
    assert!(stopped > 100, "{stopped}");
}

/// So that what hits a worker from outside again and again does not look like the work of the record.
#[tokio::test(start_paused = true)]
async fn a_suspect_does_a_little_and_asks_for_the_rest() {
    let stage = Stage::new(Rules::default(), 1).await;
    plant(&stage, 1, 30, 40);
    request(&stage, "f1").await;
    let key = stage.flow.first_sync_key();
    let message = Message { key: key.clone(), cause: Cause::Manual, sweep_id: None };
    let suspected = Run { is_suspect: true, ..stage.run(&message) };
    let mut runs = 0;
    for before in 0.. {
        let done = async || stage.flow.first_sync().await.unwrap().unwrap();
        let (from, outcome) = (done().await, stage.flow.handle(&suspected).await.unwrap());
        assert!(outcome.converged);
        let to = done().await;
        // So many at most, and as many more as are looked at in one go.
        assert!(to.done - from.done < 20, "{from:?} {to:?}");
        runs = before + 1;
        let asked = stage.take_waiting().iter().any(|message| message.key == key);
        assert_eq!(asked, to.phase != Phase::Done, "{to:?}");
        if !asked {
            break;
        }
    }
    assert!(runs > 8, "{runs}");
    stage.world().await.assert_converged();
}

/// A portion that gave way would read its lists anew.
#[tokio::test(start_paused = true)]
async fn a_short_pause_of_the_target_is_waited_for() {
    let stage = Stage::new(Rules::default(), 1).await;
    plant(&stage, 1, 30, 40);
    stage.target.throttle_every(7);
    request(&stage, "f1").await;
    let message = Message { key: stage.flow.first_sync_key(), cause: Cause::Manual, sweep_id: None };
    let begun = tokio::time::Instant::now();
    stage.flow.handle(&stage.run(&message)).await.unwrap();
    assert_eq!(stage.flow.first_sync().await.unwrap().unwrap().phase, Phase::Done);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    stage.target.throttle_every(0);
    stage.world().await.assert_converged();
}

#[tokio::test(start_paused = true)]
async fn wherever_it_is_stopped_the_company_is_there_and_nobody_twice() {
    let mut stops = 0;
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let hierarchy = [Hierarchy::Nested, Hierarchy::Flat, Hierarchy::Rollup][rng.usize(..3)];
        let rules = Rules { batch_max: rng.usize(1..8), ..Rules::default() };
        let (mut stage, source) = lying(rules.with_hierarchy(hierarchy), seed).await;
        plant(&stage, seed, 15, 25);
        source.lie(Lies { ids_only: rng.bool(), is_shuffled: rng.bool(), ..Lies::default() });
        if rng.bool() {
            // Each task is a portion.
            stage.flow.settings.run_time_max = Duration::ZERO;
        }
        let odds = [Odds::default(), Odds { failures: 0.003, stops: 0.4, ..Odds::default() }];
        stage.chance.set(odds[usize::from(seed % 4 != 0)]);
        request(&stage, "f1").await;
        stage.publish_as(stage.flow.first_sync_key(), Cause::Manual, None);
        stage.work(3).await;
        stops += stage.counts().stopped;
        stage.chance.set(Odds::default());
        let record = stage.flow.first_sync().await.unwrap().unwrap();
        assert_eq!((record.phase, record.departments, record.members), (Phase::Done, 15, Some(25)));
        assert_eq!(stage.target.records.lock().unwrap().created, 40, "{seed}");
        stage.world().await.assert_converged();
        stage.assert_quiet().await;
    }
    assert!(stops > 20, "{stops}");
}

#[tokio::test(start_paused = true)]
async fn the_company_of_the_examples_is_synchronised() {
    let stage = Stage::new(Rules::default(), 1).await;
    stage.with_wecom(|world| {
        world.wecom.departments = fixtures::company().into_iter().map(|d| (d.id, d)).collect();
        world.wecom.members = fixtures::users().into_iter().map(|m| (m.id.clone(), m)).collect();
        world.wecom.departments.insert(DepartmentId(999_999), dept(999_999, 1));
        world.wecom.invisible.insert(DepartmentId(999_999));
    });
    first_sync(&stage).await;
    let record = stage.flow.first_sync().await.unwrap().unwrap();
    assert_eq!((record.departments, record.members), (40, Some(300)));
    // Each in each phase, but for the one that no department which we may see lists: an event tells of it.
    assert_eq!(record.done, 678);
    // An invisible department, and an unknown leader.
    assert!(record.odd >= 2, "{record:?}");
    assert_eq!(record.progress(stage.clock.now()).total, Some(680));
    stage.publish(Key::Member(id("wangwu")));
    stage.work(1).await;
    stage.world().await.assert_converged();
    stage.assert_quiet().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_a_person_has_to_look_at_keeps_nobody_else_waiting() {
    let stage = Stage::new(Rules::default(), 1).await;
    plant(&stage, 1, 5, 10);
    let name = Value::Text("m3".to_owned());
    let theirs =
        User { external_id: None, attributes: Attributes::from([(Field::UserName, name)]), version: 0 };
    let foreign = TargetId("foreign".to_owned());
    stage.target.records.lock().unwrap().users.insert(foreign.clone(), theirs);
    stage.with_wecom(|world| {
        // Its department is told of later.
        world.wecom.members.insert(id("late"), person("late", &[1, 4_711]));
    });
    first_sync(&stage).await;
    let letters: BTreeSet<String> = stage.letters().keys().map(ToString::to_string).collect();
    assert_eq!(letters, BTreeSet::from(["directory:user.m3".to_owned()]));
    assert_eq!(stage.parked().len(), 1);
    stage.target.records.lock().unwrap().users.remove(&foreign);
    stage.with_wecom(|world| world.wecom.departments.insert(DepartmentId(4_711), dept(4_711, 1)));
    stage.publish(Key::Member(id("m3")));
    stage.publish(Key::Department(DepartmentId(4_711)));
    stage.work(1).await;
    stage.world().await.assert_converged();
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_life_left_in_the_target_is_adopted_or_ended() {
    let stage = Stage::new(Rules::default(), 1).await;
    plant(&stage, 1, 9, 20);
    first_sync(&stage).await;
    let (groups, users) = {
        let left = stage.target.records.lock().unwrap();
        (left.groups.clone(), left.users.clone())
    };
    // Another store, and two members less.
    let stage = Stage::new(Rules::default(), 2).await;
    plant(&stage, 1, 9, 20);
    for gone in ["m3", "m7"] {
        stage.with_wecom(|world| world.wecom.members.remove(&id(gone)));
    }
    {
        let mut records = stage.target.records.lock().unwrap();
        (records.groups, records.users) = (groups, users);
    }
    first_sync(&stage).await;
    assert_eq!(stage.target.records.lock().unwrap().created, 0);
    let world = stage.world().await;
    let inactive = world.users.values().filter(|it| it.attributes[&Field::Active] == Value::Flag(false));
    assert_eq!((world.users.len(), inactive.count()), (20, 2));
    world.assert_settled();
    // Managers that are gone are found by the next sweep: a user that is adopted was not read for its manager.
    let wanted = world.wanted();
    assert_eq!((world.shown().groups, world.shown().users), (wanted.groups, wanted.users));
}

#[tokio::test(start_paused = true)]
async fn a_company_that_shows_no_department_is_not_synchronised() {
    let (stage, source) = lying(Rules::default(), 1).await;
    plant(&stage, 1, 5, 10);
    source.lie(Lies { has_no_departments: true, ..Lies::default() });
    request(&stage, "f1").await;
    let key = stage.flow.first_sync_key();
    stage.publish_as(key.clone(), Cause::Manual, None);
    stage.work(1).await;
    let fault = stage.letters()[&key].clone();
    assert_eq!((fault.kind, fault.code), (FaultKind::Permanent, "wecom_shows_nothing"));
    assert_eq!(stage.target.records.lock().unwrap().writes, 0);
    source.lie(Lies::default());
    stage.publish_as(key, Cause::Replay, None);
    stage.work(1).await;
    stage.world().await.assert_converged();
}
