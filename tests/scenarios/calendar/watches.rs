//! A calendar whose provider does not want to tell us of changes.

use std::time::Duration;

use simulators::{FaultKind, FaultRule};

use super::faults::GRAPH;
use super::time::connected;
use super::world::World;

/// Requests for watches so far.
fn asked(world: &World) -> u64 {
    let counters = world.office.microsoft.counters();
    counters.iter().filter(|(name, _)| name.contains("subscriptions")).map(|(_, count)| count).sum()
}

#[tokio::test]
async fn a_watch_that_cannot_be_had_is_asked_for_each_quarter_of_an_hour() {
    let mut world = connected(&[]).await;
    let refused = FaultRule {
        path: Some(GRAPH.replace('*', "subscriptions")),
        ..FaultRule::new(FaultKind::Status { status: 403 })
    };
    world.office.microsoft.fault(refused);
    let outlook = world.calendars_of(0)[0];
    world.connect(outlook).await;
    for minute in 0..60 {
        world.sweep_now();
        world.quiet().await;
        assert_eq!(asked(&world), 1 + minute / 15, "minute {minute}");
        world.clock.advance(Duration::from_secs(60));
    }
    world.office.microsoft.faults().clear();
    world.sweep_now();
    world.quiet().await;
    world.clock.advance(Duration::from_secs(3_600));
    let asked_before = asked(&world);
    world.sweep_now();
    world.quiet().await;
    assert_eq!(asked(&world), asked_before, "it stands");
}
