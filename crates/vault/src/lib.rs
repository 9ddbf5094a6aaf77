//! Secrets at rest, and grants: authorisations to other systems, with their tokens.
//!
//! **Secrets** are sealed with XChaCha20-Poly1305 under a key that is not in the state store. A sealed secret is a small
//! JSON document: the id of its key, a nonce of its own, the ciphertext. Its place in the store is part of what is
//! authenticated, so that one secret cannot be put in another's place. Keys rotate: what is sealed is sealed with the
//! present key, what was sealed with a former one is opened as long as that one is named ([`Secrets::reseal_all`]).
//!
//! **Grants** are sealed secrets. [`Accounts`] gives access tokens from them, and asks for another one ahead of its end,
//! once for the whole fleet; [`Connecting`] leads a person through the provider's consent. A [`Provider`] is data.

mod access_error;
mod account;
mod accounts;
mod connect;
mod error;
mod expiry;
mod flight;
mod grant;
mod key;
mod provider;
mod refresh;
mod rotate;
mod sealed;
mod store;
mod token_endpoint;

#[cfg(test)]
mod tests;

pub use access_error::AccessError;
pub use account::{AccountId, CrmUser, Holder, NameError, ProviderName};
pub use accounts::{Accounts, AccountsSettings, Listed, Revoked, Waits};
pub use connect::{Before, Begun, ConnectError, Connected, Connecting, Notice};
pub use error::Reason;
pub use expiry::{SecretExpiry, grant_ends, grant_ends_soon, secret_expiry};
pub use grant::{AccountSummary, GrantState, Identity};
pub use key::{Key, KeyError, KeySource};
pub use provider::{ClientAuthentication, Provider, ProviderError, Registration, Rotation};
pub use rotate::Resealed;
pub use store::{Secrets, VaultError};
pub use token_endpoint::default_limits;
