//! Connect links: who may connect an account, signed, for a short time. Pure but for the key.

use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use shared::clock::elapsed;
use url::Url;

use super::ConnectError;
use super::query::{Query, is_token};
use crate::account::{AccountId, CrmUser, ProviderName};
use crate::store::{Secrets, VaultError};

/// What a key is derived for.
const PURPOSE: &str = "connect links";
/// Longest life of a link.
pub(crate) const LIFE_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A link whose signature is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) account: AccountId,
    /// How long it is good for.
    pub(crate) left: Duration,
    /// What tells it from other links.
    pub(crate) id: String,
}

/// What is signed. None of its parts can hold a line break.
fn message(provider: &ProviderName, user: &CrmUser, expires: i64) -> Vec<u8> {
    format!("{provider}\n{user}\n{expires}").into_bytes()
}

/// The link that lets a person connect an account of a CRM user until `expires`.
pub(crate) fn make(
    secrets: &Secrets,
    public_url: &Url,
    provider: &ProviderName,
    user: &CrmUser,
    expires: Timestamp,
) -> Result<Url, VaultError> {
    let expires = expires.as_second();
    let signature = hex::encode(secrets.sign(PURPOSE, &message(provider, user, expires))?);
    let mut url = public_url.clone();
    url.set_path(&format!("{}connect/{provider}", public_url.path()));
    url.query_pairs_mut()
        .append_pair("user", user.as_str())
        .append_pair("expires", &expires.to_string())
        .append_pair("signature", &signature);
    Ok(url)
}

/// Reads a link that was opened.
pub(crate) fn read(
    secrets: &Secrets,
    provider: &ProviderName,
    query: &str,
    now: Timestamp,
) -> Result<Link, ConnectError> {
    let query = Query::parse(query)?;
    let user = query.get("user").and_then(|user| CrmUser::new(user).ok());
    let user = user.ok_or(ConnectError::Malformed("its user"))?;
    let expires = query.get("expires").and_then(|expires| expires.parse::<i64>().ok());
    let expires = expires.ok_or(ConnectError::Malformed("its expiry"))?;
    let signature = query.get("signature").filter(|signature| is_token(signature));
    let signature = signature.and_then(|signature| hex::decode(signature).ok());
    let signature = signature.ok_or(ConnectError::Malformed("its signature"))?;
    if !secrets.has_signed(PURPOSE, &message(provider, &user, expires), &signature)? {
        return Err(ConnectError::BadSignature);
    }
    let expires = Timestamp::from_second(expires).map_err(|_| ConnectError::Malformed("its expiry"))?;
    let left = elapsed(now, expires);
    if left.is_zero() {
        return Err(ConnectError::LinkExpired);
    }
    let digest = hex::encode(Sha256::digest(&signature));
    let id = digest.get(..32).unwrap_or_default().to_owned();
    Ok(Link { account: AccountId::of_user(provider.clone(), user), left, id })
}
