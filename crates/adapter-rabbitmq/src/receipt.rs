//! Settling one delivery.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use shared::dead_letter::{DeadLetter, DeadLetterEvent};
use shared::labelled;
use shared::ports::PortError;
use shared::ports::queue::Receipt;
use shared::routing::Shard;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::acks::Acks;
use crate::sender::Sender;

/// Pause between tries to give a delivery back.
const GIVE_BACK_PAUSE: Duration = Duration::from_secs(1);

/// One shard being consumed, as its deliveries see it.
#[derive(Debug)]
pub(crate) struct Session {
    /// The shard.
    pub(crate) shard: Shard,
    /// Publishes what settling needs.
    pub(crate) sender: Arc<Sender>,
    /// Acknowledges.
    pub(crate) acks: Acks,
    /// Set when the consumer is gone: the broker delivers again what was not settled.
    pub(crate) ended: CancellationToken,
    /// Why it ended, when not by being dropped.
    pub(crate) failure: OnceLock<PortError>,
}

impl Session {
    /// Why nothing can be settled or delivered any more.
    pub(crate) fn failure(&self) -> PortError {
        self.failure.get().cloned().unwrap_or_else(|| {
            let shard = &self.shard;
            PortError::Unavailable(format!(
                "the consumer of shard {shard} has ended; what it had not settled is delivered again"
            ))
        })
    }
}

/// The right to settle one delivery.
///
/// Giving back is publishing a copy to the same shard and acknowledging this one: a requeue would count toward
/// the delivery limit before RabbitMQ 4.3, so that a message could be taken for poison by being handed back.
/// The copy goes to the end of the shard.
#[derive(Debug)]
pub(crate) struct RabbitmqReceipt {
    /// The consumer.
    pub(crate) session: Arc<Session>,
    /// Its number on its channel.
    pub(crate) tag: u64,
    /// The message as it came.
    pub(crate) body: Bytes,
    /// The message's id, where it has one.
    pub(crate) id: Option<String>,
    /// The earliest time of delivery that it came with: kept when it is given back.
    pub(crate) not_before: Option<Timestamp>,
    /// How often it was handed over before.
    pub(crate) redeliveries: u32,
    /// Whether there is nothing left to give back.
    pub(crate) settled: bool,
}

impl RabbitmqReceipt {
    /// Publishes `body` to the shard, then acknowledges.
    async fn replace(
        &mut self,
        body: Bytes,
        not_before: Option<Timestamp>,
        redeliveries: u32,
    ) -> Result<(), PortError> {
        self.check_session()?;
        let sender = &self.session.sender;
        let letter = sender.letter(&self.session.shard, self.id.as_deref(), body, not_before, redeliveries);
        sender.publisher.publish(&[letter]).await?;
        labelled::reach("queue.after_retry_published");
        self.acknowledge().await
    }

    /// Publishes the message as it came, then acknowledges.
    pub(crate) async fn replace_unchanged(&mut self) -> Result<(), PortError> {
        self.replace(self.body.clone(), self.not_before, self.redeliveries).await
    }

    async fn acknowledge(&mut self) -> Result<(), PortError> {
        self.check_session()?;
        self.settled = true;
        self.session.acks.ack(self.tag).await.unwrap_or_else(|| Err(self.session.failure()))
    }

    fn check_session(&mut self) -> Result<(), PortError> {
        if self.session.ended.is_cancelled() || !self.session.acks.is_usable() {
            self.settled = true;
            return Err(self.session.failure());
        }
        Ok(())
    }

    /// Gives the delivery back as soon as that is possible; ends when the consumer does, which gives back too.
    async fn give_back_in_time(mut self) {
        let session = Arc::clone(&self.session);
        let tries = async {
            while let Err(error) = self.replace_unchanged().await {
                if self.settled {
                    break;
                }
                let shard = &session.shard;
                tracing::warn!(%shard, %error, "a delivery could not be given back yet");
                sleep(GIVE_BACK_PAUSE).await;
            }
        };
        tokio::select! {
            () = session.ended.cancelled() => {}
            () = tries => {}
        }
        self.settled = true;
    }
}

#[async_trait]
impl Receipt for RabbitmqReceipt {
    async fn ack(mut self: Box<Self>) -> Result<(), PortError> {
        self.acknowledge().await
    }

    async fn retry(mut self: Box<Self>, body: Bytes, not_before: Timestamp) -> Result<(), PortError> {
        self.replace(body, Some(not_before), 0).await
    }

    async fn dead_letter(mut self: Box<Self>, letter: DeadLetter) -> Result<(), PortError> {
        self.check_session()?;
        let event = DeadLetterEvent::Opened { letter: Box::new(letter) };
        self.session.sender.append(&event).await?;
        self.acknowledge().await
    }

    async fn give_back(mut self: Box<Self>) -> Result<(), PortError> {
        self.replace_unchanged().await
    }
}

impl Drop for RabbitmqReceipt {
    fn drop(&mut self) {
        if self.settled || self.session.ended.is_cancelled() {
            return;
        }
        // Without a runtime the program is ending, and with it the connection: the broker delivers again.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let rest = Self {
                session: Arc::clone(&self.session),
                tag: self.tag,
                body: self.body.clone(),
                id: self.id.take(),
                not_before: self.not_before,
                redeliveries: self.redeliveries,
                settled: false,
            };
            runtime.spawn(rest.give_back_in_time());
        }
    }
}
