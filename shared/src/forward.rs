//! Content to be passed on: what a webhook brought, kept until a run has sent it where it belongs. The message about it is a
//! hint as every other: it names the document, and holds nothing of it.
//!
//! Written before the message is published. What was sent leaves a mark, so that a message that comes twice sends once.

use std::time::Duration;

use crate::ports::PortError;
use crate::ports::state::{DOCUMENT_BYTES_MAX, Expected, State, Write, Written};
use crate::record_key::RecordKey;

/// How long content waits to be sent, its message being tried again, dead and replayed.
pub const KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);
/// How long it is remembered that it was sent: longer than any message about it goes round.
pub const SENT_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Longest content.
pub const CONTENT_BYTES_MAX: usize = DOCUMENT_BYTES_MAX - 1;

/// First byte of a document: what follows is to be sent.
const WAITING: u8 = b'w';
/// All of a document: it was sent.
const SENT: &[u8] = b"s";

/// What is there for a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// To be sent.
    Waiting(Vec<u8>),
    /// It was sent.
    Sent,
    /// Nothing: it waited too long, or was never here.
    Nothing,
}

fn key(record: &RecordKey) -> String {
    format!("forward/{}/{}", record.flow(), record.id())
}

/// Keeps content; what is there already stays. Safe to repeat.
///
/// # Errors
/// As the store's; [`PortError::Full`] for what is too long.
pub async fn keep(state: &dyn State, record: &RecordKey, content: &[u8]) -> Result<(), PortError> {
    if content.len() > CONTENT_BYTES_MAX {
        let text = format!("{} bytes are to be passed on, at most {CONTENT_BYTES_MAX} are", content.len());
        return Err(PortError::Full(text));
    }
    let document = [&[WAITING], content].concat();
    let key = key(record);
    let write = Write { expected: Expected::Absent, time_to_live: Some(KEPT), ..Write::put(&key, &document) };
    match state.write(write).await? {
        Written::Done(_) | Written::Clash => Ok(()),
    }
}

/// Looks at what is there.
///
/// # Errors
/// As the store's.
pub async fn find(state: &dyn State, record: &RecordKey) -> Result<Found, PortError> {
    let Some(document) = state.get(&key(record)).await? else { return Ok(Found::Nothing) };
    Ok(match document.value.split_first() {
        Some((&WAITING, content)) => Found::Waiting(content.to_vec()),
        Some(_) if document.value == SENT => Found::Sent,
        _ => Found::Nothing,
    })
}

/// Leaves only the mark that it was sent.
///
/// # Errors
/// As the store's: it is sent again then.
pub async fn sent(state: &dyn State, record: &RecordKey) -> Result<(), PortError> {
    let key = key(record);
    state.write(Write { time_to_live: Some(SENT_KEPT), ..Write::put(&key, SENT) }).await?;
    Ok(())
}
