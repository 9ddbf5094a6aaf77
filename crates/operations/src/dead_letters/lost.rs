//! Letters whose records the log has dropped: it was full, or they were too old. They are rare, and then many: all
//! open letters are gone through, and counted anew.

use std::collections::{BTreeMap, BTreeSet};

use shared::dead_mark;
use shared::ports::PortError;
use shared::ports::state::Fence;
use tokio::time::Instant;
use uuid::Uuid;

use super::apply::tally_keys;
use super::documents::{
    self, CHECKPOINT, COUNTS, Checkpoint, Ending, Entry, GROUPS, LetterSummary, OPEN, Opening, Tally, bytes,
};
use super::projector::{DOCUMENTS_MAX, Pending, Projector, put_entry, put_tally};

impl Projector {
    /// Closes the letters whose records the log has dropped, and takes their marks away: the sweeps look at the
    /// records again. Safe to repeat.
    pub(super) async fn close_lost(&self) -> Result<(), PortError> {
        let checkpoint = self.refresh().await?;
        let page = self.queue.scan_dead_letters(0, 1).await?;
        let oldest = page.entries.first().map_or(page.next, |first| first.position);
        if oldest <= checkpoint.oldest {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        // Where another process follows just now, the next round does it.
        self.under_lease(async |fence| self.close_before(oldest, fence).await).await.map(drop)
    }

    async fn close_before(&self, oldest: u64, fence: &Fence) -> Result<(), PortError> {
        // A page that another process left half done is finished first, or it would be counted twice.
        let checkpoint = self.advance(fence).await?;
        let mut renewed = Instant::now();
        let (mut kept, mut lost, mut after) = (Recount::default(), 0usize, None);
        loop {
            let found = self.state.scan(OPEN, after.as_deref(), DOCUMENTS_MAX).await?;
            let Some((last, _)) = found.last() else { break };
            after = Some(last.clone());
            let letters: Vec<(&String, LetterSummary)> = found
                .iter()
                .filter_map(|(key, document)| documents::read(Some(document)).map(|letter| (key, letter)))
                .collect();
            let ids: BTreeSet<Uuid> = letters.iter().map(|(_, letter)| letter.id).collect();
            let mut entries = self.entries(&ids).await?;
            let (mut closed, mut hidden) = (Vec::new(), Vec::new());
            for (key, letter) in letters {
                let Some(opening) = entries.remove(&letter.id).and_then(|entry| entry.opened) else {
                    continue;
                };
                if letter.position >= oldest {
                    kept.add(letter.id, &opening, checkpoint.position);
                    continue;
                }
                lost += 1;
                if let Some(key) = &letter.key {
                    dead_mark::remove(self.state.as_ref(), key, &[letter.id]).await?;
                }
                let entry = Entry { opened: Some(opening), ending: Some(Ending::Dropped) };
                closed.push(put_entry(&letter.id, &entry));
                hidden.push(Pending::remove(key.clone()));
            }
            // In this order: by its summary it is found again after a crash in between.
            self.write(closed, fence).await?;
            self.write(hidden, fence).await?;
            self.renew(fence, &mut renewed).await?;
        }
        if lost > 0 {
            tracing::warn!(
                lost,
                "The log of dead letters dropped its oldest records, and with them open letters."
            );
        }
        self.write_tallies(kept.tallies, fence).await?;
        let after = Checkpoint { oldest: kept.oldest.unwrap_or(oldest), ..checkpoint };
        self.write(vec![Pending::put(CHECKPOINT.into(), bytes(&after))], fence).await
    }

    /// Writes the tallies that were counted, and removes all others.
    async fn write_tallies(&self, tallies: BTreeMap<String, Tally>, fence: &Fence) -> Result<(), PortError> {
        for prefix in [COUNTS, GROUPS] {
            let mut after = None;
            loop {
                let found = self.state.scan(prefix, after.as_deref(), DOCUMENTS_MAX).await?;
                let Some((last, _)) = found.last() else { break };
                after = Some(last.clone());
                let gone = found.into_iter().map(|(key, _)| key).filter(|key| !tallies.contains_key(key));
                self.write(gone.map(Pending::remove).collect(), fence).await?;
            }
        }
        self.write(tallies.into_iter().map(|(key, tally)| put_tally(key, &tally)).collect(), fence).await
    }
}

/// Counts open letters anew.
#[derive(Debug, Default)]
struct Recount {
    tallies: BTreeMap<String, Tally>,
    oldest: Option<u64>,
}

impl Recount {
    /// `position` is where the log is read on: all events before it are counted.
    fn add(&mut self, id: Uuid, opening: &Opening, position: u64) {
        let oldest = self.oldest.get_or_insert(opening.position);
        *oldest = opening.position.min(*oldest);
        for key in tally_keys(&opening.signature) {
            let new = || Tally {
                signature: opening.signature.clone(),
                count: 0,
                first: opening.at,
                last: opening.at,
                example: id,
                position: position.saturating_sub(1),
            };
            let tally = self.tallies.entry(key).or_insert_with(new);
            tally.count += 1;
            tally.first = tally.first.min(opening.at);
            if opening.at >= tally.last {
                (tally.last, tally.example) = (opening.at, id);
            }
        }
    }
}
