//! Marks: which record keys wait for their next attempt. A sweep that finds such a record leaves it alone:
//! a second message would only begin a second life beside the first.

use std::time::Duration;

use uuid::Uuid;

use crate::ports::PortError;
use crate::ports::state::{State, Versioned, Write};
use crate::record_key::{FlowName, RecordKey};

pub(crate) fn key(record: &RecordKey) -> String {
    format!("{}{}", prefix(record.flow()), record.id())
}

/// What the documents of a flow's records begin with.
pub(crate) fn prefix(flow: &FlowName) -> String {
    format!("retry/{flow}/")
}

/// The message that waits, by the mark in a document; none where it cannot be read.
pub(crate) fn parse(document: &Versioned) -> Option<Uuid> {
    Uuid::try_parse_ascii(&document.value).ok()
}

/// Says that the record's next attempt, by the message `id`, comes within `delay`.
///
/// # Errors
/// As the store's.
pub async fn set(state: &dyn State, record: &RecordKey, id: Uuid, delay: Duration) -> Result<(), PortError> {
    let (key, value) = (key(record), id.to_string());
    state.write(Write { time_to_live: Some(delay), ..Write::put(&key, value.as_bytes()) }).await.map(|_| ())
}

/// Takes the mark away: the record needs no further attempt. Safe to repeat.
///
/// # Errors
/// As the store's.
pub async fn clear(state: &dyn State, record: &RecordKey) -> Result<(), PortError> {
    state.write(Write::delete(&key(record))).await.map(|_| ())
}
