//! The ceiling: what a loop over lapin does on the same queues, with the same durability and nothing else.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use configuration::{Config, StateBacking};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use redis::aio::ConnectionManager;
use secrecy::ExposeSecret as _;
use shared::routing::{Shard, shards_of};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::Tally;
use crate::flow::{self, SHARDS, Work};
use crate::servers::broker;

/// What the loop does with each delivery.
pub struct Handling {
    work: Work,
    redis: ConnectionManager,
    trips: usize,
    tally: Arc<Tally>,
}

impl Handling {
    /// What is done for each delivery: the work, so many trips to Redis, the acknowledgement.
    pub async fn new(config: &Config, work: Work, trips: usize, tally: Arc<Tally>) -> Self {
        Self { work, redis: redis(config).await, trips, tally }
    }
}

/// Consumes these shards until it is told to stop.
pub async fn run(config: &Config, handling: Handling, shards: Vec<Shard>, stop: CancellationToken) {
    let (url, names) = broker(config);
    let connection = connect(&url).await;
    let (handling, serving) = (Arc::new(handling), shards.len());
    // Where nothing waits, the prefetch is bound enough.
    let concurrency = if matches!(handling.work, Work::Nothing) {
        Semaphore::MAX_PERMITS
    } else {
        config.worker.concurrency_max
    };
    let permits = Arc::new(Semaphore::new(concurrency));
    for shard in shards {
        let channel = connection.create_channel().await.unwrap();
        channel.basic_qos(config.worker.prefetch, BasicQosOptions::default()).await.unwrap();
        let (queue, options) = (names.shard_queue(&shard).into(), BasicConsumeOptions::default());
        let mut deliveries =
            channel.basic_consume(queue, "".into(), options, FieldTable::default()).await.unwrap();
        let (handling, permits) = (handling.clone(), permits.clone());
        tokio::spawn(async move {
            while let Some(Ok(delivery)) = deliveries.next().await {
                let permit = permits.clone().acquire_owned().await.unwrap();
                tokio::spawn(handle(handling.clone(), delivery, permit));
            }
        });
    }
    handling.tally.serving.store(serving, Ordering::Relaxed);
    stop.cancelled().await;
    connection.close(200, "done".into()).await.unwrap();
}

async fn handle(handling: Arc<Handling>, delivery: Delivery, _permit: OwnedSemaphorePermit) {
    handling.work.once().await;
    for _ in 0..handling.trips {
        let mut redis = handling.redis.clone();
        let found: Option<String> =
            redis::cmd("HGET").arg("none").arg("value").query_async(&mut redis).await.unwrap();
        assert!(found.is_none());
    }
    delivery.ack(BasicAckOptions::default()).await.unwrap();
    handling.tally.acked();
}

async fn redis(config: &Config) -> ConnectionManager {
    let StateBacking::Redis(settings) = &config.state else { unreachable!("the settings name Redis") };
    let client = redis::Client::open(settings.url_with_password().expose_secret()).unwrap();
    client.get_connection_manager().await.unwrap()
}

async fn connect(url: &str) -> Connection {
    Connection::connect(url, ConnectionProperties::default()).await.unwrap()
}

/// Publishes persistent messages to shards by chance, and waits for the confirms of a batch together.
pub struct BarePublisher {
    channel: Channel,
    exchange: String,
    keys: Vec<String>,
    _connection: Connection,
}

impl BarePublisher {
    /// A publisher to the flow's queues.
    pub async fn new(config: &Config) -> Self {
        let (url, names) = broker(config);
        let connection = connect(&url).await;
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let keys = shards_of(&flow::name(), SHARDS).map(|shard| shard.to_string()).collect();
        Self { channel, exchange: names.work_exchange(), keys, _connection: connection }
    }

    /// Publishes the body so many times.
    pub async fn publish(&self, body: &Bytes, count: usize) {
        let mut confirms = Vec::with_capacity(count);
        for _ in 0..count {
            let (exchange, key) = (self.exchange.as_str().into(), self.key().into());
            let properties = BasicProperties::default().with_delivery_mode(2);
            let options = BasicPublishOptions::default();
            confirms
                .push(self.channel.basic_publish(exchange, key, options, body, properties).await.unwrap());
        }
        for answer in join_all(confirms).await {
            assert!(matches!(answer, Ok(Confirmation::Ack(None))), "{answer:?}");
        }
    }

    fn key(&self) -> &str {
        &self.keys[fastrand::usize(..self.keys.len())]
    }
}
