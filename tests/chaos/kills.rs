//! Programs that are killed, frozen, stopped.

use std::time::Duration;

use simulators::JournalEntry;
use system_tests::{Kind, Member};

use crate::damage::{moment, one_of};
use crate::ledger;
use crate::stage::{Stage, World};

/// Of workers and leaders in the tests' settings.
pub const LEASE: Duration = Duration::from_secs(3);

/// kill -9 of a worker every half second to two seconds.
pub async fn workers_are_killed(stage: &mut Stage) {
    let backing = stage.shared_servers().await;
    let mut world = stage.open(stage.plan(backing, 2, 4)).await;
    let mut blow = async |members: &mut [Member], stage: &mut Stage| {
        tokio::time::sleep(moment(&mut stage.dice, 500, 2_000)).await;
        one_of(members, Kind::Worker, &mut stage.dice).start().unwrap();
        stage.counts.kills += 1;
        true
    };
    // One run may cover several things that people did, the more so the slower the machine.
    let wanted = stage.sizes.parties + stage.sizes.or(1_000, 10_000);
    while ledger::syncs(&world.fleet) < wanted {
        world.broken(stage, &mut blow).await;
    }
    stage.judge(world, &[]).await;
}

/// A worker that stands still for longer than its lease lasts wakes up in the middle of a run that another one has
/// taken over.
pub async fn workers_are_frozen(stage: &mut Stage) {
    let backing = stage.shared_servers().await;
    let mut world = stage.open(stage.plan(backing, 2, 3)).await;
    let (mut blows, wanted) = (0, stage.sizes.or(3, 60));
    let blow = async |members: &mut [Member], stage: &mut Stage| {
        tokio::time::sleep(moment(&mut stage.dice, 200, 1_000)).await;
        let frozen = one_of(members, Kind::Worker, &mut stage.dice).process().unwrap();
        frozen.freeze();
        tokio::time::sleep(LEASE + moment(&mut stage.dice, 200, 2_000)).await;
        frozen.thaw();
        stage.counts.kills += 1;
        blows += 1;
        blows >= wanted
    };
    world.broken(stage, blow).await;
    stage.judge(world, &[]).await;
}

/// SIGTERM again and again, as when a supervisor or a rolling update goes mad: no attempt is burnt by it.
pub async fn programs_are_stopped_again_and_again(stage: &mut Stage) {
    let backing = stage.shared_servers().await;
    let mut world = stage.open(stage.plan(backing, 2, 3)).await;
    let (mut blows, wanted) = (0, stage.sizes.or(8, 300));
    let blow = async |members: &mut [Member], stage: &mut Stage| {
        tokio::time::sleep(moment(&mut stage.dice, 50, 700)).await;
        let kind = if stage.dice.chance(0.3) { Kind::Producer } else { Kind::Worker };
        let stopped = one_of(members, kind, &mut stage.dice);
        stopped.drain().await.unwrap();
        stopped.start().unwrap();
        stage.counts.kills += 1;
        blows += 1;
        blows >= wanted
    };
    world.broken(stage, blow).await;
    no_attempt_was_burnt(&world);
    stage.judge(world, &[]).await;
}

/// Where no system fails, nothing counts as a failed attempt.
pub fn no_attempt_was_burnt(world: &World) {
    let journal = world.fleet.crm.journal();
    let count =
        |entry: &JournalEntry| entry.after.as_ref().and_then(|after| after["syncRetryCount"].as_u64());
    let burnt = journal.iter().filter(|entry| count(entry).unwrap_or(0) > 0).count();
    assert_eq!(burnt, 0, "attempts that no system failed");
}
