//! Records whose handling never comes back.

use std::time::Duration;

use system_tests::{Kind, Member};

use crate::damage::moment;
use crate::people::Office;
use crate::points::Hits;
use crate::stage::{Stage, World};

/// How a worker ends whose run does not come back, as the programs document it.
const EXIT_STUCK: i32 = 70;

/// People go on for as long as it takes.
const PACE: Duration = Duration::from_millis(100);

/// One record's handling loops without ever giving its thread back, so that no time limit can end it. The worker says
/// which record that is and ends, each time, until the message is a dead letter; everything else goes on.
pub async fn poison_that_loops_is_buried(stage: &mut Stage) {
    let backing = stage.shared_servers().await;
    let mut world = stage.open(stage.plan(backing, 2, 3)).await;
    world.people.pace.set(PACE);
    let hits = Hits::of(&world.fleet);
    let poison = world.people.expected().into_keys().next().unwrap();
    let what = format!("worker.stuck_looks_max=return(2);worker.handle=return(loop:{poison})");
    for worker in world.fleet.of_kind(Kind::Worker) {
        hits.arm(worker, &what);
        worker.start().unwrap();
    }
    world.fleet.ready().await.unwrap();
    let World { fleet, people } = &world;
    let office =
        Office { crm: &fleet.crm, advoware: &fleet.advoware, http: &fleet.http, webhooks: &fleet.webhooks };
    let event = people.edit(office, &poison, false);
    people.give_up(&poison);
    people.tell(office, &event).await;

    let buried = format!("record.id={poison}");
    let blow = async |members: &mut [Member], stage: &mut Stage| {
        tokio::time::sleep(moment(&mut stage.dice, 200, 400)).await;
        let mut is_buried = false;
        for worker in members.iter_mut().filter(|member| member.kind() == Kind::Worker) {
            if !worker.is_running() {
                let ended = worker.process().unwrap().wait_exit(Duration::from_secs(1)).await.unwrap();
                assert_eq!(ended.code(), Some(EXIT_STUCK), "{}", worker.log());
                worker.start().unwrap();
                stage.counts.kills += 1;
            }
            let said =
                |line: &str| line.contains(&buried) && line.contains("The message becomes a dead letter");
            is_buried |= worker.log().lines().any(said);
        }
        is_buried
    };
    world.broken(stage, blow).await;
    let named = |member: &Member| {
        member.log().lines().any(|line| line.contains(&poison) && line.contains("does not yield"))
    };
    assert!(world.fleet.members.iter().any(named), "the log names the record");
    stage.counts.hits = hits.total();
    hits.disarm(&mut world.fleet);
    stage.judge(world, &[poison]).await;
}
