//! Taking everything out of a directory.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, params};
use shared::clock::elapsed;
use shared::ports::PortError;
use shared::ports::queue::FlowTopology;
use shared::ports::transfer::{
    Exported, ExportedCounter, OpenMessage, TransferQueue, TransferState, Unloading,
};
use shared::record_key::FlowName;
use shared::routing::Shard;

use crate::queue::MARKS;
use crate::store::Store;
use crate::{EmbeddedQueue, EmbeddedState, Role, messages, time};

#[async_trait]
impl TransferQueue for EmbeddedQueue {
    async fn unload(&self, topology: &FlowTopology) -> Result<Box<dyn Unloading>, PortError> {
        if self.store.role == Role::Visiting {
            return Err(PortError::Misconfigured(format!(
                "messages cannot be taken out of {}: this program only visits it",
                self.store.dir.display()
            )));
        }
        Ok(Box::new(EmbeddedUnloading {
            store: Arc::clone(&self.store),
            flow: topology.flow.clone(),
            taken: Vec::new(),
        }))
    }
}

struct EmbeddedUnloading {
    store: Arc<Store>,
    flow: FlowName,
    /// The rows that `next` gave last.
    taken: Vec<i64>,
}

#[async_trait]
impl Unloading for EmbeddedUnloading {
    async fn next(&mut self, limit: u16) -> Result<Vec<OpenMessage>, PortError> {
        let flow = self.flow.clone();
        let found = self.store.readers.read(move |connection| first(connection, &flow, limit)).await?;
        self.taken = found.iter().map(|(seq, _)| *seq).collect();
        Ok(found.into_iter().map(|(_, message)| message).collect())
    }

    async fn remove(&mut self) -> Result<(), PortError> {
        let taken = std::mem::take(&mut self.taken);
        let work = move |connection: &Connection| {
            taken.iter().try_for_each(|seq| messages::remove(connection, *seq))?;
            Ok(())
        };
        self.store.writer.submit(work, |_| {}).await
    }
}

fn first(connection: &Connection, flow: &FlowName, limit: u16) -> rusqlite::Result<Vec<(i64, OpenMessage)>> {
    let sql = "SELECT seq, shard, body, due_at FROM message WHERE flow = ?1 ORDER BY seq LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![flow.as_str(), limit], |row| {
        let (body, due_at): (Vec<u8>, i64) = (row.get(2)?, row.get(3)?);
        let message = OpenMessage {
            shard: Shard { flow: flow.clone(), number: row.get(1)? },
            body: body.into(),
            not_before: (due_at > 0).then(|| time::timestamp(due_at)),
        };
        Ok((row.get(0)?, message))
    })?;
    rows.collect()
}

#[async_trait]
impl TransferState for EmbeddedState {
    async fn export(&self, after: Option<&str>, limit: u32) -> Result<Vec<Exported>, PortError> {
        let (after, now) = (after.map(str::to_owned), self.store.clock.now());
        self.store.readers.read(move |connection| documents(connection, after.as_deref(), limit, now)).await
    }

    async fn export_counters(&self) -> Result<Vec<ExportedCounter>, PortError> {
        let now = self.store.clock.now();
        self.store.readers.read(move |connection| counters(connection, now)).await
    }

    async fn held_leases(&self) -> Result<Vec<String>, PortError> {
        let now = self.store.clock.now();
        let read = move |connection: &Connection| {
            let sql = "SELECT name FROM lease WHERE ends_at > ?1 ORDER BY name";
            let mut statement = connection.prepare_cached(sql)?;
            let names = statement.query_map([time::floor(now)], |row| row.get(0))?;
            names.collect()
        };
        self.store.readers.read(read).await
    }

    async fn rise_above(&self, floor: u64) -> Result<u64, PortError> {
        let work = move |connection: &Connection| {
            let sql = "UPDATE sequence SET last = max(last, ?1) RETURNING last";
            let last = connection.prepare_cached(sql)?.query_row([time::column(floor)], |row| row.get(0))?;
            Ok(time::number(last))
        };
        self.store.writer.submit(work, |_| {}).await
    }
}

/// Documents of the state store; the queue's marks, which lie beside them, are none.
fn documents(
    connection: &Connection,
    after: Option<&str>,
    limit: u32,
    now: Timestamp,
) -> rusqlite::Result<Vec<Exported>> {
    let sql = "SELECT key, value, ends_at FROM document
               WHERE (?1 IS NULL OR key > ?1) AND (ends_at IS NULL OR ends_at > ?2)
               AND substr(key, 1, length(?4)) <> ?4 ORDER BY key LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![after, time::floor(now), limit, MARKS], |row| {
        let ends_at: Option<i64> = row.get(2)?;
        let time_to_live = ends_at.map(|at| remaining(at, now));
        Ok(Exported { key: row.get(0)?, value: row.get(1)?, time_to_live })
    })?;
    rows.collect()
}

fn counters(connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<ExportedCounter>> {
    let sql = "SELECT key, value, ends_at FROM counter WHERE ends_at > ?1 ORDER BY key";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([time::floor(now)], |row| {
        let value = time::number(row.get(1)?);
        Ok(ExportedCounter { key: row.get(0)?, value, ends_in: remaining(row.get(2)?, now) })
    })?;
    rows.collect()
}

fn remaining(ends_at: i64, now: Timestamp) -> Duration {
    elapsed(now, time::timestamp(ends_at))
}
