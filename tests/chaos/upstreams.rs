//! Systems that fail in every way that is known.

use std::time::Duration;

use simulators::{FaultKind, FaultRule};
use system_tests::Member;

use crate::damage::calm;
use crate::stage::{Stage, World};

/// How often a request goes wrong in each of these ways. A message has five attempts of some six requests each, so that
/// a dead letter by chance alone would come once in millions of syncs.
const SHARE: f64 = 0.002;

fn ways() -> Vec<FaultKind> {
    let throttled = |retry_after: &str| FaultKind::Throttled { retry_after: retry_after.to_owned() };
    vec![
        FaultKind::Status { status: 500 },
        FaultKind::Status { status: 503 },
        FaultKind::HtmlBadGateway,
        FaultKind::HtmlPage,
        FaultKind::CutBody,
        FaultKind::CloseBefore,
        FaultKind::CloseAfter,
        FaultKind::TimeoutBefore,
        FaultKind::TimeoutAfter,
        throttled("1"),
        throttled("0"),
        throttled("-5"),
        throttled("Thu, 01 Jan 1970 00:00:00 GMT"),
        throttled("soon"),
        throttled(""),
    ]
}

/// Both systems answer wrongly, late, by halves, not at all, and lose answers.
pub async fn upstreams_answer_in_every_wrong_way(stage: &mut Stage) {
    let backing = stage.shared_servers().await;
    let mut plan = stage.plan(backing, 2, 3);
    for key in ["CONNECTOR__ESPOCRM__TIMEOUT_SECONDS", "CONNECTOR__ADVOWARE__TIMEOUT_SECONDS"] {
        plan.settings.push((key, "1".to_owned()));
    }
    let mut world = stage.open(plan).await;
    for kind in ways() {
        let seed = stage.dice.roll();
        world.fleet.crm.fault(FaultRule::new(kind.clone()).sometimes(SHARE, seed));
        world.fleet.advoware.fault(FaultRule::new(kind).sometimes(SHARE, seed.rotate_left(1)));
    }
    world.broken(stage, calm).await;
    heal(&world);
    stage.judge(world, &[]).await;
}

/// A system is away for much longer than all attempts of a message take: no dead letter comes of it.
pub async fn a_long_outage_makes_no_dead_letters(stage: &mut Stage) {
    let backing = stage.shared_servers().await;
    let mut world = stage.open(stage.plan(backing, 2, 3)).await;
    let outage = Duration::from_secs(stage.sizes.or(20, 600));
    world.fleet.advoware.fault(FaultRule::new(FaultKind::Status { status: 503 }));
    let began = tokio::time::Instant::now();
    let blow = async |_: &mut [Member], _: &mut Stage| {
        tokio::time::sleep(Duration::from_millis(200)).await;
        began.elapsed() >= outage
    };
    world.people.pace.set(Duration::from_millis(100));
    world.broken(stage, blow).await;
    heal(&world);
    stage.judge(world, &[]).await;
}

fn heal(world: &World) {
    world.fleet.crm.faults().clear();
    world.fleet.advoware.faults().clear();
}
