//! The journal of intents: written before a request that has no idempotency key, removed after its outcome is
//! saved. An intent that is found means: search first, adopt what the lost request may have created.

use std::fmt::Display;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ports::PortError;
use crate::ports::state::{Fence, State, Versioned, Write};
use crate::record_key::{FlowName, RecordKey};

/// What was about to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent<T> {
    /// What, in the flow's own terms.
    pub what: T,
    /// When it was written down, before the request was sent.
    pub at: Timestamp,
}

fn prefix(flow: &FlowName) -> String {
    format!("intent/{flow}/")
}

fn key(record: &RecordKey) -> String {
    format!("{}{}", prefix(record.flow()), record.id())
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
    read(&document, record).map(Some)
}

/// Intents without outcome of a flow's records whose ids come after this one, by id and in its order. Empty after
/// the last one.
///
/// # Errors
/// As [`pending`].
pub async fn page<T: DeserializeOwned>(
    state: &dyn State,
    flow: &FlowName,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<(String, Intent<T>)>, PortError> {
    let prefix = prefix(flow);
    let after = after.map(|id| format!("{prefix}{id}"));
    let found = state.scan(&prefix, after.as_deref(), limit).await?;
    let id = |key: &str| key.strip_prefix(&prefix).unwrap_or(key).to_owned();
    found.iter().map(|(key, document)| Ok((id(key), read(document, key)?))).collect()
}

fn read<T: DeserializeOwned>(document: &Versioned, whose: impl Display) -> Result<Intent<T>, PortError> {
    serde_json::from_slice(&document.value)
        .map_err(|e| PortError::Misconfigured(format!("the intent of {whose} cannot be read: {e}")))
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
