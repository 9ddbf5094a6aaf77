//! So many requests in a second, over a sliding second.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// Requests of the last second.
#[derive(Debug, Default)]
pub(super) struct Throttle(VecDeque<Timestamp>);

impl Throttle {
    /// Counts a request, unless it is one too many.
    pub(super) fn takes(&mut self, now: Timestamp, requests_max: Option<usize>) -> bool {
        let Some(requests_max) = requests_max else { return true };
        while self.0.front().is_some_and(|at| now.duration_since(*at) >= SECOND) {
            self.0.pop_front();
        }
        let takes = self.0.len() < requests_max;
        if takes {
            self.0.push_back(now);
        }
        takes
    }
}
