//! Which account: a provider, and whose authorisation it is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use shared::record_key::{FlowName, RecordKey};

const PROVIDER_BYTES_MAX: usize = 32;
const USER_BYTES_MAX: usize = 64;
const USER: &str = "user/";
const APPLICATION: &str = "application";

/// Why a text names no provider, user or account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Of a provider.
    #[error("a provider's name is 1 to {PROVIDER_BYTES_MAX} of a-z, 0-9 and _, with a letter first")]
    Provider,
    /// Of a user.
    #[error("a CRM user's id is 1 to {USER_BYTES_MAX} of a-z, A-Z, 0-9, - and _")]
    User,
    /// Of an account.
    #[error("an account is written PROVIDER/user/ID or PROVIDER/application")]
    Account,
}

/// The name of a provider: `microsoft`, `google`, or another from the settings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderName(String);

impl ProviderName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`NameError::Provider`].
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        let well_formed = name.len() <= PROVIDER_BYTES_MAX
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if well_formed { Ok(Self(name)) } else { Err(NameError::Provider) }
    }

    /// A name of this crate's own.
    pub(crate) fn known(name: &'static str) -> Self {
        Self(name.to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of a user in the CRM.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CrmUser(String);

impl CrmUser {
    /// Checks an id.
    ///
    /// # Errors
    /// [`NameError::User`].
    pub fn new(id: impl Into<String>) -> Result<Self, NameError> {
        let id = id.into();
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let well_formed = (1..=USER_BYTES_MAX).contains(&id.len()) && id.bytes().all(allowed);
        if well_formed { Ok(Self(id)) } else { Err(NameError::User) }
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CrmUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whose authorisation it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// A user's, who consented.
    User(CrmUser),
    /// The application's own, by an administrator's consent.
    Application,
}

/// An account: one per provider and CRM user, and one per provider for the application itself.
///
/// Written `microsoft/user/6b00526cc80a09e94` or `microsoft/application`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId {
    /// The provider.
    pub provider: ProviderName,
    /// Whose authorisation it is.
    pub holder: Holder,
}

impl AccountId {
    /// The account of a CRM user.
    pub fn of_user(provider: ProviderName, user: CrmUser) -> Self {
        Self { provider, holder: Holder::User(user) }
    }

    /// The application's own.
    pub fn of_application(provider: ProviderName) -> Self {
        Self { provider, holder: Holder::Application }
    }

    /// The CRM user, where it is one's.
    pub fn user(&self) -> Option<&CrmUser> {
        match &self.holder {
            Holder::User(user) => Some(user),
            Holder::Application => None,
        }
    }
}

/// The account of a CRM user as the record of a flow whose runs are about accounts: `calendar:microsoft.6b00526cc80a09e94`.
/// What waits for the account is parked under this key, and what is to happen for it at once is published under it.
impl AccountId {
    /// The key of a user's account; nothing for the application's own, which nobody connects.
    pub fn record_key(&self, flow: &FlowName) -> Option<RecordKey> {
        let id = format!("{}.{}", self.provider, self.user()?);
        RecordKey::new(flow.clone(), id).ok()
    }

    /// The account that such a key's id names.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn of_record_id(id: &str) -> Result<Self, NameError> {
        let (provider, user) = id.split_once('.').ok_or(NameError::Account)?;
        Ok(Self::of_user(ProviderName::new(provider)?, CrmUser::new(user)?))
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.holder {
            Holder::User(user) => write!(f, "{}/{USER}{user}", self.provider),
            Holder::Application => write!(f, "{}/{APPLICATION}", self.provider),
        }
    }
}

impl FromStr for AccountId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (provider, rest) = text.split_once('/').ok_or(NameError::Account)?;
        let provider = ProviderName::new(provider)?;
        if rest == APPLICATION {
            return Ok(Self::of_application(provider));
        }
        let user = rest.strip_prefix(USER).ok_or(NameError::Account)?;
        Ok(Self::of_user(provider, CrmUser::new(user)?))
    }
}

impl Serialize for AccountId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AccountId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_account_is_refused() {
        for wrong in [
            "",
            "microsoft",
            "microsoft/",
            "microsoft/user/",
            "microsoft/user/a b",
            "microsoft/user/../x",
            "Microsoft/user/1",
            "1m/user/1",
            "microsoft/anything",
            "/user/1",
            "microsoft/user/1/2",
        ] {
            assert!(wrong.parse::<AccountId>().is_err(), "{wrong}");
        }
        assert!(CrmUser::new("x".repeat(65)).is_err() && ProviderName::new("x".repeat(33)).is_err());
    }

    #[test]
    fn a_user_of_the_name_application_is_not_the_application() {
        let user: AccountId = "google/user/application".parse().unwrap();
        assert_ne!(user, "google/application".parse().unwrap());
    }

    proptest! {
        #[test]
        fn an_account_is_written_as_it_is_read(provider in "[a-z][a-z0-9_]{0,31}", user in "[a-zA-Z0-9_-]{1,64}") {
            let provider = ProviderName::new(provider).unwrap();
            for account in [
                AccountId::of_user(provider.clone(), CrmUser::new(user).unwrap()),
                AccountId::of_application(provider),
            ] {
                prop_assert_eq!(account.to_string().parse(), Ok(account.clone()));
                let key = account.record_key(&FlowName::new("calendar").unwrap());
                match account.user() {
                    Some(_) => prop_assert_eq!(AccountId::of_record_id(key.unwrap().id()), Ok(account)),
                    None => prop_assert_eq!(key, None),
                }
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}") {
            let _ = (text.parse::<AccountId>(), AccountId::of_record_id(&text));
        }
    }
}
