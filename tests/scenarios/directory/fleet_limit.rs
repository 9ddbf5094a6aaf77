//! What WeCom lets a company do in a minute is what the whole fleet does: it counts, and so does the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use adapter_redis::RedisState;
use flows::directory::ids::DepartmentId;
use flows::directory::source::Source;
use http_client::Limits;
use shared::fault::FaultKind;
use shared::ports::state::State;
use simulators::{WecomOptions, WecomSimulator};
use system_tests::{shared_redis, unique_name};
use tokio::task::JoinSet;

use super::place::source_within;

/// Requests a second of the whole fleet.
const PER_SECOND: u32 = 10;
/// What WeCom takes for a minute here.
const MINUTE: Duration = Duration::from_secs(6);
/// Calls of an interface in such a minute: what the fleet may do, with its first second's burst, and no more.
const CALLS_MAX: usize = 72;
/// All calls: more than a minute takes.
const CALLS: u64 = 110;
const PROCESSES: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_together_stay_below_what_a_company_may_ask_in_a_minute() {
    let options =
        WecomOptions { calls_per_minute: Some(CALLS_MAX), minute: MINUTE, ..WecomOptions::default() };
    let wecom = WecomSimulator::start(options.clone()).await.unwrap();
    let (redis, prefix) = (shared_redis().await.unwrap(), unique_name("wecom-limit"));
    let left = Arc::new(AtomicU64::new(CALLS));
    let mut asking = JoinSet::new();
    for _ in 0..PROCESSES {
        // Each connects by itself, as a process does.
        let options_of_store =
            adapter_redis::Options { prefix: prefix.clone(), ..adapter_redis::Options::default() };
        let fleet: Arc<dyn State> = Arc::new(RedisState::new(&redis.url(), options_of_store).unwrap());
        let limits = Limits {
            requests_per_second_max: PER_SECOND,
            wait_max: Duration::from_secs(120),
            ..connector_wecom::default_limits()
        };
        let source = source_within(&wecom, &options, limits, Some(fleet));
        for _ in 0..limits.concurrency_max {
            asking.spawn(ask(source.clone(), Arc::clone(&left)));
        }
    }
    while let Some(asked) = asking.join_next().await {
        assert_eq!(asked.unwrap(), None, "WeCom refused a call");
    }
    let asked = wecom.counters()["department/get"];
    println!("{asked} calls by {PROCESSES} processes");
    assert_eq!(asked, CALLS, "each was made once");
}

/// Asks as fast as it may, until there were enough of all; answers what went wrong.
async fn ask(source: Arc<dyn Source>, left: Arc<AtomicU64>) -> Option<FaultKind> {
    let take = |left: u64| left.checked_sub(1);
    while left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok() {
        if let Err(fault) = source.department(DepartmentId(1)).await {
            return Some(fault.kind);
        }
    }
    None
}
