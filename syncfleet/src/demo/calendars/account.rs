//! The account that the demo is about: its link, and whether it is connected.

use std::time::Duration;

use assembly::Parts;
use configuration::Config;
use reqwest::Method;
use serde_json::json;
use url::Url;
use vault::{Connecting, CrmUser, ProviderName};

use super::super::systems::Systems;
use crate::accounts::list;

const PROVIDER: &str = "microsoft";

/// A CRM user's account at the simulated Microsoft.
pub(super) struct Account<'a> {
    parts: &'a Parts,
    connecting: &'a Connecting,
    provider: ProviderName,
    user: CrmUser,
    link_life: Duration,
}

impl<'a> Account<'a> {
    pub(super) fn new(parts: &'a Parts, config: &Config, user: &str) -> Result<Self, String> {
        let (Some(connecting), Some(settings)) = (&parts.connecting, &config.accounts) else {
            return Err("the simulators that run here are older and have no Microsoft: remove the directory"
                .to_owned());
        };
        let provider = ProviderName::new(PROVIDER).map_err(|error| error.to_string())?;
        let user = CrmUser::new(user).map_err(|error| error.to_string())?;
        Ok(Self { parts, connecting, provider, user, link_life: settings.link_life })
    }

    /// A link with which it is connected.
    pub(super) fn link(&self) -> Result<Url, String> {
        let link = self.connecting.link(&self.provider, &self.user, self.link_life, self.parts.clock.now());
        link.map_err(|error| error.detail().unwrap_or_else(|| error.to_string()))
    }

    /// All accounts and how they stand.
    pub(super) async fn all(&self) -> Result<Vec<list::Line>, String> {
        list::read(self.parts).await.map_err(|error| error.to_string())
    }

    pub(super) async fn is_connected(&self) -> Result<bool, String> {
        let all = self.all().await?;
        Ok(all.iter().any(|line| line.account.provider == self.provider && line.state == "active"))
    }

    /// Does what its user does in the browser: opens the link, accepts, comes back.
    pub(super) async fn connect(&self, systems: &Systems, mail: &str) -> Result<(), String> {
        let microsoft = systems.addresses().microsoft.clone().unwrap_or_default();
        let consent = async |whose| {
            let path = "/_control/identity/consent";
            systems
                .control_at("Microsoft", &microsoft, Method::POST, path, Some(json!({ "as": whose })))
                .await
        };
        consent(Some(mail)).await?;
        let begun = systems.open(self.link()?.as_str(), None).await?;
        let to_provider = begun.location.ok_or("the link leads nowhere")?;
        let back = systems.open(&to_provider, None).await?.location.ok_or("the account was not connected")?;
        let cookie = begun.cookie.as_deref().and_then(|cookie| cookie.split(';').next());
        let ended = systems.open(&back, cookie).await?;
        consent(None).await?;
        if ended.status != 200 {
            return Err(format!("the account was not connected ({})", ended.status));
        }
        Ok(())
    }
}
