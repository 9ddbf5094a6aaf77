//! Telling the user of an account, once, that it must be connected again.

use std::time::Duration;

use jiff::Timestamp;
use shared::fault::Fault;
use url::Url;

use super::{ConnectError, Connecting};
use crate::account::{AccountId, Holder};
use crate::grant::GrantState;

/// What the user of an account is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Which account.
    pub account: AccountId,
    /// For the user: what happened and what to do. The link is in it.
    pub text: String,
    /// With it the user connects the account again. It is for this user alone.
    pub link: Url,
}

impl Connecting {
    /// Tells the user of an account that is over. Of all that find it over one calls `tell`; where that fails, the next
    /// one that finds it over tells. Answers whether this call has told. The link in it is good for `life`.
    ///
    /// # Errors
    /// The store's, the vault's, and those of `tell`.
    pub async fn tell_once<Telling: Future<Output = Result<(), Fault>>>(
        &self,
        account: &AccountId,
        life: Duration,
        now: Timestamp,
        tell: impl FnOnce(Notice) -> Telling,
    ) -> Result<bool, Fault> {
        let Holder::User(user) = &account.holder else { return Ok(false) };
        let summary = self.accounts.account(account).await.map_err(|error| error.fault())?;
        let Some(GrantState::NeedsReconnect { reason, told: false, .. }) = summary.map(|it| it.state) else {
            return Ok(false);
        };
        let unmade = |error: ConnectError| {
            let detail = error.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
            Fault::retryable(
                "connect_link",
                format!("No connect link could be made for {account}: {error}{detail}"),
            )
        };
        let link = self.link(&account.provider, user, life, now).map_err(unmade)?;
        let label = &self.endpoint(&account.provider).map_err(unmade)?.provider.label;
        let text = format!(
            "Your {label} account is no longer connected: {}. Nothing is synchronised with it until you connect it \
             again: {link}",
            reason.text()
        );
        if !self.accounts.mark_told(account).await.map_err(|error| error.fault())? {
            return Ok(false);
        }
        let told = tell(Notice { account: account.clone(), text, link }).await;
        if told.is_err()
            && let Err(error) = self.accounts.mark_untold(account).await
        {
            tracing::warn!("Nobody tells the user of {account} that it must be connected again: {error}");
        }
        told.map(|()| true)
    }
}
