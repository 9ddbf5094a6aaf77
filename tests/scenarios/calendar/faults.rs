//! What goes wrong, by a seed.

use serde_json::{Value, json};
use simulators::{Dice, FaultKind, FaultRule};

use super::affairs::Calendar;
use super::object;
use super::people::Office;
use super::says::Provider;

/// Of all requests to one system this share goes wrong, in each of the ways.
const SHARE: f64 = 0.002;
/// What each system's requests begin with; those for tokens aside.
pub const GRAPH: &str = "/v1.0/*";
pub const GOOGLE: &str = "/calendar/v3/*";
const ESPOCRM: &str = "/api/v1/*";

const DEATHS: [&str; 5] = ["gone_with_location", "gone", "resync_required", "bad_request", "not_found"];

fn ways() -> Vec<FaultKind> {
    let throttled = |wait: &str| FaultKind::Throttled { retry_after: wait.to_owned() };
    vec![
        FaultKind::Status { status: 503 },
        FaultKind::Status { status: 500 },
        FaultKind::HtmlBadGateway,
        FaultKind::CloseBefore,
        FaultKind::CloseAfter,
        FaultKind::CutBody,
        FaultKind::Unauthorized,
        throttled("0"),
        throttled("0.1"),
        throttled("Thu, 01 Jan 2026 00:00:00 GMT"),
    ]
}

/// Requests of clients go wrong from now on.
pub fn strew(office: &Office, dice: &mut Dice) {
    for kind in ways() {
        let mut rule = |path: &str| FaultRule {
            path: Some(path.to_owned()),
            ..FaultRule::new(kind.clone()).sometimes(SHARE, dice.roll())
        };
        office.microsoft.fault(rule(GRAPH));
        office.google.fault(rule(GOOGLE));
        // No key of the CRM expires; a refused one is a person's affair.
        if kind != FaultKind::Unauthorized {
            office.crm.fault(rule(ESPOCRM));
        }
    }
}

/// All requests go well from now on.
pub fn clear(office: &Office) {
    office.microsoft.faults().clear();
    office.google.faults().clear();
    office.crm.faults().clear();
    office.google.configure(&object(json!({ "expire_at_page": 1_000_000 }))).unwrap();
}

/// Notifications of both providers go astray from now on, or do not.
pub fn lose(office: &Office, share: f64, dice: &mut Dice) {
    let late = if share > 0.0 { 600 } else { 0 };
    let microsoft = json!({
        "notification_delay_seconds_max": late, "notification_loss": share, "notification_duplicates": share,
    });
    office.microsoft.configure(&object(microsoft)).unwrap();
    let push = json!({
        "late_seconds_max": late, "lost_probability": share, "doubled_probability": share, "seed": dice.roll() >> 32,
    });
    office.google.configure(&object(json!({ "push": push }))).unwrap();
}

/// How far a calendar was read is forgotten there: now, or after some more requests. Google forgets it of all its calendars,
/// or of the next one of which so many pages are read. Answers which have to be read anew.
pub fn forget(office: &Office, at: usize, after: Option<u32>, dice: &mut Dice) -> Vec<usize> {
    let Calendar { provider, mail, .. } = &office.calendars[at];
    match provider {
        Provider::Microsoft => {
            let death = DEATHS[dice.below(DEATHS.len())];
            let mut body = json!({ "mailbox": mail, "death": death });
            if let Some(after) = after {
                body["after_requests"] = json!(after);
            }
            office.microsoft.control("POST", "delta/expire", &body).unwrap();
            vec![at]
        }
        Provider::Google => {
            let settings = match after {
                Some(page) => json!({ "expire_at_page": page + 1 }),
                None => json!({ "expire_sync_tokens": true }),
            };
            office.google.configure(&object(settings)).unwrap();
            let calendars = office.calendars.iter().enumerate();
            let all =
                calendars.filter(|(_, calendar)| calendar.provider == Provider::Google).map(|(at, _)| at);
            if after.is_none() { all.collect() } else { vec![at] }
        }
    }
}

/// All access tokens end; grants stay good.
pub fn end_access(office: &Office) {
    office.microsoft.control("POST", "identity/expire-access", &json!({})).unwrap();
    office.google.configure(&object(json!({ "end_access_tokens": true }))).unwrap();
}

/// A user's grant ends.
pub fn revoke(office: &Office, calendar: &Calendar) {
    match calendar.provider {
        Provider::Microsoft => {
            let body = json!({ "mailbox": calendar.mail });
            office.microsoft.control("POST", "identity/revoke", &body).unwrap();
            office.microsoft.control("POST", "identity/expire-access", &body).unwrap();
        }
        Provider::Google => {
            let settings: Value = json!({ "withdraw_access": calendar.mail });
            office.google.configure(&object(settings)).unwrap();
        }
    }
}
