//! What the engine costs: a flow that does nothing, from the durable publish to the acknowledgement, beside a bare
//! loop on the same queues.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use shared::clock::{Clock as _, SystemClock};
use shared::ports::queue::{Outbound, Queue};
use tokio::time::interval;

use crate::Size;
use crate::contender::{BarePublisher, Contender, Task, Way, now, until_acked};
use crate::flow;
use crate::processes::cpu_time_of_machine;
use crate::servers::{Servers, load};
use crate::table::{CPU_MICROSECONDS, Goal, MILLISECONDS, PER_SECOND, Table, quantile};

/// Messages published before their confirms are awaited, by each of [`PUBLISHERS`].
const BATCH: usize = 500;
const PUBLISHERS: usize = 4;
/// Runs at once: so many that they are not what bounds the rate.
const CONCURRENCY: usize = 256;
/// Between two messages of the latency's measure.
const PAUSE: Duration = Duration::from_millis(10);

/// Publishes as one contender does.
enum Publisher {
    Ours(Arc<dyn Queue>),
    Bare(Box<BarePublisher>, Bytes),
}

impl Publisher {
    async fn new(servers: &Servers, way: Way) -> Self {
        match way {
            Way::Ours => Self::Ours(servers.queue()),
            Way::Bare => {
                let body = flow::message(SystemClock.now()).body;
                Self::Bare(Box::new(BarePublisher::new(&load(&servers.settings())).await), body)
            }
        }
    }

    async fn publish(&self, count: usize) {
        match self {
            Self::Ours(queue) => {
                let messages: Vec<Outbound> = (0..count).map(|_| flow::message(SystemClock.now())).collect();
                queue.publish(&messages).await.unwrap();
            }
            Self::Bare(publisher, body) => publisher.publish(body, count).await,
        }
    }

    async fn publish_all(&self, count: usize) {
        let share = async |mut left: usize| {
            while left > 0 {
                let batch = left.min(BATCH);
                self.publish(batch).await;
                left -= batch;
            }
        };
        join_all((0..PUBLISHERS).map(|_| share(count / PUBLISHERS))).await;
    }
}

/// What one run found.
struct Found {
    per_second: f64,
    /// Of the worker, for a message.
    cpu_microseconds: f64,
    /// Of everything on the machine, for a message.
    cpu_microseconds_of_all: f64,
    latency_ms: f64,
}

/// Measures rate, CPU time and latency.
pub async fn measure(table: &mut Table, servers: &Servers, size: Size) {
    let [mut ours, mut bare] = [Vec::new(), Vec::new()];
    for _ in 0..size.runs(5) {
        ours.push(run(servers, Way::Ours, size).await);
        bare.push(run(servers, Way::Bare, size).await);
    }
    let each = |of: fn(&Found) -> f64| [&ours, &bare].map(|found| found.iter().map(of).collect::<Vec<f64>>());
    let [rates, ceiling] = each(|found| found.per_second);
    table.compare("no-op flow, published to acknowledged", PER_SECOND, &rates, &ceiling, Goal::AtLeast(0.8));
    let [latencies, ceiling] = each(|found| found.latency_ms);
    let what = "no-op flow, latency at 100 messages/s, p50";
    table.compare(what, MILLISECONDS, &latencies, &ceiling, Goal::AtMost(1.2));
    let [cpu, ceiling] = each(|found| found.cpu_microseconds);
    let what = "no-op flow, CPU of the worker for a message";
    table.compare(what, CPU_MICROSECONDS, &cpu, &ceiling, Goal::Shown);
    let [cpu, ceiling] = each(|found| found.cpu_microseconds_of_all);
    let what = "no-op flow, CPU of worker, broker, store, and publisher for a message";
    table.compare(what, CPU_MICROSECONDS, &cpu, &ceiling, Goal::Shown);
}

async fn run(servers: &Servers, way: Way, size: Size) -> Found {
    let messages = size.of(40_000);
    let warm_up = size.of(4_000);
    let publisher = Publisher::new(servers, way).await;
    let task = Task { concurrency: Some(CONCURRENCY), ..Task::default() };
    let mut contender = [Contender::start_ready(servers, way, &task).await];
    publisher.publish_all(warm_up).await;
    until_acked(&mut contender, warm_up).await;

    let (begun, cpu, cpu_of_all) = (now(), contender[0].cpu_time(), cpu_time_of_machine());
    publisher.publish_all(messages).await;
    until_acked(&mut contender, warm_up + messages).await;
    let (cpu, cpu_of_all) = (contender[0].cpu_time() - cpu, cpu_time_of_machine() - cpu_of_all);

    let mut published = Vec::new();
    let mut ticks = interval(PAUSE);
    for _ in 0..size.of(500) {
        ticks.tick().await;
        published.push(now());
        publisher.publish(1).await;
    }
    until_acked(&mut contender, warm_up + messages + published.len()).await;
    let [contender] = contender;
    let acks = contender.end().await;

    let count = f64::from(u32::try_from(messages).unwrap());
    let seconds = Duration::from_nanos((acks[warm_up + messages - 1] - begun).unsigned_abs());
    Found {
        per_second: count / seconds.as_secs_f64(),
        cpu_microseconds: cpu.as_secs_f64() * 1e6 / count,
        cpu_microseconds_of_all: cpu_of_all.as_secs_f64() * 1e6 / count,
        latency_ms: latency_ms(&published, &acks[warm_up + messages..]),
    }
}

/// The median, where the n-th message is acknowledged as the n-th: nearly always they are 10 ms apart.
fn latency_ms(published: &[i64], acks: &[i64]) -> f64 {
    let pairs = published.iter().zip(acks);
    let mut times: Vec<f64> = pairs
        .map(|(from, to)| Duration::from_nanos((to - from).unsigned_abs()).as_secs_f64() * 1e3)
        .collect();
    times.sort_by(f64::total_cmp);
    quantile(&times, 0.5)
}
