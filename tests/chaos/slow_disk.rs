//! Servers whose disk is slow.

use std::time::Duration;

use system_tests::{Backing, Member, Rabbitmq, Redis};

use crate::stage::Stage;

/// Of each stretch of time, so much is run and so much stood still: a stand-in for a disk that keeps its server waiting.
/// A device that is slow in truth takes a device mapper or a controller of block devices, which containers do not have.
/// Both servers write before they answer, so that the ones who wait for them see the same: answers that come late and in
/// bunches, from servers that take ten times as long for everything.
const RUNS: Duration = Duration::from_millis(10);
const STANDS: Duration = Duration::from_millis(90);
/// How long the servers are slow at a time.
const STRETCHES: usize = 50;

/// Broker and store take ten times as long for everything, as on a slow disk.
pub async fn the_disk_is_slow(stage: &mut Stage) {
    let (mut rabbitmq, mut redis) = (Rabbitmq::start().await.unwrap(), Redis::start().await.unwrap());
    let backing = Backing::Servers { rabbitmq: rabbitmq.url(), redis: redis.url() };
    let mut world = stage.open(stage.plan(backing, 2, 3)).await;
    world.people.pace.set(Duration::from_millis(40));
    let (mut blows, wanted) = (0, 30);
    let blow = async |_: &mut [Member], stage: &mut Stage| {
        let which = stage.dice.below(3);
        for _ in 0..STRETCHES {
            if which != 0 {
                rabbitmq.freeze();
            }
            if which != 1 {
                redis.freeze();
            }
            tokio::time::sleep(STANDS).await;
            rabbitmq.thaw();
            redis.thaw();
            tokio::time::sleep(RUNS).await;
        }
        stage.counts.kills += 1;
        blows += 1;
        blows >= wanted
    };
    world.broken(stage, blow).await;
    stage.judge(world, &[]).await;
}
