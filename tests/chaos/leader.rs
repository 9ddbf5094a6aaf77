//! Sweeps go on whoever leads.

use system_tests::{Fleet, Kind, Member};

use crate::damage::moment;
use crate::kills::LEASE;
use crate::people::People;
use crate::stage::Stage;

/// The leader is killed, or stands still for longer than its lease lasts; nobody sends webhooks, so that sweeps must
/// find everything.
pub async fn the_leader_is_killed_and_frozen(stage: &mut Stage) {
    let backing = stage.shared_servers().await;
    let mut plan = stage.plan(backing, 3, 2);
    plan.settings.push(("FLOW__PARTIES__SWEEP_CRON", "* * * * * *".to_owned()));
    let tell = |_: &mut Fleet, people: &People| {
        people.is_silent.set(true);
        people.has_sweeps.set(true);
    };
    let mut world = stage.open_with(plan, tell).await;
    let (mut blows, wanted) = (0, stage.sizes.or(5, 100));
    let http = world.fleet.http.clone();
    let blow = async |members: &mut [Member], stage: &mut Stage| {
        tokio::time::sleep(moment(&mut stage.dice, 300, 1_500)).await;
        let mut leader = None;
        for member in members.iter_mut().filter(|member| member.kind() == Kind::Producer) {
            let answer = http.get(&format!("{}/metrics", member.private_url())).await;
            if answer.is_ok_and(|answer| answer.body.contains("syncfleet_leader 1")) {
                leader = Some(member);
            }
        }
        let Some(leader) = leader else { return false };
        if stage.dice.chance(0.5) {
            leader.start().unwrap();
        } else {
            let frozen = leader.process().unwrap();
            frozen.freeze();
            tokio::time::sleep(LEASE + moment(&mut stage.dice, 100, 2_000)).await;
            frozen.thaw();
        }
        stage.counts.kills += 1;
        blows += 1;
        blows >= wanted
    };
    world.broken(stage, blow).await;
    stage.judge(world, &[]).await;
}
