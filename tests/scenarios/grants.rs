//! Grants in a real store, had from simulated providers by many members of a fleet.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use adapter_redis::RedisState;
use http_client::Limits;
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use shared::clock::{Clock as _, ManualClock};
use shared::meter::NoMeter;
use shared::ports::state::State;
use simulators::microsoft::Consent;
use simulators::{GoogleOptions, GoogleSimulator, MicrosoftOptions, MicrosoftSimulator};
use system_tests::{shared_redis, unique_name};
use tokio::task::JoinSet;
use vault::{
    AccessError, AccountId, Accounts, AccountsSettings, Before, Connected, Connecting, CrmUser, Key,
    KeySource, Provider, Reason, Registration, Revoked, Secrets, Waits, default_limits,
};

const MEMBERS: usize = 20;
/// Unless `GRANT_ROUNDS` says another number; a thousand take some minutes, since members hand the provider's limits
/// over about twice a second.
const ROUNDS: u64 = 40;
const TWO_HOURS: Duration = Duration::from_secs(2 * 3_600);

/// What members of a fleet share: a Redis, a key, and a clock that is moved by hand.
struct Fleet {
    prefix: String,
    key: SecretString,
    clock: Arc<ManualClock>,
    browser: reqwest::Client,
}

impl Fleet {
    #[expect(clippy::disallowed_methods, reason = "the test is a browser")]
    fn new() -> Self {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let clock = Arc::new(ManualClock::new("2026-11-26T12:00:00Z".parse().unwrap()));
        Self { prefix: unique_name("grants"), key: Key::generate(), clock, browser }
    }

    /// A member with a connection of its own to the store.
    async fn member(&self, provider: Provider) -> Accounts {
        let options = adapter_redis::Options { prefix: self.prefix.clone(), ..Default::default() };
        let url = shared_redis().await.unwrap().url();
        let state: Arc<dyn State> = Arc::new(RedisState::new(&url, options).unwrap());
        let key = Key::parse(&self.key, "test").unwrap();
        // Rounds follow each other faster than hours do.
        let limits = Limits { requests_per_second_max: 10_000, concurrency_max: 100, ..default_limits() };
        Accounts::new(AccountsSettings {
            secrets: Secrets::new(state, KeySource::Given(key), vec![]),
            providers: vec![(provider, limits)],
            waits: Waits { poll: Duration::from_millis(10), ..Waits::default() },
            meter: Arc::new(NoMeter),
            clock: self.clock.clone(),
        })
        .unwrap()
    }

    /// Anna opens her link, and agrees at the provider.
    async fn connects(&self, member: &Accounts, provider: &Provider) -> Connected {
        let connecting =
            Connecting::new(member.clone(), &Url::parse("https://sync.example").unwrap()).unwrap();
        self.clock.advance(Duration::from_secs(1));
        let (user, life) = (CrmUser::new("anna").unwrap(), Duration::from_secs(600));
        let link = connecting.link(&provider.name, &user, life, self.clock.now()).unwrap();
        let begun = connecting.begin(provider.name.as_str(), link.query().unwrap()).await.unwrap();
        let answer = self.browser.get(begun.location).send().await.unwrap();
        let status = answer.status();
        let back = answer.headers().get("location").map(|it| it.to_str().unwrap().to_owned());
        let Some(back) = back else { panic!("{status}: {}", answer.text().await.unwrap()) };
        let back = Url::parse(&back).unwrap();
        assert_eq!(back.path(), format!("/connect/{}/callback", provider.name));
        let cookie = begun.set_cookie.split(';').next().unwrap();
        connecting.finish(provider.name.as_str(), back.query().unwrap(), Some(cookie)).await.unwrap()
    }
}

#[expect(clippy::disallowed_methods, reason = "no setting of the product")]
fn rounds() -> u64 {
    let told = std::env::var("GRANT_ROUNDS").ok();
    told.map_or(ROUNDS, |rounds| rounds.parse().expect("a number as GRANT_ROUNDS"))
}

async fn token(member: &Accounts, account: &AccountId) -> Result<String, AccessError> {
    member.access_token(account).await.map(|token| token.expose_secret().to_owned())
}

async fn microsoft() -> (MicrosoftSimulator, Provider) {
    let simulator = MicrosoftSimulator::start(MicrosoftOptions::default()).await.unwrap();
    simulator.set_consent(Consent::As("anna@kanzlei.example".to_owned()));
    let registration = Registration {
        client_id: simulators::microsoft::CLIENT_ID.to_owned(),
        client_secret: simulators::microsoft::CLIENT_SECRET.into(),
        client_secret_expires: None,
    };
    let authority = Url::parse(&simulator.base_url()).unwrap();
    let provider = Provider::microsoft(&authority, simulators::microsoft::TENANT, registration).unwrap();
    (simulator, provider)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_members_ask_at_once_and_microsoft_is_asked_once_each_time() {
    let fleet = Fleet::new();
    let (simulator, provider) = microsoft().await;
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        members.push(fleet.member(provider.clone()).await);
    }
    let account = fleet.connects(&members[0], &provider).await.account;
    let mut before = token(&members[0], &account).await.unwrap();
    for round in 1..=rounds() {
        fleet.clock.advance(TWO_HOURS);
        let mut asking = JoinSet::new();
        for member in &members {
            let (member, account) = (member.clone(), account.clone());
            asking.spawn(async move { token(&member, &account).await });
        }
        let tokens: BTreeSet<String> =
            asking.join_all().await.into_iter().map(|token| token.unwrap()).collect();
        assert_eq!(tokens.len(), 1, "round {round}");
        assert!(!tokens.contains(&before), "round {round}: a token that had ended");
        before = tokens.into_iter().next().unwrap();
        assert_eq!(simulator.token_requests()["refresh_token"], round, "round {round}");
    }
    for member in &members {
        member.leave().await;
    }
}

#[tokio::test]
async fn a_revoked_grant_is_told_once_and_connecting_again_brings_it_back() {
    let fleet = Fleet::new();
    let (simulator, provider) = microsoft().await;
    let members = [fleet.member(provider.clone()).await, fleet.member(provider.clone()).await];
    let connected = fleet.connects(&members[0], &provider).await;
    assert_eq!(connected.before, Before::New);
    assert!(connected.missing_scopes.is_empty(), "{:?}", connected.missing_scopes);
    assert_eq!(connected.identity.unwrap().address.as_deref(), Some("anna@kanzlei.example"));
    let account = connected.account;
    simulator.control("POST", "identity/revoke", &json!({})).unwrap();
    assert!(token(&members[1], &account).await.is_ok(), "its access token lives on");
    fleet.clock.advance(TWO_HOURS);
    for member in [&members[0], &members[1], &members[0]] {
        let over = token(member, &account).await.unwrap_err();
        assert!(matches!(over, AccessError::NeedsReconnect { reason: Reason::Revoked, .. }), "{over}");
    }
    assert_eq!(simulator.token_requests()["refresh_token"], 1);
    assert!(members[0].mark_told(&account).await.unwrap());
    assert!(!members[1].mark_told(&account).await.unwrap());
    let again = fleet.connects(&members[1], &provider).await;
    assert_eq!(again.before, Before::Connected { was_over: true, other_identity: false });
    assert!(token(&members[0], &account).await.is_ok());

    // The application's own token, which needs nobody's consent here.
    let application = AccountId::of_application(provider.name.clone());
    assert!(token(&members[0], &application).await.is_ok());

    // An expired secret is the operator's, and ends no grant.
    simulator.control("POST", "identity/secret", &json!({"expired": true})).unwrap();
    fleet.clock.advance(TWO_HOURS);
    let error = token(&members[0], &account).await.unwrap_err();
    assert!(
        matches!(&error, AccessError::Operator { what, .. } if what.contains("AADSTS7000222")),
        "{error}"
    );
}

#[tokio::test]
async fn google_keeps_its_refresh_token_and_takes_it_back() {
    let fleet = Fleet::new();
    let unticked = "https://www.googleapis.com/auth/calendar.calendarlist.readonly".to_owned();
    let options = GoogleOptions {
        consent: simulators::google::Consent::AtOnce,
        unticked_scopes: vec![unticked.clone()],
        ..GoogleOptions::default()
    };
    let registration = Registration {
        client_id: options.client_id.clone(),
        client_secret: options.client_secret.clone().into(),
        client_secret_expires: None,
    };
    let simulator = GoogleSimulator::start(options).await.unwrap();
    let at = |path: &str| Url::parse(&format!("{}{path}", simulator.base_url())).unwrap();
    let google = Provider::google(registration).unwrap();
    let provider = Provider {
        authorize_url: at("/o/oauth2/v2/auth"),
        token_url: at("/token"),
        revoke_url: Some(at("/revoke")),
        ..google
    };
    let member = fleet.member(provider.checked().unwrap()).await;
    let provider = member.providers().next().unwrap().clone();
    let connected = fleet.connects(&member, &provider).await;
    assert_eq!(connected.missing_scopes, [unticked], "what was not granted is said");
    let account = connected.account;
    let mut tokens = BTreeSet::new();
    for _ in 0..3 {
        tokens.insert(token(&member, &account).await.unwrap());
        fleet.clock.advance(TWO_HOURS);
    }
    assert_eq!(tokens.len(), 3);
    assert_eq!(member.revoke(&account).await.unwrap(), Revoked::AtProvider);
    assert!(matches!(token(&member, &account).await, Err(AccessError::NotConnected { .. })));
}
