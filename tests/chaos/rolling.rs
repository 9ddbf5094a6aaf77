//! Two versions side by side.

use system_tests::{Kind, Member};

use crate::damage::moment;
use crate::points::Hits;
use crate::stage::Stage;

/// What makes a program play the next version.
const NEXT: &str = "envelope.schema_version=return(2)";

/// One program after the other is replaced by the next version, producers first, so that old workers get messages
/// which they do not understand: these wait for a worker that does, and no attempt is burnt.
pub async fn the_next_version_is_rolled_out(stage: &mut Stage) {
    let backing = stage.shared_servers().await;
    let mut world = stage.open(stage.plan(backing, 2, 3)).await;
    let hits = Hits::of(&world.fleet);
    let mut next = 0;
    let blow = async |members: &mut [Member], stage: &mut Stage| {
        tokio::time::sleep(moment(&mut stage.dice, 500, 2_500)).await;
        if let Some(member) = members.get_mut(next) {
            member.drain().await.unwrap();
            hits.arm(member, NEXT);
            member.start().unwrap();
            stage.counts.kills += 1;
            next += 1;
        }
        next == members.len()
    };
    world.broken(stage, blow).await;
    assert!(world.fleet.of_kind(Kind::Worker).count() > 1);
    crate::kills::no_attempt_was_burnt(&world);
    stage.judge(world, &[]).await;
}
