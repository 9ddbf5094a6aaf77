//! How long an interface waits when WeCom asks for fewer calls. Pure.

use std::time::Duration;

/// The waits after 45009, which stands for the limit of a minute and that of an hour alike: an interface over the minute's
/// is closed for 60 s, one over the hour's for 60 min. What is still refused after the first wait is the hour's.
const WAITS: [Duration; 3] =
    [Duration::from_secs(60), Duration::from_secs(8 * 60), Duration::from_secs(60 * 60)];
/// After 45033, too many at once: at least this, and up to as much again and some.
const BURST_MIN: Duration = Duration::from_secs(1);
const BURST_MORE: Duration = Duration::from_secs(4);

/// How an answer asks for fewer calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Throttle {
    /// 45009: so many in a minute or an hour.
    Frequency,
    /// 45033: so many at the same time.
    Burst,
}

/// Whether an errcode asks for fewer calls.
pub(crate) fn throttle(code: i64) -> Option<Throttle> {
    match code {
        45009 => Some(Throttle::Frequency),
        45033 => Some(Throttle::Burst),
        _ => None,
    }
}

/// What an interface has been told, without a success in between. Time is counted from any fixed instant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refusals {
    waits: usize,
    until: Duration,
}

impl Refusals {
    /// How long to wait. Several answers to calls that went out together count as one.
    pub(crate) fn wait(&mut self, throttle: Throttle, chance: f64, now: Duration) -> Duration {
        match throttle {
            Throttle::Burst => BURST_MIN + BURST_MORE.mul_f64(chance.clamp(0.0, 1.0)),
            Throttle::Frequency if now < self.until => self.until.saturating_sub(now),
            Throttle::Frequency => {
                let wait = WAITS.get(self.waits).or(WAITS.last()).copied().unwrap_or_default();
                self.waits += 1;
                self.until = now.saturating_add(wait);
                wait
            }
        }
    }

    /// A call was answered.
    pub(crate) fn over(&mut self, now: Duration) {
        if now >= self.until {
            self.waits = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(refusals: &mut Refusals, now: u64) -> u64 {
        refusals.wait(Throttle::Frequency, 0.0, Duration::from_secs(now)).as_secs()
    }

    #[test]
    fn what_goes_on_after_a_minute_is_the_limit_of_an_hour() {
        let mut refusals = Refusals::default();
        assert_eq!(seconds(&mut refusals, 0), 60);
        assert_eq!(seconds(&mut refusals, 10), 50, "from the same burst");
        assert_eq!(seconds(&mut refusals, 60), 480);
        assert_eq!(seconds(&mut refusals, 540), 3_600);
        assert_eq!(seconds(&mut refusals, 4_140), 3_600);
        refusals.over(Duration::from_secs(4_200));
        assert_eq!(seconds(&mut refusals, 7_740), 3_600, "an answer to a call from before the wait");
        refusals.over(Duration::from_secs(11_340));
        assert_eq!(seconds(&mut refusals, 11_340), 60);
    }

    #[test]
    fn other_errors_ask_for_nothing() {
        assert_eq!((throttle(45009), throttle(45033)), (Some(Throttle::Frequency), Some(Throttle::Burst)));
        for code in [0, -1, 40014, 60011] {
            assert_eq!(throttle(code), None);
        }
    }

    proptest! {
        #[test]
        fn a_burst_waits_one_to_five_seconds(chance in any::<f64>()) {
            let chance = if chance.is_nan() { 0.0 } else { chance };
            let wait = Refusals::default().wait(Throttle::Burst, chance, Duration::ZERO);
            prop_assert!((1_000..=5_000).contains(&wait.as_millis()));
        }

        #[test]
        fn no_wait_is_longer_than_an_hour(steps in prop::collection::vec(0_u64..5_000, 1..60)) {
            let (mut refusals, mut now) = (Refusals::default(), Duration::ZERO);
            for step in steps {
                now += Duration::from_secs(step);
                let wait = refusals.wait(Throttle::Frequency, 0.0, now);
                prop_assert!(wait <= WAITS[2] && !wait.is_zero());
            }
        }
    }
}
