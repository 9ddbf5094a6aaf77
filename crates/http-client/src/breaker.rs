//! The circuit breaker: stops sending to an upstream that fails, and finds out when it works again.
//!
//! Pure: time is an argument, counted from any fixed instant.

use std::time::Duration;

/// When the breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Failures in a row that open it; at least 1.
    pub failures_max: u32,
    /// Time until the next probe.
    pub open_for: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures_max: 5, open_for: Duration::from_secs(30) }
    }
}

/// How long requests are told to wait while a probe is on its way.
pub const PROBE_WAIT: Duration = Duration::from_secs(1);

/// Whether a request may go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Yes: the breaker is closed.
    Pass,
    /// Yes, as the one request that finds out whether the upstream works again.
    Probe,
    /// No.
    Held {
        /// When to ask again.
        after: Duration,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { probe_at: Duration },
    Probing,
}

/// A circuit breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    policy: BreakerPolicy,
    state: State,
}

impl Breaker {
    /// A closed breaker.
    pub fn new(policy: BreakerPolicy) -> Self {
        Self { policy, state: State::Closed { failures: 0 } }
    }

    /// Whether requests are held back or probed.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    /// How long a request would be held back now; `None` when one could go out. Changes nothing.
    pub fn held(&self, now: Duration) -> Option<Duration> {
        match self.state {
            State::Open { probe_at } if now < probe_at => Some(probe_at - now),
            State::Probing => Some(PROBE_WAIT),
            State::Closed { .. } | State::Open { .. } => None,
        }
    }

    /// Asks for a request's way out. An admitted request is followed by exactly one of [`Self::succeeded`],
    /// [`Self::failed`] and [`Self::abandoned`].
    pub fn admit(&mut self, now: Duration) -> Admission {
        if let Some(after) = self.held(now) {
            return Admission::Held { after };
        }
        if self.is_open() {
            self.state = State::Probing;
            return Admission::Probe;
        }
        Admission::Pass
    }

    /// The upstream answered. Only a probe closes the breaker: a late answer to an older request says nothing
    /// about now.
    pub fn succeeded(&mut self, admission: Admission) {
        if admission == Admission::Probe || !self.is_open() {
            self.state = State::Closed { failures: 0 };
        }
    }

    /// The upstream failed. Answers whether the breaker was closed until then: only such a failure counts
    /// against the message.
    pub fn failed(&mut self, admission: Admission, now: Duration) -> bool {
        match (admission, self.state) {
            (Admission::Probe, _) => {
                self.state = State::Open { probe_at: now.saturating_add(self.policy.open_for) };
                false
            }
            (_, State::Closed { failures }) => {
                let failures = failures.saturating_add(1);
                self.state = if failures >= self.policy.failures_max {
                    State::Open { probe_at: now.saturating_add(self.policy.open_for) }
                } else {
                    State::Closed { failures }
                };
                true
            }
            (_, State::Open { .. } | State::Probing) => false,
        }
    }

    /// When the next probe is due; `None` while the breaker is closed or a probe is on its way.
    pub fn probe_at(&self) -> Option<Duration> {
        match self.state {
            State::Open { probe_at } => Some(probe_at),
            State::Closed { .. } | State::Probing => None,
        }
    }

    /// Takes over what the fleet knows: open until a probe at this time, or closed. A probe of our own that is on
    /// its way goes on, and failures of our own go on being counted.
    pub fn adopt(&mut self, probe_at: Option<Duration>) {
        match (self.state, probe_at) {
            (State::Probing, _) | (State::Closed { .. }, None) => {}
            (_, Some(probe_at)) => self.state = State::Open { probe_at },
            (State::Open { .. }, None) => self.state = State::Closed { failures: 0 },
        }
    }

    /// The request was given up without an outcome; a probe's place becomes free at once.
    pub fn abandoned(&mut self, admission: Admission, now: Duration) {
        if admission == Admission::Probe {
            self.state = State::Open { probe_at: now };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: BreakerPolicy = BreakerPolicy { failures_max: 3, open_for: Duration::from_secs(30) };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn opened_at(seconds: u64) -> Breaker {
        let mut breaker = Breaker::new(POLICY);
        for _ in 0..3 {
            assert_eq!(breaker.admit(at(seconds)), Admission::Pass);
            assert!(breaker.failed(Admission::Pass, at(seconds)));
        }
        breaker
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_closes_by_one_probe() {
        let mut breaker = opened_at(0);
        assert_eq!(breaker.admit(at(10)), Admission::Held { after: at(20) });
        assert_eq!(breaker.admit(at(30)), Admission::Probe);
        assert_eq!(breaker.admit(at(30)), Admission::Held { after: PROBE_WAIT });
        breaker.succeeded(Admission::Probe);
        assert_eq!(breaker.admit(at(30)), Admission::Pass);
    }

    #[test]
    fn a_success_between_failures_starts_the_count_anew() {
        let mut breaker = Breaker::new(POLICY);
        for _ in 0..10 {
            breaker.failed(Admission::Pass, at(0));
            breaker.failed(Admission::Pass, at(0));
            breaker.succeeded(Admission::Pass);
        }
        assert!(!breaker.is_open());
    }

    #[test]
    fn a_failed_probe_waits_again_and_costs_nobody_an_attempt() {
        let mut breaker = opened_at(0);
        assert_eq!(breaker.admit(at(40)), Admission::Probe);
        assert!(!breaker.failed(Admission::Probe, at(41)));
        assert_eq!(breaker.admit(at(42)), Admission::Held { after: at(29) });
    }

    #[test]
    fn an_abandoned_probe_leaves_its_place_to_the_next() {
        let mut breaker = opened_at(0);
        assert_eq!(breaker.admit(at(30)), Admission::Probe);
        breaker.abandoned(Admission::Probe, at(30));
        assert_eq!(breaker.admit(at(30)), Admission::Probe);
    }

    #[test]
    fn late_outcomes_of_requests_from_before_change_nothing() {
        let mut breaker = opened_at(0);
        let before = breaker.clone();
        breaker.succeeded(Admission::Pass);
        assert!(!breaker.failed(Admission::Pass, at(29)));
        assert_eq!(breaker, before);
    }

    #[test]
    fn what_the_fleet_knows_is_taken_over() {
        let mut breaker = Breaker::new(POLICY);
        breaker.adopt(Some(at(30)));
        assert_eq!(
            (breaker.admit(at(10)), breaker.probe_at()),
            (Admission::Held { after: at(20) }, Some(at(30)))
        );
        breaker.adopt(None);
        assert_eq!(breaker.admit(at(10)), Admission::Pass);
        let mut probing = opened_at(0);
        assert_eq!(probing.admit(at(30)), Admission::Probe);
        probing.adopt(None);
        assert_eq!(probing.admit(at(30)), Admission::Held { after: PROBE_WAIT });
    }

    #[test]
    fn failures_go_on_being_counted_while_the_fleet_is_well() {
        let mut breaker = Breaker::new(POLICY);
        for _ in 0..3 {
            breaker.failed(Admission::Pass, at(0));
            breaker.adopt(breaker.probe_at());
        }
        assert!(breaker.is_open());
    }

    proptest! {
        /// An outage of any length costs at most `failures_max` attempts, and never has two probes at once.
        #[test]
        fn an_outage_costs_few_attempts(steps in prop::collection::vec((0_u64..20, 0_u8..4), 1..300)) {
            let mut breaker = Breaker::new(POLICY);
            let (mut now, mut counted, mut probes) = (0, 0, 0_u32);
            for (wait, what) in steps {
                now += wait;
                match breaker.admit(at(now)) {
                    Admission::Held { after } => prop_assert!(after > Duration::ZERO && after <= at(30)),
                    admission => {
                        if admission == Admission::Probe {
                            probes += 1;
                            prop_assert_eq!(breaker.admit(at(now)), Admission::Held { after: PROBE_WAIT });
                        }
                        if what == 0 {
                            breaker.abandoned(admission, at(now));
                        } else if breaker.failed(admission, at(now)) {
                            counted += 1;
                        }
                    }
                }
            }
            prop_assert!(counted <= POLICY.failures_max, "{} counted, {} probes", counted, probes);
        }

        /// Whatever happened before: once the upstream works, everything passes after one waiting time.
        #[test]
        fn it_always_recovers(outcomes in prop::collection::vec(0_u8..3, 0..100)) {
            let mut breaker = Breaker::new(POLICY);
            for outcome in outcomes {
                match (breaker.admit(at(0)), outcome) {
                    (Admission::Held { .. }, _) => {}
                    (admission, 0) => breaker.succeeded(admission),
                    (admission, 1) => { breaker.failed(admission, at(0)); }
                    (admission, _) => breaker.abandoned(admission, at(0)),
                }
            }
            let admission = breaker.admit(at(30));
            let held = matches!(admission, Admission::Held { .. });
            prop_assert!(!held, "still held back");
            breaker.succeeded(admission);
            prop_assert_eq!(breaker.admit(at(30)), Admission::Pass);
        }
    }
}
