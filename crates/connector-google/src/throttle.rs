//! How long the account waits when Google asks for fewer requests, mostly without saying for how long.

use std::time::Duration;

use http_client::{Answer, retry_after};
use jiff::Timestamp;

use crate::error::reason;

/// The first wait.
const WAIT_MIN: Duration = Duration::from_secs(1);
/// The longest one.
const WAIT_MAX: Duration = Duration::from_secs(64);
/// The wait where the calendar's use is limited, or the day's quota is used up: for hours, as the vendor says.
const QUOTA_WAIT: Duration = Duration::from_secs(60 * 60);

/// How an answer asks for fewer requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Throttle {
    /// So many in a short time.
    Rate,
    /// So many in a day, or so many events.
    Quota,
}

/// Whether an answer asks for fewer requests. Google says it with 403 as well as with 429.
pub(crate) fn throttle(answer: &Answer) -> Option<Throttle> {
    match (answer.status(), reason(answer).as_deref()) {
        (403 | 429, Some("quotaExceeded" | "dailyLimitExceeded")) => Some(Throttle::Quota),
        (429, _) | (403, Some("rateLimitExceeded" | "userRateLimitExceeded")) => Some(Throttle::Rate),
        _ => None,
    }
}

/// How long to wait: as the answer says, else longer each time in a row. `before` counts such answers in a row before
/// this one; `chance` is random, from 0 to 1, so that members of a fleet do not come back as one.
pub(crate) fn wait(
    answer: &Answer,
    throttle: Throttle,
    before: u32,
    chance: f64,
    now: Timestamp,
) -> Duration {
    let told = answer.header("retry-after").and_then(|text| {
        let then = answer.header("date").and_then(retry_after::parse_date);
        retry_after::parse(text, then.unwrap_or(now))
    });
    match (told, throttle) {
        (Some(told), _) => told,
        (None, Throttle::Quota) => QUOTA_WAIT,
        (None, Throttle::Rate) => {
            let whole = WAIT_MIN.saturating_mul(1 << before.min(6)).min(WAIT_MAX);
            whole.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures;

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn at(before: u32, chance: f64) -> u128 {
        wait(&fixtures::error("error-403-ratelimit", &[]), Throttle::Rate, before, chance, now()).as_millis()
    }

    #[test]
    fn each_wait_in_a_row_is_longer_up_to_a_minute() {
        let waits: Vec<u128> = (0..9).map(|before| at(before, 1.0)).collect();
        assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 64_000, 64_000]);
        assert_eq!((at(0, 0.0), at(3, 0.5)), (500, 6_000));
    }

    #[test]
    fn what_the_answer_says_counts_and_quotas_take_longer() {
        let told = fixtures::error("error-403-userratelimit", &[("Retry-After", "7")]);
        assert_eq!(wait(&told, Throttle::Rate, 5, 1.0, now()), Duration::from_secs(7));
        let limits = fixtures::error("error-403-calendarlimits", &[]);
        assert_eq!(throttle(&limits), Some(Throttle::Quota));
        assert_eq!(wait(&limits, Throttle::Quota, 0, 0.0, now()), Duration::from_secs(3_600));
    }

    #[test]
    fn a_403_asks_for_fewer_requests_only_where_it_says_so() {
        assert_eq!(throttle(&fixtures::error("error-403-ratelimit", &[])), Some(Throttle::Rate));
        assert_eq!(throttle(&fixtures::error("error-403-userratelimit", &[])), Some(Throttle::Rate));
        for name in ["error-403-forbiddennonorganizer", "error-404", "error-401", "error-500"] {
            assert_eq!(throttle(&fixtures::error(name, &[])), None, "{name}");
        }
        let page = Answer::recorded("google", "GET x", 429, &[("Content-Type", "text/html")], "<html>");
        assert_eq!(throttle(&page), Some(Throttle::Rate));
    }

    proptest! {
        #[test]
        fn no_wait_is_beyond_its_bounds(before in any::<u32>(), chance in any::<f64>()) {
            let millis = at(before, if chance.is_nan() { 0.0 } else { chance });
            prop_assert!((500..=64_000).contains(&millis));
        }
    }
}
