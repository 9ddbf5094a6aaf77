//! One case: with its seed, its sizes, and a line of what it counted.

use std::fmt;
use std::time::Instant;

use tokio::sync::Semaphore;

use crate::stage::Stage;

/// The seed of the short form.
const SEED: u64 = 20_261_120;

/// Cases at the same time, on a machine of any size: each is a fleet of programs, and waits for much of its time.
static PLACES: Semaphore = Semaphore::const_new(2);

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Parties laid out before anything is broken.
    pub parties: usize,
    /// Syncs, or messages, or hits of each label: what the case is about.
    pub syncs: usize,
    /// Whether this is the long form.
    pub is_long: bool,
}

impl Sizes {
    pub fn new(parties: usize, syncs: usize) -> Self {
        Self { parties, syncs, is_long: false }
    }

    /// The one number or the other, by the form.
    pub fn or<T>(self, short: T, long: T) -> T {
        if self.is_long { long } else { short }
    }
}

/// What was counted.
#[derive(Debug, Default)]
pub struct Counts {
    pub syncs: usize,
    pub accepted: usize,
    pub refused: usize,
    pub kills: usize,
    pub hits: usize,
    pub dead_letters: usize,
    pub duplicates: usize,
    pub lost: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { syncs, accepted, refused, kills, hits, dead_letters, duplicates, lost } = self;
        write!(
            f,
            "syncs={syncs} accepted={accepted} refused={refused} kills={kills} hits={hits} \
             dead_letters={dead_letters} duplicates={duplicates} lost={lost}"
        )
    }
}

/// A case of the table.
pub struct Case {
    pub name: &'static str,
    /// Nothing where there is the long form alone.
    pub short: Option<Sizes>,
    pub long: Sizes,
}

impl Case {
    /// Plays it when there is a place for it.
    pub fn play(self, play: impl AsyncFnOnce(&mut Stage)) {
        let is_long = self.short.is_none() || setting("CHAOS_FORM").is_some_and(|form| form == "long");
        let seed = setting("CHAOS_SEED").map_or(SEED, |seed| seed.parse().expect("a number as CHAOS_SEED"));
        let sizes = self.short.filter(|_| !is_long).unwrap_or(Sizes { is_long: true, ..self.long });
        let replay = Replay { name: self.name, seed, is_long };
        // The simulated systems answer on a thread of their own while people work and the judge looks.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let _place = runtime.block_on(PLACES.acquire()).unwrap();
        let began = Instant::now();
        let mut stage = Stage::new(seed, sizes);
        runtime.block_on(play(&mut stage));
        let Replay { name, seed, .. } = replay;
        println!("chaos {name} seed={seed} {} seconds={}", stage.counts, began.elapsed().as_secs());
    }
}

#[expect(clippy::disallowed_methods, reason = "no setting of the product")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Says how to play a failed case again.
struct Replay {
    name: &'static str,
    seed: u64,
    is_long: bool,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { name, seed, is_long } = self;
            let form = if *is_long { "long" } else { "short" };
            println!(
                "chaos {name} seed={seed} FAILED; again: CHAOS_SEED={seed} CHAOS_FORM={form} cargo test -p \
                 system-tests --test chaos {name} -- --exact --nocapture"
            );
        }
    }
}
