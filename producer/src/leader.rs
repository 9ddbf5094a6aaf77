//! One producer at a time fires the sweeps: the one that holds the leader's lease.

use std::sync::Arc;

use leasing::LeaseKeeper;
use shared::flow::Flow;
use shared::names;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::run::Engine;
use crate::sweep;

/// The leader's lease.
const LEASE: &str = "producer/leader";

/// Waits for the lease, fires the sweeps while it holds, and starts over when it is lost, until `stop`.
pub async fn lead(engine: Arc<Engine>, flows: Vec<Arc<dyn Flow>>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        engine.health.set("leader", Ok("following".to_owned()));
        engine.meter.set(&names::LEADER, &[], 0.0);
        let leases = LeaseKeeper {
            state: engine.state.as_ref(),
            clock: &engine.clock,
            holder: &engine.settings.holder,
            ttl: engine.settings.lease_ttl,
        };
        let Some(guard) = leases.acquire(LEASE, &stop).await else { return };
        let guard = Arc::new(guard);
        info!(producer.name = %engine.settings.name, "This producer fires the sweeps now.");
        engine.health.set("leader", Ok("leading".to_owned()));
        engine.meter.set(&names::LEADER, &[], 1.0);

        let mut sweeping = JoinSet::new();
        for flow in &flows {
            sweeping.spawn(sweep::fire(engine.clone(), flow.clone(), guard.clone()));
        }
        tokio::select! {
            () = stop.cancelled() => {
                sweeping.shutdown().await;
                leases.release(&guard).await;
            }
            () = leases.keep(&guard) => {
                sweeping.shutdown().await;
                warn!(producer.name = %engine.settings.name, "The leader's lease was lost; another producer goes on.");
            }
        }
    }
    engine.meter.set(&names::LEADER, &[], 0.0);
}
