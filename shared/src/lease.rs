//! A lease as its holder sees it: trusted until the start of the last successful request plus its
//! time-to-live, less a margin. Pure; renewing it is the holder's loop.

use std::time::Duration;

use jiff::Timestamp;

use crate::clock::later;
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
        Self { fence, trusted_until: later(request_start, ttl - ttl / MARGIN_SHARE), ttl }
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

    /// How long to wait before renewing: a third of the time-to-live.
    pub fn renew_every(ttl: Duration) -> Duration {
        ttl / 3
    }
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
}
