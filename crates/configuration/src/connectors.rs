//! The settings of the connectors. A connector's settings are there exactly when an enabled flow needs it.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::reader::{Reader, Section};
use crate::scim::Scim;
use crate::secret::Need;
use crate::wecom::WeCom;

/// `[connector.…]`
#[derive(Debug, Clone)]
pub struct Connectors {
    /// EspoCRM; there when a flow that needs it is enabled.
    pub espocrm: Option<EspoCrm>,
    /// EspoCRM as an administrator; there when a flow that needs it is enabled.
    pub espocrm_admin: Option<EspoCrmAdmin>,
    /// Advoware; there when a flow that needs it is enabled.
    pub advoware: Option<Advoware>,
    /// WeCom; there when a flow that needs it is enabled.
    pub wecom: Option<WeCom>,
    /// A SCIM service; there when a flow that needs it is enabled.
    pub scim: Option<Scim>,
}

/// What bounds the requests to one system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestLimits {
    /// Longest time of one request.
    pub timeout: Duration,
    /// Requests a second.
    pub requests_per_second_max: u32,
    /// Requests at the same time.
    pub concurrency_max: usize,
    /// Largest answer, in bytes.
    pub answer_bytes_max: usize,
    /// Failures in a row that open the breaker.
    pub breaker_failures_max: u32,
    /// How long the breaker stays open before a probe.
    pub breaker_pause: Duration,
}

pub(crate) fn limits(section: &mut Section<'_, '_>) -> RequestLimits {
    RequestLimits {
        timeout: section.seconds("timeout_seconds", 1..=300),
        requests_per_second_max: section.integer("requests_per_second_max", 1..=1_000),
        concurrency_max: section.integer("concurrency_max", 1..=256),
        answer_bytes_max: section.integer("answer_bytes_max", 1_024..=268_435_456),
        breaker_failures_max: section.integer("breaker_failures_max", 1..=1_000),
        breaker_pause: section.seconds("breaker_pause_seconds", 1..=3_600),
    }
}

/// `[connector.espocrm]`
#[derive(Debug, Clone)]
pub struct EspoCrm {
    /// The address, without `/api/v1`.
    pub url: Url,
    /// How the API user signs in.
    pub auth: EspoCrmAuth,
    /// What bounds its requests.
    pub limits: RequestLimits,
}

/// How an API user of EspoCRM signs in.
#[derive(Debug, Clone)]
pub enum EspoCrmAuth {
    /// `X-Api-Key`.
    ApiKey {
        /// The key.
        api_key: SecretString,
    },
    /// `X-Hmac-Authorization`.
    Hmac {
        /// The key.
        api_key: SecretString,
        /// The secret key that signs.
        secret_key: SecretString,
    },
}

/// `[connector.espocrm]` for what no API user may do.
#[derive(Debug, Clone)]
pub struct EspoCrmAdmin {
    /// The address, without `/api/v1`.
    pub url: Url,
    /// The administrator's log-in name.
    pub user: String,
    /// The administrator's password.
    pub password: SecretString,
    /// What bounds its requests.
    pub limits: RequestLimits,
}

/// `[connector.advoware]`
#[derive(Debug, Clone)]
pub struct Advoware {
    /// The configurator's address.
    pub configurator_url: Url,
    /// Identifier of the firm.
    pub kanzlei: String,
    /// Name of the firm's database.
    pub database: String,
    /// Shorthand of the employee.
    pub user: String,
    /// Id of the application.
    pub app_id: String,
    /// The application's API key, in base64.
    pub api_key: SecretString,
    /// The employee's password.
    pub password: SecretString,
    /// What bounds its requests.
    pub limits: RequestLimits,
}

/// What to do where an API user's key is not there.
const MADE_BY_PROVISION: &str = "where EspoCRM has no API user yet, `syncfleet provision` makes it";

/// What the section of EspoCRM says, also where the API user is yet to be made.
pub(crate) struct EspoCrmAccess {
    pub(crate) url: Option<Url>,
    pub(crate) is_hmac: bool,
    pub(crate) auth: Option<EspoCrmAuth>,
    pub(crate) admin: Option<(String, SecretString)>,
    pub(crate) api_key_file: Option<PathBuf>,
    pub(crate) limits: RequestLimits,
}

impl EspoCrmAccess {
    /// The account, where all of it is there.
    pub(crate) fn account(&self) -> Option<EspoCrm> {
        Some(EspoCrm { url: self.url.clone()?, auth: self.auth.clone()?, limits: self.limits.clone() })
    }

    /// The administrator's, where all of it is there.
    pub(crate) fn admin_account(&self) -> Option<EspoCrmAdmin> {
        let (user, password) = self.admin.clone()?;
        Some(EspoCrmAdmin { url: self.url.clone()?, user, password, limits: self.limits.clone() })
    }
}

/// What is needed of EspoCRM.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EspoCrmNeeds {
    pub(crate) url: Need,
    pub(crate) key: Need,
    pub(crate) admin: Need,
}

pub(crate) fn espocrm(reader: &mut Reader<'_>, needs: EspoCrmNeeds) -> EspoCrmAccess {
    let EspoCrmNeeds { url: need, key: need_key, admin: need_admin } = needs;
    let mut section = reader.section("connector.espocrm");
    let url = section.url("url", &["https", "http"], need);
    let is_hmac = section.word("auth", &[("api_key", false), ("hmac", true)]);
    let made_by_provision = if is_hmac { "" } else { MADE_BY_PROVISION };
    let api_key = section.secret_with_hint("api_key", need_key, made_by_provision);
    let api_key_file = section.secret_file("api_key");
    let need_secret_key = match need_key {
        Need::Required(_) if is_hmac => Need::Required("because auth is \"hmac\""),
        Need::ToBeMade if is_hmac => Need::ToBeMade,
        _ => Need::Unused,
    };
    let secret_key = section.secret("secret_key", need_secret_key);
    let admin_user = section.needed_text("admin_user", need_admin);
    let admin_password = section.secret("admin_password", need_admin);
    let limits = limits(&mut section);
    let auth = match (api_key, secret_key) {
        (Some(api_key), Some(secret_key)) => Some(EspoCrmAuth::Hmac { api_key, secret_key }),
        (Some(api_key), None) if !is_hmac => Some(EspoCrmAuth::ApiKey { api_key }),
        _ => None,
    };
    let admin = admin_password.map(|password| (admin_user, password));
    EspoCrmAccess { url, is_hmac, auth, admin, api_key_file, limits }
}

pub(crate) fn advoware(reader: &mut Reader<'_>, need: Need) -> Option<Advoware> {
    let mut section = reader.section("connector.advoware");
    let configurator_url = section.url("configurator_url", &["https", "http"], need);
    let kanzlei = section.needed_text("kanzlei", need);
    let database = section.needed_text("database", need);
    let user = section.needed_text("user", need);
    let app_id = section.needed_text("app_id", need);
    let api_key = section.secret("api_key", need);
    let password = section.secret("password", need);
    let limits = limits(&mut section);
    Some(Advoware {
        configurator_url: configurator_url?,
        kanzlei,
        database,
        user,
        app_id,
        api_key: api_key?,
        password: password?,
        limits,
    })
}
