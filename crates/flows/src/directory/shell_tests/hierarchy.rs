//! The hierarchy where it is left to the target: chosen once, before anything is written, and never by a fault.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use shared::fault::FaultKind;
use shared::flow::{Flow as _, Verdict};
use shared::meter::NoMeter;

use super::super::fixtures::id;
use super::super::flow::{DirectoryFlow, DirectoryParts};
use super::super::ids::DepartmentId;
use super::super::key::Key;
use super::super::rules::{Hierarchy, Rules};
use super::super::settings::DirectorySettings;
use super::super::tests::{dept, person};
use super::stage::Stage;

/// What the target says: nothing where it does not answer.
type Told = Option<Option<bool>>;

const NO_GROUPS: Told = Some(Some(false));
const SILENT: Told = Some(None);
const AWAY: Told = None;

fn flat() -> Rules {
    Rules::default().with_hierarchy(Hierarchy::Flat)
}

impl Stage {
    /// A process that begins: with the hierarchy left to the target, or not.
    fn begin(&mut self, rules: Rules, unless_nested: Option<Rules>) {
        let settings = DirectorySettings { rules, unless_nested, ..DirectorySettings::default() };
        let parts = DirectoryParts {
            settings,
            source: self.source.clone(),
            target: self.target.clone(),
            callbacks: None,
            state: self.store.clone(),
            meter: Arc::new(NoMeter),
        };
        self.flow = DirectoryFlow::new(parts).unwrap();
    }

    fn begin_auto(&mut self) {
        self.begin(Rules::default(), Some(flat()));
    }

    fn says(&self, told: Told) {
        *self.target.nesting.lock().unwrap() = told;
    }

    fn asked(&self) -> u32 {
        self.target.nesting_asked.load(Ordering::SeqCst)
    }

    async fn hierarchy(&self) -> Hierarchy {
        self.flow.rules().await.unwrap().hierarchy
    }
}

/// A root, 10 below it, 20 below that, and a member of 20.
async fn stage(told: Told) -> Stage {
    let mut stage = Stage::new(Rules::default(), 1).await;
    {
        let mut wecom = stage.source.wecom.lock().unwrap();
        for (id, parent) in [(1, 0), (10, 1), (20, 10)] {
            wecom.departments.insert(DepartmentId(id), dept(id, parent));
        }
        wecom.members.insert(id("m"), person("m", &[20]));
    }
    stage.says(told);
    stage.begin_auto();
    stage
}

#[tokio::test(start_paused = true)]
async fn it_is_flat_where_the_target_says_that_it_takes_no_groups() {
    for (told, expected) in
        [(NO_GROUPS, flat()), (SILENT, Rules::default()), (Some(Some(true)), Rules::default())]
    {
        let mut stage = stage(told).await;
        stage.publish(Key::Member(id("m")));
        stage.work(1).await;
        stage.rules = expected;
        stage.world().await.assert_converged();
        stage.assert_quiet().await;
        assert_eq!(stage.asked(), 1, "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_chosen_stays_whatever_is_said_later() {
    for (first, expected) in [(NO_GROUPS, Hierarchy::Flat), (SILENT, Hierarchy::Nested)] {
        let mut stage = stage(first).await;
        assert_eq!(stage.hierarchy().await, expected);
        for later in [SILENT, AWAY, NO_GROUPS, Some(Some(true))] {
            stage.says(later);
            assert_eq!(stage.hierarchy().await, expected);
            stage.begin_auto();
            assert_eq!(stage.flow.rules_to_look().await.unwrap().hierarchy, expected, "{later:?}");
            assert_eq!(stage.hierarchy().await, expected, "{first:?}, later {later:?}");
        }
        assert_eq!(stage.asked(), 1, "what is kept is not asked for");
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_does_not_answer_leaves_everything_open() {
    let mut stage = stage(AWAY).await;
    for _ in 0..2 {
        let fault = stage.handle(Key::Department(DepartmentId(1))).await.unwrap_err();
        assert!(matches!(fault.kind, FaultKind::Retryable { .. }), "{fault:?}");
        assert_eq!(stage.target.records.lock().unwrap().writes, 0, "nothing is written before it is known");
        assert!(stage.flow.diff(1).await.is_err() && stage.flow.rules_to_look().await.is_err());
        let checks = stage.flow.check().await;
        let told = checks.iter().find(|check| check.subject == "directory hierarchy").unwrap();
        assert_eq!(told.verdict, Verdict::Broken, "{checks:?}");
    }
    stage.says(NO_GROUPS);
    assert_eq!(stage.hierarchy().await, Hierarchy::Flat);
    stage.begin_auto();
    assert_eq!(stage.hierarchy().await, Hierarchy::Flat);
}

#[tokio::test(start_paused = true)]
async fn who_looks_chooses_nothing() {
    let stage = stage(SILENT).await;
    assert_eq!(stage.flow.rules_to_look().await.unwrap().hierarchy, Hierarchy::Nested);
    assert!(stage.flow.check().await.iter().all(|check| check.subject != "directory hierarchy"));
    stage.says(NO_GROUPS);
    assert_eq!(stage.flow.rules_to_look().await.unwrap().hierarchy, Hierarchy::Flat);
    let checks = stage.flow.check().await;
    let told = checks.iter().find(|check| check.subject == "directory hierarchy").unwrap();
    assert!(told.verdict == Verdict::Well && told.seen.starts_with("flat"), "{told:?}");
    assert_eq!(stage.hierarchy().await, Hierarchy::Flat);
}

/// Two that ask at the same moment, and hear different things, go by the same.
#[tokio::test(start_paused = true)]
async fn of_two_processes_one_chooses() {
    let mut stage = stage(NO_GROUPS).await;
    assert_eq!(stage.hierarchy().await, Hierarchy::Flat);
    let kept = stage.flow.documents.hierarchy().await.unwrap().unwrap();
    assert!(!stage.flow.documents.save_hierarchy(&kept).await.unwrap(), "kept once");
    stage.says(SILENT);
    stage.begin_auto();
    assert_eq!(stage.hierarchy().await, Hierarchy::Flat);
}

#[tokio::test(start_paused = true)]
async fn what_the_settings_say_is_not_asked_for() {
    let mut stage = stage(NO_GROUPS).await;
    assert_eq!(stage.hierarchy().await, Hierarchy::Flat);
    let asked = stage.asked();
    for rules in [Rules::default(), Rules::default().with_hierarchy(Hierarchy::Rollup), flat()] {
        let expected = rules.hierarchy;
        stage.begin(rules, None);
        assert_eq!(stage.hierarchy().await, expected);
        assert_eq!(stage.flow.rules_to_look().await.unwrap().hierarchy, expected);
    }
    assert_eq!(stage.asked(), asked);
}
