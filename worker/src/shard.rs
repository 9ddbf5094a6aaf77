//! One shard: hold its lease, consume it, run its keys, let it go.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use shared::dead_letter::DeadLetter;
use shared::flow::Flow;
use shared::lease::LeaseGuard;
use shared::names;
use shared::ports::PortError;
use shared::ports::queue::{Consumer, Delivery};
use shared::record_key::{FlowName, RecordKey};
use shared::routing::Shard;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::dispatch::{self, Held};
use crate::incoming::{self, Incoming, NEWER_DELAY};
use crate::run::Engine;
use crate::waiting::Waiting;

/// First and longest wait before a lost shard is tried again.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// Keys whose last successful run is remembered per shard.
const READS_REMEMBERED_MAX: usize = 2_000;

/// Which shards are being consumed now: what readiness is judged by.
#[derive(Debug, Default)]
pub struct Consuming(Mutex<HashSet<Shard>>);

impl Consuming {
    fn set(&self, shard: &Shard, on: bool) {
        let mut shards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if on {
            shards.insert(shard.clone());
        } else {
            shards.remove(shard);
        }
    }

    /// How many shards of a flow are consumed.
    pub fn count(&self, flow: &FlowName) -> usize {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .filter(|shard| shard.flow == *flow)
            .count()
    }
}

/// Why a shard's consuming ended.
enum End {
    Stopped,
    ConsumerLost(PortError),
    LeaseLost,
}

/// Serves a shard until `stop` is cancelled and its runs are finished.
pub async fn serve(
    engine: Arc<Engine>,
    flow: Arc<dyn Flow>,
    shard: Shard,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
) {
    let mut wait = RETRY_WAIT.0;
    while !stop.is_cancelled() {
        let Some(guard) = stop.run_until_cancelled(engine.leases().acquire(&lease_name(&shard))).await else {
            return;
        };
        let guard = Arc::new(guard);
        let end = hold(&engine, &flow, &shard, &permits, &guard, &stop).await;
        engine.consuming.set(&shard, false);
        match end {
            End::Stopped => wait = RETRY_WAIT.0,
            End::ConsumerLost(problem) => {
                warn!(shard = %shard, "The shard is not consumed now, trying again: {problem}");
                let _ = stop.run_until_cancelled(tokio::time::sleep(wait)).await;
                wait = (wait * 2).min(RETRY_WAIT.1);
            }
            End::LeaseLost => {
                engine.meter.add(&names::LEASES_LOST, &[shard.flow.as_str()], 1);
                warn!(shard = %shard, "The shard's lease was lost; its unfinished messages are handed back.");
            }
        }
    }
}

fn lease_name(shard: &Shard) -> String {
    format!("shard/{shard}")
}

/// Consumes under the lease; gives the lease up at the end, unless it is lost.
async fn hold(
    engine: &Arc<Engine>,
    flow: &Arc<dyn Flow>,
    shard: &Shard,
    permits: &Arc<Semaphore>,
    guard: &Arc<LeaseGuard>,
    stop: &CancellationToken,
) -> End {
    let consuming = async {
        match engine.queue.consume(shard, engine.settings.prefetch).await {
            Ok(consumer) => {
                engine.consuming.set(shard, true);
                Pump::new(engine, flow, shard, permits, guard).run(consumer, stop).await
            }
            Err(problem) => End::ConsumerLost(problem),
        }
    };
    let leases = engine.leases();
    let end = tokio::select! {
        end = consuming => end,
        () = leases.keep(guard) => return End::LeaseLost,
    };
    leases.release(guard).await;
    end
}

type Finished = (RecordKey, Option<Timestamp>);

/// Takes deliveries, starts runs, collects their ends.
struct Pump<'a> {
    engine: &'a Arc<Engine>,
    flow: &'a Arc<dyn Flow>,
    shard: &'a Shard,
    permits: &'a Arc<Semaphore>,
    guard: &'a Arc<LeaseGuard>,
    waiting: Waiting<RecordKey, Held>,
    runs: JoinSet<Finished>,
    read_at: HashMap<RecordKey, Timestamp>,
}

impl<'a> Pump<'a> {
    fn new(
        engine: &'a Arc<Engine>,
        flow: &'a Arc<dyn Flow>,
        shard: &'a Shard,
        permits: &'a Arc<Semaphore>,
        guard: &'a Arc<LeaseGuard>,
    ) -> Self {
        let (waiting, runs, read_at) = (Waiting::default(), JoinSet::new(), HashMap::new());
        Self { engine, flow, shard, permits, guard, waiting, runs, read_at }
    }

    async fn run(mut self, mut consumer: Box<dyn Consumer>, stop: &CancellationToken) -> End {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                delivery = consumer.next() => match delivery {
                    Ok(delivery) => self.take(delivery).await,
                    Err(problem) => return End::ConsumerLost(problem),
                },
                Ok(permit) = self.permits.clone().acquire_owned(), if self.waiting.may_start() => self.start(permit),
                Some(ended) = self.runs.join_next() => if let Err(problem) = self.ended(ended) {
                    return End::ConsumerLost(problem);
                },
            }
        }
        for held in self.waiting.take_all() {
            if let Err(problem) = held.receipt.give_back().await {
                debug!(shard = %self.shard, "A message comes back by itself: {problem}");
            }
        }
        while self.runs.join_next().await.is_some() {}
        End::Stopped
    }

    async fn take(&mut self, delivery: Delivery) {
        let now = self.engine.clock.now();
        let age_max = self.flow.spec().retry.age_max;
        match incoming::read(&delivery.body, &self.shard.flow, now, age_max) {
            Incoming::Message(envelope) => self.take_message(*envelope, delivery).await,
            Incoming::HandBack(text) => {
                debug!(shard = %self.shard, "Handed back: {text}");
                let later = shared::clock::later(now, NEWER_DELAY);
                let settled = delivery.receipt.retry(delivery.body, later).await;
                self.settled("postpone", settled);
            }
            Incoming::DeadLetter { reason, code, text } => {
                error!(flow.name = %self.shard.flow, "A message becomes a dead letter ({code}): {text}");
                let flow = Some(self.shard.flow.clone());
                let name = &self.engine.settings.name;
                let letter = DeadLetter::of_bytes(&delivery.body, flow, reason, code, &text, name, now);
                self.engine.meter.add(
                    &names::DEAD_LETTERS_OPENED,
                    &[self.shard.flow.as_str(), reason.name()],
                    1,
                );
                let settled = delivery.receipt.dead_letter(letter).await;
                self.settled("dead_letter", settled);
            }
        }
    }

    async fn take_message(&mut self, envelope: shared::envelope::Envelope, delivery: Delivery) {
        let read_at = self.read_at.get(&envelope.key).copied();
        if incoming::is_satisfied(&envelope, read_at, self.engine.settings.clock_skew_max) {
            self.engine.meter.add(&names::MESSAGES_COALESCED, &[self.shard.flow.as_str()], 1);
            let settled = delivery.receipt.ack().await;
            self.settled("ack", settled);
        } else {
            self.waiting.push(envelope.key.clone(), Held { envelope, receipt: delivery.receipt });
        }
    }

    fn settled(&self, settlement: &str, outcome: Result<(), PortError>) {
        match outcome {
            Ok(()) => self.engine.meter.add(&names::DELIVERIES, &[self.shard.flow.as_str(), settlement], 1),
            Err(problem) => {
                warn!(shard = %self.shard, "A delivery could not be settled and comes again: {problem}")
            }
        }
    }

    fn start(&mut self, permit: OwnedSemaphorePermit) {
        let Some((key, held)) = self.waiting.start_next() else { return };
        let (engine, flow, guard) = (self.engine.clone(), self.flow.clone(), self.guard.clone());
        self.runs.spawn(async move {
            let read_at = dispatch::run(&engine, &flow, guard, &key, held).await;
            drop(permit);
            (key, read_at)
        });
    }

    /// Handlers run in tasks of their own, so that only a defect of the dispatcher itself ends abnormally; the
    /// shard then starts over, and its messages come again.
    fn ended(&mut self, ended: Result<Finished, tokio::task::JoinError>) -> Result<(), PortError> {
        let (key, read_at) =
            ended.map_err(|e| PortError::Unavailable(format!("a run ended abnormally: {e}")))?;
        self.waiting.finished(&key);
        if let Some(at) = read_at {
            self.remember(key, at);
        }
        Ok(())
    }

    fn remember(&mut self, key: RecordKey, at: Timestamp) {
        if self.read_at.len() >= READS_REMEMBERED_MAX {
            self.read_at.clear();
        }
        self.read_at.insert(key, at);
    }
}
