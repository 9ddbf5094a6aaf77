//! The rows of messages. Everything here runs inside a transaction of the writer, except where it says so.

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};
use shared::dead_letter::{DeadLetter, Reason};
use shared::envelope::Envelope;
use shared::fault::{Fault, FaultKind};
use shared::ports::queue::{Depth, Outbound};
use shared::routing::Shard;

use crate::{dead_letters, time};

/// A message that was claimed.
#[derive(Debug)]
pub(crate) struct Claimed {
    /// Its row.
    pub(crate) seq: i64,
    /// Its bytes.
    pub(crate) body: Bytes,
    /// How often it was handed over before without being settled.
    pub(crate) deliveries_before: u32,
}

/// What a claim found.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// Claimed messages, in order.
    pub(crate) claimed: Vec<Claimed>,
    /// Where nothing was claimed: when the next delayed message is due.
    pub(crate) next_due: Option<Timestamp>,
}

/// Who claims, where, and how.
#[derive(Debug, Clone)]
pub(crate) struct Claimant {
    pub(crate) shard: Shard,
    pub(crate) consumer: i64,
    pub(crate) delivery_limit: u32,
}

/// The number of shards of a prepared flow. Needs no transaction.
pub(crate) fn shards_of(connection: &Connection, flow: &str) -> rusqlite::Result<Option<u16>> {
    let mut statement = connection.prepare_cached("SELECT shards FROM flow WHERE name = ?1")?;
    statement.query_row([flow], |row| row.get(0)).optional()
}

/// Declares a flow, or gives it another number of shards.
pub(crate) fn set_shards(connection: &Connection, flow: &str, shards: u16) -> rusqlite::Result<()> {
    let sql = "INSERT INTO flow (name, shards) VALUES (?1, ?2)
               ON CONFLICT (name) DO UPDATE SET shards = excluded.shards";
    connection.prepare_cached(sql)?.execute(params![flow, shards]).map(|_| ())
}

/// Adds messages, each at the end of its shard.
pub(crate) fn insert(connection: &Connection, messages: &[Outbound], now: Timestamp) -> rusqlite::Result<()> {
    let at = time::floor(now);
    let last: Option<i64> =
        connection.prepare_cached("SELECT max(seq) FROM message")?.query_row([], |row| row.get(0))?;
    let first = last.map_or(at, |last| at.max(last.saturating_add(1)));
    let sql =
        "INSERT INTO message (seq, flow, shard, body, enqueued_at, due_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut statement = connection.prepare_cached(sql)?;
    for (seq, message) in (first..).zip(messages) {
        let (flow, shard) = (message.shard.flow.as_str(), message.shard.number);
        let due_at = message.not_before.map_or(0, due);
        statement.execute(params![seq, flow, shard, &message.body[..], at, due_at])?;
    }
    Ok(())
}

/// The column of a time before which a message must not be delivered.
fn due(not_before: Timestamp) -> i64 {
    time::ceil(not_before).max(0)
}

/// Claims up to `limit` messages that are due, in the order of publishing. Poison goes to the dead letters.
pub(crate) fn claim(
    connection: &Connection,
    claimant: &Claimant,
    limit: usize,
    now: Timestamp,
) -> rusqlite::Result<Round> {
    release_due(connection, &claimant.shard, now)?;
    let mut claimed = Vec::new();
    while claimed.len() < limit {
        let found = first_waiting(connection, &claimant.shard, limit - claimed.len())?;
        if found.is_empty() {
            break;
        }
        for message in found {
            if message.deliveries_before > claimant.delivery_limit {
                bury(connection, claimant, &message, now)?;
            } else {
                hold(connection, message.seq, claimant.consumer)?;
                claimed.push(message);
            }
        }
    }
    let next_due = if claimed.is_empty() { next_due(connection, &claimant.shard)? } else { None };
    Ok(Round { claimed, next_due })
}

/// Lets delayed messages whose time has come take part in the order again.
fn release_due(connection: &Connection, shard: &Shard, now: Timestamp) -> rusqlite::Result<()> {
    let sql = "UPDATE message SET due_at = 0
               WHERE flow = ?1 AND shard = ?2 AND due_at > 0 AND due_at <= ?3";
    let values = params![shard.flow.as_str(), shard.number, time::floor(now)];
    connection.prepare_cached(sql)?.execute(values).map(|_| ())
}

fn first_waiting(connection: &Connection, shard: &Shard, limit: usize) -> rusqlite::Result<Vec<Claimed>> {
    let sql = "SELECT seq, body, coalesce(deliveries, 0) FROM message LEFT JOIN handed_over USING (seq)
               WHERE flow = ?1 AND shard = ?2 AND due_at = 0 AND consumer IS NULL ORDER BY seq LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let values = params![shard.flow.as_str(), shard.number, i64::try_from(limit).unwrap_or(i64::MAX)];
    let rows = statement.query_map(values, |row| {
        let body: Vec<u8> = row.get(1)?;
        Ok(Claimed { seq: row.get(0)?, body: body.into(), deliveries_before: row.get(2)? })
    })?;
    rows.collect()
}

fn next_due(connection: &Connection, shard: &Shard) -> rusqlite::Result<Option<Timestamp>> {
    let sql = "SELECT min(due_at) FROM message WHERE flow = ?1 AND shard = ?2 AND due_at > 0";
    let values = params![shard.flow.as_str(), shard.number];
    let due: Option<i64> = connection.prepare_cached(sql)?.query_row(values, |row| row.get(0))?;
    Ok(due.map(time::timestamp))
}

fn hold(connection: &Connection, seq: i64, consumer: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO handed_over (seq, deliveries, consumer) VALUES (?1, 1, ?2)
               ON CONFLICT (seq) DO UPDATE SET deliveries = deliveries + 1, consumer = excluded.consumer";
    connection.prepare_cached(sql)?.execute([seq, consumer]).map(|_| ())
}

/// Takes a message out of circulation that was handed over too often.
fn bury(
    connection: &Connection,
    claimant: &Claimant,
    message: &Claimed,
    now: Timestamp,
) -> rusqlite::Result<()> {
    dead_letters::open(connection, &poison(claimant, message, now))?;
    remove(connection, message.seq)
}

/// Removes a message, whoever holds it.
pub(crate) fn remove(connection: &Connection, seq: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM handed_over WHERE seq = ?1")?.execute([seq])?;
    delete_row(connection, seq)
}

fn delete_row(connection: &Connection, seq: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM message WHERE seq = ?1")?.execute([seq]).map(|_| ())
}

fn poison(claimant: &Claimant, message: &Claimed, now: Timestamp) -> DeadLetter {
    let worker = "embedded queue";
    let text = format!(
        "handed over {} times without being settled, more than the limit of {}: each time its worker died, \
         panicked or failed to settle it; look at the workers' logs at those times, repair the cause, then \
         replay it",
        message.deliveries_before, claimant.delivery_limit
    );
    Envelope::parse(&message.body).map_or_else(
        |_unreadable| {
            let flow = Some(claimant.shard.flow.clone());
            DeadLetter::of_bytes(&message.body, flow, Reason::Poison, "poison", &text, worker, now)
        },
        |envelope| {
            let fault = Fault::new(FaultKind::Permanent, "poison", &text);
            DeadLetter::of_envelope(&envelope, Reason::Poison, &fault, worker, now)
        },
    )
}

/// Ends a message that `consumer` holds; `false` when it does not hold it.
pub(crate) fn delete(connection: &Connection, seq: i64, consumer: i64) -> rusqlite::Result<bool> {
    let is_held = forget_hand_overs(connection, seq, consumer)?;
    if is_held {
        delete_row(connection, seq)?;
    }
    Ok(is_held)
}

/// Gives a message that `consumer` holds a new body and a time; `false` when it does not hold it.
pub(crate) fn postpone(
    connection: &Connection,
    seq: i64,
    consumer: i64,
    body: &[u8],
    not_before: Timestamp,
) -> rusqlite::Result<bool> {
    let is_held = forget_hand_overs(connection, seq, consumer)?;
    if is_held {
        let sql = "UPDATE message SET body = ?2, due_at = ?3 WHERE seq = ?1";
        connection.prepare_cached(sql)?.execute(params![seq, body, due(not_before)])?;
    }
    Ok(is_held)
}

fn forget_hand_overs(connection: &Connection, seq: i64, consumer: i64) -> rusqlite::Result<bool> {
    let sql = "DELETE FROM handed_over WHERE seq = ?1 AND consumer = ?2";
    Ok(connection.prepare_cached(sql)?.execute([seq, consumer])? > 0)
}

/// Hands back a message that `consumer` holds, as if it had not been delivered; `false` when it does not hold it.
pub(crate) fn give_back(connection: &Connection, seq: i64, consumer: i64) -> rusqlite::Result<bool> {
    let sql = "UPDATE handed_over SET consumer = NULL, deliveries = max(deliveries - 1, 0)
               WHERE seq = ?1 AND consumer = ?2";
    Ok(connection.prepare_cached(sql)?.execute([seq, consumer])? > 0)
}

/// Lets go of a message, if `consumer` still holds it; the delivery counts.
pub(crate) fn release(connection: &Connection, seq: i64, consumer: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE handed_over SET consumer = NULL WHERE seq = ?1 AND consumer = ?2";
    connection.prepare_cached(sql)?.execute([seq, consumer]).map(|_| ())
}

/// Lets go of all messages that `consumer` holds; the deliveries count.
pub(crate) fn release_all(connection: &Connection, consumer: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE handed_over SET consumer = NULL WHERE consumer = ?1";
    connection.prepare_cached(sql)?.execute([consumer]).map(|_| ())
}

/// Lets go of everything that a dead process held.
pub(crate) fn release_everything(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("UPDATE handed_over SET consumer = NULL WHERE consumer IS NOT NULL", []).map(|_| ())
}

/// How many messages of a flow there are, delayed ones included. Needs no transaction.
pub(crate) fn count(connection: &Connection, flow: &str) -> rusqlite::Result<i64> {
    let sql = "SELECT count(*) FROM message WHERE flow = ?1";
    connection.prepare_cached(sql)?.query_row([flow], |row| row.get(0))
}

/// How much waits in a flow. Needs no transaction.
pub(crate) fn depth(connection: &Connection, flow: &str, now: Timestamp) -> rusqlite::Result<Depth> {
    let sql = "SELECT count(*), count(*) FILTER (WHERE due_at > ?2), min(seq) FROM message WHERE flow = ?1";
    let (all, delayed, first): (i64, i64, Option<i64>) = connection
        .prepare_cached(sql)?
        .query_row(params![flow, time::floor(now)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let oldest: Option<i64> = connection
        .prepare_cached("SELECT enqueued_at FROM message WHERE seq = ?1")?
        .query_row([first], |row| row.get(0))
        .optional()?;
    Ok(Depth {
        ready: time::number(all - delayed),
        delayed: time::number(delayed),
        oldest: oldest.map(time::timestamp),
    })
}
