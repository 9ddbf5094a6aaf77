//! The settings of accounts at other providers: `[accounts]` and `[provider.…]`. A provider's settings are there
//! exactly when it has a client id.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::Date;
use secrecy::SecretString;
use url::{Host, Url};

use crate::connectors::{RequestLimits, limits};
use crate::reader::{Reader, Section};
use crate::secret::Need;

const CLIENT: &str = "because client_id is set";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// `[accounts]`; there when a provider is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountsSection {
    /// Where browsers and providers reach this installation.
    pub public_url: Url,
    /// How long a connect link is good.
    pub link_life: Duration,
}

/// `[provider.…]`
#[derive(Debug, Clone)]
pub struct Providers {
    /// Microsoft 365.
    pub microsoft: Option<Microsoft>,
    /// Google.
    pub google: Option<Google>,
    /// Others, by name.
    pub others: BTreeMap<String, OtherProvider>,
}

impl Providers {
    /// Whether none is configured.
    pub fn is_empty(&self) -> bool {
        self.microsoft.is_none() && self.google.is_none() && self.others.is_empty()
    }

    /// The secrets of the applications, by the providers' names.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &SecretString)> {
        let microsoft = self.microsoft.iter().map(|it| ("microsoft", &it.client));
        let google = self.google.iter().map(|it| ("google", &it.client));
        let others = self.others.iter().map(|(name, it)| (name.as_str(), &it.client));
        microsoft.chain(google).chain(others).map(|(name, client)| (name, &client.secret))
    }
}

/// The application as it is registered with a provider.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: SecretString,
    /// The last day on which the secret works.
    pub secret_expires: Option<Date>,
}

/// `[provider.microsoft]`
#[derive(Debug, Clone)]
pub struct Microsoft {
    /// The application.
    pub client: Client,
    /// Who may sign in.
    pub tenant: String,
    /// What users are asked for.
    pub scopes: Vec<String>,
    /// Whether mailboxes are reached by the application's own permissions.
    pub application_permissions: bool,
    /// What the application asks for in its own name.
    pub application_scope: String,
    /// Where tokens are had.
    pub authority_url: Url,
    /// Where browsers are sent.
    pub sign_in_url: Url,
    /// Graph.
    pub api_url: Url,
    /// What bounds the requests for one mailbox.
    pub limits: RequestLimits,
}

/// `[provider.google]`
#[derive(Debug, Clone)]
pub struct Google {
    /// The OAuth client.
    pub client: Client,
    /// What users are asked for.
    pub scopes: Vec<String>,
    /// How long a grant lives at most.
    pub grant_life_max: Option<Duration>,
    /// Where users consent.
    pub authorize_url: Url,
    /// Where tokens are had.
    pub token_url: Url,
    /// Where a grant is given back.
    pub revoke_url: Url,
    /// The Calendar API.
    pub api_url: Url,
    /// What bounds the requests for one user.
    pub limits: RequestLimits,
}

/// `[provider.NAME]`
#[derive(Debug, Clone)]
pub struct OtherProvider {
    /// The application.
    pub client: Client,
    /// Its name for persons.
    pub label: String,
    /// How the application proves itself.
    pub authentication: ClientProof,
    /// Where users consent.
    pub authorize_url: Url,
    /// What else that address is given.
    pub authorize_parameters: Vec<(String, String)>,
    /// Where tokens are had.
    pub token_url: Url,
    /// Where a grant is given back.
    pub revoke_url: Option<Url>,
    /// What users are asked for.
    pub scopes: Vec<String>,
    /// What a token is asked for with.
    pub token_scopes: Vec<String>,
    /// What the application asks for in its own name.
    pub application_scope: Option<String>,
    /// What becomes of a used refresh token.
    pub rotation: UsedToken,
    /// How long a grant lives without being used.
    pub idle_life_max: Option<Duration>,
    /// How long a grant lives at most.
    pub grant_life_max: Option<Duration>,
}

/// How an application proves itself to a token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientProof {
    /// Id and secret in the form.
    Form,
    /// Basic authentication.
    Basic,
}

/// What becomes of a used refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsedToken {
    /// It stays.
    Stays,
    /// Another one comes, and it lives on.
    LivesOn,
    /// Another one comes, and it is dead.
    Dies,
}

/// What all providers' sections begin with. `None` where there is no client id.
struct ClientKeys {
    need: Need,
    id: String,
    secret: Option<SecretString>,
    secret_expires: Option<Date>,
}

impl ClientKeys {
    fn read(section: &mut Section<'_, '_>) -> Self {
        let id = section.text("client_id").trim().to_owned();
        let need = Need::required_if(!id.is_empty(), CLIENT);
        let secret = section.secret("client_secret", need);
        let expected = "a day, such as \"2027-06-30\", or \"\"";
        let secret_expires = section.parsed("client_secret_expires", expected, |text| match text {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|error: jiff::Error| error.to_string()),
        });
        Self { need, id, secret, secret_expires: secret_expires.flatten() }
    }

    fn client(self) -> Option<Client> {
        let client = Client { id: self.id, secret: self.secret?, secret_expires: self.secret_expires };
        Some(client).filter(|client| !client.id.is_empty())
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn scopes(section: &mut Section<'_, '_>, need: Need) -> Vec<String> {
    words(&section.needed_text("scopes", need))
}

fn days(section: &mut Section<'_, '_>, name: &str) -> Option<Duration> {
    let days: u32 = section.integer(name, 0..=3_650);
    (days > 0).then(|| DAY * days)
}

const WEB: [&str; 2] = ["https", "http"];

pub(crate) fn providers(reader: &mut Reader<'_>) -> Providers {
    let (microsoft, google) = (microsoft(reader), google(reader));
    // The pattern is read as well, so that its own keys are held against the reference.
    let pattern = other(reader, "*");
    debug_assert!(pattern.is_none());
    let names = reader.layers.items("provider");
    let others = names.into_iter().filter_map(|name| Some((name.clone(), other(reader, &name)?)));
    Providers { microsoft, google, others: others.collect() }
}

fn microsoft(reader: &mut Reader<'_>) -> Option<Microsoft> {
    let mut section = reader.section("provider.microsoft");
    let client = ClientKeys::read(&mut section);
    let need = client.need;
    let expected = "a tenant's id, a domain, \"common\", \"organizations\" or \"consumers\"";
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    let is_tenant = |text: &str| (1..=253).contains(&text.len()) && text.bytes().all(allowed);
    let tenant = section.text_where("tenant", expected, is_tenant);
    let scopes = scopes(&mut section, need);
    let application_permissions = section.flag("application_permissions");
    if application_permissions && ["common", "organizations", "consumers"].contains(&tenant.as_str()) {
        section.contradiction(
            "application_permissions",
            "false, or provider.microsoft.tenant a tenant of its own",
        );
    }
    let application_scope = section.needed_text("application_scope", need);
    let authority_url = section.url("authority_url", &WEB, need);
    let sign_in_url = section.url("sign_in_url", &WEB, Need::Optional);
    let api_url = section.url("api_url", &WEB, need);
    let limits = limits(&mut section);
    let (client, authority_url) = (client.client()?, authority_url?);
    Some(Microsoft {
        client,
        tenant,
        scopes,
        application_permissions,
        application_scope,
        sign_in_url: sign_in_url.unwrap_or_else(|| authority_url.clone()),
        authority_url,
        api_url: api_url?,
        limits,
    })
}

fn google(reader: &mut Reader<'_>) -> Option<Google> {
    let mut section = reader.section("provider.google");
    let client = ClientKeys::read(&mut section);
    let need = client.need;
    let scopes = scopes(&mut section, need);
    let grant_life_max = days(&mut section, "grant_days_max");
    let authorize_url = section.url("authorize_url", &WEB, need);
    let token_url = section.url("token_url", &WEB, need);
    let revoke_url = section.url("revoke_url", &WEB, need);
    let api_url = section.url("api_url", &WEB, need);
    let limits = limits(&mut section);
    Some(Google {
        client: client.client()?,
        scopes,
        grant_life_max,
        authorize_url: authorize_url?,
        token_url: token_url?,
        revoke_url: revoke_url?,
        api_url: api_url?,
        limits,
    })
}

fn other(reader: &mut Reader<'_>, name: &str) -> Option<OtherProvider> {
    let mut section = reader.section(format!("provider.{name}"));
    let label = section.text("label");
    let client = ClientKeys::read(&mut section);
    let need = client.need;
    let authentication =
        section.word("authentication", &[("form", ClientProof::Form), ("basic", ClientProof::Basic)]);
    let authorize_url = section.url("authorize_url", &WEB, need);
    let parameters = section.text("authorize_parameters");
    let authorize_parameters = url::form_urlencoded::parse(parameters.as_bytes()).into_owned().collect();
    let token_url = section.url("token_url", &WEB, need);
    let revoke_url = section.url("revoke_url", &WEB, Need::Optional);
    let scopes = scopes(&mut section, need);
    let token_scopes = words(&section.text("token_scopes"));
    let application_scope = Some(section.text("application_scope")).filter(|scope| !scope.is_empty());
    let rotation = section.word(
        "rotation",
        &[("never", UsedToken::Stays), ("old_lives_on", UsedToken::LivesOn), ("old_dies", UsedToken::Dies)],
    );
    let idle_life_max = days(&mut section, "idle_days_max");
    let grant_life_max = days(&mut section, "grant_days_max");
    Some(OtherProvider {
        client: client.client()?,
        label: if label.is_empty() { name.to_owned() } else { label },
        authentication,
        authorize_url: authorize_url?,
        authorize_parameters,
        token_url: token_url?,
        revoke_url,
        scopes,
        token_scopes,
        application_scope,
        rotation,
        idle_life_max,
        grant_life_max,
    })
}

pub(crate) fn accounts(reader: &mut Reader<'_>, providers: &Providers) -> Option<AccountsSection> {
    let mut section = reader.section("accounts");
    let need = Need::required_if(!providers.is_empty(), "because a provider is configured");
    let public_url = section.url("public_url", &WEB, need);
    let link_life = section.seconds("link_seconds", 60..=604_800);
    if let Some(url) = &public_url {
        if url.scheme() != "https" && !is_this_machine(url) {
            section.contradiction(
                "public_url",
                "https://, since providers send no one back to another (but to localhost)",
            );
        } else if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
            section.contradiction("public_url", "an address without user, ? and #");
        }
    }
    Some(AccountsSection { public_url: public_url?, link_life }).filter(|_| !providers.is_empty())
}

fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
