//! Which workers live: each writes a document that ends by itself unless renewed.

use std::time::Duration;

use crate::ports::PortError;
use crate::ports::state::{State, Write};

const PREFIX: &str = "member/";

/// Most members looked at.
pub const MEMBERS_MAX: u32 = 1_000;

/// Says that `member` lives for `ttl` from now.
///
/// # Errors
/// As the store's.
pub async fn announce(state: &dyn State, member: &str, ttl: Duration) -> Result<(), PortError> {
    let key = format!("{PREFIX}{member}");
    state.write(Write { time_to_live: Some(ttl), ..Write::put(&key, b"{}") }).await.map(|_| ())
}

/// Says that `member` has left.
///
/// # Errors
/// As the store's.
pub async fn leave(state: &dyn State, member: &str) -> Result<(), PortError> {
    state.write(Write::delete(&format!("{PREFIX}{member}"))).await.map(|_| ())
}

/// The members that live, in order.
///
/// # Errors
/// As the store's.
pub async fn members(state: &dyn State) -> Result<Vec<String>, PortError> {
    let found = state.scan(PREFIX, None, MEMBERS_MAX).await?;
    Ok(found.into_iter().filter_map(|(key, _)| key.strip_prefix(PREFIX).map(str::to_owned)).collect())
}
