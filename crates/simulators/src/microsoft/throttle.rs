//! Throttling: 10,000 requests and 150 MB of uploads per application and mailbox, each in its span of the simulator's clock.
//! How many run at once is the host's to count.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::answers::Refusal;
use crate::dice::Dice;

const REQUESTS_SPAN: SignedDuration = SignedDuration::from_mins(10);
const UPLOADS_SPAN: SignedDuration = SignedDuration::from_mins(5);
const UPLOAD_BYTES_MAX: u64 = 150_000_000;

#[derive(Debug, Default)]
struct Lane {
    requests: VecDeque<Timestamp>,
    uploads: VecDeque<(Timestamp, u64)>,
}

/// What was asked lately, by application and mailbox; forgotten by a restart.
#[derive(Debug)]
pub(super) struct Throttle {
    lanes: BTreeMap<String, Lane>,
    dice: Dice,
}

impl Throttle {
    pub(super) fn new(seed: u64) -> Self {
        Self { lanes: BTreeMap::new(), dice: Dice::new(seed) }
    }

    /// Counts a request, refused ones as well, and refuses it when there were too many.
    pub(super) fn count(
        &mut self,
        now: Timestamp,
        lane: &str,
        upload_bytes: u64,
        requests_max: usize,
    ) -> Result<(), Refusal> {
        let lane = self.lanes.entry(lane.to_owned()).or_default();
        let is_over = |at: &Timestamp, span: SignedDuration| now.duration_since(*at) >= span;
        while lane.requests.front().is_some_and(|at| is_over(at, REQUESTS_SPAN)) {
            lane.requests.pop_front();
        }
        while lane.uploads.front().is_some_and(|(at, _)| is_over(at, UPLOADS_SPAN)) {
            lane.uploads.pop_front();
        }
        let uploaded: u64 = lane.uploads.iter().map(|(_, bytes)| bytes).sum();
        let wait = if lane.requests.len() >= requests_max {
            lane.requests
                .get(lane.requests.len() - requests_max)
                .map(|at| REQUESTS_SPAN - now.duration_since(*at))
        } else if uploaded + upload_bytes > UPLOAD_BYTES_MAX {
            lane.uploads.front().map(|(at, _)| UPLOADS_SPAN - now.duration_since(*at))
        } else {
            None
        };
        if lane.requests.len() > requests_max {
            lane.requests.pop_front();
        }
        lane.requests.push_back(now);
        if upload_bytes > 0 && wait.is_none() {
            lane.uploads.push_back((now, upload_bytes));
        }
        match wait {
            None => Ok(()),
            Some(wait) => Err(self.refusal("TooManyRequests", "Please retry again later.", wait)),
        }
    }

    /// Too many at once.
    pub(super) fn crowded(&mut self) -> Refusal {
        let message = "Application is over its MailboxConcurrency limit.";
        self.refusal("ApplicationThrottled", message, SignedDuration::from_secs(1))
    }

    /// Retry-After comes in whole seconds, with a fraction, as a useless 1, or not at all.
    fn refusal(&mut self, code: &'static str, message: &str, wait: SignedDuration) -> Refusal {
        let refusal = Refusal::new(429, code, message);
        let seconds = wait.as_secs().clamp(1, 600);
        match self.dice.below(8) {
            0 => refusal,
            1 => refusal.with("Retry-After", "1"),
            2..=4 => refusal.with("Retry-After", format!("{seconds}.128")),
            _ => refusal.with("Retry-After", (seconds + 1).to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_full_until_the_oldest_request_is_ten_minutes_old() {
        let mut throttle = Throttle::new(7);
        let begin = Timestamp::UNIX_EPOCH;
        let at = |seconds: i64| begin + SignedDuration::from_secs(seconds);
        for second in 0..3 {
            assert!(throttle.count(at(second), "a", 0, 3).is_ok());
        }
        assert_eq!(throttle.count(at(10), "a", 0, 3).unwrap_err().status, 429);
        assert!(throttle.count(at(10), "b", 0, 3).is_ok());
        assert!(throttle.count(at(601), "a", 0, 3).is_ok());
        assert!(throttle.count(at(601), "a", 0, 3).is_err(), "what was refused counts");
        assert!(throttle.count(at(1_300), "a", 0, 3).is_ok());
    }

    #[test]
    fn uploads_are_counted_in_bytes() {
        let mut throttle = Throttle::new(7);
        let begin = Timestamp::UNIX_EPOCH;
        assert!(throttle.count(begin, "a", UPLOAD_BYTES_MAX, 10).is_ok());
        assert!(throttle.count(begin, "a", 1, 10).is_err());
        assert!(throttle.count(begin + UPLOADS_SPAN, "a", 1, 10).is_ok());
    }

    #[test]
    fn retry_after_has_every_form() {
        let mut throttle = Throttle::new(7);
        let forms: std::collections::BTreeSet<String> = (0..100)
            .map(|_| throttle.crowded().headers.first().map_or_else(String::new, |(_, value)| value.clone()))
            .collect();
        assert_eq!(forms.into_iter().collect::<Vec<_>>(), ["", "1", "1.128", "2"]);
    }
}
