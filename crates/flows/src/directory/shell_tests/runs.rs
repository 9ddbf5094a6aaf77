//! Single runs of the flow.

use shared::envelope::Cause;
use shared::fault::FaultKind;
use shared::flow::Flow as _;

use super::super::fixtures::id;
use super::super::ids::{DepartmentId, ExternalId, TargetId};
use super::super::key::Key;
use super::super::member::Member;
use super::super::model::{Group, User};
use super::super::record::{Attributes, Field, Value};
use super::super::rules::Rules;
use super::super::tests::{dept, person};
use super::stage::{Message, SHARD, Stage};

const fn d(id: u32) -> DepartmentId {
    DepartmentId(id)
}

/// A root, 10 below it, 20 below that, and a member of 20.
async fn small() -> Stage {
    let stage = Stage::new(Rules::default(), 1).await;
    {
        let mut wecom = stage.source.wecom.lock().unwrap();
        for (id, parent) in [(1, 0), (10, 1), (20, 10)] {
            wecom.departments.insert(d(id), dept(id, parent));
        }
        wecom.members.insert(id("m"), person("m", &[20]));
    }
    stage.publish(Key::Member(id("m")));
    stage.work(1).await;
    stage.world().await.assert_converged();
    stage
}

fn edit(stage: &Stage, userid: &str, edit: impl FnOnce(&mut Member)) {
    edit(stage.source.wecom.lock().unwrap().members.get_mut(&id(userid)).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_member_brings_its_departments_with_it_and_says_what_was_done() {
    let stage = Stage::new(Rules::default(), 1).await;
    stage.source.wecom.lock().unwrap().departments.insert(d(1), dept(1, 0));
    stage.source.wecom.lock().unwrap().members.insert(id("m"), person("m", &[1]));
    let outcome = stage.handle(Key::Member(id("m"))).await.unwrap();
    assert!(outcome.converged);
    for done in ["create_group", "create_user", "put_notes", "save_link"] {
        assert!(outcome.actions.contains(&done), "{outcome:?}");
    }
    let hinted: Vec<String> = stage.take_waiting().iter().map(|it| it.key.to_string()).collect();
    assert!(hinted.contains(&"directory:members.1".to_owned()), "{hinted:?}");
    stage.handle(Key::Members(d(1))).await.unwrap();
    let again = stage.handle(Key::Member(id("m"))).await.unwrap();
    assert_eq!(again.actions, Vec::<&str>::new());
}

#[tokio::test(start_paused = true)]
async fn what_depends_on_an_unknown_department_is_parked_until_it_comes() {
    let stage = small().await;
    stage.source.wecom.lock().unwrap().members.insert(id("n"), person("n", &[99]));
    let fault = stage.handle(Key::Member(id("n"))).await.unwrap_err();
    assert_eq!((fault.kind, fault.code), (FaultKind::Parked, "dependency_missing"));
    assert_eq!(fault.waits_for.unwrap().to_string(), "directory:dept.99");
    stage.publish(Key::Member(id("n")));
    stage.work(1).await;
    assert_eq!(stage.parked().len(), 1);
    stage.source.wecom.lock().unwrap().departments.insert(d(99), dept(99, 1));
    stage.publish(Key::Department(d(99)));
    stage.work(1).await;
    assert_eq!(stage.counts().released, 1);
    stage.world().await.assert_converged();
}

#[tokio::test(start_paused = true)]
async fn a_department_that_does_not_answer_is_hinted_at_and_waited_for() {
    let stage = small().await;
    {
        let mut wecom = stage.source.wecom.lock().unwrap();
        wecom.departments.insert(d(30), dept(30, 1));
        wecom.down.insert(d(30));
        wecom.members.insert(id("n"), person("n", &[30]));
    }
    let fault = stage.handle(Key::Member(id("n"))).await.unwrap_err();
    assert_eq!(fault.waits_for.unwrap().to_string(), "directory:dept.30");
    let own = stage.handle(Key::Department(d(30))).await.unwrap_err();
    assert_eq!(own.code, "wecom_down", "what the run is about fails with the connector's fault");
    stage.publish(Key::Member(id("n")));
    stage.source.wecom.lock().unwrap().down.clear();
    stage.work(1).await;
    stage.world().await.assert_converged();
}

#[tokio::test(start_paused = true)]
async fn a_login_name_of_somebody_else_is_for_a_person() {
    let stage = small().await;
    let name = Value::Text("N".to_owned());
    let theirs =
        User { external_id: None, attributes: Attributes::from([(Field::UserName, name)]), version: 0 };
    let foreign = TargetId("foreign".to_owned());
    stage.target.records.lock().unwrap().users.insert(foreign.clone(), theirs);
    stage.source.wecom.lock().unwrap().members.insert(id("n"), person("n", &[20]));
    stage.publish(Key::Member(id("n")));
    stage.work(1).await;
    let letters = stage.letters();
    let fault = &letters[&stage.record_key(Key::Member(id("n")))];
    assert_eq!((fault.kind, fault.code), (FaultKind::Permanent, "login_name_taken"));
    stage.target.records.lock().unwrap().users.remove(&foreign);
    stage.publish(Key::Member(id("n")));
    stage.work(1).await;
    stage.world().await.assert_converged();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_after_the_shard_was_lost() {
    let stage = small().await;
    edit(&stage, "m", |m| m.set_departments(&[d(10)], &[], &[]));
    let links = stage.store.link_writes();
    stage.store.take_over(SHARD);
    let fault = stage.handle(Key::Member(id("m"))).await.unwrap_err();
    assert!(matches!(fault.kind, FaultKind::Busy { .. }), "{fault:?}");
    assert_eq!(stage.store.link_writes(), links);
}

#[tokio::test(start_paused = true)]
async fn who_is_gone_from_the_target_or_changed_there_is_written_anew() {
    let stage = small().await;
    let target = stage.world().await.member_links[&id("m")].1.target.clone();
    stage.target.records.lock().unwrap().users.get_mut(&target).unwrap().version = 4_711;
    edit(&stage, "m", |m| m.alias = Some("a".to_owned()));
    stage.publish(Key::Member(id("m")));
    stage.work(1).await;
    let groups = |stage: &Stage| {
        let mut records = stage.target.records.lock().unwrap();
        records.users.remove(&target);
        records.groups.values_mut().for_each(|group| group.members.retain(|id| *id != target));
    };
    groups(&stage);
    edit(&stage, "m", |m| m.alias = Some("b".to_owned()));
    stage.publish(Key::Member(id("m")));
    stage.work(1).await;
    stage.world().await.assert_converged();
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_would_end_too_many_waits_for_a_release() {
    let stage = small().await;
    {
        let mut wecom = stage.source.wecom.lock().unwrap();
        (0..60).for_each(|n| {
            let member = person(&format!("n{n}"), &[20]);
            wecom.members.insert(member.id.clone(), member);
        });
    }
    (0..60).for_each(|n| stage.publish(Key::Member(id(&format!("n{n}")))));
    stage.work(1).await;
    stage.source.wecom.lock().unwrap().members.clear();
    let handle = async |n: usize| {
        let key = stage.record_key(Key::Member(id(&format!("n{n}"))));
        let message = Message { key, cause: Cause::Sweep, sweep_id: Some("s1".to_owned()) };
        stage.flow.handle(&stage.run(&message)).await
    };
    for n in 0..50 {
        handle(n).await.unwrap();
        handle(n).await.unwrap();
    }
    let held = handle(50).await.unwrap_err();
    assert_eq!(held.code, "mass_change");
    assert!(stage.flow.held_back().await.unwrap().is_some());
    assert_eq!(stage.flow.release("operator", stage.clock_now()).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_preview_shows_what_a_run_does_and_writes_nothing() {
    let stage = small().await;
    edit(&stage, "m", |m| {
        m.name = Some("Meier".to_owned());
        m.set_departments(&[d(10)], &[], &[]);
    });
    let before = (stage.target.records.lock().unwrap().writes, stage.store.link_writes());
    let key = stage.record_key(Key::Member(id("m")));
    let preview = stage.flow.preview(&key, stage.clock_now()).await.unwrap();
    assert_eq!((stage.target.records.lock().unwrap().writes, stage.store.link_writes()), before);
    assert!(preview.summary.starts_with("would update user, put notes"), "{preview:?}");
    let shows = |field: &str, planned: Option<&str>| {
        preview.differences.iter().any(|it| it.field.ends_with(field) && it.planned.as_deref() == planned)
    };
    assert!(shows("display_name", Some("Meier")), "{preview:?}");
    assert!(shows("group of department 10: member", Some("user.m")), "{preview:?}");
    assert!(shows("group of department 20: member", None), "{preview:?}");
    stage.source.wecom.lock().unwrap().members.clear();
    let preview = stage.flow.preview(&key, stage.clock_now()).await.unwrap();
    assert!(shows_of(&preview, "active", Some("false")), "{preview:?}");
    let gone = stage.record_key(Key::Department(d(20)));
    stage.source.wecom.lock().unwrap().departments.remove(&d(20));
    let preview = stage.flow.preview(&gone, stage.clock_now()).await.unwrap();
    assert!(preview.summary.contains("delete group"), "{preview:?}");
    let new = stage.record_key(Key::Department(d(77)));
    stage.source.wecom.lock().unwrap().departments.insert(d(77), dept(77, 78));
    stage.source.wecom.lock().unwrap().departments.insert(d(78), dept(78, 1));
    let preview = stage.flow.preview(&new, stage.clock_now()).await.unwrap();
    let created = preview.differences.iter().filter(|it| it.field.starts_with("group wecom:dept:"));
    assert_eq!(created.count(), 2, "{preview:?}");
}

fn shows_of(preview: &shared::flow::Preview, field: &str, planned: Option<&str>) -> bool {
    preview.differences.iter().any(|it| it.field.ends_with(field) && it.planned.as_deref() == planned)
}

#[tokio::test(start_paused = true)]
async fn a_manager_is_set_without_reading_wecom() {
    let stage = small().await;
    stage.source.wecom.lock().unwrap().members.insert(id("boss"), person("boss", &[10]));
    edit(&stage, "m", |m| m.leaders = Some(vec![id("boss")]));
    stage.publish(Key::Member(id("m")));
    stage.publish(Key::Member(id("boss")));
    stage.work(1).await;
    let reads = stage.source.reads();
    stage.handle(Key::Leader(id("m"))).await.unwrap();
    assert_eq!(stage.source.reads(), reads);
    stage.world().await.assert_converged();
}

#[tokio::test(start_paused = true)]
async fn how_it_stands_counts_what_is_linked() {
    let stage = small().await;
    let rows = stage.flow.sources(stage.clock_now()).await.unwrap();
    assert_eq!((rows.len(), rows[0].linked, rows[0].phase.as_str()), (1, 4, "not begun"));
}

#[tokio::test(start_paused = true)]
async fn a_record_of_no_kind_is_refused() {
    let stage = small().await;
    let key = format!("directory:tag.{}", ExternalId::Department(d(1))).parse().unwrap();
    let message = Message { key, cause: Cause::Webhook, sweep_id: None };
    let fault = stage.flow.handle(&stage.run(&message)).await.unwrap_err();
    assert_eq!((fault.kind, fault.code), (FaultKind::Permanent, "record_id"));
}

/// What a run leaves in the target that is stopped between a create and the saving of its link.
fn made_and_forgotten(stage: &Stage, userid: &str, department: DepartmentId) {
    let mut records = stage.target.records.lock().unwrap();
    let attributes = Attributes::from([
        (Field::UserName, Value::Text(userid.to_uppercase())),
        (Field::Active, Value::Flag(true)),
    ]);
    let external_id = Some(ExternalId::Member(id(userid)));
    records.users.insert(TargetId("u-lost".to_owned()), User { external_id, attributes, version: 1 });
    let (external_id, name) = (Some(ExternalId::Department(department)), format!("D{department}"));
    let group = Group { external_id, name, members: std::collections::BTreeSet::new(), version: 1 };
    records.groups.insert(TargetId("g-lost".to_owned()), group);
}

#[tokio::test(start_paused = true)]
async fn what_a_stopped_run_made_of_whom_wecom_has_deleted_since_is_ended() {
    let stage = small().await;
    made_and_forgotten(&stage, "n", d(99));
    stage.handle(Key::Member(id("n"))).await.unwrap();
    stage.handle(Key::Department(d(99))).await.unwrap();
    let records = stage.target.records.lock().unwrap();
    let user = &records.users[&TargetId("u-lost".to_owned())];
    assert_eq!(user.attributes[&Field::Active], Value::Flag(false));
    assert!(!records.groups.contains_key(&TargetId("g-lost".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn what_a_stopped_run_made_of_whom_wecom_has_renamed_since_is_kept_for_the_new_name() {
    let stage = small().await;
    made_and_forgotten(&stage, "old", d(99));
    stage.source.wecom.lock().unwrap().members.insert(id("new"), person("new", &[20]));
    stage.publish(Key::Rename { old: id("old"), new: id("new") });
    stage.publish(Key::Department(d(99)));
    stage.work(1).await;
    let world = stage.world().await;
    world.assert_converged();
    assert_eq!(world.member_links[&id("new")].1.target, TargetId("u-lost".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn names_that_were_changed_in_a_circle_come_to_an_end() {
    let stage = small().await;
    let message = |key| Message { key: stage.record_key(key), cause: Cause::Sweep, sweep_id: None };
    let fence = stage.run(&message(Key::Member(id("a")))).guard.fence().unwrap();
    for (old, new) in [("a", "b"), ("b", "a")] {
        stage.flow.documents.save_rename(&id(old), &id(new), fence.as_ref()).await.unwrap();
    }
    made_and_forgotten(&stage, "a", d(99));
    for key in [Key::Member(id("a")), Key::Rename { old: id("b"), new: id("a") }] {
        stage.handle(key.clone()).await.unwrap();
        stage.flow.handle(&stage.run(&message(key))).await.unwrap();
    }
    let records = stage.target.records.lock().unwrap();
    assert_eq!(records.users[&TargetId("u-lost".to_owned())].attributes[&Field::Active], Value::Flag(false));
}
