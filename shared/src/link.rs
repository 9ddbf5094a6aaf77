//! Links: our memory that two records are the same one, with the base both sides last agreed on.
//!
//! The content of a link is the flow's own; this module stores it under the record key, conditional on the
//! version that was read and on the lease under which it was decided.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ports::PortError;
use crate::ports::state::{Expected, Fence, State, Write, Written};
use crate::record_key::{FlowName, RecordKey};

/// A link as it was read, with what is needed to save it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<T> {
    /// The flow's own content.
    pub link: T,
    /// The version that was read.
    pub version: u64,
}

fn prefix(flow: &FlowName) -> String {
    format!("link/{flow}/")
}

fn key(record: &RecordKey) -> String {
    format!("{}{}", prefix(record.flow()), record.id())
}

/// Reads the link of a record.
///
/// # Errors
/// As the store's; [`PortError::Misconfigured`] when what is stored is no link of this version: it is never
/// silently treated as absent, since that would create the record a second time.
pub async fn load<T: DeserializeOwned>(
    state: &dyn State,
    record: &RecordKey,
) -> Result<Option<Stored<T>>, PortError> {
    let Some(document) = state.get(&key(record)).await? else { return Ok(None) };
    let link = serde_json::from_slice(&document.value)
        .map_err(|e| PortError::Misconfigured(format!("the link of {record} cannot be read: {e}")))?;
    Ok(Some(Stored { link, version: document.version }))
}

/// Saves the link of a record. `read` is the version that was read, `None` when there was none.
///
/// # Errors
/// As the store's; [`PortError::Fenced`] when the lease has passed to somebody else.
pub async fn save<T: Serialize + Sync>(
    state: &dyn State,
    record: &RecordKey,
    link: &T,
    read: Option<u64>,
    fence: Option<&Fence>,
) -> Result<Written, PortError> {
    let value = serde_json::to_vec(link)
        .map_err(|e| PortError::Misconfigured(format!("the link of {record} cannot be written: {e}")))?;
    let expected = read.map_or(Expected::Absent, Expected::Version);
    state.write(Write { expected, fence, ..Write::put(&key(record), &value) }).await
}

/// A page of a flow's links in the order of record ids, greater than `after`.
///
/// # Errors
/// As [`load`]'s.
pub async fn page<T: DeserializeOwned>(
    state: &dyn State,
    flow: &FlowName,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<(String, T)>, PortError> {
    let prefix = prefix(flow);
    let after = after.map(|id| format!("{prefix}{id}"));
    let found = state.scan(&prefix, after.as_deref(), limit).await?;
    found
        .into_iter()
        .map(|(key, document)| {
            let id = key.strip_prefix(&prefix).unwrap_or(&key).to_owned();
            let link = serde_json::from_slice(&document.value).map_err(|e| {
                PortError::Misconfigured(format!("the link of {flow}:{id} cannot be read: {e}"))
            })?;
            Ok((id, link))
        })
        .collect()
}
