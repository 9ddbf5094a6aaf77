//! Whether something is there.

use lapin::Channel;
use shared::ports::PortError;

use crate::connection::{Connector, close};
use crate::error::is_missing;

/// Asks the broker passively. A channel on which something was missing is closed by the broker.
pub(crate) async fn is_there(
    connector: &Connector,
    what: &str,
    ask: impl AsyncFnOnce(&Channel) -> lapin::Result<()>,
) -> Result<bool, PortError> {
    let channel = connector.channel().await?;
    let mut missing = false;
    let asking = async {
        let outcome = ask(&channel).await;
        missing = outcome.as_ref().err().is_some_and(is_missing);
        outcome
    };
    let outcome = connector.answer(&format!("looking for {what}"), asking).await;
    if missing {
        return Ok(false);
    }
    close(&channel, connector.answer_timeout).await;
    outcome.map(|()| true)
}
