//! The record of the first sync: begun once, whoever asks and how often.

use shared::fault::{Fault, FaultKind};

use super::first_sync::{Begin, FirstSync, Request, begin};
use super::flow::DirectoryFlow;

/// How often a request looks again at what another one wrote at the same moment.
const TRIES_MAX: u32 = 10;

impl DirectoryFlow {
    /// Asks for a first sync. The record is written before anything else is, and only where there is none, or the one
    /// that was read: of many requests at once one begins it, the others join. Whoever asks publishes
    /// [`Self::first_sync_key`] afterwards, also when it joins.
    ///
    /// # Errors
    /// As the store's.
    pub async fn request_first_sync(&self, request: &Request<'_>) -> Result<Begin, Fault> {
        for _ in 0..TRIES_MAX {
            let found = self.documents.first_sync().await?;
            let begun = begin(found.as_ref().map(|stored| &stored.link), request);
            let Begin::Start(record) = &begun else { return Ok(begun) };
            let read = found.map(|stored| stored.version);
            if self.documents.save_first_sync(record, read, None).await?.is_some() {
                tracing::info!(first_sync.id = record.id, by = record.by, "A first sync is begun.");
                return Ok(begun);
            }
        }
        let kind = FaultKind::Busy { after: std::time::Duration::from_secs(1) };
        let text = "The record of the first sync keeps changing: ask for it again.";
        Err(Fault::new(kind, "first_sync_busy", text))
    }

    /// The first sync as it stands; none where none was ever asked for.
    ///
    /// # Errors
    /// As the store's.
    pub async fn first_sync(&self) -> Result<Option<FirstSync>, Fault> {
        Ok(self.documents.first_sync().await?.map(|stored| stored.link))
    }
}
