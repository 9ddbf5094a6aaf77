//! The token endpoint: signature, time stamp and nonce are checked as the vendor's page describes.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::Sha512;
use uuid::Uuid;

use super::{AdvowareOptions, problem};
use crate::store::{Change, Store};
use crate::wire::{Answer, Request};

const NONCES: &str = "nonce";
const TOKENS: &str = "token";
/// Accepted difference between the request's time stamp and the server's clock.
const SKEW_MAX: SignedDuration = SignedDuration::from_mins(5);

pub(super) fn answer(
    options: &AdvowareOptions,
    store: &mut Store,
    now: Timestamp,
    request: &Request,
) -> io::Result<Answer> {
    let Ok(Value::Object(body)) = serde_json::from_slice(&request.body) else {
        return Ok(problem(400, "the body is not a JSON object"));
    };
    let text = |field: &str| body.get(field).and_then(Value::as_str).unwrap_or_default();
    let nonce = text("Nonce");
    if nonce.is_empty() || text("RequestTimeStamp").is_empty() || text("HMAC512Signature").is_empty() {
        return Ok(problem(400, "Nonce, RequestTimeStamp or HMAC512Signature is missing"));
    }
    let known = text("AppID") == options.app_id
        && text("Kanzlei") == options.kanzlei
        && text("Database") == options.database
        && text("User") == options.user
        && text("Password") == options.password
        && body.get("Role").and_then(Value::as_i64) == Some(2)
        && body.get("Product").and_then(Value::as_i64) == Some(64);
    let in_time = text("RequestTimeStamp").ends_with('Z')
        && text("RequestTimeStamp")
            .parse::<Timestamp>()
            .is_ok_and(|sent| now.duration_since(sent).abs() <= SKEW_MAX);
    let signed = signature(&options.api_key, &options.app_id, nonce, text("RequestTimeStamp"));
    if !known || !in_time || signed.as_deref() != Some(text("HMAC512Signature")) {
        return Ok(problem(401, "the token request was refused"));
    }
    if store.get(NONCES, nonce).is_some() {
        return Ok(problem(401, "the nonce was used before"));
    }
    let token = STANDARD.encode([Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat());
    let life = SignedDuration::from_secs(i64::from(options.token_seconds));
    let ends = now.checked_add(life).unwrap_or(Timestamp::MAX);
    let mut changes = outdated(store, now);
    changes.push(Change::set(NONCES, nonce, json!(now.to_string())));
    changes.push(Change::set(TOKENS, &token, json!(ends.to_string())));
    store.commit(now, None, changes)?;
    Ok(Answer::json(200, &json!({ "access_token": token, "expires_in": options.token_seconds })))
}

/// Nonces whose time stamp can no longer be in time, and tokens past their end.
fn outdated(store: &Store, now: Timestamp) -> Vec<Change> {
    let time = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let nonces = store
        .rows(NONCES)
        .filter(|(_, used)| time(used).is_none_or(|used| now.duration_since(used) > SKEW_MAX * 2))
        .map(|(nonce, _)| Change::remove(NONCES, nonce));
    let tokens = store
        .rows(TOKENS)
        .filter(|(_, ends)| time(ends).is_none_or(|ends| ends < now))
        .map(|(token, _)| Change::remove(TOKENS, token));
    nonces.chain(tokens).collect()
}

/// `base64(HMAC-SHA512(base64-decode(key), "64:{AppID}:{Nonce}:{RequestTimeStamp}"))`; none when the
/// key is not base64.
fn signature(api_key: &str, app_id: &str, nonce: &str, time_stamp: &str) -> Option<String> {
    let key = STANDARD.decode(api_key).ok()?;
    let mut mac = Hmac::<Sha512>::new_from_slice(&key).ok()?;
    mac.update(format!("64:{app_id}:{nonce}:{time_stamp}").as_bytes());
    Some(STANDARD.encode(mac.finalize().into_bytes()))
}

/// Refuses a request without a token that is still good.
pub(super) fn check_bearer(store: &Store, now: Timestamp, request: &Request) -> Result<(), Answer> {
    request
        .header("Authorization")
        .and_then(|header| header.strip_prefix("Bearer "))
        .and_then(|token| store.get(TOKENS, token))
        .and_then(|ends| ends.as_str()?.parse::<Timestamp>().ok())
        .filter(|ends| *ends > now)
        .map(|_| ())
        .ok_or_else(|| problem(401, "token is not valid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_published_vector() {
        let key = STANDARD.encode("test-secret-key");
        assert_eq!(
            signature(&key, "app-123", "nonce-abc", "2026-08-30T00:00:00.000Z").unwrap(),
            "o7rz9KmoXZs550HfzO6ffiG17XwiPmlBHlksUYKZ3jcfolELow51Fw5KlrQqCK5y41aIValDjrh1iQ2GZ2WtqQ=="
        );
    }
}
