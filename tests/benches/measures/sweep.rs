//! A sweep of records that are all out of step, on one worker; and what the programs take of memory afterwards.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use shared::clock::{Clock as _, SystemClock, elapsed, later};
use system_tests::wait;

use crate::Size;
use crate::installation::{
    LATENCY_MS, equal_parties, installation, last_write, object, slow_down, until_settled,
};
use crate::processes::resident_mb;
use crate::table::{Goal, MEGABYTES, MILLISECONDS, Table, milliseconds};

const RECORDS: usize = 100;
const RUNS: usize = 3;
/// Seconds between two ticks: longer than a sweep takes, so that none comes in the middle.
const TICK_SECONDS: i64 = 30;
const PATIENCE: Duration = Duration::from_secs(120);

/// The next tick of a cron line that fires each [`TICK_SECONDS`].
fn next_tick(now: Timestamp) -> Timestamp {
    let second = (now.as_second() / TICK_SECONDS + 1) * TICK_SECONDS;
    Timestamp::from_second(second).unwrap()
}

/// Measures a sweep, from its tick to the last write.
pub async fn measure(table: &mut Table, has_wide_limits: bool, size: Size) {
    let mut fleet = installation(&format!("*/{TICK_SECONDS} * * * * *"), has_wide_limits).await;
    fleet.seed(&equal_parties(RECORDS)).unwrap();
    fleet.start_ready().await.unwrap();
    until_settled(&fleet).await;
    slow_down(&fleet);
    let mut runs = Vec::new();
    for run in 0..size.runs(RUNS) {
        // Not right before a tick, which would then find only a part of the edits.
        wait::until("middle between two ticks", PATIENCE, async || {
            let now = SystemClock.now();
            let left = elapsed(now, next_tick(now));
            if left < Duration::from_secs(5) && left > Duration::from_secs(2) { Ok(()) } else { Err(left) }
        })
        .await;
        for pair in equal_parties(RECORDS) {
            let id = pair.crm["id"].as_str().unwrap();
            let edit = json!({ "firstName": format!("Anna{run}"), "syncStatus": "dirty" });
            fleet.crm.edit_as_person(id, &object(edit)).unwrap();
        }
        let tick = next_tick(SystemClock.now());
        until_settled(&fleet).await;
        let last = last_write(&fleet);
        assert!(
            last < later(tick, Duration::from_secs(TICK_SECONDS.unsigned_abs())),
            "the next sweep helped"
        );
        runs.push(elapsed(tick, last));
    }
    let limits = if has_wide_limits { "32 requests at once" } else { "limits as in default.toml" };
    let what = format!("sweep of {RECORDS} out of step, {LATENCY_MS} ms a request, {limits}");
    table.add(what, MILLISECONDS, &milliseconds(&runs), Goal::AtMost(2_000.0));
    for member in &mut fleet.members {
        let name = member.name().to_owned();
        let resident = resident_mb(member.process().unwrap().pid());
        let what = format!("{name}: resident memory afterwards, {limits}");
        table.add(what, MEGABYTES, &[resident], Goal::AtMost(50.0));
    }
    fleet.drain().await.unwrap();
}
