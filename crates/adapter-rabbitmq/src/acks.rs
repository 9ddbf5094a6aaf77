//! Acknowledging the deliveries of one channel. What is settled alone is acknowledged by whoever settles it, without
//! waking anybody. What is settled while an acknowledgement is being written goes out with the next one, in as few
//! frames as possible: each frame is a command to the quorum queue, and a round of the client library.

use std::iter::from_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::try_join_all;
use jiff::Timestamp;
use lapin::Channel;
use lapin::options::BasicAckOptions;
use shared::ports::PortError;
use shared::routing::Shard;
use tokio::sync::{self, mpsc, oneshot};

use crate::sender::Sender;
use crate::unsettled::Unsettled;

/// The way to acknowledge the deliveries of one channel.
#[derive(Debug)]
pub(crate) struct Acks {
    writer: Arc<Writer>,
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct Request {
    tag: u64,
    written: oneshot::Sender<Result<(), PortError>>,
}

impl Acks {
    /// For a channel that never has more than `prefetch` unsettled deliveries.
    pub(crate) fn start(sender: &Arc<Sender>, shard: &Shard, channel: &Channel, prefetch: u16) -> Self {
        let (requests, receiver) = mpsc::channel(usize::from(prefetch));
        let writer = Arc::new(Writer {
            sender: Arc::clone(sender),
            channel: channel.clone(),
            unsettled: Mutex::default(),
            turn: sync::Mutex::default(),
            doing: format!("acknowledging messages of shard {shard}"),
        });
        tokio::spawn(together(Arc::clone(&writer), receiver, usize::from(prefetch)));
        Self { writer, requests }
    }

    /// Takes note of a delivery, before anybody can settle it.
    pub(crate) fn delivered(&self, tag: u64, published_at: Option<Timestamp>) {
        self.writer.unsettled().add(tag, published_at);
    }

    /// How many deliveries are unsettled, and when the oldest of them was published.
    pub(crate) fn held(&self) -> (usize, Option<Timestamp>) {
        let unsettled = self.writer.unsettled();
        (unsettled.len(), unsettled.oldest())
    }

    /// Whether the channel still takes acknowledgements.
    pub(crate) fn is_usable(&self) -> bool {
        self.writer.channel.status().connected()
    }

    /// Acknowledges a delivery; `None` when the writer has ended.
    pub(crate) async fn ack(&self, tag: u64) -> Option<Result<(), PortError>> {
        if let Ok(_turn) = self.writer.turn.try_lock() {
            return Some(self.writer.write(&[tag]).await);
        }
        let (written, outcome) = oneshot::channel();
        self.requests.send(Request { tag, written }).await.ok()?;
        outcome.await.ok()
    }
}

#[derive(Debug)]
struct Writer {
    sender: Arc<Sender>,
    channel: Channel,
    unsettled: Mutex<Unsettled>,
    /// Held while acknowledgements are written.
    turn: sync::Mutex<()>,
    doing: String,
}

impl Writer {
    fn unsettled(&self) -> MutexGuard<'_, Unsettled> {
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&self, tags: &[u64]) -> Result<(), PortError> {
        let acks = self.unsettled().settle(tags);
        let writing = acks
            .iter()
            .map(|ack| self.channel.basic_ack(ack.tag, BasicAckOptions { multiple: ack.and_before }));
        self.sender.consuming.answer(&self.doing, try_join_all(writing)).await.map(drop)
    }
}

/// Writes acknowledgements until nobody can ask for any more.
async fn together(writer: Arc<Writer>, mut requests: mpsc::Receiver<Request>, at_once_max: usize) {
    let mut batch: Vec<Request> = Vec::with_capacity(at_once_max);
    while requests.recv_many(&mut batch, at_once_max).await > 0 {
        let _turn = writer.turn.lock().await;
        batch.extend(from_fn(|| requests.try_recv().ok()).take(at_once_max - batch.len()));
        let tags: Vec<u64> = batch.iter().map(|request| request.tag).collect();
        let outcome = writer.write(&tags).await;
        for request in batch.drain(..) {
            // Whoever asked may have ended.
            let _nobody = request.written.send(outcome.clone());
        }
    }
}
