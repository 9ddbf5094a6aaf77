//! Grants in a real store, had from simulated providers by many members of a fleet.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Url;
use secrecy::ExposeSecret as _;
use serde_json::json;
use shared::clock::{Clock as _, ManualClock};
use simulators::google::RefreshRotation;
use simulators::microsoft::Consent;
use simulators::{GoogleOptions, GoogleSimulator, MicrosoftOptions, MicrosoftSimulator};
use system_tests::grants::{self, Installation};
use system_tests::{shared_redis, unique_name};
use tokio::task::JoinSet;
use vault::{
    AccessError, AccountId, Accounts, Before, Connected, Connecting, CrmUser, Key, Provider, Reason, Revoked,
    Rotation, Waits,
};

const MEMBERS: usize = 20;
/// Unless `GRANT_ROUNDS` says another number.
const ROUNDS: u64 = 1_000;
pub const TWO_HOURS: Duration = Duration::from_secs(2 * 3_600);

/// An installation, and the browser of those who connect their accounts.
pub struct Fleet {
    pub installation: Installation,
    browser: reqwest::Client,
}

impl Fleet {
    #[expect(clippy::disallowed_methods, reason = "the test is a browser")]
    pub async fn new() -> Self {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let installation = Installation {
            redis_url: shared_redis().await.unwrap().url(),
            prefix: unique_name("grants"),
            key: Key::generate(),
            clock: Arc::new(ManualClock::new("2026-11-26T12:00:00Z".parse().unwrap())),
        };
        Self { installation, browser }
    }

    /// A member with a connection of its own to the store.
    pub fn member(&self, provider: Provider) -> Accounts {
        self.installation.member(provider, Waits::default()).unwrap()
    }

    pub fn advance(&self, time: Duration) {
        self.installation.clock.advance(time);
    }

    /// Anna opens her link, and agrees at the provider.
    async fn connects(&self, member: &Accounts, provider: &Provider) -> Connected {
        self.connects_as(member, provider, "anna").await
    }

    /// A user opens the link, and agrees at the provider.
    pub async fn connects_as(&self, member: &Accounts, provider: &Provider, user: &str) -> Connected {
        let connecting =
            Connecting::new(member.clone(), &Url::parse("https://sync.example").unwrap()).unwrap();
        self.advance(Duration::from_secs(1));
        let (user, life) = (CrmUser::new(user).unwrap(), Duration::from_secs(600));
        let link = connecting.link(&provider.name, &user, life, self.installation.clock.now()).unwrap();
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

pub async fn microsoft() -> (MicrosoftSimulator, Provider) {
    let simulator = MicrosoftSimulator::start(MicrosoftOptions::default()).await.unwrap();
    simulator.set_consent(Consent::As("anna@kanzlei.example".to_owned()));
    let provider = grants::microsoft(&simulator.base_url()).unwrap();
    (simulator, provider)
}

/// One that kills a refresh token as soon as it was used.
pub async fn revoking_google() -> (GoogleSimulator, Provider) {
    let options = GoogleOptions {
        consent: simulators::google::Consent::AtOnce,
        refresh_rotation: RefreshRotation::RevokeOld,
        refresh_tokens_max: 10_000,
        ..GoogleOptions::default()
    };
    let simulator = GoogleSimulator::start(options).await.unwrap();
    let provider = grants::google(&simulator.base_url(), Rotation::OldDies).unwrap();
    (simulator, provider)
}

/// Twenty members ask at once, again and again when the token has ended; `requests` counts those to the token endpoint.
async fn all_ask_at_once(provider: Provider, requests: impl Fn() -> u64) {
    let fleet = Fleet::new().await;
    let members: Vec<Accounts> = (0..MEMBERS).map(|_| fleet.member(provider.clone())).collect();
    let account = fleet.connects(&members[0], &provider).await.account;
    let mut before = token(&members[0], &account).await.unwrap();
    let (rounds, began) = (rounds(), Instant::now());
    for round in 1..=rounds {
        fleet.advance(TWO_HOURS);
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
        assert_eq!(requests(), round, "round {round}");
    }
    let (each, whole) = (MEMBERS as u64 * rounds, began.elapsed().as_secs_f64());
    println!(
        "{}: {each} askers in {rounds} rounds, {} token requests, {whole:.1} s",
        provider.name,
        requests()
    );
    for member in &members {
        member.leave().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_members_ask_at_once_and_microsoft_is_asked_once_each_time() {
    let (simulator, provider) = microsoft().await;
    all_ask_at_once(provider, || simulator.token_requests().get("refresh_token").copied().unwrap_or(0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_members_ask_at_once_and_a_revoking_google_is_asked_once_each_time() {
    let (simulator, provider) = revoking_google().await;
    all_ask_at_once(provider, || refreshes_at(&simulator)).await;
}

/// Requests to Google's token endpoint that show a refresh token.
pub fn refreshes_at(google: &GoogleSimulator) -> u64 {
    google.counters().get("oauth.token.refresh_token").copied().unwrap_or(0)
}

#[tokio::test]
async fn a_revoked_grant_is_told_once_and_connecting_again_brings_it_back() {
    let fleet = Fleet::new().await;
    let (simulator, provider) = microsoft().await;
    let members = [fleet.member(provider.clone()), fleet.member(provider.clone())];
    let connected = fleet.connects(&members[0], &provider).await;
    assert_eq!(connected.before, Before::New);
    assert!(connected.missing_scopes.is_empty(), "{:?}", connected.missing_scopes);
    assert_eq!(connected.identity.unwrap().address.as_deref(), Some("anna@kanzlei.example"));
    let account = connected.account;
    simulator.control("POST", "identity/revoke", &json!({})).unwrap();
    assert!(token(&members[1], &account).await.is_ok(), "its access token lives on");
    fleet.advance(TWO_HOURS);
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
    let own = token(&members[0], &application).await.unwrap();
    assert_eq!(simulator.token_requests()["client_credentials"], 1);
    // It is nobody's, and reaches mailboxes by their addresses.
    for (path, status) in [("users/anna@kanzlei.example/calendars", 200), ("me/calendars", 400)] {
        let url = format!("{}/v1.0/{path}", simulator.base_url());
        let answer = fleet.browser.get(url).bearer_auth(&own).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{}", answer.text().await.unwrap());
    }

    // An expired secret is the operator's, and ends no grant.
    simulator.control("POST", "identity/secret", &json!({"expired": true})).unwrap();
    fleet.advance(TWO_HOURS);
    let error = token(&members[0], &account).await.unwrap_err();
    assert!(
        matches!(&error, AccessError::Operator { what, .. } if what.contains("AADSTS7000222")),
        "{error}"
    );
}

#[tokio::test]
async fn google_keeps_its_refresh_token_and_takes_it_back() {
    let fleet = Fleet::new().await;
    let unticked = "https://www.googleapis.com/auth/calendar.calendarlist.readonly".to_owned();
    let options = GoogleOptions {
        consent: simulators::google::Consent::AtOnce,
        unticked_scopes: vec![unticked.clone()],
        ..GoogleOptions::default()
    };
    let simulator = GoogleSimulator::start(options).await.unwrap();
    let provider = grants::google(&simulator.base_url(), Rotation::Never).unwrap();
    let member = fleet.member(provider.clone());
    let connected = fleet.connects(&member, &provider).await;
    assert_eq!(connected.missing_scopes, [unticked], "what was not granted is said");
    let account = connected.account;
    let mut tokens = BTreeSet::new();
    for _ in 0..3 {
        tokens.insert(token(&member, &account).await.unwrap());
        fleet.advance(TWO_HOURS);
    }
    assert_eq!(tokens.len(), 3);
    assert_eq!(member.revoke(&account).await.unwrap(), Revoked::AtProvider);
    assert!(matches!(token(&member, &account).await, Err(AccessError::NotConnected { .. })));
}
