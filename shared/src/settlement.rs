//! What follows from the outcome of a run: one pure decision.

use std::time::Duration;

use crate::dead_letter::Reason;
use crate::fault::{Fault, FaultKind};
use crate::record_key::RecordKey;
use crate::retry::{self, RetryPolicy};

/// How often a run may start over at once after [`FaultKind::Conflict`].
pub const RERUNS_MAX: u32 = 3;
/// How long a message waits while its account's credentials are refused.
pub const UNAUTHORIZED_PAUSE: Duration = Duration::from_secs(60);
/// How long a message waits whose handler does not name the record that it waits for.
pub const UNNAMED_PAUSE: Duration = Duration::from_secs(60);

/// Shortest wait of what costs no attempt, where the policy's first delay is not shorter: an upstream that
/// says `Retry-After: 0` must not be asked in a hot loop.
pub const POSTPONE_MIN: Duration = Duration::from_secs(1);

/// What the dispatcher does with a delivery after its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// Done.
    Ack,
    /// Read and plan again at once; nothing is settled yet.
    RunAgain,
    /// Deliver again after `delay`.
    Retry {
        /// Time to wait.
        delay: Duration,
        /// Whether this run counts as an attempt.
        counts: bool,
    },
    /// Store until a run of this record succeeds, then acknowledge.
    Park(RecordKey),
    /// Take out of circulation.
    DeadLetter(Reason),
    /// Hand back unchanged: shutdown.
    Return,
}

impl Settlement {
    /// The word for metrics and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ack => "ack",
            Self::RunAgain => "run_again",
            Self::Retry { counts: true, .. } => "retry",
            Self::Retry { counts: false, .. } => "postpone",
            Self::Park(_) => "park",
            Self::DeadLetter(_) => "dead_letter",
            Self::Return => "return",
        }
    }
}

/// What is known about the message when its run failed.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    /// Attempts that failed before this run.
    pub attempts_before: u32,
    /// How often this delivery has already started over after a conflict.
    pub reruns: u32,
    /// Time since the message was first published.
    pub age: Duration,
    /// A random number in `[0, 1)`, for jitter.
    pub random: f64,
}

/// Decides what happens to a message whose run ended with `fault`.
pub fn decide(fault: &Fault, now: Circumstances, policy: &RetryPolicy) -> Settlement {
    match fault.kind {
        FaultKind::Permanent => Settlement::DeadLetter(Reason::Permanent),
        FaultKind::Bug => Settlement::DeadLetter(Reason::Bug),
        FaultKind::Conflict if now.reruns < RERUNS_MAX => Settlement::RunAgain,
        FaultKind::Conflict => attempt_failed(None, now, policy),
        FaultKind::Retryable { after } => attempt_failed(after, now, policy),
        FaultKind::Throttled { after } | FaultKind::Busy { after } | FaultKind::Paused { after } => {
            postpone(after, now, policy)
        }
        FaultKind::Parked => match fault.waits_for.as_deref() {
            Some(awaited) if now.age < policy.age_max => Settlement::Park(awaited.clone()),
            _ => postpone(UNNAMED_PAUSE, now, policy),
        },
        FaultKind::Unauthorized => postpone(UNAUTHORIZED_PAUSE, now, policy),
    }
}

fn attempt_failed(after: Option<Duration>, now: Circumstances, policy: &RetryPolicy) -> Settlement {
    let attempt = now.attempts_before.saturating_add(1);
    if attempt >= policy.attempts_max {
        return Settlement::DeadLetter(Reason::AttemptsSpent);
    }
    Settlement::Retry { delay: retry::delay(policy, attempt, after, now.random), counts: true }
}

fn postpone(after: Duration, now: Circumstances, policy: &RetryPolicy) -> Settlement {
    if now.age >= policy.age_max {
        return Settlement::DeadLetter(Reason::Expired);
    }
    let wait = after.max(POSTPONE_MIN.min(policy.delay_initial));
    Settlement::Retry { delay: retry::lengthen(wait, policy.jitter_share, now.random), counts: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FRESH: Circumstances =
        Circumstances { attempts_before: 0, reruns: 0, age: Duration::ZERO, random: 0.0 };

    fn check(kind: FaultKind, now: Circumstances, expected: &Settlement) {
        let fault = Fault::new(kind, "test", "a test");
        assert_eq!(&decide(&fault, now, &RetryPolicy::default()), expected, "{kind:?} {now:?}");
    }

    #[test]
    fn the_table() {
        let seconds = Duration::from_secs;
        let retry = |s, counts| Settlement::Retry { delay: seconds(s), counts };
        check(FaultKind::Retryable { after: None }, FRESH, &retry(5, true));
        check(FaultKind::Retryable { after: Some(seconds(90)) }, FRESH, &retry(90, true));
        check(FaultKind::Throttled { after: seconds(7) }, FRESH, &retry(7, false));
        check(FaultKind::Busy { after: seconds(1) }, FRESH, &retry(1, false));
        check(FaultKind::Paused { after: seconds(30) }, FRESH, &retry(30, false));
        check(FaultKind::Unauthorized, FRESH, &retry(60, false));
        check(FaultKind::Conflict, FRESH, &Settlement::RunAgain);
        check(FaultKind::Conflict, Circumstances { reruns: 3, ..FRESH }, &retry(5, true));
        check(FaultKind::Permanent, FRESH, &Settlement::DeadLetter(Reason::Permanent));
        check(FaultKind::Bug, FRESH, &Settlement::DeadLetter(Reason::Bug));
    }

    #[test]
    fn the_fifth_failed_attempt_is_the_last() {
        let kind = FaultKind::Retryable { after: None };
        let fourth = Circumstances { attempts_before: 3, ..FRESH };
        check(kind, fourth, &Settlement::Retry { delay: Duration::from_secs(625), counts: true });
        let fifth = Circumstances { attempts_before: 4, ..FRESH };
        check(kind, fifth, &Settlement::DeadLetter(Reason::AttemptsSpent));
    }

    #[test]
    fn what_costs_no_attempt_is_bounded_by_age() {
        let old = Circumstances { age: Duration::from_secs(72 * 3_600), ..FRESH };
        for kind in [
            FaultKind::Throttled { after: Duration::ZERO },
            FaultKind::Busy { after: Duration::ZERO },
            FaultKind::Paused { after: Duration::ZERO },
            FaultKind::Unauthorized,
        ] {
            check(kind, old, &Settlement::DeadLetter(Reason::Expired));
        }
    }

    #[test]
    fn what_waits_for_another_record_is_parked_until_it_is_too_old() {
        let awaited: RecordKey = "parents:1".parse().unwrap();
        let fault = Fault::parked("parent_missing", "it is not linked", awaited.clone());
        let policy = RetryPolicy::default();
        assert_eq!(decide(&fault, FRESH, &policy), Settlement::Park(awaited));
        let old = Circumstances { age: policy.age_max, ..FRESH };
        assert_eq!(decide(&fault, old, &policy), Settlement::DeadLetter(Reason::Expired));
        assert!(fault.text.contains("parents:1"), "{fault}");
        check(FaultKind::Parked, FRESH, &Settlement::Retry { delay: UNNAMED_PAUSE, counts: false });
        check(FaultKind::Parked, old, &Settlement::DeadLetter(Reason::Expired));
    }

    #[test]
    fn what_costs_no_attempt_never_runs_again_at_once() {
        let seconds = Duration::from_secs;
        let retry = |delay| Settlement::Retry { delay, counts: false };
        for kind in [
            FaultKind::Throttled { after: Duration::ZERO },
            FaultKind::Busy { after: Duration::ZERO },
            FaultKind::Paused { after: Duration::from_millis(3) },
        ] {
            check(kind, FRESH, &retry(seconds(1)));
        }
        let policy = RetryPolicy { delay_initial: Duration::from_millis(20), ..RetryPolicy::default() };
        let fault = Fault::new(FaultKind::Throttled { after: Duration::ZERO }, "test", "a test");
        assert_eq!(decide(&fault, FRESH, &policy), retry(Duration::from_millis(20)));
    }

    proptest! {
        #[test]
        fn no_attempt_beyond_the_limit_and_no_early_retry(
            attempts_before in 0u32..50, after in proptest::option::of(0u64..10_000), random in 0.0f64..1.0,
        ) {
            let policy = RetryPolicy::default();
            let after = after.map(Duration::from_secs);
            let fault = Fault::new(FaultKind::Retryable { after }, "test", "a test");
            match decide(&fault, Circumstances { attempts_before, random, ..FRESH }, &policy) {
                Settlement::Retry { delay, counts } => {
                    prop_assert!(counts && attempts_before + 1 < policy.attempts_max);
                    prop_assert!(delay >= after.unwrap_or_default());
                }
                Settlement::DeadLetter(reason) => {
                    prop_assert_eq!(reason, Reason::AttemptsSpent);
                    prop_assert!(attempts_before + 1 >= policy.attempts_max);
                }
                other => prop_assert!(false, "unexpected {:?}", other),
            }
        }
    }
}
