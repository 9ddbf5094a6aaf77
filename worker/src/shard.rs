//! One shard: hold its lease, consume it, run its keys, let it go.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use shared::clock::later;
use shared::dead_letter::DeadLetter;
use shared::envelope::Envelope;
use shared::flow::Flow;
use shared::lease::LeaseGuard;
use shared::names;
use shared::ports::PortError;
use shared::ports::queue::{Consumer, Delivery, Outbound};
use shared::record_key::{FlowName, RecordKey};
use shared::routing::Shard;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::dispatch::{self, Ended, Held};
use crate::incoming::{self, Incoming, NEWER_DELAY};
use crate::run::Engine;
use crate::waiting::Waiting;

/// First and longest wait before a lost shard is tried again.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// How long nothing is taken from a shard after a settlement that failed: what could not be settled comes again
/// at once.
pub(crate) const SETTLE_PAUSE: Duration = Duration::from_secs(1);
/// How long a message waits that is sent on to another shard: workers that do not agree on the number of shards
/// must not send it to and fro in a hot loop.
const MOVE_DELAY: Duration = Duration::from_secs(1);
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

/// How a shard is told to end.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Take nothing more, finish what runs.
    pub drain: CancellationToken,
    /// Cut off what still runs, and hand it back.
    pub cut: CancellationToken,
}

/// Why a shard's consuming ended.
enum End {
    Stopped,
    ConsumerLost(PortError),
    LeaseLost,
}

/// Serves a shard until it is told to stop and its runs have ended.
pub async fn serve(
    engine: Arc<Engine>,
    flow: Arc<dyn Flow>,
    shard: Shard,
    permits: Arc<Semaphore>,
    stop: Stop,
) {
    let mut wait = RETRY_WAIT.0;
    while !stop.drain.is_cancelled() {
        let acquiring = lease_name(&shard);
        let Some(guard) = engine.leases().acquire(&acquiring, &stop.drain).await else { return };
        let guard = Arc::new(guard);
        let began = Instant::now();
        match hold(&engine, &flow, &shard, &permits, &guard, &stop).await {
            End::Stopped => return,
            End::ConsumerLost(problem) => {
                warn!(shard = %shard, "The shard is not consumed now, trying again: {problem}");
                wait = wait_after(wait, began.elapsed());
                let _ = stop.drain.run_until_cancelled(tokio::time::sleep(wait)).await;
            }
            End::LeaseLost => {
                engine.meter.add(&names::LEASES_LOST, &[shard.flow.as_str()], 1);
                warn!(shard = %shard, "The shard's lease was lost; its unfinished messages are handed back.");
            }
        }
    }
}

/// How long to wait before a shard is tried again that was consumed for a while: one that was consumed for long
/// begins anew with the shortest wait.
fn wait_after(last: Duration, consumed_for: Duration) -> Duration {
    if consumed_for > RETRY_WAIT.1 { RETRY_WAIT.0 } else { (last * 2).min(RETRY_WAIT.1) }
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
    stop: &Stop,
) -> End {
    let mut pump = Pump::new(engine, flow, shard, permits, guard);
    let mut consumer = None;
    let consuming = async {
        match engine.queue.consume(shard, engine.settings.prefetch).await {
            Ok(begun) => {
                engine.consuming.set(shard, true);
                pump.run(consumer.insert(begun).as_mut(), &stop.drain).await
            }
            Err(problem) => End::ConsumerLost(problem),
        }
    };
    let leases = engine.leases();
    let end = tokio::select! {
        end = consuming => end,
        () = leases.keep(guard) => End::LeaseLost,
        () = stop.cut.cancelled() => End::Stopped,
    };
    // What still runs has ended before anybody holds the lease next, and the consumer ends after its messages.
    pump.cut().await;
    drop(consumer);
    leases.release(guard).await;
    end
}

type Finished = (RecordKey, Ended);

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
    /// Nothing is taken before.
    pause: Option<Instant>,
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
        Self { engine, flow, shard, permits, guard, waiting, runs, read_at, pause: None }
    }

    /// Works until it is told to stop or the consumer is lost. Then takes nothing more, hands back what waits and
    /// finishes what runs: a run that is cut off may be between two writes.
    async fn run(&mut self, consumer: &mut dyn Consumer, stop: &CancellationToken) -> End {
        let end = loop {
            tokio::select! {
                () = stop.cancelled() => break End::Stopped,
                () = sleep_until(self.pause.unwrap_or_else(Instant::now)), if self.pause.is_some() => self.pause = None,
                delivery = consumer.next(), if self.pause.is_none() => match delivery {
                    Ok(delivery) => self.take(delivery).await,
                    Err(problem) => break End::ConsumerLost(problem),
                },
                Ok(permit) = self.permits.clone().acquire_owned(), if self.waiting.may_start() => self.start(permit),
                Some(ended) = self.runs.join_next() => if let Err(problem) = self.ended(ended) {
                    break End::ConsumerLost(problem);
                },
            }
        };
        self.hand_back().await;
        while self.runs.join_next().await.is_some() {}
        end
    }

    /// Ends what still runs, and hands back what waits.
    async fn cut(&mut self) {
        self.runs.shutdown().await;
        self.hand_back().await;
    }

    async fn hand_back(&mut self) {
        self.engine.consuming.set(self.shard, false);
        let handing_back = self.waiting.take_all().into_iter().map(|held| held.receipt.give_back());
        for problem in join_all(handing_back).await.into_iter().filter_map(Result::err) {
            debug!(shard = %self.shard, "A message comes back by itself: {problem}");
        }
    }

    /// What could not be settled comes again, perhaps at once: without a pause that would be a hot loop.
    fn pause(&mut self) {
        self.pause = Some(Instant::now() + SETTLE_PAUSE);
    }

    async fn take(&mut self, delivery: Delivery) {
        let now = self.engine.clock.now();
        let age_max = self.flow.spec().retry.age_max;
        match incoming::read(&delivery.body, &self.shard.flow, now, age_max) {
            Incoming::Message(envelope) => self.take_message(*envelope, delivery).await,
            Incoming::HandBack(text) => {
                debug!(shard = %self.shard, "Handed back: {text}");
                let not_before = later(now, NEWER_DELAY);
                let settled = delivery.receipt.retry(delivery.body, not_before).await;
                self.settled("postpone", settled);
            }
            Incoming::DeadLetter { reason, code, text } => {
                error!(flow.name = %self.shard.flow, "A message becomes a dead letter ({code}): {text}");
                let flow = Some(self.shard.flow.clone());
                let name = &self.engine.settings.name;
                let letter = DeadLetter::of_bytes(&delivery.body, flow, reason, code, &text, name, now);
                let settled = delivery.receipt.dead_letter(letter).await;
                if self.settled("dead_letter", settled) {
                    let labels = [self.shard.flow.as_str(), reason.name()];
                    self.engine.meter.add(&names::DEAD_LETTERS_OPENED, &labels, 1);
                }
            }
        }
    }

    async fn take_message(&mut self, envelope: Envelope, delivery: Delivery) {
        let outbound = Outbound::of(&envelope, self.flow.spec().shards);
        if outbound.shard != *self.shard {
            return self.send_on(outbound, delivery).await;
        }
        let read_at = self.read_at.get(&envelope.key).copied();
        if incoming::is_satisfied(&envelope, read_at, self.engine.settings.clock_skew_max) {
            let settled = delivery.receipt.ack().await;
            if self.settled("ack", settled) {
                self.engine.meter.add(&names::MESSAGES_COALESCED, &[self.shard.flow.as_str()], 1);
            }
        } else {
            self.waiting.push(envelope.key.clone(), Held { envelope, receipt: delivery.receipt });
        }
    }

    /// A message that was published when the flow had another number of shards: here it could run beside others of
    /// its key.
    async fn send_on(&mut self, outbound: Outbound, delivery: Delivery) {
        debug!(shard = %self.shard, "A message is sent on to shard {}, where its key belongs.", outbound.shard);
        let not_before = Some(later(self.engine.clock.now(), MOVE_DELAY));
        let sent = self.engine.queue.publish(&[Outbound { not_before, ..outbound }]).await;
        let settled = match sent {
            Ok(()) => delivery.receipt.ack().await,
            Err(problem) => Err(problem),
        };
        self.settled("return", settled);
    }

    fn settled(&mut self, settlement: &str, outcome: Result<(), PortError>) -> bool {
        match &outcome {
            Ok(()) => self.engine.meter.add(&names::DELIVERIES, &[self.shard.flow.as_str(), settlement], 1),
            Err(problem) => {
                warn!(shard = %self.shard, "A delivery could not be settled and comes again: {problem}");
                self.pause();
            }
        }
        outcome.is_ok()
    }

    fn start(&mut self, permit: OwnedSemaphorePermit) {
        let Some((key, held)) = self.waiting.start_next() else { return };
        let (engine, flow, guard) = (self.engine.clone(), self.flow.clone(), self.guard.clone());
        self.runs.spawn(async move {
            let ended = dispatch::run(&engine, &flow, guard, &key, held).await;
            drop(permit);
            (key, ended)
        });
    }

    /// The flow's panics are contained, so that only a defect of the dispatcher itself ends abnormally; the shard
    /// then starts over, and its messages come again.
    fn ended(&mut self, ended: Result<Finished, tokio::task::JoinError>) -> Result<(), PortError> {
        let (key, ended) =
            ended.map_err(|e| PortError::Unavailable(format!("a run ended abnormally: {e}")))?;
        self.waiting.finished(&key);
        match ended {
            Ended::Succeeded(read_at) => self.remember(key, read_at),
            Ended::Failed => {}
            Ended::Unsettled => self.pause(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_begin_anew_after_a_good_time() {
        let (shortest, longest) = RETRY_WAIT;
        assert_eq!(wait_after(shortest, Duration::ZERO), shortest * 2);
        assert_eq!(wait_after(longest, Duration::ZERO), longest);
        assert_eq!(wait_after(longest, Duration::from_secs(3_600)), shortest);
    }
}
