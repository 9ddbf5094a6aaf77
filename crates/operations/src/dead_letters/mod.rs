//! The desk for dead letters: list, group, show, replay, discard, and close those that took care of themselves.
//!
//! It folds the append-only log into the dead letters that are open, reading on from where it stood. In memory
//! is a summary of each open one, below 2 kB, at most [`LETTERS_MAX`] of them; the whole letter is read from the
//! log when it is asked for.

mod fold;
mod replay;
mod select;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use shared::dead_letter::{DeadLetter, DeadLetterEvent, Reason, Resolution};
use shared::meter::Meter;
use shared::ports::PortError;
use shared::ports::queue::{FlowTopology, Queue};
use shared::ports::state::State;
use shared::record_key::RecordKey;
use shared::{dead_mark, names};
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

pub use fold::LETTERS_MAX;
pub use replay::{Refusal, ReplayReport, Replayed};
pub use select::{Filter, Group, LetterSummary, Selection, UNKNOWN_FLOW};

use fold::Fold;

/// Records read from the log at once.
pub(crate) const SCAN_RECORDS: u32 = 500;

/// Why the desk could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// No open dead letter has this id.
    #[error("no open dead letter has the id {0}; `syncfleet dlq list` shows the open ones")]
    Unknown(Uuid),
    /// It was closed before: replayed, discarded, or settled by a later run.
    #[error("dead letter {0} was closed before; nothing is left to do")]
    Closed(Uuid),
    /// Who does it must be known.
    #[error("a name is needed: who replays or discards is kept in the log")]
    NameMissing,
    /// Why it is given up must be known.
    #[error("a reason is needed: why a dead letter is discarded is kept in the log")]
    ReasonMissing,
    /// Queue or state store.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// A part of the open dead letters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listing {
    /// The letters asked for, oldest first.
    pub letters: Vec<LetterSummary>,
    /// How many match in all.
    pub total: usize,
    /// Records of the log that nobody can read.
    pub unreadable: u64,
    /// Whether more than [`LETTERS_MAX`] are open, so that the newest are not listed yet.
    pub is_cut: bool,
}

/// How many dead letters are open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenCount {
    /// The flow; [`UNKNOWN_FLOW`] where even that is not known.
    pub flow: String,
    /// Why they are here.
    pub reason: Reason,
    /// How many.
    pub count: usize,
    /// When the oldest became a dead letter.
    pub oldest: Timestamp,
}

/// The desk. Cheap to keep for the life of a process; safe to use from many tasks.
#[derive(Debug)]
pub struct DeadLetterDesk {
    queue: Arc<dyn Queue>,
    state: Arc<dyn State>,
    flows: Vec<FlowTopology>,
    fold: Mutex<Fold>,
}

impl DeadLetterDesk {
    /// A desk over the queue's log. `flows` are those that messages can be replayed to.
    pub fn new(queue: Arc<dyn Queue>, state: Arc<dyn State>, flows: Vec<FlowTopology>) -> Self {
        Self { queue, state, flows, fold: Mutex::default() }
    }

    /// Open dead letters that match, oldest first, from the `offset`-th, at most `limit`. Changes nothing.
    ///
    /// # Errors
    /// As the queue's.
    pub async fn list(&self, filter: &Filter, offset: usize, limit: usize) -> Result<Listing, PortError> {
        let fold = self.refreshed().await?;
        let matching = fold.summaries(filter);
        let letters = matching.iter().skip(offset).take(limit).cloned().collect();
        let (unreadable, is_cut) = (fold.unreadable(), fold.is_cut());
        Ok(Listing { letters, total: matching.len(), unreadable, is_cut })
    }

    /// Open dead letters that match, by flow, reason and code; the largest group first. Changes nothing.
    ///
    /// # Errors
    /// As the queue's.
    pub async fn groups(&self, filter: &Filter) -> Result<Vec<Group>, PortError> {
        Ok(select::group(&self.refreshed().await?.summaries(filter)))
    }

    /// How many are open, by flow and reason. Changes nothing.
    ///
    /// # Errors
    /// As the queue's.
    pub async fn counts(&self) -> Result<Vec<OpenCount>, PortError> {
        let mut counts: BTreeMap<(String, Reason), OpenCount> = BTreeMap::new();
        for letter in self.refreshed().await?.summaries(&Filter::default()) {
            let flow = letter.flow_name().to_owned();
            let new = OpenCount { flow: flow.clone(), reason: letter.reason, count: 0, oldest: letter.at };
            counts.entry((flow, letter.reason)).or_insert(new).count += 1;
        }
        Ok(counts.into_values().collect())
    }

    /// Sets the gauge of open dead letters, for each flow and reason.
    ///
    /// # Errors
    /// As the queue's.
    pub async fn measure(&self, meter: &dyn Meter) -> Result<(), PortError> {
        let counts = self.counts().await?;
        let seen: BTreeSet<String> = {
            let mut fold = self.fold.lock().await;
            fold.measured.extend(self.flows.iter().map(|topology| topology.flow.to_string()));
            fold.measured.extend(counts.iter().map(|open| open.flow.clone()));
            fold.measured.clone()
        };
        for flow in &seen {
            for reason in Reason::ALL {
                let found = counts.iter().find(|open| open.flow == *flow && open.reason == reason);
                #[expect(clippy::cast_precision_loss, reason = "at most LETTERS_MAX")]
                let open = found.map_or(0, |open| open.count) as f64;
                meter.set(&names::DEAD_LETTERS, &[flow, reason.name()], open);
            }
        }
        Ok(())
    }

    /// One open dead letter with all that is known. Changes nothing.
    ///
    /// # Errors
    /// [`DeskError::Unknown`], [`DeskError::Closed`]; else as the queue's.
    pub async fn show(&self, id: Uuid) -> Result<DeadLetter, DeskError> {
        let ids = self.select(&Selection::One(id)).await?;
        self.whole(&ids).await?.pop().ok_or(DeskError::Unknown(id))
    }

    /// Gives dead letters up: nothing is sent again. `by` and `why` are kept in the log. Safe to repeat.
    /// Answers which were closed.
    ///
    /// # Errors
    /// [`DeskError::NameMissing`], [`DeskError::ReasonMissing`]; for a single id [`DeskError::Unknown`] and
    /// [`DeskError::Closed`]; else as the ports'.
    pub async fn discard(
        &self,
        selection: &Selection,
        by: &str,
        why: &str,
        now: Timestamp,
    ) -> Result<Vec<Uuid>, DeskError> {
        let (by, why) = (by.trim(), why.trim());
        if by.is_empty() {
            return Err(DeskError::NameMissing);
        }
        if why.is_empty() {
            return Err(DeskError::ReasonMissing);
        }
        let ids = self.select(selection).await?;
        for id in &ids {
            let key = self.fold.lock().await.key(id);
            self.resolve(*id, key.as_ref(), Resolution::Discarded, by, why, now).await?;
            tracing::info!(dead_letter.id = %id, operator = by, "A dead letter was discarded: {why}");
        }
        Ok(ids)
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
            self.queue.append_dead_letter_event(&event).await?;
        }
        dead_mark::remove(self.state.as_ref(), key, letters).await
    }

    /// Appends the resolution, then removes the mark: in this order a crash leaves a mark too many, which the
    /// next success of the key removes, and never an open letter that nobody sees.
    async fn resolve(
        &self,
        id: Uuid,
        key: Option<&RecordKey>,
        resolution: Resolution,
        by: &str,
        note: &str,
        now: Timestamp,
    ) -> Result<(), PortError> {
        self.queue.append_dead_letter_event(&resolved(id, resolution, by, note, now)).await?;
        match key {
            Some(key) => dead_mark::remove(self.state.as_ref(), key, &[id]).await,
            None => Ok(()),
        }
    }

    async fn select(&self, selection: &Selection) -> Result<Vec<Uuid>, DeskError> {
        let fold = self.refreshed().await?;
        match selection {
            Selection::One(id) if fold.is_open(id) => Ok(vec![*id]),
            Selection::One(id) if fold.is_closed(id) => Err(DeskError::Closed(*id)),
            Selection::One(id) => Err(DeskError::Unknown(*id)),
            Selection::Matching(filter) => Ok(fold.summaries(filter).into_iter().map(|l| l.id).collect()),
        }
    }

    /// The whole letters of those ids that are open, each page of the log read once.
    async fn whole(&self, ids: &[Uuid]) -> Result<Vec<DeadLetter>, PortError> {
        let mut pages: BTreeMap<u64, BTreeSet<Uuid>> = BTreeMap::new();
        {
            let fold = self.fold.lock().await;
            for id in ids {
                if let Some(page) = fold.page(id) {
                    pages.entry(page).or_default().insert(*id);
                }
            }
        }
        let mut letters = Vec::new();
        for (from, mut wanted) in pages {
            for event in self.queue.scan_dead_letters(from, SCAN_RECORDS).await?.into_events() {
                if let DeadLetterEvent::Opened { letter } = event
                    && wanted.remove(&letter.id)
                {
                    letters.push(*letter);
                }
            }
        }
        Ok(letters)
    }

    /// The fold, with everything that is in the log now.
    async fn refreshed(&self) -> Result<MutexGuard<'_, Fold>, PortError> {
        let mut fold = self.fold.lock().await;
        if fold.must_start_over() {
            fold.start_over();
        }
        loop {
            let page = self.queue.scan_dead_letters(fold.position(), SCAN_RECORDS).await?;
            if !fold.take(page) {
                return Ok(fold);
            }
        }
    }
}

fn resolved(id: Uuid, resolution: Resolution, by: &str, note: &str, at: Timestamp) -> DeadLetterEvent {
    DeadLetterEvent::Resolved { id, resolution, by: by.to_owned(), note: note.to_owned(), edited: None, at }
}
