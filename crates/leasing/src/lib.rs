//! Takes, renews and gives up leases: the loops around [`shared::lease`], for workers (one lease per shard) and
//! producers (one for the leader).

use std::sync::Arc;
use std::time::Duration;

use shared::clock::Clock;
use shared::lease::{HeldLease, LeaseGuard};
use shared::ports::state::{Fence, State};
use tracing::{debug, warn};

/// How often a lease that somebody else holds is asked for, at the most.
const POLL_MAX: Duration = Duration::from_millis(500);

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
    /// Waits until the lease is free, and takes it. Says once when it has to wait for a failing store.
    pub async fn acquire(&self, name: &str) -> LeaseGuard {
        let mut said = false;
        loop {
            let request_start = self.clock.now();
            match self.state.acquire_lease(name, self.holder, self.ttl).await {
                Ok(Some(grant)) => {
                    let fence = Fence { lease: name.to_owned(), term: grant.term };
                    return LeaseGuard::new(
                        HeldLease::new(fence, request_start, self.ttl),
                        self.clock.clone(),
                    );
                }
                Ok(None) => debug!(lease = name, "Somebody else holds the lease."),
                Err(problem) if said => debug!(lease = name, "The lease cannot be asked for: {problem}"),
                Err(problem) => {
                    said = true;
                    warn!(lease = name, "The lease cannot be asked for now, trying on: {problem}");
                }
            }
            tokio::time::sleep(self.poll()).await;
        }
    }

    /// Renews the lease; returns when it is lost. What was done under it must stop then.
    pub async fn keep(&self, guard: &LeaseGuard) {
        let mut wait = HeldLease::renew_every(self.ttl);
        while let Some(lease) = guard.lease() {
            tokio::time::sleep(wait).await;
            let request_start = self.clock.now();
            match self.state.renew_lease(&lease.fence, self.holder, self.ttl).await {
                Ok(true) => {
                    guard.renew(request_start);
                    wait = HeldLease::renew_every(self.ttl);
                }
                Ok(false) => break,
                Err(_) if lease.is_trusted(self.clock.now()) => wait = self.poll(),
                Err(_) => break,
            }
        }
        guard.revoke();
    }

    /// Gives the lease up. Where that fails it ends by itself.
    pub async fn release(&self, guard: &LeaseGuard) {
        let Some(lease) = guard.lease() else { return };
        guard.revoke();
        if let Err(problem) = self.state.release_lease(&lease.fence, self.holder).await {
            warn!(lease = lease.fence.lease, "The lease could not be given up; it ends by itself: {problem}");
        }
    }

    fn poll(&self) -> Duration {
        POLL_MAX.min(self.ttl / 10)
    }
}
