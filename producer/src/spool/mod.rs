//! The spool: messages of webhooks on local disk, in order, while the broker is away.
//!
//! It is an embedded queue in a directory of its own, with one shard for each flow; what is in it was fsynced.
//! [`way`](mod@way) decides which way messages take, [`drain`] empties it into the queue. A crash at any point
//! doubles messages, never loses one.

pub mod drain;
mod report;
pub mod way;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use assembly::OpenDisk;
use operations::health::Health;
use shared::ports::PortError;
use shared::ports::queue::{FlowTopology, Outbound, Queue};
use shared::record_key::FlowName;
use shared::routing::Shard;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, info, warn};

use way::{Seen, Way, has_room};

pub use report::report;

/// Pause between tries to open the directory.
const OPEN_AGAIN: Duration = Duration::from_secs(5);

/// How a spool works.
#[derive(Debug, Clone)]
pub struct SpoolSettings {
    /// Its directory, for messages and metrics; the disk knows itself where it is.
    pub dir: PathBuf,
    /// Messages that wait in it at most.
    pub messages_max: u64,
    /// Longest wait for the disk.
    pub disk_wait: Duration,
    /// Writes at the same time.
    pub writes_max: usize,
}

/// The spool.
pub struct Spool {
    settings: SpoolSettings,
    open: OpenDisk,
    /// `None` until it could be opened.
    disk: watch::Sender<Option<Arc<dyn Queue>>>,
    /// Messages that wait or are being written, by flow.
    waiting: BTreeMap<FlowName, Arc<AtomicU64>>,
    writes: Arc<Semaphore>,
    is_prepared: AtomicBool,
    queue_failed_at: Mutex<Option<Instant>>,
    refusal: Mutex<Option<(Instant, String)>>,
}

impl Spool {
    /// A spool for these flows. Opens nothing yet.
    pub fn new(settings: SpoolSettings, open: OpenDisk, flows: impl IntoIterator<Item = FlowName>) -> Self {
        Self {
            writes: Arc::new(Semaphore::new(settings.writes_max.max(1))),
            settings,
            open,
            disk: watch::Sender::new(None),
            waiting: flows.into_iter().map(|flow| (flow, Arc::default())).collect(),
            is_prepared: AtomicBool::new(false),
            queue_failed_at: Mutex::default(),
            refusal: Mutex::default(),
        }
    }

    /// Tries once to open the directory, and counts what an earlier process left in it; `false`, and readiness knows
    /// why, where that fails: another producer has it, it cannot be written, the disk is full.
    pub async fn open_once(&self, health: &Health) -> bool {
        let Err(problem) = self.try_open().await else { return true };
        let text = format!("{} cannot be opened, trying on: {problem}", self.name());
        error!("{text}");
        health.set("spool", Err(text));
        false
    }

    async fn try_open(&self) -> Result<(), PortError> {
        let open = self.open.clone();
        let opened = tokio::task::spawn_blocking(move || open()).await;
        let disk = opened.map_err(|_| PortError::Unavailable("opening the spool panicked".to_owned()))??;
        let topologies: Vec<FlowTopology> = self.waiting.keys().map(topology).collect();
        disk.prepare(&topologies).await?;
        for topology in topologies {
            let depth = disk.depth(&topology).await?;
            let left = depth.ready.saturating_add(depth.delayed);
            self.waiting_in(&topology.flow).store(left, Ordering::SeqCst);
            if left > 0 {
                info!(flow.name = %topology.flow, left, "Messages of an earlier process wait in the spool.");
            }
        }
        *lock(&self.refusal) = None;
        self.disk.send_replace(Some(disk));
        Ok(())
    }

    /// Waits until the directory is open, trying on.
    async fn open(&self, health: &Health) {
        while !self.is_open() {
            sleep(OPEN_AGAIN).await;
            self.open_once(health).await;
        }
    }

    fn is_open(&self) -> bool {
        self.disk.borrow().is_some()
    }

    /// Its directory, as messages call it.
    fn name(&self) -> String {
        format!("the spool {}", self.settings.dir.display())
    }

    /// The disk, once it is open.
    async fn opened(&self) -> Option<Arc<dyn Queue>> {
        self.disk.subscribe().wait_for(Option::is_some).await.ok()?.clone()
    }

    /// The queue has been prepared: messages may go there.
    pub fn queue_is_prepared(&self) {
        self.is_prepared.store(true, Ordering::SeqCst);
    }

    /// The queue did not take messages.
    pub fn queue_failed(&self, why: &str) {
        let before = lock(&self.queue_failed_at).replace(Instant::now());
        if before.is_none() {
            warn!("The queue takes no messages: webhooks go to {} until it does: {why}", self.name());
        }
    }

    /// The queue took messages.
    pub fn queue_works(&self) {
        if lock(&self.queue_failed_at).take().is_some() {
            info!("The queue takes messages again.");
        }
    }

    /// Which way new messages of a flow take.
    pub fn way(&self, flow: &FlowName) -> Way {
        way::way(Seen {
            is_prepared: self.is_prepared.load(Ordering::SeqCst),
            waiting: self.waiting_in(flow).load(Ordering::SeqCst),
            failed_ago: lock(&self.queue_failed_at).map(|at| at.elapsed()),
        })
    }

    /// Messages that wait, of all flows.
    pub fn waiting(&self) -> u64 {
        self.waiting.values().map(|count| count.load(Ordering::SeqCst)).sum()
    }

    fn waiting_in(&self, flow: &FlowName) -> Arc<AtomicU64> {
        self.waiting.get(flow).cloned().unwrap_or_default()
    }

    /// Puts messages of a flow behind those that wait; `Ok` means that they are on the disk.
    ///
    /// # Errors
    /// [`PortError::Full`] at its limits, when the disk is full or too slow; else as the disk's. Where the disk was
    /// too slow, the messages may get there all the same.
    pub async fn put(&self, flow: &FlowName, batch: &[Outbound]) -> Result<(), PortError> {
        let outcome = self.try_put(flow, batch).await;
        *lock(&self.refusal) = outcome.as_ref().err().map(|problem| (Instant::now(), problem.to_string()));
        outcome
    }

    async fn try_put(&self, flow: &FlowName, batch: &[Outbound]) -> Result<(), PortError> {
        let Some(disk) = self.disk.borrow().clone() else {
            return Err(PortError::Unavailable(format!("{} is not open", self.name())));
        };
        let wait = self.settings.disk_wait;
        let slow = || {
            let why =
                format!("{} does not write within {} s: its disk is slow", self.name(), wait.as_secs_f32());
            PortError::Full(format!("{why}; nothing was accepted"))
        };
        let write = self.writes.clone().try_acquire_owned().map_err(|_| slow())?;
        let (more, messages_max) = (batch.len() as u64, self.settings.messages_max);
        if !has_room(self.waiting(), more, messages_max) {
            return Err(PortError::Full(format!(
                "{} holds {} messages, its limit is {messages_max}: bring the broker back, or raise \
                 producer.spool.messages_max",
                self.name(),
                self.waiting()
            )));
        }
        let shard = shard(flow);
        let batch: Vec<Outbound> =
            batch.iter().map(|message| Outbound { shard: shard.clone(), ..message.clone() }).collect();
        let waiting = self.waiting_in(flow);
        // Counted before it is there, and in a task of its own, so that the count is right also when nobody waits any
        // more.
        waiting.fetch_add(more, Ordering::SeqCst);
        let writing = tokio::spawn(async move {
            let outcome = disk.publish(&batch).await;
            if outcome.is_err() {
                lower(&waiting, more);
            }
            drop(write);
            outcome
        });
        match timeout(wait, writing).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_panicked)) => Err(PortError::Unavailable("writing to the spool panicked".to_owned())),
            Err(_elapsed) => Err(slow()),
        }
    }
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn topology(flow: &FlowName) -> FlowTopology {
    FlowTopology { flow: flow.clone(), shards: 1 }
}

/// Where a flow's messages wait: in one shard, so that they stay in order.
fn shard(flow: &FlowName) -> Shard {
    Shard { flow: flow.clone(), number: 0 }
}

fn lower(count: &AtomicU64, by: u64) {
    let lowered = |count: u64| Some(count.saturating_sub(by));
    // The closure never refuses.
    let _ = count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lowered);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
