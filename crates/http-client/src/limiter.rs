//! The rate limit of an account: an even flow of requests with a small burst.

use std::time::Duration;

/// A token bucket in its virtual-scheduling form (GCRA). Pure: time is an argument, counted from any fixed
/// instant.
#[derive(Debug, Clone)]
pub struct Bucket {
    interval: Duration,
    burst: u32,
    /// When the bucket will be full again.
    full_at: Duration,
}

impl Bucket {
    /// A full bucket that gives `per_second_max` requests a second, and one second's worth at once at most.
    pub fn new(per_second_max: u32) -> Self {
        let per_second_max = per_second_max.max(1);
        Self {
            interval: Duration::from_secs(1) / per_second_max,
            burst: per_second_max,
            full_at: Duration::ZERO,
        }
    }

    /// Takes a place in the flow and answers how long to wait for it; `None`, and no place taken, when that would
    /// be longer than `wait_max`.
    pub fn reserve(&mut self, now: Duration, wait_max: Duration) -> Option<Duration> {
        let full_at = self.full_at.max(now);
        let backlog = full_at - now;
        let wait = (backlog + self.interval).saturating_sub(self.interval * self.burst);
        if wait > wait_max {
            return None;
        }
        self.full_at = full_at + self.interval;
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_passes_and_then_one_each_interval() {
        let mut bucket = Bucket::new(10);
        let waits: Vec<_> =
            (0..13).map(|_| bucket.reserve(Duration::ZERO, Duration::MAX).unwrap().as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100, 200, 300]);
    }

    #[test]
    fn whoever_would_wait_too_long_takes_no_place() {
        let mut bucket = Bucket::new(1);
        let wait_max = Duration::from_secs(1);
        assert_eq!(bucket.reserve(Duration::ZERO, wait_max), Some(Duration::ZERO));
        assert_eq!(bucket.reserve(Duration::ZERO, wait_max), Some(wait_max));
        for _ in 0..5 {
            assert_eq!(bucket.reserve(Duration::ZERO, wait_max), None);
        }
        assert_eq!(bucket.reserve(Duration::from_secs(1), wait_max), Some(wait_max));
    }

    proptest! {
        /// In any span of time, no more requests go out than the rate allows plus one burst.
        #[test]
        fn the_rate_holds_in_every_window(
            per_second_max in 1_u32..50, steps in prop::collection::vec(0_u64..300, 1..200),
        ) {
            let mut bucket = Bucket::new(per_second_max);
            let mut now = Duration::ZERO;
            let mut sent = Vec::new();
            for step in steps {
                now += Duration::from_millis(step);
                let wait = bucket.reserve(now, Duration::MAX);
                sent.push(now + wait.unwrap_or_default());
            }
            for (i, from) in sent.iter().enumerate() {
                for (j, to) in sent.iter().enumerate().skip(i) {
                    let allowed = (*to - *from).as_secs_f64() * f64::from(per_second_max) + f64::from(per_second_max);
                    prop_assert!((j - i + 1) as f64 <= allowed + 1e-3);
                }
            }
        }
    }
}
