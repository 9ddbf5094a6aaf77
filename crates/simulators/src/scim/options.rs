//! What the simulated SCIM service is like, and how a test changes that while it runs.

use serde_json::Value;

use super::schema::Kind;
use crate::host::Hosting;
use crate::upstream::Record;

/// What becomes of a group that is put into a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ScimNesting {
    /// It is in it.
    #[default]
    Works,
    /// 400.
    Refused,
    /// Answered as done, and left out.
    Dropped,
}

/// Whom a group takes as a member, by what the schema of groups says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ScimMemberTypes {
    /// Users and groups.
    #[default]
    All,
    /// Users.
    Users,
    /// It does not say.
    Untold,
}

/// What the service says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ScimDiscovery {
    /// What is so.
    #[default]
    Honest,
    /// Nothing: 404.
    Missing,
    /// That it can do everything.
    Boasting,
}

/// Settings of the simulated SCIM service; it can do everything unless they say otherwise.
/// [`crate::Simulator::configure`] takes all but where it listens, by their names.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "what a service lacks is in any combination")]
pub struct ScimOptions {
    /// Where it listens.
    pub hosting: Hosting,
    /// The bearer token.
    pub token: String,
    /// `honest`, `missing`, `boasting`.
    pub discovery: ScimDiscovery,
    /// Whether there is PATCH; else 501.
    pub patch: bool,
    /// Operations of a bulk request at most; no bulk (501) where null.
    pub bulk_operations_max: Option<usize>,
    /// Bytes of a bulk request at most.
    pub bulk_bytes_max: usize,
    /// Whether there are filters; else 501.
    pub filter: bool,
    /// Whether lists can be sorted; else 400.
    pub sort: bool,
    /// Whether there are versions.
    pub etag: bool,
    /// Resources in a page at most.
    pub page_max: usize,
    /// Changes of members in a PATCH at most; 400 `tooMany` beyond. Null is no limit.
    pub members_max: Option<usize>,
    /// Whether there are groups; else 404.
    pub groups: bool,
    /// `works`, `refused`, `dropped`.
    pub nesting: ScimNesting,
    /// `all`, `users`, `untold`: what the schema says, whatever `nesting` does.
    pub member_types: ScimMemberTypes,
    /// Whether users have the enterprise extension; else 400.
    pub enterprise: bool,
    /// Whether two resources cannot have the same `externalId`.
    pub unique_external_ids: bool,
    /// Whether two groups cannot have the same `displayName`.
    pub unique_group_names: bool,
    /// Whether a removal by a filter that matches nothing is refused: 400 `noTarget`.
    pub strict_removal: bool,
    /// Whether it spells what it is given in its own way: addresses in lower case, numbers without blanks, texts trimmed,
    /// lists in another order.
    pub normalises: bool,
    /// Whether errors have no body.
    pub bare_errors: bool,
    /// Whether only `application/json` is taken; 415 else.
    pub plain_json_only: bool,
    /// Requests in a second at most; 429 beyond. Null is no limit.
    pub requests_per_second: Option<usize>,
    /// `Retry-After` of a 429, in seconds.
    pub retry_after: u64,
}

impl Default for ScimOptions {
    fn default() -> Self {
        Self {
            hosting: Hosting::default(),
            token: super::TOKEN.to_owned(),
            discovery: ScimDiscovery::Honest,
            patch: true,
            bulk_operations_max: Some(1_000),
            bulk_bytes_max: 1024 * 1024,
            filter: true,
            sort: true,
            etag: true,
            page_max: 1_000,
            members_max: None,
            groups: true,
            nesting: ScimNesting::Works,
            member_types: ScimMemberTypes::All,
            enterprise: true,
            unique_external_ids: false,
            unique_group_names: false,
            strict_removal: false,
            normalises: false,
            bare_errors: false,
            plain_json_only: false,
            requests_per_second: None,
            retry_after: 1,
        }
    }
}

impl ScimOptions {
    /// What it has.
    pub(super) fn kinds(&self) -> impl Iterator<Item = Kind> + use<> {
        let groups = self.groups;
        Kind::ALL.into_iter().filter(move |kind| *kind == Kind::User || groups)
    }

    pub(super) fn configure(&mut self, settings: &Record) -> Result<(), String> {
        let mut changed = self.clone();
        for (name, value) in settings {
            changed.set(name, value)?;
        }
        *self = changed;
        Ok(())
    }

    fn set(&mut self, name: &str, value: &Value) -> Result<(), String> {
        let wrong = |what: &str| format!("{name} is no {what}");
        let flag = || value.as_bool().ok_or_else(|| wrong("flag"));
        let number = || {
            let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
            number.ok_or_else(|| wrong("number"))
        };
        let limit = || if value.is_null() { Ok(None) } else { number().map(Some) };
        match name {
            "token" => value.as_str().ok_or_else(|| wrong("text"))?.clone_into(&mut self.token),
            "discovery" => {
                self.discovery = match value.as_str() {
                    Some("honest") => ScimDiscovery::Honest,
                    Some("missing") => ScimDiscovery::Missing,
                    Some("boasting") => ScimDiscovery::Boasting,
                    _ => return Err(wrong("way to say what it can do")),
                }
            }
            "nesting" => {
                self.nesting = match value.as_str() {
                    Some("works") => ScimNesting::Works,
                    Some("refused") => ScimNesting::Refused,
                    Some("dropped") => ScimNesting::Dropped,
                    _ => return Err(wrong("way to nest")),
                }
            }
            "member_types" => {
                self.member_types = match value.as_str() {
                    Some("all") => ScimMemberTypes::All,
                    Some("users") => ScimMemberTypes::Users,
                    Some("untold") => ScimMemberTypes::Untold,
                    _ => return Err(wrong("kind of members")),
                }
            }
            "patch" => self.patch = flag()?,
            "bulk_operations_max" => self.bulk_operations_max = limit()?,
            "bulk_bytes_max" => self.bulk_bytes_max = number()?,
            "filter" => self.filter = flag()?,
            "sort" => self.sort = flag()?,
            "etag" => self.etag = flag()?,
            "page_max" => self.page_max = number()?,
            "members_max" => self.members_max = limit()?,
            "groups" => self.groups = flag()?,
            "enterprise" => self.enterprise = flag()?,
            "unique_external_ids" => self.unique_external_ids = flag()?,
            "unique_group_names" => self.unique_group_names = flag()?,
            "strict_removal" => self.strict_removal = flag()?,
            "normalises" => self.normalises = flag()?,
            "bare_errors" => self.bare_errors = flag()?,
            "plain_json_only" => self.plain_json_only = flag()?,
            "requests_per_second" => self.requests_per_second = limit()?,
            "retry_after" => self.retry_after = value.as_u64().ok_or_else(|| wrong("number"))?,
            _ => return Err(format!("no setting {name}")),
        }
        Ok(())
    }
}
