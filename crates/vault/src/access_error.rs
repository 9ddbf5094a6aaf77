//! Why there is no access token.

use std::time::Duration;

use jiff::Timestamp;
use shared::fault::{Fault, FaultKind};
use shared::ports::PortError;
use shared::record_key::RecordKey;

use crate::VaultError;
use crate::account::{AccountId, ProviderName};
use crate::error::Reason;
use crate::token_endpoint::OPERATOR_PAUSE;

/// How long messages wait for what a person must put right in the settings.
const SETTINGS_PAUSE: Duration = Duration::from_secs(60);

/// Why there is no access token. Its text says what to do; it never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The account was never connected, or was revoked.
    #[error("the account {account} is not connected: send its user a link (`syncfleet accounts connect`)")]
    NotConnected {
        /// Which.
        account: AccountId,
    },
    /// A person must connect it again.
    #[error(
        "the account {account} must be connected again since {since}: {}; send its user a link (`syncfleet accounts \
         connect`)",
        reason.text()
    )]
    NeedsReconnect {
        /// Which.
        account: AccountId,
        /// Why.
        reason: Reason,
        /// Since when.
        since: Timestamp,
    },
    /// The application's registration or settings are wrong. Accounts are as good as before.
    #[error("no token for {account}: {what}")]
    Operator {
        /// Which.
        account: AccountId,
        /// What to check.
        what: String,
    },
    /// Not now.
    #[error("no token for {account} within the next {} s: {why}", after.as_secs_f64().ceil())]
    Later {
        /// Which.
        account: AccountId,
        /// How long to wait.
        after: Duration,
        /// What failed.
        why: String,
    },
    /// Another process asks for one, and that takes longer than was waited for.
    #[error("another process asks for a token for {account}, and takes long")]
    Busy {
        /// Which.
        account: AccountId,
    },
    /// No such provider in the settings.
    #[error("no provider {0} is configured")]
    UnknownProvider(ProviderName),
    /// The provider gives none to the application itself.
    #[error("{0} gives no token to the application itself: the settings give it no permissions of its own")]
    NoApplication(ProviderName),
    /// The grant cannot be read or written.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl From<PortError> for AccessError {
    fn from(error: PortError) -> Self {
        Self::Vault(VaultError::Store(error))
    }
}

impl AccessError {
    /// As a fault for a message's run. None costs an attempt: it is never the message's fault.
    pub fn fault(&self) -> Fault {
        let paused = |after| FaultKind::Paused { after };
        let (kind, code) = match self {
            Self::NotConnected { .. } => (FaultKind::Unauthorized, "not_connected"),
            Self::NeedsReconnect { .. } => (FaultKind::Unauthorized, "needs_reconnect"),
            Self::Operator { .. } => (paused(OPERATOR_PAUSE), "sign_in_misconfigured"),
            Self::Later { after, .. } => (paused(*after), "token_later"),
            Self::Busy { .. } => (FaultKind::Busy { after: Duration::from_secs(1) }, "token_busy"),
            Self::UnknownProvider(_) | Self::NoApplication(_) => {
                (paused(SETTINGS_PAUSE), "provider_misconfigured")
            }
            Self::Vault(VaultError::Store(error)) => return error.clone().into(),
            Self::Vault(VaultError::Key(_) | VaultError::OtherKey { .. } | VaultError::Damaged(_)) => {
                (paused(SETTINGS_PAUSE), "vault")
            }
        };
        Fault::new(kind, code, format!("{self}."))
    }

    /// The same for a message that is to wait until the account is connected: what only connecting ends is parked
    /// under `awaited` ([`AccountId::record_key`]), and is waked by it.
    pub fn fault_parked_under(&self, awaited: &RecordKey) -> Fault {
        let fault = self.fault();
        match self {
            Self::NotConnected { .. } | Self::NeedsReconnect { .. } => {
                Fault::parked(fault.code, &fault.text, awaited.clone())
            }
            Self::Operator { .. }
            | Self::Later { .. }
            | Self::Busy { .. }
            | Self::UnknownProvider(_)
            | Self::NoApplication(_)
            | Self::Vault(_) => fault,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_connecting_ends_waits_for_that_and_nothing_else_does() {
        let account = || "microsoft/user/6b00526cc80a09e94".parse::<AccountId>().unwrap();
        let awaited: RecordKey = "calendar:microsoft.6b00526cc80a09e94".parse().unwrap();
        let (reason, since) = (Reason::Revoked, Timestamp::UNIX_EPOCH);
        for error in [
            AccessError::NotConnected { account: account() },
            AccessError::NeedsReconnect { account: account(), reason, since },
        ] {
            let (plain, parked) = (error.fault(), error.fault_parked_under(&awaited));
            assert_eq!((parked.kind, parked.code), (FaultKind::Parked, plain.code));
            assert_eq!(parked.waits_for.as_deref(), Some(&awaited));
            assert!(parked.text.contains(&plain.text), "{parked}");
        }
        let error = AccessError::Busy { account: account() };
        assert_eq!(error.fault_parked_under(&awaited), error.fault());
    }

    #[test]
    fn no_fault_costs_an_attempt_and_only_a_person_ends_the_first_two() {
        let account = || "microsoft/user/6b00526cc80a09e94".parse::<AccountId>().unwrap();
        let provider = || account().provider;
        let after = Duration::from_secs(7);
        let (reason, since) = (Reason::Revoked, Timestamp::UNIX_EPOCH);
        let table = [
            (AccessError::NotConnected { account: account() }, "unauthorized", "not_connected"),
            (
                AccessError::NeedsReconnect { account: account(), reason, since },
                "unauthorized",
                "needs_reconnect",
            ),
            (
                AccessError::Operator { account: account(), what: "x".into() },
                "paused",
                "sign_in_misconfigured",
            ),
            (AccessError::Later { account: account(), after, why: "x".into() }, "paused", "token_later"),
            (AccessError::Busy { account: account() }, "busy", "token_busy"),
            (AccessError::UnknownProvider(provider()), "paused", "provider_misconfigured"),
            (AccessError::NoApplication(provider()), "paused", "provider_misconfigured"),
            (VaultError::Damaged("x".into()).into(), "paused", "vault"),
            (PortError::Unavailable("x".into()).into(), "paused", "port_unavailable"),
        ];
        for (error, kind, code) in table {
            let fault = error.fault();
            assert_eq!((fault.kind.name(), fault.code), (kind, code), "{error}");
        }
    }
}
