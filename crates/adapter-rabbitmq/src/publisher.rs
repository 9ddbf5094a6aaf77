//! Publishing: persistent, mandatory, confirmed, in windows; on a connection of its own, since a broker that
//! blocks publishers stops everything on theirs.

use std::time::Duration;

use futures_util::future::join_all;
use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation, PublisherConfirm};
use shared::ports::PortError;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use crate::connection::Connector;
use crate::error::{port_error, timed_out};
use crate::message::Letter;
use crate::options::Options;

const BLOCKED_POLL: Duration = Duration::from_millis(50);
/// Within this a connection that lives opens a channel.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Publishes letters over one channel, which is made anew when it is lost.
#[derive(Debug)]
pub(crate) struct Publisher {
    connector: Connector,
    channel: Mutex<Option<Channel>>,
    window: usize,
    blocked_wait: Duration,
}

impl Publisher {
    /// Nothing is connected yet.
    pub(crate) fn new(connector: Connector, options: &Options) -> Self {
        Self {
            connector,
            channel: Mutex::default(),
            window: options.publish_window,
            blocked_wait: options.blocked_wait,
        }
    }

    /// Publishes; `Ok` when the broker has confirmed every letter and routed it to a queue. After an error any
    /// part may have been taken.
    pub(crate) async fn publish(&self, letters: &[Letter]) -> Result<(), PortError> {
        for window in letters.chunks(self.window) {
            self.wait_while_blocked().await?;
            let channel = self.channel().await?;
            match timeout(self.connector.answer_timeout, self.publish_window(&channel, window)).await {
                Ok(outcome) => outcome?,
                Err(_elapsed) => return Err(self.give_up(&channel).await),
            }
        }
        Ok(())
    }

    /// Whether publishing is blocked at present, as far as the broker has said. Connects nothing.
    pub(crate) async fn check_unblocked(&self) -> Result<(), PortError> {
        if self.connector.is_blocked().await { Err(self.blocked()) } else { Ok(()) }
    }

    async fn publish_window(&self, channel: &Channel, window: &[Letter]) -> Result<(), PortError> {
        let mut confirms = Vec::with_capacity(window.len());
        for letter in window {
            confirms.push(self.send(channel, letter).await?);
        }
        let answers = join_all(confirms).await;
        window.iter().zip(answers).try_for_each(|(letter, answer)| self.judge(letter, answer))
    }

    async fn send(&self, channel: &Channel, letter: &Letter) -> Result<PublisherConfirm, PortError> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let (exchange, key) = (letter.exchange.as_str().into(), letter.routing_key.as_str().into());
        channel
            .basic_publish(exchange, key, options, &letter.body, letter.properties.clone())
            .await
            .map_err(|error| port_error(&self.connector.address, &doing(letter), &error))
    }

    /// Only an acknowledgement without a returned message is success.
    fn judge(&self, letter: &Letter, answer: lapin::Result<Confirmation>) -> Result<(), PortError> {
        let address = &self.connector.address;
        match answer {
            Ok(Confirmation::Ack(None)) => Ok(()),
            Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_))) => {
                Err(PortError::Misconfigured(format!(
                    "RabbitMQ at {address} has no queue for exchange '{}' and routing key '{}': the message was \
                     returned, nothing was taken. Queues are declared when a producer or worker starts: start \
                     one, and look whether somebody deleted them or the number of shards differs between \
                     programs",
                    letter.exchange, letter.routing_key
                )))
            }
            Ok(Confirmation::Nack(None)) => Err(PortError::Unavailable(format!(
                "RabbitMQ at {address} refused a message ({}): its queue has no quorum or is being moved; it is \
                 tried again",
                doing(letter)
            ))),
            Ok(Confirmation::NotRequested) => Err(PortError::Unavailable(format!(
                "RabbitMQ at {address} was not asked for a confirm ({}): a bug of this program",
                doing(letter)
            ))),
            Err(error) => Err(port_error(address, &doing(letter), &error)),
        }
    }

    async fn channel(&self) -> Result<Channel, PortError> {
        let mut present = self.channel.lock().await;
        if let Some(channel) = present.as_ref().filter(|c| c.status().connected()) {
            return Ok(channel.clone());
        }
        let channel = self.connector.confirming_channel().await?;
        *present = Some(channel.clone());
        Ok(channel)
    }

    /// What a blocked connection is sent piles up in memory, so nothing is sent while it is blocked.
    async fn wait_while_blocked(&self) -> Result<(), PortError> {
        let connection = self.connector.get().await?;
        let until = Instant::now() + self.blocked_wait;
        while connection.status().blocked() {
            if Instant::now() >= until {
                return Err(self.blocked());
            }
            sleep(BLOCKED_POLL).await;
        }
        Ok(())
    }

    /// No confirm came in time. Where the connection still answers, only a queue of this window is to blame, and
    /// the other publishers on the channel are left in peace.
    async fn give_up(&self, channel: &Channel) -> PortError {
        if self.connector.is_blocked().await {
            return self.blocked();
        }
        if !matches!(timeout(PROBE_TIMEOUT, self.connector.channel()).await, Ok(Ok(_))) {
            let mut present = self.channel.lock().await;
            if present.as_ref().is_some_and(|held| held == channel) {
                *present = None;
                self.connector.discard().await;
            }
        }
        timed_out(&self.connector.address, "confirming messages")
    }

    fn blocked(&self) -> PortError {
        PortError::Full(format!(
            "RabbitMQ at {} takes no messages: its memory or disk alarm is on (rabbitmqctl status shows which). \
             Free memory or disk space on the broker; it is tried again",
            self.connector.address
        ))
    }
}

fn doing(letter: &Letter) -> String {
    format!("publishing to exchange '{}' with routing key '{}'", letter.exchange, letter.routing_key)
}
