//! The deliveries of a shard that is held: takes them, gathers those of one key, starts runs, collects their ends.

use std::collections::HashMap;
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use http_client::guarded;
use jiff::Timestamp;
use shared::clock::later;
use shared::dead_letter::{DeadLetter, Reason};
use shared::envelope::Envelope;
use shared::flow::Flow;
use shared::lease::LeaseGuard;
use shared::names;
use shared::ports::PortError;
use shared::ports::queue::{Consumer, Delivery, Outbound, Receipt};
use shared::record_key::RecordKey;
use shared::routing::{Shard, shard_of};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Duration, Instant, sleep_until};
use tokio_util::sync::{CancellationToken, PollSemaphore};
use tracing::{debug, error, warn};

use crate::dispatch::{self, Ended};
use crate::failed::Failed;
use crate::held::{self, Held};
use crate::incoming::{self, Incoming, NEWER_DELAY};
use crate::run::Engine;
use crate::turns::{Place, Turns};
use crate::waiting::Waiting;

/// How long nothing is taken from a shard after a settlement that failed: what could not be settled comes again
/// at once.
pub(crate) const SETTLE_PAUSE: Duration = Duration::from_secs(1);
/// How long a message waits that is sent on to another shard: workers that do not agree on the number of shards
/// must not send it to and fro in a hot loop.
const MOVE_DELAY: Duration = Duration::from_secs(1);
/// Bound on [`Pump::held_max`] from below, whatever the settings.
const HELD_MAX_LEAST: Duration = Duration::from_secs(1);
/// Looks for what has waited too long, within the time that it may wait.
const LOOKS: u32 = 4;
/// Keys whose last successful run is remembered per shard.
const READS_REMEMBERED_MAX: usize = 2_000;

/// What the pump of a shard works with.
#[derive(Debug, Clone)]
pub struct Shaft {
    /// The worker.
    pub engine: Arc<Engine>,
    /// The shard's flow.
    pub flow: Arc<dyn Flow>,
    /// The shard.
    pub shard: Shard,
    /// The turns of the flow's runs.
    pub turns: Turns,
}

/// Why it ended.
pub(crate) enum End {
    /// It was told to.
    Stopped,
    /// There is nothing to take from any more.
    ConsumerLost(PortError),
}

type Finished = (RecordKey, Ended);

/// Takes deliveries, starts runs, collects their ends.
pub(crate) struct Pump {
    shaft: Arc<Shaft>,
    guard: Arc<LeaseGuard>,
    waiting: Waiting<RecordKey, Held>,
    turn: PollSemaphore,
    runs: JoinSet<Finished>,
    /// What no run settles; each holds its delivery, so that there are never more than the prefetch.
    settling: FuturesUnordered<BoxFuture<'static, Result<(), PortError>>>,
    read_at: HashMap<RecordKey, Timestamp>,
    failed: Failed,
    /// Nothing is taken before.
    pause: Option<Instant>,
    /// How long a message may wait here for its run.
    held_max: Duration,
    /// When to look next for what has waited too long.
    next_look: Instant,
    /// Nothing is begun any more.
    ending: CancellationToken,
}

impl Pump {
    pub(crate) fn new(shaft: Arc<Shaft>, guard: Arc<LeaseGuard>) -> Self {
        let run_time_max = shaft.flow.spec().run_time_max;
        let held_max = shaft.engine.settings.unsettled_max.saturating_sub(run_time_max).max(HELD_MAX_LEAST);
        Self {
            held_max,
            next_look: Instant::now() + held_max / LOOKS,
            waiting: Waiting::new(shaft.engine.settings.key_rest),
            turn: shaft.turns.usual(),
            shaft,
            guard,
            runs: JoinSet::new(),
            settling: FuturesUnordered::new(),
            read_at: HashMap::new(),
            failed: Failed::default(),
            pause: None,
            ending: CancellationToken::new(),
        }
    }

    /// Works until it is told to stop or the consumer is lost. Then takes nothing more, hands back what waits and
    /// finishes what runs: a run that is cut off may be between two writes.
    pub(crate) async fn run(&mut self, consumer: &mut dyn Consumer, stop: &CancellationToken) -> End {
        let mut stopped = pin!(stop.cancelled());
        self.failed = Failed::load(&*self.shaft.engine.state, &self.shaft.shard).await;
        let end = loop {
            let wake = self.waiting.next_wake().map(Instant::from_std);
            tokio::select! {
                () = &mut stopped => break End::Stopped,
                () = at(self.pause) => self.pause = None,
                () = at(wake) => self.wake(),
                () = sleep_until(self.next_look) => self.hand_back_old(),
                delivery = consumer.next(), if self.pause.is_none() => match delivery {
                    Ok(delivery) => self.take(delivery),
                    Err(problem) => break End::ConsumerLost(problem),
                },
                Some(permit) = poll_fn(|context| self.turn.poll_acquire(context)), if self.waiting.may_start() => {
                    self.start(permit);
                }
                Some(outcome) = self.settling.next() => self.settled(outcome),
                Some(ended) = self.runs.join_next() => if let Err(problem) = self.ended(ended) {
                    break End::ConsumerLost(problem);
                },
            }
        };
        self.ending.cancel();
        // Nobody polls for a turn any more: a place kept in the queue would hold up the other shards.
        self.turn = self.shaft.turns.usual();
        self.hand_back().await;
        while let Some(outcome) = self.settling.next().await {
            self.settled(outcome);
        }
        while self.runs.join_next().await.is_some() {}
        end
    }

    /// Ends what still runs, and hands back what waits.
    pub(crate) async fn cut(&mut self) {
        self.ending.cancel();
        self.runs.shutdown().await;
        self.settling.clear();
        self.hand_back().await;
    }

    async fn hand_back(&mut self) {
        self.shaft.engine.consuming.set(&self.shaft.shard, false);
        hand_back(&self.shaft.shard, self.waiting.take_all()).await;
    }

    /// What would not be settled in time, were its run to begin after the next look, goes to the end of the queue, where
    /// another worker may be faster. No attempt is counted.
    fn hand_back_old(&mut self) {
        let now = Instant::now();
        self.next_look = now + self.held_max / LOOKS;
        let too_long = self.held_max - self.held_max / LOOKS;
        let old = self.waiting.take(|held| now.into_std().duration_since(held.since) >= too_long);
        if !old.is_empty() {
            warn!(shard = %self.shaft.shard, "{} messages waited here for {} s without a run and go back to the queue: more \
                workers, or a larger concurrency_max, would help.", old.len(), too_long.as_secs());
        }
        for Held { envelope, receipt, .. } in old {
            let not_before = self.shaft.engine.clock.now();
            self.settle(
                "postpone",
                async move { receipt.retry(envelope.to_bytes().into(), not_before).await },
            );
        }
    }

    fn wake(&mut self) {
        self.waiting.wake(Instant::now().into_std());
    }

    fn take(&mut self, delivery: Delivery) {
        let Shaft { engine, flow, shard, .. } = &*self.shaft;
        match incoming::read(&delivery.body, &shard.flow, engine.clock.now(), flow.spec().retry.age_max) {
            Incoming::Message(envelope) => self.take_message(*envelope, delivery),
            Incoming::HandBack(text) => {
                debug!(shard = %shard, "Handed back: {text}");
                let not_before = later(engine.clock.now(), NEWER_DELAY);
                let Delivery { receipt, body, .. } = delivery;
                self.settle("postpone", async move { receipt.retry(body, not_before).await });
            }
            Incoming::DeadLetter { reason, code, text } => {
                self.bury(&delivery.body, reason, code, &text, delivery.receipt)
            }
        }
    }

    fn bury(&mut self, body: &[u8], reason: Reason, code: &str, text: &str, receipt: Box<dyn Receipt>) {
        let Shaft { engine, shard, .. } = &*self.shaft;
        error!(flow.name = %shard.flow, "A message becomes a dead letter ({code}): {text}");
        let (flow, name) = (shard.flow.clone(), &engine.settings.name);
        let letter =
            DeadLetter::of_bytes(body, Some(flow.clone()), reason, code, text, name, engine.clock.now());
        let meter = engine.meter.clone();
        self.settle("dead_letter", async move {
            receipt.dead_letter(letter).await?;
            meter.add(&names::DEAD_LETTERS_OPENED, &[flow.as_str(), reason.name()], 1);
            Ok(())
        });
    }

    fn take_message(&mut self, envelope: Envelope, delivery: Delivery) {
        let Shaft { engine, flow, shard, .. } = &*self.shaft;
        if shard_of(&envelope.key, flow.spec().shards) != *shard {
            return self.send_on(Outbound::of(&envelope, flow.spec().shards), delivery.receipt);
        }
        let read_at = self.read_at.get(&envelope.key).copied();
        if incoming::is_satisfied(&envelope, read_at, engine.settings.clock_skew_max) {
            return self.acknowledge_covered(delivery.receipt);
        }
        let Delivery { redeliveries, receipt, .. } = delivery;
        let waiting = self.waiting.push(
            envelope.key.clone(),
            Held { envelope, redeliveries, since: Instant::now().into_std(), receipt },
        );
        for covered in held::take_covered(waiting) {
            self.acknowledge_covered(covered.receipt);
        }
    }

    fn acknowledge_covered(&mut self, receipt: Box<dyn Receipt>) {
        let (meter, flow) = (self.shaft.engine.meter.clone(), self.shaft.shard.flow.clone());
        self.settle("ack", async move {
            receipt.ack().await?;
            meter.add(&names::MESSAGES_COALESCED, &[flow.as_str()], 1);
            Ok(())
        });
    }

    /// A message that was published when the flow had another number of shards: here it could run beside others of
    /// its key.
    fn send_on(&mut self, outbound: Outbound, receipt: Box<dyn Receipt>) {
        let Shaft { engine, shard, .. } = &*self.shaft;
        debug!(shard = %shard, "A message is sent on to shard {}, where its key belongs.", outbound.shard);
        let not_before = Some(later(engine.clock.now(), MOVE_DELAY));
        let queue = engine.queue.clone();
        self.settle("return", async move {
            queue.publish(&[Outbound { not_before, ..outbound }]).await?;
            receipt.ack().await
        });
    }

    /// Settles beside what else goes on, and counts it.
    fn settle(
        &mut self,
        settlement: &'static str,
        settling: impl Future<Output = Result<(), PortError>> + Send + 'static,
    ) {
        let (meter, flow) = (self.shaft.engine.meter.clone(), self.shaft.shard.flow.clone());
        self.settling.push(Box::pin(async move {
            settling.await?;
            meter.add(&names::DELIVERIES, &[flow.as_str(), settlement], 1);
            Ok(())
        }));
    }

    fn settled(&mut self, outcome: Result<(), PortError>) {
        if let Err(problem) = outcome {
            warn!(shard = %self.shaft.shard, "A delivery could not be settled and comes again: {problem}");
            self.pause();
        }
    }

    /// What could not be settled comes again, perhaps at once: without a pause that would be a hot loop.
    fn pause(&mut self) {
        self.pause = Some(Instant::now() + SETTLE_PAUSE);
    }

    fn start(&mut self, permit: OwnedSemaphorePermit) {
        let Some((key, held)) = self.waiting.start_next(Instant::now().into_std()) else { return };
        let (shaft, guard, ending) = (self.shaft.clone(), self.guard.clone(), self.ending.clone());
        let may_have_failed = self.failed.may_have(&key);
        self.runs.spawn(guarded(guard.clone(), async move {
            let mut place = Place::new(shaft.turns.clone(), permit, ending);
            let Shaft { engine, flow, .. } = &*shaft;
            let ended = dispatch::run(engine, flow, guard, &key, held, may_have_failed, &mut place).await;
            (key, ended)
        }));
    }

    /// The flow's panics are contained, so that only a defect of the dispatcher itself ends abnormally; the shard
    /// then starts over, and its messages come again.
    fn ended(&mut self, ended: Result<Finished, JoinError>) -> Result<(), PortError> {
        let (key, ended) =
            ended.map_err(|e| PortError::Unavailable(format!("a run ended abnormally: {e}")))?;
        self.waiting.finished(&key);
        match ended {
            Ended::Succeeded(read_at) => self.remember(key, read_at),
            // An older read says nothing about messages whose run has failed since.
            Ended::Failed => self.forget(&key),
            Ended::Unsettled => {
                self.forget(&key);
                self.pause();
            }
        }
        Ok(())
    }

    fn forget(&mut self, key: &RecordKey) {
        self.read_at.remove(key);
        self.failed.add(key);
    }

    fn remember(&mut self, key: RecordKey, at: Timestamp) {
        if self.read_at.len() >= READS_REMEMBERED_MAX {
            self.read_at.clear();
        }
        self.read_at.insert(key, at);
    }
}

/// Ends at a time; never without one.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

async fn hand_back(shard: &Shard, held: Vec<Held>) {
    let handing_back = held.into_iter().map(|held| held.receipt.give_back());
    for problem in join_all(handing_back).await.into_iter().filter_map(Result::err) {
        debug!(shard = %shard, "A message comes back by itself: {problem}");
    }
}
