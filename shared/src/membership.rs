//! Which workers live, and which flows they serve: each writes a document per flow that ends by itself unless
//! renewed. Producers do so once; they serve no flow, and are no members of any.

use std::time::Duration;

use serde::{Deserialize, Serialize};

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

/// What a member says about itself.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Member {
    /// The process of that name; nothing where an older version says it.
    #[serde(default)]
    process: String,
}

/// Says that `process`, by the name of `member`, serves `flow` and lives for `ttl` from now.
///
/// # Errors
/// As the store's.
pub async fn announce(
    state: &dyn State,
    flow: &FlowName,
    member: &str,
    process: &str,
    ttl: Duration,
) -> Result<(), PortError> {
    put(state, &format!("{}{member}", prefix(flow)), &Member { process: process.to_owned() }, ttl).await
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

/// The processes that serve `flow`, where they say so.
///
/// # Errors
/// As the store's.
pub async fn processes(state: &dyn State, flow: &FlowName) -> Result<Vec<String>, PortError> {
    let found = state.scan(&prefix(flow), None, MEMBERS_MAX).await?;
    let members =
        found.iter().filter_map(|(_, document)| serde_json::from_slice::<Member>(&document.value).ok());
    Ok(members.map(|member| member.process).filter(|process| !process.is_empty()).collect())
}

/// Says that the producer `name` publishes and lives for `ttl` from now.
///
/// # Errors
/// As the store's.
pub async fn announce_producer(state: &dyn State, name: &str, ttl: Duration) -> Result<(), PortError> {
    put(state, &format!("{PRODUCERS}{name}"), &Member::default(), ttl).await
}

/// Says that the producer `name` publishes no longer.
///
/// # Errors
/// As the store's.
pub async fn leave_producer(state: &dyn State, name: &str) -> Result<(), PortError> {
    state.write(Write::delete(&format!("{PRODUCERS}{name}"))).await.map(|_| ())
}

async fn put(state: &dyn State, key: &str, member: &Member, ttl: Duration) -> Result<(), PortError> {
    // Serialising a plain struct cannot fail.
    let value = serde_json::to_vec(member).unwrap_or_default();
    state.write(Write { time_to_live: Some(ttl), ..Write::put(key, &value) }).await.map(|_| ())
}
