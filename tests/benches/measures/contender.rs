//! A contender: a process that handles messages, with the product's engine or with a bare loop. Both tell how far
//! they are in the same way.

mod bare;
mod ours;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assembly::program::stop_on_signals;
use shared::clock::{Clock as _, SystemClock};
use shared::routing::{Shard, shards_of};
use system_tests::{Program, RunningProgram, wait};

use crate::flow::{self, SHARDS, Work};
use crate::processes::cpu_time;
use crate::servers::{self, Servers};

pub use bare::BarePublisher;

/// How often a contender tells how far it is.
const TELL_EVERY: Duration = Duration::from_millis(25);
const PATIENCE: Duration = Duration::from_secs(600);
/// The word in `main`'s arguments.
pub const WORD: &str = "contender";

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The product's worker.
    Ours,
    /// A loop over lapin.
    Bare,
}

/// What a contender does, and how.
#[derive(Debug, Clone, Default)]
pub struct Task {
    /// Where the handler calls; nothing is done where it is missing.
    pub address: Option<String>,
    /// Runs at once; the product's default where it is missing.
    pub concurrency: Option<usize>,
    /// Trips to Redis that the bare loop makes for each message.
    pub trips: usize,
    /// Shards that the bare loop consumes; all where it is missing. The product's workers share them by themselves.
    pub shards: Option<Vec<Shard>>,
}

impl Task {
    /// The shards' numbers, as an argument.
    fn shards(&self) -> String {
        let all = || shards_of(&flow::name(), SHARDS).collect();
        let shards: Vec<Shard> = self.shards.clone().unwrap_or_else(all);
        shards.iter().map(|shard| shard.number.to_string()).collect::<Vec<_>>().join(",")
    }
}

/// A running contender.
pub struct Contender {
    program: RunningProgram,
    acks: PathBuf,
}

impl Contender {
    /// Starts one; it is not ready yet.
    pub fn start(servers: &Servers, way: Way, name: &str, task: &Task) -> Self {
        let acks = servers.file(&format!("{name}.acks"));
        let mut program = Program::at(std::env::current_exe().unwrap())
            .args([WORD, if way == Way::Ours { "ours" } else { "bare" }])
            .arg(servers.settings())
            .arg(&acks)
            .arg(task.trips.to_string())
            .arg(task.shards())
            .args(task.address.iter())
            .env("SYNCFLEET__WORKER__NAME", name);
        if let Some(concurrency) = task.concurrency {
            program = program.env("SYNCFLEET__WORKER__CONCURRENCY_MAX", concurrency.to_string());
        }
        Self { program: program.start().unwrap(), acks }
    }

    /// Starts one and waits until it serves all shards.
    pub async fn start_ready(servers: &Servers, way: Way, task: &Task) -> Self {
        let mut contender = Self::start(servers, way, if way == Way::Ours { "ours" } else { "bare" }, task);
        contender.until_serving(usize::from(SHARDS)).await;
        contender
    }

    /// Waits until it serves so many shards.
    pub async fn until_serving(&mut self, shards: usize) {
        wait::until("shards", PATIENCE, async || match self.told() {
            (_, serving) if serving == shards => Ok(()),
            other => Err(other),
        })
        .await;
    }

    /// Messages acknowledged so far.
    fn acked(&mut self) -> usize {
        self.told().0
    }

    fn told(&mut self) -> (usize, usize) {
        let log = self.program.log();
        assert!(self.program.is_running(), "a contender has ended:\n{log}");
        let line = log.lines().rev().find_map(|line| line.strip_prefix("acked ")).unwrap_or("0 0");
        let (acked, serving) = line.split_once(' ').unwrap();
        (acked.parse().unwrap(), serving.parse().unwrap())
    }

    /// CPU time that it has used so far.
    pub fn cpu_time(&self) -> Duration {
        cpu_time(self.program.pid())
    }

    /// Ends it in good order. Answers when each acknowledgement was sent, in nanoseconds since 1970.
    pub async fn end(mut self) -> Vec<i64> {
        self.program.terminate();
        assert!(self.program.wait_exit(PATIENCE).await.unwrap().success(), "{}", self.program.log());
        let text = std::fs::read_to_string(&self.acks).unwrap();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }
}

/// Waits until contenders have acknowledged so many messages together.
pub async fn until_acked(contenders: &mut [Contender], count: usize) {
    wait::until("acknowledgements", PATIENCE, async || {
        let acked: usize = contenders.iter_mut().map(Contender::acked).sum();
        if acked >= count { Ok(()) } else { Err((acked, count)) }
    })
    .await;
}

/// The present time, in nanoseconds since 1970.
pub fn now() -> i64 {
    i64::try_from(SystemClock.now().as_nanosecond()).unwrap()
}

/// How far a contender is.
#[derive(Debug, Default)]
struct Tally {
    acks: Mutex<Vec<i64>>,
    serving: AtomicUsize,
}

impl Tally {
    fn acked(&self) {
        let at = now();
        self.acks.lock().unwrap().push(at);
    }

    async fn tell(&self) {
        let mut last = String::new();
        loop {
            let line =
                format!("acked {} {}", self.acks.lock().unwrap().len(), self.serving.load(Ordering::Relaxed));
            if line != last {
                println!("{line}");
                last = line;
            }
            tokio::time::sleep(TELL_EVERY).await;
        }
    }

    fn write(&self, file: &str) {
        let lines: String = self.acks.lock().unwrap().iter().map(|at| format!("{at}\n")).collect();
        std::fs::write(file, lines).unwrap();
    }
}

/// The process of a contender: way, settings, file for its acknowledgements, trips to Redis, shards, address.
pub async fn main(args: &[String]) -> ExitCode {
    let stop = stop_on_signals();
    http_client::install_crypto_provider();
    let [way, settings, acks, trips, shards, rest @ ..] = args else {
        unreachable!("started by Contender::start")
    };
    let config = servers::load(Path::new(settings));
    let work = Work::at(rest.first().cloned());
    let tally = Arc::new(Tally::default());
    let telling = tokio::spawn({
        let tally = tally.clone();
        async move { tally.tell().await }
    });
    match way.as_str() {
        "ours" => ours::run(&config, work, tally.clone(), stop).await,
        _ => {
            let numbers = shards.split(',').map(|number| number.parse().unwrap());
            let shards = numbers.map(|number| Shard { flow: flow::name(), number }).collect();
            let handling = bare::Handling::new(&config, work, trips.parse().unwrap(), tally.clone()).await;
            bare::run(&config, handling, shards, stop).await;
        }
    }
    telling.abort();
    tally.write(acks);
    ExitCode::SUCCESS
}
