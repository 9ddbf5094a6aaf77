//! Messages that runs ask for: about other records of their flow.

use std::sync::Arc;

use async_trait::async_trait;
use shared::envelope::{Cause, Envelope, Operation};
use shared::fault::Fault;
use shared::flow::{Hints, Run};
use shared::meter::Meter;
use shared::names;
use shared::ports::queue::{FlowTopology, Outbound, Queue};
use shared::record_key::RecordKey;
use shared::trace::TraceParent;
use uuid::Uuid;

/// Most messages that are published at once.
const BATCH_MAX: usize = 100;

/// Publishes into the worker's own queue.
#[derive(Debug)]
pub struct Publisher {
    /// The queue.
    pub queue: Arc<dyn Queue>,
    /// The shards of the flows.
    pub topologies: Vec<FlowTopology>,
    /// The worker's name.
    pub name: String,
    /// Metrics.
    pub meter: Arc<dyn Meter>,
}

#[async_trait]
impl Hints for Publisher {
    async fn hint(&self, run: &Run, keys: &[RecordKey]) -> Result<(), Fault> {
        for keys in keys.chunks(BATCH_MAX) {
            let batch = keys.iter().map(|key| self.outbound(run, key)).collect::<Result<Vec<_>, Fault>>()?;
            self.queue.publish(&batch).await?;
            let labels = [run.key.flow().as_str(), follows(run.cause).name()];
            self.meter.add(&names::MESSAGES_PUBLISHED, &labels, batch.len() as u64);
        }
        Ok(())
    }
}

impl Publisher {
    fn outbound(&self, run: &Run, key: &RecordKey) -> Result<Outbound, Fault> {
        let topology = self.topologies.iter().find(|topology| topology.flow == *key.flow());
        let topology = topology.ok_or_else(|| {
            Fault::bug(
                "hint_for_no_flow",
                format!("A run asked for {key}, of a flow that is not served here."),
            )
        })?;
        let trace = format!("00-{}-{:016x}-01", run.trace_id, fastrand::u64(1..));
        let trace: TraceParent =
            trace.parse().unwrap_or_else(|_| TraceParent::new(fastrand::u128(..), fastrand::u64(..)));
        let source = format!("/syncfleet/worker/{}", self.name);
        let (cause, now) = (follows(run.cause), run.clock.at_latest());
        let envelope =
            Envelope::new(Uuid::now_v7(), source, key.clone(), Operation::Check, cause, trace, now);
        let envelope = Envelope { sweep_id: run.sweep_id.clone(), ..envelope };
        Ok(Outbound::of(&envelope, topology.shards))
    }
}

/// What follows from a run is no replay, and was not parked itself.
fn follows(cause: Cause) -> Cause {
    match cause {
        Cause::Replay => Cause::Manual,
        Cause::Released => Cause::Webhook,
        Cause::Webhook | Cause::Sweep | Cause::Manual => cause,
    }
}
