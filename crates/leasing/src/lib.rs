//! Takes, renews and gives up leases: the loops around [`shared::lease`], for workers (one lease per shard) and
//! producers (one for the leader).

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use shared::clock::Clock;
use shared::lease::{HeldLease, LeaseGuard};
use shared::ports::PortError;
use shared::ports::state::{Fence, Grant, State};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How often a lease that somebody else holds is asked for, at the most.
const POLL_MAX: Duration = Duration::from_millis(500);
/// How long giving a lease up may take.
const RELEASE_TIME_MAX: Duration = Duration::from_secs(5);

/// Who takes leases, and how.
#[derive(Debug, Clone, Copy)]
pub struct LeaseKeeper<'a> {
    /// Where leases are kept.
    pub state: &'a dyn State,
    /// The clock by which they are trusted.
    pub clock: &'a Arc<dyn Clock>,
    /// Who takes them.
    pub holder: &'a str,
    /// How long they last without renewal.
    pub ttl: Duration,
}

impl LeaseKeeper<'_> {
    /// Waits until the lease is free, and takes it; `None` when `stop` was cancelled before. A request under way is
    /// waited for all the same: a lease that it is granted must not be left behind. Says once when it has to wait
    /// for a failing store.
    pub async fn acquire(&self, name: &str, stop: &CancellationToken) -> Option<LeaseGuard> {
        let mut said = false;
        while !stop.is_cancelled() {
            let request_start = self.clock.now();
            match self.ask(name).await {
                Ok(Some(grant)) => {
                    let fence = Fence { lease: name.to_owned(), term: grant.term };
                    let held = HeldLease::new(fence, request_start, self.ttl);
                    return Some(LeaseGuard::new(held, self.clock.clone()));
                }
                Ok(None) => debug!(lease = name, "Somebody else holds the lease."),
                // Said already, once for the whole process.
                Err(problem @ PortError::Lost(_)) => debug!(lease = name, "{problem}"),
                Err(problem) if said => debug!(lease = name, "The lease cannot be asked for: {problem}"),
                Err(problem) => {
                    said = true;
                    warn!(lease = name, "The lease cannot be asked for now, trying on: {problem}");
                }
            }
            stop.run_until_cancelled(sleep(self.poll())).await?;
        }
        None
    }

    async fn ask(&self, name: &str) -> Result<Option<Grant>, PortError> {
        let asking = self.state.acquire_lease(name, self.holder, self.ttl);
        timeout(self.ttl, asking).await.unwrap_or_else(|_| {
            Err(PortError::Unavailable(format!("no answer within {} s", self.ttl.as_secs_f32())))
        })
    }

    /// Renews the lease; returns when it is lost. What was done under it must stop then.
    ///
    /// Trust ends by the wall clock and by the time that passes in this process, whichever is first: a wall clock
    /// that is set back, or a store that never answers, must not lengthen it.
    pub async fn keep(&self, guard: &LeaseGuard) {
        let mut trusted_until = Instant::now() + HeldLease::trust(self.ttl);
        let mut wait = HeldLease::renew_every(self.ttl);
        while let Some(lease) = guard.lease() {
            sleep(wait).await;
            let (request_start, asked_at) = (self.clock.now(), Instant::now());
            let renewing = self.state.renew_lease(&lease.fence, self.holder, self.ttl);
            match timeout_at(trusted_until, renewing).await {
                Ok(Ok(true)) => {
                    guard.renew(request_start);
                    trusted_until = asked_at + HeldLease::trust(self.ttl);
                    wait = HeldLease::renew_every(self.ttl);
                }
                Ok(Err(_)) if lease.is_trusted(self.clock.now()) && Instant::now() < trusted_until => {
                    wait = self.poll();
                }
                Ok(Ok(false) | Err(_)) | Err(_) => break,
            }
        }
        guard.revoke();
    }

    /// Gives the lease up. Where that fails it ends by itself.
    pub async fn release(&self, guard: &LeaseGuard) {
        let Some(lease) = guard.lease() else { return };
        guard.revoke();
        let problem =
            match timeout(RELEASE_TIME_MAX, self.state.release_lease(&lease.fence, self.holder)).await {
                Ok(Ok(())) => return,
                Ok(Err(problem)) => problem.to_string(),
                Err(_) => format!("no answer within {} s", RELEASE_TIME_MAX.as_secs()),
            };
        warn!(lease = lease.fence.lease, "The lease could not be given up; it ends by itself: {problem}");
    }

    fn poll(&self) -> Duration {
        POLL_MAX.min(self.ttl / 10)
    }
}
