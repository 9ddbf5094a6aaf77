//! The rate limit of an account: an even flow of requests with a small burst.

use std::time::Duration;

/// A token bucket. Pure: time is an argument, counted from any fixed instant.
///
/// It holds one second's worth of requests, and at least one; for an upstream that counts strictly, hardly more than one.
/// When its rate changes it keeps what it holds, up to what it may hold then: a higher rate never comes with a burst.
#[derive(Debug, Clone)]
pub struct Bucket {
    per_second: f64,
    capacity: f64,
    level: f64,
    at: Duration,
}

/// How the requests of an account are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// At the full rate, after a quiet second with a burst of as many at once.
    Bursts,
    /// One after the other, a little below the rate: what arrives somewhat sooner or later stays within it in every second.
    Even,
}

/// Share of the rate at which requests are spread evenly.
const EVEN_SHARE: f64 = 0.95;
/// Seconds by which whoever waits for a request may wake late without losing it.
const EVEN_SLACK_SECONDS: f64 = 0.02;

impl Bucket {
    /// A full bucket that gives `per_second` requests a second.
    pub fn full(per_second: f64) -> Self {
        let capacity = capacity(per_second);
        Self { per_second, capacity, level: capacity, at: Duration::ZERO }
    }

    /// An empty one.
    pub fn empty(per_second: f64) -> Self {
        Self { level: 0.0, ..Self::full(per_second) }
    }

    /// Changes the rate; 0 stops the flow.
    pub fn set_rate(&mut self, per_second: f64, spread: Spread, now: Duration) {
        self.refill(now);
        (self.per_second, self.capacity) = match spread {
            Spread::Bursts => (per_second, capacity(per_second)),
            Spread::Even => (per_second * EVEN_SHARE, 1.0 + per_second * EVEN_SLACK_SECONDS),
        };
        self.level = self.level.min(self.capacity);
    }

    /// Takes a request out.
    ///
    /// # Errors
    /// The time until there will be one, where there is none now.
    pub fn take(&mut self, now: Duration) -> Result<(), Duration> {
        self.refill(now);
        // A nanosecond more or less is not worth a second wait.
        let missing = 1.0 - self.level;
        if missing > 1e-9 {
            return Err(Duration::try_from_secs_f64(missing / self.per_second).unwrap_or(Duration::MAX));
        }
        self.level -= 1.0;
        Ok(())
    }

    fn refill(&mut self, now: Duration) {
        let grown = now.saturating_sub(self.at).as_secs_f64() * self.per_second;
        self.level = (self.level + grown).min(self.capacity);
        self.at = self.at.max(now);
    }
}

fn capacity(per_second: f64) -> f64 {
    per_second.max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_passes_and_then_one_each_interval() {
        let mut bucket = Bucket::full(10.0);
        let mut now = Duration::ZERO;
        let mut sent = Vec::new();
        while sent.len() < 13 {
            match bucket.take(now) {
                Ok(()) => sent.push(now.as_millis()),
                Err(wait) => now += wait,
            }
        }
        assert_eq!(sent, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100, 200, 300]);
    }

    #[test]
    fn a_bucket_without_flow_waits_for_ever() {
        assert_eq!(Bucket::empty(0.0).take(Duration::from_secs(9)), Err(Duration::MAX));
    }

    #[test]
    fn a_higher_rate_comes_without_a_burst() {
        let mut bucket = Bucket::empty(1.0);
        bucket.set_rate(100.0, Spread::Bursts, Duration::ZERO);
        assert_eq!(bucket.take(Duration::ZERO), Err(Duration::from_millis(10)));
    }

    proptest! {
        /// In any span of time, no more requests go out than the rate allows plus one burst, also while the rate
        /// changes below its maximum.
        #[test]
        fn the_rate_holds_in_every_window(
            per_second_max in 1_u32..50,
            steps in prop::collection::vec((0_u64..300, prop::option::of(0.0_f64..1.0)), 1..200),
        ) {
            let rate = f64::from(per_second_max);
            let mut bucket = Bucket::full(rate);
            let mut now = Duration::ZERO;
            let mut sent = Vec::new();
            for (step, share) in steps {
                now += Duration::from_millis(step);
                if let Some(share) = share {
                    bucket.set_rate(rate * share, Spread::Bursts, now);
                }
                while bucket.take(now).is_ok() {
                    sent.push(now);
                }
            }
            for (i, from) in sent.iter().enumerate() {
                for (j, to) in sent.iter().enumerate().skip(i) {
                    let allowed = (*to - *from).as_secs_f64() * rate + rate;
                    prop_assert!((j - i + 1) as f64 <= allowed + 1e-3);
                }
            }
        }

        /// Spread evenly, no second has more requests than an upstream lets in that counts them, also where they arrive
        /// up to 20 ms late, and after any quiet time.
        #[test]
        fn what_is_spread_evenly_is_let_in(
            per_second_max in 1_u32..300,
            rests in prop::collection::vec((0_u64..3_000, 0_u64..20), 1..5),
            wakes_late in 0_u64..20_000_000,
        ) {
            let rate = f64::from(per_second_max);
            let mut bucket = Bucket::full(rate);
            let (mut now, mut arrived) = (Duration::ZERO, Vec::new());
            for (rest, late) in rests {
                now += Duration::from_millis(rest);
                bucket.set_rate(rate, Spread::Even, now);
                for _ in 0..per_second_max * 2 {
                    while let Err(wait) = bucket.take(now) {
                        now += wait + Duration::from_nanos(1 + wakes_late);
                    }
                    arrived.push(now + Duration::from_millis(late));
                }
            }
            arrived.sort();
            for within in arrived.windows(per_second_max as usize + 1) {
                prop_assert!(within[per_second_max as usize] - within[0] >= Duration::from_secs(1));
            }
        }

        /// Spread evenly, nearly the whole rate goes out, though whoever waits wakes late.
        #[test]
        fn waking_late_loses_no_request(per_second in 1.0_f64..300.0, wakes_late in 0_u64..20_000) {
            let mut bucket = Bucket::empty(per_second);
            bucket.set_rate(per_second, Spread::Even, Duration::ZERO);
            let (mut now, mut sent) = (Duration::ZERO, 0.0);
            while now < Duration::from_secs(20) {
                match bucket.take(now) {
                    Ok(()) => sent += 1.0,
                    Err(wait) => now += wait + Duration::from_nanos(1) + Duration::from_micros(wakes_late),
                }
            }
            let under_way = 1.0 + per_second * EVEN_SLACK_SECONDS;
            prop_assert!(sent >= 20.0 * per_second * EVEN_SHARE - under_way, "{sent}");
        }

        /// Whoever waits as long as it was told gets out.
        #[test]
        fn the_wait_suffices(rate in 0.01_f64..1_000.0, steps in prop::collection::vec(0_u64..100, 1..100)) {
            let mut bucket = Bucket::empty(rate);
            let mut now = Duration::ZERO;
            for step in steps {
                now += Duration::from_millis(step);
                if let Err(wait) = bucket.take(now) {
                    now += wait + Duration::from_nanos(1);
                    prop_assert!(bucket.take(now).is_ok());
                }
            }
        }
    }
}
