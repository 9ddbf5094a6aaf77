//! A broker of three nodes, and a store with a replica, of which one is lost after the other.

use std::time::Duration;

use system_tests::{Backing, Member, Rabbitmq, Redis, shared_rabbitmq, shared_redis};

use crate::damage::moment;
use crate::stage::Stage;

/// Nodes of the broker: queues have a copy on each, and two of three are enough.
const NODES: usize = 3;

/// One node of the broker after the other is killed, and comes back before the next one.
pub async fn nodes_of_the_broker_are_lost(stage: &mut Stage) {
    let mut nodes = Rabbitmq::start_cluster(NODES).await.unwrap();
    let redis = shared_redis().await.unwrap();
    let backing = Backing::Servers { rabbitmq: nodes[0].url(), redis: redis.url() };
    let mut plan = stage.plan(backing, 2, 3);
    let further: Vec<String> = nodes[1..].iter().map(Rabbitmq::host).collect();
    plan.settings.push(("QUEUE__RABBITMQ__FURTHER_HOSTS", further.join(", ")));
    let mut world = stage.open(plan).await;
    world.people.pace.set(Duration::from_millis(25));
    let (mut blows, wanted) = (0, NODES);
    let blow = async |_: &mut [Member], stage: &mut Stage| {
        tokio::time::sleep(moment(&mut stage.dice, 500, 3_000)).await;
        let node = &mut nodes[blows % NODES];
        node.kill_9();
        tokio::time::sleep(moment(&mut stage.dice, 1_000, 10_000)).await;
        node.rejoin().await.unwrap();
        stage.counts.kills += 1;
        blows += 1;
        blows >= wanted
    };
    world.broken(stage, blow).await;
    stage.judge(world, &[]).await;
}

/// The store's primary is killed and its replica promoted, as Sentinel or a person does it; the lost one comes back as
/// the replica of the new one, until its turn comes again.
pub async fn the_store_fails_over(stage: &mut Stage) {
    let mut primary = Redis::start().await.unwrap();
    let mut replica = Redis::start_replica_of(&primary).await.unwrap();
    let backing = Backing::Servers { rabbitmq: shared_rabbitmq().await.unwrap().url(), redis: primary.url() };
    let mut plan = stage.plan(backing, 2, 3);
    plan.settings.push(("STATE__REDIS__FURTHER_HOSTS", format!("127.0.0.1:{}", replica.port())));
    let mut world = stage.open(plan).await;
    world.people.pace.set(Duration::from_millis(25));
    let (mut blows, wanted) = (0, 6);
    let blow = async |_: &mut [Member], stage: &mut Stage| {
        tokio::time::sleep(moment(&mut stage.dice, 500, 3_000)).await;
        primary.kill_9();
        tokio::time::sleep(moment(&mut stage.dice, 0, 5_000)).await;
        replica.promote().await.unwrap();
        tokio::time::sleep(moment(&mut stage.dice, 500, 5_000)).await;
        primary.follow(&replica).await.unwrap();
        std::mem::swap(&mut primary, &mut replica);
        stage.counts.kills += 1;
        blows += 1;
        blows >= wanted
    };
    world.broken(stage, blow).await;
    stage.judge(world, &[]).await;
}
