//! The rows of the dead-letter log.

use jiff::Timestamp;
use rusqlite::{Connection, params};
use shared::dead_letter::{DeadLetter, DeadLetterEvent};
use shared::ports::queue::{DeadLetterPage, LogEntry};

use crate::time;

/// Records of one page at most, whatever is asked for.
const PAGE_MAX: u32 = 1_000;

/// Appends the event that opens a dead letter.
pub(crate) fn open(connection: &Connection, letter: &DeadLetter) -> rusqlite::Result<()> {
    append(connection, &DeadLetterEvent::Opened { letter: Box::new(letter.clone()) })
}

/// Appends an event, unless the log has it: a dead letter is opened once and resolved once.
pub(crate) fn append(connection: &Connection, event: &DeadLetterEvent) -> rusqlite::Result<()> {
    let (letter, name, at) = match event {
        DeadLetterEvent::Opened { letter } => (letter.id, "opened", letter.at),
        DeadLetterEvent::Resolved { id, at, .. } => (*id, "resolved", *at),
    };
    // Serialising plain structs with string keys cannot fail.
    let body = serde_json::to_string(event).unwrap_or_default();
    let sql = "INSERT INTO dead_letter (letter, event, at, body) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (letter, event) DO NOTHING";
    let values = params![letter.as_bytes(), name, time::floor(at), body];
    connection.prepare_cached(sql)?.execute(values).map(|_| ())
}

/// Reads the log from a position.
pub(crate) fn scan(connection: &Connection, from: u64, limit: u32) -> rusqlite::Result<DeadLetterPage> {
    let limit = limit.clamp(1, PAGE_MAX);
    let sql = "SELECT position, body FROM dead_letter WHERE position >= ?1 ORDER BY position LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![time::column(from), i64::from(limit) + 1])?;
    let mut page = DeadLetterPage { next: from, at_end: true, ..DeadLetterPage::default() };
    let mut read = 0;
    while let Some(row) = rows.next()? {
        if read == limit {
            page.at_end = false;
            break;
        }
        read += 1;
        let position = time::number(row.get(0)?);
        page.next = position + 1;
        match serde_json::from_slice(row.get_ref(1)?.as_bytes()?) {
            Ok(event) => page.entries.push(LogEntry { position, event }),
            Err(_foreign) => page.unreadable += 1,
        }
    }
    Ok(page)
}

/// Removes up to `limit` dead letters that were resolved before `before`, with all their events.
pub(crate) fn prune(connection: &Connection, before: Timestamp, limit: u32) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM dead_letter WHERE letter IN
               (SELECT letter FROM dead_letter WHERE event = 'resolved' AND at < ?1 ORDER BY at LIMIT ?2)";
    connection.prepare_cached(sql)?.execute(params![time::floor(before), limit])
}
