//! The open dead letters in memory, folded from the log page by page. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
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
/// How long a closed letter is remembered as closed. A duplicate of its opening comes from a redelivery, and no
/// message lives that long.
const CLOSED_KEPT: Duration = Duration::from_secs(60 * 86_400);

/// The fold and its position in the log.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    open: OpenLetters,
    places: BTreeMap<Uuid, Place>,
    position: u64,
    unreadable_before: u64,
    unreadable_here: u64,
    is_cut: bool,
    newest: Timestamp,
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

    /// Takes the page at the present position into account; answers whether there is more to read. The last page
    /// is read again next time, which changes nothing that is already known.
    pub(crate) fn take(&mut self, page: DeadLetterPage) -> bool {
        page.events.into_iter().for_each(|event| self.apply(event));
        self.unreadable_here = page.unreadable;
        self.forget_old();
        match page.next {
            Some(next) if next > self.position => {
                self.position = next;
                self.unreadable_before += std::mem::take(&mut self.unreadable_here);
                true
            }
            _ => false,
        }
    }

    fn apply(&mut self, event: DeadLetterEvent) {
        match event {
            DeadLetterEvent::Opened { mut letter } => {
                self.newest = self.newest.max(letter.at);
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
            DeadLetterEvent::Resolved { id, at, .. } => {
                self.newest = self.newest.max(at);
                self.places.remove(&id);
                self.open.apply(event);
            }
        }
    }

    fn forget_old(&mut self) {
        if let Ok(at) = self.newest.checked_sub(CLOSED_KEPT) {
            self.open.forget_resolved_before(at);
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
        self.unreadable_before + self.unreadable_here
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

#[cfg(test)]
mod tests {
    use shared::dead_letter::{Reason, Resolution};

    use super::*;

    fn opened(n: u128, at: i64) -> DeadLetterEvent {
        let at = Timestamp::from_second(at).unwrap();
        let bytes = n.to_be_bytes();
        let mut letter =
            DeadLetter::of_bytes(&bytes, None, Reason::Unreadable, "no_json", "no JSON", "w", at);
        letter.id = Uuid::from_u128(n);
        DeadLetterEvent::Opened { letter: Box::new(letter) }
    }

    fn closed(n: u128, at: i64) -> DeadLetterEvent {
        let at = Timestamp::from_second(at).unwrap();
        let (by, note) = ("anna".to_owned(), String::new());
        DeadLetterEvent::Resolved { id: Uuid::from_u128(n), resolution: Resolution::Discarded, by, note, at }
    }

    fn page(events: Vec<DeadLetterEvent>, next: Option<u64>) -> DeadLetterPage {
        DeadLetterPage { events, unreadable: 1, next }
    }

    #[test]
    fn reading_the_last_page_again_changes_nothing() {
        let mut fold = Fold::default();
        assert!(fold.take(page(vec![opened(1, 1), opened(2, 2)], Some(2))));
        for _ in 0..3 {
            assert!(!fold.take(page(vec![closed(1, 3), opened(1, 3), opened(3, 3)], None)));
            let ids: Vec<u128> =
                fold.summaries(&Filter::default()).iter().map(|letter| letter.id.as_u128()).collect();
            assert_eq!((ids, fold.unreadable(), fold.position()), (vec![2, 3], 2, 2));
        }
        assert_eq!((fold.page(&Uuid::from_u128(2)), fold.page(&Uuid::from_u128(3))), (Some(0), Some(2)));
        assert!(fold.is_closed(&Uuid::from_u128(1)) && !fold.is_open(&Uuid::from_u128(1)));
    }

    #[test]
    fn memory_is_bounded_and_what_was_left_out_shows_when_there_is_room() {
        let mut fold = Fold::default();
        let log: Vec<DeadLetterEvent> = (0..LETTERS_MAX as u128 + 10).map(|n| opened(n, 1)).collect();
        fold.take(page(log, None));
        assert_eq!((fold.places.len(), fold.is_cut(), fold.must_start_over()), (LETTERS_MAX, true, false));
        fold.take(page((0..LETTERS_MAX as u128 / 2 + 1).map(|n| closed(n, 2)).collect(), None));
        assert!(fold.must_start_over());
        fold.start_over();
        assert_eq!((fold.position(), fold.is_cut()), (0, false));
    }

    #[test]
    fn closed_letters_are_forgotten_after_a_while() {
        let mut fold = Fold::default();
        fold.take(page(vec![opened(1, 1), closed(1, 2)], None));
        assert!(fold.is_closed(&Uuid::from_u128(1)));
        fold.take(page(vec![opened(2, 61 * 86_400)], None));
        assert!(!fold.is_closed(&Uuid::from_u128(1)));
    }
}
