//! A provider as data: its addresses, what it is asked for, and how it treats refresh tokens.

use std::fmt;
use std::time::Duration;

use jiff::civil::Date;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::account::ProviderName;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Tenants that are no organisation's own: they have no application permissions.
const SHARED_TENANTS: [&str; 3] = ["common", "organizations", "consumers"];
/// What this crate writes into an authorisation request by itself.
const RESERVED: [&str; 8] = [
    "client_id",
    "client_secret",
    "code_challenge",
    "code_challenge_method",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
];

/// What happens to a refresh token when it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// It stays; no other one comes.
    Never,
    /// Another one comes, and the old one lives on: a lost answer does no harm.
    OldLivesOn,
    /// Another one comes, and the old one is dead: a lost answer loses the grant.
    OldDies,
}

/// How the application proves itself to the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// Id and secret in the form.
    Form,
    /// Id and secret as Basic authentication.
    Basic,
}

/// The application as it is registered with a provider.
#[derive(Clone)]
pub struct Registration {
    /// The client's id.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: SecretString,
    /// The last day on which the secret works, where that is known.
    pub client_secret_expires: Option<Date>,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registration({}, ***)", self.client_id)
    }
}

/// Why a provider is unusable as configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the provider {provider}: {what}")]
pub struct ProviderError {
    /// Which.
    pub provider: String,
    /// What is wrong, and what it should be.
    pub what: String,
}

/// A provider of grants.
#[derive(Debug, Clone)]
pub struct Provider {
    /// Its name in addresses, settings and the state store.
    pub name: ProviderName,
    /// Its name for persons.
    pub label: String,
    /// Where a person is sent to consent.
    pub authorize_url: Url,
    /// Where tokens are had.
    pub token_url: Url,
    /// Where a token is given back, if that is possible.
    pub revoke_url: Option<Url>,
    /// What else an authorisation request says.
    pub authorize_parameters: Vec<(String, String)>,
    /// What a person is asked for.
    pub scopes: Vec<String>,
    /// What a token request asks for; nothing leaves it at what was granted.
    pub token_scopes: Vec<String>,
    /// What the application asks for in its own name, where it has permissions of its own.
    pub application_scope: Option<String>,
    /// What happens to a used refresh token.
    pub rotation: Rotation,
    /// How long a grant lives without being used.
    pub idle_life: Option<Duration>,
    /// How long a grant lives at most.
    pub total_life: Option<Duration>,
    /// How the application proves itself.
    pub authentication: ClientAuthentication,
    /// The application's registration.
    pub registration: Registration,
}

impl Provider {
    /// Microsoft 365, with the scopes that calendars need. `tenant` is `common`, `organizations`, `consumers`, a
    /// tenant's id or one of its domains; `authority` is <https://login.microsoftonline.com/> but for national clouds.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub fn microsoft(
        authority: &Url,
        tenant: &str,
        registration: Registration,
    ) -> Result<Self, ProviderError> {
        let name = ProviderName::known("microsoft");
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        if tenant.is_empty() || tenant.len() > 253 || !tenant.bytes().all(allowed) {
            let what = "the tenant is an id, a domain, `common`, `organizations` or `consumers`".to_owned();
            return Err(ProviderError { provider: name.to_string(), what });
        }
        let below = |path: &str| join(authority, &name, &format!("{tenant}/oauth2/v2.0/{path}"));
        let graph = |scope: &str| format!("https://graph.microsoft.com/{scope}");
        let scopes = ["offline_access", "openid", "profile"].map(str::to_owned).into_iter().chain([
            graph("User.Read"),
            graph("Calendars.ReadWrite"),
            graph("MailboxSettings.Read"),
        ]);
        let scopes: Vec<String> = scopes.collect();
        let provider = Self {
            label: "Microsoft 365".to_owned(),
            authorize_url: below("authorize")?,
            token_url: below("token")?,
            revoke_url: None,
            authorize_parameters: pairs(&[("response_mode", "query"), ("prompt", "select_account")]),
            token_scopes: scopes.clone(),
            scopes,
            application_scope: (!SHARED_TENANTS.contains(&tenant)).then(|| graph(".default")),
            rotation: Rotation::OldLivesOn,
            idle_life: Some(90 * DAY),
            total_life: None,
            authentication: ClientAuthentication::Form,
            registration,
            name,
        };
        provider.checked()
    }

    /// Google, with the scopes that calendars need. Asks for consent each time, since a refresh token comes only with
    /// consent.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub fn google(registration: Registration) -> Result<Self, ProviderError> {
        let name = ProviderName::known("google");
        let parse = |text| fixed(&name, text);
        let provider = Self {
            label: "Google".to_owned(),
            authorize_url: parse("https://accounts.google.com/o/oauth2/v2/auth")?,
            token_url: parse("https://oauth2.googleapis.com/token")?,
            revoke_url: Some(parse("https://oauth2.googleapis.com/revoke")?),
            authorize_parameters: pairs(&[("access_type", "offline"), ("prompt", "consent")]),
            scopes: [
                "openid",
                "email",
                "https://www.googleapis.com/auth/calendar.events",
                "https://www.googleapis.com/auth/calendar.calendarlist.readonly",
            ]
            .map(str::to_owned)
            .to_vec(),
            token_scopes: Vec::new(),
            application_scope: None,
            rotation: Rotation::Never,
            // Six months, of which the shortest have 181 days.
            idle_life: Some(181 * DAY),
            total_life: None,
            authentication: ClientAuthentication::Form,
            registration,
            name,
        };
        provider.checked()
    }

    /// The same provider, if it can be used: to be called for every one that is put together by hand.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub fn checked(self) -> Result<Self, ProviderError> {
        let wrong = |what: String| ProviderError { provider: self.name.to_string(), what };
        let urls = [("authorize_url", Some(&self.authorize_url)), ("token_url", Some(&self.token_url))];
        for (field, url) in urls.into_iter().chain([("revoke_url", self.revoke_url.as_ref())]) {
            let Some(url) = url else { continue };
            http_client::base_url(url).map_err(|error| wrong(format!("its {field}: {error}")))?;
            if url.path().contains(['%', '{', '}']) {
                return Err(wrong(format!("its {field} must be plain, without % and braces in its path")));
            }
        }
        let words = |scope: &String| scope.is_empty() || scope.contains(char::is_whitespace);
        let mut scopes = self.scopes.iter().chain(&self.token_scopes).chain(&self.application_scope);
        if self.scopes.is_empty() || scopes.any(words) {
            return Err(wrong("its scopes must be words, at least one".to_owned()));
        }
        if let Some((name, _)) =
            self.authorize_parameters.iter().find(|(n, _)| RESERVED.contains(&n.as_str()))
        {
            return Err(wrong(format!("authorize_parameters may not set {name}")));
        }
        if self.registration.client_id.trim().is_empty() {
            return Err(wrong("it has no client_id".to_owned()));
        }
        if self.registration.client_secret.expose_secret().trim().is_empty() {
            return Err(wrong("it has no client_secret".to_owned()));
        }
        Ok(self)
    }

    /// The label of its sign-in in metrics and faults.
    pub(crate) fn system(&self) -> &'static str {
        match self.name.as_str() {
            "microsoft" => "microsoft_login",
            "google" => "google_login",
            _ => "other_login",
        }
    }

    /// Which scopes were asked for and not granted; some providers let a person untick them. Those that only say who
    /// signs in do not count, since answers name them differently or not at all.
    pub fn missing(&self, granted: &[String]) -> Vec<String> {
        let signing_in = ["openid", "profile", "email", "offline_access"];
        let has = |scope: &str| granted.iter().any(|it| short(it).eq_ignore_ascii_case(short(scope)));
        let asked = self.scopes.iter().filter(|scope| !signing_in.contains(&scope.as_str()));
        asked.filter(|scope| !has(scope)).cloned().collect()
    }
}

/// A scope without Graph's address, which may be left out on both ways.
fn short(scope: &str) -> &str {
    scope.strip_prefix("https://graph.microsoft.com/").unwrap_or(scope)
}

fn pairs(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
    parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn fixed(name: &ProviderName, text: &str) -> Result<Url, ProviderError> {
    Url::parse(text).map_err(|error| ProviderError { provider: name.to_string(), what: error.to_string() })
}

fn join(base: &Url, name: &ProviderName, path: &str) -> Result<Url, ProviderError> {
    let wrong = |what: String| ProviderError { provider: name.to_string(), what };
    let base = http_client::base_url(base).map_err(|error| wrong(error.to_string()))?;
    base.join(path).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn registration() -> Registration {
        Registration {
            client_id: "00001111-aaaa-2222-bbbb-3333cccc4444".to_owned(),
            client_secret: "sampleCredentials".into(),
            client_secret_expires: None,
        }
    }

    pub(crate) fn microsoft(tenant: &str) -> Result<Provider, ProviderError> {
        let authority = Url::parse("https://login.microsoftonline.com").unwrap();
        Provider::microsoft(&authority, tenant, registration())
    }

    #[test]
    fn the_built_in_ones_are_as_the_vendors_say() {
        let it = microsoft("contoso.example").unwrap();
        assert_eq!(
            it.token_url.as_str(),
            "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token"
        );
        assert_eq!(it.application_scope.as_deref(), Some("https://graph.microsoft.com/.default"));
        assert!(it.scopes.contains(&"offline_access".to_owned()), "without it no refresh token comes");
        assert_eq!(microsoft("common").unwrap().application_scope, None);
        let google = Provider::google(registration()).unwrap();
        for needed in [("access_type", "offline"), ("prompt", "consent")] {
            assert!(google.authorize_parameters.iter().any(|(n, v)| (n.as_str(), v.as_str()) == needed));
        }
        assert_eq!(google.revoke_url.unwrap().as_str(), "https://oauth2.googleapis.com/revoke");
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        for tenant in ["", "a/b", "a b", "..%2f"] {
            assert!(microsoft(tenant).unwrap_err().to_string().contains("tenant"), "{tenant}");
        }
        let check = |change: &dyn Fn(&mut Provider), says: &str| {
            let mut provider = microsoft("common").unwrap();
            change(&mut provider);
            let text = provider.checked().unwrap_err().to_string();
            assert!(text.contains("microsoft") && text.contains(says), "{text}");
            assert!(!text.contains("sampleCredentials"), "{text}");
        };
        let url = |text: &str| Url::parse(text).unwrap();
        check(&|it| it.token_url = url("ftp://x.example/token"), "token_url");
        check(&|it| it.token_url = url("https://x.example/token?a=b"), "token_url");
        check(&|it| it.authorize_url = url("https://x.example/{tenant}"), "authorize_url");
        check(&|it| it.revoke_url = Some(url("https://u:p@x.example/r")), "revoke_url");
        check(&|it| it.scopes.clear(), "scopes");
        check(&|it| it.scopes.push("a b".into()), "scopes");
        check(&|it| it.authorize_parameters.push(("state".into(), "1".into())), "state");
        check(&|it| it.registration.client_id = " ".into(), "client_id");
        check(&|it| it.registration.client_secret = "".into(), "client_secret");
    }

    #[test]
    fn a_secret_is_not_printed() {
        let printed = format!("{:?}", microsoft("common").unwrap());
        assert!(!printed.contains("sampleCredentials"), "{printed}");
    }

    #[test]
    fn scopes_that_a_person_unticked_are_named() {
        let it = microsoft("common").unwrap();
        let granted = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let all = "https://graph.microsoft.com/Calendars.ReadWrite User.Read mailboxsettings.read";
        assert!(it.missing(&granted(all)).is_empty());
        assert_eq!(
            it.missing(&granted("User.Read MailboxSettings.Read")),
            ["https://graph.microsoft.com/Calendars.ReadWrite"]
        );
    }
}
