//! The deliveries that this process holds unsettled: the broker does not tell how many those are.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use jiff::Timestamp;
use shared::record_key::FlowName;

use crate::receipt::Session;

/// The shards that are being consumed.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<Vec<Weak<Session>>>);

impl Held {
    /// Counts what a consumer holds, until it has ended.
    pub(crate) fn add(&self, session: &Arc<Session>) {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|session| session.upgrade().is_some_and(|session| !session.ended.is_cancelled()));
        sessions.push(Arc::downgrade(session));
    }

    /// How many deliveries of a flow are held, and when the oldest of them was published. What a consumer held that has
    /// ended the broker has again, whoever still has the receipts.
    pub(crate) fn of(&self, flow: &FlowName) -> (u64, Option<Timestamp>) {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let present = sessions.iter().filter_map(Weak::upgrade);
        let (mut count, mut oldest) = (0, None);
        for session in present.filter(|s| s.shard.flow == *flow && !s.ended.is_cancelled()) {
            let (held, published_at) = session.acks.held();
            count += u64::try_from(held).unwrap_or(u64::MAX);
            oldest = [oldest, published_at].into_iter().flatten().min();
        }
        (count, oldest)
    }
}
