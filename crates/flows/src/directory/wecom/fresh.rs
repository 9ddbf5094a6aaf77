//! What is read once and used for a while.

use std::time::Duration;

use shared::fault::Fault;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Something that is read again once it is older than this. Whoever comes while it is read waits for it.
#[derive(Debug)]
pub(super) struct Fresh<T> {
    kept_for: Duration,
    kept: Mutex<Option<(Instant, T)>>,
}

impl<T: Clone> Fresh<T> {
    pub(super) fn new(kept_for: Duration) -> Self {
        Self { kept_for, kept: Mutex::new(None) }
    }

    pub(super) async fn get<F: Future<Output = Result<T, Fault>>>(
        &self,
        read: impl FnOnce() -> F,
    ) -> Result<T, Fault> {
        let mut kept = self.kept.lock().await;
        if let Some((since, value)) = &*kept
            && since.elapsed() < self.kept_for
        {
            return Ok(value.clone());
        }
        // What is too old is not held beside what comes in its place.
        *kept = None;
        let value = read().await?;
        *kept = Some((Instant::now(), value.clone()));
        Ok(value)
    }

    pub(super) async fn forget(&self) {
        *self.kept.lock().await = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn it_is_read_once_for_all_and_again_when_it_is_old() {
        let reads = AtomicU32::new(0);
        let read = || async {
            tokio::task::yield_now().await;
            Ok(reads.fetch_add(1, Ordering::SeqCst))
        };
        let fresh = Fresh::new(Duration::from_secs(3_600));
        assert_eq!(tokio::join!(fresh.get(read), fresh.get(read)), (Ok(0), Ok(0)));
        fresh.forget().await;
        assert_eq!((fresh.get(read).await, fresh.get(read).await), (Ok(1), Ok(1)));
        let old_at_once = Fresh::new(Duration::ZERO);
        assert_eq!((old_at_once.get(read).await, old_at_once.get(read).await), (Ok(2), Ok(3)));
    }

    #[tokio::test]
    async fn a_failure_is_not_kept() {
        let fresh = Fresh::new(Duration::from_secs(10));
        let fault = Fault::retryable("x", "x");
        assert_eq!(fresh.get(|| async { Err(fault.clone()) }).await, Err(fault.clone()));
        assert_eq!(fresh.get(|| async { Ok(7) }).await, Ok(7));
    }
}
