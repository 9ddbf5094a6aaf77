//! A lease as its holder sees it: trusted until the start of the last successful request plus its
//! time-to-live, less a margin. Pure; renewing it is the holder's loop.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::{Clock, elapsed, later};
use crate::fault::{Fault, FaultKind};
use crate::flow::Guard;
use crate::ports::state::Fence;

/// Share of the time-to-live that is kept as a margin for clocks that run at different speeds.
const MARGIN_SHARE: u32 = 10;

/// What a holder knows of its lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLease {
    /// The proof for fenced writes.
    pub fence: Fence,
    trusted_until: Timestamp,
    ttl: Duration,
}

impl HeldLease {
    /// A lease granted by a request that was sent at `request_start`.
    pub fn new(fence: Fence, request_start: Timestamp, ttl: Duration) -> Self {
        Self { fence, trusted_until: later(request_start, Self::trust(ttl)), ttl }
    }

    /// Its time-to-live.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The same lease after a renewal that was sent at `request_start`.
    #[must_use]
    pub fn renewed(&self, request_start: Timestamp) -> Self {
        Self::new(self.fence.clone(), request_start, self.ttl)
    }

    /// Whether the holder may still act under it.
    pub fn is_trusted(&self, now: Timestamp) -> bool {
        now < self.trusted_until
    }

    /// How long a lease is trusted after the start of the request that granted or renewed it.
    pub fn trust(ttl: Duration) -> Duration {
        ttl - ttl / MARGIN_SHARE
    }

    /// How long to wait before renewing: a third of the time-to-live.
    pub fn renew_every(ttl: Duration) -> Duration {
        ttl / 3
    }
}

/// A lease shared by the loop that renews it and those who act under it.
#[derive(Debug)]
pub struct LeaseGuard {
    lease: Mutex<Option<HeldLease>>,
    clock: Arc<dyn Clock>,
}

impl LeaseGuard {
    /// A guard over a lease that was just granted.
    pub fn new(lease: HeldLease, clock: Arc<dyn Clock>) -> Self {
        Self { lease: Mutex::new(Some(lease)), clock }
    }

    /// The lease as it stands; `None` after [`Self::revoke`].
    pub fn lease(&self) -> Option<HeldLease> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How much longer the lease is trusted, if it is not renewed: nothing that was begun under it may last longer.
    ///
    /// # Errors
    /// The same fault as [`Guard::fence`]'s where it is not trusted any more.
    pub fn trusted_for(&self) -> Result<Duration, Fault> {
        let now = self.clock.now();
        let lease = self.lease().filter(|lease| lease.is_trusted(now)).ok_or_else(lost)?;
        Ok(elapsed(now, lease.trusted_until))
    }

    /// Takes a renewal over that was sent at `request_start`.
    pub fn renew(&self, request_start: Timestamp) {
        let mut lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        *lease = lease.take().map(|held| held.renewed(request_start));
    }

    /// Nothing may be done under it any more.
    pub fn revoke(&self) {
        *self.lease.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Guard for LeaseGuard {
    fn fence(&self) -> Result<Option<Fence>, Fault> {
        match self.lease() {
            Some(lease) if lease.is_trusted(self.clock.now()) => Ok(Some(lease.fence)),
            _ => Err(lost()),
        }
    }
}

fn lost() -> Fault {
    let kind = FaultKind::Busy { after: Duration::from_secs(1) };
    Fault::new(kind, "lease_lost", "the lease was lost; whoever holds it now goes on")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_ends_before_the_store_lets_go() {
        let start = Timestamp::UNIX_EPOCH;
        let ttl = Duration::from_secs(30);
        let lease = HeldLease::new(Fence { lease: "x".into(), term: 1 }, start, ttl);
        assert!(lease.is_trusted(later(start, Duration::from_secs(26))));
        assert!(!lease.is_trusted(later(start, Duration::from_secs(27))));
        let renewed = lease.renewed(later(start, Duration::from_secs(10)));
        assert!(renewed.is_trusted(later(start, Duration::from_secs(36))));
    }

    #[test]
    fn what_is_done_under_a_lease_ends_with_the_trust() {
        let clock = Arc::new(crate::clock::ManualClock::new(Timestamp::UNIX_EPOCH));
        let ttl = Duration::from_secs(30);
        let fence = Fence { lease: "shard/parties.000".into(), term: 3 };
        let guard = LeaseGuard::new(HeldLease::new(fence.clone(), Timestamp::UNIX_EPOCH, ttl), clock.clone());
        assert_eq!(guard.fence().unwrap(), Some(fence));
        clock.advance(Duration::from_secs(20));
        assert_eq!(guard.trusted_for().unwrap(), Duration::from_secs(7));
        clock.advance(Duration::from_secs(7));
        assert_eq!(guard.fence().unwrap_err().code, "lease_lost");
        assert_eq!(guard.trusted_for().unwrap_err().code, "lease_lost");
        guard.renew(clock.now());
        assert!(guard.fence().is_ok());
        guard.revoke();
        guard.renew(clock.now());
        assert!(guard.fence().is_err());
    }
}
