//! The real programs against simulated systems, on real servers.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests; seeds are printed"
)]

mod accounts;
mod calendar;
mod calendar_crm;
mod calendar_programs;
mod clients;
mod connections;
mod demo_calendars;
mod directory;
mod fleet;
mod google;
mod grants;
mod grants_killed;
mod guard;
mod leader;
mod messages;
mod migrating;
mod outlook;
mod parties;
mod programs;
mod provisioning;
mod scim_server;
mod sealed;
mod spool;
mod starting;
mod store;
mod upstreams;
mod webhooks;

use std::time::Duration;

use serde_json::{Value, json};
use simulators::Record;
use system_tests::{Fleet, wait};

/// Long enough for anything that works, on a busy machine.
const SOON: Duration = Duration::from_secs(150);

fn object(value: Value) -> Record {
    value.as_object().cloned().expect("an object")
}

/// A person that only the CRM knows.
fn person(last_name: &str, status: &str) -> Record {
    object(json!({ "lastName": last_name, "firstName": "Anna", "syncStatus": status,
        "advowareLastSync": null, "syncRetryCount": 0 }))
}

/// Waits until a record of the CRM is on both sides.
async fn created(fleet: &Fleet, id: &str) {
    wait::until(&format!("{id} on both sides"), SOON, async || {
        let record = fleet.crm.records().into_iter().find(|record| record["id"] == *id);
        match record {
            Some(record) if record["syncStatus"] == "clean" && record["betnr"].is_u64() => Ok(()),
            other => {
                Err(other.map(|record| [record["syncStatus"].clone(), record["syncErrorMessage"].clone()]))
            }
        }
    })
    .await;
}
