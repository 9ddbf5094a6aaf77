//! Quotas over a sliding minute, and errors that a test asked for.

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::answers::forced;
use super::options::{ForcedError, GoogleOptions};
use crate::dice::Dice;
use crate::wire::Answer;

const WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// Requests of the last minute, and what is to go wrong.
#[derive(Debug, Default)]
pub(super) struct Quota {
    by_user: BTreeMap<String, VecDeque<Timestamp>>,
    all: VecDeque<Timestamp>,
    errors: Vec<(ForcedError, Option<Dice>)>,
}

fn is_over(seen: &mut VecDeque<Timestamp>, now: Timestamp, most: Option<usize>) -> bool {
    seen.retain(|at| now.duration_since(*at) < WINDOW);
    most.is_some_and(|most| seen.len() >= most)
}

impl Quota {
    pub(super) fn add(&mut self, errors: Vec<ForcedError>) {
        for error in errors {
            let dice = (error.probability < 1.0).then(|| Dice::new(error.seed));
            self.errors.push((error, dice));
        }
    }

    pub(super) fn clear_errors(&mut self) {
        self.errors.clear();
    }

    /// Counts a request; answers why it is refused, if it is.
    pub(super) fn check(
        &mut self,
        options: &GoogleOptions,
        now: Timestamp,
        user: &str,
        operation: &str,
    ) -> Option<Answer> {
        if let Some(answer) = self.strike(operation) {
            return Some(answer);
        }
        let own = self.by_user.entry(user.to_owned()).or_default();
        let reason = if is_over(own, now, options.requests_per_minute_per_user) {
            Some("userRateLimitExceeded")
        } else if is_over(&mut self.all, now, options.requests_per_minute) {
            Some("rateLimitExceeded")
        } else {
            None
        };
        if let Some(reason) = reason {
            let answer = forced(options.quota_status, reason).answer();
            return Some(match options.quota_retry_after {
                Some(seconds) => answer.with("Retry-After", seconds.to_string()),
                None => answer,
            });
        }
        if options.requests_per_minute_per_user.is_some() {
            own.push_back(now);
        }
        if options.requests_per_minute.is_some() {
            self.all.push_back(now);
        }
        None
    }

    fn strike(&mut self, operation: &str) -> Option<Answer> {
        let fits = |error: &ForcedError| error.operation.as_ref().is_none_or(|wanted| wanted == operation);
        let mut answer = None;
        for (error, dice) in &mut self.errors {
            if error.times == Some(0) || !fits(error) {
                continue;
            }
            if dice.as_mut().is_some_and(|dice| !dice.chance(error.probability)) {
                continue;
            }
            error.times = error.times.map(|left| left - 1);
            let refusal = forced(error.status, &error.reason).answer();
            answer = Some(match &error.retry_after {
                Some(wait) => refusal.with("Retry-After", wait.clone()),
                None => refusal,
            });
            break;
        }
        self.errors.retain(|(error, _)| error.times != Some(0));
        answer
    }
}
