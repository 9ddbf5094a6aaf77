//! The fleet's backings: RabbitMQ and Redis, as real processes.

mod failover;
mod faults;
mod generation;
mod places;
mod queue;
mod state;

use std::sync::Arc;
use std::time::Duration;

use adapter_rabbitmq::RabbitmqQueue;
use adapter_redis::RedisState;
use bytes::Bytes;
use jiff::Timestamp;
use shared::clock::{Clock as _, SystemClock};
use shared::dead_letter::{DeadLetterEvent, Resolution};
use shared::envelope::{Cause, Envelope, Operation};
use shared::ports::PortError;
use shared::ports::queue::{Consumer, DeadLetterPage, Delivery, FlowTopology, Outbound, Queue};
use shared::record_key::{FlowName, RecordKey};
use shared::routing::Shard;
use shared::trace::TraceParent;
use system_tests::{shared_rabbitmq, unique_name};
use uuid::Uuid;

/// Long enough for anything that works, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

fn now() -> Timestamp {
    SystemClock.now()
}

fn flow() -> FlowName {
    FlowName::new("parties").unwrap()
}

fn shard(number: u16) -> Shard {
    Shard { flow: flow(), number }
}

fn two_shards() -> FlowTopology {
    FlowTopology { flow: flow(), shards: 2 }
}

/// Settings with a namespace of its own.
fn options() -> adapter_rabbitmq::Options {
    adapter_rabbitmq::Options {
        namespace: unique_name("fleet"),
        heartbeat_seconds: 2,
        confirm_timeout: Duration::from_secs(20),
        delay_tiers_seconds: vec![1, 2],
        ..adapter_rabbitmq::Options::default()
    }
}

fn queue_at(url: &str, options: adapter_rabbitmq::Options) -> RabbitmqQueue {
    RabbitmqQueue::new(url, options, Arc::new(SystemClock)).unwrap()
}

async fn prepared(url: &str, options: adapter_rabbitmq::Options) -> RabbitmqQueue {
    let queue = queue_at(url, options);
    queue.prepare(&[two_shards()]).await.unwrap();
    queue
}

fn state_at(url: &str) -> RedisState {
    let prefix = unique_name("fleet");
    RedisState::new(url, adapter_redis::Options { prefix, ..adapter_redis::Options::default() }).unwrap()
}

fn message(number: u16, body: impl Into<Bytes>) -> Outbound {
    Outbound { shard: shard(number), id: Uuid::new_v4(), body: body.into(), not_before: None }
}

fn envelope() -> Envelope {
    let key = RecordKey::new(flow(), "42").unwrap();
    let trace = TraceParent::new(1, 2);
    Envelope::new(Uuid::now_v7(), "/test", key, Operation::Update, Cause::Manual, trace, now())
}

fn resolved(number: u128) -> DeadLetterEvent {
    let (by, note) = ("anna".to_owned(), "x".repeat(200));
    let resolution = Resolution::Discarded;
    DeadLetterEvent::Resolved { id: Uuid::from_u128(number), resolution, by, note, edited: None, at: now() }
}

async fn next(consumer: &mut Box<dyn Consumer>) -> Result<Delivery, PortError> {
    tokio::time::timeout(SOON, consumer.next()).await.unwrap()
}

/// Whether a delivery comes within a time that is long for a delivery and short for a test.
async fn is_silent(consumer: &mut Box<dyn Consumer>) -> bool {
    tokio::time::timeout(Duration::from_millis(400), consumer.next()).await.is_err()
}

async fn whole_log(queue: &RabbitmqQueue, limit: u32) -> DeadLetterPage {
    let mut all = DeadLetterPage::default();
    let mut from = 0;
    loop {
        let page = queue.scan_dead_letters(from, limit).await.unwrap();
        assert!(page.entries.len() <= usize::try_from(limit).unwrap());
        all.entries.extend(page.entries);
        all.unreadable += page.unreadable;
        all.next = page.next;
        if page.at_end {
            return all;
        }
        from = page.next;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_letters_are_listed() {
    use crate::backing::StateBacking as _;
    let (broker, options) = (shared_rabbitmq().await.unwrap(), options());
    let place = places::RedisPlace::new().await;
    crate::letters::many_letters(async || {
        let queue = queue_at(&broker.url(), options.clone());
        (Arc::new(queue) as Arc<dyn Queue>, place.open().await)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_one_flow_leaves_the_other_alone() {
    crate::outage::an_outage_of_one_flow_leaves_the_other_alone::<places::RabbitmqPlace, places::RedisPlace>(
    )
    .await;
}

mod queue_suite {
    crate::queue_suite!(super::places::RabbitmqPlace);
}

mod engine_suite {
    crate::engine_suite!(super::places::RabbitmqPlace, super::places::RedisPlace);

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_an_earlier_larger_number_of_shards_left_behind_is_sent_on() {
        use super::places::{RabbitmqPlace, RedisPlace};
        crate::engine::what_an_earlier_larger_number_of_shards_left_behind_is_sent_on::<
            RabbitmqPlace,
            RedisPlace,
        >()
        .await;
    }
}

mod state_suite {
    crate::state_suite!(super::places::RedisPlace);
}
