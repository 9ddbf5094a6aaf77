//! What the programs take: CPU while nothing happens, and memory, also while a long queue waits.

use std::time::Duration;

use shared::clock::{Clock as _, SystemClock};
use shared::envelope::{Cause, Envelope, Operation};
use shared::ports::queue::{FlowTopology, Outbound, Queue};
use shared::record_key::{FlowName, RecordKey};
use shared::trace::TraceParent;
use system_tests::{Backing, Fleet, Plan};
use tokio::time::sleep;
use uuid::Uuid;

use crate::Size;
use crate::installation::slow_down;
use crate::processes::{cpu_time, resident_mb};
use crate::servers::Servers;
use crate::table::{Goal, MEGABYTES, PER_CENT, Table};

/// Shards of the flow, as by default.
const SHARDS: u16 = 16;
const BATCH: usize = 500;
/// A short queue, which still outlasts the look at it.
const SHORT: usize = 5_000;

/// Measures the programs of a fleet, and the one program of a single machine.
pub async fn measure(table: &mut Table, servers: &Servers, size: Size) {
    let backing = Backing::Servers { rabbitmq: servers.rabbitmq.url(), redis: servers.redis.url() };
    look_at(table, Plan::new(backing, 1, 1), size).await;
    look_at(table, Plan { ups: 1, ..Plan::new(Backing::Embedded, 0, 0) }, size).await;
}

async fn look_at(table: &mut Table, plan: Plan, size: Size) {
    let settings = vec![("FLOW__PARTIES__SWEEP_CRON", "0 0 1 1 *".to_owned())];
    let plan = Plan { settings, sends_webhooks: false, has_wide_limits: false, ..plan };
    let mut fleet = Fleet::new(plan).await.unwrap();
    fleet.start_ready().await.unwrap();
    let while_idle = if size == Size::Quick { Duration::from_secs(2) } else { Duration::from_secs(20) };
    let before = seen(&mut fleet);
    sleep(while_idle).await;
    for (before, idle) in before.iter().zip(seen(&mut fleet)) {
        let share = (idle.cpu - before.cpu).as_secs_f64() / while_idle.as_secs_f64() * 100.0;
        table.add(format!("{}: CPU while idle", idle.name), PER_CENT, &[share], Goal::Shown);
        table.add(format!("{}: resident memory while idle", idle.name), MEGABYTES, &[idle.mb], Goal::Shown);
    }

    slow_down(&fleet);
    let queue = fleet.queue().unwrap();
    publish(queue.as_ref(), SHORT).await;
    sleep(while_idle).await;
    let (short, waiting) = (seen(&mut fleet), waiting_now(queue.as_ref()).await);
    assert!(
        waiting > 0,
        "the short queue was gone before it was looked at: the upstreams are not slow enough"
    );
    let long = if size == Size::Full { 1_000_000 } else { size.of(100_000) };
    publish(queue.as_ref(), long).await;
    sleep(while_idle).await;
    let still_waiting = waiting_now(queue.as_ref()).await;
    let least = u64::try_from(long).unwrap() / 10 * 9;
    assert!(
        still_waiting >= least,
        "{still_waiting} of {long} messages wait: that is no long queue any more"
    );
    for (short, long_seen) in short.iter().zip(seen(&mut fleet)) {
        let what = format!("{}: resident memory with {long} queued, beside {SHORT}", long_seen.name);
        table.compare(what, MEGABYTES, &[long_seen.mb], &[short.mb], Goal::AtMost(1.25));
    }
    // Draining the rest would take long and show nothing.
    fleet.members.iter_mut().for_each(system_tests::Member::kill_9);
}

/// How many messages wait.
async fn waiting_now(queue: &dyn Queue) -> u64 {
    let depth = queue.depth(&FlowTopology { flow: flow(), shards: SHARDS }).await.unwrap();
    depth.ready + depth.delayed
}

fn flow() -> FlowName {
    FlowName::new("parties").unwrap()
}

/// A program as the kernel sees it.
struct Seen {
    name: String,
    cpu: Duration,
    mb: f64,
}

fn seen(fleet: &mut Fleet) -> Vec<Seen> {
    let look = |member: &mut system_tests::Member| {
        let pid = member.process().unwrap().pid();
        Seen { name: member.name().to_owned(), cpu: cpu_time(pid), mb: resident_mb(pid) }
    };
    fleet.members.iter_mut().map(look).collect()
}

/// Publishes messages of records that are nowhere, each of its own: a run reads and finds nothing.
async fn publish(queue: &dyn Queue, count: usize) {
    for _ in 0..count / BATCH {
        let message = |_| {
            let key = RecordKey::new(flow(), format!("6c{:015x}", fastrand::u64(..1 << 60))).unwrap();
            let trace = TraceParent::new(fastrand::u128(..), fastrand::u64(..));
            let (id, now) = (Uuid::now_v7(), SystemClock.now());
            let envelope =
                Envelope::new(id, "/syncfleet/bench", key, Operation::Check, Cause::Manual, trace, now);
            Outbound::of(&envelope, SHARDS)
        };
        let batch: Vec<Outbound> = (0..BATCH).map(message).collect();
        queue.publish(&batch).await.unwrap();
    }
}
