//! What the events of one page of the log change in the documents. Pure.
//!
//! Each document says which event it has seen last, so that a page that was begun before and not finished is
//! finished by applying it again, whichever of its documents were written.

use std::collections::{BTreeMap, BTreeSet};

use shared::dead_letter::{DeadLetter, DeadLetterEvent};
use shared::fault::cut;
use shared::ports::queue::LogEntry;
use uuid::Uuid;

use super::documents::{COUNTS, Ending, Entry, GROUPS, LetterSummary, Opening, Tally};
use super::signature::Signature;

/// Longest note of an ending, in characters.
const NOTE_CHARS_MAX: usize = 500;

/// The letters that events are about.
pub(super) fn letters_of(events: &[LogEntry]) -> BTreeSet<Uuid> {
    let id = |entry: &LogEntry| match &entry.event {
        DeadLetterEvent::Opened { letter } => letter.id,
        DeadLetterEvent::Resolved { id, .. } => *id,
    };
    events.iter().map(id).collect()
}

/// What a page changes.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Letters whose entry must be written.
    pub(super) letters: BTreeSet<Uuid>,
    /// Summaries of letters that are open after the page.
    pub(super) shown: BTreeMap<Uuid, LetterSummary>,
    /// Letters that are closed after the page, whose summaries must go.
    pub(super) hidden: BTreeSet<Uuid>,
    /// Letters opened and closed, in the order of the log.
    pub(super) counted: Vec<Counted>,
}

/// A letter that was opened or closed.
#[derive(Debug, Clone)]
pub(super) struct Counted {
    /// The letter.
    pub(super) id: Uuid,
    /// Where in the log this happened.
    pub(super) position: u64,
    /// Whether it was opened.
    pub(super) is_opening: bool,
    /// Its opening.
    pub(super) opening: Opening,
}

impl Changes {
    /// Applies a page to the entries of its letters.
    pub(super) fn of(events: Vec<LogEntry>, entries: &mut BTreeMap<Uuid, Entry>) -> Self {
        let mut changes = Self::default();
        for LogEntry { position, event } in events {
            match event {
                DeadLetterEvent::Opened { letter } => {
                    changes.opened(position, &letter, entries.entry(letter.id).or_default());
                }
                DeadLetterEvent::Resolved { id, resolution, by, note, edited, at } => {
                    let note = cut(&note, NOTE_CHARS_MAX);
                    let ending = Ending::Resolved { position, resolution, by, note, edited, at };
                    changes.resolved(position, id, ending, entries.entry(id).or_default());
                }
            }
        }
        changes
    }

    fn opened(&mut self, position: u64, letter: &DeadLetter, entry: &mut Entry) {
        let id = letter.id;
        match &entry.opened {
            // What was closed before it was opened stays closed.
            None if entry.ending.is_some() => return,
            None => {
                let (signature, key) = (Signature::of(letter), letter.key.clone());
                entry.opened = Some(Opening { position, at: letter.at, signature, key });
                self.letters.insert(id);
            }
            Some(opening) if opening.position == position => {}
            Some(_opened_before) => return,
        }
        let Some(opening) = entry.opened.clone() else { return };
        self.counted.push(Counted { id, position, is_opening: true, opening });
        if entry.ending.is_none() {
            self.shown.insert(id, LetterSummary::of(letter, position));
        }
    }

    fn resolved(&mut self, position: u64, id: Uuid, ending: Ending, entry: &mut Entry) {
        match &entry.ending {
            None => {
                entry.ending = Some(ending);
                self.letters.insert(id);
            }
            Some(Ending::Resolved { position: before, .. }) if *before == position => {}
            Some(_ended_before) => return,
        }
        self.shown.remove(&id);
        if let Some(opening) = entry.opened.clone() {
            self.hidden.insert(id);
            self.counted.push(Counted { id, position, is_opening: false, opening });
        }
    }
}

impl Counted {
    /// Counts it, unless the tally has it.
    pub(super) fn count_in(&self, tally: Option<Tally>) -> Tally {
        let Opening { at, signature, .. } = &self.opening;
        let new = || Tally {
            signature: signature.clone(),
            count: 0,
            first: *at,
            last: *at,
            example: self.id,
            position: 0,
        };
        let is_new = tally.is_none();
        let mut tally = tally.unwrap_or_else(new);
        if !is_new && self.position <= tally.position {
            return tally;
        }
        tally.position = self.position;
        if !self.is_opening {
            tally.count = tally.count.saturating_sub(1);
            return tally;
        }
        if tally.count == 0 {
            (tally.first, tally.last) = (*at, *at);
        }
        tally.count += 1;
        tally.first = tally.first.min(*at);
        if *at >= tally.last {
            (tally.last, tally.example) = (*at, self.id);
        }
        tally
    }
}

/// The keys of the tallies that letters with a signature are counted in.
pub(super) fn tally_keys(signature: &Signature) -> [String; 2] {
    [
        format!("{COUNTS}{}/{}", signature.flow, signature.reason.name()),
        format!("{GROUPS}{}", signature.group()),
    ]
}
