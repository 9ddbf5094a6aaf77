//! Runs that do not yield. No time limit of the runtime ends one, since it is looked at only when the run yields; it keeps
//! its thread, and what else waits there, for ever. So a thread beside the runtime watches the runs, and ends the process:
//! the queue hands its messages over again, and the run that never ended is evidence against its record ([`crate::trial`]).

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use assembly::program::EXIT_STUCK;
use shared::labelled;
use shared::record_key::RecordKey;
use tracing::error;

/// How often the runs are looked at. Looks are counted, not time: a process that stood still does not look either.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many times as long as a run may take it may go without yielding.
const RUN_TIMES_MAX: u32 = 2;

/// Knows which runs have a thread at this moment. Clones know the same.
#[derive(Debug, Clone, Default)]
pub struct Watchdog(Arc<Mutex<Turns>>);

/// The runs that have a thread, by number.
#[derive(Debug, Default)]
struct Turns {
    last: u64,
    turns: HashMap<u64, Turn>,
}

/// One run, from getting a thread to yielding.
#[derive(Debug)]
struct Turn {
    record: Arc<RecordKey>,
    looks: u32,
    looks_max: u32,
}

impl Watchdog {
    /// The run of a record that may take so long, watched whenever it has a thread.
    pub async fn watched<T>(
        &self,
        record: &RecordKey,
        run_time_max: Duration,
        run: impl Future<Output = T>,
    ) -> T {
        let record = Arc::new(record.clone());
        let looks_max = looks_max(run_time_max);
        let mut run = pin!(run);
        poll_fn(|context| {
            let _turn = self.begin(Turn { record: record.clone(), looks: 0, looks_max });
            run.as_mut().poll(context)
        })
        .await
    }

    /// Watches from now on, as long as the worker lives: ends the process when a run does not yield.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub fn start(&self) -> std::io::Result<()> {
        let watched = Arc::downgrade(&self.0);
        let watching = move || {
            while let Some(watched) = watched.upgrade() {
                if let Some(record) = Self(watched).look() {
                    give_up(&record);
                }
                pause();
            }
        };
        std::thread::Builder::new().name("watchdog".to_owned()).spawn(watching).map(drop)
    }

    /// Looks once at each run that has a thread. Answers the record of one that does not yield.
    fn look(&self) -> Option<Arc<RecordKey>> {
        let mut turns = self.lock();
        turns.turns.values_mut().for_each(|turn| turn.looks = turn.looks.saturating_add(1));
        turns.turns.values().find(|turn| turn.looks > turn.looks_max).map(|turn| turn.record.clone())
    }

    fn begin(&self, turn: Turn) -> impl Drop {
        let mut turns = self.lock();
        turns.last += 1;
        let number = turns.last;
        turns.turns.insert(number, turn);
        Yielded { watchdog: self, number }
    }

    fn lock(&self) -> MutexGuard<'_, Turns> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a turn, also by a panic.
struct Yielded<'a> {
    watchdog: &'a Watchdog,
    number: u64,
}

impl Drop for Yielded<'_> {
    fn drop(&mut self) {
        self.watchdog.lock().turns.remove(&self.number);
    }
}

fn looks_max(run_time_max: Duration) -> u32 {
    let looks = (run_time_max * RUN_TIMES_MAX).as_secs().div_ceil(LOOK_EVERY.as_secs());
    let usual = i64::try_from(looks).unwrap_or(i64::MAX);
    u32::try_from(labelled::number("worker.stuck_looks_max", usual)).unwrap_or(u32::MAX)
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own: the runtime may stand still")]
fn pause() {
    std::thread::sleep(LOOK_EVERY);
}

fn give_up(record: &RecordKey) {
    error!(
        flow.name = %record.flow(),
        record.id = %record.id(),
        "The record's run does not yield for more than {RUN_TIMES_MAX} times as long as it may take: it loops, or blocks its \
         thread. The worker ends with code {EXIT_STUCK}, so that its messages are handed over again; start it anew. When \
         that happens again and again, the message becomes a dead letter of reason poison."
    );
    std::process::exit(i32::from(EXIT_STUCK));
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn record() -> RecordKey {
        "parties:1".parse().unwrap()
    }

    #[test]
    fn a_run_that_waits_is_not_stuck_however_long_it_takes() {
        let (watchdog, record) = (Watchdog::default(), record());
        let mut run = Box::pin(watchdog.watched(&record, Duration::ZERO, std::future::pending::<()>()));
        for _ in 0..10 {
            assert!((&mut run).now_or_never().is_none());
            assert_eq!(watchdog.look(), None);
        }
    }

    #[test]
    fn a_run_that_keeps_its_thread_is_named_after_twice_the_time_that_it_may_take() {
        let (watchdog, record, limit) = (Watchdog::default(), record(), Duration::from_secs(3));
        let run = watchdog.watched(&record, limit, async {
            let looks: Vec<_> = (0..7).map(|_| watchdog.look().is_some()).collect();
            assert_eq!(looks, [false, false, false, false, false, false, true]);
        });
        run.now_or_never().unwrap();
        assert_eq!(watchdog.look(), None, "it has ended");
    }

    #[test]
    fn a_run_that_panics_has_ended() {
        let (watchdog, record) = (Watchdog::default(), record());
        let run = watchdog.watched(
            &record,
            Duration::ZERO,
            shared::contain::contained(async { panic!("told to") }),
        );
        let ended: Result<(), _> = run.now_or_never().unwrap();
        assert!(ended.is_err() && watchdog.look().is_none());
    }
}
