//! RabbitMQ restarted, killed, frozen, and connections to it cut.

use std::time::Duration;

use system_tests::{Backing, Member, Proxy, Rabbitmq, shared_rabbitmq, shared_redis};

use crate::damage::moment;
use crate::stage::Stage;

/// Longer than three heartbeats of the tests' settings: the peers notice.
const FROZEN: Duration = Duration::from_secs(8);

/// The broker is restarted, killed and frozen in turn; meanwhile webhooks wait on the producers' disks.
pub async fn the_broker_is_restarted_killed_and_frozen(stage: &mut Stage) {
    let mut rabbitmq = Rabbitmq::start().await.unwrap();
    let backing = Backing::Servers { rabbitmq: rabbitmq.url(), redis: shared_redis().await.unwrap().url() };
    let mut world = stage.open(stage.plan(backing, 2, 3)).await;
    let (mut blows, wanted) = (0, stage.sizes.or(3, 30));
    let blow = async |_: &mut [Member], stage: &mut Stage| {
        tokio::time::sleep(moment(&mut stage.dice, 300, 2_000)).await;
        match blows % 3 {
            0 => rabbitmq.restart().await.unwrap(),
            1 => {
                rabbitmq.kill_9();
                rabbitmq.restart().await.unwrap();
            }
            _ => {
                rabbitmq.freeze();
                tokio::time::sleep(FROZEN).await;
                rabbitmq.thaw();
            }
        }
        stage.counts.kills += 1;
        blows += 1;
        blows >= wanted
    };
    world.broken(stage, blow).await;
    stage.judge(world, &[]).await;
}

/// All connections to the broker are cut, again and again, at moments at which confirms are on their way.
pub async fn connections_are_cut_in_mid_confirm(stage: &mut Stage) {
    let (rabbitmq, redis) = (shared_rabbitmq().await.unwrap(), shared_redis().await.unwrap());
    let proxy = Proxy::before(rabbitmq.port()).await.unwrap();
    // A confirm takes its time, so that there is always one on its way.
    proxy.slow(Duration::from_millis(5));
    let through = rabbitmq.url().replace(&rabbitmq.port().to_string(), &proxy.port().to_string());
    let backing = Backing::Servers { rabbitmq: through, redis: redis.url() };
    let mut world = stage.open(stage.plan(backing, 2, 3)).await;
    let (mut blows, wanted) = (0, stage.sizes.or(8, 200));
    let blow = async |_: &mut [Member], stage: &mut Stage| {
        tokio::time::sleep(moment(&mut stage.dice, 100, 2_500)).await;
        proxy.cut();
        stage.counts.kills += 1;
        blows += 1;
        blows >= wanted
    };
    world.broken(stage, blow).await;
    stage.judge(world, &[]).await;
}
