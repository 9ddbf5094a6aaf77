//! Redis restarted, killed, frozen, slow.

use std::time::Duration;

use system_tests::{Backing, Member, Proxy, Redis, shared_rabbitmq, shared_redis};

use crate::damage::moment;
use crate::stage::Stage;

/// Longer than the leases of the tests' settings.
const FROZEN: Duration = Duration::from_secs(5);

/// The store is restarted, killed and frozen in turn.
pub async fn the_store_is_restarted_killed_and_frozen(stage: &mut Stage) {
    let mut redis = Redis::start().await.unwrap();
    let backing = Backing::Servers { rabbitmq: shared_rabbitmq().await.unwrap().url(), redis: redis.url() };
    let mut world = stage.open(stage.plan(backing, 2, 3)).await;
    let (mut blows, wanted) = (0, stage.sizes.or(4, 60));
    let blow = async |_: &mut [Member], stage: &mut Stage| {
        tokio::time::sleep(moment(&mut stage.dice, 300, 2_500)).await;
        match blows % 3 {
            0 => redis.restart().await.unwrap(),
            1 => {
                redis.kill_9();
                redis.restart().await.unwrap();
            }
            _ => {
                redis.freeze();
                tokio::time::sleep(FROZEN).await;
                redis.thaw();
            }
        }
        stage.counts.kills += 1;
        blows += 1;
        blows >= wanted
    };
    world.broken(stage, blow).await;
    stage.judge(world, &[]).await;
}

/// The store answers late, in changing degrees, and not at all for moments.
pub async fn the_store_is_slow(stage: &mut Stage) {
    let (rabbitmq, redis) = (shared_rabbitmq().await.unwrap(), shared_redis().await.unwrap());
    let proxy = Proxy::before(redis.port()).await.unwrap();
    let through = redis.url().replace(&redis.port().to_string(), &proxy.port().to_string());
    let backing = Backing::Servers { rabbitmq: rabbitmq.url(), redis: through };
    let mut world = stage.open(stage.plan(backing, 2, 3)).await;
    let (mut blows, wanted) = (0, stage.sizes.or(6, 100));
    let blow = async |_: &mut [Member], stage: &mut Stage| {
        let dice = &mut stage.dice;
        proxy.slow(moment(dice, 1, 60));
        tokio::time::sleep(moment(dice, 500, 1_500)).await;
        if dice.chance(0.4) {
            proxy.hold(true);
            tokio::time::sleep(moment(dice, 500, 4_000)).await;
            proxy.hold(false);
        }
        stage.counts.kills += 1;
        blows += 1;
        blows >= wanted
    };
    world.broken(stage, blow).await;
    proxy.slow(Duration::ZERO);
    stage.judge(world, &[]).await;
}
