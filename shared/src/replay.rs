//! The lives of replayed messages. A replay is published before its dead letter is closed, so that a crash in between
//! loses nothing; whoever replays the letter then publishes a second copy, of the same id. The first copy that a worker
//! takes up begins the life, and the others are covered by it, however often either is delivered.

use std::time::Duration;

use crate::envelope::{Cause, Envelope};
use crate::ports::PortError;
use crate::ports::state::{Expected, State, Write, Written};

/// How long it is remembered which copy began the life: longer than any message lives.
const LIFE_KEPT: Duration = Duration::from_secs(60 * 86_400);

/// Whether this message may run: it is no replay, or the copy that began its life, or the first one to ask. Safe to
/// repeat.
///
/// # Errors
/// As the store's: then nobody knows.
pub async fn begins(state: &dyn State, message: &Envelope) -> Result<bool, PortError> {
    let Some(replay) = message.replays.last().filter(|_| message.cause == Cause::Replay) else {
        return Ok(true);
    };
    let (key, copy) = (format!("life/{}", message.id), replay.copy.to_string());
    let (expected, time_to_live) = (Expected::Absent, Some(LIFE_KEPT));
    match state.write(Write { expected, time_to_live, ..Write::put(&key, copy.as_bytes()) }).await? {
        Written::Done(_) => Ok(true),
        Written::Clash => Ok(state.get(&key).await?.is_none_or(|first| first.value == copy.as_bytes())),
    }
}
