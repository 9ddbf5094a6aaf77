//! Consuming one shard, and settling what it delivers.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::Connection;
use shared::clock::{Clock, elapsed};
use shared::dead_letter::DeadLetter;
use shared::ports::PortError;
use shared::ports::queue::{Consumer, Delivery, Receipt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::dead_letters;
use crate::desk::{Claim, Desk, Return};
use crate::error::WorkError;
use crate::messages::{self, Claimant, Claimed, Round};
use crate::store::Store;

/// Messages claimed in one transaction at most.
const ROUND_MAX: usize = 64;
/// How often the clock is looked at while a delayed message is waited for: it may be set.
const CLOCK_LOOK: Duration = Duration::from_millis(250);

pub(crate) struct EmbeddedConsumer {
    store: Arc<Store>,
    claimant: Claimant,
    desk: Arc<Desk>,
    /// Held from the first `next` on.
    turn: Option<OwnedSemaphorePermit>,
    /// One for each delivery that may be unsettled.
    slots: Arc<Semaphore>,
    /// Claimed, not handed over.
    held: VecDeque<(Claimed, OwnedSemaphorePermit)>,
    /// A claim that is under way: kept here, so that `next` may be cancelled.
    under_way: Option<UnderWay>,
    /// Tells a claim that is under way that its consumer has ended.
    ended: Arc<AtomicBool>,
}

type Claiming = Pin<Box<dyn Future<Output = Result<Round, PortError>> + Send>>;

struct UnderWay {
    round: Claiming,
    slots: OwnedSemaphorePermit,
}

impl EmbeddedConsumer {
    pub(crate) fn new(store: Arc<Store>, claimant: Claimant, prefetch: u16) -> Self {
        Self {
            desk: store.desks.open(&claimant.shard),
            store,
            claimant,
            turn: None,
            slots: Arc::new(Semaphore::new(usize::from(prefetch.max(1)))),
            held: VecDeque::new(),
            under_way: None,
            ended: Arc::default(),
        }
    }

    async fn take_turn(&mut self) -> Result<(), PortError> {
        if self.turn.is_none() {
            let turn = Arc::clone(&self.desk.turn).acquire_owned().await;
            self.turn = Some(turn.map_err(|_closed| ended())?);
        }
        Ok(())
    }

    /// Claims for as many slots as are free; waits until one is.
    async fn claim(&mut self) -> Result<Round, PortError> {
        if self.under_way.is_none() {
            let mut slots = Arc::clone(&self.slots).acquire_owned().await.map_err(|_closed| ended())?;
            while slots.num_permits() < ROUND_MAX
                && let Ok(more) = Arc::clone(&self.slots).try_acquire_owned()
            {
                slots.merge(more);
            }
            self.under_way = Some(UnderWay { round: self.start_claim(slots.num_permits()), slots });
        }
        let Some(under_way) = &mut self.under_way else { return Err(ended()) };
        let round = under_way.round.as_mut().await;
        let Some(UnderWay { mut slots, .. }) = self.under_way.take() else { return Err(ended()) };
        let mut round = round?;
        for message in round.claimed.drain(..) {
            let slot = slots.split(1).ok_or_else(ended)?;
            self.held.push_back((message, slot));
        }
        Ok(round)
    }

    fn start_claim(&self, limit: usize) -> Claiming {
        let (store, claimant) = (Arc::clone(&self.store), self.claimant.clone());
        let (clock, has_ended) = (Arc::clone(&store.clock), Arc::clone(&self.ended));
        let work = move |connection: &Connection| {
            if has_ended.load(Ordering::SeqCst) {
                return Ok(Round::default());
            }
            Ok(messages::claim(connection, &claimant, limit, clock.now())?)
        };
        Box::pin(async move { store.writer.submit(work, |_| {}).await })
    }

    fn deliver(&self, message: Claimed, slot: OwnedSemaphorePermit) -> Delivery {
        let claim = Claim {
            seq: message.seq,
            consumer: self.claimant.consumer,
            desk: Arc::clone(&self.desk),
            returns: Arc::clone(&self.store.returns),
            slot,
            settled: false,
        };
        Delivery {
            body: message.body,
            redeliveries: message.deliveries_before,
            receipt: Box::new(EmbeddedReceipt { store: Arc::clone(&self.store), claim }),
        }
    }
}

fn ended() -> PortError {
    PortError::Unavailable("the embedded queue has ended: start the program again".to_owned())
}

#[async_trait]
impl Consumer for EmbeddedConsumer {
    async fn next(&mut self) -> Result<Delivery, PortError> {
        self.take_turn().await?;
        loop {
            if let Some((message, slot)) = self.held.pop_front() {
                return Ok(self.deliver(message, slot));
            }
            let round = self.claim().await?;
            if self.held.is_empty() {
                tokio::select! {
                    () = self.desk.bell.notified() => {}
                    () = due(self.store.clock.as_ref(), round.next_due) => {}
                }
            }
        }
    }
}

/// Ends when the time has come; never without one.
async fn due(clock: &dyn Clock, at: Option<Timestamp>) {
    let Some(at) = at else { return std::future::pending().await };
    loop {
        let now = clock.now();
        if now >= at {
            return;
        }
        tokio::time::sleep(elapsed(now, at).min(CLOCK_LOOK)).await;
    }
}

impl Drop for EmbeddedConsumer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let mut unseen: Vec<i64> = self.held.iter().map(|(message, _)| message.seq).collect();
        if let Some(mut under_way) = self.under_way.take()
            && let Poll::Ready(Ok(round)) =
                under_way.round.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        {
            unseen.extend(round.claimed.iter().map(|message| message.seq));
        }
        self.store.returns.push(Return::Consumer {
            consumer: self.claimant.consumer,
            unseen,
            desk: Arc::clone(&self.desk),
            turn: self.turn.take(),
        });
    }
}

struct EmbeddedReceipt {
    store: Arc<Store>,
    claim: Claim,
}

impl EmbeddedReceipt {
    /// Settles by `write`, which answers whether the message was still held here.
    ///
    /// The claim moves into the request: wherever that ends without success, the message goes back.
    async fn settle<W>(self, comes_again: bool, mut write: W) -> Result<(), PortError>
    where
        W: FnMut(&Connection, i64, i64) -> rusqlite::Result<bool> + Send + 'static,
    {
        let Self { store, mut claim } = self;
        let (seq, consumer) = (claim.seq, claim.consumer);
        let work = move |connection: &Connection| {
            if write(connection, seq, consumer)? {
                return Ok(());
            }
            Err(WorkError::Refused(PortError::Unavailable(
                "the message could not be settled: its consumer had ended, so it went back to its shard and \
                 is delivered again"
                    .to_owned(),
            )))
        };
        let then = move |outcome: &Result<(), PortError>| {
            claim.settled = outcome.is_ok();
            if claim.settled && comes_again {
                claim.desk.bell.notify_one();
            }
        };
        store.writer.submit(work, then).await
    }
}

#[async_trait]
impl Receipt for EmbeddedReceipt {
    async fn ack(self: Box<Self>) -> Result<(), PortError> {
        self.settle(false, messages::delete).await
    }

    async fn retry(self: Box<Self>, body: Bytes, not_before: Timestamp) -> Result<(), PortError> {
        let postpone = move |connection: &Connection, seq, consumer| {
            messages::postpone(connection, seq, consumer, &body, not_before)
        };
        self.settle(true, postpone).await
    }

    async fn dead_letter(self: Box<Self>, letter: DeadLetter) -> Result<(), PortError> {
        let bury = move |connection: &Connection, seq, consumer| {
            dead_letters::open(connection, &letter)?;
            messages::delete(connection, seq, consumer)
        };
        self.settle(false, bury).await
    }

    async fn give_back(self: Box<Self>) -> Result<(), PortError> {
        self.settle(true, messages::give_back).await
    }
}
