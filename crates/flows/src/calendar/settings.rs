//! The flow's settings.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use shared::retry::RetryPolicy;
use url::Url;
use vault::AccountId;

use super::cursor::Reach;
use super::further::Carried;
use super::plan::Policy;
use super::series::CrmSeries;
use super::sides::MeetingKind;

/// The settings of `calendar`. The default is the configuration's.
#[derive(Debug, Clone)]
pub struct CalendarSettings {
    /// Shards of its queue.
    pub shards: u16,
    /// When, and how often, a message is tried again.
    pub retry: RetryPolicy,
    /// Longest time of one run.
    pub run_time_max: Duration,
    /// Who wins where both sides changed a field to different values.
    pub policy: Policy,
    /// How far back and ahead.
    pub window: WindowSettings,
    /// What is different for some users, by CRM user id.
    pub users: BTreeMap<String, UserSettings>,
    /// Whether meetings of the CRM that are in no calendar go out; those that are linked do anyway.
    pub meetings: bool,
    /// The same of calls.
    pub calls: bool,
    /// Whether attendees may get mail from a write.
    pub send_mail: bool,
    /// What the CRM can hold of series.
    pub crm_series: CrmSeries,
    /// What is carried over beside what always is.
    pub carried: Carried,
    /// Share of a calendar's links that one round may delete, 0 to 1.
    pub mass_change_share_max: f64,
    /// Number of links up to which the share does not matter.
    pub mass_change_count_min: u32,
    /// Records that a sweep reads in one request, at most 200.
    pub sweep_page_records_max: u16,
    /// Who is told where a record's or a calendar's user cannot be.
    pub notify_user_id: Option<String>,
    /// Time without news after which a calendar counts as silent.
    pub nothing_arrived_after: Duration,
    /// Secrets of the webhooks, by webhook id.
    pub webhook_secrets: BTreeMap<String, SecretString>,
    /// Where vendors reach this installation; none asks for no notifications.
    pub public_url: Option<Url>,
}

/// How far back and ahead a calendar is synchronised, and in what portions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSettings {
    /// `sync_period`: days back.
    pub back_days: u16,
    /// `sync_end_period`: days ahead.
    pub ahead_days: u16,
    /// `max_portion_size`: events asked for in one page.
    pub page_events_max: u16,
}

/// What is different for a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSettings {
    /// Whether the user's calendars are synchronised.
    pub enabled: bool,
    /// The vendor's name or id of the calendar, by provider; the user's own one where none is named.
    pub calendars: BTreeMap<String, String>,
    /// How far.
    pub window: WindowSettings,
}

impl Default for CalendarSettings {
    fn default() -> Self {
        Self {
            shards: 16,
            retry: RetryPolicy::default(),
            run_time_max: Duration::from_secs(600),
            policy: Policy::default(),
            window: WindowSettings { back_days: 365, ahead_days: 90, page_events_max: 100 },
            users: BTreeMap::new(),
            meetings: true,
            calls: true,
            send_mail: false,
            crm_series: CrmSeries::default(),
            carried: Carried::default(),
            mass_change_share_max: 0.2,
            mass_change_count_min: 50,
            sweep_page_records_max: 200,
            notify_user_id: None,
            nothing_arrived_after: Duration::from_secs(24 * 3_600),
            webhook_secrets: BTreeMap::new(),
            public_url: None,
        }
    }
}

impl CalendarSettings {
    /// The window of a user's calendar.
    pub(super) fn reach(&self, user_id: &str) -> Reach {
        let WindowSettings { back_days, ahead_days, page_events_max } =
            self.users.get(user_id).map_or(self.window, |own| own.window);
        Reach { back_days, ahead_days, page_events_max: page_events_max.max(1) }
    }

    /// The calendar of an account, where it is not its user's own one.
    pub(super) fn calendar_of(&self, account: &AccountId) -> Option<&str> {
        let own = self.users.get(account.user()?.as_str())?;
        own.calendars.get(account.provider.as_str()).map(String::as_str)
    }

    /// Whether a user's calendars are synchronised.
    pub(super) fn serves(&self, user_id: &str) -> bool {
        self.users.get(user_id).is_none_or(|own| own.enabled)
    }

    /// Whether records of a kind go out that are in no calendar.
    pub(super) fn goes_out(&self, kind: MeetingKind) -> bool {
        match kind {
            MeetingKind::Meeting => self.meetings,
            MeetingKind::Call => self.calls,
        }
    }
}
