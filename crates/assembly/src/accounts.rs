//! Accounts at other providers, as configured.

use std::sync::Arc;

use configuration::{Client, ClientProof, Config, Google, Microsoft, OtherProvider, UsedToken};
use shared::clock::Clock;
use shared::meter::Meter;
use shared::ports::PortError;
use vault::{
    Accounts, AccountsSettings, ClientAuthentication, Connecting, Provider, ProviderError, ProviderName,
    Registration, Rotation, Secrets, Waits, default_limits,
};

use crate::parties::wrong;

/// The accounts; without providers they can be listed and no more.
pub(crate) fn build(
    config: &Config,
    secrets: Secrets,
    meter: Arc<dyn Meter>,
    clock: Arc<dyn Clock>,
) -> Result<Accounts, PortError> {
    let settings = &config.provider;
    let microsoft = settings.microsoft.as_ref().map(microsoft);
    let google = settings.google.as_ref().map(google);
    let others = settings.others.iter().map(|(name, settings)| other(name, settings));
    let providers = microsoft.into_iter().chain(google).chain(others);
    let providers = providers.map(|provider| Ok((provider.map_err(wrong)?, default_limits())));
    let providers = providers.collect::<Result<_, PortError>>()?;
    let waits = Waits::default();
    Accounts::new(AccountsSettings { secrets, providers, waits, meter, clock }).map_err(wrong)
}

/// How accounts are connected; `None` without providers.
pub(crate) fn connecting(config: &Config, accounts: &Accounts) -> Result<Option<Connecting>, PortError> {
    let Some(settings) = &config.accounts else { return Ok(None) };
    let connecting = Connecting::new(accounts.clone(), &settings.public_url);
    connecting.map(Some).map_err(|error| wrong(format!("accounts.public_url: {error}")))
}

fn registration(client: &Client) -> Registration {
    Registration {
        client_id: client.id.clone(),
        client_secret: client.secret.clone(),
        client_secret_expires: client.secret_expires,
    }
}

fn microsoft(settings: &Microsoft) -> Result<Provider, ProviderError> {
    let of = |authority| Provider::microsoft(authority, &settings.tenant, registration(&settings.client));
    let provider = of(&settings.authority_url)?;
    let for_browsers = of(&settings.sign_in_url)?;
    let application_scope = settings.application_permissions.then(|| settings.application_scope.clone());
    let provider = Provider {
        authorize_url: for_browsers.authorize_url,
        scopes: settings.scopes.clone(),
        token_scopes: settings.scopes.clone(),
        application_scope,
        ..provider
    };
    provider.checked()
}

fn google(settings: &Google) -> Result<Provider, ProviderError> {
    let provider = Provider {
        authorize_url: settings.authorize_url.clone(),
        token_url: settings.token_url.clone(),
        revoke_url: Some(settings.revoke_url.clone()),
        scopes: settings.scopes.clone(),
        total_life: settings.grant_life_max,
        ..Provider::google(registration(&settings.client))?
    };
    provider.checked()
}

fn other(name: &str, settings: &OtherProvider) -> Result<Provider, ProviderError> {
    let unnamed =
        |error: vault::NameError| ProviderError { provider: name.to_owned(), what: error.to_string() };
    let provider = Provider {
        name: ProviderName::new(name).map_err(unnamed)?,
        label: settings.label.clone(),
        authorize_url: settings.authorize_url.clone(),
        token_url: settings.token_url.clone(),
        revoke_url: settings.revoke_url.clone(),
        authorize_parameters: settings.authorize_parameters.clone(),
        scopes: settings.scopes.clone(),
        token_scopes: settings.token_scopes.clone(),
        application_scope: settings.application_scope.clone(),
        rotation: match settings.rotation {
            UsedToken::Stays => Rotation::Never,
            UsedToken::LivesOn => Rotation::OldLivesOn,
            UsedToken::Dies => Rotation::OldDies,
        },
        idle_life: settings.idle_life_max,
        total_life: settings.grant_life_max,
        authentication: match settings.authentication {
            ClientProof::Form => ClientAuthentication::Form,
            ClientProof::Basic => ClientAuthentication::Basic,
        },
        registration: registration(&settings.client),
    };
    provider.checked()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::from_text("test.toml", text, [("S".to_owned(), "secret".to_owned())]).unwrap()
    }

    #[test]
    fn the_defaults_are_the_providers_own() {
        let settings = config(
            "accounts.public_url = \"https://sync.example\"\n[provider.microsoft]\nclient_id = \"1\"\n\
             client_secret = \"env:S\"\n[provider.google]\nclient_id = \"2\"\nclient_secret = \"env:S\"\n",
        );
        let ours = microsoft(settings.provider.microsoft.as_ref().unwrap()).unwrap();
        let authority = ours.token_url.join("/").unwrap();
        let theirs = Provider::microsoft(&authority, "common", ours.registration.clone()).unwrap();
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
        let ours = google(settings.provider.google.as_ref().unwrap()).unwrap();
        let theirs = Provider::google(ours.registration.clone()).unwrap();
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    }

    #[test]
    fn browsers_may_be_sent_elsewhere_and_the_application_has_permissions_where_that_is_said() {
        let text = "accounts.public_url = \"https://sync.example\"\n[provider.microsoft]\nclient_id = \"1\"\n\
                    client_secret = \"env:S\"\ntenant = \"contoso.example\"\nauthority_url = \"http://login:1\"\n\
                    sign_in_url = \"http://localhost:1\"\n";
        let provider = |text: &str| microsoft(config(text).provider.microsoft.as_ref().unwrap()).unwrap();
        assert_eq!(provider(text).application_scope, None);
        let provider = provider(&format!("{text}application_permissions = true\n"));
        let path = "contoso.example/oauth2/v2.0";
        assert_eq!(provider.authorize_url.as_str(), format!("http://localhost:1/{path}/authorize"));
        assert_eq!(provider.token_url.as_str(), format!("http://login:1/{path}/token"));
        assert_eq!(provider.application_scope.as_deref(), Some("https://graph.microsoft.com/.default"));
    }

    #[test]
    fn what_no_provider_can_be_is_refused_by_name() {
        let settings = config(
            "accounts.public_url = \"https://sync.example\"\n[provider.Acme]\nclient_id = \"1\"\n\
             client_secret = \"env:S\"\nauthorize_url = \"https://a.example/a\"\n\
             token_url = \"https://a.example/t\"\nscopes = \"x\"\n",
        );
        let error = other("Acme", &settings.provider.others["Acme"]).unwrap_err().to_string();
        assert!(error.contains("the provider Acme") && error.contains("a-z"), "{error}");
        let mut named = settings.provider.others["Acme"].clone();
        assert!(other("acme", &named).is_ok());
        named.authorize_parameters = vec![("state".into(), "1".into())];
        assert!(other("acme", &named).unwrap_err().to_string().contains("authorize_parameters"));
    }
}
