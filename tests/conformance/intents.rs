//! The journal of intents on every backing: a create at an upstream without idempotency keys, stopped at each of its
//! steps and begun again, creates once.

use std::sync::Mutex;
use std::time::Duration;

use shared::intent::{self, Intent};
use shared::link;
use shared::ports::PortError;
use shared::ports::state::{Fence, State};
use shared::record_key::RecordKey;

use crate::transfer::place::{Place, now};

/// The upstream: names of records, which it takes as often as they are sent.
type Upstream = Mutex<Vec<String>>;

/// A run that ends by itself after so many steps.
struct Steps(u32);

impl Steps {
    /// None when the run stops before its next step.
    fn next(&mut self) -> Option<()> {
        self.0 = self.0.checked_sub(1)?;
        Some(())
    }
}

fn key() -> RecordKey {
    "parties:42".parse().unwrap()
}

/// What a flow does to create a record. None when it was stopped.
async fn create(state: &dyn State, upstream: &Upstream, mut steps: Steps) -> Option<()> {
    let name = "Muster".to_owned();
    let pending = intent::pending::<String>(state, &key()).await.unwrap();
    if link::load::<String>(state, &key()).await.unwrap().is_none() {
        let lost = pending.is_some_and(|intent| upstream.lock().unwrap().contains(&intent.what));
        if !lost {
            steps.next()?;
            let intent = Intent { what: name.clone(), at: now() };
            intent::declare(state, &key(), &intent, None).await.unwrap();
            steps.next()?;
            upstream.lock().unwrap().push(name.clone());
        }
        steps.next()?;
        link::save(state, &key(), &name, None, None).await.unwrap();
    }
    steps.next()?;
    intent::settle(state, &key(), None).await.unwrap();
    steps.next()
}

async fn stopped_anywhere_it_creates_once(place: Place) {
    let state = place.state.as_ref();
    for first in 0..5 {
        for second in 0..5 {
            let upstream = Upstream::default();
            for steps in [first, second] {
                let _stopped_or_through = create(state, &upstream, Steps(steps)).await;
            }
            assert!(create(state, &upstream, Steps(9)).await.is_some());
            assert_eq!(upstream.lock().unwrap().len(), 1, "stopped after {first}, then after {second} steps");
            assert_eq!(intent::pending::<String>(state, &key()).await.unwrap(), None);
            let link = link::load::<String>(state, &key()).await.unwrap().unwrap();
            assert_eq!(link.link, "Muster");
            let key = "link/parties/42";
            state.write(shared::ports::state::Write::delete(key)).await.unwrap();
        }
    }
}

async fn nothing_is_declared_under_a_lease_that_was_lost(place: Place) {
    let state = place.state.as_ref();
    let ttl = Duration::from_secs(3_600);
    let term = state.acquire_lease("shard/parties.000", "one", ttl).await.unwrap().unwrap().term;
    let held = Fence { lease: "shard/parties.000".to_owned(), term };
    let lost = Fence { term: term - 1, ..held.clone() };
    let intent = Intent { what: "create".to_owned(), at: now() };
    let refused = intent::declare(state, &key(), &intent, Some(&lost)).await;
    assert!(matches!(refused, Err(PortError::Fenced(_))), "{refused:?}");
    assert_eq!(intent::pending::<String>(state, &key()).await.unwrap(), None);
    intent::declare(state, &key(), &intent, Some(&held)).await.unwrap();
    let refused = intent::settle(state, &key(), Some(&lost)).await;
    assert!(matches!(refused, Err(PortError::Fenced(_))), "{refused:?}");
    assert_eq!(intent::pending(state, &key()).await.unwrap(), Some(intent));
}

async fn an_intent_that_cannot_be_read_is_never_taken_for_none(place: Place) {
    let key = key();
    let document = shared::ports::state::Write::put("intent/parties/42", b"?");
    place.state.write(document).await.unwrap();
    let found = intent::pending::<String>(place.state.as_ref(), &key).await;
    assert!(matches!(found, Err(PortError::Misconfigured(_))), "{found:?}");
}

crate::on_both! {
    stopped_anywhere_it_creates_once
    nothing_is_declared_under_a_lease_that_was_lost
    an_intent_that_cannot_be_read_is_never_taken_for_none
}
