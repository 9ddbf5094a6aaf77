//! `syncfleet provision`: the real program makes in a simulated EspoCRM what the flow needs.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use simulators::espocrm::{ADMIN_PASSWORD, API_KEY, AccountKind, PERSON_ID};
use simulators::{AdvowareOptions, AdvowareSimulator, EspocrmOptions, EspocrmSimulator, Operation};
use system_tests::http::Http;
use system_tests::ports::free_port;
use system_tests::supervise::Folder;
use system_tests::{Program, RunningProgram, shared_redis, wait};
use tokio::sync::Notify;

use crate::programs::{complained, json_of, printed, syncfleet};
use crate::{SOON, object, person};

/// The API user `sync-api` that somebody has made.
const API_USER_ID: &str = "6b005228b0f01737d";
const ESPOCRM_9_2: &str = "9.2.7";
const ESPOCRM_9_3: &str = "9.3.10";

/// An installation whose EspoCRM knows nothing of it.
struct Bench {
    folder: Folder,
    crm: EspocrmSimulator,
    advoware: AdvowareSimulator,
    webhook_port: u16,
    private_port: u16,
}

impl Bench {
    /// `has_user`: somebody has made an API user, and its key is where the settings look for it.
    async fn new(version: &str, has_user: bool) -> Self {
        let mut options = EspocrmOptions {
            version: version.to_owned(),
            has_entity_type: false,
            webhook_interval: Some(Duration::from_millis(100)),
            // It comes four times, which must outlast the pause before a producer looks for secrets again.
            webhook_retry_delay: Duration::from_secs(3),
            ..EspocrmOptions::default()
        };
        if !has_user {
            options.accounts.retain(|account| account.kind != AccountKind::Api);
        }
        let crm = EspocrmSimulator::start(options).await.unwrap();
        let advoware = AdvowareSimulator::start(AdvowareOptions::default()).await.unwrap();
        let [webhook_port, private_port] = [free_port().unwrap(), free_port().unwrap()];
        let folder = Folder::new("provision").unwrap();
        let bench = Self { folder, crm, advoware, webhook_port, private_port };
        let remote = AdvowareOptions::default();
        let secrets = [("admin", ADMIN_PASSWORD), ("key", &remote.api_key), ("password", &remote.password)];
        let own = has_user.then_some(("espocrm-key", API_KEY));
        for (name, secret) in secrets.into_iter().chain(own) {
            std::fs::write(bench.folder.join(name), secret).unwrap();
            std::fs::set_permissions(bench.folder.join(name), std::fs::Permissions::from_mode(0o600))
                .unwrap();
        }
        bench.write_settings(&bench.crm.base_url());
        bench
    }

    fn write_settings(&self, crm_url: &str) {
        let secret = |name: &str| format!("\"file:{}\"", self.folder.join(name).display());
        let remote = AdvowareOptions::default();
        let settings = format!(
            "[producer]\nwebhook_listen = \"127.0.0.1:{port}\"\n[operations]\nlisten = \"127.0.0.1:{private}\"\n\
             [connector.espocrm]\nurl = \"{crm_url}\"\napi_key = {key}\n\
             [provision.espocrm]\nadmin_user = \"admin\"\nadmin_password = {admin}\n\
             webhook_url = \"http://127.0.0.1:{port}\"\n\
             [connector.advoware]\nconfigurator_url = \"{}\"\nkanzlei = \"{}\"\ndatabase = \"{}\"\nuser = \"{}\"\n\
             app_id = \"{}\"\napi_key = {}\npassword = {}\n\
             [flow.parties]\nenabled = true\nnotify_user_id = \"{PERSON_ID}\"\nsweep_cron = \"0 0 1 1 *\"\n",
            self.advoware.base_url(),
            remote.kanzlei,
            remote.database,
            remote.user,
            remote.app_id,
            secret("key"),
            secret("password"),
            port = self.webhook_port,
            private = self.private_port,
            key = secret("espocrm-key"),
            admin = secret("admin"),
        );
        std::fs::write(self.folder.join("syncfleet.toml"), settings).unwrap();
    }

    async fn run(&self, args: &[&str]) -> Output {
        syncfleet(self.folder.path(), args).await
    }

    fn start(&self, args: &[&str]) -> RunningProgram {
        Program::new("syncfleet")
            .unwrap()
            .current_dir(self.folder.path())
            .args(args.iter().copied())
            .start()
            .unwrap()
    }

    fn key_file(&self) -> PathBuf {
        self.folder.join("espocrm-key")
    }

    /// Every secret that EspoCRM holds of us: the API users' keys as their file says, the webhooks' from its journal.
    fn secrets(&self) -> Vec<String> {
        let journal = self.crm.journal();
        let hooks =
            journal.iter().filter(|entry| entry.entity == "Webhook" && entry.operation == Operation::Create);
        let secrets = hooks.filter_map(|entry| Some(entry.after.as_ref()?["secretKey"].as_str()?.to_owned()));
        let key = std::fs::read_to_string(self.key_file()).unwrap();
        secrets.chain([key.trim().to_owned(), ADMIN_PASSWORD.to_owned()]).collect()
    }

    /// How often each thing was made.
    fn made(&self) -> BTreeMap<(String, String), usize> {
        let mut made = BTreeMap::new();
        for entry in self.crm.journal().into_iter().filter(|entry| entry.operation == Operation::Create) {
            let after = entry.after.unwrap();
            let name = ["event", "userName", "name"].iter().find_map(|name| after[*name].as_str());
            *made.entry((entry.entity, name.unwrap_or_default().to_owned())).or_default() += 1;
        }
        made
    }

    /// A request of an administrator, by hand.
    async fn as_admin(&self, method: Method, path: &str, body: Value) -> Value {
        let url = format!("{}/api/v1/{path}", self.crm.base_url().trim_end_matches('/'));
        let sign_in = STANDARD.encode(format!("admin:{ADMIN_PASSWORD}"));
        let request = client().request(method, url).header("authorization", format!("Basic {sign_in}"));
        let answer = request.json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
        answer.json().await.unwrap()
    }

    async fn doctor(&self) -> (Option<i32>, Vec<Value>) {
        let output = self.run(&["doctor", "--json"]).await;
        let checks = json_of(&output).as_array().unwrap().clone();
        (output.status.code(), checks.into_iter().filter(|check| check["verdict"] != "well").collect())
    }

    async fn expect_content(&self) {
        let (code, complaints) = self.doctor().await;
        assert_eq!((code, complaints), (Some(0), vec![]));
        let again = self.run(&["provision", "--yes"]).await;
        assert_eq!(again.status.code(), Some(0), "{}", complained(&again));
        assert!(printed(&again).contains("nothing to do"), "{}", printed(&again));
    }

    /// Webhooks that the running producer has verified and published.
    async fn webhooks_accepted(&self) -> f64 {
        let metrics = Http::new()
            .unwrap()
            .get(&format!("http://127.0.0.1:{}/metrics", self.private_port))
            .await
            .unwrap();
        let lines = metrics.body.lines().filter(|line| line.starts_with("syncfleet_webhook_requests_total{"));
        let accepted =
            lines.filter(|line| line.contains("accepted")).filter_map(|line| line.rsplit(' ').next());
        accepted.map(|count| count.parse::<f64>().unwrap()).sum()
    }

    /// Two edits of a person arrive at a real producer and worker, each announced by a webhook.
    async fn expect_webhooks(&self) {
        assert_eq!(self.webhooks_accepted().await, 0.0);
        let id = self.crm.create_as_person(&person("Zacharias", "pending_sync")).unwrap();
        let agreed = |name: &'static str| {
            let id = id.clone();
            async move |bench: &Self| {
                let record = bench.crm.record(&id).unwrap();
                let party =
                    bench.advoware.records().into_iter().find(|party| party["betNr"] == record["betnr"]);
                match party {
                    Some(party) if party["name"] == name && record["syncStatus"] == "clean" => Ok(()),
                    other => Err(format!("{other:?} {}", record["syncStatus"])),
                }
            }
        };
        wait::until("the new record in Advoware", SOON, async || agreed("Zacharias")(self).await).await;
        self.crm.edit_as_person(&id, &object(json!({ "lastName": "Zorn" }))).unwrap();
        wait::until("the edit in Advoware", SOON, async || agreed("Zorn")(self).await).await;
        wait::until("webhooks of the new record and of its edit", SOON, async || {
            let accepted = self.webhooks_accepted().await;
            if accepted >= 2.0 { Ok(()) } else { Err(accepted) }
        })
        .await;
    }
}

#[expect(clippy::disallowed_methods, reason = "the test speaks to EspoCRM beside the product")]
fn client() -> reqwest::Client {
    // Fails only when a provider is installed already, which is as good.
    let _installed = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().build().unwrap()
}

fn no_secret_in(output: &Output, secrets: &[String]) {
    let text = format!("{}{}", printed(output), complained(output));
    assert!(!secrets.iter().any(|secret| text.contains(secret.as_str())), "{text}");
}

#[tokio::test]
async fn an_empty_crm_is_provisioned_after_it_was_shown_what_and_serves() {
    let bench = Bench::new(ESPOCRM_9_2, false).await;
    // The key is not there yet, which is what the doctor says.
    let doctor = bench.run(&["doctor"]).await;
    assert_eq!(doctor.status.code(), Some(78));
    assert!(complained(&doctor).contains("connector.espocrm.api_key"), "{}", complained(&doctor));

    let dry = bench.run(&["provision", "--dry-run"]).await;
    println!("$ syncfleet provision --dry-run\n{}{}", printed(&dry), complained(&dry));
    assert_eq!(dry.status.code(), Some(0), "{}", complained(&dry));
    for line in [
        "make the entity type CBeteiligte from the template Person",
        "switch optimistic concurrency control on for CBeteiligte",
        "change the field CBeteiligte.lastName: not required",
        "make the field CBeteiligte.betnr (int)",
        "make the role syncfleet: create CBeteiligte, read CBeteiligte, edit CBeteiligte",
        "make the API user syncfleet with the role syncfleet",
        "make the webhook CBeteiligte.delete to http://127.0.0.1:",
    ] {
        assert!(printed(&dry).contains(line), "{line} is missing in\n{}", printed(&dry));
    }
    let unsure = bench.run(&["provision"]).await;
    assert_eq!(unsure.status.code(), Some(64), "{}", complained(&unsure));
    assert!(complained(&unsure).contains("--yes"), "{}", complained(&unsure));
    assert_eq!(bench.crm.journal(), [], "nothing was done so far");
    assert!(!bench.key_file().exists());

    let done = bench.run(&["provision", "--yes"]).await;
    println!("$ syncfleet provision --yes\n{}{}", printed(&done), complained(&done));
    assert_eq!(done.status.code(), Some(0), "{}{}", printed(&done), complained(&done));
    assert_eq!(std::fs::metadata(bench.key_file()).unwrap().permissions().mode() & 0o777, 0o600);
    let secrets = bench.secrets();
    assert_eq!(secrets.len(), 5);
    no_secret_in(&done, &secrets);
    let store = std::fs::read(bench.folder.join("syncfleet-data/syncfleet.db")).unwrap();
    let wal = std::fs::read(bench.folder.join("syncfleet-data/syncfleet.db-wal")).unwrap_or_default();
    for secret in &secrets {
        let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!holds(&store) && !holds(&wal), "a secret stands in the state store as it is");
    }

    let journal = bench.crm.journal().len();
    bench.expect_content().await;
    assert_eq!(bench.crm.journal().len(), journal, "the second run wrote something");
    let mut up = bench.start(&["up"]);
    up.wait_for_log("The worker begins to serve", SOON).await.unwrap();
    bench.expect_webhooks().await;
    up.terminate();
    assert!(up.wait_exit(SOON).await.unwrap().success());
}

#[tokio::test]
async fn a_running_producer_takes_webhooks_that_are_made_later_also_on_9_3() {
    let bench = Bench::new(ESPOCRM_9_3, true).await;
    let (code, complaints) = bench.doctor().await;
    assert_eq!(code, Some(1), "{complaints:#?}");
    let entity =
        complaints.iter().find(|check| check["subject"] == "EspoCRM entity type CBeteiligte").unwrap();
    assert!(entity["remedy"].as_str().unwrap().contains("syncfleet provision"), "{entity}");
    let mut up = bench.start(&["up"]);
    up.wait_for_log("The worker begins to serve", SOON).await.unwrap();

    // 9.3 refuses webhooks to internal addresses until a line of its file allows them: the line is named.
    let refused = bench.run(&["provision", "--yes"]).await;
    println!("$ syncfleet provision --yes\n{}{}", printed(&refused), complained(&refused));
    assert_eq!(refused.status.code(), Some(69), "{}", complained(&refused));
    let address = format!("127.0.0.1:{}", bench.webhook_port);
    let line = format!("'webhookAllowedAddressList' => ['{address}'],");
    assert!(complained(&refused).contains(&line), "{}", complained(&refused));
    assert!(complained(&refused).contains("What is done stays"), "{}", complained(&refused));
    bench.crm.configure(&object(json!({ "webhook_allowed_addresses": [address] }))).unwrap();

    let done = bench.run(&["provision", "--yes", "--show-secrets"]).await;
    assert_eq!(done.status.code(), Some(0), "{}", complained(&done));
    for secret in
        bench.secrets().iter().filter(|secret| ![API_KEY, ADMIN_PASSWORD].contains(&secret.as_str()))
    {
        assert_eq!(
            printed(&done).matches(secret.as_str()).count(),
            1,
            "printed once, since it was asked for"
        );
    }
    bench.expect_webhooks().await;
    bench.expect_content().await;
    assert!(bench.made().values().all(|count| *count == 1), "{:?}", bench.made());
    up.terminate();
    assert!(up.wait_exit(SOON).await.unwrap().success());
}

#[tokio::test]
async fn what_is_in_the_way_is_said_and_nothing_is_done() {
    let bench = Bench::new("9.2.1", false).await;
    let refuse = async |args: &[&str], code: i32, says: &str| {
        let output = bench.run(&[&["provision", "--yes"], args].concat()).await;
        let said = format!("{}{}", printed(&output), complained(&output));
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(says), "{says} is missing in {said}");
        assert_eq!(bench.crm.journal(), []);
    };
    refuse(&[], 1, "update it to 9.2.2 or later").await;
    bench.crm.configure(&object(json!({ "version": ESPOCRM_9_2 }))).unwrap();
    std::fs::write(bench.folder.join("admin"), "wrong").unwrap();
    refuse(&[], 69, "EspoCRM refuses the administrator's log-in").await;
    std::fs::write(bench.folder.join("admin"), ADMIN_PASSWORD).unwrap();
    let settings = std::fs::read_to_string(bench.folder.join("syncfleet.toml")).unwrap();
    let rewrite = |from: &str, to: &str| {
        assert!(settings.contains(from), "{from}");
        std::fs::write(bench.folder.join("syncfleet.toml"), settings.replace(from, to)).unwrap();
    };
    rewrite("admin_user = \"admin\"", "admin_user = \"\"");
    refuse(&[], 78, "provision.espocrm.admin_user").await;
    let key = format!("file:{}", bench.key_file().display());
    rewrite(&key, "env:NOT_SET_ANYWHERE");
    refuse(&[], 1, "--api-key-file PATH or --show-secrets").await;
    rewrite("[flow.parties]\nenabled = true", "[flow.parties]\nenabled = false");
    refuse(&[], 78, "no flow is enabled").await;
}

#[tokio::test]
async fn where_the_state_is_shared_the_key_is_named_by_the_operator() {
    let bench = Bench::new(ESPOCRM_9_2, false).await;
    let redis = shared_redis().await.unwrap();
    let settings = std::fs::read_to_string(bench.folder.join("syncfleet.toml")).unwrap();
    let with = |more: &str| {
        let namespace = format!("provision-{}", bench.webhook_port);
        let state = format!(
            "[state]\nkind = \"redis\"\n[state.redis]\nurl = \"{}\"\nnamespace = \"{namespace}\"\n",
            redis.url()
        );
        std::fs::write(bench.folder.join("syncfleet.toml"), format!("{settings}{state}{more}")).unwrap();
    };
    with("");
    let refused = bench.run(&["provision", "--yes"]).await;
    assert_eq!(refused.status.code(), Some(1), "{}", complained(&refused));
    assert!(printed(&refused).contains("syncfleet vault new-key"), "{}", printed(&refused));
    assert_eq!(bench.crm.journal(), []);

    let new_key = async |file: &str| {
        let key = bench.run(&["vault", "new-key"]).await;
        std::fs::write(bench.folder.join(file), key.stdout).unwrap();
        std::fs::set_permissions(bench.folder.join(file), std::fs::Permissions::from_mode(0o600)).unwrap();
        format!("\"file:{}\"", bench.folder.join(file).display())
    };
    let (first, second) = (new_key("first").await, new_key("second").await);
    with(&format!("[vault]\nkey = {first}\n"));
    let done = bench.run(&["provision", "--yes"]).await;
    assert_eq!(done.status.code(), Some(0), "{}{}", printed(&done), complained(&done));
    let sealed = async || {
        let (_, complaints) = bench.doctor().await;
        complaints.into_iter().find(|check| check["subject"] == "secrets in the state store")
    };
    assert_eq!(sealed().await, None);
    // A new key alone opens nothing that the former one sealed; named beside it, the former one does.
    with(&format!("[vault]\nkey = {second}\n"));
    let complaint = sealed().await.expect("a complaint");
    assert!(complaint["seen"].as_str().unwrap().contains("vault.old_keys"), "{complaint}");
    with(&format!("[vault]\nkey = {second}\n[vault.old_keys]\nfirst = {first}\n"));
    assert_eq!(sealed().await, None);
    with("[vault]\nkey = \"env:PATH\"\n");
    let malformed = bench.run(&["doctor"]).await;
    assert!(printed(&malformed).contains("vault.key holds no key"), "{}", printed(&malformed));
}

#[tokio::test]
async fn rights_that_were_taken_away_are_given_again_and_no_webhook_is_made_twice() {
    let bench = Bench::new(ESPOCRM_9_2, true).await;
    let first = bench.run(&["provision", "--yes"]).await;
    assert_eq!(first.status.code(), Some(0), "{}", complained(&first));
    let user = bench.as_admin(Method::GET, &format!("User/{API_USER_ID}"), json!(null)).await;
    let role = user["rolesIds"][0].as_str().unwrap().to_owned();
    let data = json!({ "CBeteiligte": { "read": "team" }, "Import": true });
    let poor = json!({ "data": data, "messagePermission": "not-set" });
    bench.as_admin(Method::PUT, &format!("Role/{role}"), poor).await;

    // What the API user may not see any more, it has still.
    let done = bench.run(&["provision", "--yes"]).await;
    assert_eq!(done.status.code(), Some(0), "{}{}", printed(&done), complained(&done));
    assert!(printed(&done).contains("give the API user sync-api the role syncfleet"), "{}", printed(&done));
    assert!(bench.made().values().all(|count| *count == 1), "{:?}", bench.made());
    let kept = bench.as_admin(Method::GET, &format!("Role/{role}"), json!(null)).await;
    assert_eq!(kept["data"], data, "a role of others is left alone");
    bench.expect_content().await;
}

/// Where the program is killed: at which request that writes, before it reaches EspoCRM or after it was answered there.
#[derive(Debug, Clone, Copy)]
struct Killing {
    at: usize,
    is_after: bool,
}

/// Stands between the program and EspoCRM, and holds one request for ever.
struct Gate {
    crm: String,
    http: reqwest::Client,
    killing: Option<Killing>,
    writes: AtomicUsize,
    held: Notify,
}

impl Gate {
    async fn open(crm: &str, killing: Option<Killing>) -> (Arc<Self>, String) {
        let http = client();
        let gate = Arc::new(Self {
            crm: crm.trim_end_matches('/').to_owned(),
            http,
            killing,
            writes: AtomicUsize::new(0),
            held: Notify::new(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass).with_state(Arc::clone(&gate));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (gate, url)
    }
}

async fn pass(
    State(gate): State<Arc<Gate>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let is_write = method != Method::GET;
    let number = if is_write { gate.writes.fetch_add(1, Ordering::SeqCst) } else { usize::MAX };
    let killing = gate.killing.filter(|killing| killing.at == number);
    if killing.is_some_and(|killing| !killing.is_after) {
        gate.held.notify_one();
        std::future::pending::<()>().await;
    }
    let mut request = gate.http.request(method, format!("{}{uri}", gate.crm)).body(body);
    for name in ["authorization", "x-api-key", "content-type", "accept"] {
        if let Some(value) = headers.get(name) {
            request = request.header(name, value);
        }
    }
    let answer = request.send().await.unwrap();
    let mut response = Response::builder().status(answer.status());
    for name in ["content-type", "x-status-reason"] {
        if let Some(value) = answer.headers().get(name) {
            response = response.header(name, value);
        }
    }
    let body = answer.bytes().await.unwrap();
    if killing.is_some() {
        gate.held.notify_one();
        std::future::pending::<()>().await;
    }
    response.body(Body::from(body)).unwrap()
}

/// Runs it until it is killed there, and then to its end.
async fn kill_and_repeat(version: &str, killing: Killing) {
    let bench = Bench::new(version, false).await;
    let address = format!("127.0.0.1:{}", bench.webhook_port);
    bench.crm.configure(&object(json!({ "webhook_allowed_addresses": [address] }))).unwrap();
    let (gate, url) = Gate::open(&bench.crm.base_url(), Some(killing)).await;
    bench.write_settings(&url);
    let mut running = bench.start(&["provision", "--yes"]);
    tokio::time::timeout(SOON, gate.held.notified()).await.expect("the request to be killed at");
    running.kill_9();

    bench.write_settings(&bench.crm.base_url());
    let again = bench.run(&["provision", "--yes"]).await;
    assert_eq!(again.status.code(), Some(0), "{killing:?}: {}{}", printed(&again), complained(&again));
    let made = bench.made();
    assert!(made.values().all(|count| *count == 1), "{killing:?}: {made:?}");
    assert_eq!(made.len(), 1 + 11 + 1 + 1 + 3, "{killing:?}: {made:?}");
    bench.expect_content().await;
}

#[tokio::test]
async fn killed_at_any_request_it_goes_on_when_it_is_run_again() {
    // How many writes there are.
    let bench = Bench::new(ESPOCRM_9_2, false).await;
    let (gate, url) = Gate::open(&bench.crm.base_url(), None).await;
    bench.write_settings(&url);
    let whole = bench.run(&["provision", "--yes"]).await;
    assert_eq!(whole.status.code(), Some(0), "{}", complained(&whole));
    let writes = gate.writes.load(Ordering::SeqCst);
    assert!(writes >= 19, "{writes}");
    for at in 0..writes {
        for is_after in [false, true] {
            let version = if at % 2 == 0 { ESPOCRM_9_2 } else { ESPOCRM_9_3 };
            kill_and_repeat(version, Killing { at, is_after }).await;
        }
    }
    println!("killed at each of {writes} writes, before and after it");
}
