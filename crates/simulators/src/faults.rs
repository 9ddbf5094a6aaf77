//! Faults on demand: a queue of rules; the first that matches a request decides how it goes wrong.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::dice::Dice;

/// How a request goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FaultKind {
    /// Waits before the request is looked at. Other rules apply beside it.
    Latency {
        /// The wait.
        latency_ms: u64,
    },
    /// 429 with this Retry-After, seconds or an HTTP date, as given; nothing is written.
    Throttled {
        /// Header value.
        retry_after: String,
    },
    /// Any status with an empty body; nothing is written.
    Status {
        /// Status code.
        status: u16,
    },
    /// 401 as the real one answers an unknown credential; nothing is written, no log-in failure is counted.
    Unauthorized,
    /// 200 with an HTML page instead of JSON; nothing is written.
    HtmlPage,
    /// 502 with an HTML page, as a relay answers; nothing is written.
    HtmlBadGateway,
    /// The right answer, cut in the middle of its body: Content-Length names more than is sent.
    CutBody,
    /// 200 with an empty list, whatever there is.
    EmptyList,
    /// The right list without its second half, as if that were all of it.
    ShortList,
    /// The right list without its first half.
    HoledList,
    /// Never answers; nothing is written.
    TimeoutBefore,
    /// Writes, then never answers.
    TimeoutAfter,
    /// Closes the connection without an answer; nothing is written.
    CloseBefore,
    /// Writes, then closes the connection without an answer.
    CloseAfter,
}

/// When a fault strikes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// Only this method; any when absent.
    #[serde(default)]
    pub method: Option<String>,
    /// Only paths that match this pattern, in which `*` stands for anything; any when absent.
    #[serde(default)]
    pub path: Option<String>,
    /// Matching requests that pass before it strikes for the first time.
    #[serde(default)]
    pub after: u32,
    /// How often; for ever when absent.
    #[serde(default)]
    pub times: Option<u32>,
    /// For how long after it was added; for ever when absent.
    #[serde(default)]
    pub for_ms: Option<u64>,
    /// Share of the matching requests that are struck, 0 to 1.
    #[serde(default = "always")]
    pub probability: f64,
    /// Seed of that choice.
    #[serde(default)]
    pub seed: u64,
    /// What happens.
    pub fault: FaultKind,
}

fn always() -> f64 {
    1.0
}

impl FaultRule {
    /// Strikes every request, for ever.
    #[must_use]
    pub fn new(fault: FaultKind) -> Self {
        Self {
            method: None,
            path: None,
            after: 0,
            times: None,
            for_ms: None,
            probability: 1.0,
            seed: 0,
            fault,
        }
    }

    /// Only requests of this method whose path matches the pattern.
    #[must_use]
    pub fn on(mut self, method: &str, path: &str) -> Self {
        self.method = Some(method.to_owned());
        self.path = Some(path.to_owned());
        self
    }

    /// Only once so many matching requests have passed.
    #[must_use]
    pub fn after(mut self, requests: u32) -> Self {
        self.after = requests;
        self
    }

    /// At most so many times.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Only this share of the matching requests, chosen by the seed.
    #[must_use]
    pub fn sometimes(mut self, probability: f64, seed: u64) -> Self {
        self.probability = probability;
        self.seed = seed;
        self
    }

    fn matches(&self, method: &str, path: &str) -> bool {
        self.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && self.path.as_ref().is_none_or(|pattern| glob(pattern, path))
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for anything.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text.strip_prefix(head).is_some_and(|text| {
            text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| glob(rest, &text[at..]))
        }),
    }
}

#[derive(Debug)]
struct Armed {
    rule: FaultRule,
    added: Timestamp,
    dice: Dice,
}

/// The rules in force on one simulator; they do not survive a restart.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Vec<Armed>>);

impl Faults {
    fn lock(&self) -> MutexGuard<'_, Vec<Armed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, rule: FaultRule, now: Timestamp) {
        let dice = Dice::new(rule.seed);
        self.lock().push(Armed { rule, added: now, dice });
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// The rules still in force, with what is left of their `times`.
    #[must_use]
    pub fn list(&self) -> Vec<FaultRule> {
        self.lock().iter().map(|armed| armed.rule.clone()).collect()
    }

    /// What strikes this request: all matching latencies and the first matching fault of another kind.
    pub(crate) fn strike(&self, method: &str, path: &str, now: Timestamp) -> Vec<FaultKind> {
        let mut struck = Vec::new();
        let mut decided = false;
        let mut rules = self.lock();
        for armed in rules.iter_mut() {
            let is_latency = matches!(armed.rule.fault, FaultKind::Latency { .. });
            if (decided && !is_latency) || !armed.rule.matches(method, path) || armed.over(now) {
                continue;
            }
            if armed.rule.after > 0 {
                armed.rule.after -= 1;
                continue;
            }
            if armed.rule.probability < 1.0 && !armed.dice.chance(armed.rule.probability) {
                continue;
            }
            armed.rule.times = armed.rule.times.map(|left| left.saturating_sub(1));
            decided |= !is_latency;
            struck.push(armed.rule.fault.clone());
        }
        rules.retain(|armed| !armed.over(now));
        struck
    }
}

impl Armed {
    fn over(&self, now: Timestamp) -> bool {
        let expired = self.rule.for_ms.is_some_and(|ms| {
            now.duration_since(self.added)
                >= SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX))
        });
        expired || self.rule.times == Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_with_stars_only() {
        assert!(glob("/api/v1/*", "/api/v1/CBeteiligte/1"));
        assert!(glob("*/Beteiligte/*", "/api/v1/advonet/Beteiligte/7"));
        assert!(glob("*", ""));
        assert!(!glob("/api/v1/CBeteiligte", "/api/v1/CBeteiligte/1"));
        assert!(!glob("*/Token", "/api/v1/Tokens"));
    }

    #[test]
    fn times_run_out_and_the_next_rule_takes_over() {
        let faults = Faults::default();
        let now = Timestamp::UNIX_EPOCH;
        faults.add(FaultRule::new(FaultKind::Status { status: 500 }).on("GET", "*").times(2), now);
        faults.add(FaultRule::new(FaultKind::Latency { latency_ms: 1 }), now);
        faults.add(FaultRule::new(FaultKind::EmptyList), now);
        let latency = FaultKind::Latency { latency_ms: 1 };
        for _ in 0..2 {
            assert_eq!(faults.strike("GET", "/x", now), [FaultKind::Status { status: 500 }, latency.clone()]);
        }
        assert_eq!(faults.strike("GET", "/x", now), [latency, FaultKind::EmptyList]);
        assert_eq!(faults.list().len(), 2);
    }

    #[test]
    fn a_rule_can_wait_for_the_nth_request() {
        let faults = Faults::default();
        let now = Timestamp::UNIX_EPOCH;
        faults.add(FaultRule::new(FaultKind::Unauthorized).on("GET", "/x").after(2).times(1), now);
        let struck = |path| !faults.strike("GET", path, now).is_empty();
        assert_eq!(["/x", "/y", "/x", "/x", "/x"].map(struck), [false, false, false, true, false]);
    }

    #[test]
    fn a_rule_ends_with_its_time() {
        let faults = Faults::default();
        let now = Timestamp::UNIX_EPOCH;
        let rule = FaultRule { for_ms: Some(1_000), ..FaultRule::new(FaultKind::Unauthorized) };
        faults.add(rule, now);
        assert_eq!(
            faults.strike("GET", "/", now + SignedDuration::from_millis(999)),
            [FaultKind::Unauthorized]
        );
        assert!(faults.strike("GET", "/", now + SignedDuration::from_millis(1_000)).is_empty());
    }

    #[test]
    fn the_same_seed_strikes_the_same_requests() {
        let strikes = |seed| {
            let faults = Faults::default();
            faults.add(FaultRule::new(FaultKind::CutBody).sometimes(0.3, seed), Timestamp::UNIX_EPOCH);
            (0..1_000).map(|_| faults.strike("GET", "/", Timestamp::UNIX_EPOCH).len()).collect::<Vec<_>>()
        };
        assert_eq!(strikes(7), strikes(7));
        assert!((200..400).contains(&strikes(7).iter().sum::<usize>()));
    }
}
