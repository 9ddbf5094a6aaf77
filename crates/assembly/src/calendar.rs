//! The flow `calendar` with its connectors, as configured.

use std::collections::BTreeMap;
use std::sync::Arc;

use configuration::{CalendarReach, Config, ConflictPolicy};
use connector_espocrm::EspoCrm;
use flows::calendar::client::CalendarProvider;
use flows::calendar::espocrm::EspoCalendar;
use flows::calendar::further::Carried;
use flows::calendar::google::GoogleCalendars;
use flows::calendar::outlook::Outlook;
use flows::calendar::plan::Policy;
use flows::calendar::{CalendarFlow, CalendarParts, CalendarSettings, UserSettings, WindowSettings};
use jiff::{Span, SpanRelativeTo, Unit};
use shared::clock::Clock;
use shared::flow::Flow;
use shared::meter::Meter;
use shared::ports::PortError;
use shared::ports::state::State;
use vault::{Accounts, Connecting, ProviderName, Secrets};

use crate::parties::{limits, wrong};

/// What the flow is made of beside its settings.
pub(crate) struct Beside {
    pub(crate) crm: EspoCrm,
    pub(crate) accounts: Accounts,
    pub(crate) connecting: Option<Connecting>,
    pub(crate) secrets: Secrets,
    pub(crate) state: Arc<dyn State>,
    pub(crate) meter: Arc<dyn Meter>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// The flow, where it is enabled.
pub(crate) fn build(config: &Config, beside: Beside) -> Result<Option<Arc<dyn Flow>>, PortError> {
    let Some(settings) = &config.flow.calendar else { return Ok(None) };
    let Beside { crm, accounts, connecting, secrets, state, meter, clock } = beside;
    let no_address = || wrong("accounts.public_url: flow.calendar needs it, to let users connect accounts");
    let connecting = connecting.ok_or_else(no_address)?;
    let crm = EspoCalendar::new(crm, settings.time_zone.clone(), carried(settings)).map_err(wrong)?;
    let mut providers: BTreeMap<ProviderName, Arc<dyn CalendarProvider>> = BTreeMap::new();
    let fleet = Some(state.clone());
    if let Some(microsoft) = &config.provider.microsoft {
        let (url, limits) = (microsoft.api_url.clone(), limits(&microsoft.limits));
        let graph = connector_msgraph::Settings { url, limits, fleet: fleet.clone() };
        let outlook = Outlook::new(graph, meter.clone(), clock.clone());
        providers.insert(ProviderName::new("microsoft").map_err(wrong)?, Arc::new(outlook));
    }
    if let Some(google) = &config.provider.google {
        let (url, limits) = (google.api_url.clone(), limits(&google.limits));
        let calendar = connector_google::Settings { url, limits, fleet };
        let google = GoogleCalendars::new(calendar, settings.send_mail, meter.clone(), clock);
        providers.insert(ProviderName::new("google").map_err(wrong)?, Arc::new(google));
    }
    let public_url = config.accounts.as_ref().map(|accounts| accounts.public_url.clone());
    let settings = CalendarSettings { public_url, ..settings_of(settings)? };
    let crm = Arc::new(crm);
    let parts = CalendarParts { settings, crm, providers, accounts, connecting, secrets, state, meter };
    let flow =
        CalendarFlow::new(parts).map_err(|why| wrong(format!("flow.calendar.webhook_secrets: {why}")))?;
    Ok(Some(Arc::new(flow)))
}

/// What is carried over beside what always is.
pub(crate) fn carried(settings: &configuration::Calendar) -> Carried {
    Carried::of(settings.fields.iter().copied())
}

fn settings_of(settings: &configuration::Calendar) -> Result<CalendarSettings, PortError> {
    let users = settings.users.iter().map(|(id, user)| {
        let calendars = user.calendars.iter().map(|(provider, name)| ((*provider).to_owned(), name.clone()));
        let own = UserSettings {
            enabled: user.enabled,
            calendars: calendars.collect(),
            window: window(&user.reach)?,
        };
        Ok((id.clone(), own))
    });
    Ok(CalendarSettings {
        shards: settings.shards,
        retry: settings.retry.clone(),
        run_time_max: settings.run_time_max,
        policy: match settings.conflict_policy {
            ConflictPolicy::CrmWins => Policy::CrmWins,
            ConflictPolicy::RemoteWins => Policy::CalendarWins,
            ConflictPolicy::NewestWins => Policy::NewestWins,
            ConflictPolicy::Ask => Policy::Ask,
        },
        window: window(&settings.reach)?,
        users: users.collect::<Result<_, PortError>>()?,
        meetings: settings.meetings,
        calls: settings.calls,
        send_mail: settings.send_mail,
        carried: carried(settings),
        mass_change_share_max: settings.mass_change_share_max,
        mass_change_count_min: settings.mass_change_count_min,
        notify_user_id: settings.notify_user_id.clone(),
        nothing_arrived_after: settings.nothing_arrived_after,
        webhook_secrets: settings.webhook_secrets.clone(),
        ..CalendarSettings::default()
    })
}

fn window(reach: &CalendarReach) -> Result<WindowSettings, PortError> {
    Ok(WindowSettings {
        back_days: days(&reach.sync_period)?,
        ahead_days: days(&reach.sync_end_period)?,
        page_events_max: u16::try_from(reach.max_portion_size).unwrap_or(u16::MAX),
    })
}

/// Whole days, counted from the beginning of a year.
fn days(span: &Span) -> Result<u16, PortError> {
    let from = jiff::civil::date(2026, 1, 1);
    let days = span.total((Unit::Day, SpanRelativeTo::from(from))).map_err(wrong)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 3660")]
    let days = days.ceil().clamp(1.0, f64::from(u16::MAX)) as u16;
    Ok(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_counted_in_days() {
        for (text, expected) in [("1 year", 365), ("90 days", 90), ("3 months", 90), ("1 week", 7)] {
            assert_eq!(days(&text.parse().unwrap()), Ok(expected), "{text}");
        }
    }
}
