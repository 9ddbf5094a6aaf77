//! Marks: which record keys wait for their next attempt. A sweep that finds such a record leaves it alone:
//! a second message would only begin a second life beside the first.

use std::time::Duration;

use crate::ports::PortError;
use crate::ports::state::{State, Write};
use crate::record_key::RecordKey;

fn key(record: &RecordKey) -> String {
    format!("retry/{}/{}", record.flow(), record.id())
}

/// Says that the record's next attempt comes within `delay`.
///
/// # Errors
/// As the store's.
pub async fn set(state: &dyn State, record: &RecordKey, delay: Duration) -> Result<(), PortError> {
    state.write(Write { time_to_live: Some(delay), ..Write::put(&key(record), b"{}") }).await.map(|_| ())
}

/// Whether an attempt is on its way.
///
/// # Errors
/// As the store's.
pub async fn is_set(state: &dyn State, record: &RecordKey) -> Result<bool, PortError> {
    Ok(state.get(&key(record)).await?.is_some())
}

/// Takes the mark away: the record needs no further attempt. Safe to repeat.
///
/// # Errors
/// As the store's.
pub async fn clear(state: &dyn State, record: &RecordKey) -> Result<(), PortError> {
    if is_set(state, record).await? {
        state.write(Write::delete(&key(record))).await?;
    }
    Ok(())
}
