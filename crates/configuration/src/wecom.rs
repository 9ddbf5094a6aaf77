//! The settings of WeCom, where departments and members come from.

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::connectors::{RequestLimits, limits};
use crate::reader::Reader;
use crate::secret::Need;

/// Characters of an EncodingAESKey.
const AES_KEY_CHARS: usize = 43;
/// Longest token of a callback.
const TOKEN_CHARS_MAX: usize = 32;

/// `[connector.wecom]`
#[derive(Debug, Clone)]
pub struct WeCom {
    /// The API's address.
    pub api_url: Url,
    /// The company's id.
    pub corp_id: String,
    /// The secret of a self-built app. One of the two is always there.
    pub app_secret: Option<SecretString>,
    /// The secret of the contact sync.
    pub contact_sync_secret: Option<SecretString>,
    /// What callbacks are verified with, where they are taken.
    pub callback: Option<WeComCallback>,
    /// What bounds the requests to each interface.
    pub limits: RequestLimits,
}

/// What stands beside the callback's address in WeCom's console.
#[derive(Debug, Clone)]
pub struct WeComCallback {
    /// The token.
    pub token: SecretString,
    /// The EncodingAESKey.
    pub encoding_aes_key: SecretString,
}

/// `is_relayed`: whether there are receivers that callbacks are passed on to.
pub(crate) fn wecom(reader: &mut Reader<'_>, need: Need, is_relayed: bool) -> Option<WeCom> {
    let is_set = |name: &str| {
        let text = reader.layers.text(&format!("connector.wecom.{name}"));
        text.is_some_and(|text| !text.is_empty())
    };
    let has_contact_sync = is_set("contact_sync_secret");
    let has_callback = is_set("callback_token") || is_set("callback_encoding_aes_key");
    let is_used = !matches!(need, Need::Unused);
    let need_other = if is_used { Need::Optional } else { Need::Unused };
    let need_app = if has_contact_sync { need_other } else { need };
    let need_callback = match need {
        Need::Unused => Need::Unused,
        _ if has_callback => Need::Required("because token and EncodingAESKey are used together"),
        _ if is_relayed => Need::Required("because flow.directory.relay has receivers"),
        _ => Need::Optional,
    };

    let mut section = reader.section("connector.wecom");
    let corp_id = section.needed_text("corp_id", need).trim().to_owned();
    let beside = "contact_sync_secret beside it, or alone, tells ids only";
    let app_secret = section.secret_with_hint("app_secret", need_app, beside);
    let contact_sync_secret = section.secret("contact_sync_secret", need_other);
    let is_alphanumeric = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_token = |text: &str| (1..=TOKEN_CHARS_MAX).contains(&text.len()) && is_alphanumeric(text);
    let is_aes_key = |text: &str| text.len() == AES_KEY_CHARS && is_alphanumeric(text);
    let token = section.secret_where(
        "callback_token",
        need_callback,
        "a secret of 1 to 32 letters and digits, as in WeCom's console",
        |secret| is_token(secret.expose_secret().trim()),
    );
    let encoding_aes_key = section.secret_where(
        "callback_encoding_aes_key",
        need_callback,
        "a secret of 43 letters and digits, as in WeCom's console",
        |secret| is_aes_key(secret.expose_secret().trim()),
    );
    let api_url = section.url("api_url", &["https", "http"], need);
    let limits = limits(&mut section);
    let callback = match (token, encoding_aes_key) {
        (Some(token), Some(encoding_aes_key)) => Some(WeComCallback { token, encoding_aes_key }),
        _ => None,
    };
    let has_secret = app_secret.is_some() || contact_sync_secret.is_some();
    Some(WeCom { api_url: api_url?, corp_id, app_secret, contact_sync_secret, callback, limits })
        .filter(|_| is_used && has_secret)
}
