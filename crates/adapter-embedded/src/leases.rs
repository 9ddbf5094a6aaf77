//! The rows of leases.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};
use shared::clock::later;
use shared::ports::state::{Fence, Grant};

use crate::documents::next_number;
use crate::time;

/// Takes a lease, or renews the one that `holder` has; `None` when somebody else has it.
pub(crate) fn acquire(
    connection: &Connection,
    name: &str,
    holder: &str,
    ttl: Duration,
    now: Timestamp,
) -> rusqlite::Result<Option<Grant>> {
    let sql = "SELECT holder, term FROM lease WHERE name = ?1 AND ends_at > ?2";
    let present: Option<(String, i64)> = connection
        .prepare_cached(sql)?
        .query_row(params![name, time::floor(now)], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let term = match present {
        Some((other, _)) if other != holder => return Ok(None),
        Some((_, term)) => term,
        None => next_number(connection)?,
    };
    let sql = "INSERT INTO lease (name, holder, term, ends_at) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (name) DO UPDATE
               SET holder = excluded.holder, term = excluded.term, ends_at = excluded.ends_at";
    let ends_at = time::ceil(later(now, ttl));
    connection.prepare_cached(sql)?.execute(params![name, holder, term, ends_at])?;
    Ok(Some(Grant { term: time::number(term) }))
}

/// Renews a lease; `false` when it is not held by `holder` under this term.
pub(crate) fn renew(
    connection: &Connection,
    fence: &Fence,
    holder: &str,
    ttl: Duration,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let sql = "UPDATE lease SET ends_at = ?5 WHERE name = ?1 AND term = ?2 AND holder = ?3 AND ends_at > ?4";
    let ends_at = time::ceil(later(now, ttl));
    let values = params![fence.lease, time::column(fence.term), holder, time::floor(now), ends_at];
    Ok(connection.prepare_cached(sql)?.execute(values)? > 0)
}

/// Ends a lease, if `holder` has it under this term.
pub(crate) fn release(connection: &Connection, fence: &Fence, holder: &str) -> rusqlite::Result<()> {
    let sql = "DELETE FROM lease WHERE name = ?1 AND term = ?2 AND holder = ?3";
    let values = params![fence.lease, time::column(fence.term), holder];
    connection.prepare_cached(sql)?.execute(values).map(|_| ())
}

/// Whether a lease is held under this term.
pub(crate) fn is_held(connection: &Connection, fence: &Fence, now: Timestamp) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM lease WHERE name = ?1 AND term = ?2 AND ends_at > ?3";
    let values = params![fence.lease, time::column(fence.term), time::floor(now)];
    connection.prepare_cached(sql)?.exists(values)
}

/// Ends all leases. Terms go on rising: they come from the directory's one sequence.
pub(crate) fn end_all(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM lease", []).map(|_| ())
}

/// Removes up to `limit` leases that have ended.
pub(crate) fn prune(connection: &Connection, now: Timestamp, limit: u32) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM lease WHERE name IN (SELECT name FROM lease WHERE ends_at <= ?1 LIMIT ?2)";
    connection.prepare_cached(sql)?.execute(params![time::floor(now), limit])
}
