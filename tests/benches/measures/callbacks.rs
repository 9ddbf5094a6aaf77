//! A burst of WeCom's callbacks through the real producer: each is in the queue once it is answered 200.

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

/// Measures both backings.
pub async fn measure(table: &mut Table, servers: &Servers, size: Size) {
    let fleet = Backing::Servers { rabbitmq: servers.rabbitmq.url(), redis: servers.redis.url() };
    look_at(table, "RabbitMQ and Redis", &fleet, size).await;
    look_at(table, "embedded", &Backing::Embedded, size).await;
}

async fn look_at(table: &mut Table, backing_name: &str, backing: &Backing, size: Size) {
    let place = Place::new(backing, &Systems { wecom: NOWHERE, scim: NOWHERE, per_second: 1 }, SETTINGS);
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
    let found = format!("{kept} answered 200, {queued} in the queue");
    table.state(format!("{what}: all are kept"), found, "all", [kept, queued] == [count, count]);

    let flood = send(place.webhooks, &requests(count, FLOOD), FLOOD_CONNECTIONS, None).await.unwrap();
    let (kept_of_flood, queued) = (accepted(&flood), waiting(&parts, &topologies).await);
    let is_said = flood.iter().all(|answered| [200, 503].contains(&answered.status));
    let found = format!(
        "{kept_of_flood} answered 200 and {} 503, {} more in the queue",
        flood.iter().filter(|answered| answered.status == 503).count(),
        queued - count
    );
    let what = format!("{FLOOD} callbacks over {FLOOD_CONNECTIONS} connections at once, {backing_name}");
    table.state(what, found, "200 is kept, else 503", is_said && queued == count + kept_of_flood);
    producer.kill_9();
}

fn accepted(answers: &[Answered]) -> usize {
    answers.iter().filter(|answered| answered.status == 200).count()
}

async fn waiting(parts: &assembly::Parts, topologies: &[FlowTopology]) -> usize {
    let mut waiting = 0;
    for topology in topologies {
        let depth = parts.queue.depth(topology).await.unwrap();
        waiting += usize::try_from(depth.ready + depth.delayed).unwrap();
    }
    waiting
}
