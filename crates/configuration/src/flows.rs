//! The settings of the flows. A flow's settings are there exactly when it is enabled.

use std::collections::BTreeMap;
use std::time::Duration;

use croner::Cron;
use jiff::tz::TimeZone;
use secrecy::SecretString;
use shared::retry::RetryPolicy;
use shared::routing::SHARDS_MAX;

use crate::calendar::Calendar;
use crate::directory::Directory;
use crate::reader::{Reader, Section};
use crate::secret::Need;

/// `[flow.…]`
#[derive(Debug, Clone)]
pub struct Flows {
    /// `parties`, where it is enabled.
    pub parties: Option<Parties>,
    /// `calendar`, where it is enabled.
    pub calendar: Option<Calendar>,
    /// `directory`, where it is enabled.
    pub directory: Option<Directory>,
}

impl Flows {
    /// When a flow is swept: its cron line and time zone. `None` for a flow that is not enabled, and for one that passes
    /// callbacks on.
    pub fn sweep_of(&self, flow: &str) -> Option<(&Cron, &TimeZone)> {
        match flow {
            "parties" => self.parties.as_ref().map(|parties| (&parties.sweep_cron, &parties.sweep_time_zone)),
            "calendar" => self.calendar.as_ref().map(|it| (&it.sweep_cron, &it.sweep_time_zone)),
            "directory" => self.directory.as_ref().map(|it| (&it.sweep_cron, &it.sweep_time_zone)),
            _ => None,
        }
    }
}

/// `[flow.parties]`
#[derive(Debug, Clone)]
pub struct Parties {
    /// Entity type in EspoCRM.
    pub entity_type: String,
    /// Shards of its queue.
    pub shards: u16,
    /// When to sweep.
    pub sweep_cron: Cron,
    /// The cron line's time zone.
    pub sweep_time_zone: TimeZone,
    /// Records read by a sweep in one request.
    pub sweep_page_records_max: u32,
    /// When, and how often, a message is tried again.
    pub retry: RetryPolicy,
    /// Longest time of one run.
    pub run_time_max: Duration,
    /// Share of the records that a sweep may overwrite or tombstone.
    pub mass_change_share_max: f64,
    /// Number of records up to which the share does not matter.
    pub mass_change_count_min: u32,
    /// Who wins where both sides changed a field.
    pub conflict_policy: ConflictPolicy,
    /// The user who is told where a record has no assigned user.
    pub notify_user_id: Option<String>,
    /// Requests an hour that looking again at unchanged records may cause.
    pub calls_per_hour_max: u32,
    /// Time until a run writes the status `syncing`.
    pub syncing_status_after: Duration,
    /// Time until a record that changes often is looked at again.
    pub look_again_min: Duration,
    /// Time until a record that does not change is looked at again.
    pub look_again_max: Duration,
    /// EspoCRM's salutations and Advoware's.
    pub salutations: BTreeMap<String, String>,
    /// Phone numbers and mail addresses, where they are synchronised.
    pub communications: Option<Communications>,
    /// Secrets of the webhooks, by webhook id.
    pub webhook_secrets: BTreeMap<String, SecretString>,
}

/// `[flow.parties.communications]`
#[derive(Debug, Clone)]
pub struct Communications {
    /// Country whose way of dialling is meant by numbers without a country code.
    pub country: String,
    /// Kind of a phone number where nothing tells the kind.
    pub phone_kind_default: u8,
    /// Kind of a mail address where nothing tells the kind.
    pub mail_kind_default: u8,
    /// Advoware's kinds and EspoCRM's types.
    pub kinds: BTreeMap<String, String>,
    /// EspoCRM's types and Advoware's kinds.
    pub types: BTreeMap<String, String>,
    /// Fields of a party that show the value of a kind.
    pub mirrors: BTreeMap<String, String>,
}

/// Who wins where both sides changed a field to different values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictPolicy {
    /// EspoCRM.
    CrmWins,
    /// The other system.
    RemoteWins,
    /// The later change, where both times are known.
    NewestWins,
    /// Nobody: a person decides.
    Ask,
}

/// Their words.
pub(crate) const CONFLICT_POLICIES: [(&str, ConflictPolicy); 4] = [
    ("crm_wins", ConflictPolicy::CrmWins),
    ("remote_wins", ConflictPolicy::RemoteWins),
    ("newest_wins", ConflictPolicy::NewestWins),
    ("ask", ConflictPolicy::Ask),
];

/// Whether the flow is enabled; known before the rest, because connectors depend on it.
pub(crate) fn parties_enabled(reader: &mut Reader<'_>) -> bool {
    reader.section("flow.parties").flag("enabled")
}

pub(crate) fn parties(reader: &mut Reader<'_>, enabled: bool) -> Option<Parties> {
    let mut section = reader.section("flow.parties");
    let entity_type =
        section.text_where("entity_type", "the name of an entity type, letters and digits", |text| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
    let shards = section.integer("shards", 1..=i64::from(SHARDS_MAX));
    let sweep_cron = section.parsed("sweep_cron", "a cron line, such as \"*/15 * * * *\"", str::parse);
    let sweep_time_zone =
        section.parsed("sweep_time_zone", "a time zone, such as \"Europe/Berlin\"", TimeZone::get);
    let sweep_page_records_max = section.integer("sweep_page_records_max", 1..=200);
    let retry = retry(&mut section);
    let run_time_max = section.seconds("run_seconds_max", 1..=1_500);
    let mass_change_share_max = section.number("mass_change_share_max", 0.0..=1.0);
    let mass_change_count_min = section.integer("mass_change_count_min", 0..=1_000_000);
    let conflict_policy = section.word("conflict_policy", &CONFLICT_POLICIES);
    let notify_user_id = Some(section.text("notify_user_id")).filter(|id| !id.is_empty());
    let calls_per_hour_max = section.integer("calls_per_hour_max", 1..=1_000_000);
    let syncing_status_after = section.fractional_seconds("syncing_status_after_seconds", 0.0..=3_600.0);
    let (look_again_min, look_again_max) = look_again(&mut section);
    let salutations = section.texts("salutations");
    let need = if enabled { Need::Optional } else { Need::Unused };
    let webhook_secrets = section.secrets("webhook_secrets", need);
    let communications = communications(reader);
    let (true, Some(sweep_cron), Some(sweep_time_zone)) = (enabled, sweep_cron, sweep_time_zone) else {
        return None;
    };
    Some(Parties {
        entity_type,
        shards,
        sweep_cron,
        sweep_time_zone,
        sweep_page_records_max,
        retry,
        run_time_max,
        mass_change_share_max,
        mass_change_count_min,
        conflict_policy,
        notify_user_id,
        calls_per_hour_max,
        syncing_status_after,
        look_again_min,
        look_again_max,
        salutations,
        communications,
        webhook_secrets,
    })
}

fn communications(reader: &mut Reader<'_>) -> Option<Communications> {
    let mut section = reader.section("flow.parties.communications");
    let enabled = section.flag("enabled");
    let communications = Communications {
        country: country(&mut section),
        phone_kind_default: section.integer("phone_kind_default", 1..=12),
        mail_kind_default: section.integer("mail_kind_default", 1..=12),
        kinds: section.texts("kinds"),
        types: section.texts("types"),
        mirrors: section.texts("mirrors"),
    };
    enabled.then_some(communications)
}

pub(crate) fn country(section: &mut Section<'_, '_>) -> String {
    let expected = "two capital letters, as in ISO 3166, such as \"DE\"";
    let is_country = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    section.text_where("country", expected, is_country)
}

pub(crate) fn retry(section: &mut Section<'_, '_>) -> RetryPolicy {
    let policy = RetryPolicy {
        attempts_max: section.integer("attempts_max", 1..=100),
        delay_initial: section.fractional_seconds("retry_delay_initial_seconds", 0.01..=86_400.0),
        delay_factor: section.number("retry_delay_factor", 1.0..=100.0),
        delay_max: section.fractional_seconds("retry_delay_max_seconds", 0.01..=604_800.0),
        jitter_share: section.number("retry_jitter_share", 0.0..=1.0),
        age_max: section.seconds("age_seconds_max", 60..=2_592_000),
    };
    if policy.delay_max < policy.delay_initial {
        section.contradiction("retry_delay_max_seconds", "at least retry_delay_initial_seconds");
    }
    policy
}

fn look_again(section: &mut Section<'_, '_>) -> (Duration, Duration) {
    let min = section.number("look_again_hours_min", 0.001..=720.0);
    let max = section.number("look_again_hours_max", 0.001..=720.0);
    if max < min {
        section.contradiction("look_again_hours_max", "at least look_again_hours_min");
    }
    let hours = |hours: f64| Duration::try_from_secs_f64(hours * 3_600.0).unwrap_or_default();
    (hours(min), hours(max))
}
