//! A grant: one authorisation to a provider, with its tokens; and how it changes. Pure but for the sealed form.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use shared::clock::later;
use uuid::Uuid;

use crate::account::AccountId;
use crate::error::Reason;
use crate::refresh;

/// The form of what is sealed.
const VERSION: u32 = 1;

/// A token. Printed as `***`; it is written out only into what is sealed at once.
#[derive(Clone)]
pub(crate) struct Token(SecretString);

impl Token {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    pub(crate) fn is(&self, other: &SecretString) -> bool {
        self.expose() == other.expose_secret()
    }

    pub(crate) fn secret(&self) -> SecretString {
        self.0.clone()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// The access token of a grant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Access {
    pub(crate) token: Token,
    pub(crate) obtained_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    /// An upstream refused it.
    #[serde(default)]
    pub(crate) refused: bool,
}

/// Failures in a row, and when the next request may go out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retry {
    pub(crate) failures: u32,
    pub(crate) not_before: Timestamp,
    /// What failed last, in words without secrets.
    pub(crate) why: String,
    /// One of the failed requests may have been answered with another refresh token.
    #[serde(default)]
    pub(crate) answer_lost: bool,
}

/// Who signed in, as the provider calls them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Stays the same for ever.
    pub subject: String,
    /// What a person knows it by, an address as a rule. Personal data: not for logs.
    pub address: Option<String>,
}

impl Identity {
    fn digest(&self) -> String {
        let digest = hex::encode(Sha256::digest(self.subject.as_bytes()));
        digest.chars().take(16).collect()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(***)")
    }
}

/// Whether a grant works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantState {
    /// It does, as far as is known.
    Active,
    /// It is over until a person connects the account again.
    NeedsReconnect {
        /// Why.
        reason: Reason,
        /// Since when.
        since: Timestamp,
        /// Whether the person was told.
        told: bool,
    },
}

/// A grant as it is sealed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Grant {
    v: u32,
    pub(crate) account: AccountId,
    /// What was granted, which may be less than was asked for.
    pub(crate) scopes: Vec<String>,
    pub(crate) access: Option<Access>,
    pub(crate) refresh: Option<Token>,
    /// Another one for each time the account was connected.
    pub(crate) connection: Uuid,
    /// Rises with each answer of the token endpoint that was stored.
    pub(crate) rotation: u64,
    pub(crate) granted_at: Timestamp,
    pub(crate) refreshed_at: Timestamp,
    pub(crate) state: GrantState,
    #[serde(default)]
    pub(crate) retry: Option<Retry>,
    /// Tokens that were refused young, one after another.
    #[serde(default)]
    pub(crate) young_refused: u32,
    /// What an upstream wants the next token to prove.
    #[serde(default)]
    pub(crate) claims: Option<String>,
    #[serde(default)]
    pub(crate) identity: Option<Identity>,
}

/// What a token endpoint gave.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    pub(crate) access: Token,
    pub(crate) life: Duration,
    pub(crate) refresh: Option<Token>,
    /// Nothing where they are those that were asked for.
    pub(crate) scopes: Option<Vec<String>>,
    pub(crate) identity: Option<Identity>,
}

impl Tokens {
    fn access(&self, now: Timestamp) -> Access {
        Access {
            token: self.access.clone(),
            obtained_at: now,
            expires_at: later(now, self.life),
            refused: false,
        }
    }
}

/// Which answer of the token endpoint a grant stands at: what was read and spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lineage {
    connection: Uuid,
    rotation: u64,
}

impl Grant {
    /// A fresh grant; `asked` are the scopes that count where the answer names none.
    pub(crate) fn new(
        account: AccountId,
        connection: Uuid,
        tokens: &Tokens,
        asked: &[String],
        now: Timestamp,
    ) -> Self {
        Self {
            v: VERSION,
            account,
            scopes: tokens.scopes.clone().unwrap_or_else(|| asked.to_vec()),
            access: Some(tokens.access(now)),
            refresh: tokens.refresh.clone(),
            connection,
            rotation: 0,
            granted_at: now,
            refreshed_at: now,
            state: GrantState::Active,
            retry: None,
            young_refused: 0,
            claims: None,
            identity: tokens.identity.clone(),
        }
    }

    /// One of the application before its first token.
    pub(crate) fn empty(account: AccountId, connection: Uuid, scope: &str, now: Timestamp) -> Self {
        Self {
            v: VERSION,
            account,
            scopes: vec![scope.to_owned()],
            access: None,
            refresh: None,
            connection,
            rotation: 0,
            granted_at: now,
            refreshed_at: now,
            state: GrantState::Active,
            retry: None,
            young_refused: 0,
            claims: None,
            identity: None,
        }
    }

    pub(crate) fn lineage(&self) -> Lineage {
        Lineage { connection: self.connection, rotation: self.rotation }
    }

    /// With what the token endpoint answered. It was asked with what this grant holds, or held when it said that it is
    /// over: a good answer is the truth.
    #[must_use]
    pub(crate) fn refreshed(&self, tokens: &Tokens, now: Timestamp) -> Self {
        let was_of_use = self.access.as_ref().is_some_and(|access| refresh::was_of_use(access, now));
        Self {
            scopes: tokens.scopes.clone().unwrap_or_else(|| self.scopes.clone()),
            access: Some(tokens.access(now)),
            refresh: tokens.refresh.clone().or_else(|| self.refresh.clone()),
            rotation: self.rotation.saturating_add(1),
            refreshed_at: now,
            state: GrantState::Active,
            retry: None,
            young_refused: if was_of_use { 0 } else { self.young_refused },
            claims: None,
            ..self.clone()
        }
    }

    /// It is over. Says since when only the first time.
    #[must_use]
    pub(crate) fn over(&self, reason: Reason, claims: Option<String>, now: Timestamp) -> Self {
        let state = match &self.state {
            over @ GrantState::NeedsReconnect { .. } => over.clone(),
            GrantState::Active => GrantState::NeedsReconnect { reason, since: now, told: false },
        };
        Self { state, retry: None, claims: claims.or_else(|| self.claims.clone()), ..self.clone() }
    }

    /// A request failed; the next one goes out no earlier than after `delay`.
    #[must_use]
    pub(crate) fn failed(&self, why: &str, answer_lost: bool, delay: Duration, now: Timestamp) -> Self {
        let before = self.retry.as_ref();
        let retry = Retry {
            failures: before.map_or(0, |retry| retry.failures).saturating_add(1),
            not_before: later(now, delay),
            why: why.to_owned(),
            answer_lost: answer_lost || before.is_some_and(|retry| retry.answer_lost),
        };
        Self { retry: Some(retry), ..self.clone() }
    }

    /// An upstream refused this access token. Nothing where it is not the present one, or known to be refused.
    pub(crate) fn refused(&self, token: &SecretString, claims: Option<&str>, now: Timestamp) -> Option<Self> {
        let access = self.access.as_ref().filter(|access| access.token.is(token) && !access.refused)?;
        let (young_refused, wait) = refresh::refused(access, self.young_refused, now);
        let mut next = Self {
            access: Some(Access { refused: true, ..access.clone() }),
            young_refused,
            claims: claims.map(str::to_owned).or_else(|| self.claims.clone()),
            ..self.clone()
        };
        if let Some(wait) = wait {
            let why = "one access token after another was refused by the upstream though it was fresh";
            next.retry = Some(Retry {
                failures: 0,
                not_before: later(now, wait),
                why: why.to_owned(),
                answer_lost: false,
            });
        }
        Some(next)
    }

    /// The person was told that it is over. Nothing where there is nothing to tell.
    pub(crate) fn told(&self) -> Option<Self> {
        match self.state {
            GrantState::NeedsReconnect { reason, since, told: false } => {
                let state = GrantState::NeedsReconnect { reason, since, told: true };
                Some(Self { state, ..self.clone() })
            }
            _ => None,
        }
    }

    /// The person was not told after all. Nothing where nobody was to be told.
    pub(crate) fn untold(&self) -> Option<Self> {
        match self.state {
            GrantState::NeedsReconnect { reason, since, told: true } => {
                let state = GrantState::NeedsReconnect { reason, since, told: false };
                Some(Self { state, ..self.clone() })
            }
            _ => None,
        }
    }

    /// As the text that is sealed.
    pub(crate) fn to_secret(&self) -> Option<SecretString> {
        serde_json::to_string(self).ok().map(SecretString::from)
    }

    /// Reads what was sealed by this version; its tokens are not in the error.
    pub(crate) fn from_secret(text: &SecretString) -> Option<Self> {
        let grant: Self = serde_json::from_str(text.expose_secret()).ok()?;
        (grant.v == VERSION).then_some(grant)
    }

    /// What may be known of it without the key.
    pub(crate) fn about(&self) -> AccountSummary {
        AccountSummary {
            account: self.account.clone(),
            scopes: self.scopes.clone(),
            granted_at: self.granted_at,
            refreshed_at: self.refreshed_at,
            access_expires_at: self.access.as_ref().map(|access| access.expires_at),
            state: self.state.clone(),
            mailbox: self.identity.as_ref().map(Identity::digest),
            failures: self.retry.as_ref().map_or(0, |retry| retry.failures),
            problem: self.retry.as_ref().map(|retry| retry.why.clone()),
        }
    }
}

/// What is known of an account without any key: for lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountSummary {
    /// Which.
    pub account: AccountId,
    /// What was granted.
    pub scopes: Vec<String>,
    /// When it was connected last.
    pub granted_at: Timestamp,
    /// When the last token was had.
    pub refreshed_at: Timestamp,
    /// When the access token ends.
    pub access_expires_at: Option<Timestamp>,
    /// Whether it works.
    pub state: GrantState,
    /// Tells mailboxes apart without naming them; none where the provider does not say who signed in.
    #[serde(default)]
    pub mailbox: Option<String>,
    /// Failed requests for a token in a row.
    #[serde(default)]
    pub failures: u32,
    /// What failed last, where something does.
    #[serde(default)]
    pub problem: Option<String>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn tokens(access: &str, refresh: Option<&str>, life_seconds: u64) -> Tokens {
        Tokens {
            access: Token::new(access),
            life: Duration::from_secs(life_seconds),
            refresh: refresh.map(Token::new),
            scopes: None,
            identity: None,
        }
    }

    pub(crate) fn grant_with_life(life_seconds: u64) -> Grant {
        let account = "microsoft/user/6b00526cc80a09e94".parse().unwrap();
        let tokens = tokens("access-1", Some("refresh-1"), life_seconds);
        Grant::new(account, Uuid::from_u128(1), &tokens, &["a".to_owned()], Timestamp::UNIX_EPOCH)
    }

    pub(crate) fn retry_until(not_before: Timestamp) -> Retry {
        Retry { failures: 1, not_before, why: "a test".into(), answer_lost: false }
    }

    fn at(seconds: u64) -> Timestamp {
        later(Timestamp::UNIX_EPOCH, Duration::from_secs(seconds))
    }

    fn refresh_token(grant: &Grant) -> &str {
        grant.refresh.as_ref().unwrap().expose()
    }

    #[test]
    fn a_rotated_refresh_token_replaces_and_a_missing_one_does_not() {
        let grant = grant_with_life(3_600);
        let rotated = grant.refreshed(&tokens("access-2", Some("refresh-2"), 3_600), at(10));
        assert_eq!(refresh_token(&rotated), "refresh-2");
        assert_eq!(rotated.lineage(), Lineage { connection: grant.connection, rotation: 1 });
        let kept = rotated.refreshed(&tokens("access-3", None, 3_600), at(20));
        assert_eq!(refresh_token(&kept), "refresh-2");
        assert_eq!((kept.granted_at, kept.refreshed_at), (at(0), at(20)));
        assert_eq!(kept.lineage().rotation, 2);
    }

    #[test]
    fn it_is_over_since_the_first_time_and_a_good_answer_ends_that() {
        let over = grant_with_life(3_600).over(Reason::Revoked, Some("{}".into()), at(10));
        let again = over.over(Reason::Unused, None, at(20));
        let since = GrantState::NeedsReconnect { reason: Reason::Revoked, since: at(10), told: false };
        assert_eq!(again.state, since);
        assert_eq!(again.claims.as_deref(), Some("{}"));
        let told = again.told().unwrap();
        assert!(told.told().is_none() && told.over(Reason::Ended, None, at(30)).told().is_none());
        assert!(grant_with_life(1).told().is_none());
        assert_eq!(told.untold().unwrap().state, since);
        assert!(again.untold().is_none() && grant_with_life(1).untold().is_none());
        assert_eq!(told.refreshed(&tokens("a", None, 60), at(40)).state, GrantState::Active);
    }

    #[test]
    fn only_the_present_token_can_be_refused_and_only_once() {
        let grant = grant_with_life(3_600);
        assert!(grant.refused(&"access-0".into(), None, at(10)).is_none());
        let refused = grant.refused(&"access-1".into(), Some("e30="), at(10)).unwrap();
        assert_eq!((refused.young_refused, refused.claims.as_deref()), (1, Some("e30=")));
        assert!(refused.refused(&"access-1".into(), None, at(11)).is_none());
        let next = refused.refreshed(&tokens("access-2", None, 3_600), at(12));
        assert_eq!((next.young_refused, next.claims.is_none()), (1, true));
        assert_eq!(next.refreshed(&tokens("access-3", None, 3_600), at(3_000)).young_refused, 0);
    }

    #[test]
    fn failures_are_counted_until_one_request_succeeds() {
        let failed = grant_with_life(60).failed("no answer", true, Duration::from_secs(5), at(10));
        let failed = failed.failed("503", false, Duration::from_secs(10), at(20));
        let retry = failed.retry.clone().unwrap();
        assert_eq!((retry.failures, retry.not_before, retry.answer_lost), (2, at(30), true));
        assert!(failed.refreshed(&tokens("a", None, 60), at(40)).retry.is_none());
    }

    #[test]
    fn what_is_sealed_comes_back_and_nothing_of_it_is_printed_or_listed() {
        let grant = grant_with_life(3_600);
        let secret = grant.to_secret().unwrap();
        let back = Grant::from_secret(&secret).unwrap();
        assert_eq!(refresh_token(&back), "refresh-1");
        assert_eq!(back.lineage(), grant.lineage());
        let shown = format!("{grant:?} {:?}", serde_json::to_string(&grant.about()).unwrap());
        assert!(!shown.contains("access-1") && !shown.contains("refresh-1"), "{shown}");
        let newer = secret.expose_secret().replace("\"v\":1", "\"v\":2");
        assert!(Grant::from_secret(&newer.into()).is_none(), "what a later version sealed is not guessed at");
    }
}
