//! A message in hand, and which of several are enough to hold.

use std::time::Instant;

use shared::envelope::{Cause, Envelope};
use shared::ports::queue::Receipt;

use crate::incoming;

/// A message in hand.
pub struct Held {
    /// The message.
    pub envelope: Envelope,
    /// How often it, or one that it covers, was handed over before without being settled.
    pub redeliveries: u32,
    /// Since when it is in hand.
    pub since: Instant,
    /// The right to settle it.
    pub receipt: Box<dyn Receipt>,
}

impl Held {
    /// Whether it may have been in a worker that died: its run is noted.
    pub fn came_back(&self) -> bool {
        self.redeliveries > 0
    }

    /// Whether it was never tried or handed over before, as far as it tells, and nobody asked for it.
    pub fn is_new(&self) -> bool {
        let is_news = matches!(self.envelope.cause, Cause::Webhook | Cause::Sweep);
        is_news && self.envelope.attempt == 0 && !self.came_back()
    }
}

/// Takes out of the messages that wait for a key's next run those that another one of them covers. They can be
/// acknowledged at once: the one that stays is unsettled until that run has ended, and the run begins to read after
/// all of them were published. So a key never fills the prefetch, however many messages it has.
///
/// Nothing is covered where all of them are sweeps', or by a replay: whether one of those begins a life of its own
/// is known only when it runs.
pub fn take_covered(waiting: &mut Vec<Held>) -> Vec<Held> {
    if waiting.len() < 2 {
        return Vec::new();
    }
    let envelopes: Vec<&Envelope> = waiting.iter().map(|held| &held.envelope).collect();
    let speaks = incoming::spokesman(&envelopes);
    let has_life = |e: &&Envelope| incoming::is_event(e) && e.cause != Cause::Replay;
    if !envelopes.get(speaks).is_some_and(has_life) {
        return Vec::new();
    }
    let mut stays = waiting.swap_remove(speaks);
    let covered = std::mem::take(waiting);
    stays.redeliveries = covered.iter().map(|held| held.redeliveries).fold(stays.redeliveries, u32::max);
    waiting.push(stays);
    covered
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use bytes::Bytes;
    use jiff::Timestamp;
    use proptest::prelude::*;
    use shared::clock::later;
    use shared::dead_letter::DeadLetter;
    use shared::envelope::Operation;
    use shared::ports::PortError;
    use shared::trace::TraceParent;
    use std::time::Duration;
    use uuid::Uuid;

    use super::*;

    struct NoReceipt;

    #[async_trait]
    impl Receipt for NoReceipt {
        async fn ack(self: Box<Self>) -> Result<(), PortError> {
            Ok(())
        }
        async fn retry(self: Box<Self>, _: Bytes, _: Timestamp) -> Result<(), PortError> {
            Ok(())
        }
        async fn dead_letter(self: Box<Self>, _: DeadLetter) -> Result<(), PortError> {
            Ok(())
        }
        async fn give_back(self: Box<Self>) -> Result<(), PortError> {
            Ok(())
        }
    }

    fn held(number: usize, cause: Cause, second: u64, redeliveries: u32) -> Held {
        let at = later(Timestamp::UNIX_EPOCH, Duration::from_secs(second));
        let (key, trace) = ("parties:1".parse().unwrap(), TraceParent::new(1, 1));
        let id = Uuid::from_u128(number as u128);
        let envelope = Envelope::new(id, "/test", key, Operation::Check, cause, trace, at);
        Held { envelope, redeliveries, since: Instant::now(), receipt: Box::new(NoReceipt) }
    }

    proptest! {
        #[test]
        fn one_event_is_enough_and_every_sweep_waits_without_one(
            messages in proptest::collection::vec((any::<bool>(), 0u64..5, 0u32..4), 1..20),
        ) {
            let (mut waiting, mut covered) = (Vec::new(), 0);
            for (number, (event, second, redeliveries)) in messages.iter().enumerate() {
                let cause = if *event { Cause::Webhook } else { Cause::Sweep };
                waiting.push(held(number, cause, *second, *redeliveries));
                covered += take_covered(&mut waiting).len();
            }
            prop_assert_eq!(waiting.len() + covered, messages.len());
            let events = messages.iter().filter(|(event, ..)| *event);
            match events.map(|(_, second, _)| *second).max() {
                Some(newest) => {
                    prop_assert_eq!(waiting.len(), 1);
                    prop_assert_eq!(waiting[0].envelope.time.as_second(), i64::try_from(newest).unwrap());
                    let suspicion = messages.iter().map(|(.., redeliveries)| *redeliveries).max();
                    prop_assert_eq!(Some(waiting[0].redeliveries), suspicion);
                }
                None => prop_assert_eq!(waiting.len(), messages.len()),
            }
        }
    }
}
