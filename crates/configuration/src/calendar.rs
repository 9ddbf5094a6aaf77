//! The settings of the flow `calendar`.

use std::collections::BTreeMap;
use std::time::Duration;

use croner::Cron;
use jiff::civil::date;
use jiff::tz::TimeZone;
use jiff::{Span, Unit};
use secrecy::SecretString;
use shared::retry::RetryPolicy;
use shared::routing::SHARDS_MAX;

use crate::accounts::Providers;
use crate::flows::{CONFLICT_POLICIES, ConflictPolicy, retry};
use crate::reader::{Reader, Section};
use crate::secret::Need;

/// Longest period, in days.
const PERIOD_DAYS_MAX: f64 = 3_660.0;
const PERIOD: &str = "a span of 1 to 3660 days, such as \"1 year\", \"3 months\" or \"90 days\"";

/// What can be carried over beside what always is.
pub const CALENDAR_FIELDS: [&str; 3] = ["categories", "importance", "web_link"];
const FIELDS: &str =
    "some of \"categories\", \"importance\" and \"web_link\", with blanks between them, or \"\"";

/// `[flow.calendar]`
#[derive(Debug, Clone)]
pub struct Calendar {
    /// Shards of the flow's queue.
    pub shards: u16,
    /// When all calendars are looked at.
    pub sweep_cron: Cron,
    /// The time zone of the cron line.
    pub sweep_time_zone: TimeZone,
    /// When to try again, and how often.
    pub retry: RetryPolicy,
    /// Longest time of one run.
    pub run_time_max: Duration,
    /// What holds for each user who has no other settings.
    pub reach: CalendarReach,
    /// Whether meetings of the CRM go out.
    pub meetings: bool,
    /// Whether calls of the CRM go out.
    pub calls: bool,
    /// The time zone of records that name none.
    pub time_zone: TimeZone,
    /// What is carried over beside what always is: some of [`CALENDAR_FIELDS`].
    pub fields: Vec<&'static str>,
    /// Whether writes may send mail to attendees.
    pub send_mail: bool,
    /// Who wins where both sides changed a field.
    pub conflict_policy: ConflictPolicy,
    /// Share of the links that may be deleted within an hour of one calendar, or by one sweep.
    pub mass_change_share_max: f64,
    /// Number of links up to which the share does not matter.
    pub mass_change_count_min: u32,
    /// The user who is told where a record's own cannot be.
    pub notify_user_id: Option<String>,
    /// After how long silence is reported.
    pub nothing_arrived_after: Duration,
    /// Secrets of EspoCRM's webhooks, by webhook id.
    pub webhook_secrets: BTreeMap<String, SecretString>,
    /// What is otherwise for some users, by user id.
    pub users: BTreeMap<String, CalendarUser>,
}

impl Calendar {
    /// What holds for a user.
    pub fn reach_of(&self, user: &str) -> CalendarReach {
        self.users.get(user).map_or(self.reach, |user| user.reach)
    }
}

/// How much of a calendar is carried over.
#[derive(Debug, Clone, Copy)]
pub struct CalendarReach {
    /// How far back.
    pub sync_period: Span,
    /// How far ahead.
    pub sync_end_period: Span,
    /// Events in one page.
    pub max_portion_size: u32,
}

/// `[flow.calendar.user.…]`, with what is the same as for all.
#[derive(Debug, Clone)]
pub struct CalendarUser {
    /// Whether the user's calendars are synchronised.
    pub enabled: bool,
    /// Name or id of the calendar, by provider; the default one where none is there.
    pub calendars: BTreeMap<&'static str, String>,
    /// How much of them.
    pub reach: CalendarReach,
}

/// Whether the flow is enabled; known before the rest, because connectors depend on it.
pub(crate) fn enabled(reader: &mut Reader<'_>) -> bool {
    reader.section("flow.calendar").flag("enabled")
}

pub(crate) fn calendar(reader: &mut Reader<'_>, enabled: bool, providers: &Providers) -> Option<Calendar> {
    let mut section = reader.section("flow.calendar");
    if enabled && providers.microsoft.is_none() && providers.google.is_none() {
        section
            .contradiction("enabled", "false, or provider.microsoft or provider.google with its client_id");
    }
    let shards = section.integer("shards", 1..=i64::from(SHARDS_MAX));
    let sweep_cron = section.parsed("sweep_cron", "a cron line, such as \"*/15 * * * *\"", str::parse);
    let sweep_time_zone =
        section.parsed("sweep_time_zone", "a time zone, such as \"Europe/Berlin\"", TimeZone::get);
    let retry = retry(&mut section);
    let run_time_max = section.seconds("run_seconds_max", 1..=1_500);
    let sync_period = section.parsed("sync_period", PERIOD, period);
    let sync_end_period = section.parsed("sync_end_period", PERIOD, period);
    let max_portion_size = section.integer("max_portion_size", 1..=1_000);
    let (meetings, calls) = (section.flag("meetings"), section.flag("calls"));
    let time_zone = section.parsed("time_zone", "a time zone, such as \"Europe/Berlin\"", TimeZone::get);
    let fields = section.parsed("fields", FIELDS, fields).unwrap_or_default();
    let send_mail = section.flag("send_mail");
    let conflict_policy = section.word("conflict_policy", &CONFLICT_POLICIES);
    let mass_change_share_max = section.number("mass_change_share_max", 0.0..=1.0);
    let mass_change_count_min = section.integer("mass_change_count_min", 0..=1_000_000);
    let notify_user_id = Some(section.text("notify_user_id")).filter(|id| !id.is_empty());
    let nothing_arrived_after = section.seconds("nothing_arrived_after_seconds", 60..=2_592_000);
    let need = if enabled { Need::Optional } else { Need::Unused };
    let webhook_secrets = section.secrets("webhook_secrets", need);
    let reach = CalendarReach {
        sync_period: sync_period.unwrap_or_default(),
        sync_end_period: sync_end_period.unwrap_or_default(),
        max_portion_size,
    };
    let users = users(reader, reach);
    let times = (sweep_cron, sweep_time_zone, time_zone);
    let (true, (Some(sweep_cron), Some(sweep_time_zone), Some(time_zone))) = (enabled, times) else {
        return None;
    };
    Some(Calendar {
        shards,
        sweep_cron,
        sweep_time_zone,
        retry,
        run_time_max,
        reach,
        meetings,
        calls,
        time_zone,
        fields,
        send_mail,
        conflict_policy,
        mass_change_share_max,
        mass_change_count_min,
        notify_user_id,
        nothing_arrived_after,
        webhook_secrets,
        users,
    })
}

/// Words with blanks between them.
fn fields(text: &str) -> Result<Vec<&'static str>, String> {
    let known = |word: &str| CALENDAR_FIELDS.into_iter().find(|own| *own == word);
    text.split_whitespace().map(|word| known(word).ok_or(format!("{word:?} is none of them"))).collect()
}

fn users(reader: &mut Reader<'_>, reach: CalendarReach) -> BTreeMap<String, CalendarUser> {
    // The pattern is read as well, so that its own keys are held against the reference.
    user(&mut reader.section("flow.calendar.user.*"), reach);
    let ids = reader.layers.items("flow.calendar.user");
    let read = |id: String| {
        let user = user(&mut reader.section(format!("flow.calendar.user.{id}")), reach);
        (id, user)
    };
    ids.into_iter().map(read).collect()
}

fn user(section: &mut Section<'_, '_>, reach: CalendarReach) -> CalendarUser {
    let enabled = section.flag("enabled");
    let microsoft = section.text("microsoft_calendar");
    let google = section.text("google_calendar");
    let calendars = [("microsoft", microsoft), ("google", google)].into_iter();
    let or_same = |text: &str| if text.is_empty() { Ok(None) } else { period(text).map(Some) };
    let sync_period = section.parsed("sync_period", PERIOD, or_same).flatten();
    let sync_end_period = section.parsed("sync_end_period", PERIOD, or_same).flatten();
    let max_portion_size: u32 = section.integer("max_portion_size", 0..=1_000);
    CalendarUser {
        enabled,
        calendars: calendars.filter(|(_, calendar)| !calendar.is_empty()).collect(),
        reach: CalendarReach {
            sync_period: sync_period.unwrap_or(reach.sync_period),
            sync_end_period: sync_end_period.unwrap_or(reach.sync_end_period),
            max_portion_size: if max_portion_size == 0 { reach.max_portion_size } else { max_portion_size },
        },
    }
}

/// A span of days, by a year with 365 of them.
fn period(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    let days = span.total((Unit::Day, date(2025, 1, 1))).map_err(|error| error.to_string())?;
    if (1.0..=PERIOD_DAYS_MAX).contains(&days) { Ok(span) } else { Err(format!("it has {days:.0} days")) }
}
