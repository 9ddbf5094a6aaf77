//! Consuming one shard: a task takes deliveries from the broker, sends away again those that came before their
//! time, and hands the others over.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::Channel;
use lapin::message::Delivery as Incoming;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use shared::ports::PortError;
use shared::ports::queue::{Consumer, Delivery};
use shared::routing::Shard;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::acks::Acks;
use crate::connection::{Closing, close};
use crate::delay::remaining;
use crate::error::port_error;
use crate::message;
use crate::receipt::{RabbitmqReceipt, Session};
use crate::sender::Sender;

/// One shard being consumed.
#[derive(Debug)]
pub(crate) struct RabbitmqConsumer {
    session: Arc<Session>,
    deliveries: mpsc::Receiver<Incoming>,
}

impl RabbitmqConsumer {
    /// Begins to consume.
    pub(crate) async fn start(sender: &Arc<Sender>, shard: &Shard, prefetch: u16) -> Result<Self, PortError> {
        let prefetch = prefetch.max(1);
        let connector = &sender.consuming;
        let channel = connector.channel().await?;
        let closing = Closing::new(&channel, connector.answer_timeout);
        let doing = format!("consuming shard {shard}");
        connector.answer(&doing, channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
        let queue = sender.names.shard_queue(shard);
        let consuming = channel.basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let incoming = connector.answer(&doing, consuming).await?;
        let session = Arc::new(Session {
            shard: shard.clone(),
            sender: Arc::clone(sender),
            acks: Acks::start(sender, shard, &channel, prefetch),
            ended: CancellationToken::new(),
            failure: OnceLock::new(),
        });
        sender.held.add(&session);
        let (hand_over, deliveries) = mpsc::channel(usize::from(prefetch));
        tokio::spawn(pump(Arc::clone(&session), channel, incoming, hand_over));
        closing.hand_over();
        Ok(Self { session, deliveries })
    }
}

#[async_trait]
impl Consumer for RabbitmqConsumer {
    async fn next(&mut self) -> Result<Delivery, PortError> {
        // What is left of a consumer that was lost is the broker's again.
        let taken = self.deliveries.recv().await.filter(|_| !self.session.ended.is_cancelled());
        let receipt = receipt(&self.session, taken.ok_or_else(|| self.session.failure())?);
        Ok(Delivery {
            body: receipt.body.clone(),
            redeliveries: receipt.redeliveries,
            receipt: Box::new(receipt),
        })
    }
}

impl Drop for RabbitmqConsumer {
    fn drop(&mut self) {
        self.session.ended.cancel();
    }
}

/// Runs until the consumer is dropped or lost; closing the channel then makes the broker deliver again what was
/// not settled.
async fn pump(
    session: Arc<Session>,
    channel: Channel,
    mut incoming: lapin::Consumer,
    hand_over: mpsc::Sender<Incoming>,
) {
    loop {
        let next = tokio::select! {
            biased;
            () = session.ended.cancelled() => break,
            next = incoming.next() => next,
        };
        let Some(delivery) = delivery_of(&session, next) else { break };
        session.acks.delivered(delivery.delivery_tag, message::published_at(&delivery.properties));
        let not_before = message::still_not_before(&delivery.properties);
        if remaining(not_before, session.sender.clock.now()).is_some() {
            // Not more than the prefetch of these exist: each holds its delivery until it is settled.
            tokio::spawn(delay_again(receipt(&session, delivery)));
        } else if hand_over.send(delivery).await.is_err() {
            break;
        }
    }
    session.ended.cancel();
    // Whoever waits for the next delivery need not wait until the channel is closed.
    drop(hand_over);
    close(&channel, session.sender.consuming.answer_timeout).await;
}

/// The delivery; `None` when the consumer is lost, and then the session knows why.
fn delivery_of(session: &Session, next: Option<lapin::Result<Incoming>>) -> Option<Incoming> {
    let address = &session.sender.consuming.address;
    let shard = &session.shard;
    let failure = match next {
        Some(Ok(delivery)) => return Some(delivery),
        Some(Err(error)) => port_error(address, &format!("consuming shard {shard}"), &error),
        None => PortError::Unavailable(format!(
            "RabbitMQ at {address} cancelled the consumer of shard {shard}: its queue was deleted or moved, or \
             the broker stops; consume again"
        )),
    };
    tracing::warn!(%shard, error = %failure, "consumer lost");
    // Set once: this is the only place that sets it.
    session.failure.get_or_init(|| failure);
    None
}

/// A wait longer than the largest tier.
async fn delay_again(mut receipt: RabbitmqReceipt) {
    if let Err(error) = receipt.replace_unchanged().await {
        let shard = &receipt.session.shard;
        // Dropping the receipt goes on trying.
        tracing::warn!(%shard, %error, "a message that came before its time could not be delayed again yet");
    }
}

fn receipt(session: &Arc<Session>, delivery: Incoming) -> RabbitmqReceipt {
    RabbitmqReceipt {
        session: Arc::clone(session),
        tag: delivery.delivery_tag,
        redeliveries: message::redeliveries(&delivery.properties, delivery.redelivered),
        not_before: message::still_not_before(&delivery.properties),
        id: delivery.properties.message_id().as_ref().map(ToString::to_string),
        body: Bytes::from(delivery.data),
        settled: false,
    }
}
