//! A producer's life: prepare the queue, serve webhooks, fire sweeps while leading, stop.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use operations::connections;
use operations::health::Health;
use operations::http::Bounds;
use operations::preparation::{await_store, prepare_queue};
use shared::clock::Clock;
use shared::envelope::{Cause, Envelope, Operation};
use shared::flow::{Flow, FlowSpec, Verdict};
use shared::meter::Meter;
use shared::ports::PortError;
use shared::ports::queue::{FlowTopology, Outbound, Queue};
use shared::ports::state::State;
use shared::record_key::{FlowName, RecordKey};
use shared::trace::TraceParent;
use shared::{labelled, names};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;
use vault::Connecting;

use crate::gate::{self, Gate};
use crate::schedule::Schedule;
use crate::spool::Spool;
use crate::{accounts, connect, leader, presence, spool, webhook};

/// Connections kept open for each webhook that may be handled at once: senders keep idle ones.
const CONNECTIONS_PER_REQUEST: usize = 4;

/// How a producer works.
#[derive(Debug, Clone)]
pub struct ProducerSettings {
    /// Who holds its leases: its name and a random part, so that two processes that were given one name by mistake
    /// never hold one lease together.
    pub holder: String,
    /// Its name: unique in the fleet, kept in each message's source.
    pub name: String,
    /// When each flow is swept; a flow that is not in here is not.
    pub schedules: HashMap<FlowName, Schedule>,
    /// Longest time until a webhook is answered.
    pub webhook_answer_max: Duration,
    /// Time-to-live of the leader's lease, and of what says that this producer lives.
    pub lease_ttl: Duration,
    /// Largest webhook body.
    pub webhook_body_bytes_max: usize,
    /// Webhooks handled at once; more are answered 503.
    pub webhook_concurrency_max: usize,
    /// Time for webhooks under way after the stop signal.
    pub drain: Duration,
    /// Messages published in one batch.
    pub publish_batch_max: usize,
    /// Longest time in which a flow finds one page of a sweep.
    pub sweep_page_time_max: Duration,
}

/// What all parts of a producer share.
#[derive(Debug)]
pub struct Engine {
    /// How it works.
    pub settings: ProducerSettings,
    /// The queue.
    pub queue: Arc<dyn Queue>,
    /// Where messages of webhooks wait while the queue is away; `None`: they are refused then.
    pub spool: Option<Arc<Spool>>,
    /// Whether the queue may be published to.
    pub gate: Gate,
    /// The state store.
    pub state: Arc<dyn State>,
    /// Metrics.
    pub meter: Arc<dyn Meter>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Readiness.
    pub health: Health,
    /// How accounts are connected; `None`: there is no provider.
    pub connecting: Option<Connecting>,
}

impl Engine {
    /// A new message of this producer.
    pub fn envelope(&self, key: RecordKey, operation: Operation, cause: Cause) -> Envelope {
        let trace = TraceParent::new(fastrand::u128(..), fastrand::u64(..));
        let source = format!("/syncfleet/producer/{}", self.settings.name);
        Envelope::new(Uuid::now_v7(), source, key, operation, cause, trace, self.clock.at_latest())
    }

    /// Publishes messages of a flow in bounded batches; `Ok` means that all are durable.
    ///
    /// # Errors
    /// As the queue's; a part may have been published, and publishing again does no harm. Nothing is published into a
    /// queue that was moved elsewhere.
    pub async fn publish(&self, batch: &[Outbound], cause: Cause, spec: &FlowSpec) -> Result<(), PortError> {
        self.gate.check()?;
        for part in batch.chunks(self.settings.publish_batch_max.max(1)) {
            labelled::reach("producer.before_publish");
            self.queue.publish(part).await?;
            let labels = [spec.name.as_str(), cause.name()];
            self.meter.add(&names::MESSAGES_PUBLISHED, &labels, part.len() as u64);
        }
        Ok(())
    }
}

/// Runs a producer until `stop` is cancelled; without a listener it takes no webhooks.
pub async fn run(
    engine: Arc<Engine>,
    flows: Vec<Arc<dyn Flow>>,
    listener: Option<TcpListener>,
    stop: CancellationToken,
) {
    let drain = engine.settings.drain;
    let topologies: Vec<FlowTopology> = flows
        .iter()
        .map(|flow| FlowTopology { flow: flow.spec().name.clone(), shards: flow.spec().shards })
        .collect();
    let mut beside = JoinSet::new();
    open_spool(&engine, &mut beside).await;
    let serving =
        listener.map(|listener| tokio::spawn(serve(engine.clone(), flows.clone(), listener, stop.clone())));
    let began = stop.run_until_cancelled(begin(&engine, &flows, topologies, &mut beside)).await.is_some();
    leader::lead(engine.clone(), flows.clone(), stop).await;
    if let Some(serving) = serving
        && tokio::time::timeout(drain, serving).await.is_err()
    {
        warn!("Webhooks under way did not end in time.");
    }
    beside.shutdown().await;
    if began {
        presence::leave(&engine).await;
    }
    join_all(flows.iter().map(|flow| flow.leave())).await;
    if let Some(connecting) = &engine.connecting
        && tokio::time::timeout(drain, connecting.accounts().leave()).await.is_err()
    {
        warn!("What a provider answered could not be stored in time.");
    }
    if let Some(left) = engine.spool.as_ref().map(|spool| spool.waiting()).filter(|left| *left > 0) {
        info!(left, "Messages stay in the spool: they are published when a producer is started on it again.");
    }
    info!(producer.name = %engine.settings.name, "The producer stops.");
}

/// Opens the spool before the first webhook is taken, so that nothing overtakes what an earlier process left in it.
/// A webhook is taken all the same where it cannot be opened.
async fn open_spool(engine: &Arc<Engine>, beside: &mut JoinSet<()>) {
    let Some(spool) = engine.spool.clone() else { return };
    engine.health.set("spool", Err("is not open yet".to_owned()));
    spool.open_once(&engine.health).await;
    let engine = engine.clone();
    beside.spawn(async move { spool::report(&engine, &spool).await });
}

/// Prepares queue and store, and begins what needs them: the spool is drained as soon as the queue is there.
async fn begin(
    engine: &Arc<Engine>,
    flows: &[Arc<dyn Flow>],
    topologies: Vec<FlowTopology>,
    beside: &mut JoinSet<()>,
) {
    let (queue, state, meter) = (engine.queue.as_ref(), engine.state.as_ref(), engine.meter.as_ref());
    gate::open(engine).await;
    prepare_queue(queue, &topologies, &engine.health).await;
    if let Some(spool) = &engine.spool {
        spool.queue_is_prepared();
        let topologies: Arc<[FlowTopology]> = topologies.into();
        for flow in flows {
            let spec = flow.spec().clone();
            beside.spawn(spool::drain::drain(engine.clone(), spool.clone(), spec, topologies.clone()));
        }
    }
    tokio::select! {
        () = await_store(queue, state, meter, &engine.health) => {}
        () = gate::watch(engine) => {}
    }
    beside.spawn(presence::announce(engine.clone()));
    beside.spawn(check(flows.to_vec()));
    beside.spawn(watch(engine.clone()));
    if let Some(connecting) = &engine.connecting {
        beside.spawn(accounts::watch(engine.clone(), connecting.accounts().clone()));
    }
}

async fn serve(
    engine: Arc<Engine>,
    flows: Vec<Arc<dyn Flow>>,
    listener: TcpListener,
    stop: CancellationToken,
) {
    let address = listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
    info!(producer.name = %engine.settings.name, "Webhooks are taken at http://{address}/webhooks/<flow>/<path>.");
    let settings = &engine.settings;
    let bounds = Bounds {
        connections_max: settings.webhook_concurrency_max * CONNECTIONS_PER_REQUEST,
        drain: settings.drain,
        ..Bounds::default()
    };
    let mut routes = webhook::routes(engine.clone(), flows.clone());
    if let Some(connecting) = engine.connecting.clone() {
        info!(producer.name = %engine.settings.name, "Accounts are connected at http://{address}/connect/<provider>.");
        routes = routes.merge(connect::routes(engine, connecting, flows));
    }
    operations::http::serve(listener, routes, bounds, stop.cancelled_owned()).await;
}

async fn watch(engine: Arc<Engine>) {
    let Engine { queue, state, meter, health, .. } = &*engine;
    connections::watch(queue.as_ref(), state.as_ref(), meter.as_ref(), health).await;
}

/// Looks at what the flows need and says what is wrong; work begins all the same, since what is wrong now may
/// be right in a minute.
async fn check(flows: Vec<Arc<dyn Flow>>) {
    for flow in flows {
        let findings = flow.check().await;
        let name = &flow.spec().name;
        for finding in findings.iter().filter(|finding| finding.verdict != Verdict::Well) {
            warn!(flow.name = %name, "{}: {} {}", finding.subject, finding.seen, finding.remedy);
        }
        let broken = findings.iter().filter(|finding| finding.verdict == Verdict::Broken).count();
        info!(flow.name = %name, checks = findings.len(), broken, "The flow's needs were checked.");
    }
}
