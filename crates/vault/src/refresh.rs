//! When a token is asked for. Pure.

use std::time::Duration;

use jiff::Timestamp;
use shared::clock::{elapsed, later};
use shared::retry::{self, RetryPolicy};

use crate::account::Holder;
use crate::error::Reason;
use crate::grant::{Access, Grant, GrantState};

/// How long before its end a token is asked for anew.
const EARLY: Duration = Duration::from_secs(5 * 60);
/// A token that lives shortly is asked for anew when this share of its life is over: five minutes before the end it
/// may hardly have begun.
const LIFE_SHARE: f64 = 0.8;
/// How long before its end a token is not used any more: requests take time, and clocks differ.
const UNUSED_FOR_MAX: Duration = Duration::from_secs(30);
/// The same for short lives: one of this many parts.
const UNUSED_PARTS: u32 = 10;
/// Longest wait after failures.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(5 * 60);
/// How long a grant is left alone when the provider says that it is asked for too often.
const PAUSE: Duration = Duration::from_secs(5 * 60);
/// A token that is refused although it is younger than this may be refused for another reason than its age.
const YOUNG: Duration = Duration::from_secs(10 * 60);
/// How many young tokens may be refused one after another before asking for another waits.
const YOUNG_REFUSED_MAX: u32 = 5;
/// The first such wait, and the longest.
const REFUSED_DELAY: Duration = Duration::from_secs(60);
const REFUSED_DELAY_MAX: Duration = Duration::from_secs(60 * 60);

/// What is to be done for a caller who needs an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The stored one is used.
    Use,
    /// One of the callers asks for another; the others use the stored one.
    RefreshSoon,
    /// One of the callers asks for another, and the others wait for it.
    RefreshNow,
    /// There is none, and none is asked for before that time.
    Wait {
        /// When.
        until: Timestamp,
    },
    /// There is none, until a person has connected the account again.
    Reconnect {
        /// Why.
        reason: Reason,
    },
}

/// The decision, by the clock alone.
///
/// A token is asked for anew five minutes before its end, or when four fifths of its life are over, whichever is
/// later. (Whichever is earlier would ask for a token that lives five minutes again and again.)
pub fn decide(grant: &Grant, now: Timestamp) -> Decision {
    if let GrantState::NeedsReconnect { reason, .. } = grant.state {
        return Decision::Reconnect { reason };
    }
    let usable = grant.access.as_ref().filter(|access| !access.refused && now < usable_until(access));
    if usable.is_some_and(|access| now < refresh_at(access)) {
        return Decision::Use;
    }
    let can_ask = grant.account.holder == Holder::Application || grant.refresh.is_some();
    let not_before = grant.retry.as_ref().map(|retry| retry.not_before).filter(|at| now < *at);
    match (usable.is_some(), can_ask, not_before) {
        (true, false, _) | (true, true, Some(_)) => Decision::Use,
        (true, true, None) => Decision::RefreshSoon,
        (false, false, _) => Decision::Reconnect { reason: Reason::NoRefreshToken },
        (false, true, Some(until)) => Decision::Wait { until },
        (false, true, None) => Decision::RefreshNow,
    }
}

/// When a token is asked for anew.
fn refresh_at(access: &Access) -> Timestamp {
    let life = elapsed(access.obtained_at, access.expires_at);
    let early = later(access.obtained_at, life.saturating_sub(EARLY));
    early.max(later(access.obtained_at, life.mul_f64(LIFE_SHARE)))
}

/// Until when a token is used.
fn usable_until(access: &Access) -> Timestamp {
    let life = elapsed(access.obtained_at, access.expires_at);
    let unused = UNUSED_FOR_MAX.min(life / UNUSED_PARTS);
    later(access.obtained_at, life.saturating_sub(unused))
}

/// How long to wait after the `failures`-th failure in a row; `after` is the provider's own wish.
pub(crate) fn delay_after_failure(failures: u32, after: Option<Duration>, random: f64) -> Duration {
    let policy = RetryPolicy {
        delay_initial: Duration::from_secs(2),
        delay_factor: 3.0,
        delay_max: RETRY_DELAY_MAX,
        ..RetryPolicy::default()
    };
    retry::delay(&policy, failures, after, random)
}

/// How long to wait when the provider detected a loop.
pub(crate) fn delay_after_loop(random: f64) -> Duration {
    retry::lengthen(PAUSE, 0.5, random)
}

/// How many tokens were refused young, one after another, when this one is refused now as well; and how long to wait
/// before another one is asked for.
pub(crate) fn refused(access: &Access, young_refused: u32, now: Timestamp) -> (u32, Option<Duration>) {
    if elapsed(access.obtained_at, now) >= YOUNG {
        return (0, None);
    }
    let refused = young_refused.saturating_add(1);
    let beyond = refused.saturating_sub(YOUNG_REFUSED_MAX);
    if beyond == 0 {
        return (refused, None);
    }
    let factor = 1_u32 << (beyond - 1).min(10);
    (refused, Some(REFUSED_DELAY.saturating_mul(factor).min(REFUSED_DELAY_MAX)))
}

/// Whether a token lived long enough to show that those before it were not refused for ever.
pub(crate) fn was_of_use(access: &Access, now: Timestamp) -> bool {
    !access.refused && elapsed(access.obtained_at, now) >= YOUNG
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::tests::{grant_with_life, retry_until};
    use proptest::prelude::*;

    const MINUTE: u64 = 60;

    fn at(seconds: u64) -> Timestamp {
        later(Timestamp::UNIX_EPOCH, Duration::from_secs(seconds))
    }

    /// The decisions over the life of a token that was had at 0, with the second at which each begins.
    fn course(life_seconds: u64) -> Vec<(u64, Decision)> {
        let grant = grant_with_life(life_seconds);
        let mut course: Vec<(u64, Decision)> = Vec::new();
        for second in 0..=life_seconds + 100 {
            let decision = decide(&grant, at(second));
            if course.last().map(|(_, it)| *it) != Some(decision) {
                course.push((second, decision));
            }
        }
        course
    }

    #[test]
    fn long_and_short_lives() {
        use Decision::{RefreshNow, RefreshSoon, Use};
        let check = |life: u64, soon: u64, now: u64| {
            assert_eq!(course(life), [(0, Use), (soon, RefreshSoon), (now, RefreshNow)], "life of {life} s");
        };
        check(75 * MINUTE, 70 * MINUTE, 75 * MINUTE - 30);
        check(60 * MINUTE, 55 * MINUTE, 60 * MINUTE - 30);
        check(28 * 60 * MINUTE, 28 * 60 * MINUTE - 5 * MINUTE, 28 * 60 * MINUTE - 30);
        check(25 * MINUTE, 20 * MINUTE, 25 * MINUTE - 30);
        check(10 * MINUTE, 8 * MINUTE, 10 * MINUTE - 30);
        check(100, 80, 90);
    }

    #[test]
    fn what_was_refused_is_not_used_and_who_must_wait_waits() {
        let mut grant = grant_with_life(3_600);
        grant.access.as_mut().unwrap().refused = true;
        assert_eq!(decide(&grant, at(1)), Decision::RefreshNow);
        grant.retry = Some(retry_until(at(100)));
        assert_eq!(decide(&grant, at(99)), Decision::Wait { until: at(100) });
        assert_eq!(decide(&grant, at(100)), Decision::RefreshNow);
        grant.access.as_mut().unwrap().refused = false;
        grant.retry = Some(retry_until(at(3_500)));
        assert_eq!(decide(&grant, at(3_400)), Decision::Use, "while one lives, nobody waits");
        grant.access = None;
        assert_eq!(decide(&grant, at(3_500)), Decision::RefreshNow);
    }

    #[test]
    fn without_a_refresh_token_the_access_token_is_used_to_its_end() {
        let mut grant = grant_with_life(3_600);
        grant.refresh = None;
        assert_eq!(decide(&grant, at(3_569)), Decision::Use);
        assert_eq!(decide(&grant, at(3_570)), Decision::Reconnect { reason: Reason::NoRefreshToken });
        grant.account = "microsoft/application".parse().unwrap();
        assert_eq!(decide(&grant, at(3_570)), Decision::RefreshNow, "the application never has one");
    }

    #[test]
    fn a_grant_that_is_over_is_over_whatever_it_holds() {
        let mut grant = grant_with_life(3_600);
        let over = GrantState::NeedsReconnect { reason: Reason::Revoked, since: at(5), told: false };
        grant.state = over;
        assert_eq!(decide(&grant, at(10)), Decision::Reconnect { reason: Reason::Revoked });
    }

    #[test]
    fn young_tokens_that_are_refused_again_and_again_are_not_asked_for_without_pause() {
        let access = grant_with_life(3_600).access.unwrap();
        let (mut count, mut waits) = (0, Vec::new());
        for _ in 0..14 {
            let (refused, wait) = refused(&access, count, at(30));
            count = refused;
            waits.push(wait.map_or(0, |wait| wait.as_secs()));
        }
        assert_eq!(waits, [0, 0, 0, 0, 0, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600, 3_600]);
        assert_eq!(refused(&access, count, at(600)), (0, None), "an old one is refused for its age");
    }

    #[test]
    fn waits_after_failures_grow_to_a_bound() {
        let seconds: Vec<u64> = (1..=7).map(|n| delay_after_failure(n, None, 0.0).as_secs()).collect();
        assert_eq!(seconds, [2, 6, 18, 54, 162, 300, 300]);
        let wish = Duration::from_secs(1_000);
        assert_eq!(delay_after_failure(1, Some(wish), 0.0), wish);
        assert!(delay_after_loop(0.0) >= Duration::from_secs(300));
    }

    proptest! {
        /// Whenever it is looked at: a token is used only before its end, and something is done from then on.
        #[test]
        fn nothing_is_used_after_its_end(
            life in 1_u64..200_000, second in 0_u64..400_000, refused: bool, refresh: bool, wait in proptest::option::of(0_u64..400_000),
        ) {
            let mut grant = grant_with_life(life);
            grant.access.as_mut().unwrap().refused = refused;
            if !refresh { grant.refresh = None; }
            grant.retry = wait.map(|seconds| retry_until(at(seconds)));
            match decide(&grant, at(second)) {
                Decision::Use | Decision::RefreshSoon => prop_assert!(second < life && !refused),
                Decision::RefreshNow => prop_assert!(refresh),
                Decision::Wait { until } => prop_assert!(until > at(second)),
                Decision::Reconnect { reason } => {
                    prop_assert!(!refresh);
                    prop_assert_eq!(reason, Reason::NoRefreshToken);
                }
            }
        }

        /// A fresh token is never asked for again at once, however short it lives.
        #[test]
        fn no_loop(life in 1_u64..200_000) {
            prop_assert_eq!(decide(&grant_with_life(life), at(0)), Decision::Use);
            let soon = refresh_at(&grant_with_life(life).access.unwrap());
            prop_assert!(elapsed(at(0), soon) >= Duration::from_secs(life).mul_f64(0.799));
        }

        /// Time only moves from using over asking to waiting; it never goes back.
        #[test]
        fn decisions_only_grow_more_urgent(life in 1_u64..20_000, one in 0_u64..30_000, other in 0_u64..30_000) {
            let rank = |second| match decide(&grant_with_life(life), at(second)) {
                Decision::Use => 0,
                Decision::RefreshSoon => 1,
                Decision::RefreshNow => 2,
                Decision::Wait { .. } | Decision::Reconnect { .. } => 9,
            };
            prop_assert!(rank(one.min(other)) <= rank(one.max(other)));
            prop_assert!(rank(one.max(other)) < 9);
        }

        /// A clock that was set back does not make a token be asked for.
        #[test]
        fn a_clock_set_back_uses_what_is_there(life in 1_u64..20_000, back in 0_i64..1_000_000) {
            let now = Timestamp::from_second(-back).unwrap();
            prop_assert_eq!(decide(&grant_with_life(life), now), Decision::Use);
        }
    }
}
