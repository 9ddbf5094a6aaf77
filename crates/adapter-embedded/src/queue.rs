//! The queue port.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;
use shared::dead_letter::DeadLetterEvent;
use shared::ports::PortError;
use shared::ports::queue::{Consumer, DeadLetterPage, Depth, FlowTopology, Outbound, Queue};
use shared::ports::state::Expected;
use shared::record_key::FlowName;
use shared::routing::{SHARDS_MAX, Shard};

use crate::consumer::EmbeddedConsumer;
use crate::documents::{self, DocumentWrite};
use crate::error::WorkError;
use crate::messages::{self, Claimant};
use crate::store::Store;
use crate::{Role, dead_letters};

/// The queue in a directory.
#[derive(Debug)]
pub struct EmbeddedQueue {
    pub(crate) store: Arc<Store>,
}

impl EmbeddedQueue {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    async fn write_mark(&self, mark: &str, value: Option<Vec<u8>>) -> Result<(), PortError> {
        let expected = Expected::Any;
        let document = DocumentWrite { key: mark_key(mark), value, expected, time_to_live: None };
        let clock = Arc::clone(&self.store.clock);
        let work = move |connection: &Connection| {
            Ok(documents::write(connection, &document, clock.now()).map(|_| ())?)
        };
        self.store.writer.submit(work, |_| {}).await
    }
}

/// What the keys of the documents that stand for marks begin with.
pub(crate) const MARKS: &str = "queue_mark/";

/// The key of the document that stands for a mark.
fn mark_key(mark: &str) -> String {
    format!("{MARKS}{mark}")
}

#[async_trait]
impl Queue for EmbeddedQueue {
    async fn prepare(&self, flows: &[FlowTopology]) -> Result<(), PortError> {
        let (flows, dir) = (flows.to_vec(), self.store.dir.display().to_string());
        let work =
            move |connection: &Connection| flows.iter().try_for_each(|flow| prepare(connection, flow, &dir));
        self.store.writer.submit(work, |_| {}).await
    }

    async fn publish(&self, batch: &[Outbound]) -> Result<(), PortError> {
        if batch.is_empty() {
            return Ok(());
        }
        let shards: BTreeSet<Shard> = batch.iter().map(|message| message.shard.clone()).collect();
        let (batch, bells, room) = (batch.to_vec(), shards.clone(), self.store.room.clone());
        let (clock, desks) = (Arc::clone(&self.store.clock), Arc::clone(&self.store.desks));
        let work = move |connection: &Connection| {
            for shard in &shards {
                check_prepared(shard, messages::shards_of(connection, shard.flow.as_str())?)?;
            }
            room.check(connection)?;
            Ok(messages::insert(connection, &batch, clock.now())?)
        };
        let then = move |outcome: &Result<(), PortError>| {
            if outcome.is_ok() {
                bells.iter().for_each(|shard| desks.ring(shard));
            }
        };
        self.store.writer.submit(work, then).await
    }

    async fn consume(&self, shard: &Shard, prefetch: u16) -> Result<Box<dyn Consumer>, PortError> {
        if self.store.role == Role::Visiting {
            return Err(PortError::Misconfigured(format!(
                "shard {shard} cannot be consumed: this program only visits {}; the one program that serves it \
                 consumes",
                self.store.dir.display()
            )));
        }
        let flow = shard.flow.clone();
        let read = move |connection: &Connection| messages::shards_of(connection, flow.as_str());
        check_prepared(shard, self.store.readers.read(read).await?)?;
        let claimant = Claimant {
            shard: shard.clone(),
            consumer: self.store.consumer_number(),
            delivery_limit: self.store.delivery_limit,
        };
        Ok(Box::new(EmbeddedConsumer::new(Arc::clone(&self.store), claimant, prefetch)))
    }

    async fn depth(&self, topology: &FlowTopology) -> Result<Depth, PortError> {
        let (flow, clock) = (topology.flow.clone(), Arc::clone(&self.store.clock));
        let read = move |connection: &Connection| {
            let transaction = connection.unchecked_transaction()?;
            if messages::shards_of(&transaction, flow.as_str())?.is_none() {
                return Ok(Err(unprepared(&flow)));
            }
            messages::depth(&transaction, flow.as_str(), clock.now()).map(Ok)
        };
        self.store.readers.read(read).await?
    }

    async fn append_dead_letter_event(&self, event: &DeadLetterEvent) -> Result<(), PortError> {
        let event = event.clone();
        let work = move |connection: &Connection| Ok(dead_letters::append(connection, &event)?);
        self.store.writer.submit(work, |_| {}).await
    }

    async fn scan_dead_letters(&self, from: u64, limit: u32) -> Result<DeadLetterPage, PortError> {
        self.store.readers.read(move |connection| dead_letters::scan(connection, from, limit)).await
    }

    async fn remember(&self, mark: &str) -> Result<(), PortError> {
        self.write_mark(mark, Some(Vec::new())).await
    }

    async fn forget(&self, mark: &str) -> Result<(), PortError> {
        self.write_mark(mark, None).await
    }

    async fn remembers(&self, mark: &str) -> Result<bool, PortError> {
        let (key, now) = (mark_key(mark), self.store.clock.now());
        let found = self.store.readers.read(move |connection| documents::get(connection, &key, now)).await?;
        Ok(found.is_some())
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.store.writer.submit(|_| Ok(()), |_| {}).await
    }
}

/// Declares one flow. Its number of shards may change only while no message of it waits: the shard of a key, and
/// with it the promise that messages of one key never run at the same time, depends on that number.
fn prepare(connection: &Connection, topology: &FlowTopology, dir: &str) -> Result<(), WorkError> {
    let FlowTopology { flow, shards } = topology;
    if !(1..=SHARDS_MAX).contains(shards) {
        return Err(WorkError::Refused(PortError::Misconfigured(format!(
            "flow {flow} is to have {shards} shards: 1 to {SHARDS_MAX} are possible"
        ))));
    }
    match messages::shards_of(connection, flow.as_str())? {
        Some(present) if present == *shards => return Ok(()),
        Some(present) => {
            let waiting = messages::count(connection, flow.as_str())?;
            if waiting > 0 {
                return Err(WorkError::Refused(PortError::Misconfigured(format!(
                    "flow {flow} has {present} shards in {dir}, {shards} are configured, and {waiting} messages \
                     wait in the present ones: set it back to {present} until they are done, then change it"
                ))));
            }
        }
        None => {}
    }
    Ok(messages::set_shards(connection, flow.as_str(), *shards)?)
}

/// Refuses a shard that no `prepare` declared: nobody would ever consume what is published there.
fn check_prepared(shard: &Shard, shards: Option<u16>) -> Result<(), PortError> {
    match shards {
        None => Err(unprepared(&shard.flow)),
        Some(shards) if shard.number >= shards => Err(PortError::Misconfigured(format!(
            "there is no shard {shard}: flow {} has {shards} shards; all programs must use the same number",
            shard.flow
        ))),
        Some(_) => Ok(()),
    }
}

fn unprepared(flow: &FlowName) -> PortError {
    PortError::Misconfigured(format!(
        "flow {flow} is unknown to the embedded queue: it must be prepared before it is used"
    ))
}
