//! Messages that wait for other records: storing them, releasing them, and looking after those that wait long.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use shared::clock::later;
use shared::envelope::{Cause, Envelope};
use shared::fault::{Fault, FaultKind};
use shared::parking::{self, Parked, Parking};
use shared::ports::PortError;
use shared::ports::queue::{FlowTopology, Outbound};
use shared::record_key::{FlowName, RecordKey};
use shared::routing::shard_of;
use shared::{labelled, names};
use tracing::{error, info, warn};

use crate::run::Engine;

/// After this a message looks for itself: what it waits for may have come about without a run of that record.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(3_600);
/// Messages parked in all beyond which none is added: each look reads all of them.
const MESSAGES_MAX: usize = 20_000;
/// How long a message waits in the queue for which there is no room here.
const FULL_PAUSE: Duration = Duration::from_secs(60);
/// Keys with parked messages that are read in one round trip.
const PAGE_KEYS: u32 = 100;

/// What a worker knows of the parked messages of all flows.
#[derive(Debug, Default)]
pub struct Lot {
    flows: Vec<FlowTopology>,
    seen: AtomicUsize,
    /// Keys of what could not be read at the last look.
    unreadable: Mutex<BTreeSet<String>>,
}

impl Lot {
    /// Nothing was looked at yet. `flows` are those whose messages may be released.
    pub fn new(flows: Vec<FlowTopology>) -> Self {
        Self { flows, ..Self::default() }
    }

    /// Says once of each document that it cannot be read.
    fn say(&self, unreadable: BTreeSet<String>) {
        let mut said = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        for key in unreadable.difference(&said) {
            error!(
                "What is parked in {key} cannot be read, and waits: update this worker if a newer one wrote it, else \
                 mend the document in the store; nothing of it is lost, and everything else goes on"
            );
        }
        *said = unreadable;
    }
}

/// Parks a message that waits for `awaited`, durably. It comes back to look for itself after an hour, or when it has
/// reached its greatest age.
///
/// # Errors
/// As the store's.
pub async fn park(
    engine: &Engine,
    envelope: &Envelope,
    awaited: &RecordKey,
    age_max: Duration,
) -> Result<(Parking, Parked), PortError> {
    let now = engine.clock.now();
    let look_again_at = later(now, LOOK_AGAIN_AFTER).min(later(envelope.first_seen, age_max));
    let parked = Parked::new(envelope, now, look_again_at);
    if engine.parking.seen.load(Ordering::Relaxed) >= MESSAGES_MAX {
        return Ok((Parking::Full, parked));
    }
    let parking = parking::park(engine.state.as_ref(), awaited, &parked).await?;
    labelled::reach("worker.after_park");
    Ok((parking, parked))
}

/// Why a message could not be parked.
pub fn full(fault: &Fault) -> Fault {
    let text = format!("{fault} (too many messages are parked, so it waits in the queue)");
    Fault::new(FaultKind::Busy { after: FULL_PAUSE }, "parking_full", text)
}

/// Why a message is not parked whose handler waits for one record at the first look, and for another at the second.
pub fn changed(fault: &Fault) -> Fault {
    let text = format!("{fault} (at first it waited for another record)");
    Fault::new(FaultKind::Busy { after: Duration::from_secs(1) }, "parking_changed", text)
}

/// Publishes messages that waited for `awaited`, then takes them away: a crash in between doubles, and loses
/// nothing. Those of flows that are not known here stay.
///
/// # Errors
/// As the queue's and the store's; nothing is lost then.
pub async fn release(engine: &Engine, awaited: &RecordKey, waiting: &[Parked]) -> Result<(), PortError> {
    let now = engine.clock.now();
    let flows = &engine.parking.flows;
    let known = waiting.iter().filter_map(|parked| Some((parked, parked.outbound(flows, now)?)));
    let (released, batch): (Vec<&Parked>, Vec<Outbound>) = known.unzip();
    if batch.is_empty() {
        return Ok(());
    }
    engine.queue.publish(&batch).await?;
    labelled::reach("worker.after_release");
    for parked in &released {
        let labels = [parked.record.flow().as_str(), Cause::Released.name()];
        engine.meter.add(&names::MESSAGES_PUBLISHED, &labels, 1);
    }
    info!(awaited = %awaited, messages = released.len(), "What was parked is released.");
    let released: Vec<Parked> = released.into_iter().cloned().collect();
    parking::remove(engine.state.as_ref(), awaited, &released).await
}

/// Looks after what is parked, until it is dropped.
pub async fn look_after(engine: &Engine) {
    let mut ticks = tokio::time::interval(engine.settings.parking_look_every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(problem) = look(engine).await {
            warn!("Parked messages cannot be looked after now: {problem}");
        }
    }
}

/// Counts what is parked, and releases what waited long enough and belongs to a shard that is consumed here.
async fn look(engine: &Engine) -> Result<(), PortError> {
    let mut tally = Tally::default();
    let mut unreadable = BTreeSet::new();
    let mut after = None;
    loop {
        let page = parking::page(engine.state.as_ref(), after.as_deref(), PAGE_KEYS).await?;
        unreadable.extend(page.unreadable);
        for (awaited, waiting) in &page.waiting {
            waiting.iter().for_each(|parked| tally.add(parked));
            let due: Vec<Parked> = waiting.iter().filter(|parked| is_due(engine, parked)).cloned().collect();
            release(engine, awaited, &due).await?;
        }
        let Some(next) = page.next else { break };
        after = Some(next);
    }
    engine.parking.say(unreadable);
    engine.parking.seen.store(tally.all, Ordering::Relaxed);
    for topology in &engine.parking.flows {
        let (count, oldest) = tally.by_flow.get(&topology.flow).copied().unwrap_or_default();
        let flow = [topology.flow.as_str()];
        engine.meter.set(&names::PARKED_MESSAGES, &flow, f64::from(count));
        let oldest = oldest.map_or(0.0, |at: Timestamp| at.as_duration().as_secs_f64());
        engine.meter.set(&names::OLDEST_PARKED, &flow, oldest);
    }
    Ok(())
}

fn is_due(engine: &Engine, parked: &Parked) -> bool {
    let topology = engine.parking.flows.iter().find(|topology| topology.flow == *parked.record.flow());
    parked.look_again_at <= engine.clock.now()
        && topology.is_some_and(|t| engine.consuming.contains(&shard_of(&parked.record, t.shards)))
}

/// How much is parked, by the flow of what waits.
#[derive(Debug, Default)]
struct Tally {
    all: usize,
    by_flow: BTreeMap<FlowName, (u32, Option<Timestamp>)>,
}

impl Tally {
    fn add(&mut self, parked: &Parked) {
        self.all += 1;
        let (count, oldest) = self.by_flow.entry(parked.record.flow().clone()).or_default();
        *count = count.saturating_add(1);
        *oldest = Some(oldest.map_or(parked.since, |at| at.min(parked.since)));
    }
}
