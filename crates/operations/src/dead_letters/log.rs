//! Reading whole letters from the log.

use std::collections::BTreeMap;

use shared::dead_letter::{DeadLetter, DeadLetterEvent};
use shared::ports::PortError;
use uuid::Uuid;

use super::DeadLetterDesk;
use super::apply::letters_of;
use super::documents::LetterSummary;
use super::projector::{EVENTS_MAX, Projector};
use super::select::Filter;

/// What a page of the log says of letters.
#[derive(Debug, Clone, PartialEq)]
pub struct News {
    /// The letters that were opened there, are open now and match, in the order of the log.
    pub letters: Vec<DeadLetter>,
    /// Where to read on.
    pub next: u64,
    /// Whether there is nothing behind it for now.
    pub at_end: bool,
}

impl DeadLetterDesk {
    /// Where the log ends now.
    ///
    /// # Errors
    /// As the ports'.
    pub async fn end(&self) -> Result<u64, PortError> {
        Ok(self.projector.refresh().await?.position)
    }

    /// The open letters that match, of one page of the log from a position on; from 0 on, page by page, these are all.
    ///
    /// # Errors
    /// As the ports'.
    pub async fn news(&self, from: u64, filter: &Filter) -> Result<News, PortError> {
        let known = self.projector.refresh().await?.position;
        let mut page = self.queue().scan_dead_letters(from, EVENTS_MAX).await?;
        // What was appended in between has no entry yet; it is read the next time.
        page.entries.retain(|entry| entry.position < known);
        let entries = self.projector.entries(&letters_of(&page.entries)).await?;
        let next = next(from, page.next, known);
        let at_end = page.at_end || next >= known;
        let is_here = |id: &Uuid, position: u64| {
            let opening = entries.get(id).and_then(|entry| entry.open());
            opening.is_some_and(|opening| opening.position == position)
        };
        let letters = page.entries.into_iter().filter_map(|entry| match entry.event {
            DeadLetterEvent::Opened { letter } if is_here(&letter.id, entry.position) => {
                filter.matches(&LetterSummary::of(&letter, entry.position)).then_some(*letter)
            }
            _ => None,
        });
        Ok(News { letters: letters.collect(), next, at_end })
    }
}

impl Projector {
    /// The whole letters that stand at these positions, as far as the log still has them. Letters that stand close
    /// to each other are read together.
    pub(super) async fn whole(&self, places: &[(Uuid, u64)]) -> Result<Vec<DeadLetter>, PortError> {
        let mut wanted: BTreeMap<u64, Uuid> = places.iter().map(|(id, position)| (*position, *id)).collect();
        let mut letters = Vec::new();
        while let Some((&first, _)) = wanted.first_key_value() {
            let reach = first + u64::from(EVENTS_MAX);
            let last = wanted.range(..reach).next_back().map_or(first, |(last, _)| *last);
            let limit = u32::try_from(last - first + 1).unwrap_or(EVENTS_MAX);
            let page = self.queue.scan_dead_letters(first, limit).await?;
            for entry in page.entries {
                if let DeadLetterEvent::Opened { letter } = entry.event
                    && wanted.get(&entry.position) == Some(&letter.id)
                {
                    letters.push(*letter);
                }
            }
            wanted = wanted.split_off(&(last + 1));
        }
        Ok(letters)
    }
}

/// Where to read on, behind nothing that is not known yet. Before `from` only where both looks say that the log ends
/// there: it is another log. A single one may be of a replica that lags.
fn next(from: u64, page_next: u64, known: u64) -> u64 {
    let both = page_next.min(known);
    if page_next.max(known) < from { both } else { both.max(from) }
}
