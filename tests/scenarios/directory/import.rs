//! A file import in WeCom: thousands of departments that are told of leaves first, to many workers at once.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use simulators::WecomOptions;
use simulators::wecom::WecomCallback;

use super::installation::{Installation, Setup, event};
use super::place::Place;

#[expect(clippy::disallowed_methods, reason = "how much is played is said by whoever plays")]
fn wanted(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{variable}={text}: {e}")))
}

/// A tree of so many departments, by id: each with the one above it, which has a smaller place but not always a smaller id.
fn tree(rng: &mut fastrand::Rng, count: u64) -> Vec<(u64, u64)> {
    let mut ids: Vec<u64> = (2..count + 2).collect();
    rng.shuffle(&mut ids);
    let mut placed = vec![1];
    let mut tree = Vec::new();
    for id in ids {
        // Mostly below somebody recent, so that it becomes deep.
        let from = if rng.f64() < 0.7 { placed.len().saturating_sub(40) } else { 0 };
        let parent = placed[rng.usize(from..placed.len())];
        tree.push((id, parent));
        placed.push(id);
    }
    tree
}

/// As `DIRECTORY_DEPARTMENTS` and `DIRECTORY_SEED` say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_is_told_of_leaves_first_ends_as_wecom_has_it() {
    let (seed, count) = (wanted("DIRECTORY_SEED", 1), wanted("DIRECTORY_DEPARTMENTS", 400));
    println!("DIRECTORY_SEED={seed} DIRECTORY_DEPARTMENTS={count}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut callback = WecomCallback::new("");
    callback.own_events = false;
    let wecom = WecomOptions { callback: Some(callback), ..WecomOptions::default() };
    let setup = Setup { workers: 8, wecom, ..Setup::default() };
    let installation = Installation::start(Place::simulated().await, setup).await;
    let tree = tree(&mut rng, count);
    let seed_one = |record: Value| installation.wecom.seed(record.as_object().unwrap().clone()).unwrap();
    for (id, parent) in &tree {
        seed_one(json!({ "id": id, "parentid": parent, "name": format!("部门{id}") }));
        // A member in about every second one, told of before its department.
        if id % 2 == 0 {
            let userid = format!("m{id}");
            seed_one(json!({ "userid": userid, "name": format!("成员{id}"), "department": [id, parent] }));
        }
    }
    let mut events: Vec<Value> = Vec::new();
    for (id, _) in tree.iter().rev() {
        if id % 2 == 0 {
            events.push(event("create_user", &json!({ "UserID": format!("m{id}") })));
        }
        events.push(event("create_party", &json!({ "Id": id })));
    }
    installation.wecom.clear_counters();
    let began = std::time::Instant::now();
    installation.wecom.control("POST", "events", &Value::Array(events.clone())).unwrap();
    while installation.wecom.deliver_callbacks().await > 0 {}
    let told = began.elapsed();
    installation.settled("the import").await;
    let counters = installation.wecom.counters();
    let reads: u64 = ["user/get", "department/get"].iter().filter_map(|api| counters.get(*api)).sum();
    let parents: BTreeSet<u64> = tree.iter().map(|(_, parent)| *parent).collect();
    println!(
        "{} events told in {told:?}, done in {:?}: {reads} reads, {} departments with children",
        events.len(),
        began.elapsed(),
        parents.len()
    );
    assert_eq!(installation.differences().await, Vec::<String>::new(), "seed {seed}");
    assert!(installation.parked().await.is_empty(), "seed {seed}: {:?}", installation.parked().await);
    let permitted = events.len() as u64 * 12 / 10 + parents.len() as u64;
    assert!(reads <= permitted, "seed {seed}: {reads} reads of {permitted}");
    installation.end().await;
}
