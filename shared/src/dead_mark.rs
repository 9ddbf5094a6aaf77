//! Marks: which record keys have open dead letters, so that sweeps can skip them and a later success can close
//! them without reading the log. Written before the dead letter is appended, removed after it is resolved.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ports::PortError;
use crate::ports::state::{Expected, State, Versioned, Write, Written};
use crate::record_key::{FlowName, RecordKey};

/// Most dead letters of one key that a mark remembers; the oldest are dropped first.
const LETTERS_MAX: usize = 50;
/// How often a clashing write is tried again.
const TRIES_MAX: u32 = 10;

/// The open dead letters of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadMark {
    /// Their ids.
    pub letters: Vec<Uuid>,
    /// When the run that failed last had read the record: what changed later deserves a new attempt.
    pub failed_at: Timestamp,
}

pub(crate) fn key(record: &RecordKey) -> String {
    format!("{}{}", prefix(record.flow()), record.id())
}

/// What the documents of a flow's records begin with.
pub(crate) fn prefix(flow: &FlowName) -> String {
    format!("dead/{flow}/")
}

/// The mark in a document; none where it cannot be read.
pub(crate) fn parse(document: &Versioned) -> Option<DeadMark> {
    serde_json::from_slice(&document.value).ok()
}

/// The mark of a key; [`crate::marks`] reads it together with the others.
///
/// # Errors
/// As the store's. A mark that cannot be read counts as absent.
pub async fn load(state: &dyn State, record: &RecordKey) -> Result<Option<DeadMark>, PortError> {
    let found = state.get(&key(record)).await?;
    Ok(found.as_ref().and_then(parse))
}

/// Adds a dead letter to the mark of its key. Safe to repeat.
///
/// # Errors
/// As the store's.
pub async fn add(
    state: &dyn State,
    record: &RecordKey,
    letter: Uuid,
    failed_at: Timestamp,
) -> Result<(), PortError> {
    change(state, record, |mark| {
        let mut mark = mark.unwrap_or(DeadMark { letters: Vec::new(), failed_at });
        if !mark.letters.contains(&letter) {
            mark.letters.push(letter);
        }
        if mark.letters.len() > LETTERS_MAX {
            mark.letters.remove(0);
        }
        mark.failed_at = mark.failed_at.max(failed_at);
        Some(mark)
    })
    .await
}

/// Removes dead letters from the mark of their key. Safe to repeat.
///
/// # Errors
/// As the store's.
pub async fn remove(state: &dyn State, record: &RecordKey, letters: &[Uuid]) -> Result<(), PortError> {
    change(state, record, |mark| {
        let mut mark = mark?;
        mark.letters.retain(|id| !letters.contains(id));
        (!mark.letters.is_empty()).then_some(mark)
    })
    .await
}

async fn change(
    state: &dyn State,
    record: &RecordKey,
    edit: impl Fn(Option<DeadMark>) -> Option<DeadMark> + Send,
) -> Result<(), PortError> {
    let key = key(record);
    for _ in 0..TRIES_MAX {
        let found = state.get(&key).await?;
        let before = found.as_ref().and_then(parse);
        let after = edit(before.clone());
        if after == before {
            return Ok(());
        }
        let value = after.map(|mark| serde_json::to_vec(&mark).unwrap_or_default());
        let expected = found.map_or(Expected::Absent, |d| Expected::Version(d.version));
        let write = Write { value: value.as_deref(), expected, ..Write::delete(&key) };
        if matches!(state.write(write).await?, Written::Done(_)) {
            return Ok(());
        }
    }
    Err(PortError::Unavailable(format!("the dead-letter mark of {record} keeps changing; try again")))
}
