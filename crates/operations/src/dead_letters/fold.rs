//! The open dead letters in memory, folded from the log page by page. Pure.

use std::collections::{BTreeMap, BTreeSet};

use shared::dead_letter::{DeadLetter, DeadLetterEvent, OpenLetters};
use shared::fault::cut;
use shared::ports::queue::DeadLetterPage;
use shared::record_key::RecordKey;
use uuid::Uuid;

use super::select::{Filter, LetterSummary};

/// Most open dead letters held; the newer ones show when half of them are closed.
pub const LETTERS_MAX: usize = 50_000;
/// Longest text of a summary, in characters.
const TEXT_CHARS_MAX: usize = 300;
/// The fold and its position in the log.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    open: OpenLetters,
    places: BTreeMap<Uuid, Place>,
    position: u64,
    unreadable: u64,
    is_cut: bool,
    /// The flows that a gauge was set for.
    pub(crate) measured: BTreeSet<String>,
}

#[derive(Debug)]
struct Place {
    /// Where the page begins that the letter stands in.
    page: u64,
    attempts: usize,
}

impl Fold {
    /// Where to read on.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Takes the page at the present position into account; answers whether there is more to read.
    pub(crate) fn take(&mut self, page: DeadLetterPage) -> bool {
        let (next, at_end) = (page.next, page.at_end);
        self.unreadable += page.unreadable;
        page.into_events().for_each(|event| self.apply(event));
        self.position = next;
        !at_end
    }

    fn apply(&mut self, event: DeadLetterEvent) {
        match event {
            DeadLetterEvent::Opened { mut letter } => {
                if self.places.contains_key(&letter.id) || self.open.is_resolved(&letter.id) {
                    return;
                }
                if self.places.len() >= LETTERS_MAX {
                    self.is_cut = true;
                    return;
                }
                let place = Place { page: self.position, attempts: letter.attempts.len() };
                self.places.insert(letter.id, place);
                lighten(&mut letter);
                self.open.apply(DeadLetterEvent::Opened { letter });
            }
            DeadLetterEvent::Resolved { id, .. } => {
                self.places.remove(&id);
                self.open.apply(event);
            }
        }
    }

    /// Whether letters were left out and there is room for them now.
    pub(crate) fn must_start_over(&self) -> bool {
        self.is_cut && self.places.len() < LETTERS_MAX / 2
    }

    /// Forgets everything, to read the log from its beginning.
    pub(crate) fn start_over(&mut self) {
        *self = Self { measured: std::mem::take(&mut self.measured), ..Self::default() };
    }

    pub(crate) fn unreadable(&self) -> u64 {
        self.unreadable
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }

    pub(crate) fn is_open(&self, id: &Uuid) -> bool {
        self.places.contains_key(id)
    }

    pub(crate) fn is_closed(&self, id: &Uuid) -> bool {
        self.open.is_resolved(id)
    }

    /// Where the page begins that an open letter stands in.
    pub(crate) fn page(&self, id: &Uuid) -> Option<u64> {
        self.places.get(id).map(|place| place.page)
    }

    /// The record of an open letter, where it is known.
    pub(crate) fn key(&self, id: &Uuid) -> Option<RecordKey> {
        self.open.get(id).and_then(|letter| letter.key.clone())
    }

    /// The open letters that match, oldest first.
    pub(crate) fn summaries(&self, filter: &Filter) -> Vec<LetterSummary> {
        let matching = self.open.oldest_first().into_iter().filter(|letter| filter.matches(letter));
        let attempts = |letter: &DeadLetter| self.places.get(&letter.id).map_or(0, |place| place.attempts);
        matching.map(|letter| LetterSummary::of(letter, attempts(letter))).collect()
    }
}

/// Drops what only the whole letter shows.
fn lighten(letter: &mut DeadLetter) {
    letter.message = String::new();
    letter.attempts = Vec::new();
    letter.answer = None;
    letter.text = cut(&letter.text, TEXT_CHARS_MAX);
}
