//! Cursors: where the next sweep starts. A cursor moves only after its messages are confirmed.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ports::PortError;
use crate::ports::state::{Fence, State, Write, Written};

fn key(name: &str) -> String {
    format!("cursor/{name}")
}

/// Reads a cursor. One that cannot be read counts as absent: the sweep starts over, which is safe.
///
/// # Errors
/// As the store's.
pub async fn load<T: DeserializeOwned>(state: &dyn State, name: &str) -> Result<Option<T>, PortError> {
    let found = state.get(&key(name)).await?;
    Ok(found.and_then(|document| serde_json::from_slice(&document.value).ok()))
}

/// Moves a cursor, under the leader's fence.
///
/// # Errors
/// [`PortError::Fenced`] when another leader has taken over; else as the store's.
pub async fn save<T: Serialize + Sync>(
    state: &dyn State,
    name: &str,
    cursor: &T,
    fence: &Fence,
) -> Result<Written, PortError> {
    let value = serde_json::to_vec(cursor)
        .map_err(|e| PortError::Misconfigured(format!("cursor {name} cannot be written: {e}")))?;
    state.write(Write { fence: Some(fence), ..Write::put(&key(name), &value) }).await
}
