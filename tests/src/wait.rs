//! Waiting for a state, never for a time.

use std::fmt::Debug;
use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use tokio::time::Instant;

use crate::{HarnessError, Result};

const PROBE_INTERVAL: Duration = Duration::from_millis(20);

/// Probes until `probe` gives `Ok` and returns that value; `Err` carries the state seen so far.
///
/// # Panics
/// When `timeout` passes first: the message names `what`, the place of the call and the last state.
#[track_caller]
pub fn until<T, S, F>(what: &str, timeout: Duration, probe: F) -> impl Future<Output = T>
where
    F: AsyncFnMut() -> std::result::Result<T, S>,
    S: Debug,
{
    let place = Location::caller();
    async move {
        match try_until(what, timeout, probe).await {
            Ok(value) => value,
            #[expect(clippy::panic, reason = "a wait that ran out fails the test")]
            Err(error) => panic!("{error} (waited at {place})"),
        }
    }
}

/// As [`until`], for callers that handle the time-out themselves.
///
/// # Errors
/// When `timeout` passes first. A probe that hangs is cut off at the same moment.
pub async fn try_until<T, S, F>(what: &str, timeout: Duration, mut probe: F) -> Result<T>
where
    F: AsyncFnMut() -> std::result::Result<T, S>,
    S: Debug,
{
    let deadline = Instant::now() + timeout;
    let mut last = None;
    loop {
        match tokio::time::timeout_at(deadline, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(state)) => last = Some(state),
            Err(_elapsed) => {}
        }
        if Instant::now() + PROBE_INTERVAL >= deadline {
            let state =
                last.map_or_else(|| "none: the first probe never answered".to_owned(), |s| format!("{s:?}"));
            return Err(HarnessError::new(format!("no {what} within {timeout:?}; last state: {state}")));
        }
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn gives_the_value_once_the_state_is_there() {
        let mut count = 0;
        let value = until("three probes", Duration::from_secs(5), async || {
            count += 1;
            if count == 3 { Ok("done") } else { Err(count) }
        })
        .await;
        assert_eq!(value, "done");
    }

    #[tokio::test]
    async fn names_what_it_waited_for_and_the_last_state() {
        let error = try_until::<(), _, _>("green light", Duration::from_millis(60), async || Err("red"))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("green light") && error.contains("\"red\""), "{error}");
    }

    #[tokio::test]
    async fn cuts_off_a_probe_that_hangs() {
        let error = try_until::<(), (), _>("answer", Duration::from_millis(60), async || {
            std::future::pending().await
        })
        .await
        .unwrap_err()
        .to_string();
        assert!(error.contains("never answered"), "{error}");
    }
}
