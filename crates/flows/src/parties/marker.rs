//! The status `syncing`, written beside a run that takes long.
//!
//! It is never written while a run writes the record itself, and the run knows whether it was: so it can never be
//! what is left standing.

use std::convert::Infallible;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use connector_espocrm::{EspoId, Patch, Record};
use shared::fault::Fault;
use tokio::sync::{Mutex, MutexGuard};

use super::Parties;
use super::sides::Status;

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Marked {
    /// Whether the record says `syncing` now.
    pub(super) status: bool,
    /// Whether the record was found saying so, left by a run that was killed.
    pub(super) found: bool,
    /// The record's version after that.
    pub(super) version: Option<u64>,
}

/// One run's marker.
#[derive(Debug)]
pub(super) struct Marker<'a> {
    parties: &'a Parties,
    id: EspoId,
    marked: Mutex<Marked>,
    /// Set in the moment in which the run ends: a marker that waited for its last write comes too late.
    is_over: AtomicBool,
}

impl<'a> Marker<'a> {
    pub(super) fn new(parties: &'a Parties, id: EspoId) -> Self {
        Self { parties, id, marked: Mutex::default(), is_over: AtomicBool::new(false) }
    }

    /// Keeps the marker from writing, and tells what it has written.
    pub(super) async fn hold(&self) -> MutexGuard<'_, Marked> {
        self.marked.lock().await
    }

    /// Runs `work`; writes the status once when that takes longer than `delay`.
    pub(super) async fn beside<T>(&self, delay: Duration, work: impl Future<Output = T>) -> T {
        let work = async {
            let result = work.await;
            self.is_over.store(true, Ordering::Relaxed);
            // A write that is under way is waited for, so that none arrives after the run.
            drop(self.hold().await);
            result
        };
        let mark = async {
            tokio::time::sleep(delay).await;
            self.mark().await;
            pending::<Infallible>().await
        };
        tokio::select! {
            biased;
            result = work => result,
            never = mark => match never {},
        }
    }

    async fn mark(&self) {
        let mut marked = self.hold().await;
        if marked.found || self.is_over.load(Ordering::Relaxed) {
            return;
        }
        match self.write().await {
            Ok(Some(record)) => *marked = Marked { status: true, found: false, version: record.version() },
            Ok(None) => {}
            Err(fault) => {
                tracing::debug!(error.type = fault.code, "the status syncing was not written: {fault}")
            }
        }
    }

    async fn write(&self) -> Result<Option<Record>, Fault> {
        let Parties { crm, entity_type, .. } = self.parties;
        let Some(record) = crm.get(entity_type, &self.id).await? else { return Ok(None) };
        if Status::read(record.text("syncStatus")?) == Some(Status::Syncing) {
            // Left by a run that was killed: it says so already.
            return Ok(Some(record));
        }
        self.parties.keep_time(&record).await?;
        let patch = Patch::new().set("syncStatus", Status::Syncing.word());
        crm.update(entity_type, &self.id, &patch, None).await
    }
}
