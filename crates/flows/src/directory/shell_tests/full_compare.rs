//! The sweep and the diff.

use std::collections::{BTreeMap, BTreeSet};

use shared::clock::Clock as _;
use shared::envelope::Cause;
use shared::fault::{Fault, FaultKind};
use shared::flow::Flow as _;
use shared::record_key::RecordKey;

use super::super::drift::Drifted;
use super::super::fixtures::id;
use super::super::ids::{DepartmentId, ExternalId, MemberId, TargetId};
use super::super::key::Key;
use super::super::link::Note;
use super::super::model::{Group, User, World};
use super::super::record::{Attributes, Child, Field, Value};
use super::super::rules::{Hierarchy, Leavers, Rules};
use super::super::sweep::Sweeping;
use super::super::tests::{change, dept};
use super::chance::Odds;
use super::first_sync::{first_sync, lying, plant};
use super::lying::Lies;
use super::stage::{Message, Stage};

/// What a sweep names, as the producer pages through it; where it forgets what it read, it goes on all the same.
async fn pages(stage: &mut Stage, sweep_id: &str, forgets: bool) -> Result<Vec<RecordKey>, Fault> {
    let (mut cursor, mut found) = (None, Vec::new());
    for _ in 0..10_000 {
        match stage.flow.sweep(cursor.as_ref(), sweep_id, stage.clock.now()).await {
            Ok(page) => {
                found.extend(page.records.into_iter().map(|hit| hit.key));
                if page.next.is_none() {
                    return Ok(found);
                }
                cursor = page.next;
            }
            Err(fault) if fault.kind.may_pass() => {}
            Err(fault) => return Err(fault),
        }
        if forgets {
            stage.flow.sweeping = Sweeping::default();
        }
    }
    panic!("a sweep without end: {cursor:?}");
}

/// A sweep, and all that follows from it.
async fn sweep(stage: &mut Stage, sweep_id: &str) -> usize {
    let found = pages(stage, sweep_id, false).await.unwrap();
    let count = found.len();
    found.into_iter().for_each(|key| stage.publish_as(key, Cause::Sweep, Some(sweep_id)));
    stage.work(4).await;
    count
}

#[tokio::test(start_paused = true)]
async fn a_sweep_makes_good_what_no_event_told_and_the_next_one_finds_nothing() {
    for seed in 0..60 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let hierarchy = [Hierarchy::Nested, Hierarchy::Flat, Hierarchy::Rollup][rng.usize(..3)];
        let leavers = if rng.bool() { Leavers::Deactivate } else { Leavers::Delete };
        let rules = Rules { leavers, batch_max: rng.usize(1..8), ..Rules::default() };
        let (mut stage, source) = lying(rules.with_hierarchy(hierarchy), seed).await;
        plant(&stage, seed, 12, 15);
        first_sync(&stage).await;
        leave(&stage, rng.usize(..3)).await;
        source.lie(Lies { ids_only: rng.bool(), is_shuffled: rng.bool(), ..Lies::default() });
        let mut next = 0;
        stage.with_wecom(|world| {
            for _ in 0..rng.usize(1..12) {
                change(world, &mut rng, &mut next);
            }
        });
        drift_in_the_target(&stage, &mut rng);
        stage.chance.set(Odds { failures: 0.002, stops: 0.05, ..Odds::default() });
        sweep(&mut stage, "s1").await;
        stage.chance.set(Odds::default());
        stage.work(4).await;
        let world = stage.world().await;
        world.assert_converged();
        let left = pages(&mut stage, "s2", false).await.unwrap();
        assert_eq!(left, Vec::new(), "{seed}");
        stage.assert_quiet().await;
    }
}

/// So many leave, and WeCom tells.
async fn leave(stage: &Stage, count: usize) {
    for _ in 0..count {
        let left = stage.with_wecom(|world| world.wecom.members.pop_first().unwrap().0);
        stage.publish(Key::Member(left));
    }
    stage.work(4).await;
}

fn is_off(user: &&User) -> bool {
    user.attributes[&Field::Active] == Value::Flag(false)
}

/// Who is out of use is switched on again; answers who that was.
fn switch_on(stage: &Stage) -> Vec<TargetId> {
    let mut records = stage.target.records.lock().unwrap();
    let users = records.users.iter_mut().filter(|(_, user)| is_off(&&**user));
    let on = users.map(|(target, user)| {
        user.attributes.insert(Field::Active, Value::Flag(true));
        target.clone()
    });
    on.collect()
}

/// Somebody works in the target.
fn drift_in_the_target(stage: &Stage, rng: &mut fastrand::Rng) {
    let what = rng.u8(..6);
    let on = if what == 5 { switch_on(stage) } else { Vec::new() };
    let mut records = stage.target.records.lock().unwrap();
    let ids: Vec<TargetId> = records.users.keys().cloned().collect();
    let user = ids[rng.usize(..ids.len())].clone();
    match what {
        0 => {
            let name = Value::Text("changed".to_owned());
            records.users.get_mut(&user).unwrap().attributes.insert(Field::DisplayName, name);
        }
        1 => records.groups.values_mut().for_each(|group| group.members.retain(|id| *id != user)),
        2 => {
            let group = records.groups.values_mut().next().unwrap();
            group.members.insert(user);
        }
        5 => records.groups.values_mut().next().unwrap().members.extend(on),
        3 => records.groups.values_mut().next().unwrap().name = "changed".to_owned(),
        _ => {
            let manager = Value::Text(user.0.clone());
            let other = records.users.values_mut().next().unwrap();
            other.attributes.insert(Field::Manager, manager);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_account_of_who_left_is_found_though_the_first_is_out_of_use() {
    let (mut stage, _) = lying(Rules::default(), 1).await;
    plant(&stage, 1, 5, 10);
    first_sync(&stage).await;
    let left = stage.with_wecom(|world| world.wecom.members.pop_first().unwrap().0);
    sweep(&mut stage, "s1").await;
    let second = TargetId("zz".to_owned());
    {
        let mut records = stage.target.records.lock().unwrap();
        let attributes = Attributes::from([
            (Field::UserName, Value::Text("zz".to_owned())),
            (Field::Active, Value::Flag(true)),
        ]);
        let user = User { external_id: Some(ExternalId::Member(left)), attributes, version: 0 };
        records.users.insert(second.clone(), user);
    }
    assert_eq!(sweep(&mut stage, "s2").await, 1);
    let user = stage.target.records.lock().unwrap().users[&second].clone();
    assert_eq!(user.attributes[&Field::Active], Value::Flag(false));
    assert_eq!(user.external_id, Some(ExternalId::Retired(second)));
    assert_eq!(sweep(&mut stage, "s3").await, 0);
}

#[tokio::test(start_paused = true)]
async fn who_left_and_is_switched_on_again_in_the_target_is_shown_and_switched_off() {
    for leavers in [Leavers::Deactivate, Leavers::Delete] {
        let (mut stage, _) = lying(Rules::default(), 1).await;
        plant(&stage, 1, 5, 10);
        first_sync(&stage).await;
        leave(&stage, 2).await;
        assert_eq!(pages(&mut stage, "s1", false).await.unwrap(), []);
        switch_on(&stage);
        // The setting was changed meanwhile.
        stage.flow.settings.rules.leavers = leavers;
        let diff = stage.flow.diff(10).await.unwrap();
        assert_eq!(diff.counts[&Drifted::Extra], 2);
        sweep(&mut stage, "s2").await;
        let world = stage.world().await;
        world.assert_converged();
        let kept = if leavers == Leavers::Deactivate { 2 } else { 0 };
        assert_eq!(world.users.values().filter(is_off).count(), kept);
        assert_eq!(pages(&mut stage, "s3", false).await.unwrap(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_who_are_switched_on_again_wait_as_any_others() {
    let (mut stage, _) = lying(Rules::default(), 1).await;
    plant(&stage, 1, 6, 200);
    first_sync(&stage).await;
    leave(&stage, 120).await;
    switch_on(&stage);
    for key in pages(&mut stage, "s1", false).await.unwrap() {
        stage.publish_as(key, Cause::Sweep, Some("s1"));
        for message in stage.take_waiting() {
            // Twice: a record counts once.
            for _ in 0..2 {
                drop(stage.flow.handle(&stage.run(&message)).await);
            }
        }
    }
    assert!(stage.flow.held_back().await.unwrap().is_some());
    let off = stage.target.records.lock().unwrap().users.values().filter(is_off).count();
    assert!((40..=50).contains(&off), "{off} of those that the number permits");
}

#[tokio::test(start_paused = true)]
async fn a_department_below_an_unknown_one_is_attached_by_a_sweep_and_moved_when_that_comes() {
    let (mut stage, _) = lying(Rules::default(), 1).await;
    plant(&stage, 1, 3, 4);
    first_sync(&stage).await;
    let (orphan, unknown) = (Key::Department(DepartmentId(70)), Key::Department(DepartmentId(77)));
    let below = |stage: &Stage, id, parent| {
        stage.with_wecom(|world| world.wecom.departments.insert(DepartmentId(id), dept(id, parent)));
    };
    below(&stage, 70, 77);
    // An event may have come before that of the department above.
    stage.publish(orphan.clone());
    stage.work(4).await;
    let waits = [(stage.record_key(unknown.clone()), [stage.record_key(orphan.clone())].into())];
    assert_eq!(stage.parked(), waits.into());
    assert_eq!(sweep(&mut stage, "s1").await, 1);
    let parent = |world: &World| world.shown().groups[&DepartmentId(70)].0;
    below(&stage, 77, 1);
    stage.publish(unknown);
    stage.work(4).await;
    let world = stage.world().await;
    world.assert_converged();
    assert_eq!(parent(&world), Some(DepartmentId(77)));
    // Lost again, and told by no event.
    below(&stage, 71, 78);
    sweep(&mut stage, "s2").await;
    let world = stage.world().await;
    world.assert_converged();
    assert_eq!(world.shown().groups[&DepartmentId(71)].0, Some(DepartmentId::ROOT));
    assert_eq!(pages(&mut stage, "s3", false).await.unwrap(), []);
    stage.assert_quiet().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_person_asks_for_is_compared_with_the_target_and_an_event_is_not() {
    let (stage, _) = lying(Rules::default(), 1).await;
    plant(&stage, 1, 3, 4);
    first_sync(&stage).await;
    let world = stage.world().await;
    let (member, (_, link)) = world.member_links.iter().next().unwrap();
    let (group, target) = link.groups.iter().next().unwrap();
    let key = stage.record_key(Key::Member(member.clone()));
    for cause in [Cause::Webhook, Cause::Released, Cause::Manual, Cause::Replay, Cause::Sweep] {
        let is_compared = !matches!(cause, Cause::Webhook | Cause::Released);
        {
            let mut records = stage.target.records.lock().unwrap();
            let name = Value::Text("changed".to_owned());
            records.users.get_mut(&link.target).unwrap().attributes.insert(Field::DisplayName, name);
            records.groups.get_mut(target).unwrap().members.clear();
        }
        stage.publish_as(key.clone(), cause, None);
        stage.publish_as(stage.record_key(Key::Members(*group)), cause, None);
        stage.work(1).await;
        let now = stage.world().await;
        assert_eq!(
            now.users[&link.target].attributes == world.users[&link.target].attributes,
            is_compared,
            "{cause:?}"
        );
        assert_eq!(now.groups[target].members == world.groups[target].members, is_compared, "{cause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_not_ours_stays() {
    let (mut stage, _) = lying(Rules::default(), 1).await;
    plant(&stage, 1, 5, 10);
    first_sync(&stage).await;
    let (user, group) = (TargetId("theirs".to_owned()), TargetId("their-group".to_owned()));
    {
        let mut records = stage.target.records.lock().unwrap();
        let theirs = User { external_id: None, attributes: Attributes::new(), version: 0 };
        records.users.insert(user.clone(), theirs);
        let theirs = Group { external_id: None, name: "theirs".to_owned(), members: [].into(), version: 0 };
        records.groups.insert(group.clone(), theirs);
        let ours = records.groups.values_mut().find(|group| group.external_id.is_some()).unwrap();
        ours.members.extend([user.clone(), group.clone()]);
        let member = ours.members.iter().find(|id| id.0.starts_with('u')).unwrap().clone();
        ours.members.remove(&member);
    }
    assert_eq!(sweep(&mut stage, "s1").await, 1, "the group with a member too few");
    let records = stage.target.records.lock().unwrap();
    let has_both = |it: &&Group| it.members.contains(&user) && it.members.contains(&group);
    assert_eq!(records.groups.values().filter(has_both).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn lists_that_come_back_empty_or_cut_off_end_nobody() {
    for hierarchy in [Hierarchy::Nested, Hierarchy::Flat, Hierarchy::Rollup] {
        let (mut stage, source) = lying(Rules::default().with_hierarchy(hierarchy), 1).await;
        plant(&stage, 1, 12, 60);
        first_sync(&stage).await;
        let before = stage.world().await.shown();
        let writes = stage.target.records.lock().unwrap().writes;
        for (n, lies) in [
            Lies { is_cut: true, ..Lies::default() },
            Lies { has_no_members: true, ..Lies::default() },
            Lies { has_no_departments: true, ..Lies::default() },
            Lies { is_cut: true, ids_only: true, is_shuffled: true, ..Lies::default() },
        ]
        .into_iter()
        .enumerate()
        {
            source.lie(lies);
            match pages(&mut stage, &format!("s{n}"), false).await {
                Ok(found) => {
                    assert!(!found.is_empty());
                    let sweep_id = format!("s{n}");
                    found.into_iter().for_each(|key| stage.publish_as(key, Cause::Sweep, Some(&sweep_id)));
                }
                Err(fault) => {
                    assert!(lies.has_no_departments, "{lies:?}");
                    assert!(stage.flow.sweeping.is_forgotten(), "nobody goes on with it");
                    assert_eq!((fault.kind, fault.code), (FaultKind::Permanent, "wecom_shows_nothing"));
                }
            }
            stage.work(4).await;
            assert_eq!(stage.world().await.shown(), before, "{lies:?}");
        }
        assert_eq!(stage.target.records.lock().unwrap().writes, writes, "nothing at all is written");
        assert_eq!(stage.flow.held_back().await.unwrap(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_ends_wait_and_a_release_does_what_was_shown() {
    let (mut stage, _) = lying(Rules::default(), 1).await;
    plant(&stage, 1, 6, 200);
    first_sync(&stage).await;
    // A right is lost in a way that WeCom tells as an absence, for each one.
    let mut gone = stage.with_wecom(|world| {
        let members = &mut world.wecom.members;
        (0..120).map(|_| members.pop_first().unwrap()).collect::<BTreeMap<_, _>>()
    });
    let diff = stage.flow.diff(500).await.unwrap();
    assert_eq!(diff.counts[&Drifted::Extra], 120);
    let found = pages(&mut stage, "s1", false).await.unwrap();
    let mut held = Vec::new();
    for key in found {
        stage.publish_as(key, Cause::Sweep, Some("s1"));
        for message in stage.take_waiting() {
            match stage.flow.handle(&stage.run(&message)).await {
                Ok(_) => {}
                Err(fault) => {
                    assert_eq!(fault.code, "mass_change");
                    held.push(message);
                }
            }
        }
    }
    let shown = stage.flow.held_back().await.unwrap().unwrap();
    assert!(shown.contains("120 of 206"), "{shown}");
    let off = stage.target.records.lock().unwrap().users.values().filter(is_off).count();
    assert!(off <= 50, "{off} of those that the number permits");
    let waiting: BTreeSet<&RecordKey> = held.iter().map(|it| &it.key).collect();
    assert_eq!(off + waiting.len(), 120, "each of the others waits");
    // One of them comes back before somebody has decided.
    let is_held = |id: &MemberId| waiting.contains(&stage.record_key(Key::Member(id.clone())));
    let (back, member) = gone.extract_if(.., |id, _| is_held(id)).next().unwrap();
    stage.with_wecom(|world| world.wecom.members.insert(back.clone(), member));
    assert_eq!(stage.flow.release("operator", stage.clock.now()).await.unwrap(), 1);
    held.iter().for_each(|it| stage.publish_as(it.key.clone(), it.cause, it.sweep_id.as_deref()));
    stage.work(4).await;
    let world = stage.world().await;
    assert_eq!(world.users.values().filter(is_off).count(), 119);
    assert!(world.shown().users.contains_key(&back));
    world.assert_converged();
    assert_eq!(stage.flow.held_back().await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_goes_on_with_a_sweep_reads_anew_and_leaves_nothing_out() {
    let (mut stage, _) = lying(Rules::default(), 1).await;
    plant(&stage, 1, 6, 30);
    first_sync(&stage).await;
    stage.with_wecom(|world| {
        world.wecom.members.values_mut().for_each(|member| member.alias = Some("alias".to_owned()));
        world.wecom.departments.insert(DepartmentId(77), dept(77, 1));
    });
    let whole = pages(&mut stage, "s1", false).await.unwrap();
    let forgetful = pages(&mut stage, "s1", true).await.unwrap();
    assert_eq!(whole, forgetful);
    assert_eq!(whole.len(), 31);
}

#[tokio::test(start_paused = true)]
async fn notes_that_a_stopped_run_left_are_written() {
    let (mut stage, _) = lying(Rules::default(), 1).await;
    plant(&stage, 1, 3, 4);
    first_sync(&stage).await;
    let world = stage.world().await;
    let (member, (_, link)) = world.member_links.iter().next().unwrap();
    let group = *link.groups.keys().next().unwrap();
    let note = Note { target: link.target.clone(), child: Child::Member(member.clone()), wanted: true };
    let key = stage.record_key(Key::Members(group));
    let message = Message { key: key.clone(), cause: Cause::Webhook, sweep_id: None };
    let fence = stage.run(&message).guard.fence().unwrap();
    stage.flow.documents.put_notes(&[(group, note)], fence.as_ref()).await.unwrap();
    let found = pages(&mut stage, "s1", false).await.unwrap();
    assert_eq!(found, [key]);
    sweep(&mut stage, "s2").await;
    stage.world().await.assert_converged();
}

#[tokio::test(start_paused = true)]
async fn before_the_first_sync_a_sweep_does_nothing_and_within_it_asks_for_it() {
    let (mut stage, _) = lying(Rules::default(), 1).await;
    plant(&stage, 1, 3, 4);
    assert_eq!(pages(&mut stage, "s1", false).await.unwrap(), []);
    let now = stage.clock.now();
    let request = super::super::first_sync::Request { id: "f1", by: "operator", again: false, now };
    stage.flow.request_first_sync(&request).await.unwrap();
    // Nobody published it.
    assert_eq!(pages(&mut stage, "s2", false).await.unwrap(), [stage.flow.first_sync_key()]);
    sweep(&mut stage, "s3").await;
    stage.world().await.assert_converged();
}

#[tokio::test(start_paused = true)]
async fn a_diff_shows_what_differs_and_writes_nothing() {
    let (stage, _) = lying(Rules::default(), 1).await;
    plant(&stage, 1, 4, 6);
    first_sync(&stage).await;
    let writes = stage.target.records.lock().unwrap().writes;
    let equal = stage.flow.diff(10).await.unwrap();
    assert_eq!((equal.wecom, equal.target, equal.equal, equal.counts.len()), (10, 10, 10, 0));
    stage.with_wecom(|world| {
        world.wecom.members.get_mut(&id("m1")).unwrap().name = Some("Meier".to_owned());
        world.wecom.members.remove(&id("m2"));
        world.wecom.departments.insert(DepartmentId(77), dept(77, 1));
    });
    let diff = stage.flow.diff(10).await.unwrap();
    let shown = |id: &str| diff.first.iter().find(|shown| shown.id == id).unwrap();
    assert_eq!((shown("dept.77").why, shown("user.m2").why), (Drifted::Missing, Drifted::Extra));
    let of_m1 = shown("user.m1");
    assert_eq!(of_m1.why, Drifted::Differs);
    let name = of_m1.differences.iter().find(|it| it.field == "display_name").unwrap();
    assert_eq!((name.present.as_deref(), name.planned.as_deref()), (Some("M1"), Some("Meier")));
    assert_eq!(stage.flow.diff(1).await.unwrap().first.len(), 1);
    assert_eq!(stage.target.records.lock().unwrap().writes, writes);
}

#[tokio::test(start_paused = true)]
async fn what_the_last_sweep_found_is_kept_and_is_what_a_diff_shows() {
    for forgets in [false, true] {
        let (mut stage, _) = lying(Rules::default(), 1).await;
        plant(&stage, 1, 4, 6);
        first_sync(&stage).await;
        assert_eq!(stage.flow.last_sweep().await.unwrap(), None);
        stage.with_wecom(|world| {
            world.wecom.members.remove(&id("m2"));
            world.wecom.departments.insert(DepartmentId(77), dept(77, 1));
        });
        let out = stage.target.records.lock().unwrap().users.keys().next().unwrap().clone();
        stage.target.records.lock().unwrap().groups.values_mut().for_each(|group| {
            group.members.remove(&out);
        });
        let counts = stage.flow.diff(0).await.unwrap().counts;
        assert!([Drifted::Missing, Drifted::Extra, Drifted::Members].iter().all(|why| counts[why] > 0));
        pages(&mut stage, "s1", forgets).await.unwrap();
        let last = stage.flow.last_sweep().await.unwrap().unwrap();
        assert_eq!((last.sweep_id.as_str(), last.wecom, last.target, &last.counts), ("s1", 10, 10, &counts));
        assert!(last.ended_at >= Some(last.read_at));
        sweep(&mut stage, "s2").await;
        pages(&mut stage, "s3", forgets).await.unwrap();
        let last = stage.flow.last_sweep().await.unwrap().unwrap();
        assert_eq!((last.sweep_id.as_str(), last.counts.len()), ("s3", 0));
    }
}
