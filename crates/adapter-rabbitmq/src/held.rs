//! The deliveries that this process holds unsettled: the broker does not tell how many those are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use shared::record_key::FlowName;
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
struct Entry {
    published_at: Option<Timestamp>,
    /// Set when its consumer is gone: the broker has it back, whoever still has the receipt.
    ended: CancellationToken,
}

/// What is held, by flow.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    by_flow: BTreeMap<FlowName, BTreeMap<u64, Entry>>,
}

impl Held {
    /// Counts a delivery until the guard is dropped or its consumer has `ended`.
    pub(crate) fn hold(
        self: &Arc<Self>,
        flow: &FlowName,
        published_at: Option<Timestamp>,
        ended: &CancellationToken,
    ) -> HeldDelivery {
        let entry = Entry { published_at, ended: ended.clone() };
        let number = self.with(|state| {
            state.next += 1;
            state.by_flow.entry(flow.clone()).or_default().insert(state.next, entry);
            state.next
        });
        HeldDelivery { held: Arc::clone(self), flow: flow.clone(), number }
    }

    /// How many deliveries of a flow are held, and when the oldest of them was published.
    pub(crate) fn of(&self, flow: &FlowName) -> (u64, Option<Timestamp>) {
        self.with(|state| {
            let all = state.by_flow.get(flow).into_iter().flat_map(BTreeMap::values);
            let held: Vec<&Entry> = all.filter(|entry| !entry.ended.is_cancelled()).collect();
            let oldest = held.iter().filter_map(|entry| entry.published_at).min();
            (u64::try_from(held.len()).unwrap_or(u64::MAX), oldest)
        })
    }

    fn with<T>(&self, use_state: impl FnOnce(&mut State) -> T) -> T {
        use_state(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One delivery that is held.
#[derive(Debug)]
pub(crate) struct HeldDelivery {
    held: Arc<Held>,
    flow: FlowName,
    number: u64,
}

impl Drop for HeldDelivery {
    fn drop(&mut self) {
        self.held.with(|state| {
            if let Some(held) = state.by_flow.get_mut(&self.flow) {
                held.remove(&self.number);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_counted_until_it_is_dropped() {
        let held = Arc::new(Held::default());
        let flow = FlowName::new("parties").unwrap();
        let at = |second| Timestamp::from_second(second).ok();
        let (one, other) = (CancellationToken::new(), CancellationToken::new());
        let (old, young) = (held.hold(&flow, at(5), &one), held.hold(&flow, at(9), &one));
        let (unknown, lost) = (held.hold(&flow, None, &one), held.hold(&flow, at(1), &other));
        assert_eq!(held.of(&flow), (4, at(1)));
        other.cancel();
        assert_eq!(held.of(&flow), (3, at(5)));
        drop((old, unknown));
        assert_eq!(held.of(&flow), (1, at(9)));
        drop((young, lost));
        assert_eq!(held.of(&flow), (0, None));
        assert_eq!(held.of(&FlowName::new("other").unwrap()), (0, None));
    }
}
