//! Draining a full queue with a handler that makes two HTTP calls of 5 ms: beside a bare loop, and by several
//! workers.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use shared::clock::{Clock as _, SystemClock};
use shared::ports::queue::Outbound;
use shared::routing::{Shard, server_of, shards_of};

use crate::Size;
use crate::contender::{Contender, Task, Way, now, until_acked};
use crate::flow;
use crate::processes::{cpu_time, cpu_time_of_machine};
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
    let (address, concurrency) = (Some(stub.address()), Some(CONCURRENCY_WIDE));
    let task = Task { address, concurrency, trips: TRIPS, shards: None };
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
    let [mut ours, mut bare]: [[Vec<Drained>; 3]; 2] = Default::default();
    for _ in 0..size.runs(3) {
        for (at, workers) in WORKERS.into_iter().enumerate() {
            let messages = size.of(5_000) * workers;
            ours[at].push(drain_by(servers, stub, Way::Ours, workers, messages).await);
            bare[at].push(drain_by(servers, stub, Way::Bare, workers, messages).await);
        }
    }
    for ((workers, ours_by), bare_by) in WORKERS.into_iter().zip(&ours).zip(&bare) {
        let all_busy = |drained: &[Drained]| drained.iter().map(|d| d.all_busy).collect::<Vec<f64>>();
        let linear = |one: &[Drained]| -> Vec<f64> {
            one.iter().map(|one| one.all_busy * f64::from(u32::try_from(workers).unwrap())).collect()
        };
        let what = format!("drain by {workers} workers of {CONCURRENCY_NARROW} at once");
        let beside = format!("{what}, beside as many bare loops");
        table.compare(beside, PER_SECOND, &all_busy(ours_by), &all_busy(bare_by), Goal::AtLeast(0.9));
        table.show(format!("{what}: CPU meanwhile"), &ours_by[0].cpu);
        if workers == 1 {
            continue;
        }
        let goal = Goal::AtLeast(0.95);
        let beside = format!("{what}, beside {workers} times one");
        table.compare(beside, PER_SECOND, &all_busy(ours_by), &linear(&ours[0]), goal);
        let beside = format!("bare loops: drain by {workers}, beside {workers} times one");
        table.compare(beside, PER_SECOND, &all_busy(bare_by), &linear(&bare[0]), Goal::Shown);
        let whole: Vec<f64> = ours_by.iter().map(|d| d.whole).collect();
        let to_the_last = format!("{what}, to the last message (shards: {})", ours_by[0].shares);
        table.compare(to_the_last, PER_SECOND, &whole, &linear(&ours[0]), Goal::Shown);
    }
}

/// A drain by several workers.
struct Drained {
    /// Rate from the first acknowledgement to the last one.
    whole: f64,
    /// Rate from when all is published until the first worker has run dry.
    all_busy: f64,
    /// How many shards each worker has.
    shares: String,
    /// What used the CPUs.
    cpu: String,
}

async fn drain_by(servers: &Servers, stub: &Stub, way: Way, workers: usize, messages: usize) -> Drained {
    let names: Vec<String> = (1..=workers).map(|number| format!("worker-{number}")).collect();
    let shards_of_name = |name: &String| -> Vec<Shard> {
        let shards = shards_of(&flow::name(), flow::SHARDS);
        shards.filter(|shard| server_of(shard, &names) == Some(name)).collect()
    };
    let shares: Vec<Vec<Shard>> = names.iter().map(shards_of_name).collect();
    let start = |(name, share): (&String, &Vec<Shard>)| {
        let (address, concurrency) = (Some(stub.address()), Some(CONCURRENCY_NARROW));
        let task = Task { address, concurrency, trips: TRIPS, shards: Some(share.clone()) };
        Contender::start(servers, way, name, &task)
    };
    let mut contenders: Vec<Contender> = names.iter().zip(&shares).map(start).collect();
    for (contender, share) in contenders.iter_mut().zip(&shares) {
        contender.until_serving(share.len()).await;
    }
    fill(servers, messages).await;
    let (filled, used) = (now(), Used::by(&contenders));
    until_acked(&mut contenders, messages).await;
    let cpu = Used::by(&contenders).since(&used);
    let mut acks = Vec::new();
    for contender in contenders {
        acks.push(contender.end().await);
    }
    let shares: Vec<String> = shares.iter().map(|share| share.len().to_string()).collect();
    let (first, last) = (|acks: &Vec<i64>| acks[0], |acks: &Vec<i64>| acks[acks.len() - 1]);
    let from = acks.iter().map(first).max().unwrap().max(filled);
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
        cpu,
    }
}

/// CPU time used so far.
struct Used {
    at: Instant,
    workers: Duration,
    /// This process, which answers the calls.
    stub: Duration,
    all: Duration,
}

impl Used {
    fn by(contenders: &[Contender]) -> Self {
        let workers = contenders.iter().map(Contender::cpu_time).sum();
        let stub = cpu_time(std::process::id());
        Self { at: Instant::now(), workers, stub, all: cpu_time_of_machine() }
    }

    /// In per cent of one CPU.
    fn since(&self, begin: &Self) -> String {
        let time = (self.at - begin.at).as_secs_f64();
        let share = |used: Duration| used.as_secs_f64() / time * 100.0;
        let (workers, stub) = (share(self.workers - begin.workers), share(self.stub - begin.stub));
        let rest = share(self.all - begin.all) - workers - stub;
        let cpus = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        format!(
            "workers {workers:.0} %, HTTP stub {stub:.0} %, broker, store and others {rest:.0} %, of {} %",
            cpus * 100
        )
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
