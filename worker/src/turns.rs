//! How many runs go on at once: so many of each flow, and never anything beside a message that may have killed its
//! workers.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, sleep};
use tokio_util::sync::{CancellationToken, PollSemaphore};

/// The turns of one flow's runs in this worker. They are given in the order in which they are asked for.
#[derive(Debug, Clone)]
pub struct Turns {
    runs: Arc<Semaphore>,
    runs_max: u32,
    alone: Arc<Semaphore>,
}

/// A turn; it ends when this is dropped.
#[derive(Debug)]
pub struct Turn {
    #[expect(dead_code, reason = "held, not read")]
    permits: (Option<OwnedSemaphorePermit>, OwnedSemaphorePermit),
}

impl From<OwnedSemaphorePermit> for Turn {
    fn from(permit: OwnedSemaphorePermit) -> Self {
        Self { permits: (None, permit) }
    }
}

impl Turns {
    /// At most `runs_max` runs of the flow at once; `alone` is shared by all flows of the worker and has one permit.
    pub fn new(runs_max: usize, alone: Arc<Semaphore>) -> Self {
        let runs_max = u32::try_from(runs_max.max(1)).unwrap_or(u32::MAX);
        Self { runs: Arc::new(Semaphore::new(runs_max as usize)), runs_max, alone }
    }

    /// A queue for usual turns: whoever polls it keeps its place.
    pub fn usual(&self) -> PollSemaphore {
        PollSemaphore::new(self.runs.clone())
    }

    /// A turn with no other run of the flow beside it, and no other such turn in the worker. `None` when the worker
    /// ends.
    pub async fn alone(&self) -> Option<Turn> {
        let alone = self.alone.clone().acquire_owned().await.ok()?;
        let all = self.runs.clone().acquire_many_owned(self.runs_max).await.ok()?;
        Some(Turn { permits: (Some(alone), all) })
    }
}

/// Where a run goes on: in a usual turn, until it asks to be alone.
#[derive(Debug)]
pub struct Place {
    turns: Turns,
    turn: Option<Turn>,
    ending: CancellationToken,
}

impl Place {
    /// With a usual turn. Nothing is waited for any more once `ending` is cancelled.
    pub fn new(turns: Turns, usual: OwnedSemaphorePermit, ending: CancellationToken) -> Self {
        Self { turns, turn: Some(usual.into()), ending }
    }

    /// Gives its turn up, and takes one alone after `wait`; `false` when the shard ends before.
    pub async fn be_alone(&mut self, wait: Duration) -> bool {
        self.turn = None;
        let turns = &self.turns;
        let alone = async {
            sleep(wait).await;
            turns.alone().await
        };
        self.turn = self.ending.run_until_cancelled(alone).await.flatten();
        self.turn.is_some()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn whoever_runs_alone_has_no_neighbour_in_its_flow_and_is_alone_in_that_in_the_worker() {
        let alone = Arc::new(Semaphore::new(1));
        let (one, other) = (Turns::new(2, alone.clone()), Turns::new(2, alone));
        let usual = one.runs.clone().acquire_owned().await.unwrap();
        let mut waits = Box::pin(one.alone());
        assert!((&mut waits).now_or_never().is_none(), "beside a usual run");
        drop(usual);
        let turn = waits.await.unwrap();
        assert!(one.runs.clone().acquire_owned().now_or_never().is_none(), "a usual run beside it");
        assert!(other.runs.clone().acquire_owned().now_or_never().is_some(), "another flow waits for it");
        assert!(other.alone().now_or_never().is_none(), "two of them");
        drop(turn);
        assert!(other.alone().now_or_never().is_some());
    }
}
