//! The rows of documents and counters.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};
use shared::clock::later;
use shared::ports::state::{Expected, Versioned, Written};

use crate::time;

/// A document; none when it has ended.
pub(crate) fn get(connection: &Connection, key: &str, now: Timestamp) -> rusqlite::Result<Option<Versioned>> {
    let sql = "SELECT value, version FROM document WHERE key = ?1 AND (ends_at IS NULL OR ends_at > ?2)";
    let mut statement = connection.prepare_cached(sql)?;
    let versioned =
        |row: &rusqlite::Row<'_>| Ok(Versioned { value: row.get(0)?, version: time::number(row.get(1)?) });
    statement.query_row(params![key, time::floor(now)], versioned).optional()
}

/// Documents by prefix, in the order of their keys.
pub(crate) fn scan(
    connection: &Connection,
    prefix: &str,
    after: Option<&str>,
    limit: u32,
    now: Timestamp,
) -> rusqlite::Result<Vec<(String, Versioned)>> {
    let sql = "SELECT key, value, version FROM document
               WHERE key >= ?1 AND (?2 IS NULL OR key > ?2) AND (ends_at IS NULL OR ends_at > ?3)
               ORDER BY key";
    let mut statement = connection.prepare_cached(sql)?;
    // The later of the two is where the index is entered.
    let from = after.map_or(prefix, |after| after.max(prefix));
    let mut rows = statement.query(params![from, after, time::floor(now)])?;
    let mut found = Vec::new();
    while found.len() < limit as usize
        && let Some(row) = rows.next()?
    {
        let key: String = row.get(0)?;
        if !key.starts_with(prefix) {
            break;
        }
        found.push((key, Versioned { value: row.get(1)?, version: time::number(row.get(2)?) }));
    }
    Ok(found)
}

/// One write, without its fence.
#[derive(Debug)]
pub(crate) struct DocumentWrite {
    /// The key.
    pub(crate) key: String,
    /// The new content; `None` deletes.
    pub(crate) value: Option<Vec<u8>>,
    /// What must be there.
    pub(crate) expected: Expected,
    /// When the document ends by itself.
    pub(crate) time_to_live: Option<Duration>,
}

/// Writes or deletes a document.
pub(crate) fn write(
    connection: &Connection,
    write: &DocumentWrite,
    now: Timestamp,
) -> rusqlite::Result<Written> {
    let sql = "SELECT version FROM document WHERE key = ?1 AND (ends_at IS NULL OR ends_at > ?2)";
    let present: Option<i64> = connection
        .prepare_cached(sql)?
        .query_row(params![write.key, time::floor(now)], |row| row.get(0))
        .optional()?;
    if !write.expected.fits(present.map(time::number)) {
        return Ok(Written::Clash);
    }
    let Some(value) = &write.value else {
        connection.prepare_cached("DELETE FROM document WHERE key = ?1")?.execute([&write.key])?;
        return Ok(Written::Done(present.map_or(0, time::number)));
    };
    let version = next_number(connection)?;
    let ends_at = write.time_to_live.map(|ttl| time::ceil(later(now, ttl)));
    let sql = "INSERT INTO document (key, value, version, ends_at) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (key) DO UPDATE
               SET value = excluded.value, version = excluded.version, ends_at = excluded.ends_at";
    connection.prepare_cached(sql)?.execute(params![write.key, value, version, ends_at])?;
    Ok(Written::Done(time::number(version)))
}

/// The next number of the directory's one sequence.
pub(crate) fn next_number(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "UPDATE sequence SET last = last + 1 RETURNING last";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

/// Adds to a counter, which ends `window` after its first addition.
pub(crate) fn count(
    connection: &Connection,
    key: &str,
    amount: u64,
    window: Duration,
    now: Timestamp,
) -> rusqlite::Result<u64> {
    let sql = "SELECT value, ends_at FROM counter WHERE key = ?1 AND ends_at > ?2";
    let present: Option<(i64, i64)> = connection
        .prepare_cached(sql)?
        .query_row(params![key, time::floor(now)], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (before, ends_at) = present.unwrap_or_else(|| (0, time::ceil(later(now, window))));
    let value = before.saturating_add(time::column(amount));
    let sql = "INSERT INTO counter (key, value, ends_at) VALUES (?1, ?2, ?3)
               ON CONFLICT (key) DO UPDATE SET value = excluded.value, ends_at = excluded.ends_at";
    connection.prepare_cached(sql)?.execute(params![key, value, ends_at])?;
    Ok(time::number(value))
}

/// Removes up to `limit` documents and as many counters that have ended.
pub(crate) fn prune(connection: &Connection, now: Timestamp, limit: u32) -> rusqlite::Result<usize> {
    let mut removed = 0;
    for sql in [
        "DELETE FROM document WHERE id IN
         (SELECT id FROM document WHERE ends_at IS NOT NULL AND ends_at <= ?1 LIMIT ?2)",
        "DELETE FROM counter WHERE key IN (SELECT key FROM counter WHERE ends_at <= ?1 LIMIT ?2)",
    ] {
        removed += connection.prepare_cached(sql)?.execute(params![time::floor(now), limit])?;
    }
    Ok(removed)
}
