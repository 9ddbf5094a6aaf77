//! Which workers live, and which flows they serve: each writes a document per flow that ends by itself unless
//! renewed. Producers do so once; they serve no flow, and are no members of any.

use std::time::Duration;

use crate::ports::PortError;
use crate::ports::state::{State, Write};
use crate::record_key::FlowName;

/// Most members of a flow that are looked at.
pub const MEMBERS_MAX: u32 = 1_000;

/// What all keys begin with.
pub const PREFIX: &str = "member/";
/// What the keys of producers begin with. No flow's name has a point in it.
const PRODUCERS: &str = "member/.producer/";

fn prefix(flow: &FlowName) -> String {
    format!("{PREFIX}{flow}/")
}

/// Says that `member` serves `flow` and lives for `ttl` from now.
///
/// # Errors
/// As the store's.
pub async fn announce(
    state: &dyn State,
    flow: &FlowName,
    member: &str,
    ttl: Duration,
) -> Result<(), PortError> {
    put(state, &format!("{}{member}", prefix(flow)), ttl).await
}

/// Says that `member` serves `flow` no longer.
///
/// # Errors
/// As the store's.
pub async fn leave(state: &dyn State, flow: &FlowName, member: &str) -> Result<(), PortError> {
    state.write(Write::delete(&format!("{}{member}", prefix(flow)))).await.map(|_| ())
}

/// The members that serve `flow`, in order.
///
/// # Errors
/// As the store's.
pub async fn members(state: &dyn State, flow: &FlowName) -> Result<Vec<String>, PortError> {
    let prefix = prefix(flow);
    let found = state.scan(&prefix, None, MEMBERS_MAX).await?;
    Ok(found.into_iter().filter_map(|(key, _)| key.strip_prefix(&prefix).map(str::to_owned)).collect())
}

/// Says that the producer `name` publishes and lives for `ttl` from now.
///
/// # Errors
/// As the store's.
pub async fn announce_producer(state: &dyn State, name: &str, ttl: Duration) -> Result<(), PortError> {
    put(state, &format!("{PRODUCERS}{name}"), ttl).await
}

/// Says that the producer `name` publishes no longer.
///
/// # Errors
/// As the store's.
pub async fn leave_producer(state: &dyn State, name: &str) -> Result<(), PortError> {
    state.write(Write::delete(&format!("{PRODUCERS}{name}"))).await.map(|_| ())
}

async fn put(state: &dyn State, key: &str, ttl: Duration) -> Result<(), PortError> {
    state.write(Write { time_to_live: Some(ttl), ..Write::put(key, b"{}") }).await.map(|_| ())
}
