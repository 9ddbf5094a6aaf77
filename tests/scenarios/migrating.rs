//! An installation of one machine becomes a fleet, and one machine again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adapter_embedded::{Embedded, EmbeddedOptions, Role};
use futures_util::future::try_join_all;
use shared::clock::{Clock as _, SystemClock};
use shared::envelope::{Cause, Envelope, Operation};
use shared::ports::queue::{FlowTopology, Outbound, Queue as _};
use shared::ports::state::{State as _, Write};
use shared::record_key::{FlowName, RecordKey};
use shared::trace::TraceParent;
use system_tests::{Backing, Fleet, Plan, Program, shared_rabbitmq, shared_redis, wait};
use uuid::Uuid;

use crate::{SOON, created, person};

const SHARDS: u16 = 16;
const RECORDS: usize = 40;
/// So many that copying them takes a while.
const DOCUMENTS: usize = 4_000;
const KILLS: usize = 3;
/// The points at which it is killed for certain, in the order in which it comes to them.
const LABELS: [&str; 5] =
    ["after_marks", "after_documents", "after_letters", "after_publish", "after_remove"];

fn open(dir: &Path) -> Embedded {
    Embedded::open(EmbeddedOptions::new(dir, Role::Serving, Arc::new(SystemClock))).unwrap()
}

/// The settings of the fleet, with a directory for queue and store.
fn one_machine(fleet: &Fleet, name: &str) {
    let settings = std::fs::read_to_string(fleet.folder().join("syncfleet.toml")).unwrap();
    let rest = &settings[settings.find("[worker]").unwrap()..];
    let settings = format!("[embedded]\ndir = {:?}\n{rest}", fleet.folder().join(name));
    std::fs::write(fleet.folder().join(format!("{name}.toml")), settings).unwrap();
}

/// A message for each record, as it waits on one machine, and what else is kept there.
async fn fill(dir: &Path, ids: &[String]) {
    let embedded = open(dir);
    let flow = FlowName::new("parties").unwrap();
    embedded.queue.prepare(&[FlowTopology { flow: flow.clone(), shards: SHARDS }]).await.unwrap();
    let messages = ids.iter().map(|id| {
        let key = RecordKey::new(flow.clone(), id.as_str()).unwrap();
        let (trace, now) = (TraceParent::new(1, 1), SystemClock.now());
        let envelope =
            Envelope::new(Uuid::now_v7(), "/test", key, Operation::Check, Cause::Manual, trace, now);
        Outbound::of(&envelope, SHARDS)
    });
    embedded.queue.publish(&messages.collect::<Vec<_>>()).await.unwrap();
    let keys: Vec<String> = (0..DOCUMENTS).map(|number| format!("test/{number}")).collect();
    for part in keys.chunks(500) {
        try_join_all(part.iter().map(|key| embedded.state.write(Write::put(key, b"kept")))).await.unwrap();
    }
}

fn migrate(fleet: &Fleet) -> Program {
    fleet.operator(&["--config", "first.toml", "migrate", "--to", "syncfleet.toml"]).unwrap()
}

/// Runs the migration to its end, unless it had ended before it was killed.
async fn finish(fleet: &Fleet) {
    let mut running = migrate(fleet).start().unwrap();
    let status = running.wait_exit(SOON).await.unwrap();
    let printed = running.complete_log(SOON).await.unwrap();
    println!("{printed}");
    assert!(status.success() || printed.contains("nothing is left to be done"), "{status}: {printed}");
}

#[tokio::test]
async fn killed_again_and_again_while_it_moves_it_becomes_a_fleet_that_brings_both_sides_to_agree() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut dice = fastrand::Rng::with_seed(seed);
    let backing = Backing::Servers {
        rabbitmq: shared_rabbitmq().await.unwrap().url(),
        redis: shared_redis().await.unwrap().url(),
    };
    let mut fleet = Fleet::new(Plan::new(backing, 0, 2)).await.unwrap();
    ["first", "second"].iter().for_each(|name| one_machine(&fleet, name));
    let ids: Vec<String> =
        (0..RECORDS).map(|n| fleet.crm.seed(person(&format!("Moving{n}"), "clean")).unwrap()).collect();
    fill(&fleet.folder().join("first"), &ids).await;

    for label in LABELS {
        let point = format!("migrate.{label}=return(kill)");
        let mut running = migrate(&fleet).env("FAILPOINTS", point).start().unwrap();
        let status = running.wait_exit(SOON).await.unwrap();
        let printed = running.complete_log(SOON).await.unwrap();
        assert!(!status.success() && status.code().is_none(), "{label}: {status}: {printed}");
    }
    for _ in 0..KILLS {
        let mut running = migrate(&fleet).start().unwrap();
        // An instant is what is asked for: whatever goes on then must be survived.
        tokio::time::sleep(Duration::from_millis(dice.u64(30..600))).await;
        running.kill_9();
    }
    let mut running = migrate(&fleet).env("FAILPOINTS", "migrate.after_left=return(kill)").start().unwrap();
    running.wait_exit(SOON).await.unwrap();
    finish(&fleet).await;
    let quiet = ["PRODUCER__WEBHOOK_LISTEN", "OPERATIONS__LISTEN", "PRODUCER__SPOOL__DIR"];
    let up = fleet.operator(&["--config", "first.toml", "up"]).unwrap();
    let up = quiet.iter().fold(up, |program, name| program.env(format!("SYNCFLEET__{name}"), ""));
    let mut up = up.start().unwrap();
    up.wait_for_log("was migrated to", SOON).await.unwrap();
    up.kill_9();

    fleet.start_ready().await.unwrap();
    for id in &ids {
        created(&fleet, id).await;
    }
    fleet.drain().await.unwrap();
    assert_eq!(fleet.advoware.records().len(), ids.len(), "nothing is created twice");

    wait::until("the way back", SOON, async || {
        fleet.operate(&["--config", "syncfleet.toml", "migrate", "--to", "second.toml"]).await.map(|_| ())
    })
    .await;
    let second = open(&fleet.folder().join("second"));
    for (prefix, expected) in [("test/", DOCUMENTS), ("link/parties/", RECORDS)] {
        assert_eq!(second.state.scan(prefix, None, 100_000).await.unwrap().len(), expected, "{prefix}");
    }
}
