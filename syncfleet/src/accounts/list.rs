//! The accounts as a list.

use assembly::Parts;
use jiff::Timestamp;
use serde::Serialize;
use vault::{AccessError, AccountId, GrantState, Listed, Provider, grant_ends, grant_ends_soon};

use crate::output;
use crate::status::ago;

/// Accounts read in one request.
const PAGE: u32 = 200;

/// One account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Which.
    pub account: AccountId,
    /// Its provider.
    pub provider: String,
    /// The CRM user; nothing for the application's own.
    pub user: Option<String>,
    /// `active`, `needs_reconnect` or `unreadable`.
    pub state: &'static str,
    /// Why it needs to be connected again, or what failed last.
    pub problem: Option<String>,
    /// Since when it stands so: connected, or to be connected again.
    pub since: Option<Timestamp>,
    /// When the last token was had.
    pub refreshed_at: Option<Timestamp>,
    /// When the grant ends by itself if it is not used until then, where that is known.
    pub ends_at: Option<Timestamp>,
    /// Whether that is soon.
    pub ends_soon: bool,
    /// Whether its user was told that it must be connected again.
    pub told: bool,
}

/// Reads all. Needs no key.
///
/// # Errors
/// As the store's.
pub async fn read(parts: &Parts) -> Result<Vec<Line>, AccessError> {
    let now = parts.clock.now();
    let mut lines = Vec::new();
    let mut after = None;
    loop {
        let page = parts.accounts.list(after.as_ref(), PAGE).await?;
        let full = page.len() >= PAGE as usize;
        after = page.last().map(|listed| listed.account.clone());
        lines.extend(page.into_iter().map(|listed| {
            let provider = parts.accounts.providers().find(|known| known.name == listed.account.provider);
            line(listed, provider, now)
        }));
        if !full {
            return Ok(lines);
        }
    }
}

fn line(listed: Listed, provider: Option<&Provider>, now: Timestamp) -> Line {
    let Listed { account, summary } = listed;
    let line = Line {
        provider: account.provider.to_string(),
        user: account.user().map(ToString::to_string),
        account,
        state: "unreadable",
        problem: Some("its document in the store is damaged: connect it again".to_owned()),
        since: None,
        refreshed_at: None,
        ends_at: None,
        ends_soon: false,
        told: false,
    };
    let Some(summary) = summary else { return line };
    let ends_at = provider.and_then(|provider| grant_ends(provider, &summary));
    let ends_soon = provider.is_some_and(|provider| grant_ends_soon(provider, &summary, now).is_some());
    let line = Line { refreshed_at: Some(summary.refreshed_at), ends_at, ends_soon, ..line };
    match summary.state {
        GrantState::Active => {
            let unknown = || "no such provider is configured any more".to_owned();
            let problem = summary.problem.or_else(|| provider.is_none().then(unknown));
            Line { state: "active", problem, since: Some(summary.granted_at), ..line }
        }
        GrantState::NeedsReconnect { reason, since, told } => Line {
            state: "needs_reconnect",
            problem: Some(reason.text().to_owned()),
            since: Some(since),
            told,
            ..line
        },
    }
}

/// The list for people.
pub fn table(lines: &[Line], now: Timestamp) -> String {
    let ago_of = |at: Option<Timestamp>| at.map_or_else(String::new, |at| ago(at, now));
    let rows = lines.iter().map(|line| {
        let ends = match line.ends_at {
            Some(at) if line.ends_soon => format!("SOON: {}", second(at)),
            Some(at) => second(at),
            None => String::new(),
        };
        [
            line.provider.clone(),
            line.user.clone().unwrap_or_else(|| "(the application)".to_owned()),
            line.state.to_owned(),
            ago_of(line.since),
            ago_of(line.refreshed_at),
            ends,
            line.problem.clone().unwrap_or_default(),
        ]
    });
    output::table(["PROVIDER", "USER", "STATE", "SINCE", "LAST TOKEN", "ENDS UNLESS USED", "PROBLEM"], rows)
}

/// A time to the second.
pub fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use vault::{AccountSummary, Reason};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn listed(account: &str, state: Option<GrantState>) -> Listed {
        let account: AccountId = account.parse().unwrap();
        let summary = state.map(|state| AccountSummary {
            account: account.clone(),
            scopes: vec![],
            mailbox: None,
            granted_at: at("2026-11-01T00:00:00Z"),
            refreshed_at: at("2026-11-20T11:30:00Z"),
            access_expires_at: None,
            state,
            failures: 0,
            problem: None,
        });
        Listed { account, summary }
    }

    #[test]
    fn a_list_says_what_must_be_done() {
        let now = at("2026-11-20T12:00:00Z");
        let since = at("2026-11-20T09:00:00Z");
        let over = GrantState::NeedsReconnect { reason: Reason::Revoked, since, told: true };
        let lines = [
            line(listed("google/user/anna", None), None, now),
            line(listed("microsoft/user/anna", Some(over)), None, now),
            line(listed("microsoft/application", Some(GrantState::Active)), None, now),
        ];
        assert!(lines[1].told);
        insta::assert_snapshot!(table(&lines, now), @r"
        PROVIDER   USER               STATE            SINCE        LAST TOKEN  ENDS UNLESS USED  PROBLEM
        google     anna               unreadable                                                  its document in the store is damaged: connect it again
        microsoft  anna               needs_reconnect  3 h ago      30 min ago                    the grant was revoked: sessions were ended or the password was reset
        microsoft  (the application)  active           19 days ago  30 min ago                    no such provider is configured any more
        ");
    }
}
