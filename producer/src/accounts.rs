//! How accounts stand, for metrics: whose grant is over or ends soon, and when the applications' secrets end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use shared::names;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, warn};
use vault::{AccessError, Accounts, GrantState, Provider, SecretExpiry, grant_ends_soon, secret_expiry};

use crate::run::Engine;

/// How often accounts are counted.
const COUNT_EVERY: Duration = Duration::from_secs(30);
/// Accounts read in one request.
const PAGE: u32 = 200;

const STATES: [&str; 3] = ["active", "needs_reconnect", "unreadable"];

/// Counts them again and again, until it is dropped.
pub(crate) async fn watch(engine: Arc<Engine>, accounts: Accounts) {
    let mut ticks = interval(COUNT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = BTreeMap::new();
    loop {
        ticks.tick().await;
        let now = engine.clock.now();
        for provider in accounts.providers() {
            report_secret(&engine, provider, now, &mut said);
        }
        if let Err(problem) = count(&engine, &accounts, now).await {
            warn!("Accounts cannot be counted now: {problem}");
        }
    }
}

/// The metric, and a line in the log once for each change for the worse.
fn report_secret(
    engine: &Engine,
    provider: &Provider,
    now: Timestamp,
    said: &mut BTreeMap<String, SecretExpiry>,
) {
    let name = provider.name.as_str();
    let ends = provider.registration.client_secret_expires.and_then(|last| {
        let next = last.tomorrow().ok()?;
        next.to_zoned(TimeZone::UTC).ok()
    });
    let ends = ends.map_or(0.0, |ends| ends.timestamp().as_duration().as_secs_f64());
    engine.meter.set(&names::CLIENT_SECRET_EXPIRES, &[name], ends);
    let expiry = secret_expiry(provider, now.to_zoned(TimeZone::UTC).date());
    if said.insert(name.to_owned(), expiry) == Some(expiry) {
        return;
    }
    let label = &provider.label;
    match expiry {
        SecretExpiry::Unknown | SecretExpiry::Far => {}
        SecretExpiry::Soon(days) => warn!(
            "The application's secret at {label} ends in {days} days: make a new one there, and put it where \
             provider.{name}.client_secret refers to"
        ),
        SecretExpiry::Expired => error!(
            "The application's secret at {label} has ended, by provider.{name}.client_secret_expires: make a new one \
             there; accounts stay connected"
        ),
    }
}

async fn count(engine: &Engine, accounts: &Accounts, now: Timestamp) -> Result<(), AccessError> {
    let providers: BTreeMap<&str, &Provider> =
        accounts.providers().map(|provider| (provider.name.as_str(), provider)).collect();
    let mut tally: BTreeMap<&str, ([u32; STATES.len()], u32)> =
        providers.keys().map(|name| (*name, Default::default())).collect();
    let mut after = None;
    loop {
        let page = accounts.list(after.as_ref(), PAGE).await?;
        for listed in &page {
            // An account of a provider that is configured no longer is in the list of `syncfleet accounts`.
            let Some(provider) = providers.get(listed.account.provider.as_str()) else { continue };
            let (states, end_soon) = tally.entry(provider.name.as_str()).or_default();
            let state = match listed.summary.as_ref().map(|summary| &summary.state) {
                Some(GrantState::Active) => 0,
                Some(GrantState::NeedsReconnect { .. }) => 1,
                None => 2,
            };
            states[state] += 1;
            let ends = listed.summary.as_ref().and_then(|summary| grant_ends_soon(provider, summary, now));
            *end_soon += u32::from(ends.is_some());
        }
        match page.last() {
            Some(last) if page.len() >= PAGE as usize => after = Some(last.account.clone()),
            _ => break,
        }
    }
    for (name, (states, end_soon)) in tally {
        for (state, count) in STATES.iter().zip(states) {
            engine.meter.set(&names::ACCOUNTS, &[name, state], f64::from(count));
        }
        engine.meter.set(&names::GRANTS_END_SOON, &[name], f64::from(end_soon));
    }
    Ok(())
}
