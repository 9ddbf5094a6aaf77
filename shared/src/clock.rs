//! The one place where the wall clock is read. Everything else takes time as an argument.

use std::fmt::Debug;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::labelled;

/// A source of the present time.
pub trait Clock: Send + Sync + Debug {
    /// The present time.
    fn now(&self) -> Timestamp;

    /// A time that is not later than the present one, also where the clock was set forward since the process began.
    fn at_earliest(&self) -> Timestamp {
        self.now()
    }

    /// A time that is not earlier than the present one, also where the clock was set back since the process began.
    fn at_latest(&self) -> Timestamp {
        self.now()
    }

    /// Time that passed by this clock although the machine did not wait for it: none, unless it is moved by hand. Whoever
    /// measures by the machine how long something lasts adds it.
    fn skipped(&self) -> Duration {
        Duration::ZERO
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        LazyLock::force(&START);
        shown()
    }

    fn at_earliest(&self) -> Timestamp {
        self.now().min(steady())
    }

    fn at_latest(&self) -> Timestamp {
        self.now().max(steady())
    }
}

/// What the clock showed when the process first looked at it, and the time that passes.
static START: LazyLock<(Timestamp, Instant)> = LazyLock::new(|| (shown(), Instant::now()));

#[expect(clippy::disallowed_methods, reason = "the one reader of the wall clock")]
fn shown() -> Timestamp {
    let off_by = SignedDuration::from_secs(labelled::number("clock.offset_seconds", 0));
    Timestamp::now().saturating_add(off_by).unwrap_or(Timestamp::MAX)
}

/// What the clock would show had nobody set it since the process began.
fn steady() -> Timestamp {
    let (at, began) = *START;
    later(at, began.elapsed())
}

/// A clock that stands still until it is moved: for tests.
#[derive(Debug)]
pub struct ManualClock {
    start: Timestamp,
    moved: Mutex<Duration>,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        Self { start, moved: Mutex::default() }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        *moved = moved.saturating_add(by);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        later(self.start, self.skipped())
    }

    fn skipped(&self) -> Duration {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `at` plus `by`; the latest possible time where that would overflow.
pub fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// The time from `since` to `now`; zero where `now` is the earlier one (clocks differ).
pub fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elapsed_is_zero_when_clocks_run_backwards() {
        let early = Timestamp::UNIX_EPOCH;
        let late = later(early, Duration::from_secs(5));
        assert_eq!(elapsed(early, late), Duration::from_secs(5));
        assert_eq!(elapsed(late, early), Duration::ZERO);
    }

    #[test]
    fn a_clock_moved_by_hand_says_by_how_much() {
        let (start, by) = (Timestamp::UNIX_EPOCH, Duration::from_secs(5));
        let clock = ManualClock::new(start);
        clock.advance(by);
        assert_eq!((clock.now(), clock.skipped()), (later(start, by), by));
        assert_eq!(SystemClock.skipped(), Duration::ZERO);
    }

    #[test]
    fn a_clock_that_nobody_sets_shows_one_time() {
        let (earliest, now, latest) = (SystemClock.at_earliest(), SystemClock.now(), SystemClock.at_latest());
        assert!(earliest <= now && elapsed(earliest, latest) < Duration::from_secs(1));
    }

    #[test]
    fn later_never_overflows() {
        assert_eq!(later(Timestamp::MAX, Duration::from_secs(1)), Timestamp::MAX);
    }
}
