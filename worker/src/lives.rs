//! Copies of a replayed message that begin no life of their own.

use shared::ports::PortError;
use shared::replay;
use tracing::info;

use crate::held::Held;
use crate::run::Engine;

/// Acknowledges the copies of replays whose life another copy began, and answers the other messages.
///
/// # Errors
/// As the store's: then nobody knows, and nothing is settled.
pub async fn without_copies(engine: &Engine, held: Vec<Held>) -> Result<Vec<Held>, PortError> {
    let mut own = Vec::with_capacity(held.len());
    for message in held {
        if replay::begins(engine.state.as_ref(), &message.envelope).await? {
            own.push(message);
        } else {
            info!("A second copy of a replayed message is covered by the first.");
            message.receipt.ack().await?;
        }
    }
    Ok(own)
}
