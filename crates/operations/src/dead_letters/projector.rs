//! Follows the log and keeps the documents in step with it: one process at a time, whichever comes first.
//!
//! Who follows holds a lease, and every document is written under its fencing token: a process that was
//! suspended writes nothing afterwards. What a process leaves half done when it dies, the next one does again from
//! the checkpoint, which changes nothing that was done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use shared::dead_letter::Reason;
use shared::dead_mark;
use shared::ports::PortError;
use shared::ports::queue::{DeadLetterPage, Queue};
use shared::ports::state::{Fence, READ_KEYS_MAX, State, Versioned, Write};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::another_log::Short;
use super::apply::{Changes, letters_of, tally_keys};
use super::documents::{self, ALL, CHECKPOINT, Checkpoint, Entry, Tally, bytes, entry_key};

/// Events of the log that are read at once.
pub(super) const EVENTS_MAX: u32 = 500;
/// Documents that are read at once.
pub(super) const DOCUMENTS_MAX: u32 = 1_000;
/// Reads at the same time.
const READS_MAX: usize = 8;
/// Writes at the same time.
const WRITES_MAX: usize = 200;
/// The lease of whoever follows.
const LEASE: &str = "letters";
/// When the next one may follow after a process that died.
const LEASE_TIME: Duration = Duration::from_secs(10);
/// How long to wait for another process that follows, while it makes no progress.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a closed letter is remembered. A duplicate of its opening comes from a redelivery, and no message lives
/// that long.
const CLOSED_KEPT: Duration = Duration::from_secs(60 * 86_400);
/// How long a tally of nothing is kept: far longer than a page takes.
const EMPTY_KEPT: Duration = Duration::from_secs(86_400);

#[derive(Debug)]
pub(super) struct Projector {
    pub(super) queue: Arc<dyn Queue>,
    pub(super) state: Arc<dyn State>,
    /// A lease that is asked for by its holder is renewed, so the tasks of this process take turns.
    pub(super) turn: Mutex<()>,
    /// A log that ended before the checkpoint, since when it does.
    pub(super) short: StdMutex<Option<Short>>,
    /// Whether this process has once seen all that was in the log when it asked. What follows later is a matter of time.
    caught_up: AtomicBool,
    holder: String,
}

/// A document to be written, or removed.
#[derive(Debug)]
pub(super) struct Pending {
    key: String,
    value: Option<Vec<u8>>,
    time_to_live: Option<Duration>,
}

impl Pending {
    pub(super) fn put(key: String, value: Vec<u8>) -> Self {
        Self { key, value: Some(value), time_to_live: None }
    }

    pub(super) fn remove(key: String) -> Self {
        Self { key, value: None, time_to_live: None }
    }

    fn ending(self, time_to_live: Option<Duration>) -> Self {
        Self { time_to_live, ..self }
    }
}

impl Projector {
    pub(super) fn new(queue: Arc<dyn Queue>, state: Arc<dyn State>) -> Self {
        let holder = Uuid::new_v4().to_string();
        Self {
            queue,
            state,
            turn: Mutex::default(),
            short: StdMutex::default(),
            caught_up: AtomicBool::default(),
            holder,
        }
    }

    pub(super) async fn checkpoint(&self) -> Result<Checkpoint, PortError> {
        Ok(documents::read(self.state.get(CHECKPOINT).await?.as_ref()).unwrap_or_default())
    }

    /// The entries of letters; those without one are left out.
    pub(super) async fn entries(&self, ids: &BTreeSet<Uuid>) -> Result<BTreeMap<Uuid, Entry>, PortError> {
        let keys: Vec<String> = ids.iter().map(entry_key).collect();
        let found = self.documents(&keys).await?;
        let read = |(id, document): (&Uuid, Option<Versioned>)| {
            documents::read(document.as_ref()).map(|entry| (*id, entry))
        };
        Ok(ids.iter().zip(found).filter_map(read).collect())
    }

    async fn documents(&self, keys: &[String]) -> Result<Vec<Option<Versioned>>, PortError> {
        let read = async |chunk: &[String]| {
            let keys: Vec<&str> = chunk.iter().map(String::as_str).collect();
            self.state.get_many(&keys).await
        };
        let pages: Vec<Vec<_>> =
            stream::iter(keys.chunks(READ_KEYS_MAX)).map(read).buffered(READS_MAX).try_collect().await?;
        Ok(pages.into_iter().flatten().collect())
    }

    /// Brings the documents in step with the log as it is now. The first time it does not take for all what a replica
    /// of the log says that lags behind: a command has no second time.
    pub(super) async fn refresh(&self) -> Result<Checkpoint, PortError> {
        let _turn = self.turn.lock().await;
        let is_first = !self.caught_up.load(Ordering::Relaxed);
        let least = if is_first { self.queue.dead_letters_end().await? } else { 0 };
        let checkpoint = self.reach(least).await?;
        self.caught_up.store(true, Ordering::Relaxed);
        Ok(checkpoint)
    }

    /// Goes on to the log's end, which is not before `least`.
    async fn reach(&self, least: u64) -> Result<Checkpoint, PortError> {
        let mut seen = None;
        let mut deadline = Instant::now() + PATIENCE;
        loop {
            let checkpoint = self.checkpoint().await?;
            if !checkpoint.is_resetting && checkpoint.position >= least {
                let end = self.queue.scan_dead_letters(checkpoint.position, 1).await?.next;
                if self.lags(checkpoint.position, end, Instant::now()) || end == checkpoint.position {
                    return Ok(checkpoint);
                }
            }
            match self.under_lease(async |fence| self.advance(fence).await).await {
                Ok(Some(checkpoint)) if checkpoint.position >= least => return Ok(checkpoint),
                Ok(_) | Err(PortError::Fenced(_)) => {}
                Err(problem) => return Err(problem),
            }
            if seen.replace(checkpoint.position) != Some(checkpoint.position) {
                deadline = Instant::now() + PATIENCE;
            }
            if Instant::now() >= deadline {
                return Err(PortError::Unavailable(
                    "the list of dead letters is not up to date: another process sees to it and makes no progress, or \
                     a replica of their log lags behind; try again in a minute"
                        .into(),
                ));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Does something as the one who follows; `None` when that is another process.
    pub(super) async fn under_lease<T>(
        &self,
        work: impl AsyncFnOnce(&Fence) -> Result<T, PortError>,
    ) -> Result<Option<T>, PortError> {
        let Some(grant) = self.state.acquire_lease(LEASE, &self.holder, LEASE_TIME).await? else {
            return Ok(None);
        };
        let fence = Fence { lease: LEASE.to_owned(), term: grant.term };
        let outcome = work(&fence).await;
        if let Err(problem) = self.state.release_lease(&fence, &self.holder).await {
            tracing::debug!(%problem, "the lease of the dead letters ends by itself");
        }
        outcome.map(Some)
    }

    pub(super) async fn renew(&self, fence: &Fence, renewed: &mut Instant) -> Result<(), PortError> {
        if renewed.elapsed() < LEASE_TIME / 4 {
            return Ok(());
        }
        *renewed = Instant::now();
        if self.state.renew_lease(fence, &self.holder, LEASE_TIME).await? {
            return Ok(());
        }
        Err(PortError::Fenced("another process follows the dead letters now".into()))
    }

    pub(super) async fn advance(&self, fence: &Fence) -> Result<Checkpoint, PortError> {
        let mut checkpoint = self.checkpoint().await?;
        let mut renewed = Instant::now();
        loop {
            if checkpoint.is_resetting {
                self.clear(fence, &mut renewed).await?;
                checkpoint = Checkpoint::default();
            }
            let page = self.queue.scan_dead_letters(checkpoint.position, EVENTS_MAX).await?;
            if self.lags(checkpoint.position, page.next, Instant::now()) {
                return Ok(checkpoint);
            }
            if page.next < checkpoint.position {
                tracing::warn!("The log of dead letters is another one than it was; the list is built anew.");
                // While their letters are known: the list that is built from this log will not name them.
                self.forget_marks(page.next, fence, &mut renewed).await?;
                checkpoint.is_resetting = true;
                self.write(vec![Pending::put(CHECKPOINT.into(), bytes(&checkpoint))], fence).await?;
                continue;
            }
            let at_end = page.at_end;
            if page.next > checkpoint.position {
                checkpoint = self.take(page, &checkpoint, fence).await?;
            }
            if at_end {
                return Ok(checkpoint);
            }
            self.renew(fence, &mut renewed).await?;
        }
    }

    /// Begins again from the beginning of the log.
    pub(super) async fn reset(&self) -> Result<(), PortError> {
        self.refresh().await?;
        {
            let _turn = self.turn.lock().await;
            let reset = Checkpoint { is_resetting: true, ..self.checkpoint().await? };
            let writes = vec![Pending::put(CHECKPOINT.into(), bytes(&reset))];
            let begun = self.under_lease(async |fence| self.write(writes, fence).await).await?;
            begun.ok_or_else(|| {
                PortError::Unavailable("another process follows the dead letters just now; try again".into())
            })?;
        }
        self.refresh().await.map(drop)
    }

    /// Brings the documents in step with one page of the log; the checkpoint last.
    async fn take(
        &self,
        page: DeadLetterPage,
        checkpoint: &Checkpoint,
        fence: &Fence,
    ) -> Result<Checkpoint, PortError> {
        let after = Checkpoint {
            position: page.next,
            unreadable: checkpoint.unreadable + page.unreadable,
            ..checkpoint.clone()
        };
        let mut entries = self.entries(&letters_of(&page.entries)).await?;
        let changes = Changes::of(page.entries, &mut entries);
        self.mark_killers(&changes, &entries).await?;
        let mut writes = self.tallies_after(&changes).await?;
        writes.extend(
            changes.letters.iter().filter_map(|id| entries.get(id).map(|entry| put_entry(id, entry))),
        );
        let opening = |id: &Uuid| entries.get(id).and_then(|entry| entry.opened.as_ref());
        writes.extend(changes.shown.iter().filter_map(|(id, summary)| {
            opening(id).map(|opening| Pending::put(opening.summary_key(id), bytes(summary)))
        }));
        let hidden = changes.hidden.iter();
        writes.extend(
            hidden.filter_map(|id| opening(id).map(|opening| Pending::remove(opening.summary_key(id)))),
        );
        self.write(writes, fence).await?;
        self.write(vec![Pending::put(CHECKPOINT.into(), bytes(&after))], fence).await?;
        Ok(after)
    }

    /// Marks what the queue itself buried, which knows no marks, for as long as it is open.
    async fn mark_killers(
        &self,
        changes: &Changes,
        entries: &BTreeMap<Uuid, Entry>,
    ) -> Result<(), PortError> {
        let state = self.state.as_ref();
        for letter in changes.shown.values().filter(|letter| letter.reason == Reason::Poison) {
            if let Some(key) = &letter.key {
                dead_mark::add(state, key, letter.id, letter.at).await?;
            }
        }
        for id in &changes.hidden {
            let opening = entries.get(id).and_then(|entry| entry.opened.as_ref());
            let opening = opening.filter(|opening| opening.signature.reason == Reason::Poison);
            // Whoever closed it removed its mark before the list, built anew, set it again.
            if let Some(key) = opening.and_then(|opening| opening.key.as_ref()) {
                dead_mark::remove(state, key, &[*id]).await?;
            }
        }
        Ok(())
    }

    async fn tallies_after(&self, changes: &Changes) -> Result<Vec<Pending>, PortError> {
        let keys: BTreeSet<String> =
            changes.counted.iter().flat_map(|counted| tally_keys(&counted.opening.signature)).collect();
        let keys: Vec<String> = keys.into_iter().collect();
        let found = self.documents(&keys).await?;
        let mut tallies: BTreeMap<String, Option<Tally>> =
            keys.into_iter().zip(found.iter().map(|document| documents::read(document.as_ref()))).collect();
        for counted in &changes.counted {
            for key in tally_keys(&counted.opening.signature) {
                if let Some(tally) = tallies.get_mut(&key) {
                    *tally = Some(counted.count_in(tally.take()));
                }
            }
        }
        Ok(tallies.into_iter().filter_map(|(key, tally)| tally.map(|tally| put_tally(key, &tally))).collect())
    }

    pub(super) async fn write(&self, writes: Vec<Pending>, fence: &Fence) -> Result<(), PortError> {
        let write = async |pending: Pending| -> Result<(), PortError> {
            let value = pending.value.as_deref();
            let time_to_live = pending.time_to_live;
            let write = Write { value, time_to_live, fence: Some(fence), ..Write::delete(&pending.key) };
            self.state.write(write).await.map(drop)
        };
        stream::iter(writes).map(Ok).try_for_each_concurrent(WRITES_MAX, write).await
    }

    /// Removes all documents, the checkpoint last.
    async fn clear(&self, fence: &Fence, renewed: &mut Instant) -> Result<(), PortError> {
        loop {
            let found = self.state.scan(ALL, None, DOCUMENTS_MAX).await?;
            let keys = found.into_iter().map(|(key, _)| key).filter(|key| key != CHECKPOINT);
            let writes: Vec<Pending> = keys.map(Pending::remove).collect();
            if writes.is_empty() {
                return self.write(vec![Pending::remove(CHECKPOINT.into())], fence).await;
            }
            self.write(writes, fence).await?;
            self.renew(fence, renewed).await?;
        }
    }
}

pub(super) fn put_entry(id: &Uuid, entry: &Entry) -> Pending {
    let kept = entry.ending.is_some().then_some(CLOSED_KEPT);
    Pending::put(entry_key(id), bytes(entry)).ending(kept)
}

pub(super) fn put_tally(key: String, tally: &Tally) -> Pending {
    let kept = (tally.count == 0).then_some(EMPTY_KEPT);
    Pending::put(key, bytes(tally)).ending(kept)
}
