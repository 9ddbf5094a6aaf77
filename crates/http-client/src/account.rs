//! What is known about an account: whether it is paused, and whether its credentials have been seen to work.
//!
//! Pure: time is an argument, counted from any fixed instant.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long requests are spread evenly once an upstream asked for fewer.
const THROTTLED_SHOWS: Duration = Duration::from_secs(60);

/// Why an account is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PauseKind {
    /// The upstream asked for fewer requests.
    Throttled,
    /// The credentials are refused, or the account is locked out.
    Refused,
}

/// A pause that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pause {
    pub(crate) kind: PauseKind,
    pub(crate) until: Duration,
    pub(crate) why: String,
}

/// The state of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) pause: Option<Pause>,
    /// Whether a request has been accepted since the start, or since the credentials were last refused. Until
    /// then requests go out one at a time, since some upstreams lock an address out after a few refusals.
    pub(crate) proven: bool,
}

impl Account {
    /// The pause that holds requests back now.
    pub(crate) fn paused(&self, now: Duration) -> Option<&Pause> {
        self.pause.as_ref().filter(|pause| now < pause.until)
    }

    /// Whether the upstream asked for fewer requests a short time ago.
    pub(crate) fn was_throttled(&self, now: Duration) -> bool {
        let throttled = self.pause.as_ref().filter(|pause| pause.kind == PauseKind::Throttled);
        throttled.is_some_and(|pause| now < pause.until.saturating_add(THROTTLED_SHOWS))
    }

    /// Whether requests may go out side by side.
    pub(crate) fn is_proven(&self) -> bool {
        self.proven
    }

    /// Whether the credentials were refused and have not been accepted since.
    pub(crate) fn is_refused(&self) -> bool {
        self.pause.as_ref().is_some_and(|pause| pause.kind == PauseKind::Refused)
    }

    /// Pauses the account; a pause that lasts longer stays.
    pub(crate) fn pause(&mut self, pause: Pause) {
        if pause.kind == PauseKind::Refused {
            self.proven = false;
        }
        if self.pause.as_ref().is_none_or(|present| present.until < pause.until) {
            self.pause = Some(pause);
        }
    }

    /// A request was accepted: the credentials work. Answers whether that is news.
    pub(crate) fn accepted(&mut self, now: Duration) -> bool {
        if self.paused(now).is_some() {
            // An answer to a request from before the pause.
            return false;
        }
        let news = !self.proven || self.is_refused();
        self.proven = true;
        if self.is_refused() {
            self.pause = None;
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(kind: PauseKind, until_seconds: u64) -> Pause {
        Pause { kind, until: Duration::from_secs(until_seconds), why: "a test".into() }
    }

    #[test]
    fn a_refusal_pauses_and_asks_for_new_proof() {
        let mut account = Account::default();
        assert!(!account.is_proven());
        assert!(account.accepted(Duration::ZERO) && !account.accepted(Duration::ZERO));
        account.pause(pause(PauseKind::Refused, 60));
        assert!(!account.is_proven() && account.is_refused());
        assert!(account.paused(Duration::from_secs(59)).is_some());
        assert!(account.paused(Duration::from_secs(60)).is_none());
        assert!(account.accepted(Duration::from_secs(61)) && account.is_proven() && !account.is_refused());
    }

    #[test]
    fn the_longer_pause_stays() {
        let mut account = Account::default();
        account.pause(pause(PauseKind::Throttled, 100));
        account.pause(pause(PauseKind::Throttled, 10));
        assert_eq!(account.paused(Duration::from_secs(50)), Some(&pause(PauseKind::Throttled, 100)));
    }

    #[test]
    fn throttling_shows_for_a_minute() {
        let mut account = Account::default();
        assert!(!account.was_throttled(Duration::ZERO));
        account.pause(pause(PauseKind::Throttled, 10));
        assert!(
            account.was_throttled(Duration::from_secs(69)) && !account.was_throttled(Duration::from_secs(70))
        );
        account.pause(pause(PauseKind::Refused, 80));
        assert!(!account.was_throttled(Duration::from_secs(81)));
    }

    #[test]
    fn throttling_says_nothing_about_the_credentials() {
        let mut account = Account::default();
        account.accepted(Duration::ZERO);
        account.pause(pause(PauseKind::Throttled, 10));
        assert!(account.is_proven());
    }
}
