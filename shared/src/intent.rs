//! The journal of intents: written before a request that has no idempotency key, removed after its outcome is
//! saved. An intent that is found means: search first, adopt what the lost request may have created.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ports::PortError;
use crate::ports::state::{Fence, State, Write};
use crate::record_key::RecordKey;

/// What was about to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent<T> {
    /// What, in the flow's own terms.
    pub what: T,
    /// When it was written down, before the request was sent.
    pub at: Timestamp,
}

fn key(record: &RecordKey) -> String {
    format!("intent/{}/{}", record.flow(), record.id())
}

/// The intent without outcome, if there is one.
///
/// # Errors
/// As the store's; [`PortError::Misconfigured`] when what is stored cannot be read: it is never treated as
/// absent.
pub async fn pending<T: DeserializeOwned>(
    state: &dyn State,
    record: &RecordKey,
) -> Result<Option<Intent<T>>, PortError> {
    let Some(document) = state.get(&key(record)).await? else { return Ok(None) };
    serde_json::from_slice(&document.value)
        .map(Some)
        .map_err(|e| PortError::Misconfigured(format!("the intent of {record} cannot be read: {e}")))
}

/// Writes the intent down, durably, before the request is sent.
///
/// # Errors
/// As the store's; [`PortError::Fenced`] when the lease has passed to somebody else.
pub async fn declare<T: Serialize + Sync>(
    state: &dyn State,
    record: &RecordKey,
    intent: &Intent<T>,
    fence: Option<&Fence>,
) -> Result<(), PortError> {
    let value = serde_json::to_vec(intent)
        .map_err(|e| PortError::Misconfigured(format!("the intent of {record} cannot be written: {e}")))?;
    state.write(Write { fence, ..Write::put(&key(record), &value) }).await.map(|_| ())
}

/// Removes the intent: its outcome is known and saved.
///
/// # Errors
/// As the store's.
pub async fn settle(state: &dyn State, record: &RecordKey, fence: Option<&Fence>) -> Result<(), PortError> {
    state.write(Write { fence, ..Write::delete(&key(record)) }).await.map(|_| ())
}
