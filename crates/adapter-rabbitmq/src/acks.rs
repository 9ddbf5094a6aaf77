//! Acknowledging the deliveries of one channel. What is settled while an acknowledgement is being written goes out
//! with the next one, in as few frames as possible: each frame is a command to the quorum queue, and a round of the
//! client library.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::try_join_all;
use jiff::Timestamp;
use lapin::Channel;
use lapin::options::BasicAckOptions;
use shared::ports::PortError;
use shared::routing::Shard;
use tokio::sync::{mpsc, oneshot};

use crate::sender::Sender;
use crate::unsettled::Unsettled;

/// The way to acknowledge the deliveries of one channel.
#[derive(Debug)]
pub(crate) struct Acks {
    channel: Channel,
    unsettled: Arc<Mutex<Unsettled>>,
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
        let unsettled = Arc::<Mutex<Unsettled>>::default();
        let writer = Writer {
            sender: Arc::clone(sender),
            channel: channel.clone(),
            unsettled: Arc::clone(&unsettled),
            doing: format!("acknowledging messages of shard {shard}"),
        };
        tokio::spawn(writer.run(receiver, usize::from(prefetch)));
        Self { channel: channel.clone(), unsettled, requests }
    }

    /// Takes note of a delivery, before anybody can settle it.
    pub(crate) fn delivered(&self, tag: u64, published_at: Option<Timestamp>) {
        lock(&self.unsettled).add(tag, published_at);
    }

    /// How many deliveries are unsettled, and when the oldest of them was published.
    pub(crate) fn held(&self) -> (usize, Option<Timestamp>) {
        let unsettled = lock(&self.unsettled);
        (unsettled.len(), unsettled.oldest())
    }

    /// Whether the channel still takes acknowledgements.
    pub(crate) fn is_usable(&self) -> bool {
        self.channel.status().connected()
    }

    /// Acknowledges a delivery; `None` when the writer has ended.
    pub(crate) async fn ack(&self, tag: u64) -> Option<Result<(), PortError>> {
        let (written, outcome) = oneshot::channel();
        self.requests.send(Request { tag, written }).await.ok()?;
        outcome.await.ok()
    }
}

/// Writes acknowledgements until nobody can ask for any more.
struct Writer {
    sender: Arc<Sender>,
    channel: Channel,
    unsettled: Arc<Mutex<Unsettled>>,
    doing: String,
}

impl Writer {
    async fn run(self, mut requests: mpsc::Receiver<Request>, at_once_max: usize) {
        let mut batch: Vec<Request> = Vec::with_capacity(at_once_max);
        while requests.recv_many(&mut batch, at_once_max).await > 0 {
            let tags: Vec<u64> = batch.iter().map(|request| request.tag).collect();
            let acks = lock(&self.unsettled).settle(&tags);
            let writing = acks
                .iter()
                .map(|ack| self.channel.basic_ack(ack.tag, BasicAckOptions { multiple: ack.and_before }));
            let outcome = self.sender.consuming.answer(&self.doing, try_join_all(writing)).await.map(drop);
            for request in batch.drain(..) {
                // Whoever asked may have ended.
                let _nobody = request.written.send(outcome.clone());
            }
        }
    }
}

fn lock(unsettled: &Mutex<Unsettled>) -> MutexGuard<'_, Unsettled> {
    unsettled.lock().unwrap_or_else(PoisonError::into_inner)
}
