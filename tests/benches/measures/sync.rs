//! One record at a time: how long a sync takes, and how many requests.

use std::time::Duration;

use serde_json::json;
use shared::clock::{Clock as _, SystemClock, elapsed};
use system_tests::fleet::Webhook;
use system_tests::{Fleet, wait};

use crate::Size;
use crate::installation::{LATENCY_MS, calls, installation, last_write, object, slow_down, until_settled};
use crate::table::{Goal, MILLISECONDS, Table, milliseconds};

const RUNS: usize = 15;
const TARGET: Goal = Goal::AtMost(500.0);
/// Two runs of a record begin so far apart at least.
const KEY_REST: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);

/// What came out of one sync.
struct Sync {
    /// From the webhook to the last write; none where nothing was written.
    converged: Option<Duration>,
    /// From the start of the run to its settlement.
    run: Duration,
    calls: [u64; 3],
}

/// Measures create, update and no change.
pub async fn measure(table: &mut Table, size: Size) {
    let mut fleet = installation("0 0 1 1 *", false).await;
    fleet.start_ready().await.unwrap();
    // The one sweep, at start, must not find the first record.
    wait::until("end of the sweep", PATIENCE, async || {
        let swept = fleet.metric(&fleet.members[0], "syncfleet_sweep_last_success_timestamp_seconds").await;
        if swept.as_ref().is_ok_and(|at| *at > 0.0) { Ok(()) } else { Err(swept) }
    })
    .await;
    slow_down(&fleet);
    let hook = fleet.webhooks.iter().find(|hook| hook.url.ends_with("/update")).unwrap().clone();
    let mut found: [Vec<Sync>; 4] = Default::default();
    let mut ids = Vec::new();
    for step in [Step::Create, Step::EditInCrm, Step::EditInAdvoware, Step::Nothing] {
        for number in 0..=size.runs(RUNS) {
            if matches!(step, Step::Create) {
                ids.push(seed(&fleet, number));
            }
            step.take(&fleet, &ids[number]);
            found[step as usize].push(sync(&fleet, &hook, &ids[number]).await);
        }
        // The first one fetches a token, and is left out.
        found[step as usize].remove(0);
        // What is edited twice within two seconds waits, and that is another matter (ADR 18).
        tokio::time::sleep(KEY_REST).await;
    }
    fleet.drain().await.unwrap();
    let allowed = [[2, 1], [3, 1], [3, 1], [1, 0]];
    let names = ["create", "update of Advoware", "update of EspoCRM", "no change"];
    for ((name, allowed), syncs) in names.into_iter().zip(allowed).zip(found) {
        let converged: Vec<Duration> = syncs.iter().filter_map(|sync| sync.converged).collect();
        let runs: Vec<Duration> = syncs.iter().map(|sync| sync.run).collect();
        if converged.len() == syncs.len() {
            let what = format!("{name}: webhook to last write, {LATENCY_MS} ms a request");
            table.add(what, MILLISECONDS, &milliseconds(&converged), TARGET);
        }
        table.add(format!("{name}: run"), MILLISECONDS, &milliseconds(&runs), TARGET);
        let most = syncs.iter().map(|sync| sync.calls).max().unwrap();
        let ([advoware, reads, writes], [advoware_max, writes_max]) = (most, allowed);
        table.state(
            format!("{name}: requests to Advoware + writes to EspoCRM"),
            format!("{advoware} + {writes}, besides {reads} reads of EspoCRM"),
            &format!("≤ {advoware_max} + {writes_max}"),
            advoware <= advoware_max && writes <= writes_max,
        );
    }
}

/// What somebody does to a record before its webhook.
#[derive(Clone, Copy)]
enum Step {
    Create,
    EditInCrm,
    EditInAdvoware,
    Nothing,
}

impl Step {
    fn take(self, fleet: &Fleet, id: &str) {
        match self {
            // It was made just now, or stays as it is.
            Self::Create | Self::Nothing => {}
            Self::EditInCrm => fleet.crm.edit_as_person(id, &object(json!({ "lastName": "Neu" }))).unwrap(),
            Self::EditInAdvoware => {
                let records = fleet.crm.records();
                let key = records.iter().find(|record| record["id"] == *id).unwrap()["betnr"].to_string();
                fleet.advoware.edit_as_person(&key, &object(json!({ "vorname": "Paula" }))).unwrap();
            }
        }
    }
}

/// A record that Advoware does not have yet.
fn seed(fleet: &Fleet, number: usize) -> String {
    let name = format!("Sync{number}");
    let record = json!({ "lastName": name, "firstName": "Anna", "dateOfBirth": "1980-01-01",
        "syncStatus": "pending_sync", "syncRetryCount": 0 });
    fleet.crm.seed(object(record)).unwrap()
}

/// Delivers a webhook for the record and waits until it was handled.
async fn sync(fleet: &Fleet, hook: &Webhook, id: &str) -> Sync {
    let worker = &fleet.members[1];
    let metric = async |name: &str| fleet.metric(worker, name).await.unwrap();
    let (count, sum) =
        ("syncfleet_delivery_duration_seconds_count", "syncfleet_delivery_duration_seconds_sum");
    let (count_before, sum_before) = (metric(count).await, metric(sum).await);
    fleet.crm.clear_counters();
    fleet.advoware.clear_counters();
    let writes_before = fleet.crm.journal().len() + fleet.advoware.journal().len();
    let begun = SystemClock.now();
    let body = format!("[{{\"id\":\"{id}\",\"lastName\":\"x\"}}]");
    assert_eq!(fleet.http.deliver(hook, body).await.unwrap().status, 200);
    wait::until("end of the run", PATIENCE, async || {
        if metric(count).await > count_before { Ok(()) } else { Err("running") }
    })
    .await;
    until_settled(fleet).await;
    let has_written = fleet.crm.journal().len() + fleet.advoware.journal().len() > writes_before;
    Sync {
        converged: has_written.then(|| elapsed(begun, last_write(fleet))),
        run: Duration::from_secs_f64(metric(sum).await - sum_before),
        calls: calls(fleet),
    }
}
