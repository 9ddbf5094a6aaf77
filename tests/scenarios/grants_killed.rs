//! Processes that die around a token request: no grant is lost where the old refresh token lives on; where it dies at once,
//! the account is to be connected again, and that is told once.

use std::collections::BTreeMap;
use std::path::Path;

use secrecy::ExposeSecret as _;
use shared::clock::Clock as _;
use shared::ports::state::{State, Write};
use system_tests::supervise::Folder;
use system_tests::{Program, RunningProgram};
use vault::{AccountId, Provider};

use crate::SOON;
use crate::grants::{Fleet, TWO_HOURS, microsoft, refreshes_at, revoking_google};

/// At each point, unless `GRANT_KILLS` says another number.
const KILLS: usize = 20;
/// Those who ask for every account afterwards, all at once.
const SURVIVORS: usize = 3;

const BEFORE_REQUEST: &str = "vault.before_token_request";
const AFTER_ANSWER: &str = "vault.after_token_answer";
const AFTER_STORE: &str = "vault.after_token_store";

#[expect(clippy::disallowed_methods, reason = "no setting of the product")]
fn kills() -> usize {
    let told = std::env::var("GRANT_KILLS").ok();
    told.map_or(KILLS, |kills| kills.parse().expect("a number as GRANT_KILLS"))
}

/// A process that asks for the tokens of some accounts.
fn child(fleet: &Fleet, provider: &Provider, base_url: &str, accounts: &[AccountId]) -> Program {
    let installation = &fleet.installation;
    Program::at(env!("CARGO_BIN_EXE_grant-child"))
        .args([&installation.redis_url, &installation.prefix, provider.name.as_str(), base_url])
        .arg(installation.clock.now().to_string())
        .args(accounts.iter().map(ToString::to_string))
        .env("GRANT_KEY", installation.key.expose_secret())
}

/// What a process of those printed that ends by itself.
async fn ended(mut running: RunningProgram) -> String {
    let status = running.wait_exit(SOON).await.unwrap();
    let log = running.complete_log(SOON).await.unwrap();
    assert!(status.success(), "{status}: {log}");
    log
}

/// What dead processes hold of the provider's limits comes back after some seconds, each time. Limits are not what is
/// tested here, so that is not waited for.
async fn free_limits(state: &dyn State) {
    for (key, _) in state.scan("limits/", None, 100).await.unwrap() {
        state.write(Write::delete(&key)).await.unwrap();
    }
}

/// What came of the accounts whose process died at a point.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// Askers that got a token.
    tokens: usize,
    /// Askers that heard that the account is to be connected again.
    over: usize,
    /// Processes that would have told its user.
    told: usize,
    /// Log lines of level error that say so.
    alerts: usize,
}

impl Outcome {
    fn note(&mut self, lines: &[&str], account: &AccountId) {
        let count = |what: &str| {
            let wanted = format!("{account} {what}");
            lines.iter().filter(|line| line.starts_with(&wanted)).count()
        };
        self.tokens += count("token");
        self.over += count("over");
        self.told += count("told");
        let named = format!("\"{account}\"");
        let is_alert = |line: &&&str| {
            line.contains("must be connected again") && line.contains("\"ERROR\"") && line.contains(&named)
        };
        self.alerts += lines.iter().filter(is_alert).count();
    }
}

/// Kills processes at each point, each for an account of its own; answers what came of them, and what it cost:
/// `requests` counts those to the token endpoint.
async fn killed(
    provider: Provider,
    base_url: &str,
    requests: impl Fn() -> u64,
) -> (BTreeMap<&'static str, Outcome>, u64) {
    let fleet = Fleet::new().await;
    let (kills, folder) = (kills(), Folder::new("grants-killed").unwrap());
    let hits = folder.join("hits");
    let mut accounts: BTreeMap<&str, Vec<AccountId>> = BTreeMap::new();
    let member = fleet.member(provider.clone());
    for point in [BEFORE_REQUEST, AFTER_ANSWER, AFTER_STORE] {
        for number in 0..kills {
            let user = format!("{}-{number}", point.replace(['.', '_'], "-"));
            let connected = fleet.connects_as(&member, &provider, &user).await;
            accounts.entry(point).or_default().push(connected.account);
        }
    }
    member.leave().await;
    fleet.advance(TWO_HOURS);

    let state = fleet.installation.state().unwrap();
    let before = requests();
    for (point, accounts) in &accounts {
        for account in accounts {
            free_limits(&*state).await;
            let points = format!("hits=return({});{point}=return(kill)", hits.display());
            let program = child(&fleet, &provider, base_url, std::slice::from_ref(account));
            let mut running = program.env("FAILPOINTS", points).start().unwrap();
            let status = running.wait_exit(SOON).await.unwrap();
            let log = running.complete_log(SOON).await.unwrap();
            assert!(!status.success() && !log.contains(&account.to_string()), "{point}, {status}: {log}");
        }
        assert_eq!(count_hits(&hits, point), accounts.len(), "processes that died at {point}");
    }
    free_limits(&*state).await;

    let every: Vec<AccountId> = accounts.values().flatten().cloned().collect();
    let start = |_| child(&fleet, &provider, base_url, &every).start().unwrap();
    let survivors: Vec<RunningProgram> = (0..SURVIVORS).map(start).collect();
    let mut logs = Vec::new();
    for survivor in survivors {
        logs.push(ended(survivor).await);
    }
    let lines: Vec<&str> = logs.iter().flat_map(|log| log.lines()).collect();
    let failed: Vec<&&str> = lines.iter().filter(|line| line.contains(" failed ")).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let mut outcomes: BTreeMap<&str, Outcome> = BTreeMap::new();
    for (point, accounts) in &accounts {
        let outcome = outcomes.entry(point).or_default();
        accounts.iter().for_each(|account| outcome.note(&lines, account));
    }
    println!("{}: {kills} kills at each point, {outcomes:?}", provider.name);
    (outcomes, requests() - before)
}

fn count_hits(file: &Path, label: &str) -> usize {
    std::fs::read_to_string(file).unwrap_or_default().lines().filter(|line| *line == label).count()
}

/// All is well with all of them.
fn well() -> Outcome {
    Outcome { tokens: SURVIVORS * kills(), ..Outcome::default() }
}

/// How many requests there were: the one whose answer was lost, and one more for each grant but those that were stored.
fn requests_expected() -> u64 {
    let kills = kills() as u64;
    kills + 2 * kills + kills
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_grant_is_lost_by_kills_where_the_old_refresh_token_lives_on() {
    let (simulator, provider) = microsoft().await;
    let count = || simulator.token_requests().get("refresh_token").copied().unwrap_or(0);
    let (outcomes, requests) = killed(provider, &simulator.base_url(), count).await;
    assert!(outcomes.values().all(|outcome| *outcome == well()), "{outcomes:?}");
    assert_eq!(requests, requests_expected());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_dies_with_its_process_ends_a_rotated_grant_and_is_told_once() {
    let (simulator, provider) = revoking_google().await;
    let (outcomes, requests) = killed(provider, &simulator.base_url(), || refreshes_at(&simulator)).await;
    assert_eq!((&outcomes[BEFORE_REQUEST], &outcomes[AFTER_STORE]), (&well(), &well()));
    let kills = kills();
    let over = Outcome { tokens: 0, over: SURVIVORS * kills, told: kills, alerts: kills };
    assert_eq!(outcomes[AFTER_ANSWER], over);
    assert_eq!(requests, requests_expected());
}
