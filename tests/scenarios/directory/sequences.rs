//! The given event sequences over HTTP: from WeCom's callbacks to what the target shows, with one worker and with eight.
//!
//! Many are played in one company at once, each with departments and members of its own below the root: so they also come
//! between each other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use flows::directory::settings::DirectorySettings;
use serde_json::{Map, Value, json};
use shared::retry::RetryPolicy;
use simulators::WecomOptions;
use simulators::wecom::WecomCallback;
use system_tests::ScimServer;

use super::installation::{Installation, Setup};
use super::place::Place;
use super::shown::Shown;

/// Permutations that are played.
const SAMPLE: usize = 200;
/// Departments of one play have ids below this, and those of the next one above.
const IDS: u64 = 2_000;
/// A department that nobody may see.
const INVISIBLE: u64 = 999_999;
const DEPARTMENTS: [&str; 6] =
    ["id", "Id", "parentid", "department", "invisible_departments", "AddPartyItems"];
const USERIDS: [&str; 6] = ["userid", "UserID", "newuserid", "NewUserID", "direct_leader", "AddUserItems"];

/// What happens in WeCom, and what is told of it.
#[derive(Debug, Clone)]
struct Sequence(Value);

fn sequences() -> Vec<Sequence> {
    let text = include_str!("../../../crates/flows/src/directory/fixtures/sequences.json");
    let all: Vec<Value> = serde_json::from_str(text).unwrap();
    assert_eq!(all.len(), 29);
    all.into_iter().map(Sequence).collect()
}

fn department_of(id: u64, play: u64) -> u64 {
    match id {
        0 | 1 => id,
        INVISIBLE => 2_000_000_000 + play,
        id => {
            assert!(id < IDS, "{id}");
            id + (play + 1) * IDS
        }
    }
}

fn userid_of(id: &str, play: u64) -> String {
    format!("{id}-{play}")
}

/// The same with ids of a play's own.
fn moved(value: &Value, name: &str, play: u64) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| moved(item, name, play)).collect(),
        Value::Object(fields) => {
            let key = |key: &str| match name {
                "departments" => department_of(key.parse().unwrap(), play).to_string(),
                "users" | "deliver_userid_as" => userid_of(key, play),
                _ => key.to_owned(),
            };
            let inner = |field: &str| if name == "deliver_userid_as" { "userid" } else { field }.to_owned();
            let fields = fields.iter().map(|(field, item)| (key(field), moved(item, &inner(field), play)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Number(number) if DEPARTMENTS.contains(&name) => {
            json!(department_of(number.as_u64().unwrap(), play))
        }
        Value::String(text) if USERIDS.contains(&name) => json!(userid_of(text, play)),
        other => other.clone(),
    }
}

fn index(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

/// Departments and members by id, as records.
fn records(of: &Value) -> Vec<Value> {
    let with = |name: &str, id: Value, fields: &Value| {
        let mut record = fields.clone();
        record[name] = id;
        record
    };
    let departments = of["departments"].as_object().unwrap().iter();
    let members = of["users"].as_object().unwrap().iter();
    departments
        .map(|(id, fields)| with("id", json!(id.parse::<u64>().unwrap()), fields))
        .chain(members.map(|(userid, fields)| with("userid", json!(userid), fields)))
        .collect()
}

impl Sequence {
    fn name(&self) -> &str {
        self.0["name"].as_str().unwrap()
    }

    fn deliveries(&self) -> &[Value] {
        self.0["deliveries"].as_array().unwrap()
    }

    fn needs_sweep(&self) -> bool {
        !self.0["needs_sweep"].is_null()
    }

    /// Whether WeCom answers nothing until all is told.
    fn is_blackout(&self) -> bool {
        self.0["api"].is_string()
    }

    fn invisible(&self) -> BTreeSet<u64> {
        self.0["invisible_departments"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
    }
}

/// A sequence that is played in an order.
#[derive(Debug, Clone)]
struct Play {
    said: Sequence,
    order: Vec<usize>,
    doubled: bool,
    /// Operations that have happened.
    happened: usize,
    /// Events that were told.
    told: usize,
}

impl Play {
    fn new(sequence: &Sequence, number: usize, order: Vec<usize>, doubled: bool) -> Self {
        let said = Sequence(moved(&sequence.0, "", number as u64));
        Self { said, order, doubled, happened: 0, told: 0 }
    }

    fn in_given_order(sequence: &Sequence, number: usize, doubled: bool) -> Self {
        Self::new(sequence, number, (0..sequence.deliveries().len()).collect(), doubled)
    }

    fn is_over(&self) -> bool {
        self.told >= self.order.len() * if self.doubled { 2 } else { 1 }
    }

    /// What happens next, and the events that tell of it: doubled, each comes twice at once, and again after all others.
    fn next(&mut self, installation: &Installation) -> Vec<Value> {
        let delivery = self.said.deliveries()[self.order[self.told % self.order.len()]].clone();
        self.until(index(&delivery[1]), installation);
        let is_first_round = self.told < self.order.len();
        self.told += 1;
        let mut event = delivery[2].clone();
        let spelled = event["UserID"].as_str().map(|id| self.said.0["deliver_userid_as"][id].clone());
        if let Some(spelled) = spelled.filter(Value::is_string) {
            event["UserID"] = spelled;
        }
        vec![event; if self.doubled && is_first_round { 2 } else { 1 }]
    }

    /// So many operations have happened.
    fn until(&mut self, count: usize, installation: &Installation) {
        let ops = self.said.0["ops"].as_array().unwrap();
        ops.iter().take(count).skip(self.happened).for_each(|op| installation.operate(op));
        self.happened = self.happened.max(count.min(ops.len()));
    }
}

/// The record that an event is about.
fn record_id(event: &Value) -> String {
    let lower = |name: &str| event[name].as_str().map(str::to_lowercase);
    match (event["Id"].as_u64(), lower("UserID"), lower("NewUserID")) {
        (Some(id), ..) => format!("dept.{id}"),
        (None, Some(old), Some(new)) => format!("rename.{old}/{new}"),
        (None, old, _) => format!("user.{}", old.unwrap_or_default()),
    }
}

fn setup(workers: usize) -> Setup {
    let mut callback = WecomCallback::new("");
    callback.own_events = false;
    Setup {
        workers,
        wecom: WecomOptions { callback: Some(callback), ..WecomOptions::default() },
        settings: DirectorySettings {
            shards: 8,
            retry: RetryPolicy {
                delay_initial: Duration::from_millis(50),
                delay_max: Duration::from_secs(1),
                ..RetryPolicy::default()
            },
            ..DirectorySettings::default()
        },
        ..Setup::default()
    }
}

/// What the target has to show of all plays.
fn expected(plays: &[Play]) -> Shown {
    let invisible: BTreeSet<u64> = plays.iter().flat_map(|play| play.said.invisible()).collect();
    let mut expected: Vec<Value> = plays.iter().flat_map(|play| records(&play.said.0["expected"])).collect();
    expected.retain(|record| record["id"].as_u64().is_none_or(|id| !invisible.contains(&id)));
    Shown::wanted(&expected)
}

async fn play_all(plays: Vec<Play>, workers: usize, rng: &mut fastrand::Rng) {
    play_at(Place::simulated().await, plays, workers, rng).await;
}

/// Answers the target as it is in the end, and what it has to show then.
async fn play_at(
    place: Place,
    mut plays: Vec<Play>,
    workers: usize,
    rng: &mut fastrand::Rng,
) -> (Place, Shown) {
    let names: BTreeSet<String> = plays.iter().map(|play| play.said.name().to_owned()).collect();
    let installation = Installation::start(place, setup(workers)).await;
    for record in plays.iter().flat_map(|play| records(&play.said.0["initial"])) {
        installation.wecom.seed(record.as_object().unwrap().clone()).unwrap();
    }
    assert!(installation.ask("at the beginning").await);
    installation.until_first_sync().await;
    assert_eq!(installation.differences().await, Vec::<String>::new(), "at the beginning");
    let invisible: Vec<u64> = plays.iter().flat_map(|play| play.said.invisible()).collect();
    installation.wecom.configure(json!({ "invisible": invisible }).as_object().unwrap()).unwrap();
    if plays.iter().any(|play| play.said.is_blackout()) {
        installation.wecom.control("POST", "errors", &json!({ "errcodes": [-1, 45009] })).unwrap();
    }
    installation.wecom.clear_counters();
    let mut events = 0;
    let mut told_of: BTreeMap<String, u32> = BTreeMap::new();
    while plays.iter().any(|play| !play.is_over()) {
        let open: Vec<usize> = (0..plays.len()).filter(|at| !plays[*at].is_over()).collect();
        let told = plays[*rng.choice(&open).unwrap()].next(&installation);
        events += told.len() as u64;
        told.iter().for_each(|event| *told_of.entry(record_id(event)).or_default() += 1);
        installation.wecom.control("POST", "events", &Value::Array(told)).unwrap();
        if rng.f64() < 0.2 {
            installation.wecom.deliver_callbacks().await;
        }
    }
    while installation.wecom.deliver_callbacks().await > 0 {}
    plays.iter_mut().for_each(|play| play.until(usize::MAX, &installation));
    installation.wecom.control("DELETE", "errors", &Value::Null).unwrap();
    installation.settled("all plays").await;
    let counters = installation.wecom.counters();
    let reads: u64 = ["user/get", "department/get"].iter().filter_map(|api| counters.get(*api)).sum();
    let expected = expected(&plays);
    let shown = async || Shown::of_scim(&installation.place.resources().await);
    let without_sweep = shown().await.differences(&expected);
    if plays.iter().any(|play| play.said.needs_sweep()) {
        assert!(!without_sweep.is_empty(), "nothing was left for the sweep");
        installation.sweep("sweep").await.unwrap();
        installation.settled("the sweep").await;
    }
    let shown = shown().await.without_leavers(&expected);
    assert_eq!(shown.differences(&expected), Vec::<String>::new(), "{names:?}");
    assert_eq!(installation.dead().await, Vec::<String>::new());
    assert!(installation.parked().await.is_empty(), "{:?}", installation.parked().await);
    // A run that has to wait is made once more when it is parked, in case what it waits for came meanwhile. Then it is left
    // alone until it is released.
    let waited = installation.waited.lock().unwrap().clone();
    let may_wait = |id: &String| 2 * told_of.get(id).copied().unwrap_or_default();
    let again: Vec<_> = waited.iter().filter(|(id, times)| **times > may_wait(id)).collect();
    println!("{} records waited, in {} runs", waited.len(), waited.values().sum::<u32>());
    assert!(again.is_empty(), "parked more than once for an event: {again:?}");
    let of = |record: &Value| record["parentid"].as_u64().filter(|parent| *parent > 0);
    let parents: BTreeSet<u64> = installation.wecom.records().iter().filter_map(of).collect();
    println!(
        "{} plays, {workers} workers: {reads} reads, {events} events, {} departments with children",
        plays.len(),
        parents.len()
    );
    // Where WeCom answers nothing, each try reads in vain.
    if plays.iter().all(|play| !play.said.is_blackout()) {
        let permitted = events * 12 / 10 + parents.len() as u64;
        assert!(reads <= permitted, "{reads} reads of {permitted}");
    }
    (installation.end().await, expected)
}

/// In the order in which they are given.
fn of(is_wanted: fn(&Sequence) -> bool) -> Vec<Play> {
    let chosen = sequences().into_iter().filter(is_wanted).enumerate();
    chosen.map(|(n, sequence)| Play::in_given_order(&sequence, n, n % 2 == 1)).collect()
}

/// By the server's own word when it ends.
async fn play_at_independent(server: ScimServer, plays: Vec<Play>) {
    let mut rng = fastrand::Rng::with_seed(2);
    let (place, expected) = play_at(Place::Server(server), plays, 2, &mut rng).await;
    let Place::Server(server) = place else { panic!() };
    let shown = Shown::of_scim(&server.end().await.unwrap()).without_leavers(&expected);
    assert_eq!(shown.differences(&expected), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_given_sequence_ends_as_it_should_at_a_server_of_independent_make() {
    play_at_independent(ScimServer::start().await.unwrap(), of(|it| !it.needs_sweep() && !it.is_blackout()))
        .await;
    play_at_independent(ScimServer::start().await.unwrap(), of(Sequence::needs_sweep)).await;
    play_at_independent(ScimServer::start().await.unwrap(), of(Sequence::is_blackout)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_given_sequence_ends_as_it_should_at_one_without_patch_bulk_and_etags() {
    let plays = of(|it| !it.needs_sweep() && !it.is_blackout());
    play_at_independent(ScimServer::start_minimal().await.unwrap(), plays).await;
    play_at_independent(ScimServer::start_minimal().await.unwrap(), of(Sequence::needs_sweep)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_given_sequence_ends_as_it_should() {
    let mut rng = fastrand::Rng::with_seed(1);
    play_all(of(|it| !it.needs_sweep() && !it.is_blackout()), 8, &mut rng).await;
    play_all(of(|it| !it.needs_sweep() && !it.is_blackout()), 1, &mut rng).await;
    play_all(of(Sequence::needs_sweep), 2, &mut rng).await;
    play_all(of(Sequence::is_blackout), 2, &mut rng).await;
}

/// A sample of all orders of sequences of up to seven events.
async fn permutations(seed: u64, workers: usize) {
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let short: Vec<Sequence> = sequences()
        .into_iter()
        .filter(|it| (2..=7).contains(&it.deliveries().len()) && !it.needs_sweep() && !it.is_blackout())
        .collect();
    let mut plays = Vec::new();
    for number in 0..SAMPLE {
        let sequence = rng.choice(&short).unwrap();
        let mut order: Vec<usize> = (0..sequence.deliveries().len()).collect();
        rng.shuffle(&mut order);
        plays.push(Play::new(sequence, number, order, rng.bool()));
    }
    play_all(plays, workers, &mut rng).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_permutations_with_one_worker() {
    permutations(7, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_permutations_with_eight_workers() {
    permutations(8, 8).await;
}
