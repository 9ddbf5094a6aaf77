//! What the identity platform keeps: consents, codes, refresh tokens and access tokens, all in the store.

use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::store::{Change, Store};

pub(super) const CODES: &str = "code";
pub(super) const REFRESH: &str = "refresh_token";
pub(super) const ACCESS: &str = "access_token";
pub(super) const CONSENTS: &str = "consent";
/// Why a person gets no token, by mailbox.
pub(super) const REFUSALS: &str = "identity_refusal";

/// Access tokens that ended so long ago are forgotten.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// Refresh tokens that are remembered of a person.
const REFRESH_TOKENS_MAX: usize = 500;

/// Which service a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Resource {
    Graph,
    Outlook,
}

impl Resource {
    fn prefix(self) -> &'static str {
        match self {
            Self::Graph => "https://graph.microsoft.com/",
            Self::Outlook => "https://outlook.office.com/",
        }
    }
}

/// An authorisation code, for one use within ten minutes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Code {
    pub(super) client: String,
    pub(super) redirect_uri: String,
    pub(super) challenge: Option<String>,
    pub(super) challenge_method: String,
    /// As they were asked for.
    pub(super) scopes: Vec<String>,
    pub(super) nonce: Option<String>,
    pub(super) mailbox: String,
    pub(super) ends: Timestamp,
    pub(super) is_used: bool,
}

/// A refresh token. It lives on after its use, until it is revoked or nobody used it for 90 days.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Refresh {
    pub(super) client: String,
    pub(super) mailbox: String,
    pub(super) issued: Timestamp,
    pub(super) used: Timestamp,
    /// Why it is good no more.
    pub(super) revoked: Option<u32>,
}

/// An access token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Access {
    pub(super) client: String,
    /// None with application permission.
    pub(super) mailbox: Option<String>,
    pub(super) resource: Resource,
    /// Without prefix.
    pub(super) scopes: Vec<String>,
    pub(super) ends: Timestamp,
    pub(super) issued: Timestamp,
    /// Whether it was asked for with claims.
    pub(super) has_claims: bool,
}

pub(super) fn read<T: DeserializeOwned>(store: &Store, table: &str, id: &str) -> Option<T> {
    T::deserialize(store.get(table, id)?).ok()
}

/// Nobody can guess it.
pub(super) fn secret(prefix: &str) -> String {
    format!("{prefix}{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

/// A scope's resource and its name without prefix; none for those of OpenID Connect, which belong to no resource.
pub(super) fn scope(text: &str) -> Option<(Resource, &str)> {
    for resource in [Resource::Graph, Resource::Outlook] {
        if let Some(name) = text.strip_prefix(resource.prefix()) {
            return Some((resource, name));
        }
    }
    if let Some(name) = text.strip_prefix("https://outlook.office365.com/") {
        return Some((Resource::Outlook, name));
    }
    let is_open_id = ["openid", "offline_access", "profile", "email"].contains(&text);
    (!is_open_id).then_some((Resource::Graph, text))
}

/// Scopes that the application may be given.
const SCOPES: [&str; 14] = [
    "User.Read",
    "Calendars.Read",
    "Calendars.ReadWrite",
    "Calendars.Read.Shared",
    "Calendars.ReadWrite.Shared",
    "Contacts.Read",
    "Contacts.ReadWrite",
    "Mail.Read",
    "Mail.ReadWrite",
    "Mail.Send",
    "Mail.ReadWrite.Shared",
    "MailboxSettings.Read",
    "MailboxSettings.ReadWrite",
    ".default",
];

/// The first scope that nobody knows.
pub(super) fn unknown(scopes: &[String]) -> Option<&String> {
    scopes.iter().find(|text| match scope(text) {
        None => false,
        Some((Resource::Graph, name)) => !SCOPES.contains(&name),
        Some((Resource::Outlook, name)) => {
            !["IMAP.AccessAsUser.All", "SMTP.Send", ".default"].contains(&name)
        }
    })
}

pub(super) fn shown(resource: Resource, scopes: &[String]) -> String {
    let named: Vec<String> = scopes.iter().map(|name| format!("{}{name}", resource.prefix())).collect();
    named.join(" ")
}

pub(super) fn consent_id(client: &str, mailbox: &str) -> String {
    format!("{client} {mailbox}")
}

/// What a person has consented to, with the prefixes as asked for.
pub(super) fn consented(store: &Store, client: &str, mailbox: &str) -> Vec<String> {
    read(store, CONSENTS, &consent_id(client, mailbox)).unwrap_or_default()
}

/// Consent to more scopes; those given before stay.
pub(super) fn consent(store: &Store, client: &str, mailbox: &str, scopes: &[String]) -> Change {
    let mut all = consented(store, client, mailbox);
    all.extend(scopes.iter().cloned());
    all.sort();
    all.dedup();
    Change::set(CONSENTS, &consent_id(client, mailbox), json!(all))
}

/// The table that has a person's refresh tokens in the order in which they were issued.
fn issued_to(mailbox: &str) -> String {
    format!("refresh_order:{mailbox}")
}

/// A new refresh token. The oldest of too many are forgotten, so that a simulated year stays small.
pub(super) fn issue(store: &Store, token: &str, refresh: &Refresh) -> Vec<Change> {
    let table = issued_to(&refresh.mailbox);
    let last = store.rows(&table).next_back().and_then(|(id, _)| id.parse::<u64>().ok()).unwrap_or(0);
    let too_many = (store.rows(&table).count() + 1).saturating_sub(REFRESH_TOKENS_MAX);
    let mut changes = vec![
        Change::set(REFRESH, token, json!(refresh)),
        Change::set(&table, &format!("{:012}", last + 1), json!(token)),
    ];
    for (id, old) in store.rows(&table).take(too_many) {
        changes.push(Change::remove(&table, id));
        changes.extend(old.as_str().map(|old| Change::remove(REFRESH, old)));
    }
    changes
}

/// Access tokens that nobody will ask about any more.
pub(super) fn outdated(store: &Store, now: Timestamp) -> Vec<Change> {
    let is_old = |row: &Value| {
        let ends = Access::deserialize(row).map(|access| access.ends);
        ends.is_ok_and(|ends| now.duration_since(ends) > FORGOTTEN_AFTER)
    };
    store.rows(ACCESS).filter(|(_, row)| is_old(row)).map(|(id, _)| Change::remove(ACCESS, id)).collect()
}

/// Every refresh token of a person, or of everybody, is good no more.
pub(super) fn revoke(store: &Store, mailbox: Option<&str>, code: u32) -> Vec<Change> {
    store
        .rows(REFRESH)
        .filter_map(|(id, row)| Some((id, Refresh::deserialize(row).ok()?)))
        .filter(|(_, refresh)| mailbox.is_none_or(|mailbox| mailbox == refresh.mailbox))
        .map(|(id, refresh)| Change::set(REFRESH, id, json!(Refresh { revoked: Some(code), ..refresh })))
        .collect()
}

/// Every access token of a person, or of everybody, has ended.
pub(super) fn expire(store: &Store, now: Timestamp, mailbox: Option<&str>) -> Vec<Change> {
    store
        .rows(ACCESS)
        .filter_map(|(id, row)| Some((id, Access::deserialize(row).ok()?)))
        .filter(|(_, access)| mailbox.is_none() || mailbox == access.mailbox.as_deref())
        .map(|(id, access)| Change::set(ACCESS, id, json!(Access { ends: now.min(access.ends), ..access })))
        .collect()
}
