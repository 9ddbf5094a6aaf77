//! Empties the spool into the queue: in order, in confirmed batches, acknowledged after the confirm.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use shared::envelope::{Cause, Envelope};
use shared::flow::FlowSpec;
use shared::ports::PortError;
use shared::ports::queue::{Consumer, Delivery, FlowTopology, Outbound};
use shared::routing::{Shard, shard_of};
use shared::{labelled, names};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use super::{Spool, lower, shard};
use crate::run::Engine;

/// How long a batch waits for more.
const GATHER_WAIT: Duration = Duration::from_millis(10);
/// First and longest pause before a batch is published again.
const PUBLISH_AGAIN: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// Pause after the disk failed.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// Drains one flow's messages; ends with the process. `topologies` is declared anew where the queue lost its own.
pub async fn drain(engine: Arc<Engine>, spool: Arc<Spool>, spec: FlowSpec, topologies: Arc<[FlowTopology]>) {
    let Some(disk) = spool.opened().await else { return };
    let mut drain = Drain {
        engine: &engine,
        spool: &spool,
        spec: &spec,
        topologies: &topologies,
        confirmed: HashSet::new(),
    };
    let prefetch = u16::try_from(engine.settings.publish_batch_max).unwrap_or(u16::MAX);
    loop {
        let problem = match disk.consume(&shard(&spec.name), prefetch).await {
            Ok(consumer) => drain.empty(consumer).await,
            Err(problem) => problem,
        };
        warn!(flow.name = %spec.name, "{} cannot be drained now, trying on: {problem}", spool.name());
        sleep(READ_AGAIN).await;
    }
}

struct Drain<'a> {
    engine: &'a Engine,
    spool: &'a Spool,
    spec: &'a FlowSpec,
    topologies: &'a [FlowTopology],
    /// What the queue has confirmed and a full disk did not let go: one batch at most. It comes again, and is not
    /// published again.
    confirmed: HashSet<Uuid>,
}

impl Drain<'_> {
    /// Drains until the disk fails.
    async fn empty(&mut self, mut consumer: Box<dyn Consumer>) -> PortError {
        let mut drained = 0u64;
        loop {
            let batch = match self.gather(consumer.as_mut()).await {
                Ok(batch) => batch,
                Err(problem) => return problem,
            };
            let mut messages: Vec<Outbound> =
                batch.iter().map(|delivery| message(&delivery.body, self.spec)).collect();
            messages.retain(|message| !self.confirmed.contains(&message.id));
            self.publish(&messages).await;
            labelled::reach("producer.drain_after_publish");
            self.confirmed.extend(messages.iter().map(|message| message.id));
            drained += batch.len() as u64;
            if let Err(problem) = self.acknowledge(batch).await {
                return problem;
            }
            self.confirmed.clear();
            if self.spool.waiting() == 0 {
                info!(flow.name = %self.spec.name, drained, "The spool is empty again.");
                drained = 0;
            }
        }
    }

    async fn gather(&self, consumer: &mut dyn Consumer) -> Result<Vec<Delivery>, PortError> {
        let mut batch = vec![consumer.next().await?];
        while batch.len() < self.engine.settings.publish_batch_max
            && let Ok(Ok(delivery)) = timeout(GATHER_WAIT, consumer.next()).await
        {
            batch.push(delivery);
        }
        Ok(batch)
    }

    /// Publishes until the queue has confirmed it.
    async fn publish(&self, messages: &[Outbound]) {
        let (mut pause, mut said) = (PUBLISH_AGAIN.0, String::new());
        while let Err(problem) = self.engine.publish(messages, Cause::Webhook, self.spec).await {
            self.spool.queue_failed(&problem.to_string());
            if let PortError::Misconfigured(why) = problem {
                self.declare_anew().await;
                if why != said {
                    error!(flow.name = %self.spec.name, "The spool cannot be drained, trying on: {why}");
                    said = why;
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(PUBLISH_AGAIN.1);
        }
        self.spool.queue_works();
    }

    /// Heals what can be healed from here: queues that somebody deleted, a broker that came back empty.
    async fn declare_anew(&self) {
        if let Err(problem) = self.engine.queue.prepare(self.topologies).await {
            debug!("The queue cannot be prepared anew: {problem}");
        }
    }

    async fn acknowledge(&self, batch: Vec<Delivery>) -> Result<(), PortError> {
        let settled = join_all(batch.into_iter().map(|delivery| delivery.receipt.ack())).await;
        let done = settled.iter().filter(|outcome| outcome.is_ok()).count() as u64;
        lower(&self.spool.waiting_in(&self.spec.name), done);
        self.engine.meter.add(&names::SPOOLED, &[self.spec.name.as_str(), "drained"], done);
        settled.into_iter().collect()
    }
}

/// A spooled message on its way to the shard that its key has now.
fn message(body: &Bytes, spec: &FlowSpec) -> Outbound {
    let (id, shard) = Envelope::parse(body).map_or_else(
        // A damaged one goes to a worker all the same, which makes a dead letter of it.
        |_| (Uuid::nil(), Shard { flow: spec.name.clone(), number: 0 }),
        |envelope| (envelope.id, shard_of(&envelope.key, spec.shards)),
    );
    Outbound { shard, id, body: body.clone(), not_before: None }
}
