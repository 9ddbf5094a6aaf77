//! What is accepted is never lost, and what cannot be kept is not accepted.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use system_tests::{Backing, Kind, Member, Proxy, shared_rabbitmq, shared_redis};

use crate::people::{Event, Office};
use crate::points::Hits;
use crate::stage::{Stage, World};

/// The points of a producer, also those on the way over the disk.
const POINTS: [&str; 6] = [
    "producer.after_verify",
    "producer.before_publish",
    "producer.before_spool",
    "producer.after_spool",
    "producer.drain_after_publish",
    "producer.after_publish",
];
/// Webhooks at once in a burst: more than a producer takes.
const SENDERS: usize = 96;
/// Memory that a producer may have used at its peak, in KiB. What it needs otherwise is a tenth of it.
const MEMORY_MAX_KIB: u64 = 400 * 1_024;
/// Runs that any number of messages of one record may cost that came before the first of them.
const RUNS_MAX: u64 = 3;

/// Producers die at every step between taking a webhook and answering it, while the broker goes away and comes back.
pub async fn producers_die_between_taking_and_answering(stage: &mut Stage) {
    let (rabbitmq, redis) = (shared_rabbitmq().await.unwrap(), shared_redis().await.unwrap());
    let proxy = Proxy::before(rabbitmq.port()).await.unwrap();
    let through = rabbitmq.url().replace(&rabbitmq.port().to_string(), &proxy.port().to_string());
    let backing = Backing::Servers { rabbitmq: through, redis: redis.url() };
    let wanted = std::mem::take(&mut stage.sizes.syncs);
    let mut world = stage.open(stage.plan(backing, 3, 2)).await;
    let hits = Hits::of(&world.fleet);
    let mut blows = 0;
    let blow = async |members: &mut [Member], stage: &mut Stage| {
        blows += 1;
        // The line is held for some seconds, then passes for some.
        proxy.hold(blows % 60 < 25);
        if blows % 60 == 0 {
            proxy.cut();
        }
        for member in members.iter_mut().filter(|member| member.kind() == Kind::Producer) {
            if blows == 1 || !member.is_running() {
                hits.next_life(member, &POINTS, wanted, &mut stage.dice);
                stage.counts.kills += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        hits.least(&POINTS) >= wanted
    };
    hits.awaited(wanted * POINTS.len(), world.broken(stage, blow)).await;
    proxy.hold(false);
    hits.disarm(&mut world.fleet);
    stage.counts.hits = hits.total();
    stage.judge(world, &[]).await;
}

/// Many webhooks for one record cost few runs.
pub async fn many_webhooks_for_one_record_cost_few_runs(stage: &mut Stage) {
    let backing = stage.shared_servers().await;
    let mut world = stage.open(stage.plan(backing, 2, 2)).await;
    for worker in world.fleet.of_kind(Kind::Worker) {
        worker.drain().await.unwrap();
    }
    let World { fleet, people } = &world;
    let office =
        Office { crm: &fleet.crm, advoware: &fleet.advoware, http: &fleet.http, webhooks: &fleet.webhooks };
    let id = people.expected().into_keys().next().unwrap();
    stream::iter(0..stage.sizes.syncs)
        .for_each_concurrent(SENDERS, |_| async {
            let event = people.edit(office, &id, false);
            people.tell(office, &event).await;
        })
        .await;
    fleet.crm.clear_counters();
    world.fleet.start().unwrap();
    crate::ledger::until_settled(&mut world.fleet, &world.people).await;
    let runs = world.fleet.crm.counters().get("PUT /api/v1/CBeteiligte/{id}").copied().unwrap_or(0);
    println!("runs that wrote: {runs}");
    assert!((1..=RUNS_MAX).contains(&runs), "{:?}", world.fleet.crm.counters());
    stage.judge(world, &[]).await;
}

/// A burst that is more than the producers take at once: what they have no room for is answered 503, and no memory is
/// heaped up.
pub async fn a_burst_is_taken_within_bounds(stage: &mut Stage) {
    let backing = stage.shared_servers().await;
    let mut plan = stage.plan(backing, 2, 2);
    plan.settings.push(("PRODUCER__WEBHOOK_CONCURRENCY_MAX", "8".to_owned()));
    let mut world = stage.open(plan).await;
    let World { fleet, people } = &mut world;
    let office =
        Office { crm: &fleet.crm, advoware: &fleet.advoware, http: &fleet.http, webhooks: &fleet.webhooks };
    let events: Vec<Event> = people.expected().keys().map(|id| people.edit(office, id, false)).collect();
    stream::iter(events.iter().cycle().take(stage.sizes.syncs))
        .for_each_concurrent(SENDERS, |event| people.tell(office, event))
        .await;
    let mut peak_kib = 0;
    for producer in fleet.of_kind(Kind::Producer) {
        peak_kib = peak_kib.max(peak_memory_kib(producer.process().unwrap().pid()));
    }
    println!("peak memory of a producer: {} MiB", peak_kib / 1_024);
    assert!((1..MEMORY_MAX_KIB).contains(&peak_kib), "{peak_kib} KiB");
    assert!(world.people.refused.get() > 0, "nothing was refused: the burst was none");
    stage.judge(world, &[]).await;
}

/// The most that a process had in memory.
fn peak_memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}
