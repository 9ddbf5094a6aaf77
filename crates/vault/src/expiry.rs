//! What ends by itself, told ahead. Pure.

use std::time::Duration;

use jiff::civil::Date;
use jiff::{Span, Timestamp};
use shared::clock::later;

use crate::grant::{AccountSummary, GrantState};
use crate::provider::Provider;

/// How long ahead of its end a client's secret is told of.
const SECRET_AHEAD_DAYS: i32 = 30;
/// How long ahead of its end a grant is told of, at most; less where it lives shortly.
const GRANT_AHEAD_MAX: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// One of this many parts of a grant's life.
const GRANT_AHEAD_PARTS: u32 = 4;

/// How a client's secret stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretExpiry {
    /// Its last day is not known: set `client_secret_expires`.
    Unknown,
    /// It works for longer than is told ahead.
    Far,
    /// It works for so many days more, today not counted.
    Soon(i32),
    /// It works no longer.
    Expired,
}

/// How the secret of a provider's application stands on a day.
pub fn secret_expiry(provider: &Provider, today: Date) -> SecretExpiry {
    let Some(last) = provider.registration.client_secret_expires else { return SecretExpiry::Unknown };
    let days = today.until(last).map_or(0, |span: Span| span.get_days());
    match days {
        ..0 => SecretExpiry::Expired,
        0..=SECRET_AHEAD_DAYS => SecretExpiry::Soon(days),
        _ => SecretExpiry::Far,
    }
}

/// When a grant ends by itself if it is not used until then, or in any case; nothing where it does not, or is over.
pub fn grant_ends(provider: &Provider, account: &AccountSummary) -> Option<Timestamp> {
    if account.state != GrantState::Active || account.account.user().is_none() {
        return None;
    }
    let unused = provider.idle_life.map(|life| later(account.refreshed_at, life));
    let in_all = provider.total_life.map(|life| later(account.granted_at, life));
    [unused, in_all].into_iter().flatten().min()
}

/// When a grant that ends soon ends.
pub fn grant_ends_soon(provider: &Provider, account: &AccountSummary, now: Timestamp) -> Option<Timestamp> {
    let lives = [provider.idle_life, provider.total_life].into_iter().flatten();
    let ahead = lives.map(|life| life / GRANT_AHEAD_PARTS).min()?.min(GRANT_AHEAD_MAX);
    grant_ends(provider, account).filter(|ends| later(now, ahead) >= *ends)
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use jiff::civil::date;

    use super::*;
    use crate::error::Reason;
    use crate::grant::tests::grant_with_life;
    use crate::provider::tests::{microsoft, registration};

    #[test]
    fn a_clients_secret_is_told_of_a_month_ahead() {
        let mut provider = microsoft("common").unwrap();
        let today = date(2026, 11, 26);
        assert_eq!(secret_expiry(&provider, today), SecretExpiry::Unknown);
        for (days, expected) in [
            (400, SecretExpiry::Far),
            (31, SecretExpiry::Far),
            (30, SecretExpiry::Soon(30)),
            (0, SecretExpiry::Soon(0)),
            (-1, SecretExpiry::Expired),
            (-400, SecretExpiry::Expired),
        ] {
            provider.registration.client_secret_expires = Some(today.saturating_add(days.days()));
            assert_eq!(secret_expiry(&provider, today), expected, "{days} days");
        }
    }

    #[test]
    fn a_grant_ends_when_it_is_not_used_or_when_its_time_is_over() {
        let day = Duration::from_secs(24 * 60 * 60);
        let at = |days: u32| later(Timestamp::UNIX_EPOCH, day * days);
        let mut account = grant_with_life(3_600).about();
        account.refreshed_at = at(10);
        let microsoft = microsoft("common").unwrap();
        assert_eq!(grant_ends(&microsoft, &account), Some(at(100)));
        assert_eq!(grant_ends_soon(&microsoft, &account, at(85)), None);
        assert_eq!(grant_ends_soon(&microsoft, &account, at(86)), Some(at(100)));

        let mut testing = Provider::google(registration()).unwrap();
        testing.total_life = Some(day * 7);
        account.refreshed_at = at(5);
        assert_eq!(grant_ends(&testing, &account), Some(at(7)));
        assert_eq!(grant_ends_soon(&testing, &account, at(5)), None);
        assert_eq!(grant_ends_soon(&testing, &account, at(6)), Some(at(7)));

        account.state = GrantState::NeedsReconnect { reason: Reason::Ended, since: at(6), told: false };
        assert_eq!(grant_ends(&testing, &account), None);
        let mut application = grant_with_life(3_600).about();
        application.account = "microsoft/application".parse().unwrap();
        assert_eq!(grant_ends(&microsoft, &application), None);
    }
}
