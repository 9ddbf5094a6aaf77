//! Taking a flow's messages out: queue by queue, delivered and not acknowledged until they are elsewhere.
//!
//! A queue with a single active consumer gives no message but to that consumer, and a consumer may hold 65,535
//! messages at most, so that messages can be moved, but not copied.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use shared::ports::PortError;
use shared::ports::queue::FlowTopology;
use shared::ports::transfer::{OpenMessage, TransferQueue, Unloading};
use shared::routing::{Shard, shards_of};
use tokio::time::{sleep, timeout};

use crate::RabbitmqQueue;
use crate::connection::close;
use crate::error::port_error;
use crate::message;
use crate::names::shard_of;
use crate::sender::Sender;

/// Rounds over all queues that must find nothing: a message may be on its way from a delay queue to its shard.
const EMPTY_ROUNDS: u32 = 2;
const EMPTY_ROUND_PAUSE: Duration = Duration::from_secs(1);

#[async_trait]
impl TransferQueue for RabbitmqQueue {
    async fn unload(&self, topology: &FlowTopology) -> Result<Box<dyn Unloading>, PortError> {
        let Sender { names, options, .. } = &**self.sender();
        // Delay queues first: what leaves them meanwhile is found in its shard.
        let tiers = options.delay_tiers_seconds.iter();
        let delays = tiers.map(|tier| (names.delay(&topology.flow, *tier), None));
        let shards = shards_of(&topology.flow, topology.shards);
        let shards = shards.map(|shard| (names.shard_queue(&shard), Some(shard)));
        Ok(Box::new(RabbitmqUnloading {
            sender: Arc::clone(self.sender()),
            queues: delays.chain(shards).collect(),
            at: 0,
            found: false,
            empty_rounds: 0,
            open: None,
        }))
    }
}

struct RabbitmqUnloading {
    sender: Arc<Sender>,
    /// Each with its shard; what waits in a delay queue names its own.
    queues: Vec<(String, Option<Shard>)>,
    /// The queue that is looked at.
    at: usize,
    /// Whether this round has found anything.
    found: bool,
    empty_rounds: u32,
    open: Option<Open>,
}

/// A queue that is being consumed.
struct Open {
    queue: String,
    shard: Option<Shard>,
    channel: Channel,
    consumer: Consumer,
    /// Messages that it had when it was opened and that were not taken yet.
    left: u64,
    last: Option<Delivery>,
}

#[async_trait]
impl Unloading for RabbitmqUnloading {
    async fn next(&mut self, limit: u16) -> Result<Vec<OpenMessage>, PortError> {
        loop {
            if self.open.as_ref().is_some_and(|open| open.left == 0) {
                self.close().await;
            }
            if let Some(open) = &mut self.open {
                let wanted = open.left.min(u64::from(limit.max(1)));
                let mut messages = Vec::new();
                for _ in 0..wanted {
                    let Some(delivery) = take(&self.sender, open).await? else {
                        open.left = 0;
                        break;
                    };
                    messages.push(message_of(&delivery, open.shard.as_ref())?);
                    open.left -= 1;
                    open.last = Some(delivery);
                }
                if messages.is_empty() {
                    continue;
                }
                return Ok(messages);
            }
            let Some((queue, shard)) = self.queues.get(self.at).cloned() else {
                self.empty_rounds = if self.found { 0 } else { self.empty_rounds + 1 };
                if self.empty_rounds >= EMPTY_ROUNDS {
                    return Ok(Vec::new());
                }
                (self.at, self.found) = (0, false);
                sleep(EMPTY_ROUND_PAUSE).await;
                continue;
            };
            self.open(&queue, shard, limit).await?;
            match self.open {
                Some(_) => self.found = true,
                None => self.at += 1,
            }
        }
    }

    async fn remove(&mut self) -> Result<(), PortError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if let Some(last) = open.last.take() {
            let acknowledging = last.ack(BasicAckOptions { multiple: true });
            self.sender.consuming.answer("taking messages out", acknowledging).await?;
        }
        if open.left == 0 {
            self.close().await;
        }
        Ok(())
    }
}

impl RabbitmqUnloading {
    /// Begins to consume the queue, if anything is in it.
    async fn open(&mut self, queue: &str, shard: Option<Shard>, limit: u16) -> Result<(), PortError> {
        let connector = &self.sender.consuming;
        let channel = connector.channel().await?;
        let left = count(&self.sender, &channel, queue).await?;
        if left == 0 {
            close(&channel, connector.answer_timeout).await;
            return Ok(());
        }
        let doing = format!("taking messages out of queue {queue}");
        connector.answer(&doing, channel.basic_qos(limit.max(1), BasicQosOptions::default())).await?;
        let options = BasicConsumeOptions::default();
        let consuming = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
        let consumer = connector.answer(&doing, consuming).await?;
        self.open = Some(Open { queue: queue.to_owned(), shard, channel, consumer, left, last: None });
        Ok(())
    }

    /// Closes the queue; the answer says that the broker has taken the acknowledgements.
    async fn close(&mut self) {
        if let Some(open) = self.open.take() {
            close(&open.channel, self.sender.consuming.answer_timeout).await;
        }
    }
}

/// How many messages are ready in the queue.
async fn count(sender: &Sender, channel: &Channel, queue: &str) -> Result<u64, PortError> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
    let counting = channel.queue_declare(queue.into(), passive, FieldTable::default());
    let doing = format!("counting queue {queue}");
    Ok(u64::from(sender.consuming.answer(&doing, counting).await?.message_count()))
}

/// The next message; none when the rest of those that were counted has left the queue since, as what waits in a delay
/// queue does when its time has come.
async fn take(sender: &Sender, open: &mut Open) -> Result<Option<Delivery>, PortError> {
    let address = &sender.consuming.address;
    match timeout(sender.consuming.answer_timeout, open.consumer.next()).await {
        Ok(Some(Ok(delivery))) => Ok(Some(delivery)),
        Ok(Some(Err(error))) => Err(port_error(address, "taking messages out", &error)),
        Ok(None) => Err(PortError::Unavailable(format!(
            "RabbitMQ at {address} ended taking messages out: the queue is being moved, or the broker stops"
        ))),
        Err(_elapsed) if count(sender, &open.channel, &open.queue).await? == 0 => Ok(None),
        Err(_elapsed) => Err(PortError::Unavailable(format!(
            "RabbitMQ at {address} has messages, but gives none: does another program consume them?"
        ))),
    }
}

fn message_of(delivery: &Delivery, shard: Option<&Shard>) -> Result<OpenMessage, PortError> {
    let routing_key = delivery.routing_key.as_str();
    let shard = shard.cloned().or_else(|| shard_of(routing_key)).ok_or_else(|| {
        PortError::Misconfigured(format!(
            "a message in a delay queue has the routing key '{routing_key}', which is no shard's: somebody else put \
             it there, and must take it away"
        ))
    })?;
    let not_before = message::not_before(&delivery.properties);
    Ok(OpenMessage { shard, body: Bytes::copy_from_slice(&delivery.data), not_before })
}
