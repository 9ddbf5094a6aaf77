//! The leases of a run.

use std::time::Duration;

use shared::fault::FaultKind;
use tokio::time::{Instant, timeout};

use super::super::action::Lease;
use super::super::fixtures::id;
use super::super::ids::{DepartmentId, ExternalId};
use super::super::key::Key;
use super::super::leases::Leases;
use super::super::rules::Rules;
use super::super::settings::DirectorySettings;
use super::super::tests::{dept, person};
use super::stage::{SHARD, Stage};

const NAME: &str = "directory/record/wecom:user:m";

fn record() -> Lease {
    Lease::Record(ExternalId::Member(id("m")))
}

fn leases(stage: &Stage) -> Leases<'_> {
    Leases::new(&*stage.store, &*stage.clock, &Key::Member(id("m")), DirectorySettings::default().lease_ttl)
}

#[tokio::test(start_paused = true)]
async fn only_one_run_has_a_lease_also_of_the_same_key() {
    let stage = Stage::new(Rules::default(), 1).await;
    let (first, second) = (leases(&stage), leases(&stage));
    first.take(&record()).await.unwrap();
    let fault = second.take(&record()).await.unwrap_err();
    assert!(matches!(fault.kind, FaultKind::Busy { .. }), "{fault:?}");
    second.take(&Lease::Members(DepartmentId(1))).await.unwrap();
    first.give_back().await;
    second.take(&record()).await.unwrap();
    second.give_back().await;
    assert_eq!(stage.store.leases_but(SHARD), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn leases_are_renewed_while_the_run_goes_on() {
    let stage = Stage::new(Rules::default(), 1).await;
    let held = leases(&stage);
    held.take(&record()).await.unwrap();
    assert!(timeout(Duration::from_secs(600), held.keep()).await.is_err());
    held.check().unwrap();
    assert_eq!(stage.store.leases_but(SHARD), [NAME]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_lost_before_the_store_lets_go_when_it_cannot_be_renewed() {
    let stage = Stage::new(Rules::default(), 1).await;
    let held = leases(&stage);
    held.take(&record()).await.unwrap();
    stage.store.fail_renewals();
    let began = Instant::now();
    let fault = timeout(Duration::from_secs(600), held.keep()).await.unwrap();
    assert_eq!(fault.code, "lease_lost");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert_eq!(stage.store.leases_but(SHARD), [NAME], "nobody else can have it yet");
}

#[tokio::test(start_paused = true)]
async fn a_write_under_way_is_dropped_with_the_lease_it_was_sent_under() {
    let stage = Stage::new(Rules::default(), 1).await;
    {
        let mut wecom = stage.source.wecom.lock().unwrap();
        wecom.departments.insert(DepartmentId(1), dept(1, 0));
        wecom.members.insert(id("m"), person("m", &[1]));
    }
    stage.handle(Key::Department(DepartmentId(1))).await.unwrap();
    stage.target.hang(true);
    let losing = async {
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert_eq!(stage.store.leases_but(SHARD), [NAME]);
        stage.store.take_over(NAME);
    };
    let handling = timeout(Duration::from_secs(600), stage.handle(Key::Member(id("m"))));
    let (handled, ()) = tokio::join!(handling, losing);
    let fault = handled.unwrap().unwrap_err();
    assert_eq!(fault.code, "lease_lost");
    stage.target.hang(false);
    tokio::task::yield_now().await;
    assert_eq!(stage.target.records.lock().unwrap().users.len(), 0);
}
