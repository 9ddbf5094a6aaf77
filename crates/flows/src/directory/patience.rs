//! An upstream that asks for fewer requests gets its pause, where giving way would cost more than waiting does.

use std::time::Duration;

use shared::fault::{Fault, FaultKind};

/// More than was asked for, so that the pause is over by then.
const MARGIN: Duration = Duration::from_millis(10);

/// What is still waited for, before one thing is done.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    pause_max: Duration,
    pauses_left: u32,
}

impl Patience {
    /// For a person who waits for the answer; a longer pause is for the person to hear of.
    pub(super) fn of_a_person() -> Self {
        Self { pause_max: Duration::from_secs(60), pauses_left: 20 }
    }

    /// For a run that would have to read much anew; a longer pause is waited for without holding a worker.
    pub(super) fn of_a_run() -> Self {
        Self { pause_max: Duration::from_secs(5), pauses_left: 5 }
    }

    /// Waits out the pause that something was sent back for, and answers whether it is to be done once more.
    pub(super) async fn waits_out(&mut self, fault: Option<&Fault>) -> bool {
        let Some(FaultKind::Throttled { after }) = fault.map(|fault| fault.kind) else { return false };
        if after > self.pause_max || self.pauses_left == 0 {
            return false;
        }
        self.pauses_left -= 1;
        tokio::time::sleep(after + MARGIN).await;
        true
    }
}

/// Does something for a person, and again after each pause: it has to be safe to repeat.
///
/// # Errors
/// Whatever else hinders it, and pauses that are too long or too many.
pub(super) async fn patiently<T>(mut attempt: impl AsyncFnMut() -> Result<T, Fault>) -> Result<T, Fault> {
    let mut patience = Patience::of_a_person();
    loop {
        let result = attempt().await;
        if !patience.waits_out(result.as_ref().err()).await {
            return result;
        }
    }
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
        assert_eq!(tries(throttled(1), 1_000).await, (21, false));
        assert_eq!(tries(throttled(3_600), 1).await, (1, false));
        assert_eq!(tries(FaultKind::Retryable { after: None }, 1).await, (1, false));
    }
}
