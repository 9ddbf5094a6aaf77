//! Draining a full queue with a handler that makes two HTTP calls of 5 ms: beside a bare loop, and by several
//! workers.

use std::time::Duration;

use shared::clock::{Clock as _, SystemClock};
use shared::ports::queue::Outbound;
use shared::routing::{server_of, shards_of};

use crate::Size;
use crate::contender::{Contender, Task, Way, until_acked};
use crate::flow;
use crate::servers::Servers;
use crate::stub::Stub;
use crate::table::{Goal, PER_SECOND, Table};

const BATCH: usize = 500;
/// Runs at once where the machine is the limit.
const CONCURRENCY_WIDE: usize = 100;
/// Runs at once of each of several workers.
const CONCURRENCY_NARROW: usize = 4;
/// Trips to Redis that the engine makes for each message.
const TRIPS: usize = 1;

/// Measures one worker against the bare loop, and one worker against several.
pub async fn measure(table: &mut Table, servers: &Servers, size: Size) {
    let stub = Stub::start().await;
    against_bare(table, servers, &stub, size).await;
    several(table, servers, &stub, size).await;
}

async fn against_bare(table: &mut Table, servers: &Servers, stub: &Stub, size: Size) {
    let messages = size.of(50_000);
    let task = Task { address: Some(stub.address()), concurrency: Some(CONCURRENCY_WIDE), trips: TRIPS };
    let [mut ours, mut bare] = [Vec::new(), Vec::new()];
    for _ in 0..size.runs(3) {
        for (way, found) in [(Way::Ours, &mut ours), (Way::Bare, &mut bare)] {
            fill(servers, messages).await;
            let mut contender = [Contender::start_ready(servers, way, &task).await];
            until_acked(&mut contender, messages).await;
            let [contender] = contender;
            let acks = contender.end().await;
            found.push(per_second(acks.len(), acks[0], acks[acks.len() - 1]));
        }
    }
    let what = format!("drain of {messages}, two HTTP calls of 5 ms each, {CONCURRENCY_WIDE} at once");
    table.compare(what, PER_SECOND, &ours, &bare, Goal::AtLeast(0.9));
}

async fn several(table: &mut Table, servers: &Servers, stub: &Stub, size: Size) {
    const WORKERS: [usize; 3] = [1, 2, 4];
    let mut found: [Vec<Drained>; 3] = Default::default();
    for _ in 0..size.runs(3) {
        for (workers, found) in WORKERS.into_iter().zip(&mut found) {
            found.push(drain_by(servers, stub, workers, size.of(5_000) * workers).await);
        }
    }
    for (workers, drained) in WORKERS.into_iter().zip(&found).skip(1) {
        let factor = f64::from(u32::try_from(workers).unwrap());
        let linear: Vec<f64> = found[0].iter().map(|one| one.whole * factor).collect();
        let shares = &drained[0].shares;
        let what = format!("drain by {workers} workers of {CONCURRENCY_NARROW} at once");
        let each = |of: fn(&Drained) -> f64| drained.iter().map(of).collect::<Vec<f64>>();
        let all_busy = format!("{what}, while all have work");
        table.compare(all_busy, PER_SECOND, &each(|d| d.all_busy), &linear, Goal::AtLeast(0.95));
        let whole = format!("{what}, to the last message (shards: {shares})");
        table.compare(whole, PER_SECOND, &each(|d| d.whole), &linear, Goal::Shown);
    }
}

/// Rates of a drain by several workers.
struct Drained {
    /// From the first acknowledgement to the last one.
    whole: f64,
    /// Until the first worker has run dry.
    all_busy: f64,
    /// How many shards each worker has.
    shares: String,
}

async fn drain_by(servers: &Servers, stub: &Stub, workers: usize, messages: usize) -> Drained {
    let task = Task { address: Some(stub.address()), concurrency: Some(CONCURRENCY_NARROW), trips: 0 };
    let names: Vec<String> = (1..=workers).map(|number| format!("worker-{number}")).collect();
    let mut contenders: Vec<Contender> =
        names.iter().map(|name| Contender::start(servers, Way::Ours, name, &task)).collect();
    let share = |name: &String| {
        let shards = shards_of(&flow::name(), flow::SHARDS);
        shards.filter(|shard| server_of(shard, &names) == Some(name)).count()
    };
    let shares: Vec<usize> = names.iter().map(share).collect();
    for (contender, share) in contenders.iter_mut().zip(&shares) {
        contender.until_serving(*share).await;
    }
    fill(servers, messages).await;
    until_acked(&mut contenders, messages).await;
    let mut acks = Vec::new();
    for contender in contenders {
        acks.push(contender.end().await);
    }
    let shares: Vec<String> = shares.iter().map(usize::to_string).collect();
    let (first, last) = (|acks: &Vec<i64>| acks[0], |acks: &Vec<i64>| acks[acks.len() - 1]);
    let from = acks.iter().map(first).max().unwrap();
    let to = acks.iter().map(last).min().unwrap();
    let between = acks.iter().flatten().filter(|at| (from..=to).contains(*at)).count();
    Drained {
        whole: per_second(
            messages,
            acks.iter().map(first).min().unwrap(),
            acks.iter().map(last).max().unwrap(),
        ),
        all_busy: per_second(between, from, to),
        shares: shares.join("+"),
    }
}

/// Publishes so many messages.
async fn fill(servers: &Servers, messages: usize) {
    let queue = servers.queue();
    for begun in (0..messages).step_by(BATCH) {
        let count = BATCH.min(messages - begun);
        let batch: Vec<Outbound> = (0..count).map(|_| flow::message(SystemClock.now())).collect();
        queue.publish(&batch).await.unwrap();
    }
}

fn per_second(count: usize, from: i64, to: i64) -> f64 {
    crate::table::rate(count, Duration::from_nanos((to - from).unsigned_abs()))
}
