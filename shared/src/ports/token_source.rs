//! Where a connector gets the access token of the account it acts for.

use std::fmt::Debug;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::fault::Fault;

/// Access tokens of one account.
#[async_trait]
pub trait TokenSource: Send + Sync + Debug {
    /// A token that is valid now. To be asked for before each request: it is another one from time to time.
    ///
    /// # Errors
    /// [`crate::fault::FaultKind::Unauthorized`] where a person must connect the account again, or
    /// [`crate::fault::FaultKind::Parked`] where it is known what the message waits for then; paused or busy where
    /// there is no token for now. None costs an attempt.
    async fn token(&self) -> Result<SecretString, Fault>;

    /// The upstream refused this token with 401, and wants the next one to prove `claims`, where it says so
    /// (`WWW-Authenticate: … error="insufficient_claims", claims="…"`). The next call of [`Self::token`] has another
    /// one; where that one is refused as well, repeating does not help.
    ///
    /// # Errors
    /// As [`Self::token`].
    async fn refused(&self, token: &SecretString, claims: Option<&str>) -> Result<(), Fault>;
}
