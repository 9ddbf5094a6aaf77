//! How long to wait before the next attempt. The only module that knows the `backoff` crate.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

/// When, and how often, a message is tried again.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; at least 1.
    pub attempts_max: u32,
    /// Delay after the first failed attempt.
    pub delay_initial: Duration,
    /// Factor from one delay to the next; at least 1.
    pub delay_factor: f64,
    /// Longest delay before jitter.
    pub delay_max: Duration,
    /// Share of the delay that jitter adds at most (0.2: up to a fifth longer). Jitter never shortens.
    pub jitter_share: f64,
    /// Age at which a message that costs no attempts is given up.
    pub age_max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts_max: 5,
            delay_initial: Duration::from_secs(5),
            delay_factor: 5.0,
            delay_max: Duration::from_secs(3_600),
            jitter_share: 0.2,
            age_max: Duration::from_secs(72 * 3_600),
        }
    }
}

/// The delay after the `attempt`-th failed attempt (from 1), with jitter from `random` in `[0, 1)`.
/// Never below what the policy's curve says, and never below `after`, the upstream's own wish.
pub fn delay(policy: &RetryPolicy, attempt: u32, after: Option<Duration>, random: f64) -> Duration {
    let mut curve = ExponentialBackoff {
        current_interval: policy.delay_initial,
        initial_interval: policy.delay_initial,
        randomization_factor: 0.0,
        multiplier: policy.delay_factor.max(1.0),
        max_interval: policy.delay_max,
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    };
    let mut base = policy.delay_initial;
    // The curve has reached its ceiling long before 64 steps; more would only cost time.
    for _ in 0..attempt.clamp(1, 64) {
        base = curve.next_backoff().unwrap_or(policy.delay_max);
    }
    lengthen(base.min(policy.delay_max), policy.jitter_share, random).max(after.unwrap_or_default())
}

/// `wait` lengthened by up to `share` of itself, as `random` in `[0, 1)` says.
pub fn lengthen(wait: Duration, share: f64, random: f64) -> Duration {
    wait.saturating_add(wait.mul_f64(share.clamp(0.0, 10.0) * random.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_default_curve() {
        let policy = RetryPolicy::default();
        let seconds: Vec<u64> = (1..=6).map(|n| delay(&policy, n, None, 0.0).as_secs()).collect();
        assert_eq!(seconds, [5, 25, 125, 625, 3_125, 3_600]);
    }

    proptest! {
        #[test]
        fn jitter_only_lengthens_and_the_upstreams_wish_is_never_undercut(
            attempt in 0u32..1_000, after in proptest::option::of(0u64..100_000), random in 0.0f64..1.0,
        ) {
            let policy = RetryPolicy::default();
            let after = after.map(Duration::from_secs);
            let plain = delay(&policy, attempt, None, 0.0);
            let got = delay(&policy, attempt, after, random);
            prop_assert!(got >= plain);
            prop_assert!(got >= after.unwrap_or_default());
            prop_assert!(got <= plain.mul_f64(1.2).max(after.unwrap_or_default()) + Duration::from_millis(1));
        }

        #[test]
        fn later_attempts_never_wait_less(attempt in 1u32..100) {
            let policy = RetryPolicy::default();
            prop_assert!(delay(&policy, attempt + 1, None, 0.0) >= delay(&policy, attempt, None, 0.0));
        }
    }
}
