//! What happens by chance, by a seed: how the steps of runs are mixed, what fails, and where runs are stopped.

use std::future::Future;
use std::pin::pin;
use std::sync::Mutex;
use std::task::Poll;

/// How often what happens; none of it by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Odds {
    /// That a request to the store or the target fails: half of them after it was done.
    pub failures: f64,
    /// That a run is stopped somewhere.
    pub stops: f64,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Done,
    FailsBefore,
    FailsAfter,
}

#[derive(Debug)]
pub struct Chance(Mutex<(fastrand::Rng, Odds)>);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new((fastrand::Rng::with_seed(seed), Odds::default())))
    }

    pub fn set(&self, odds: Odds) {
        self.0.lock().unwrap().1 = odds;
    }

    /// Others may go on meanwhile.
    pub async fn pause(&self) {
        let times = self.0.lock().unwrap().0.u8(1..4);
        for _ in 0..times {
            tokio::task::yield_now().await;
        }
    }

    pub fn fate(&self) -> Fate {
        let (rng, odds) = &mut *self.0.lock().unwrap();
        match rng.f64() < odds.failures {
            false => Fate::Done,
            true if rng.bool() => Fate::FailsBefore,
            true => Fate::FailsAfter,
        }
    }

    pub fn choose(&self, count: usize) -> usize {
        self.0.lock().unwrap().0.usize(..count)
    }

    /// Runs it; none when it was stopped at some await.
    pub async fn may_stop<F: Future>(&self, run: F) -> Option<F::Output> {
        let mut left = {
            let (rng, odds) = &mut *self.0.lock().unwrap();
            (rng.f64() < odds.stops).then(|| rng.u32(1..150))
        };
        let mut run = pin!(run);
        std::future::poll_fn(|context| {
            if let Some(left) = &mut left {
                if *left == 0 {
                    return Poll::Ready(None);
                }
                *left -= 1;
            }
            run.as_mut().poll(context).map(Some)
        })
        .await
    }
}
