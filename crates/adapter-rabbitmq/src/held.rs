//! The deliveries that this process holds unsettled: the broker does not tell how many those are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use shared::record_key::FlowName;

/// What is held, by flow.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    by_flow: BTreeMap<FlowName, BTreeMap<u64, Option<Timestamp>>>,
}

impl Held {
    /// Counts a delivery until the guard is dropped.
    pub(crate) fn hold(self: &Arc<Self>, flow: &FlowName, published_at: Option<Timestamp>) -> HeldDelivery {
        let number = self.with(|state| {
            state.next += 1;
            state.by_flow.entry(flow.clone()).or_default().insert(state.next, published_at);
            state.next
        });
        HeldDelivery { held: Arc::clone(self), flow: flow.clone(), number }
    }

    /// How many deliveries of a flow are held, and when the oldest of them was published.
    pub(crate) fn of(&self, flow: &FlowName) -> (u64, Option<Timestamp>) {
        self.with(|state| {
            let found = state.by_flow.get(flow);
            let count = found.map_or(0, BTreeMap::len);
            let oldest = found.and_then(|held| held.values().copied().flatten().min());
            (u64::try_from(count).unwrap_or(u64::MAX), oldest)
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
        let (old, young, unknown) =
            (held.hold(&flow, at(5)), held.hold(&flow, at(9)), held.hold(&flow, None));
        assert_eq!(held.of(&flow), (3, at(5)));
        drop((old, unknown));
        assert_eq!(held.of(&flow), (1, at(9)));
        drop(young);
        assert_eq!(held.of(&flow), (0, None));
        assert_eq!(held.of(&FlowName::new("other").unwrap()), (0, None));
    }
}
