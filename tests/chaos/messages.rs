//! Messages that come several times, late, and in any order.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};

use crate::damage::moment;
use crate::people::Office;
use crate::stage::{Stage, World};

/// How often a webhook comes.
const TIMES_MAX: usize = 5;

/// Each webhook comes one to five times, in any order.
pub async fn messages_are_doubled_and_reordered(stage: &mut Stage) {
    let backing = stage.shared_servers().await;
    let world = stage.open(stage.plan(backing, 2, 3)).await;
    let within = stage.sizes.or(8_000, 60_000);
    let World { fleet, people } = &world;
    let office =
        Office { crm: &fleet.crm, advoware: &fleet.advoware, http: &fleet.http, webhooks: &fleet.webhooks };
    let dice = std::cell::RefCell::new(stage.dice.clone());
    let told = async |_| {
        let event = &people.act(office);
        let waits: Vec<Duration> = {
            let mut dice = dice.borrow_mut();
            (0..=dice.below(TIMES_MAX - 1)).map(|_| moment(&mut dice, 0, within)).collect()
        };
        let copies = waits.into_iter().map(|wait| async move {
            tokio::time::sleep(wait).await;
            people.tell(office, event).await;
        });
        join_all(copies).await;
    };
    let at_once = stage.sizes.syncs;
    stream::iter(0..stage.sizes.syncs).for_each_concurrent(at_once, told).await;
    stage.judge(world, &[]).await;
}
