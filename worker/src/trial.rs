//! What may have killed its workers runs alone, and each of its runs is noted before it begins: those that never
//! ended are the evidence. So a message that kills its workers becomes a dead letter long before the queue's limit of
//! deliveries is reached, which counts its neighbours' deliveries as well.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::fault::Fault;
use shared::ports::PortError;
use shared::ports::state::Write;
use shared::record_key::RecordKey;

use crate::run::Engine;

/// Runs of a record that began alone and never ended, after which it is not run again: so many that no innocent one gets
/// there because its workers were killed from outside a few times in a row.
pub const TRIALS_MAX: usize = 12;
/// How long the evidence is kept.
const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// A run that began alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// When.
    pub at: Timestamp,
    /// In which worker.
    pub worker: String,
    /// In which process of that name: one that goes on was not killed.
    process: String,
}

fn key(record: &RecordKey) -> String {
    format!("trial/{}/{}", record.flow(), record.id())
}

/// Notes that a run of the record begins alone. Answers its earlier ones that never ended; when these are
/// [`TRIALS_MAX`], nothing is noted, and it must not run.
///
/// # Errors
/// As the store's; it must not run then.
pub async fn begin(engine: &Engine, record: &RecordKey) -> Result<Vec<Trial>, PortError> {
    let (key, process) = (key(record), &engine.settings.holder);
    let found = engine.state.get(&key).await?;
    let trials = found.and_then(|document| serde_json::from_slice::<Vec<Trial>>(&document.value).ok());
    let mut trials = trials.unwrap_or_default();
    trials.retain(|trial| trial.process != *process);
    if trials.len() < TRIALS_MAX {
        let (at, worker) = (engine.clock.now(), engine.settings.name.clone());
        let present = Trial { at, worker, process: process.clone() };
        let all: Vec<&Trial> = trials.iter().chain([&present]).collect();
        let value = serde_json::to_vec(&all).unwrap_or_default();
        engine.state.write(Write { time_to_live: Some(KEPT), ..Write::put(&key, &value) }).await?;
    }
    Ok(trials)
}

/// Notes that the record's run has ended, however it did. Safe to repeat.
///
/// # Errors
/// As the store's.
pub async fn end(engine: &Engine, record: &RecordKey) -> Result<(), PortError> {
    engine.state.write(Write::delete(&key(record))).await.map(|_| ())
}

/// What the evidence amounts to.
pub fn verdict(trials: &[Trial], redeliveries: u32) -> Fault {
    let seen: Vec<String> = trials.iter().map(|trial| format!("{} at {}", trial.worker, trial.at)).collect();
    let text = format!(
        "its run began {} times with none beside it, and each time its worker ended before the run did ({}); it was \
         delivered again {redeliveries} times: look at those workers' logs and memory at those times, repair the \
         cause, then replay it",
        trials.len(),
        seen.join(", ")
    );
    Fault::permanent("poison", text)
}
