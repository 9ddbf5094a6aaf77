//! Service accounts with domain-wide delegation: a signed assertion is worth an access token for a user, without his
//! consent and without a refresh token.

use std::collections::BTreeSet;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rustls::crypto::ring;
use rustls::pki_types::alg_id;
use serde_json::Value;

use super::Google;
use super::answers::oauth;
use super::tokens::{Form, scope_set};
use crate::store::Store;
use crate::wire::Answer;

/// `grant_type` of an assertion.
pub(super) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const AUDIENCE: &str = "https://oauth2.googleapis.com/token";
const LIFE_SECONDS_MAX: i64 = 3_600;
/// Accepted difference between the client's clock and ours.
const SKEW_SECONDS_MAX: i64 = 300;

/// A service account of the app.
#[derive(Debug, Clone)]
pub struct GoogleServiceAccount {
    /// Its address, `iss` of its assertions.
    pub email: String,
    /// Its RSA key: PKCS#1 `RSAPublicKey`, DER.
    pub public_key_der: Vec<u8>,
    /// What the domain's administrator lets it do for every user.
    pub delegated_scopes: Vec<String>,
}

fn json_part(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// Whether the signature is that of RS256.
fn is_signed(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    algorithms
        .iter()
        .filter(|algorithm| algorithm.public_key_alg_id() == alg_id::RSA_ENCRYPTION)
        .filter(|algorithm| algorithm.signature_alg_id() == alg_id::RSA_PKCS1_SHA256)
        .any(|algorithm| algorithm.verify_signature(key, message, signature).is_ok())
}

fn invalid_grant(why: &str) -> Answer {
    oauth(400, "invalid_grant", why)
}

impl Google {
    pub(super) fn assert_jwt(&self, store: &mut Store, now: Timestamp, form: &Form) -> io::Result<Answer> {
        let Some(assertion) = form.get("assertion") else {
            return Ok(oauth(400, "invalid_request", "Missing required parameter: assertion"));
        };
        match self.check_assertion(now, assertion) {
            Ok((client, user, scope)) => self.issue_access(store, now, &client, &user, &scope, None),
            Err(answer) => Ok(answer),
        }
    }

    /// Service account, user and scopes of an assertion.
    fn check_assertion(&self, now: Timestamp, assertion: &str) -> Result<(String, String, String), Answer> {
        let malformed = || invalid_grant("Invalid JWT: it cannot be read.");
        let (message, signature) = assertion.rsplit_once('.').ok_or_else(malformed)?;
        let (head, claims) = message.split_once('.').ok_or_else(malformed)?;
        let (head, claims) =
            (json_part(head).ok_or_else(malformed)?, json_part(claims).ok_or_else(malformed)?);
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        let account = self.options.service_accounts.iter().find(|account| account.email == text("iss"));
        let account = account.ok_or_else(|| invalid_grant("Invalid grant: account not found"))?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed())?;
        if head["alg"] != "RS256" || !is_signed(&account.public_key_der, message.as_bytes(), &signature) {
            return Err(invalid_grant("Invalid JWT Signature."));
        }
        if text("aud") != AUDIENCE && text("aud") != format!("{}/token", self.base_url) {
            return Err(invalid_grant("Invalid JWT: Failed audience check."));
        }
        let time = |name: &str| claims.get(name).and_then(Value::as_i64).unwrap_or(0);
        let (issued, ends, now_seconds) = (time("iat"), time("exp"), now.as_second());
        let is_near = issued <= now_seconds + SKEW_SECONDS_MAX && ends > now_seconds;
        if !is_near || ends - issued > LIFE_SECONDS_MAX || ends < issued {
            return Err(invalid_grant(
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. \
                 Check your iat and exp values in the JWT claim.",
            ));
        }
        let scopes = scope_set(text("scope"));
        if scopes.is_empty() {
            return Err(oauth(400, "invalid_scope", "Invalid OAuth scope or ID token audience provided."));
        }
        let delegated: BTreeSet<String> = account.delegated_scopes.iter().cloned().collect();
        if !scopes.is_subset(&delegated) {
            let why = "Client is unauthorized to retrieve access tokens using this method, or client not authorized \
                       for any of the scopes requested.";
            return Err(oauth(401, "unauthorized_client", why));
        }
        let user = self.options.users.iter().find(|user| user.email.eq_ignore_ascii_case(text("sub")));
        let user = user.ok_or_else(|| invalid_grant("Invalid email or User ID"))?;
        Ok((account.email.clone(), user.email.clone(), text("scope").to_owned()))
    }
}
