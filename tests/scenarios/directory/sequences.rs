//! The given event sequences over HTTP: from WeCom's callbacks to what the target shows, with one worker and with eight.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use flows::directory::settings::DirectorySettings;
use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use shared::envelope::Cause;
use shared::retry::RetryPolicy;
use simulators::WecomOptions;
use simulators::wecom::WecomCallback;

use super::installation::{Installation, Setup};
use super::place::Place;
use super::shown::Shown;

/// Plays under way at once: each waits more than it works.
const AT_ONCE: usize = 6;
/// Permutations that are played.
const SAMPLE: usize = 200;

/// What happens in WeCom, and what is told of it.
#[derive(Debug, Clone)]
struct Sequence {
    name: String,
    said: Value,
}

fn sequences() -> Vec<Sequence> {
    let text = include_str!("../../../crates/flows/src/directory/fixtures/sequences.json");
    let all: Vec<Value> = serde_json::from_str(text).unwrap();
    assert_eq!(all.len(), 29);
    all.into_iter().map(|said| Sequence { name: said["name"].as_str().unwrap().to_owned(), said }).collect()
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
    fn deliveries(&self) -> &[Value] {
        self.said["deliveries"].as_array().unwrap()
    }

    fn invisible(&self) -> BTreeSet<u64> {
        self.said["invisible_departments"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
    }

    /// What the target has to show at the end.
    fn expected(&self) -> Shown {
        let invisible = self.invisible();
        let mut expected = records(&self.said["expected"]);
        expected.retain(|record| record["id"].as_u64().is_none_or(|id| !invisible.contains(&id)));
        Shown::wanted(&expected)
    }

    fn event(&self, event: &Value) -> Value {
        let mut event = event.clone();
        if let Some(spelled) = event["UserID"].as_str().map(|id| &self.said["deliver_userid_as"][id])
            && spelled.is_string()
        {
            event["UserID"] = spelled.clone();
        }
        event
    }
}

#[derive(Debug, Clone)]
struct Way {
    order: Vec<usize>,
    doubled: bool,
    workers: usize,
}

/// What a play cost.
#[derive(Debug, Default, Clone, Copy)]
struct Cost {
    reads: u64,
    events: u64,
    parents: u64,
}

fn setup(workers: usize) -> Setup {
    let mut callback = WecomCallback::new("");
    callback.own_events = false;
    Setup {
        workers,
        wecom: WecomOptions { callback: Some(callback), ..WecomOptions::default() },
        settings: DirectorySettings {
            shards: 8,
            retry: RetryPolicy { delay_initial: Duration::from_millis(50), delay_max: Duration::from_secs(1), ..RetryPolicy::default() },
            ..DirectorySettings::default()
        },
        ..Setup::default()
    }
}

async fn play(sequence: &Sequence, way: &Way) -> Cost {
    let context = format!("{} {way:?}", sequence.name);
    let installation = Installation::start(Place::simulated().await, setup(way.workers)).await;
    for record in records(&sequence.said["initial"]) {
        installation.wecom.seed(record.as_object().unwrap().clone()).unwrap();
        let id = match record["userid"].as_str() {
            Some(userid) => format!("user.{}", userid.to_lowercase()),
            None => format!("dept.{}", record["id"]),
        };
        installation.publish(&id, Cause::Manual, None).await;
    }
    installation.settled(&context).await;
    assert_eq!(installation.differences().await, Vec::<String>::new(), "{context}: at the beginning");
    let invisible: Vec<u64> = sequence.invisible().into_iter().collect();
    let invisible = json!({ "invisible": invisible });
    installation.wecom.configure(invisible.as_object().unwrap()).unwrap();
    if sequence.said["api"].is_string() {
        installation.wecom.control("POST", "errors", &json!({ "errcodes": [-1] })).unwrap();
    }
    installation.wecom.clear_counters();
    let ops = sequence.said["ops"].as_array().unwrap();
    let (mut happened, mut events) = (0, 0);
    for round in 0..if way.doubled { 2 } else { 1 } {
        for delivery in way.order.iter().map(|at| &sequence.deliveries()[*at]) {
            let visible = index(&delivery[1]);
            ops.iter().take(visible).skip(happened).for_each(|op| installation.operate(op));
            happened = happened.max(visible);
            for _ in round..if way.doubled { 2 } else { 1 } {
                installation.tell(&sequence.event(&delivery[2])).await;
                events += 1;
            }
        }
    }
    ops.iter().skip(happened).for_each(|op| installation.operate(op));
    installation.wecom.control("DELETE", "errors", &Value::Null).unwrap();
    installation.settled(&context).await;
    let counters = installation.wecom.counters();
    let reads = ["user/get", "department/get"].iter().filter_map(|api| counters.get(*api)).sum();
    let expected = sequence.expected();
    let shown = async || Shown::of_scim(&installation.place.resources().await).without_leavers(&expected);
    if !sequence.said["needs_sweep"].is_null() {
        assert!(!shown().await.differences(&expected).is_empty(), "{context}: nothing was left for the sweep");
        installation.sweep("sweep").await.unwrap();
        installation.settled(&context).await;
    }
    assert_eq!(shown().await.differences(&expected), Vec::<String>::new(), "{context}");
    assert!(installation.parked().await.is_empty(), "{context}: {:?}", installation.parked().await);
    let parents: BTreeSet<u64> = installation
        .wecom
        .records()
        .iter()
        .filter_map(|record| record["parentid"].as_u64().filter(|parent| *parent > 0))
        .collect();
    installation.end().await;
    Cost { reads, events, parents: parents.len() as u64 }
}

async fn play_all(plays: Vec<(Arc<Sequence>, Way)>) {
    let costs: Vec<Cost> = stream::iter(plays)
        .map(|(sequence, way)| async move { play(&sequence, &way).await })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let (reads, events, parents) = costs.iter().fold((0, 0, 0), |(reads, events, parents), cost| {
        (reads + cost.reads, events + cost.events, parents + cost.parents)
    });
    println!("{} plays: {reads} reads for {events} events and {parents} departments with children", costs.len());
    assert!(reads * 10 <= events * 12 + parents * 10, "{reads} reads, {events} events, {parents} parents");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_given_sequence_ends_as_it_should() {
    let mut plays = Vec::new();
    for sequence in sequences().into_iter().map(Arc::new) {
        let order: Vec<usize> = (0..sequence.deliveries().len()).collect();
        for (workers, doubled) in [(1, false), (8, true)] {
            plays.push((Arc::clone(&sequence), Way { order: order.clone(), doubled, workers }));
        }
    }
    play_all(plays).await;
}

/// A sample of all orders of sequences of up to seven events.
async fn permutations(seed: u64, workers: usize) {
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let short: Vec<Arc<Sequence>> = sequences()
        .into_iter()
        .filter(|sequence| {
            (2..=7).contains(&sequence.deliveries().len()) && sequence.said["needs_sweep"].is_null()
        })
        .map(Arc::new)
        .collect();
    let mut plays = Vec::new();
    for _ in 0..SAMPLE {
        let sequence = Arc::clone(rng.choice(&short).unwrap());
        let mut order: Vec<usize> = (0..sequence.deliveries().len()).collect();
        rng.shuffle(&mut order);
        plays.push((sequence, Way { order, doubled: rng.bool(), workers }));
    }
    play_all(plays).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_permutations_with_one_worker() {
    permutations(7, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_permutations_with_eight_workers() {
    permutations(8, 8).await;
}
