//! What `syncfleet provision` uses, and no other program.

use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

use crate::connectors::{EspoCrmAccess, EspoCrmAuth, RequestLimits};
use crate::reader::Reader;
use crate::secret::Need;

/// `[provision.espocrm]`, and what it needs of `[connector.espocrm]`.
#[derive(Debug, Clone)]
pub struct ProvisionEspoCrm {
    /// EspoCRM's address.
    pub url: Url,
    /// What bounds the requests.
    pub limits: RequestLimits,
    /// The administrator's log-in name.
    pub admin_user: String,
    /// The administrator's password.
    pub admin_password: SecretString,
    /// Name of the API user that is made where no key is there.
    pub api_user: String,
    /// Name of the role that is made or extended.
    pub role: String,
    /// Where EspoCRM reaches the producers; `None` makes no webhooks.
    pub webhook_url: Option<Url>,
    /// How the API user signs in, where that is there already.
    pub auth: Option<EspoCrmAuth>,
    /// Whether it is to sign in by HMAC.
    pub is_hmac: bool,
    /// The file that `connector.espocrm.api_key` refers to, whether or not it is there.
    pub api_key_file: Option<PathBuf>,
}

pub(crate) fn espocrm(
    reader: &mut Reader<'_>,
    need: Need,
    access: EspoCrmAccess,
) -> Option<ProvisionEspoCrm> {
    let mut section = reader.section("provision.espocrm");
    let admin_user = section.needed_text("admin_user", need);
    let admin_password = section.secret("admin_password", need);
    let name = "a name, at most 100 characters, without blanks at its ends";
    let is_name = |text: &str| !text.is_empty() && text.trim() == text && text.chars().count() <= 100;
    let api_user = section.text_where("api_user", name, is_name);
    let role = section.text_where("role", name, is_name);
    let webhook_url = section.url("webhook_url", &["https", "http"], Need::Optional);
    let EspoCrmAccess { url, is_hmac, auth, api_key_file, limits, .. } = access;
    let (Need::Required(_), Some(url), Some(admin_password)) = (need, url, admin_password) else {
        return None;
    };
    Some(ProvisionEspoCrm {
        url,
        limits,
        admin_user,
        admin_password,
        api_user,
        role,
        webhook_url,
        auth,
        is_hmac,
        api_key_file,
    })
}
