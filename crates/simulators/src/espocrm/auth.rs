//! Who is asking: API key, HMAC, Basic, Espo-Authorization, and the lock-out after failed log-ins.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;

use super::accounts::{Account, Credential};
use crate::wire::{Answer, Request};

const FAILURES_MAX: usize = 10;
const PERIOD: SignedDuration = SignedDuration::from_secs(60);
const ADDRESSES_MAX: usize = 1_000;

/// Failed log-ins by address.
#[derive(Debug, Default)]
pub(super) struct Lockout(HashMap<IpAddr, VecDeque<Timestamp>>);

impl Lockout {
    fn is_locked(&mut self, address: IpAddr, now: Timestamp) -> bool {
        let Some(failures) = self.0.get_mut(&address) else { return false };
        failures.retain(|failure| now.duration_since(*failure) < PERIOD);
        failures.len() > FAILURES_MAX
    }

    fn note(&mut self, address: IpAddr, now: Timestamp) {
        if self.0.len() >= ADDRESSES_MAX {
            self.0.clear();
        }
        self.0.entry(address).or_default().push_back(now);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The user behind a request to `/api/v1/{path}`, or the refusal.
pub(super) fn authenticate(
    accounts: &[Account],
    lockout: &mut Lockout,
    now: Timestamp,
    request: &Request,
    path: &str,
) -> Result<Account, Answer> {
    if lockout.is_locked(request.remote, now) {
        return Err(Answer::html(403, ""));
    }
    let found = if let Some(key) = request.header("X-Api-Key") {
        find(accounts, |credential| matches!(credential, Credential::ApiKey(own) if own == key))
    } else if let Some(header) = request.header("X-Hmac-Authorization") {
        find(accounts, |credential| match credential {
            Credential::Hmac { api_key, secret_key } => {
                signed(header, api_key, secret_key, &request.method, path)
            }
            _ => false,
        })
    } else if let Some(header) = request.header("Espo-Authorization") {
        by_password(accounts, header)
    } else if let Some(header) =
        request.header("Authorization").and_then(|header| header.strip_prefix("Basic "))
    {
        by_password(accounts, header)
    } else {
        return Err(Answer::html(401, "").with("WWW-Authenticate", "Basic realm=\"\""));
    };
    found.ok_or_else(|| {
        lockout.note(request.remote, now);
        refusal()
    })
}

/// The answer to an unknown credential.
pub(super) fn refusal() -> Answer {
    Answer::html(401, "")
}

fn find(accounts: &[Account], fits: impl Fn(&Credential) -> bool) -> Option<Account> {
    accounts.iter().find(|account| account.is_active && fits(&account.credential)).cloned()
}

fn by_password(accounts: &[Account], header: &str) -> Option<Account> {
    let decoded = String::from_utf8(STANDARD.decode(header.trim()).ok()?).ok()?;
    let (user_name, password) = decoded.split_once(':')?;
    accounts
        .iter()
        .find(|account| account.user_name == user_name)
        .filter(|account| {
            account.is_active && account.credential == Credential::Password(password.to_owned())
        })
        .cloned()
}

/// `base64(apiKey ":" hex(hmacSha256(secretKey, METHOD " /" path)))`; the raw digest is taken too.
fn signed(header: &str, api_key: &str, secret_key: &str, method: &str, path: &str) -> bool {
    let Ok(decoded) = STANDARD.decode(header.trim()) else { return false };
    let digest = hmac(secret_key, format!("{method} /{path}").as_bytes());
    let with = |tail: &[u8]| [api_key.as_bytes(), b":", tail].concat();
    decoded == with(hex(&digest).as_bytes()) || decoded == with(&digest)
}

/// HMAC-SHA256.
pub(super) fn hmac(secret_key: &str, text: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length, so there is no error to speak of.
    Hmac::<Sha256>::new_from_slice(secret_key.as_bytes())
        .map(|mut mac| {
            mac.update(text);
            mac.finalize().into_bytes().to_vec()
        })
        .unwrap_or_default()
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_recorded_vector() {
        let header = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY6ZDU1OGI1ZjhhYTRiZGM4NmFmZmJmYTViZmM0NmZiZjM2ZDRhNzFlMjJjZjM3YzQ0Y2M4NGM4ZGFiYmRlNGRmMg==";
        let (key, secret) = ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210");
        assert!(signed(header, key, secret, "GET", "CBeteiligte"));
        assert!(!signed(header, key, secret, "POST", "CBeteiligte"));
        assert!(!signed(header, key, secret, "GET", "CBeteiligte?maxSize=1"));
    }
}
