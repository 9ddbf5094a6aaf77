//! The operator's program as a process: what it prints, how it ends, and the demo that survives being killed.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use simulators::{AdvowareOptions, AdvowareSimulator, EspocrmOptions, EspocrmSimulator};
use system_tests::process::program_path;
use system_tests::supervise::Folder;
use system_tests::{Program, RunningProgram};

use crate::{SOON, object};

/// How often the demo is killed.
const KILLS: usize = 10;

/// Runs a command to its end.
pub async fn syncfleet(folder: &Path, args: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(program_path("syncfleet").unwrap());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("SYNCFLEET__"))
    {
        command.env_remove(name);
    }
    let command = command.args(args).current_dir(folder).kill_on_drop(true);
    tokio::time::timeout(SOON, command.output()).await.expect("an end in time").unwrap()
}

pub fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn complained(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", complained(output)))
}

/// The demo's directory; what it left running ends with the test.
pub struct DemoFolder(pub Folder);

impl DemoFolder {
    pub fn new() -> Self {
        Self(Folder::new("demo").unwrap())
    }

    /// Where the simulated systems are that it left running, or runs.
    pub fn addresses(&self) -> Value {
        let addresses = std::fs::read(self.0.join("demo/simulators/addresses.json")).unwrap_or_default();
        serde_json::from_slice(&addresses).unwrap_or_default()
    }

    fn start(&self, args: &[&str]) -> RunningProgram {
        let program = Program::new("syncfleet").unwrap().current_dir(self.0.path());
        program.args(["demo", "--dir", "demo"].iter().chain(args).copied()).start().unwrap()
    }

    async fn run(&self, args: &[&str]) -> Output {
        syncfleet(self.0.path(), &[&["demo", "--dir", "demo"], args].concat()).await
    }

    pub async fn command(&self, args: &[&str]) -> Output {
        syncfleet(self.0.path(), &[&["--config", "demo/syncfleet.toml"], args].concat()).await
    }
}

impl Drop for DemoFolder {
    fn drop(&mut self) {
        let pid = self.addresses()["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.filter(|pid| is_syncfleet(*pid)).and_then(rustix::process::Pid::from_raw) {
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Whether the number still belongs to what it was written down for.
fn is_syncfleet(pid: i32) -> bool {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&command).contains("simulators")
}

#[tokio::test]
async fn wrong_settings_and_wrong_words_have_exit_codes_of_their_own() {
    let folder = Folder::new("wrong").unwrap();
    std::fs::write(folder.join("syncfleet.toml"), "[wroker]\nname = \"x\"\n[log]\nlevel = \"loud\"\n")
        .unwrap();
    for args in [&["config", "check"][..], &["up"], &["doctor"], &["status"], &["dlq", "list"]] {
        let output = syncfleet(folder.path(), args).await;
        let said = complained(&output);
        assert_eq!(output.status.code(), Some(78), "{args:?}: {said}");
        assert!(
            said.contains("2 problems") && said.contains("wroker") && said.contains("log.level"),
            "{said}"
        );
    }
    let problems = json_of(&syncfleet(folder.path(), &["config", "check", "--json"]).await);
    assert_eq!(problems.as_array().map(Vec::len), Some(2), "{problems}");
    let output = syncfleet(folder.path(), &["dlq", "replay"]).await;
    assert_eq!(output.status.code(), Some(64), "{}", complained(&output));
    assert_eq!(syncfleet(folder.path(), &["--help"]).await.status.code(), Some(0));
}

#[tokio::test]
async fn the_reference_of_settings_is_itself_a_configuration() {
    let folder = Folder::new("default").unwrap();
    let reference = printed(&syncfleet(folder.path(), &["config", "default"]).await);
    std::fs::write(folder.join("syncfleet.toml"), &reference).unwrap();
    let output = syncfleet(folder.path(), &["config", "check"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", complained(&output));
    assert!(printed(&output).contains("syncfleet.toml:"), "{}", printed(&output));
}

#[tokio::test]
async fn one_process_serves_a_directory() {
    let folder = Folder::new("up").unwrap();
    let settings = "producer.webhook_listen = \"\"\noperations.listen = \"\"\n";
    std::fs::write(folder.join("syncfleet.toml"), settings).unwrap();
    let program = Program::new("syncfleet").unwrap().current_dir(folder.path());
    let mut first = program.arg("up").start().unwrap();
    first.wait_for_log("The worker begins to serve", SOON).await.unwrap();
    let second = syncfleet(folder.path(), &["up"]).await;
    let said = complained(&second);
    assert_eq!(second.status.code(), Some(69), "{said}");
    assert!(said.contains("syncfleet-data"), "{said}");
    let beside = syncfleet(folder.path(), &["status", "--json"]).await;
    assert_eq!(json_of(&beside)["problems"], json!([]));
    first.terminate();
    assert!(first.wait_exit(SOON).await.unwrap().success());
}

#[tokio::test]
async fn the_doctor_finds_a_field_that_was_removed() {
    let folder = Folder::new("doctor").unwrap();
    let crm = EspocrmSimulator::start(EspocrmOptions::default()).await.unwrap();
    let advoware = AdvowareSimulator::start(AdvowareOptions::default()).await.unwrap();
    let options = AdvowareOptions::default();
    for (name, secret) in
        [("crm", simulators::espocrm::API_KEY), ("key", &options.api_key), ("password", &options.password)]
    {
        std::fs::write(folder.join(name), secret).unwrap();
    }
    let secret = |name: &str| format!("\"file:{}\"", folder.join(name).display());
    let settings = format!(
        "flow.parties.enabled = true\n[connector.espocrm]\nurl = \"{}\"\napi_key = {}\n[connector.advoware]\n\
         configurator_url = \"{}\"\nkanzlei = \"{}\"\ndatabase = \"{}\"\nuser = \"{}\"\napp_id = \"{}\"\n\
         api_key = {}\npassword = {}\n",
        crm.base_url(),
        secret("crm"),
        advoware.base_url(),
        options.kanzlei,
        options.database,
        options.user,
        options.app_id,
        secret("key"),
        secret("password"),
    );
    std::fs::write(folder.join("syncfleet.toml"), settings).unwrap();
    let well = syncfleet(folder.path(), &["doctor"]).await;
    assert_eq!(well.status.code(), Some(0), "{}{}", printed(&well), complained(&well));
    crm.configure(&object(json!({ "fields": { "advowareRowId": null } }))).unwrap();
    std::fs::write(folder.join("notes.md"), format!("our key: {}\n", options.api_key)).unwrap();
    let output = syncfleet(folder.path(), &["doctor", "--json"]).await;
    assert_eq!(output.status.code(), Some(1));
    let checks = json_of(&output);
    let broken: Vec<&Value> =
        checks.as_array().unwrap().iter().filter(|check| check["verdict"] == "broken").collect();
    let subject = |text: &str| broken.iter().find(|check| check.to_string().contains(text));
    let field = subject("advowareRowId").unwrap_or_else(|| panic!("the field is not named: {checks:#}"));
    assert_ne!(field["remedy"], "");
    let leak = subject("notes.md").unwrap_or_else(|| panic!("the key in the notes is not found: {checks:#}"));
    assert!(!leak.to_string().contains(&options.api_key), "{leak}");
}

#[tokio::test]
async fn the_demo_ends_equal_and_its_dead_letters_can_be_handled() {
    let demo = DemoFolder::new();
    let output = demo.run(&["--parties", "40", "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}{}", printed(&output), complained(&output));
    let report = json_of(&output);
    assert_eq!(
        (&report["equal"], &report["written"]["created_twice"]),
        (&json!(true), &json!(0)),
        "{report:#}"
    );

    let list = json_of(&demo.command(&["dlq", "list", "--json"]).await);
    let open = list["letters"].as_array().unwrap();
    assert_eq!(json!(open.len()), report["dead_letters_open"]);
    let [first, second] = [0, 1].map(|at| open[at]["id"].as_str().unwrap());
    let shown = demo.command(&["dlq", "show", first]).await;
    assert!(printed(&shown).contains(open[0]["key"].as_str().unwrap()), "{}", printed(&shown));

    let dry = printed(&demo.command(&["dlq", "replay", first, "--dry-run"]).await);
    assert!(dry.contains("Nothing was sent"), "{dry}");
    let replayed = demo.command(&["dlq", "replay", first, "--by", "anna"]).await;
    assert_eq!(replayed.status.code(), Some(0), "{}", complained(&replayed));
    let discarded =
        demo.command(&["dlq", "discard", second, "--by", "anna", "--reason", "entered twice"]).await;
    assert_eq!(discarded.status.code(), Some(0), "{}", complained(&discarded));
    let again = demo.command(&["dlq", "discard", second, "--by", "anna", "--reason", "entered twice"]).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(complained(&again).contains("anna discarded it"), "{}", complained(&again));
    let left = json_of(&demo.command(&["dlq", "list", "--json"]).await);
    assert_eq!(left["total"].as_u64(), Some(open.len() as u64 - 2));
    let status = json_of(&demo.command(&["status", "--json"]).await);
    assert_eq!(status["flows"][0]["ready"], 1, "the replayed message waits: {status:#}");
}

#[tokio::test]
async fn a_demo_killed_again_and_again_ends_equal_without_a_second_create() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let demo = DemoFolder::new();
    let args = ["--parties", "120", "--seed", "7"];
    for _ in 0..KILLS {
        let mut running = demo.start(&args);
        let instant = Duration::from_millis(dice.u64(200..2_500));
        // An instant is what is asked for: whatever the demo does at it, it must survive.
        tokio::time::sleep(instant).await;
        running.kill_9();
    }
    let output = demo.run(&[&args[..], &["--json"]].concat()).await;
    assert_eq!(output.status.code(), Some(0), "seed {seed}: {}{}", printed(&output), complained(&output));
    let report = json_of(&output);
    assert_eq!(
        (&report["equal"], &report["written"]["created_twice"]),
        (&json!(true), &json!(0)),
        "{report:#}"
    );
    assert_eq!(report["written"]["writes_without_change"], 0, "{report:#}");
}
