//! The vendors' own client libraries, and for SCIM a conformance client of independent make, work against the simulators,
//! so that those are not merely our own opinion. What they are led through stands in `tests/clients/`.

use std::path::{Path, PathBuf};

use simulators::google::{Consent, MAIL};
use simulators::scim::{ScimDiscovery, TOKEN};
use simulators::{
    ActorKind, GoogleOptions, GoogleSimulator, MicrosoftOptions, MicrosoftSimulator, Operation, ScimOptions,
    ScimSimulator,
};
use system_tests::{Program, python};

use crate::SOON;

/// Where libraries are, below the target folder, and what says which, beside the tests.
type Set = (&'static str, &'static str);

const VENDORS: Set = ("client-libraries", "clients/requirements.txt");
const SCIM: Set = ("scim-server", "scim_server/requirements.txt");

fn tests() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn scripts() -> PathBuf {
    tests().join("clients")
}

/// Plays a script to its end; answers what it wrote, and whether all was well.
async fn played((folder, requirements): Set, script: &str, args: &[&str]) -> (bool, String) {
    let folder = python::environment(folder, &tests().join(requirements)).unwrap();
    let program = Program::at(folder.join("bin/python")).arg(scripts().join(script)).args(args);
    // Nothing is compiled into the source tree, nor asked through a proxy.
    let program = program.env("PYTHONPYCACHEPREFIX", folder.join("compiled"));
    let mut running = program.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1").start().unwrap();
    let ended = running.wait_exit(SOON).await.unwrap();
    let log = running.complete_log(SOON).await.unwrap();
    (ended.success() && log.contains("all calls behaved"), log)
}

async fn play(set: Set, script: &str, args: &[&str]) {
    let (is_well, log) = played(set, script, args).await;
    assert!(is_well, "{script}:\n{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn googles_own_libraries_work_against_the_simulator() {
    let options = GoogleOptions {
        consent: Consent::AtOnce,
        redirect_uris: vec!["http://localhost/callback".to_owned()],
        plain_http_channels: true,
        ..GoogleOptions::default()
    };
    let google = GoogleSimulator::start(options).await.unwrap();
    let document = scripts().join("../../crates/simulators/src/google/data/calendar.v3.json");
    play(VENDORS, "google_calendar.py", &[&google.base_url(), document.to_str().unwrap()]).await;

    assert!(google.outside_description().is_empty(), "{:?}", google.outside_description());
    let counters = google.counters();
    for method in [
        "calendarList.list",
        "calendars.get",
        "channels.stop",
        "events.delete",
        "events.get",
        "events.insert",
        "events.instances",
        "events.list",
        "events.patch",
        "events.update",
        "events.watch",
    ] {
        let count = counters.get(&format!("calendar.{method}")).copied().unwrap_or(0);
        assert!(count >= 2, "{method} was called {count} times: {counters:?}");
    }
    assert_eq!(counters["oauth.token.authorization_code"], 4, "two of them with another's verifier");
    let journal = google.journal();
    let made = journal.iter().filter(|it| it.entity == "Event" && it.operation == Operation::Create);
    let made = made.filter(|it| it.actor_kind == ActorKind::Api).count();
    assert_eq!(made, 18, "eight events, and one more to be told of, by each document");
    assert!(!journal.iter().any(|it| it.entity == MAIL), "a mail was sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn microsofts_own_libraries_work_against_the_simulator() {
    let microsoft = MicrosoftSimulator::start(MicrosoftOptions::default()).await.unwrap();
    play(VENDORS, "microsoft_graph.py", &[&microsoft.base_url()]).await;

    assert!(microsoft.outside_description().is_empty(), "{:?}", microsoft.outside_description());
    let tokens = microsoft.token_requests();
    assert_eq!((tokens["authorization_code"], tokens["client_credentials"]), (2, 2), "{tokens:?}");
    let journal = microsoft.journal();
    let of_api = |entity: &str, operation: Operation| {
        let is_it = |it: &&simulators::JournalEntry| {
            it.entity == entity && it.operation == operation && it.actor_kind == ActorKind::Api
        };
        journal.iter().filter(is_it).count()
    };
    assert_eq!(of_api("subscription", Operation::Create), 1);
    assert_eq!(of_api("subscription", Operation::Update), 1);
    assert_eq!(of_api("subscription", Operation::Delete), 1);
    let mails = microsoft.mails_by_clients();
    assert!(!mails.is_empty() && mails.iter().all(|mail| mail["to"] == "bernd@kanzlei.example"), "{mails:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conformance_client_has_nothing_against_the_scim_simulator() {
    let scim = ScimSimulator::start(ScimOptions::default()).await.unwrap();
    play(SCIM, "scim_conformance.py", &[&scim.service_url(), TOKEN]).await;

    let counters = scim.counters();
    for request in [
        "GET /ServiceProviderConfig",
        "GET /ResourceTypes/{id}",
        "GET /Schemas/{id}",
        "DELETE /Schemas",
        "POST /.search",
        "GET /Users",
        "PUT /Users/{id}",
        "PATCH /Users/{id}",
        "DELETE /Users/{id}",
        "PUT /Groups/{id}",
        "PATCH /Groups/{id}",
    ] {
        assert!(counters.contains_key(request), "{request}: {counters:?}");
    }
    assert_eq!(scim.records(), Vec::<serde_json::Value>::new(), "what was made was deleted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conformance_client_finds_out_a_scim_simulator_that_says_more_than_it_can() {
    let discovery = ScimDiscovery::Boasting;
    let scim = ScimSimulator::start(ScimOptions { discovery, patch: false, ..ScimOptions::default() });
    let scim = scim.await.unwrap();
    let (is_well, log) = played(SCIM, "scim_conformance.py", &[&scim.service_url(), TOKEN]).await;
    assert!(!is_well && log.contains("ERROR User check_replace_attribute"), "{log}");
}
