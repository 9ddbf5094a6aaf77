//! Marks: which record keys wait for their next attempt. A sweep that finds such a record leaves it alone:
//! a second message would only begin a second life beside the first.

use std::time::Duration;

use uuid::Uuid;

use crate::ports::PortError;
use crate::ports::state::{State, Write};
use crate::record_key::RecordKey;

fn key(record: &RecordKey) -> String {
    format!("retry/{}/{}", record.flow(), record.id())
}

/// Says that the record's next attempt, by the message `id`, comes within `delay`.
///
/// # Errors
/// As the store's.
pub async fn set(state: &dyn State, record: &RecordKey, id: Uuid, delay: Duration) -> Result<(), PortError> {
    let (key, value) = (key(record), id.to_string());
    state.write(Write { time_to_live: Some(delay), ..Write::put(&key, value.as_bytes()) }).await.map(|_| ())
}

/// The message that waits for the record's next attempt.
///
/// # Errors
/// As the store's. A mark that cannot be read counts as absent.
pub async fn waiting(state: &dyn State, record: &RecordKey) -> Result<Option<Uuid>, PortError> {
    let found = state.get(&key(record)).await?;
    Ok(found.and_then(|document| Uuid::try_parse_ascii(&document.value).ok()))
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
