//! After an account was connected: its flows begin at once, and what waited for it goes on.

use std::collections::BTreeMap;
use std::sync::Arc;

use shared::envelope::{Cause, Operation};
use shared::flow::Flow;
use shared::marks;
use shared::parking::{self, Parked};
use shared::ports::PortError;
use shared::ports::queue::{FlowTopology, Outbound};
use shared::record_key::RecordKey;
use tracing::{info, warn};
use vault::AccountId;

use crate::intake;
use crate::run::Engine;

/// Lets every flow that works with accounts begin with this one. What fails is logged: a sweep comes by, and what is
/// parked looks for itself after a while.
pub(super) async fn wake(engine: &Engine, flows: &[Arc<dyn Flow>], account: &AccountId) {
    let Some(user) = account.user() else { return };
    for flow in flows {
        let Some(key) = flow.key_of_account(account.provider.as_str(), user.as_str()) else { continue };
        let envelope = engine.envelope(key.clone(), Operation::Check, Cause::Manual);
        let batch = [Outbound::of(&envelope, flow.spec().shards)];
        if let Err(problem) = intake::take(engine, flow.spec(), &batch).await {
            warn!("What was connected as {account} is looked at by the next sweep only: {problem}");
            continue;
        }
        if let Err(problem) = release(engine, flows, &key).await {
            warn!("What is parked for {account} goes on when {key} was looked at: {problem}");
        }
    }
}

/// Publishes what is parked under a key, then takes it away: a crash in between doubles, and loses nothing.
async fn release(engine: &Engine, flows: &[Arc<dyn Flow>], key: &RecordKey) -> Result<(), PortError> {
    let waiting = marks::load(engine.state.as_ref(), key).await?.parked;
    let topology =
        |flow: &Arc<dyn Flow>| FlowTopology { flow: flow.spec().name.clone(), shards: flow.spec().shards };
    let topologies: Vec<FlowTopology> = flows.iter().map(topology).collect();
    let now = engine.clock.now();
    let (mut released, mut by_flow) = (Vec::new(), BTreeMap::<_, Vec<Outbound>>::new());
    for parked in &waiting {
        // Its own message was published just now.
        if parked.record != *key {
            let Some(outbound) = parked.outbound(&topologies, now) else { continue };
            by_flow.entry(parked.record.flow().clone()).or_default().push(outbound);
        }
        released.push(parked.clone());
    }
    for flow in flows {
        let Some(batch) = by_flow.get(&flow.spec().name) else { continue };
        engine.publish(batch, Cause::Released, flow.spec()).await?;
    }
    take_away(engine, key, &released).await
}

async fn take_away(engine: &Engine, key: &RecordKey, released: &[Parked]) -> Result<(), PortError> {
    if released.is_empty() {
        return Ok(());
    }
    info!(awaited = %key, messages = released.len(), "What was parked is released.");
    parking::remove(engine.state.as_ref(), key, released).await
}
