//! What killed a worker was running in it. So the run of a message that came back is noted in the store before it
//! begins, and struck out when it has ended: notes that stay behind name what ran in a worker that died. Such a record
//! is a suspect and runs alone; one whose runs alone end with their workers again and again becomes a dead letter, long
//! before the queue's limit of deliveries is reached, which counts its neighbours' deliveries as well.
//!
//! A kill from outside hits whatever runs. It is told from a kill by the message by time: before each further run
//! alone the worker must have lived for a while, twice as long each time, with the message in hand and not running.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::fault::Fault;
use shared::membership;
use shared::ports::PortError;
use shared::ports::state::{Expected, Write, Written};
use shared::record_key::RecordKey;
use tracing::{debug, warn};

use crate::run::Engine;

/// Runs of a record that began alone and ended with their worker, after which it is not run again.
pub const TRIALS_MAX: usize = 4;
/// How long the evidence is kept.
const KEPT: Duration = Duration::from_secs(24 * 3_600);
/// How often a clashing write is tried again before the next round does.
const TRIES_MAX: u32 = 5;

/// A run that was noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// When it began.
    pub at: Timestamp,
    /// In which worker.
    pub worker: String,
    /// In which process of that name: one that goes on was not killed.
    process: String,
    /// Whether it had no other run beside it.
    #[serde(default = "yes")]
    alone: bool,
}

/// Older versions noted only runs alone.
fn yes() -> bool {
    true
}

/// Runs of this process that have ended and are not struck out yet.
#[derive(Debug, Clone, Default)]
pub struct Ended(Arc<Mutex<Vec<(RecordKey, Trial)>>>);

impl Ended {
    fn add(&self, entry: (RecordKey, Trial)) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    fn take(&self) -> Vec<Running> {
        let taken = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        taken.into_iter().map(|entry| Running { ended: self.clone(), entry: Some(entry) }).collect()
    }
}

/// A noted run. However it ends, also when it is cut off, it is to be struck out then.
#[derive(Debug)]
pub struct Running {
    ended: Ended,
    entry: Option<(RecordKey, Trial)>,
}

impl Running {
    /// Whether the record is a suspect.
    pub fn is_alone(&self) -> bool {
        self.entry.as_ref().is_some_and(|(_, trial)| trial.alone)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            self.ended.add(entry);
        }
    }
}

/// What is known when a message that came back is to run.
#[derive(Debug)]
pub enum Begun {
    /// It ran in no worker that died, and may run beside others.
    Noted(Running),
    /// These of its runs ended with their workers: it is to run alone.
    Suspect(Vec<Trial>),
}

/// Notes that a run of the record begins, unless earlier ones ended with their workers.
///
/// # Errors
/// As the store's; it must not run then.
pub async fn begin(engine: &Engine, record: &RecordKey) -> Result<Begun, PortError> {
    let mut running = present(engine, record, false);
    if note(engine, &running, &[], Expected::Absent).await? == Written::Clash {
        let earlier = earlier(engine, record).await?;
        if !earlier.is_empty() {
            running.entry = None;
            return Ok(Begun::Suspect(earlier));
        }
        note(engine, &running, &[], Expected::Any).await?;
    }
    Ok(Begun::Noted(running))
}

/// Notes that a run of the record begins with none beside it, after these earlier ones.
///
/// # Errors
/// As [`begin`]'s.
pub async fn begin_alone(
    engine: &Engine,
    record: &RecordKey,
    earlier: &[Trial],
) -> Result<Running, PortError> {
    let running = present(engine, record, true);
    note(engine, &running, earlier, Expected::Any).await?;
    Ok(running)
}

/// Notes that a run has ended. One that decided about the record clears it of all suspicion; one that was only
/// postponed leaves what was known before.
pub async fn end(engine: &Engine, mut running: Running, decided: bool) {
    if decided
        && let Some((record, _)) = &running.entry
        && clear(engine, record).await
    {
        running.entry = None;
    }
    drop(running);
    strike_out(engine).await;
}

/// Forgets all evidence about a record; whether that was possible.
pub async fn clear(engine: &Engine, record: &RecordKey) -> bool {
    let cleared = engine.state.write(Write::delete(&key(record))).await;
    if let Err(problem) = &cleared {
        warn!("The record's run is not struck out yet: {problem}");
    }
    cleared.is_ok()
}

/// Strikes out the runs of this process that have ended; those that cannot be now are kept for the next time.
pub async fn strike_out(engine: &Engine) {
    for mut running in engine.trials.take() {
        let Some((record, trial)) = &running.entry else { continue };
        match remove(engine, record, trial).await {
            Ok(()) => running.entry = None,
            Err(problem) => debug!("A run that has ended is not struck out yet: {problem}"),
        }
    }
}

/// How long a suspect is in hand before its next run alone, after these earlier ones: a worker that lives for that
/// long and ends with the run was hardly ended by what ends workers anyway.
pub fn wait(earlier: &[Trial], first: Duration) -> Duration {
    match alone(earlier) {
        0 => Duration::ZERO,
        times => first * (1 << (times - 1).min(TRIALS_MAX)),
    }
}

/// Whether the evidence is enough.
pub fn is_poison(earlier: &[Trial]) -> bool {
    alone(earlier) >= TRIALS_MAX
}

/// What the evidence amounts to.
pub fn verdict(earlier: &[Trial], redeliveries: u32) -> Fault {
    let alone: Vec<&Trial> = earlier.iter().filter(|trial| trial.alone).collect();
    let seen: Vec<String> = alone.iter().map(|trial| format!("{} at {}", trial.worker, trial.at)).collect();
    let text = format!(
        "its run began {} times with none beside it, and each time its worker ended before the run did ({}); it was \
         delivered again {redeliveries} times: look at those workers' logs and memory at those times, repair the \
         cause, then replay it",
        alone.len(),
        seen.join(", ")
    );
    Fault::permanent("poison", text)
}

fn alone(trials: &[Trial]) -> usize {
    trials.iter().filter(|trial| trial.alone).count()
}

fn key(record: &RecordKey) -> String {
    format!("trial/{}/{}", record.flow(), record.id())
}

fn present(engine: &Engine, record: &RecordKey, alone: bool) -> Running {
    let settings = &engine.settings;
    let (worker, process) = (settings.name.clone(), settings.holder.clone());
    let trial = Trial { at: engine.clock.now(), worker, process, alone };
    Running { ended: engine.trials.clone(), entry: Some((record.clone(), trial)) }
}

/// Runs of the record whose processes are gone. One that lives has ended its run, or lost the record's shard in
/// the middle of it and will strike it out.
async fn earlier(engine: &Engine, record: &RecordKey) -> Result<Vec<Trial>, PortError> {
    let Some(found) = engine.state.get(&key(record)).await? else { return Ok(Vec::new()) };
    let mut trials = parse(&found.value);
    trials.retain(|trial| trial.process != engine.settings.holder);
    if !trials.is_empty() {
        let living = membership::processes(engine.state.as_ref(), record.flow()).await?;
        trials.retain(|trial| !living.contains(&trial.process));
    }
    Ok(trials)
}

async fn note(
    engine: &Engine,
    running: &Running,
    earlier: &[Trial],
    expected: Expected,
) -> Result<Written, PortError> {
    let Some((record, trial)) = &running.entry else { return Ok(Written::Done(0)) };
    let all: Vec<&Trial> = earlier.iter().chain([trial]).collect();
    let (key, value) = (key(record), bytes(&all));
    engine.state.write(Write { expected, time_to_live: Some(KEPT), ..Write::put(&key, &value) }).await
}

/// Takes one note away and leaves the others: meanwhile the record may run elsewhere.
async fn remove(engine: &Engine, record: &RecordKey, trial: &Trial) -> Result<(), PortError> {
    let key = key(record);
    for _ in 0..TRIES_MAX {
        let Some(found) = engine.state.get(&key).await? else { return Ok(()) };
        let mut trials = parse(&found.value);
        if !trials.contains(trial) {
            return Ok(());
        }
        trials.retain(|present| present != trial);
        let rest = (!trials.is_empty()).then(|| bytes(&trials));
        let (expected, time_to_live) = (Expected::Version(found.version), rest.is_some().then_some(KEPT));
        let write = Write { value: rest.as_deref(), expected, time_to_live, ..Write::delete(&key) };
        if matches!(engine.state.write(write).await?, Written::Done(_)) {
            return Ok(());
        }
    }
    Err(PortError::Unavailable(format!("{key} keeps changing")))
}

/// What cannot be read is no evidence.
fn parse(value: &[u8]) -> Vec<Trial> {
    serde_json::from_slice(value).unwrap_or_default()
}

fn bytes(trials: &(impl Serialize + ?Sized)) -> Vec<u8> {
    // Serialising plain structs cannot fail.
    serde_json::to_vec(trials).unwrap_or_default()
}
