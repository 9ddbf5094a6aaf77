//! A burst of WeCom's callbacks through the real producer: each is in the queue once it is answered 200, and in that of each
//! receiver that they are passed on to.

use shared::ports::queue::FlowTopology;
use system_tests::Backing;
use system_tests::callbacks::{Answered, Callbacks, send};

use crate::Size;
use crate::directory::place::{Place, Systems};
use crate::servers::Servers;
use crate::table::{Goal, MILLISECONDS, Table, milliseconds, quantile};

const CALLBACKS: usize = 10_000;
const PER_SECOND: u32 = 1_000;
const CONNECTIONS: usize = 200;
/// More at once than a producer takes.
const FLOOD_CONNECTIONS: usize = 600;
const FLOOD: usize = 3_000;
/// Nothing listens there, and nobody asks.
const NOWHERE: &str = "http://127.0.0.1:9";
/// As many as WeCom has connections.
const SETTINGS: &str = "webhook_concurrency_max = 200\n";
/// Passed on as well, to where nobody listens: no worker runs.
const RELAYED: &str =
    "webhook_concurrency_max = 200\n[flow.directory.relay.oa]\nurl = \"http://127.0.0.1:9/\"\n";

/// Measures both backings.
pub async fn measure(table: &mut Table, servers: &Servers, size: Size) {
    let fleet = Backing::Servers { rabbitmq: servers.rabbitmq.url(), redis: servers.redis.url() };
    look_at(table, "RabbitMQ and Redis", &fleet, SETTINGS, size).await;
    look_at(table, "embedded", &Backing::Embedded, SETTINGS, size).await;
    look_at(table, "with a receiver, RabbitMQ and Redis", &fleet, RELAYED, size).await;
    look_at(table, "with a receiver, embedded", &Backing::Embedded, RELAYED, size).await;
}

async fn look_at(table: &mut Table, backing_name: &str, backing: &Backing, settings: &str, size: Size) {
    let place = Place::new(backing, &Systems { wecom: NOWHERE, scim: NOWHERE, per_second: 1 }, settings);
    let parts = place.visit();
    let topologies = parts.topologies();
    parts.queue.prepare(&topologies).await.unwrap();
    let mut producer = place.start("producer").await;
    let count = size.of(CALLBACKS);
    let callbacks = Callbacks::new().unwrap();
    let requests = |first: usize, count: usize| -> Vec<Vec<u8>> {
        (first..first + count).map(|number| callbacks.request(number)).collect()
    };
    let answers = send(place.webhooks, &requests(0, count), CONNECTIONS, Some(PER_SECOND)).await.unwrap();
    let what = format!("{count} callbacks, {PER_SECOND}/s over {CONNECTIONS} connections, {backing_name}");
    let mut times = milliseconds(&answers.iter().map(|answered| answered.time).collect::<Vec<_>>());
    times.sort_by(f64::total_cmp);
    table.add(format!("{what}: p50"), MILLISECONDS, &[quantile(&times, 0.5)], Goal::Shown);
    table.add(format!("{what}: p99"), MILLISECONDS, &[quantile(&times, 0.99)], Goal::AtMost(1_000.0));
    let (kept, queued) = (accepted(&answers), waiting(&parts, &topologies).await);
    let found = format!("{kept} answered 200, {queued:?} in the queues");
    let are_all = kept == count && queued.iter().all(|queued| *queued == count);
    table.state(format!("{what}: all are kept"), found, "all", are_all);

    let flood = send(place.webhooks, &requests(count, FLOOD), FLOOD_CONNECTIONS, None).await.unwrap();
    let (kept_of_flood, queued) = (accepted(&flood), waiting(&parts, &topologies).await);
    let is_said = flood.iter().all(|answered| [200, 503].contains(&answered.status));
    let found = format!(
        "{kept_of_flood} answered 200 and {} 503, {:?} more in the queues",
        flood.iter().filter(|answered| answered.status == 503).count(),
        queued.iter().map(|queued| queued - count).collect::<Vec<_>>()
    );
    // Of what is answered 503, one of several queues may have its message: it comes again.
    let is_there = |queued: &usize| match queued.checked_sub(count + kept_of_flood) {
        Some(more) => more == 0 || topologies.len() > 1,
        None => false,
    };
    let what = format!("{FLOOD} callbacks over {FLOOD_CONNECTIONS} connections at once, {backing_name}");
    table.state(what, found, "200 is kept, else 503", is_said && queued.iter().all(is_there));
    producer.kill_9();
}

fn accepted(answers: &[Answered]) -> usize {
    answers.iter().filter(|answered| answered.status == 200).count()
}

/// For each flow.
async fn waiting(parts: &assembly::Parts, topologies: &[FlowTopology]) -> Vec<usize> {
    let mut waiting = Vec::new();
    for topology in topologies {
        let depth = parts.queue.depth(topology).await.unwrap();
        waiting.push(usize::try_from(depth.ready + depth.delayed).unwrap());
    }
    waiting
}
