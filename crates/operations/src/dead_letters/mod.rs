//! The desk for dead letters: list, group, show, replay, discard, export, and close those that took care of
//! themselves.
//!
//! What it shows is a projection of the append-only log, kept as small documents in the state store
//! (`documents.rs`) and brought up to date by whoever looks (`projector.rs`). So nobody reads the log from its
//! beginning, and no process holds more than a few pages in memory, whatever the number of letters. The whole letter
//! is read from the log when it is asked for.

mod another_log;
mod apply;
mod documents;
mod log;
mod lost;
mod projector;
#[cfg(test)]
mod properties;
mod replay;
mod select;
mod signature;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use shared::dead_letter::{DeadLetter, DeadLetterEvent, Reason, Resolution};
use shared::meter::Meter;
use shared::ports::PortError;
use shared::ports::queue::{FlowTopology, Queue};
use shared::ports::state::State;
use shared::record_key::RecordKey;
use shared::{dead_mark, names};
use tokio::sync::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

pub use documents::{Ending, LetterSummary};
pub use log::News;
pub use replay::{Done, Refusal, Report};
pub use select::{Filter, Group};
pub use signature::UNKNOWN_FLOW;
pub use walk::Walk;

use documents::{COUNTS, Entry, GROUPS};
use projector::Projector;

/// Groups listed at most; the largest.
const GROUPS_MAX: usize = 1_000;
/// How often a process looks whether the log has dropped letters.
const LOST_EVERY: Duration = Duration::from_secs(300);

/// Why the desk could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// No dead letter has this id.
    #[error("no dead letter has the id {0}; `syncfleet dlq list` shows the open ones")]
    Unknown(Uuid),
    /// The log has dropped it.
    #[error(
        "dead letter {0} is lost: the log was full or the letter too old, see queue.rabbitmq.dead_letter_retention_days \
         and dead_letter_log_bytes_max; its record is looked at again by the next sweep that finds it"
    )]
    Dropped(Uuid),
    /// Who does it must be known.
    #[error("a name is needed: who replays or discards is kept in the log")]
    NameMissing,
    /// Why it is given up must be known.
    #[error("a reason is needed: why a dead letter is discarded is kept in the log")]
    ReasonMissing,
    /// The edited message cannot be sent.
    #[error("the edited message cannot be sent: {0}; nothing was changed")]
    Unsendable(String),
    /// Queue or state store.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// A part of the open dead letters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listing {
    /// The letters asked for, newest first.
    pub letters: Vec<LetterSummary>,
    /// How many match in all, where flow and reason are all that was asked for.
    pub total: Option<u64>,
    /// Whether there are more behind these.
    pub has_more: bool,
    /// Records of the log that nobody can read.
    pub unreadable: u64,
}

/// The groups of open dead letters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Groups {
    /// The largest first.
    pub groups: Vec<Group>,
    /// Further groups, too many to be listed.
    pub left_out: usize,
}

/// One dead letter with all that is known.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// The letter.
    pub letter: DeadLetter,
    /// How it ended; none while it is open.
    pub ending: Option<Ending>,
}

/// How many dead letters are open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenCount {
    /// The flow; [`UNKNOWN_FLOW`] where even that is not known.
    pub flow: String,
    /// Why they are here.
    pub reason: Reason,
    /// How many.
    pub count: u64,
    /// When the first became a dead letter, since last none was open.
    pub first: Timestamp,
}

/// The desk. Cheap to keep for the life of a process; safe to use from many tasks.
#[derive(Debug)]
pub struct DeadLetterDesk {
    projector: Projector,
    flows: Vec<FlowTopology>,
    /// The flows that a gauge was set for.
    measured: Mutex<BTreeSet<String>>,
    /// When it was looked whether letters are lost.
    looked: Mutex<Option<Instant>>,
}

impl DeadLetterDesk {
    /// A desk over the queue's log. `flows` are those that messages can be replayed to.
    pub fn new(queue: Arc<dyn Queue>, state: Arc<dyn State>, flows: Vec<FlowTopology>) -> Self {
        let projector = Projector::new(queue, state);
        Self { projector, flows, measured: Mutex::default(), looked: Mutex::default() }
    }

    fn queue(&self) -> &dyn Queue {
        self.projector.queue.as_ref()
    }

    fn state(&self) -> &dyn State {
        self.projector.state.as_ref()
    }

    /// Open dead letters that match, newest first, behind the letter `after`, at most `limit`.
    ///
    /// # Errors
    /// [`DeskError::Unknown`] when there is no letter `after`; else as the ports'.
    pub async fn list(
        &self,
        filter: &Filter,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Listing, DeskError> {
        let checkpoint = self.projector.refresh().await?;
        let after = match after {
            Some(id) => Some(self.place(id).await?),
            None => None,
        };
        let mut walk = Walk::begin(self.state(), filter, after.as_deref()).await?;
        let letters = walk.take(limit).await?;
        let has_more = letters.len() == limit && walk.next().await?.is_some();
        let total = match filter.is_counted() {
            true => Some(self.counted(filter).await?.iter().map(|open| open.count).sum()),
            false => None,
        };
        Ok(Listing { letters, total, has_more, unreadable: checkpoint.unreadable })
    }

    /// All open dead letters that match, newest first.
    ///
    /// # Errors
    /// As the ports'.
    pub async fn walk(&self, filter: &Filter) -> Result<Walk<'_>, PortError> {
        self.projector.refresh().await?;
        Walk::begin(self.state(), filter, None).await
    }

    async fn place(&self, id: Uuid) -> Result<String, DeskError> {
        let opening = self.entry(id).await?.and_then(|entry| entry.opened);
        let opening = opening.ok_or(DeskError::Unknown(id))?;
        Ok(documents::place(opening.at, &id))
    }

    async fn entry(&self, id: Uuid) -> Result<Option<Entry>, PortError> {
        Ok(self.projector.entries(&BTreeSet::from([id])).await?.remove(&id))
    }

    /// The groups of open dead letters that may hold some that match. Of times a group knows only the first and the
    /// last, and of texts what all its letters have in common.
    ///
    /// # Errors
    /// As the ports'.
    pub async fn groups(&self, filter: &Filter) -> Result<Groups, PortError> {
        self.projector.refresh().await?;
        let (mut groups, mut left_out) = (Vec::new(), 0);
        let mut tallies = walk::Tallies::new(GROUPS);
        while let Some(page) = tallies.next(self.state()).await? {
            groups.extend(page.into_iter().map(Group::from).filter(|group| filter.covers_group(group)));
            groups.sort_by_key(|group| (std::cmp::Reverse(group.count), std::cmp::Reverse(group.last)));
            left_out += groups.len().saturating_sub(GROUPS_MAX);
            groups.truncate(GROUPS_MAX);
        }
        Ok(Groups { groups, left_out })
    }

    /// How many are open, by flow and reason.
    ///
    /// # Errors
    /// As the ports'.
    pub async fn counts(&self) -> Result<Vec<OpenCount>, PortError> {
        self.projector.refresh().await?;
        self.counted(&Filter::default()).await
    }

    async fn counted(&self, filter: &Filter) -> Result<Vec<OpenCount>, PortError> {
        let (mut counts, mut tallies) = (Vec::new(), walk::Tallies::new(COUNTS));
        while let Some(page) = tallies.next(self.state()).await? {
            counts.extend(page.into_iter().map(|tally| OpenCount {
                flow: tally.signature.flow,
                reason: tally.signature.reason,
                count: tally.count,
                first: tally.first,
            }));
        }
        counts.retain(|open| filter.covers(&open.flow, open.reason));
        Ok(counts)
    }

    /// Sets the gauge of open dead letters, for each flow and reason; and closes now and then the letters that the
    /// log has dropped.
    ///
    /// # Errors
    /// As the ports'.
    pub async fn measure(&self, meter: &dyn Meter) -> Result<(), PortError> {
        self.close_lost().await?;
        let counts = self.counts().await?;
        let mut measured = self.measured.lock().await;
        measured.extend(self.flows.iter().map(|topology| topology.flow.to_string()));
        measured.extend(counts.iter().map(|open| open.flow.clone()));
        for flow in measured.iter() {
            for reason in Reason::ALL {
                let found = counts.iter().find(|open| open.flow == *flow && open.reason == reason);
                #[expect(clippy::cast_precision_loss, reason = "a gauge; counts stay far below 2^52")]
                let open = found.map_or(0, |open| open.count) as f64;
                meter.set(&names::DEAD_LETTERS, &[flow, reason.name()], open);
            }
        }
        Ok(())
    }

    async fn close_lost(&self) -> Result<(), PortError> {
        let mut looked = self.looked.lock().await;
        if looked.is_some_and(|at| at.elapsed() < LOST_EVERY) {
            return Ok(());
        }
        self.projector.close_lost().await?;
        *looked = Some(Instant::now());
        Ok(())
    }

    /// One dead letter with all that is known, also when it is closed.
    ///
    /// # Errors
    /// [`DeskError::Unknown`], [`DeskError::Dropped`]; else as the ports'.
    pub async fn show(&self, id: Uuid) -> Result<Shown, DeskError> {
        self.projector.refresh().await?;
        let entry = self.entry(id).await?.ok_or(DeskError::Unknown(id))?;
        let opening = entry.opened.ok_or(DeskError::Unknown(id))?;
        let mut letters = self.projector.whole(&[(id, opening.position)]).await?;
        let letter = letters.pop().ok_or(DeskError::Dropped(id))?;
        Ok(Shown { letter, ending: entry.ending })
    }

    /// Builds the projection anew from the log. Letters and log are not touched. Safe to repeat.
    ///
    /// # Errors
    /// As the ports'.
    pub async fn rebuild(&self) -> Result<(), PortError> {
        self.projector.reset().await
    }

    /// Closes the dead letters of a key after a run of it succeeded. Safe to repeat.
    ///
    /// # Errors
    /// As the ports'.
    pub async fn close_superseded(
        &self,
        key: &RecordKey,
        letters: &[Uuid],
        worker: &str,
        now: Timestamp,
    ) -> Result<(), PortError> {
        for id in letters {
            let event = resolved(*id, Resolution::Superseded, worker, "", now);
            self.queue().append_dead_letter_event(&event).await?;
        }
        dead_mark::remove(self.state(), key, letters).await
    }
}

fn resolved(id: Uuid, resolution: Resolution, by: &str, note: &str, at: Timestamp) -> DeadLetterEvent {
    DeadLetterEvent::Resolved { id, resolution, by: by.to_owned(), note: note.to_owned(), edited: None, at }
}
