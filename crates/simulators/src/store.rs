//! A simulator's state: tables of JSON records, and the journal of how they came about.
//!
//! With a folder, every commit is one line appended in one write before it takes effect, so a kill
//! loses nothing that was answered and leaves at most one torn line, which the next start cuts off.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Bound;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::journal::{ActorKind, JournalEntry, Operation};

/// Entries kept in memory; older ones stay in the file.
const JOURNAL_ENTRIES_MAX: usize = 200_000;

/// Changes kept for what is derived from the tables.
const CHANGES_MAX: usize = 10_000;

/// One new value of one record; `None` removes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Change {
    pub(crate) table: String,
    pub(crate) id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<Value>,
}

impl Change {
    pub(crate) fn set(table: &str, id: &str, value: Value) -> Self {
        Self { table: table.to_owned(), id: id.to_owned(), value: Some(value) }
    }

    pub(crate) fn remove(table: &str, id: &str) -> Self {
        Self { table: table.to_owned(), id: id.to_owned(), value: None }
    }
}

/// What a commit leaves in the journal, without the parts the store adds.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub(crate) operation: Operation,
    pub(crate) entity: &'static str,
    pub(crate) record_id: String,
    pub(crate) actor_kind: ActorKind,
    pub(crate) actor: String,
    pub(crate) before: Option<Value>,
    pub(crate) after: Option<Value>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) entry: Option<JournalEntry>,
    pub(crate) state: Vec<Change>,
}

impl Line {
    /// All complete lines and the number of bytes they take.
    pub(crate) fn parse_all(text: &[u8]) -> io::Result<(Vec<Self>, usize)> {
        let complete = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let lines = text[..complete]
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).map_err(io::Error::other))
            .collect::<io::Result<_>>()?;
        Ok((lines, complete))
    }
}

/// Tables, journal and their file.
#[derive(Debug)]
pub struct Store {
    system: &'static str,
    tables: BTreeMap<String, BTreeMap<String, Value>>,
    journal: VecDeque<JournalEntry>,
    sequence: u64,
    revision: u64,
    /// The last changes, with the revision that they made.
    changes: VecDeque<(u64, String, String)>,
    /// Up to which revision the changes are forgotten.
    changes_forgotten: u64,
    file: Option<File>,
    /// Bytes of complete lines in the file.
    file_bytes: u64,
}

impl Store {
    /// Opens the state of `system` in `folder`, or an empty one in memory.
    pub(crate) fn open(system: &'static str, folder: Option<&Path>) -> io::Result<Self> {
        let mut store = Self {
            system,
            tables: BTreeMap::new(),
            journal: VecDeque::new(),
            sequence: 0,
            revision: 0,
            changes: VecDeque::new(),
            changes_forgotten: 0,
            file: None,
            file_bytes: 0,
        };
        if let Some(folder) = folder {
            fs::create_dir_all(folder)?;
            let path = folder.join(format!("{system}.jsonl"));
            let text = if path.exists() { fs::read(&path)? } else { Vec::new() };
            let (lines, complete) = Line::parse_all(&text)?;
            for line in lines {
                store.apply(line);
            }
            let file = OpenOptions::new().create(true).append(true).open(&path)?;
            store.file_bytes = u64::try_from(complete).map_err(io::Error::other)?;
            file.set_len(store.file_bytes)?;
            store.file = Some(file);
        }
        Ok(store)
    }

    /// Writes one line to the file, then applies it. Nothing is applied when writing fails.
    pub(crate) fn commit(&mut self, at: Timestamp, note: Option<Note>, state: Vec<Change>) -> io::Result<()> {
        let entry = note.map(|note| JournalEntry {
            sequence: self.sequence + 1,
            at,
            system: self.system.to_owned(),
            operation: note.operation,
            entity: note.entity.to_owned(),
            record_id: note.record_id,
            actor_kind: note.actor_kind,
            actor: note.actor,
            before: note.before,
            after: note.after,
        });
        let line = Line { entry, state };
        if let Some(file) = &mut self.file {
            let mut bytes = serde_json::to_vec(&line).map_err(io::Error::other)?;
            bytes.push(b'\n');
            if let Err(error) = file.write_all(&bytes).and_then(|()| file.flush()) {
                // A disk that is full took a part of the line: the next one must not follow it.
                file.set_len(self.file_bytes)?;
                return Err(error);
            }
            self.file_bytes += u64::try_from(bytes.len()).map_err(io::Error::other)?;
        }
        self.apply(line);
        Ok(())
    }

    fn apply(&mut self, line: Line) {
        self.revision += 1;
        for change in line.state {
            if self.changes.len() == CHANGES_MAX {
                let oldest = self.changes.pop_front();
                self.changes_forgotten = oldest.map_or(self.revision, |(revision, ..)| revision);
            }
            self.changes.push_back((self.revision, change.table.clone(), change.id.clone()));
            let table = self.tables.entry(change.table).or_default();
            match change.value {
                Some(value) => table.insert(change.id, value),
                None => table.remove(&change.id),
            };
        }
        if let Some(entry) = line.entry {
            self.sequence = entry.sequence;
            if self.journal.len() == JOURNAL_ENTRIES_MAX {
                self.journal.pop_front();
            }
            self.journal.push_back(entry);
        }
    }

    /// Empties tables and journal, on disk as well.
    pub(crate) fn reset(&mut self) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.set_len(0)?;
            self.file_bytes = 0;
        }
        self.tables.clear();
        self.journal.clear();
        self.sequence = 0;
        self.revision += 1;
        self.changes.clear();
        self.changes_forgotten = self.revision;
        Ok(())
    }

    pub(crate) fn get(&self, table: &str, id: &str) -> Option<&Value> {
        self.tables.get(table)?.get(id)
    }

    /// The rows of a table, by id.
    pub(crate) fn rows(&self, table: &str) -> impl DoubleEndedIterator<Item = (&String, &Value)> {
        self.tables.get(table).into_iter().flatten()
    }

    /// The rows of a table whose ids are greater than `id`.
    pub(crate) fn rows_after(&self, table: &str, id: &str) -> impl Iterator<Item = (&String, &Value)> {
        let after = (Bound::Excluded(id), Bound::Unbounded);
        self.tables.get(table).into_iter().flat_map(move |rows| rows.range::<str, _>(after))
    }

    /// Another one after every change: for what is derived from the tables.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Ids of the rows of a table that were changed after a revision; none where that is too long ago.
    pub(crate) fn changed_after(&self, table: &str, revision: u64) -> Option<Vec<&str>> {
        let before = self.changes.partition_point(|(made, ..)| *made <= revision);
        let news = self.changes.iter().skip(before).filter(|(_, own, _)| own == table);
        (revision >= self.changes_forgotten).then(|| news.map(|(_, _, id)| id.as_str()).collect())
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(crate) fn journal_after(&self, sequence: u64, entries_max: usize) -> Vec<JournalEntry> {
        let before = self.journal.partition_point(|entry| entry.sequence <= sequence);
        self.journal.iter().skip(before).take(entries_max).cloned().collect()
    }

    pub(crate) fn journal_of(&self, entity: &str) -> Vec<JournalEntry> {
        self.journal.iter().filter(|entry| entry.entity == entity).cloned().collect()
    }
}
