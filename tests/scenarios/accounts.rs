//! Accounts by the real programs: a user connects one in a browser, the operator looks at it, checks it, takes it out.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use reqwest::Url;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use simulators::microsoft::{CLIENT_ID, CLIENT_SECRET, Consent, TENANT};
use simulators::{GoogleOptions, GoogleSimulator, MicrosoftOptions, MicrosoftSimulator};
use system_tests::ports::free_port;
use system_tests::supervise::Folder;
use system_tests::{Program, RunningProgram, wait};
use vault::Key;

use crate::SOON;
use crate::programs::{complained, json_of, printed, syncfleet};

const USER: &str = "6b00526cc80a09e94";
/// What nothing of ours may show.
const TOKEN_MARKS: [&str; 2] = ["eyJ", "refresh_token"];

struct Bench {
    folder: Folder,
    microsoft: MicrosoftSimulator,
    google: GoogleSimulator,
    port: u16,
    private_port: u16,
    browser: reqwest::Client,
}

/// What a browser was answered.
#[derive(Debug)]
struct Page {
    status: u16,
    location: Option<String>,
    cookie: Option<String>,
    nosniff: bool,
    body: String,
}

impl Bench {
    async fn new() -> Self {
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let [port, private_port] = [free_port().unwrap(), free_port().unwrap()];
        let redirect = |provider: &str| vec![format!("http://127.0.0.1:{port}/connect/{provider}/callback")];
        let options =
            MicrosoftOptions { redirect_uris: redirect("microsoft"), ..MicrosoftOptions::default() };
        let microsoft = MicrosoftSimulator::start(options).await.unwrap();
        microsoft.set_consent(Consent::As("anna@kanzlei.example".to_owned()));
        let options = GoogleOptions {
            redirect_uris: redirect("google"),
            consent: simulators::google::Consent::AtOnce,
            ..GoogleOptions::default()
        };
        let google = GoogleSimulator::start(options).await.unwrap();
        let folder = Folder::new("accounts").unwrap();
        let browser = browser();
        let bench = Self { folder, microsoft, google, port, private_port, browser };
        bench.keep("microsoft", CLIENT_SECRET);
        bench.keep("google", &GoogleOptions::default().client_secret);
        bench.keep("first-key", Key::generate().expose_secret());
        bench.keep("second-key", Key::generate().expose_secret());
        bench.write_settings("first-key", "");
        bench
    }

    fn keep(&self, name: &str, secret: &str) {
        let path = self.folder.join(name);
        std::fs::write(&path, secret).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn write_settings(&self, key: &str, old_keys: &str) {
        let secret = |name: &str| format!("\"file:{}\"", self.folder.join(name).display());
        let former = match old_keys {
            "" => String::new(),
            name => format!("[vault.old_keys]\nformer = {}\n", secret(name)),
        };
        let settings = format!(
            "[vault]\nkey = {key}\n{former}\
             [producer]\nwebhook_listen = \"127.0.0.1:{port}\"\n[operations]\nlisten = \"127.0.0.1:{private}\"\n\
             [accounts]\npublic_url = \"http://127.0.0.1:{port}\"\n\
             [provider.microsoft]\nclient_id = \"{CLIENT_ID}\"\nclient_secret = {microsoft_secret}\n\
             client_secret_expires = \"2020-01-31\"\nauthority_url = \"{microsoft}\"\napi_url = \"{microsoft}/v1.0\"\n\
             [provider.google]\nclient_id = \"{google_id}\"\nclient_secret = {google_secret}\n\
             authorize_url = \"{google}/o/oauth2/v2/auth\"\ntoken_url = \"{google}/token\"\n\
             revoke_url = \"{google}/revoke\"\napi_url = \"{google}/calendar/v3\"\n",
            key = secret(key),
            port = self.port,
            private = self.private_port,
            microsoft_secret = secret("microsoft"),
            microsoft = self.microsoft.base_url(),
            google_id = GoogleOptions::default().client_id,
            google_secret = secret("google"),
            google = self.google.base_url(),
        );
        std::fs::write(self.folder.join("syncfleet.toml"), settings).unwrap();
    }

    async fn run(&self, args: &[&str]) -> Output {
        let output = syncfleet(self.folder.path(), args).await;
        let said = format!("{}{}", printed(&output), complained(&output));
        assert!(!said.contains(CLIENT_SECRET), "{args:?}: {said}");
        assert!(TOKEN_MARKS.iter().all(|mark| !said.contains(mark)), "{args:?}: {said}");
        output
    }

    async fn up(&self) -> RunningProgram {
        let program = Program::new("syncfleet").unwrap().current_dir(self.folder.path());
        let mut running = program.arg("up").start().unwrap();
        running.wait_for_log("The worker begins to serve", SOON).await.unwrap();
        running
    }

    async fn link(&self, provider: &str) -> String {
        let output = self.run(&["accounts", "connect", provider, USER]).await;
        assert_eq!(output.status.code(), Some(0), "{}", complained(&output));
        let expected = format!("http://127.0.0.1:{}/connect/{provider}/callback", self.port);
        assert!(complained(&output).contains(&expected), "{}", complained(&output));
        printed(&output).trim().to_owned()
    }

    async fn get(&self, url: &str, cookie: Option<&str>) -> Page {
        let request = self.browser.get(url);
        let request = cookie.iter().fold(request, |request, cookie| request.header("Cookie", *cookie));
        let answer = request.send().await.unwrap();
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let cookie = header("set-cookie").and_then(|set| set.split(';').next().map(str::to_owned));
        let (status, location) = (answer.status().as_u16(), header("location"));
        let nosniff = header("x-content-type-options").as_deref() == Some("nosniff");
        Page { status, location, cookie, nosniff, body: answer.text().await.unwrap() }
    }

    /// Opens a link and agrees: where the provider sends the browser, and its cookie.
    async fn sign_in(&self, link: &str) -> (String, String) {
        let begun = self.get(link, None).await;
        assert_eq!(begun.status, 302, "{begun:?}");
        let at_provider = self.get(&begun.location.unwrap(), None).await;
        let back = at_provider.location.unwrap_or_else(|| panic!("no way back: {}", at_provider.body));
        (back, begun.cookie.unwrap())
    }

    async fn connect(&self, provider: &str) -> Page {
        let (back, cookie) = self.sign_in(&self.link(provider).await).await;
        self.get(&back, Some(&cookie)).await
    }

    async fn accounts(&self) -> Value {
        json_of(&self.run(&["accounts", "list", "--json"]).await)
    }

    async fn metrics(&self) -> String {
        self.get(&format!("http://127.0.0.1:{}/metrics", self.private_port), None).await.body
    }
}

#[expect(clippy::disallowed_methods, reason = "the test is a browser")]
fn browser() -> reqwest::Client {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

#[tokio::test]
async fn accounts_are_connected_in_a_browser_listed_checked_and_taken_out() {
    let bench = Bench::new().await;
    let none = printed(&bench.run(&["accounts", "list"]).await);
    assert!(none.contains("No account is connected"), "{none}");
    let mut up = bench.up().await;

    let page = bench.connect("microsoft").await;
    assert_eq!((page.status, page.nosniff), (200, true), "{page:?}");
    assert!(page.body.contains("Microsoft 365 account anna@kanzlei.example is connected"), "{}", page.body);
    let page = bench.connect("google").await;
    assert_eq!(page.status, 200, "{page:?}");
    up.wait_for_log("An account was connected in a browser", SOON).await.unwrap();

    let listed = bench.accounts().await;
    let states: Vec<(&str, &str, &str)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            (it["provider"].as_str().unwrap(), it["user"].as_str().unwrap(), it["state"].as_str().unwrap())
        })
        .collect();
    assert_eq!(states, [("google", USER, "active"), ("microsoft", USER, "active")]);
    assert!(listed[0]["ends_at"].is_string(), "{listed}");
    let table = printed(&bench.run(&["accounts", "list"]).await);
    assert!(table.contains("LAST TOKEN") && table.contains("2 accounts"), "{table}");

    let checked = bench.run(&["accounts", "check", "--json"]).await;
    assert_eq!(checked.status.code(), Some(0), "{}", complained(&checked));
    assert_eq!(json_of(&checked)[1]["works"], true);
    assert_eq!(bench.microsoft.token_requests()["refresh_token"], 1, "it was asked for");

    // The provider ends the grant: it is said by check, list, status and doctor, and a new link mends it.
    bench.microsoft.control("POST", "identity/revoke", &json!({})).unwrap();
    let checked = bench.run(&["accounts", "check", "microsoft", USER]).await;
    assert_eq!(checked.status.code(), Some(1), "{}", printed(&checked));
    assert!(printed(&checked).contains("must be connected again"), "{}", printed(&checked));
    assert_eq!(bench.accounts().await[1]["state"], "needs_reconnect");
    let status = json_of(&bench.run(&["status", "--json"]).await);
    assert_eq!(status["accounts"][1]["state"], "needs_reconnect", "{status}");
    assert!(printed(&bench.run(&["status"]).await).contains("2 connected, 1 to see to"));
    let doctor = json_of(&bench.run(&["doctor", "--json"]).await);
    let check = |subject: &str| {
        doctor.as_array().unwrap().iter().find(|it| it["subject"] == subject).unwrap().clone()
    };
    assert_eq!(check("accounts")["verdict"], "warning");
    assert_eq!(check("Microsoft 365 application")["verdict"], "broken", "its secret has ended");
    wait::until("the metric of the account", SOON, async || {
        let metrics = bench.metrics().await;
        let found =
            metrics.contains("syncfleet_accounts{provider=\"microsoft\",state=\"needs_reconnect\"} 1");
        let ends = metrics
            .contains("syncfleet_client_secret_expires_timestamp_seconds{provider=\"microsoft\"} 1580515200");
        if found && ends { Ok(()) } else { Err(metrics) }
    })
    .await;
    assert_eq!(bench.connect("microsoft").await.status, 200);
    assert_eq!(bench.run(&["accounts", "check"]).await.status.code(), Some(0));

    let revoked = bench.run(&["accounts", "revoke", "google", USER, "--json"]).await;
    assert_eq!(json_of(&revoked)["revoked"], "at_provider");
    let revoked = bench.run(&["accounts", "revoke", "microsoft", USER]).await;
    assert!(printed(&revoked).contains("taken out here"), "{}", printed(&revoked));
    assert_eq!(bench.accounts().await, json!([]));
    let checked = bench.run(&["accounts", "check", "google", USER]).await;
    assert!(printed(&checked).contains("is not connected"), "{}", printed(&checked));
    up.terminate();
    assert!(up.wait_exit(SOON).await.unwrap().success());
}

#[tokio::test]
async fn what_is_forged_replayed_late_or_from_elsewhere_connects_nothing() {
    let bench = Bench::new().await;
    let _up = bench.up().await;
    let link = bench.link("microsoft").await;
    let at = |path: &str| format!("http://127.0.0.1:{}{path}", bench.port);

    let (back, cookie) = bench.sign_in(&link).await;
    let state =
        Url::parse(&back).unwrap().query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let forged = back.replace(&state, &"A".repeat(state.len()));
    for (url, cookie, status) in [
        (forged.as_str(), Some(cookie.as_str()), 400),
        (link.replace(USER, "6b00526cc80a09e95").as_str(), None, 403),
        (link.replace("expires=1", "expires=9").as_str(), None, 403),
        (at("/connect/nothing?x=1").as_str(), None, 404),
        (at("/connect/microsoft?user=%3Cscript%3E&expires=1&signature=00").as_str(), None, 400),
        (at("/connect/microsoft/callback?error=%3Cscript%3E&state=x").as_str(), None, 400),
    ] {
        let page = bench.get(url, cookie).await;
        assert_eq!((page.status, page.nosniff), (status, true), "{url}: {page:?}");
        assert!(!page.body.contains("script"), "{url}: {page:?}");
    }
    // In another browser, and after that no longer in the first one either.
    assert_eq!(bench.get(&back, None).await.status, 403);
    assert_eq!(bench.get(&back, Some(&cookie)).await.status, 400);
    assert_eq!(bench.accounts().await, json!([]));

    let (back, cookie) = bench.sign_in(&link).await;
    assert_eq!(bench.get(&back, Some(&cookie)).await.status, 200);
    assert_eq!(bench.get(&back, Some(&cookie)).await.status, 400, "a callback is good once");
    assert_eq!(bench.get(&link, None).await.status, 410, "and so is a link");

    // An address that is not registered at the provider is its affair: nobody is sent back.
    let settings = json!({ "redirect_uris": ["https://elsewhere.example/callback"] });
    bench.microsoft.configure(settings.as_object().unwrap()).unwrap();
    let mut other = bench.link("microsoft").await;
    while other == link {
        // Links that are made within one second are the same, and that one is used up.
        other = bench.link("microsoft").await;
    }
    let begun = bench.get(&other, None).await;
    let refused = bench.get(&begun.location.unwrap(), None).await;
    assert_eq!((refused.status, refused.location), (400, None));

    for (args, code, says) in [
        (&["accounts", "connect", "nothing", USER][..], 64, "no provider nothing"),
        (&["accounts", "connect", "microsoft", "a b"], 64, "CRM user"),
        (&["accounts", "connect", "microsoft", USER, "--minutes", "20000"], 64, "10080"),
        (&["accounts", "revoke", "microsoft"], 64, "USER"),
        (&["accounts", "check", "microsoft"], 64, "whose account"),
    ] {
        let output = bench.run(args).await;
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", complained(&output));
        assert!(complained(&output).contains(says), "{args:?}: {}", complained(&output));
    }
}

#[tokio::test]
async fn the_application_gets_tokens_of_its_own_where_it_has_permissions() {
    let bench = Bench::new().await;
    let check = ["accounts", "check", "microsoft", "--application"];
    let refused = bench.run(&check).await;
    assert_eq!(refused.status.code(), Some(1), "{}", printed(&refused));
    assert!(printed(&refused).contains("no permissions of its own"), "{}", printed(&refused));
    assert_eq!(bench.microsoft.token_requests().get("client_credentials"), None);

    let file = bench.folder.join("syncfleet.toml");
    let section = "[provider.microsoft]\n";
    let own = format!("{section}tenant = \"{TENANT}\"\napplication_permissions = true\n");
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap().replace(section, &own)).unwrap();
    let works = bench.run(&check).await;
    assert_eq!(works.status.code(), Some(0), "{}{}", printed(&works), complained(&works));
    assert_eq!(bench.microsoft.token_requests()["client_credentials"], 1);
    let verdict = async || {
        let doctor = json_of(&bench.run(&["doctor", "--json"]).await);
        let checks = doctor.as_array().unwrap().clone();
        checks.into_iter().find(|it| it["subject"] == "Microsoft 365 application permissions").unwrap()
    };
    assert_eq!(verdict().await["verdict"], "well");
    bench.microsoft.control("POST", "identity/secret", &json!({ "expired": true })).unwrap();
    let broken = verdict().await;
    assert_eq!(broken["verdict"], "broken", "{broken}");
    assert!(broken["seen"].as_str().unwrap().contains("AADSTS7000222"), "{broken}");
}

#[tokio::test]
async fn a_key_is_changed_and_what_remains_is_said() {
    let bench = Bench::new().await;
    let up = bench.up().await;
    assert_eq!(bench.connect("microsoft").await.status, 200);
    drop(up);

    // The former key was forgotten: it is said, and nothing is lost.
    bench.write_settings("second-key", "");
    let output = bench.run(&["vault", "rotate-key", "--json"]).await;
    let said = json_of(&output);
    assert_eq!(
        (output.status.code(), &said["unreadable"], &said["complete"]),
        (Some(1), &json!(1), &json!(false))
    );
    assert!(said["unreadable_names"][0].as_str().unwrap().contains(USER), "{said}");
    assert_eq!(bench.run(&["accounts", "check"]).await.status.code(), Some(1));

    bench.write_settings("second-key", "first-key");
    let said = json_of(&bench.run(&["vault", "rotate-key", "--json"]).await);
    assert_eq!((&said["resealed"], &said["complete"]), (&json!(1), &json!(true)), "{said}");
    let again = bench.run(&["vault", "rotate-key"]).await;
    assert_eq!(again.status.code(), Some(0));
    assert!(printed(&again).contains("0 secrets sealed anew"), "{}", printed(&again));

    bench.write_settings("second-key", "");
    let checked = bench.run(&["accounts", "check"]).await;
    assert_eq!(checked.status.code(), Some(0), "{}{}", printed(&checked), complained(&checked));
}
