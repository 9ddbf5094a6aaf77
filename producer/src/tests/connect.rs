//! Accounts connected as a browser does it, at a simulated provider.

use shared::parking::{self, Parked};
use simulators::microsoft::{CLIENT_ID, CLIENT_SECRET, Consent, TENANT};
use simulators::{MicrosoftOptions, MicrosoftSimulator};
use url::Url;
use vault::{
    AccountId, Accounts, AccountsSettings, Connecting, CrmUser, GrantState, Key, KeySource, Provider,
    ProviderName, Registration, Secrets, Waits, default_limits,
};

use super::*;

const LIFE: Duration = Duration::from_secs(600);

struct Browser {
    bench: Bench,
    simulator: MicrosoftSimulator,
    connecting: Connecting,
    running: Running,
}

fn account() -> AccountId {
    "microsoft/user/anna".parse().unwrap()
}

/// What the scripted flow looks at for an account.
fn awaited() -> RecordKey {
    account().record_key(&parties()).unwrap()
}

impl Browser {
    async fn new() -> Self {
        http_client::install_crypto_provider();
        let bench = Bench::new();
        let simulator = MicrosoftSimulator::start(MicrosoftOptions::default()).await.unwrap();
        simulator.set_consent(Consent::As("anna@kanzlei.example".to_owned()));
        let registration = Registration {
            client_id: CLIENT_ID.to_owned(),
            client_secret: CLIENT_SECRET.into(),
            client_secret_expires: None,
        };
        let authority = Url::parse(&simulator.base_url()).unwrap();
        let provider = Provider::microsoft(&authority, TENANT, registration).unwrap();
        let provider = Provider { label: "<b>Microsoft</b>".to_owned(), ..provider };
        let key = Key::parse(&Key::generate(), "test").unwrap();
        let accounts = Accounts::new(AccountsSettings {
            secrets: Secrets::new(bench.store.state.clone(), KeySource::Given(key), vec![]),
            providers: vec![(provider, default_limits())],
            waits: Waits::default(),
            meter: Arc::new(NoMeter),
            clock: bench.clock.clone(),
        });
        let public = Url::parse("https://sync.example").unwrap();
        let connecting = Connecting::new(accounts.unwrap(), &public).unwrap();
        let mut engine = bench.engine("producer-1", YEARLY);
        Arc::get_mut(&mut engine).unwrap().connecting = Some(connecting.clone());
        let flow = Scripted { has_accounts: true, ..Scripted::new(1) };
        let running = start(engine, Arc::new(flow)).await;
        bench.until_swept().await;
        bench.published().await;
        Self { bench, simulator, connecting, running }
    }

    /// A link, without the host. `life` tells it from other links as well.
    fn link(&self, life: Duration) -> String {
        let (provider, user) = (ProviderName::new("microsoft").unwrap(), CrmUser::new("anna").unwrap());
        let link = self.connecting.link(&provider, &user, life, self.bench.clock.now()).unwrap();
        target(link.as_str())
    }

    async fn get(&self, path: &str, headers: &str) -> Answer {
        Answer(self.running.ask("GET", path, headers, b"").await)
    }

    /// Opens a link, and agrees at the provider: the way back, and the cookie.
    async fn sign_in(&self, link: &str) -> (String, String) {
        let begun = self.get(link, "").await;
        assert_eq!(begun.status(), 302, "{begun:?}");
        let cookie = begun.header("set-cookie").unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let at_provider = begun.header("location").unwrap();
        assert!(at_provider.starts_with(&self.simulator.base_url()), "{at_provider}");
        let sent = ask(self.simulator.address(), "GET", &target(&at_provider), "", b"").await;
        let back = Answer(sent).header("location").unwrap();
        assert!(back.starts_with("https://sync.example/connect/microsoft/callback?"), "{back}");
        (target(&back), format!("Cookie: other=1; {cookie}\r\n"))
    }
}

/// Path and query of an address.
fn target(url: &str) -> String {
    let url = Url::parse(url).unwrap();
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}

#[derive(Debug)]
struct Answer(String);

impl Answer {
    fn status(&self) -> u16 {
        self.0.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    fn header(&self, name: &str) -> Option<String> {
        let (head, _) = self.0.split_once("\r\n\r\n")?;
        let mut headers = head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    }

    fn body(&self) -> &str {
        self.0.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    /// Whatever it says, nobody else sees it, and it runs nothing.
    fn is_guarded(&self) -> bool {
        let has = |name: &str, value: &str| self.header(name).is_some_and(|found| found.contains(value));
        has("cache-control", "no-store")
            && has("content-security-policy", "default-src 'none'")
            && has("referrer-policy", "no-referrer")
            && has("x-content-type-options", "nosniff")
            && has("x-frame-options", "DENY")
    }
}

#[tokio::test]
async fn an_account_is_connected_its_flow_begins_and_what_waited_for_it_goes_on() {
    let browser = Browser::new().await;
    let bench = &browser.bench;
    let state = bench.store.state.as_ref();
    let now = bench.clock.now();
    for id in ["meeting", awaited().id()] {
        let (cause, trace) = (Cause::Webhook, shared::trace::TraceParent::new(1, 2));
        let waiting = Envelope::new(Uuid::now_v7(), "/test", key(id), Operation::Update, cause, trace, now);
        parking::park(state, &awaited(), &Parked::new(&waiting, now, Timestamp::MAX)).await.unwrap();
    }
    let link = browser.link(LIFE);
    let begun = browser.get(&link, "").await;
    let sets = begun.header("set-cookie").unwrap();
    assert!(begun.is_guarded() && sets.contains("HttpOnly") && sets.contains("Secure"), "{begun:?}");

    let (back, cookie) = browser.sign_in(&link).await;
    let connected = browser.get(&back, &cookie).await;
    assert_eq!(connected.status(), 200, "{connected:?}");
    assert!(connected.is_guarded() && connected.header("content-type").unwrap().starts_with("text/html"));
    let body = connected.body();
    assert!(body.contains("anna@kanzlei.example is connected"), "{body}");
    assert!(body.contains("&lt;b&gt;Microsoft&lt;/b&gt;") && !body.contains("<b>"), "{body}");
    let grant = browser.connecting.accounts().account(&account()).await.unwrap().unwrap();
    assert_eq!(grant.state, GrantState::Active);

    let published = bench.published().await;
    let found: Vec<(&str, Cause)> = published.iter().map(|it| (it.key.id(), it.cause)).collect();
    assert_eq!(found, [("meeting", Cause::Released), ("microsoft.anna", Cause::Manual)]);
    assert!(parking::page(state, None, 10).await.unwrap().waiting.is_empty());

    let replayed = browser.get(&back, &cookie).await;
    assert_eq!(replayed.status(), 400, "{replayed:?}");
    assert_eq!(browser.get(&link, "").await.status(), 410, "the link was used");
    assert!(bench.published().await.is_empty());
    browser.running.end().await;
}

#[tokio::test]
async fn what_is_no_sound_sign_in_connects_nothing_and_repeats_nothing() {
    let browser = Browser::new().await;
    let good = browser.link(LIFE);
    for (path, status) in [
        ("/connect/microsoft".to_owned(), 400),
        ("/connect/microsoft?user=%3Cscript%3Ealert(1)%3C/script%3E&expires=1&signature=00".to_owned(), 400),
        (good.replace("anna", "bernd"), 403),
        (good.replace("microsoft", "google"), 404),
        (good.replace("microsoft", "%3Cscript%3E"), 404),
        (browser.link(Duration::ZERO), 410),
        (format!("/connect/microsoft?x={}", "x".repeat(20_000)), 400),
        ("/connect/microsoft/callback".to_owned(), 400),
        (format!("/connect/microsoft/callback?code=x&state={}", "A".repeat(43)), 400),
        ("/connect/microsoft/callback?state=%3Cscript%3E&code=%3Cscript%3E".to_owned(), 400),
        ("/connect/microsoft/else".to_owned(), 404),
    ] {
        let answer = browser.get(&path, "").await;
        assert_eq!(answer.status(), status, "{path}: {answer:?}");
        assert!(!answer.body().contains("script"), "{path}: {answer:?}");
        assert!(answer.is_guarded() || path.ends_with("/else"), "{path}: {answer:?}");
    }
    assert_eq!(browser.running.post(&good, "", b"").await, 405);

    // Looking at a link opens nothing: thirty openings would be too many.
    for _ in 0..40 {
        let head = Answer(browser.running.ask("HEAD", &good, "", b"").await);
        assert_eq!((head.status(), head.header("set-cookie"), head.is_guarded()), (200, None, true));
    }
    let (back, cookie) = browser.sign_in(&good).await;
    let head = Answer(browser.running.ask("HEAD", &back, &cookie, b"").await);
    assert_eq!((head.status(), head.body()), (200, ""));
    let elsewhere = browser.get(&back, "Cookie: __Host-syncfleet-connect-microsoft=AAAA\r\n").await;
    assert_eq!(elsewhere.status(), 403, "{elsewhere:?}");

    browser.simulator.set_consent(Consent::Denied);
    let (back, cookie) = browser.sign_in(&good).await;
    let denied = browser.get(&back, &cookie).await;
    assert_eq!((denied.status(), denied.body().contains("Access was not granted")), (403, true));
    assert!(browser.connecting.accounts().account(&account()).await.unwrap().is_none());
    assert!(browser.bench.published().await.is_empty());
    browser.running.end().await;
}
