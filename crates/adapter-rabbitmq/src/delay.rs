//! Which delay queue a waiting message goes to. Pure.

use std::time::Duration;

use jiff::Timestamp;
use shared::clock::elapsed;

/// How long a message still has to wait; `None` when its time has come.
pub fn remaining(not_before: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    not_before.map(|at| elapsed(now, at)).filter(|wait| !wait.is_zero())
}

/// The tier for a wait: the smallest that covers it, so that one hop is enough; the largest when none does, and
/// then the message is delayed again when it comes out. `tiers` is rising. `None` only when there are no tiers.
pub fn tier(tiers: &[u32], wait: Duration) -> Option<u32> {
    tiers.iter().find(|seconds| covers(**seconds, wait)).or(tiers.last()).copied()
}

/// Whether nothing of the wait is left after this tier.
pub(crate) fn covers(tier_seconds: u32, wait: Duration) -> bool {
    Duration::from_secs(u64::from(tier_seconds)) >= wait
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use shared::clock::later;

    const TIERS: [u32; 9] = [1, 2, 5, 10, 30, 60, 300, 900, 3_600];

    #[test]
    fn a_wait_is_rounded_up_to_the_next_tier() {
        for (milliseconds, expected) in [
            (1, 1),
            (1_000, 1),
            (1_001, 2),
            (2_500, 5),
            (30_000, 30),
            (61_000, 300),
            (3_600_000, 3_600),
            (86_400_000, 3_600),
        ] {
            assert_eq!(
                tier(&TIERS, Duration::from_millis(milliseconds)),
                Some(expected),
                "{milliseconds} ms"
            );
        }
        assert_eq!(tier(&[], Duration::from_secs(1)), None);
    }

    #[test]
    fn what_is_due_does_not_wait() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(remaining(None, now), None);
        assert_eq!(remaining(Some(now), now), None);
        assert_eq!(remaining(Some(now), later(now, Duration::from_secs(1))), None);
        assert_eq!(remaining(Some(later(now, Duration::from_secs(2))), now), Some(Duration::from_secs(2)));
    }

    proptest! {
        #[test]
        fn hop_by_hop_a_message_is_never_early_and_at_most_one_tier_late(wait_ms in 1u64..40_000_000) {
            let start = Timestamp::UNIX_EPOCH;
            let due = later(start, Duration::from_millis(wait_ms));
            let mut now = start;
            let mut last = Duration::ZERO;
            while let Some(wait) = remaining(Some(due), now) {
                last = Duration::from_secs(u64::from(tier(&TIERS, wait).unwrap()));
                now = later(now, last);
            }
            prop_assert!(now >= due);
            prop_assert!(elapsed(due, now) < last);
        }
    }
}
