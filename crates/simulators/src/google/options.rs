//! What the simulated Google is like, and how a test changes that while it runs.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::service_accounts::GoogleServiceAccount;
use crate::host::Hosting;
use crate::upstream::Record;

/// What a user may do with a calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessRole {
    /// Sees when somebody is busy.
    FreeBusyReader,
    /// Sees events, private ones without details.
    Reader,
    /// Changes events.
    Writer,
    /// Everything.
    Owner,
}

impl AccessRole {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FreeBusyReader => "freeBusyReader",
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::Owner => "owner",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::FreeBusyReader, Self::Reader, Self::Writer, Self::Owner]
            .into_iter()
            .find(|role| role.name() == name)
    }
}

/// A person with a Google account; the primary calendar's id is the address.
#[derive(Debug, Clone)]
pub struct GoogleUser {
    /// Address, lower case.
    pub email: String,
    /// IANA name of the primary calendar's zone.
    pub time_zone: String,
}

impl GoogleUser {
    /// A user in Berlin.
    #[must_use]
    pub fn new(email: &str) -> Self {
        Self { email: email.to_owned(), time_zone: "Europe/Berlin".to_owned() }
    }
}

/// A calendar beside the primary ones.
#[derive(Debug, Clone)]
pub struct GoogleCalendar {
    /// Id, looks like an address.
    pub id: String,
    /// Its name.
    pub summary: String,
    /// IANA name of its zone.
    pub time_zone: String,
    /// Address of the user who owns it.
    pub owner: String,
    /// Who else has it, and how.
    pub shared_with: Vec<(String, AccessRole)>,
}

/// What the authorisation endpoint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consent {
    /// Shows a page in which a person chooses the account, unticks scopes, agrees or refuses.
    #[default]
    Page,
    /// Agrees at once, for the user of `login_hint`, else the first one.
    AtOnce,
    /// Refuses at once.
    Refused,
}

/// What a refresh does to the refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RefreshRotation {
    /// Keeps it, as Google does.
    #[default]
    None,
    /// Gives a new one and revokes the old one at once, as other providers do.
    RevokeOld,
    /// Gives a new one; the old one stays good.
    KeepOld,
}

/// How notifications go astray, by a seed.
#[derive(Debug, Clone, Default)]
pub struct PushOptions {
    /// Each notification waits up to so long.
    pub late_seconds_max: u32,
    /// Share that never arrives, 0 to 1.
    pub lost_probability: f64,
    /// Share that arrives twice, 0 to 1.
    pub doubled_probability: f64,
    /// Seed of these choices.
    pub seed: u64,
}

/// Settings of the simulated Google. [`crate::Simulator::configure`] takes
///
/// | key | value |
/// |---|---|
/// | `consent` | `page`, `at_once`, `refused` |
/// | `unticked_scopes` | array of scopes that the user does not grant |
/// | `redirect_uris` | array |
/// | `client_secret` | string; the old one is refused from then on |
/// | `access_token_seconds`, `refresh_tokens_max` | number |
/// | `testing` | whether the app is in publishing status "Testing" |
/// | `refresh_rotation` | `none`, `revoke_old`, `keep_old` |
/// | `refuse_refresh` | `invalid_rapt`, `admin_policy_enforced`, `deleted_client`, `rate_limit_exceeded` or null |
/// | `withdraw_access` | address: that user withdraws all consent |
/// | `end_access_tokens` | true: all access tokens end now, refresh tokens stay good |
/// | `expire_sync_tokens` | true: every sync token issued so far is answered 410 |
/// | `expire_at_page` | n: the next list that gets to its n-th page is answered 410 there, once |
/// | `page_items_max` | at most so many items a page, whatever the client asks for; null for no such limit |
/// | `list_lag_seconds` | lists show what happened only after so many seconds, as the real ones now and then |
/// | `empty_page_every` | every n-th page of a list is empty and has a next one (n is 2 or more); null for none |
/// | `cancelled_with_details` | whether lists show of cancelled events more than is sure |
/// | `requests_per_minute_per_user`, `requests_per_minute` | quota; null for none |
/// | `quota_status`, `quota_retry_after` | 403 or 429; seconds or null |
/// | `errors` | array of `{operation, status, reason, retry_after, times, probability, seed}`, added; null removes all |
/// | `push` | object of `late_seconds_max`, `lost_probability`, `doubled_probability`, `seed` |
/// | `calendar_access` | `{calendar, user, role}`; role null takes the calendar away |
#[derive(Debug, Clone)]
pub struct GoogleOptions {
    /// Listener, folder, clock.
    pub hosting: Hosting,
    /// Client id of the one app.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// Where the authorisation endpoint may send people, compared as a whole.
    pub redirect_uris: Vec<String>,
    /// The users.
    pub users: Vec<GoogleUser>,
    /// Calendars beside the primary ones.
    pub calendars: Vec<GoogleCalendar>,
    /// Service accounts that may act for every user.
    pub service_accounts: Vec<GoogleServiceAccount>,
    /// What the authorisation endpoint does.
    pub consent: Consent,
    /// Scopes that the user does not grant.
    pub unticked_scopes: Vec<String>,
    /// `expires_in`.
    pub access_token_seconds: u32,
    /// Live refresh tokens of one user for one client; the oldest dies silently.
    pub refresh_tokens_max: usize,
    /// Publishing status "Testing": refresh tokens end after seven days.
    pub testing: bool,
    /// What a refresh does to the refresh token.
    pub refresh_rotation: RefreshRotation,
    /// A sync token is good for so many days.
    pub sync_token_days: u32,
    /// Cancelled events can be seen for so many days.
    pub cancelled_days: u32,
    /// Whether lists show of cancelled events more than is sure.
    pub cancelled_with_details: bool,
    /// At most so many items a page.
    pub page_items_max: Option<usize>,
    /// Lists of events show what happened only after so many seconds.
    pub list_lag_seconds: u32,
    /// Every n-th page of a list is empty and has a next one.
    pub empty_page_every: Option<u32>,
    /// Requests of one user in any 60 seconds.
    pub requests_per_minute_per_user: Option<usize>,
    /// Requests of all users in any 60 seconds.
    pub requests_per_minute: Option<usize>,
    /// Status of an answer over quota: 403 or 429.
    pub quota_status: u16,
    /// Its Retry-After in seconds, if it has any.
    pub quota_retry_after: Option<u32>,
    /// How notifications go astray.
    pub push: PushOptions,
    /// How often the queue of notifications is worked off by itself; never when absent.
    pub push_interval: Option<Duration>,
    /// The wait before a notification is sent again, doubled each time.
    pub push_retry_delay: Duration,
    /// Whether a channel may have a plain http address, which the real service refuses.
    pub plain_http_channels: bool,
}

impl Default for GoogleOptions {
    fn default() -> Self {
        Self {
            hosting: Hosting::default(),
            client_id: "123.apps.googleusercontent.com".to_owned(),
            client_secret: "simulated-google-client-secret".to_owned(),
            redirect_uris: vec!["https://sync.example/connect/google/callback".to_owned()],
            users: vec![
                GoogleUser::new("anna@kanzlei.example"),
                GoogleUser::new("bernd@kanzlei.example"),
                GoogleUser::new("clara@kanzlei.example"),
            ],
            calendars: Vec::new(),
            service_accounts: Vec::new(),
            consent: Consent::default(),
            unticked_scopes: Vec::new(),
            access_token_seconds: 3_599,
            refresh_tokens_max: 100,
            testing: false,
            refresh_rotation: RefreshRotation::default(),
            sync_token_days: 28,
            cancelled_days: 28,
            cancelled_with_details: false,
            page_items_max: None,
            list_lag_seconds: 0,
            empty_page_every: None,
            requests_per_minute_per_user: None,
            requests_per_minute: None,
            quota_status: 403,
            quota_retry_after: None,
            push: PushOptions::default(),
            push_interval: None,
            push_retry_delay: Duration::from_secs(1),
            plain_http_channels: false,
        }
    }
}

/// An error that a test asked for, in Google's shape.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForcedError {
    /// Method id, such as `calendar.events.list`; any when absent.
    #[serde(default)]
    pub operation: Option<String>,
    /// Status code.
    pub status: u16,
    /// `userRateLimitExceeded`, `quotaExceeded`, `backendError`, …
    pub reason: String,
    /// Seconds or an HTTP date.
    #[serde(default)]
    pub retry_after: Option<String>,
    /// How often; for ever when absent.
    #[serde(default)]
    pub times: Option<u32>,
    /// Share of the requests that are struck, 0 to 1.
    #[serde(default = "always")]
    pub probability: f64,
    /// Seed of that choice.
    #[serde(default)]
    pub seed: u64,
}

fn always() -> f64 {
    1.0
}

/// What a setting asks to be done to the state, at the next chance.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Pending {
    WithdrawAccess(String),
    EndAccessTokens,
    ExpireSyncTokens,
    Access { calendar: String, user: String, role: Option<AccessRole> },
}

/// What one setting means beside a changed option.
#[derive(Debug, PartialEq)]
pub(super) enum Effect {
    None,
    Later(Pending),
    Errors(Vec<ForcedError>),
    NoErrors,
    RefuseRefresh(Option<String>),
    ExpireAtPage(u32),
    Push,
}

impl GoogleOptions {
    /// Takes one setting, or says what is wrong with it.
    pub(super) fn set(&mut self, key: &str, value: &Value) -> Result<Effect, String> {
        let wrong = || format!("{key}: {value} is no setting of Google");
        let text = || value.as_str().map(str::to_owned).ok_or_else(wrong);
        let flag = || value.as_bool().ok_or_else(wrong);
        let number = || value.as_u64().ok_or_else(wrong);
        let small = || number().and_then(|number| u32::try_from(number).map_err(|_| wrong()));
        let size = || number().and_then(|number| usize::try_from(number).map_err(|_| wrong()));
        let texts = || {
            let items = value.as_array().ok_or_else(wrong)?;
            items
                .iter()
                .map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong))
                .collect::<Result<Vec<_>, _>>()
        };
        match (key, value) {
            ("consent", _) => {
                self.consent = match value.as_str() {
                    Some("page") => Consent::Page,
                    Some("at_once") => Consent::AtOnce,
                    Some("refused") => Consent::Refused,
                    _ => return Err(wrong()),
                }
            }
            ("unticked_scopes", _) => self.unticked_scopes = texts()?,
            ("redirect_uris", _) => self.redirect_uris = texts()?,
            ("client_secret", _) => self.client_secret = text()?,
            ("access_token_seconds", _) => self.access_token_seconds = small()?,
            ("refresh_tokens_max", _) => self.refresh_tokens_max = size()?.max(1),
            ("testing", _) => self.testing = flag()?,
            ("refresh_rotation", _) => {
                self.refresh_rotation = match value.as_str() {
                    Some("none") => RefreshRotation::None,
                    Some("revoke_old") => RefreshRotation::RevokeOld,
                    Some("keep_old") => RefreshRotation::KeepOld,
                    _ => return Err(wrong()),
                }
            }
            ("refuse_refresh", Value::Null) => return Ok(Effect::RefuseRefresh(None)),
            ("refuse_refresh", _) => {
                let known =
                    ["invalid_rapt", "admin_policy_enforced", "deleted_client", "rate_limit_exceeded"];
                let why = text()?;
                return if known.contains(&why.as_str()) {
                    Ok(Effect::RefuseRefresh(Some(why)))
                } else {
                    Err(wrong())
                };
            }
            ("withdraw_access", _) => return Ok(Effect::Later(Pending::WithdrawAccess(text()?))),
            ("end_access_tokens", Value::Bool(true)) => return Ok(Effect::Later(Pending::EndAccessTokens)),
            ("expire_sync_tokens", Value::Bool(true)) => return Ok(Effect::Later(Pending::ExpireSyncTokens)),
            ("expire_at_page", _) => return Ok(Effect::ExpireAtPage(small()?)),
            ("page_items_max", Value::Null) => self.page_items_max = None,
            ("page_items_max", _) => self.page_items_max = Some(size()?.max(1)),
            ("list_lag_seconds", _) => self.list_lag_seconds = small()?,
            ("empty_page_every", Value::Null) => self.empty_page_every = None,
            ("empty_page_every", _) => match small()? {
                0 | 1 => return Err(wrong()),
                every => self.empty_page_every = Some(every),
            },
            ("cancelled_with_details", _) => self.cancelled_with_details = flag()?,
            ("requests_per_minute_per_user", Value::Null) => self.requests_per_minute_per_user = None,
            ("requests_per_minute_per_user", _) => self.requests_per_minute_per_user = Some(size()?),
            ("requests_per_minute", Value::Null) => self.requests_per_minute = None,
            ("requests_per_minute", _) => self.requests_per_minute = Some(size()?),
            ("quota_status", _) => match number()? {
                403 => self.quota_status = 403,
                429 => self.quota_status = 429,
                _ => return Err(wrong()),
            },
            ("quota_retry_after", Value::Null) => self.quota_retry_after = None,
            ("quota_retry_after", _) => self.quota_retry_after = Some(small()?),
            ("errors", Value::Null) => return Ok(Effect::NoErrors),
            ("errors", Value::Array(_)) => {
                let errors = serde_json::from_value(value.clone());
                return errors.map(Effect::Errors).map_err(|error| format!("{key}: {error}"));
            }
            ("push", Value::Object(push)) => {
                self.push = read_push(push).ok_or_else(wrong)?;
                return Ok(Effect::Push);
            }
            ("calendar_access", Value::Object(access)) => {
                let text = |name: &str| access.get(name).and_then(Value::as_str).map(str::to_owned);
                let role = match access.get("role") {
                    None | Some(Value::Null) => None,
                    Some(role) => Some(role.as_str().and_then(AccessRole::from_name).ok_or_else(wrong)?),
                };
                let (Some(calendar), Some(user)) = (text("calendar"), text("user")) else {
                    return Err(wrong());
                };
                return Ok(Effect::Later(Pending::Access { calendar, user, role }));
            }
            _ => return Err(wrong()),
        }
        Ok(Effect::None)
    }
}

fn read_push(push: &Record) -> Option<PushOptions> {
    let known = ["late_seconds_max", "lost_probability", "doubled_probability", "seed"];
    if push.keys().any(|key| !known.contains(&key.as_str())) {
        return None;
    }
    let number = |name: &str| push.get(name).map_or(Some(0), Value::as_u64);
    let share = |name: &str| push.get(name).map_or(Some(0.0), Value::as_f64);
    Some(PushOptions {
        late_seconds_max: u32::try_from(number("late_seconds_max")?).ok()?,
        lost_probability: share("lost_probability")?,
        doubled_probability: share("doubled_probability")?,
        seed: number("seed")?,
    })
}
