//! What is particular to this adapter; the guarantees of the ports have the conformance suites.

mod consuming;
mod opening;
mod room;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use shared::clock::ManualClock;
use shared::dead_letter::{DeadLetterEvent, Reason, Resolution};
use shared::ports::queue::{Consumer, Delivery, FlowTopology, Outbound, Queue};
use shared::record_key::FlowName;
use shared::routing::Shard;
use uuid::Uuid;

use crate::{Embedded, EmbeddedOptions, Role};

const SOON: Duration = Duration::from_secs(20);

fn topology() -> FlowTopology {
    FlowTopology { flow: FlowName::new("parties").unwrap(), shards: 2 }
}

fn shard(number: u16) -> Shard {
    Shard { flow: topology().flow, number }
}

fn message(number: u128) -> Outbound {
    sized(number, 0)
}

/// A message of `bytes` bytes at least, which begins with its number.
fn sized(number: u128, bytes: usize) -> Outbound {
    let body = format!("{number}:{}", "x".repeat(bytes)).into_bytes().into();
    Outbound { shard: shard(0), id: Uuid::from_u128(number), body, not_before: None }
}

fn options(dir: &Path, role: Role) -> EmbeddedOptions {
    EmbeddedOptions::new(dir, role, clock())
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_second(1_800_000_000).unwrap()))
}

async fn prepared(options: EmbeddedOptions) -> Embedded {
    let embedded = Embedded::open(options).unwrap();
    embedded.queue.prepare(&[topology()]).await.unwrap();
    embedded
}

async fn next(consumer: &mut dyn Consumer) -> Delivery {
    tokio::time::timeout(SOON, consumer.next()).await.expect("a delivery").unwrap()
}

fn number(delivery: &Delivery) -> u128 {
    let text = std::str::from_utf8(&delivery.body).unwrap();
    text.split(':').next().unwrap().parse().unwrap()
}

async fn events(queue: &dyn Queue) -> Vec<DeadLetterEvent> {
    queue.scan_dead_letters(0, 1_000).await.unwrap().into_events().collect()
}

fn resolved(id: Uuid, at: Timestamp) -> DeadLetterEvent {
    let (by, note) = ("anna".to_owned(), String::new());
    DeadLetterEvent::Resolved { id, resolution: Resolution::Discarded, by, note, edited: None, at }
}

fn opened_reason(event: &DeadLetterEvent) -> Option<Reason> {
    match event {
        DeadLetterEvent::Opened { letter } => Some(letter.reason),
        DeadLetterEvent::Resolved { .. } => None,
    }
}
