//! A worker's life: prepare the queue, serve, drain.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use leasing::LeaseKeeper;
use operations::connections::watch;
use operations::dead_letters::DeadLetterDesk;
use operations::health::Health;
use operations::preparation::prepare;
use shared::clock::{Clock, SystemClock};
use shared::flow::{Flow, Hints};
use shared::meter::{Meter, NoMeter};
use shared::names;
use shared::ports::queue::{FlowTopology, Queue};
use shared::ports::state::State;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::hints::Publisher;
use crate::marked::Marked;
use crate::parking::Lot;
use crate::shard::Consuming;
use crate::watchdog::Watchdog;
use crate::{fleet, parking, trial};

/// How often the depth of queues and the open dead letters are measured.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// Who holds its leases: its name and a random part, so that two processes that were given one name by mistake
    /// never hold one lease together.
    pub holder: String,
    /// Its name: unique in the fleet, kept in attempts and dead letters.
    pub name: String,
    /// Runs of one flow at once.
    pub concurrency_max: usize,
    /// Time from the beginning of a run of a key to the next one's, at least: a burst of messages costs few runs.
    pub key_rest: Duration,
    /// Unsettled deliveries held per shard.
    pub prefetch: u16,
    /// Longest time from taking a message to the end of its run: what has waited too long for that goes back.
    pub unsettled_max: Duration,
    /// Time to finish what is held after the stop signal.
    pub drain: Duration,
    /// Time-to-live of a shard's lease.
    pub lease_ttl: Duration,
    /// Time-to-live of the membership; announced, and shards assigned anew, at each third.
    pub member_ttl: Duration,
    /// How long a worker must live with a message that may have killed others before that runs alone for the second
    /// time; twice as long for each further time.
    pub trial_wait: Duration,
    /// How often what is parked is looked after.
    pub parking_look_every: Duration,
    /// How far the clocks of producers and workers may differ.
    pub clock_skew_max: Duration,
}

/// What all parts of a worker share.
#[derive(Debug)]
pub struct Engine {
    /// How it works.
    pub settings: WorkerSettings,
    /// The queue.
    pub queue: Arc<dyn Queue>,
    /// The state store.
    pub state: Arc<dyn State>,
    /// Dead letters.
    pub desk: Arc<DeadLetterDesk>,
    /// Metrics.
    pub meter: Arc<dyn Meter>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Readiness.
    pub health: Health,
    /// Which shards are being consumed now.
    pub consuming: Consuming,
    /// What is parked.
    pub parking: Lot,
    /// Which records have marks.
    pub marked: Marked,
    /// Noted runs that are to be struck out.
    pub trials: trial::Ended,
    /// Knows the runs that do not yield.
    pub watchdog: Watchdog,
    /// Publishes what runs ask for.
    pub hints: Arc<dyn Hints>,
}

impl Engine {
    /// A worker on these ports that serves these flows; it counts nothing and waits for no part of its readiness until it
    /// is told otherwise. To be called within a runtime.
    pub fn new(
        settings: WorkerSettings,
        queue: Arc<dyn Queue>,
        state: Arc<dyn State>,
        topologies: Vec<FlowTopology>,
    ) -> Self {
        Self {
            desk: Arc::new(DeadLetterDesk::new(queue.clone(), state.clone(), topologies.clone())),
            meter: Arc::new(NoMeter),
            clock: Arc::new(SystemClock),
            health: Health::default(),
            consuming: Consuming::default(),
            parking: Lot::new(topologies.clone()),
            hints: Arc::new(Publisher {
                queue: queue.clone(),
                topologies,
                name: settings.name.clone(),
                meter: Arc::new(NoMeter),
            }),
            marked: Marked::start(state.clone()),
            trials: trial::Ended::default(),
            watchdog: Watchdog::default(),
            settings,
            queue,
            state,
        }
    }

    /// The leases that this worker takes.
    pub fn leases(&self) -> LeaseKeeper<'_> {
        LeaseKeeper {
            state: self.state.as_ref(),
            clock: &self.clock,
            holder: &self.settings.holder,
            ttl: self.settings.lease_ttl,
        }
    }
}

/// Runs a worker until `stop` is cancelled and what it holds is finished or handed back.
pub async fn run(engine: Arc<Engine>, flows: Vec<Arc<dyn Flow>>, stop: CancellationToken) {
    let topologies: Vec<FlowTopology> = flows.iter().map(|flow| topology(flow.as_ref())).collect();
    let (queue, state, meter) = (engine.queue.as_ref(), engine.state.as_ref(), engine.meter.as_ref());
    let preparing = prepare(queue, state, &topologies, meter, &engine.health);
    if stop.run_until_cancelled(preparing).await.is_none() {
        return;
    }
    info!(worker.name = %engine.settings.name, "The worker begins to serve.");
    let measuring = tokio::spawn(measure(engine.clone(), topologies));
    fleet::serve(engine.clone(), flows.clone(), stop).await;
    measuring.abort();
    join_all(flows.iter().map(|flow| flow.leave())).await;
    info!(worker.name = %engine.settings.name, "The worker has drained and stops.");
}

/// The shards of a flow.
pub fn topology(flow: &dyn Flow) -> FlowTopology {
    FlowTopology { flow: flow.spec().name.clone(), shards: flow.spec().shards }
}

async fn measure(engine: Arc<Engine>, topologies: Vec<FlowTopology>) {
    let (queue, state) = (engine.queue.as_ref(), engine.state.as_ref());
    // Beside each other: what readiness is judged by must not wait for what is only counted.
    tokio::join!(
        watch(queue, state, engine.meter.as_ref(), &engine.health),
        measure_depths(&engine, &topologies),
        parking::look_after(&engine),
    );
}

async fn measure_depths(engine: &Engine, topologies: &[FlowTopology]) {
    let mut ticks = tokio::time::interval(MEASURE_EVERY);
    loop {
        ticks.tick().await;
        for topology in topologies {
            measure_depth(engine, topology).await;
        }
        if let Err(problem) = engine.desk.measure(engine.meter.as_ref()).await {
            warn!("Open dead letters cannot be counted now: {problem}");
        }
    }
}

async fn measure_depth(engine: &Engine, topology: &FlowTopology) {
    let Ok(depth) = engine.queue.depth(topology).await else { return };
    let flow = [topology.flow.as_str()];
    #[expect(clippy::cast_precision_loss, reason = "a gauge; counts stay far below 2^52")]
    engine.meter.set(&names::QUEUE_MESSAGES, &flow, (depth.ready + depth.delayed) as f64);
    let oldest = depth.oldest.map_or(0.0, |at| at.as_duration().as_secs_f64());
    engine.meter.set(&names::OLDEST_MESSAGE, &flow, oldest);
}
