//! Our side: the store, the grants, the flow.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adapter_embedded::{Embedded, EmbeddedOptions, Role};
use connector_espocrm::EspoCrm;
use flows::calendar::client::CalendarProvider;
use flows::calendar::espocrm::EspoCalendar;
use flows::calendar::further::Carried;
use flows::calendar::google::GoogleCalendars;
use flows::calendar::outlook::Outlook;
use flows::calendar::{CalendarFlow, CalendarParts, CalendarSettings, UserSettings, WindowSettings};
use http_client::Limits;
use http_client::breaker::BreakerPolicy;
use jiff::tz::TimeZone;
use reqwest::Url;
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::clock::{Clock, ManualClock};
use shared::flow::Flow;
use shared::meter::{Meter, Metric, NoMeter};
use shared::ports::state::State;
use simulators::microsoft::Consent;
use simulators::{GoogleOptions, espocrm};
use tempfile::TempDir;
use vault::{
    AccountId, Accounts, AccountsSettings, Connecting, CrmUser, Key, KeySource, ProviderName, Registration,
    Secrets, Waits, default_limits,
};

use super::affairs::{Calendar, Kind};
use super::hooks::PREFIX;
use super::people::Office;
use super::says::Provider;
use super::store::Tearing;
use super::world::REACH;

/// Events in a page: few, so that there are several.
pub const PAGE_EVENTS: u16 = 20;

/// What is kept when our memory is lost.
pub const VAULT: [&str; 1] = ["vault/"];

pub struct Installation {
    pub store: Arc<Tearing>,
    pub clock: Arc<ManualClock>,
    hooks_url: String,
    webhooks: BTreeMap<String, SecretString>,
    key: SecretString,
    /// Share and number of deletions beyond which a person has to release them.
    pub mass_change: (f64, u32),
    /// What is carried over beside what always is.
    pub carried: Carried,
    /// What is different for some users, by their ids in the CRM.
    pub users: BTreeMap<String, UserSettings>,
    /// Whether meetings of the CRM go out.
    pub meetings: bool,
    /// The same of calls.
    pub calls: bool,
    /// Whether guests may get mail.
    pub send_mail: bool,
    /// What the flow shows of itself.
    pub gauges: Arc<Gauges>,
    browser: reqwest::Client,
    _dir: TempDir,
}

/// The last value of each gauge.
#[derive(Debug, Default)]
pub struct Gauges(Mutex<BTreeMap<&'static str, f64>>);

impl Gauges {
    pub fn of(&self, metric: &'static Metric) -> Option<f64> {
        self.0.lock().unwrap().get(metric.name).copied()
    }
}

impl Meter for Gauges {
    fn add(&self, _: &'static Metric, _: &[&str], _: u64) {}
    fn set(&self, metric: &'static Metric, _: &[&str], value: f64) {
        self.0.lock().unwrap().insert(metric.name, value);
    }
    fn shift(&self, _: &'static Metric, _: &[&str], _: f64) {}
    fn observe(&self, _: &'static Metric, _: &[&str], _: f64) {}
}

pub fn limits() -> Limits {
    Limits {
        deadline: Duration::from_secs(5),
        requests_per_second_max: 10_000,
        concurrency_max: 4,
        breaker: BreakerPolicy { failures_max: 10_000, ..BreakerPolicy::default() },
        ..Limits::default()
    }
}

impl Installation {
    #[expect(clippy::disallowed_methods, reason = "the test is a browser")]
    pub async fn open(office: &Office, clock: &Arc<ManualClock>, hooks_url: &str) -> Self {
        http_client::install_crypto_provider();
        // What is on no disk need not wait for one.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
        let options = EmbeddedOptions::new(dir.path(), Role::Serving, Arc::clone(clock) as Arc<dyn Clock>);
        let state: Arc<dyn State> = Embedded::open(options).unwrap().state;
        let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let mut installation = Self {
            store: Tearing::new(state),
            clock: Arc::clone(clock),
            hooks_url: hooks_url.to_owned(),
            webhooks: BTreeMap::new(),
            key: Key::generate(),
            // Whoever is held back waits for a person, and as a rule there is none.
            mass_change: (1.0, 50),
            carried: Carried::default(),
            users: BTreeMap::new(),
            meetings: true,
            calls: true,
            send_mail: false,
            gauges: Arc::default(),
            browser,
            _dir: dir,
        };
        super::crm::provision(&office.crm);
        installation.make_webhooks(office).await;
        installation
    }

    fn provider(office: &Office, provider: Provider) -> vault::Provider {
        let registration = |id: &str, secret: &str| Registration {
            client_id: id.to_owned(),
            client_secret: secret.into(),
            client_secret_expires: None,
        };
        match provider {
            Provider::Microsoft => {
                let known =
                    registration(simulators::microsoft::CLIENT_ID, simulators::microsoft::CLIENT_SECRET);
                let authority = Url::parse(&office.microsoft.base_url()).unwrap();
                vault::Provider::microsoft(&authority, simulators::microsoft::TENANT, known).unwrap()
            }
            Provider::Google => {
                let options = GoogleOptions::default();
                let at = |path: &str| Url::parse(&format!("{}{path}", office.google.base_url())).unwrap();
                let google =
                    vault::Provider::google(registration(&options.client_id, &options.client_secret));
                let google = vault::Provider {
                    authorize_url: at("/o/oauth2/v2/auth"),
                    token_url: at("/token"),
                    revoke_url: Some(at("/revoke")),
                    ..google.unwrap()
                };
                google.checked().unwrap()
            }
        }
    }

    /// The grants, as a process that begins has them.
    pub fn accounts(&self, office: &Office) -> Accounts {
        let limits = Limits { requests_per_second_max: 10_000, concurrency_max: 100, ..default_limits() };
        let providers =
            [Provider::Microsoft, Provider::Google].map(|it| (Self::provider(office, it), limits));
        Accounts::new(AccountsSettings {
            secrets: self.secrets(),
            providers: providers.to_vec(),
            waits: Waits {
                wait_max: Duration::from_millis(100),
                poll: Duration::from_millis(5),
                ..Waits::default()
            },
            meter: Arc::new(NoMeter),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
        })
        .unwrap()
    }

    /// The flow, as a process that begins has it.
    pub async fn flow(&self, office: &Office) -> Arc<dyn Flow> {
        let clock = || Arc::clone(&self.clock) as Arc<dyn Clock>;
        let state = Arc::clone(&self.store) as Arc<dyn State>;
        let credentials = connector_espocrm::Credentials::ApiKey(espocrm::API_KEY.to_owned().into());
        let url = office.crm.base_url().parse().unwrap();
        let crm = connector_espocrm::Settings { url, credentials, limits: limits(), fleet: None };
        let crm = EspoCrm::new(crm, Arc::new(NoMeter), clock()).unwrap();
        let crm =
            EspoCalendar::new(crm, TimeZone::get("Europe/Berlin").unwrap(), self.carried.clone()).unwrap();
        let graph = connector_msgraph::Settings {
            url: format!("{}/v1.0/", office.microsoft.base_url()).parse().unwrap(),
            limits: limits(),
            fleet: None,
        };
        let outlook: Arc<dyn CalendarProvider> = Arc::new(Outlook::new(graph, Arc::new(NoMeter), clock()));
        let calendar = connector_google::Settings {
            url: format!("{}/calendar/v3/", office.google.base_url()).parse().unwrap(),
            limits: limits(),
            fleet: None,
        };
        let google: Arc<dyn CalendarProvider> =
            Arc::new(GoogleCalendars::new(calendar, self.send_mail, Arc::new(NoMeter), clock()));
        let name = |provider: Provider| ProviderName::new(provider.name()).unwrap();
        let accounts = self.accounts(office);
        let address = Url::parse("https://sync.example").unwrap();
        let parts = CalendarParts {
            settings: self.settings(),
            crm: Arc::new(crm),
            providers: BTreeMap::from([
                (name(Provider::Microsoft), outlook),
                (name(Provider::Google), google),
            ]),
            connecting: Connecting::new(accounts.clone(), &address).unwrap(),
            accounts,
            secrets: self.secrets(),
            state,
            meter: Arc::clone(&self.gauges) as Arc<dyn Meter>,
        };
        Arc::new(CalendarFlow::new(parts).unwrap())
    }

    fn settings(&self) -> CalendarSettings {
        let days = |days: i64| u16::try_from(days).unwrap();
        CalendarSettings {
            window: WindowSettings {
                back_days: days(REACH.back_days),
                ahead_days: days(REACH.ahead_days),
                page_events_max: PAGE_EVENTS,
            },
            mass_change_share_max: self.mass_change.0,
            mass_change_count_min: self.mass_change.1,
            webhook_secrets: self.webhooks.clone(),
            carried: self.carried.clone(),
            users: self.users.clone(),
            meetings: self.meetings,
            calls: self.calls,
            send_mail: self.send_mail,
            public_url: Some(self.hooks_url.parse().unwrap()),
            ..CalendarSettings::default()
        }
    }

    fn secrets(&self) -> Secrets {
        let state: Arc<dyn State> = Arc::clone(&self.store) as Arc<dyn State>;
        Secrets::new(state, KeySource::Given(Key::parse(&self.key, "test").unwrap()), vec![])
    }

    /// The webhooks of EspoCRM, as an administrator makes them.
    async fn make_webhooks(&mut self, office: &Office) {
        for kind in [Kind::Meeting, Kind::Call] {
            for event in ["create", "update", "delete"] {
                let path = format!("{PREFIX}/{}/{event}", kind.name().to_lowercase());
                let body = json!({
                    "event": format!("{}.{event}", kind.name()), "url": format!("{}{path}", self.hooks_url),
                    "skipOwn": true,
                });
                let request = self.browser.post(format!("{}/api/v1/Webhook", office.crm.base_url()));
                let request = request.header("X-Api-Key", espocrm::API_KEY).body(body.to_string());
                let answer = request.header("Content-Type", "application/json").send().await.unwrap();
                let text = answer.text().await.unwrap();
                let made: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
                let (id, secret) = (made["id"].as_str().unwrap(), made["secretKey"].as_str().unwrap());
                self.webhooks.insert(id.to_owned(), secret.to_owned().into());
            }
        }
        office.crm.clear_counters();
    }

    /// The grant is taken out.
    pub async fn disconnect(&self, office: &Office, calendar: &Calendar) {
        let accounts = self.accounts(office);
        let user = CrmUser::new(&office.users[calendar.user].crm_id).unwrap();
        let name = Self::provider(office, calendar.provider).name;
        accounts.revoke(&AccountId::of_user(name, user)).await.unwrap();
        accounts.leave().await;
    }

    /// A user opens the link, and agrees at the provider.
    pub async fn connect(&self, office: &Office, calendar: &Calendar) {
        let accounts = self.accounts(office);
        let connecting =
            Connecting::new(accounts.clone(), &Url::parse("https://sync.example").unwrap()).unwrap();
        self.clock.advance(Duration::from_secs(1));
        let user = CrmUser::new(&office.users[calendar.user].crm_id).unwrap();
        let name = Self::provider(office, calendar.provider).name;
        let link = connecting.link(&name, &user, Duration::from_secs(600), self.clock.now()).unwrap();
        let begun = connecting.begin(name.as_str(), link.query().unwrap()).await.unwrap();
        let mut consent = begun.location;
        match calendar.provider {
            Provider::Microsoft => office.microsoft.set_consent(Consent::As(calendar.mail.clone())),
            Provider::Google => {
                consent.query_pairs_mut().append_pair("login_hint", &calendar.mail);
            }
        }
        let answer = self.browser.get(consent).send().await.unwrap();
        let status = answer.status();
        let back = answer.headers().get("location").map(|it| it.to_str().unwrap().to_owned());
        let Some(back) = back else { panic!("{status}: {}", answer.text().await.unwrap()) };
        let cookie = begun.set_cookie.split(';').next().unwrap();
        let query = Url::parse(&back).unwrap().query().unwrap().to_owned();
        connecting.finish(name.as_str(), &query, Some(cookie)).await.unwrap();
        accounts.leave().await;
    }
}
