//! The settings of the flow `directory`, and of those that its callbacks are passed on to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use croner::Cron;
use jiff::tz::TimeZone;
use shared::record_key::FlowName;
use shared::retry::RetryPolicy;
use shared::routing::SHARDS_MAX;
use url::Url;

use crate::connectors::{RequestLimits, limits};
use crate::flows::{country, retry};
use crate::reader::{Reader, Section};
use crate::scim::YES_OR_NO;
use crate::secret::Need;

/// Where the receivers' tables are.
const RELAY: &str = "flow.directory.relay";
/// Longest name of a team in EspoCRM, in characters.
const TEAM_CHARS_MAX: usize = 100;
/// Longest name of a group elsewhere, where nothing else is said.
const GROUP_CHARS_MAX: usize = 200;

/// `[flow.directory]`
#[derive(Debug, Clone)]
pub struct Directory {
    /// Where groups and users are kept.
    pub target: DirectoryTarget,
    /// How the tree is shown there.
    pub hierarchy: Hierarchy,
    /// What groups are called.
    pub group_names: DepartmentText,
    /// Where the hierarchy is left to the target: what groups are called if it takes no groups in groups, and they are flat.
    pub flat_group_names: Option<DepartmentText>,
    /// Longest name of a group, in characters.
    pub group_name_chars_max: usize,
    /// Whether members that have no user get one.
    pub create_users: bool,
    /// What becomes of the user of a member that is gone.
    pub leavers: Leavers,
    /// What users log in with.
    pub login: Login,
    /// Whether a member who has never logged in to WeCom is active.
    pub not_activated_is_active: bool,
    /// What is written as a user's department; none leaves it alone.
    pub user_department: Option<DepartmentText>,
    /// Whether the main department's path is written as a user's division.
    pub user_division: bool,
    /// The extended attribute that is the employee's number.
    pub employee_number_attribute: Option<String>,
    /// Family names of two characters, beside those that are known.
    pub double_surnames: BTreeSet<String>,
    /// Country of phone numbers without country code.
    pub country: String,
    /// Shards of its queue.
    pub shards: u16,
    /// When everything is compared.
    pub sweep_cron: Cron,
    /// The cron line's time zone.
    pub sweep_time_zone: TimeZone,
    /// When, and how often, a message is tried again.
    pub retry: RetryPolicy,
    /// Longest time of one run.
    pub run_time_max: Duration,
    /// Share of the target's records that one sweep may end.
    pub mass_change_share_max: f64,
    /// Number of ends up to which the share does not matter.
    pub mass_change_count_min: u32,
    /// Members that the first sync handles at once.
    pub first_sync_concurrency_max: usize,
    /// Time after which a department that may not be seen is asked for again.
    pub invisible_again: Duration,
    /// Age from which a second user of a renamed member is the one in use.
    pub settled_after: Duration,
    /// Who is handed each verified callback, by name.
    pub relays: BTreeMap<String, Relay>,
}

/// `[flow.directory.relay.…]`
#[derive(Debug, Clone)]
pub struct Relay {
    /// The name of its flow.
    pub flow: FlowName,
    /// Where callbacks are passed on to.
    pub url: Url,
    /// Shards of its queue.
    pub shards: u16,
    /// When, and how often, a callback is tried again.
    pub retry: RetryPolicy,
    /// Longest time of one run.
    pub run_time_max: Duration,
    /// What bounds its requests.
    pub limits: RequestLimits,
}

/// Where groups and users are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectoryTarget {
    /// In a SCIM service.
    Scim,
    /// In EspoCRM.
    EspoCrm,
}

/// How the tree is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hierarchy {
    /// A group has the groups below as members.
    Nested,
    /// A group has its own members only.
    Flat,
    /// A group also has all members below.
    Rollup,
}

/// What stands for a department.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DepartmentText {
    /// Its name.
    Name,
    /// Its name after those above it.
    Path,
}

/// What becomes of the user of a member that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leavers {
    /// It may not be used any more, and stays.
    Deactivate,
    /// It is deleted.
    Delete,
}

/// What users log in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// The userid.
    Userid,
    /// The mail address, where it is known.
    Mail,
    /// The mobile number, where it is known.
    Mobile,
}

/// What is known of the flow before the rest, because connectors depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Enabled {
    /// Its target, where it is enabled.
    pub(crate) target: Option<DirectoryTarget>,
    /// Whether callbacks are passed on.
    pub(crate) is_relayed: bool,
}

impl Enabled {
    pub(crate) fn has(self, target: DirectoryTarget) -> bool {
        self.target == Some(target)
    }
}

fn target(section: &mut Section<'_, '_>) -> DirectoryTarget {
    section.word("target", &[("scim", DirectoryTarget::Scim), ("espocrm", DirectoryTarget::EspoCrm)])
}

pub(crate) fn enabled(reader: &mut Reader<'_>) -> Enabled {
    let is_relayed = !reader.layers.items(RELAY).is_empty();
    let (text, is_enabled) = {
        let text = reader.layers.text("flow.directory.target").map(str::to_owned);
        (text, reader.section("flow.directory").flag("enabled"))
    };
    // What is no target is told of where the flow is read.
    let target = match text.as_deref() {
        Some("scim") => Some(DirectoryTarget::Scim),
        Some("espocrm") => Some(DirectoryTarget::EspoCrm),
        _ => None,
    };
    Enabled { target: target.filter(|_| is_enabled), is_relayed }
}

pub(crate) fn directory(reader: &mut Reader<'_>, enabled: Enabled) -> Option<Directory> {
    let is_enabled = enabled.target.is_some();
    let relays = relays(reader, is_enabled);
    let mut section = reader.section("flow.directory");
    let target = target(&mut section);
    let shape = shape(&mut section, target, is_enabled);
    let create_users = section.word("create_users", &YES_OR_NO);
    let leavers =
        section.word("leavers", &[("deactivate", Leavers::Deactivate), ("delete", Leavers::Delete)]);
    let login =
        section.word("login", &[("userid", Login::Userid), ("mail", Login::Mail), ("mobile", Login::Mobile)]);
    let not_activated_is_active = section.flag("not_activated_is_active");
    let user_department = section.word("user_department", &DEPARTMENT_OR_NOT);
    let user_division = section.flag("user_division");
    let employee_number_attribute = section.text("employee_number_attribute").trim().to_owned();
    let expected = "names of two characters, separated by blanks, or \"\"";
    let is_double = |name: &str| name.chars().count() == 2;
    let double_surnames =
        section.text_where("double_surnames", expected, |text| text.split_whitespace().all(is_double));
    let country = country(&mut section);
    let shards = section.integer("shards", 1..=i64::from(SHARDS_MAX));
    let sweep_cron = section.parsed("sweep_cron", "a cron line, such as \"0 3 * * *\"", str::parse);
    let sweep_time_zone =
        section.parsed("sweep_time_zone", "a time zone, such as \"Europe/Berlin\"", TimeZone::get);
    let retry = retry(&mut section);
    let run_time_max = section.seconds("run_seconds_max", 1..=1_500);
    let mass_change_share_max = section.number("mass_change_share_max", 0.0..=1.0);
    let mass_change_count_min = section.integer("mass_change_count_min", 0..=1_000_000);
    let first_sync_concurrency_max = section.integer("first_sync_concurrency_max", 1..=256);
    let invisible_again = hours(&mut section, "invisible_again_hours", 0.01..=8_760.0);
    let settled_after = hours(&mut section, "settled_after_hours", 0.0..=8_760.0);
    let (true, Some(sweep_cron), Some(sweep_time_zone)) = (is_enabled, sweep_cron, sweep_time_zone) else {
        return None;
    };
    Some(Directory {
        target,
        hierarchy: shape.hierarchy,
        group_names: shape.group_names,
        flat_group_names: shape.flat_group_names,
        group_name_chars_max: shape.name_chars_max,
        create_users: create_users.unwrap_or(target == DirectoryTarget::Scim),
        leavers,
        login,
        not_activated_is_active,
        user_department: user_department.filter(|_| target == DirectoryTarget::Scim),
        user_division: user_division && target == DirectoryTarget::Scim,
        employee_number_attribute: Some(employee_number_attribute).filter(|name| !name.is_empty()),
        double_surnames: double_surnames.split_whitespace().map(str::to_owned).collect(),
        country,
        shards,
        sweep_cron,
        sweep_time_zone,
        retry,
        run_time_max,
        mass_change_share_max,
        mass_change_count_min,
        first_sync_concurrency_max,
        invisible_again,
        settled_after,
        relays,
    })
}

const DEPARTMENT_OR_NOT: [(&str, Option<DepartmentText>); 3] =
    [("name", Some(DepartmentText::Name)), ("path", Some(DepartmentText::Path)), ("none", None)];

/// How groups look in the target.
struct Shape {
    hierarchy: Hierarchy,
    group_names: DepartmentText,
    flat_group_names: Option<DepartmentText>,
    name_chars_max: usize,
}

fn shape(section: &mut Section<'_, '_>, target: DirectoryTarget, is_enabled: bool) -> Shape {
    let hierarchies = [
        ("auto", None),
        ("nested", Some(Hierarchy::Nested)),
        ("flat", Some(Hierarchy::Flat)),
        ("rollup", Some(Hierarchy::Rollup)),
    ];
    let hierarchy = section.word("hierarchy", &hierarchies);
    let names = [("auto", None), ("name", Some(DepartmentText::Name)), ("path", Some(DepartmentText::Path))];
    let group_names = section.word("group_names", &names);
    let name_chars_max: usize = section.integer("group_name_chars_max", 0..=1_000);
    let has_teams = target == DirectoryTarget::EspoCrm;
    if has_teams && is_enabled {
        if hierarchy == Some(Hierarchy::Nested) {
            let expected = "\"flat\" or \"rollup\", since EspoCRM has no teams within teams";
            section.contradiction("hierarchy", expected);
        }
        if group_names == Some(DepartmentText::Name) {
            let expected =
                "\"path\", since names of departments repeat and EspoCRM has no teams within teams";
            section.contradiction("group_names", expected);
        }
        if name_chars_max > TEAM_CHARS_MAX {
            let expected = "at most 100, since EspoCRM's teams have no longer names";
            section.contradiction("group_name_chars_max", expected);
        }
    }
    let is_left_to_it = hierarchy.is_none() && !has_teams;
    let hierarchy = hierarchy.unwrap_or(if has_teams { Hierarchy::Flat } else { Hierarchy::Nested });
    // Names of departments repeat: only groups within groups can do without what is above them.
    let is_nested = hierarchy == Hierarchy::Nested;
    let by_hierarchy = if is_nested { DepartmentText::Name } else { DepartmentText::Path };
    Shape {
        hierarchy,
        group_names: group_names.unwrap_or(by_hierarchy),
        flat_group_names: is_left_to_it.then(|| group_names.unwrap_or(DepartmentText::Path)),
        name_chars_max: match name_chars_max {
            0 if has_teams => TEAM_CHARS_MAX,
            0 => GROUP_CHARS_MAX,
            chars => chars,
        },
    }
}

fn hours(section: &mut Section<'_, '_>, name: &str, range: std::ops::RangeInclusive<f64>) -> Duration {
    Duration::try_from_secs_f64(section.number(name, range) * 3_600.0).unwrap_or_default()
}

fn relays(reader: &mut Reader<'_>, is_enabled: bool) -> BTreeMap<String, Relay> {
    // The pattern is read as well, so that its own keys are held against the reference.
    let pattern = relay(reader, "*", Need::Unused);
    debug_assert!(pattern.is_none());
    let need = Need::required_if(is_enabled, "because callbacks are passed on to it");
    let names = reader.layers.items(RELAY);
    names.into_iter().filter_map(|name| Some((name.clone(), relay(reader, &name, need)?))).collect()
}

fn relay(reader: &mut Reader<'_>, name: &str, need: Need) -> Option<Relay> {
    let section = format!("{RELAY}.{name}");
    let flow = FlowName::new(format!("relay_{name}"));
    if flow.is_err() && name != "*" {
        reader.misnamed(&section, "a name of at most 34 of a-z, 0-9 and _, since it is part of its flow's");
    }
    let mut section = reader.section(section);
    let url = section.url("url", &["https", "http"], need);
    let shards = section.integer("shards", 1..=i64::from(SHARDS_MAX));
    let retry = retry(&mut section);
    let run_time_max = section.seconds("run_seconds_max", 1..=1_500);
    let limits = limits(&mut section);
    Some(Relay { flow: flow.ok()?, url: url?, shards, retry, run_time_max, limits })
}

#[cfg(test)]
mod tests;
