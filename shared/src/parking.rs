//! Parking: a message waits under the key of the record that it depends on, such as a child record whose parent is
//! not linked yet. A success of that record releases it.
//!
//! All that waits for one key is one document, so that a run reads it together with the key's other marks.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::envelope::{Cause, Envelope};
use crate::ports::PortError;
use crate::ports::queue::{FlowTopology, Outbound};
use crate::ports::state::{DOCUMENT_BYTES_MAX, Expected, State, Versioned, Write, Written};
use crate::record_key::{FlowName, RecordKey};
use crate::routing::shard_of;

/// Most messages that wait for one key: they share a document, and are published in one batch.
pub const MESSAGES_OF_KEY_MAX: usize = 200;
/// How often a clashing write is tried again: as many runs as may park under one key at the same time.
const TRIES_MAX: u32 = 50;
const PREFIX: &str = "parked/";

/// A message that waits for another record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// Its record. One message of a record waits for a key, however often it was parked there.
    pub record: RecordKey,
    /// When it was parked.
    pub since: Timestamp,
    /// When it was first published: its age counts from then on.
    pub first_seen: Timestamp,
    /// When it is released without having been waited for any longer, to look for itself.
    pub look_again_at: Timestamp,
    message: Value,
}

impl Parked {
    /// A message that is parked now.
    pub fn new(envelope: &Envelope, now: Timestamp, look_again_at: Timestamp) -> Self {
        Self {
            record: envelope.key.clone(),
            since: now,
            first_seen: envelope.first_seen,
            look_again_at,
            message: serde_json::from_slice(&envelope.to_bytes()).unwrap_or_default(),
        }
    }

    /// The bytes to publish: the message with its attempts and its age, released now. What a newer version parked
    /// is published as it was.
    pub fn released(&self, now: Timestamp) -> Vec<u8> {
        let bytes = serde_json::to_vec(&self.message).unwrap_or_default();
        match Envelope::parse(&bytes) {
            Ok(envelope) => Envelope { time: now, cause: Cause::Released, ..envelope }.to_bytes(),
            Err(_newer) => bytes,
        }
    }

    /// The message on its way back to its shard; none where its flow is not among `flows`.
    pub fn outbound(&self, flows: &[FlowTopology], now: Timestamp) -> Option<Outbound> {
        let topology = flows.iter().find(|topology| topology.flow == *self.record.flow())?;
        let body = self.released(now);
        let id = Envelope::parse(&body).map_or_else(|_| uuid::Uuid::now_v7(), |envelope| envelope.id);
        let shard = shard_of(&self.record, topology.shards);
        Some(Outbound { shard, id, body: body.into(), not_before: None })
    }

    /// Whether it is to take the place of `other`, which waits already: a new event begins a new life, a sweep or a
    /// release does not.
    fn replaces(&self, other: &Self) -> bool {
        let cause = self.message.get("cause").and_then(Value::as_str);
        cause != Some(Cause::Sweep.name()) && self.first_seen > other.first_seen
    }
}

/// What became of a message that was to be parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parking {
    /// It waits from now on: look again whether what it waits for has happened meanwhile.
    Begun,
    /// A message of its record waited already, and covers it.
    Covered,
    /// There is no room under this key.
    Full,
}

pub(crate) fn key(awaited: &RecordKey) -> String {
    format!("{PREFIX}{}/{}", awaited.flow(), awaited.id())
}

pub(crate) fn parse(document: &Versioned) -> Option<Vec<Parked>> {
    serde_json::from_slice(&document.value).ok()
}

/// Parks a message, durably.
///
/// # Errors
/// As the store's; [`PortError::Misconfigured`] when what waits there cannot be read: it is never overwritten.
pub async fn park(state: &dyn State, awaited: &RecordKey, parked: &Parked) -> Result<Parking, PortError> {
    let mut outcome = Parking::Begun;
    let changed = change(state, awaited, |waiting| outcome = add(waiting, parked));
    changed.await?;
    Ok(outcome)
}

/// Takes messages away that need not wait any longer. Safe to repeat.
///
/// # Errors
/// As [`park`]'s.
pub async fn remove(state: &dyn State, awaited: &RecordKey, messages: &[Parked]) -> Result<(), PortError> {
    change(state, awaited, |waiting| waiting.retain(|parked| !messages.contains(parked))).await
}

/// A part of what is parked.
#[derive(Debug, Default)]
pub struct Page {
    /// What waits, by the records that are waited for, in the order of the keys.
    pub waiting: Vec<(RecordKey, Vec<Parked>)>,
    /// Keys of documents that cannot be read: damaged, or written by a newer version. Nothing of them is lost.
    pub unreadable: Vec<String>,
    /// The key after which the next page begins; `None` when this is the last one.
    pub next: Option<String>,
}

/// A page of what is parked, behind the key `after`. What cannot be read holds nothing else up.
///
/// # Errors
/// As the store's.
pub async fn page(state: &dyn State, after: Option<&str>, limit: u32) -> Result<Page, PortError> {
    let found = state.scan(PREFIX, after, limit).await?;
    let mut page = Page { next: found.last().map(|(key, _)| key.clone()), ..Page::default() };
    for (key, document) in found {
        match awaited(&key).zip(parse(&document)) {
            Some(entry) => page.waiting.push(entry),
            None => page.unreadable.push(key),
        }
    }
    Ok(page)
}

/// The record that is waited for under a key.
fn awaited(key: &str) -> Option<RecordKey> {
    let (flow, id) = key.strip_prefix(PREFIX)?.split_once('/')?;
    RecordKey::new(FlowName::new(flow).ok()?, id).ok()
}

fn add(waiting: &mut Vec<Parked>, parked: &Parked) -> Parking {
    if let Some(present) = waiting.iter_mut().find(|present| present.record == parked.record) {
        if parked.replaces(present) {
            *present = parked.clone();
        }
        return Parking::Covered;
    }
    waiting.push(parked.clone());
    if waiting.len() > MESSAGES_OF_KEY_MAX || bytes(waiting).len() > DOCUMENT_BYTES_MAX {
        waiting.pop();
        return Parking::Full;
    }
    Parking::Begun
}

async fn change(
    state: &dyn State,
    awaited: &RecordKey,
    mut edit: impl FnMut(&mut Vec<Parked>) + Send,
) -> Result<(), PortError> {
    let key = key(awaited);
    for _ in 0..TRIES_MAX {
        let found = state.get(&key).await?;
        let before = match &found {
            Some(document) => parse(document).ok_or_else(|| unreadable(&key))?,
            None => Vec::new(),
        };
        let mut after = before.clone();
        edit(&mut after);
        if after == before {
            return Ok(());
        }
        let value = (!after.is_empty()).then(|| bytes(&after));
        let expected = found.map_or(Expected::Absent, |document| Expected::Version(document.version));
        let write = Write { value: value.as_deref(), expected, ..Write::delete(&key) };
        if matches!(state.write(write).await?, Written::Done(_)) {
            return Ok(());
        }
    }
    Err(PortError::Unavailable(format!("what waits for {awaited} keeps changing; try again")))
}

fn bytes(waiting: &[Parked]) -> Vec<u8> {
    // Serialising plain structs with string keys cannot fail.
    serde_json::to_vec(waiting).unwrap_or_default()
}

fn unreadable(key: &str) -> PortError {
    PortError::Misconfigured(format!(
        "the parked messages in {key} cannot be read: written by a newer version, or damaged; nothing of them is lost"
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::clock::later;
    use crate::envelope::Operation;
    use crate::trace::TraceParent;

    fn at(second: u64) -> Timestamp {
        later(Timestamp::UNIX_EPOCH, Duration::from_secs(second))
    }

    fn parked(id: &str, cause: Cause, first_seen: u64) -> Parked {
        let record = RecordKey::new(FlowName::new("children").unwrap(), id).unwrap();
        let (trace, seen) = (TraceParent::new(1, 2), at(first_seen));
        let mut envelope =
            Envelope::new(Uuid::from_u128(7), "/test", record, Operation::Update, cause, trace, seen);
        envelope.attempt = 2;
        Parked::new(&envelope, at(1_000), at(5_000))
    }

    #[test]
    fn a_released_message_keeps_its_attempts_and_its_age() {
        let bytes = parked("a", Cause::Webhook, 10).released(at(2_000));
        let envelope = Envelope::parse(&bytes).unwrap();
        assert_eq!((envelope.cause, envelope.time), (Cause::Released, at(2_000)));
        assert_eq!((envelope.first_seen, envelope.attempt), (at(10), 2));
    }

    #[test]
    fn what_a_newer_version_parked_is_published_as_it_was() {
        let mut newer = parked("a", Cause::Webhook, 10);
        newer.message["schemaversion"] = 99.into();
        let bytes = newer.released(at(2_000));
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), newer.message);
    }

    #[test]
    fn a_new_event_takes_the_place_of_an_old_message_and_a_sweep_does_not() {
        let mut waiting = vec![parked("a", Cause::Webhook, 10)];
        assert_eq!(add(&mut waiting, &parked("a", Cause::Sweep, 20)), Parking::Covered);
        assert_eq!(waiting[0].first_seen, at(10));
        assert_eq!(add(&mut waiting, &parked("a", Cause::Webhook, 20)), Parking::Covered);
        assert_eq!((waiting.len(), waiting[0].first_seen), (1, at(20)));
    }

    #[test]
    fn a_key_has_room_for_so_many_and_documents_for_so_many_bytes() {
        let mut waiting = Vec::new();
        for number in 0..MESSAGES_OF_KEY_MAX {
            assert_eq!(add(&mut waiting, &parked(&number.to_string(), Cause::Webhook, 1)), Parking::Begun);
        }
        assert_eq!(add(&mut waiting, &parked("more", Cause::Webhook, 1)), Parking::Full);
        assert_eq!(waiting.len(), MESSAGES_OF_KEY_MAX);
        let mut large = parked("large", Cause::Webhook, 1);
        large.message["source"] = "x".repeat(DOCUMENT_BYTES_MAX).into();
        assert_eq!(add(&mut Vec::new(), &large), Parking::Full);
    }

    proptest! {
        #[test]
        fn one_message_of_a_record_waits_and_none_is_lost(ids in proptest::collection::vec("[a-f]", 1..40)) {
            let mut waiting = Vec::new();
            for id in &ids {
                prop_assert_ne!(add(&mut waiting, &parked(id, Cause::Webhook, 1)), Parking::Full);
            }
            let mut records: Vec<&str> = waiting.iter().map(|parked| parked.record.id()).collect();
            let mut expected: Vec<&str> = ids.iter().map(String::as_str).collect();
            records.sort_unstable();
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(records, expected);
        }
    }
}
