//! Programs that are killed, frozen, stopped.

use std::convert::Infallible;
use std::time::Duration;

use system_tests::{Fleet, Kind};

use crate::damage::{moment, one_of};
use crate::people::Office;
use crate::stage::{Stage, World};

/// Between two things that people do.
const PACE: Duration = Duration::from_millis(12);

/// kill -9 of a worker every half second to two seconds.
pub async fn workers_are_killed(stage: &mut Stage) {
    let backing = stage.shared_servers().await;
    let mut world = stage.open(stage.plan(backing, 2, 4)).await;
    let World { fleet: Fleet { crm, advoware, http, webhooks, members, .. }, people } = &mut world;
    let office = Office { crm, advoware, http, webhooks };
    let (dice, kills) = (&mut stage.dice, &mut stage.counts.kills);
    let killing = async {
        loop {
            tokio::time::sleep(moment(dice, 500, 2_000)).await;
            one_of(members, Kind::Worker, dice).start().unwrap();
            *kills += 1;
        }
        #[expect(unreachable_code, reason = "says that it never ends")]
        Infallible::from(unreachable!())
    };
    tokio::select! {
        () = people.work(office, stage.sizes.syncs, PACE) => {}
        _ = killing => {}
    }
    stage.judge(world, &[]).await;
}
