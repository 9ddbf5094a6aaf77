//! Reading for a person who waits for the answer: an upstream that asks for fewer requests gets its pause.

use std::time::Duration;

use shared::fault::{Fault, FaultKind};

/// Longest pause that is waited for; a longer one is for the person to hear of.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Pauses waited for before one thing is read.
const PAUSES_MAX: u32 = 20;
/// More than was asked for, so that the pause is over by then.
const MARGIN: Duration = Duration::from_millis(10);

/// Reads, and reads again after each pause.
///
/// # Errors
/// Whatever else hinders it, and pauses that are too long or too many.
pub(super) async fn patiently<T>(mut read: impl AsyncFnMut() -> Result<T, Fault>) -> Result<T, Fault> {
    for _ in 0..PAUSES_MAX {
        match read().await {
            Err(Fault { kind: FaultKind::Throttled { after }, .. }) if after <= PAUSE_MAX => {
                tokio::time::sleep(after + MARGIN).await;
            }
            result => return result,
        }
    }
    read().await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn tries(kind: FaultKind, fails: u32) -> (u32, bool) {
        let mut tries = 0;
        let result = patiently(async || {
            tries += 1;
            if tries > fails { Ok(()) } else { Err(Fault::new(kind, "test", "A test.")) }
        });
        let is_read = result.await.is_ok();
        (tries, is_read)
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_are_waited_for_within_bounds_and_nothing_else_is() {
        let throttled = |seconds| FaultKind::Throttled { after: Duration::from_secs(seconds) };
        assert_eq!(tries(throttled(1), 3).await, (4, true));
        assert_eq!(tries(throttled(1), 1_000).await, (PAUSES_MAX + 1, false));
        assert_eq!(tries(throttled(3_600), 1).await, (1, false));
        assert_eq!(tries(FaultKind::Retryable { after: None }, 1).await, (1, false));
    }
}
