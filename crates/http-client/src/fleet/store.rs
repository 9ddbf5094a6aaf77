//! Reading and writing the shared document.

use std::time::Duration;

use shared::ports::PortError;
use shared::ports::state::{Expected, State, Write, Written};

use super::ledger::Ledger;

/// Longest time that one look at the document may take.
pub(crate) const LOOK_TIME_MAX: Duration = Duration::from_secs(2);
/// Writes that may clash with others' before the look is given up.
pub(crate) const CLASHES_MAX: u32 = 20;
/// The document of an account that nobody uses any more ends by itself; no pause lasts longer.
const DOCUMENT_TIME_TO_LIVE: Duration = Duration::from_secs(48 * 3_600);

fn key(account: &str) -> String {
    format!("limits/{account}")
}

/// What was read, and what a write over it expects. One that cannot be read counts as lost.
pub(crate) async fn read(state: &dyn State, account: &str) -> Result<(Option<Ledger>, Expected), PortError> {
    Ok(match state.get(&key(account)).await? {
        Some(found) => (serde_json::from_slice(&found.value).ok(), Expected::Version(found.version)),
        None => (None, Expected::Absent),
    })
}

/// Writes the document; `false` when somebody else has written it since it was read.
pub(crate) async fn write(
    state: &dyn State,
    account: &str,
    ledger: &Ledger,
    expected: Expected,
) -> Result<bool, PortError> {
    let value = serde_json::to_vec(ledger)
        .map_err(|e| PortError::Misconfigured(format!("the limits of {account} cannot be written: {e}")))?;
    let key = key(account);
    let time_to_live = Some(DOCUMENT_TIME_TO_LIVE);
    let written = state.write(Write { expected, time_to_live, ..Write::put(&key, &value) }).await?;
    Ok(matches!(written, Written::Done(_)))
}

/// Gives back what a process holds that leaves. Where that fails, it comes back after the time-to-live.
pub(crate) async fn leave(state: &dyn State, account: &str, name: &str) {
    let leaving = async {
        for _ in 0..CLASHES_MAX {
            let (Some(ledger), expected) = read(state, account).await? else { break };
            if write(state, account, &ledger.without(name), expected).await? {
                break;
            }
        }
        Ok::<_, PortError>(())
    };
    if let Ok(Err(problem)) = tokio::time::timeout(LOOK_TIME_MAX, leaving).await {
        tracing::debug!("slots come back by themselves, they could not be given back: {problem}");
    }
}
