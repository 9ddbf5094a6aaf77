//! Leases, terms, fences.

use std::time::Instant;

use shared::ports::PortError;
use shared::ports::state::{Fence, Grant};
use tokio::task::JoinSet;

use super::*;

const LEASE: &str = "shard/parties.003";
const KEY: &str = "link/parties/1";

async fn acquire(state: &dyn State, holder: &str, ttl: Duration) -> Option<u64> {
    state.acquire_lease(LEASE, holder, ttl).await.unwrap().map(|Grant { term }| term)
}

/// Waits until `holder` gets the lease.
async fn take_over(state: &dyn State, holder: &str) -> u64 {
    wait::until("end of the other's lease", SOON, async || acquire(state, holder, LONG).await.ok_or("held"))
        .await
}

fn fence(term: u64) -> Fence {
    Fence { lease: LEASE.to_owned(), term }
}

async fn write_fenced(state: &dyn State, value: &str, term: u64) -> Result<Written, PortError> {
    state.write(Write { fence: Some(&fence(term)), ..Write::put(KEY, value.as_bytes()) }).await
}

fn assert_fenced(refused: &Result<Written, PortError>) {
    assert!(matches!(refused, Err(PortError::Fenced(text)) if text.contains(LEASE)), "{refused:?}");
}

pub async fn a_lease_has_one_holder<B: StateBacking>() {
    let backing = B::new().await;
    let state = backing.open().await;
    let state = state.as_ref();
    let term = acquire(state, "one", LONG).await.unwrap();
    assert_eq!(acquire(state, "two", LONG).await, None);
    assert_eq!(acquire(state, "one", LONG).await, Some(term), "the holder's own term again");
    assert!(state.renew_lease(&fence(term), "one", LONG).await.unwrap());
    assert!(state.acquire_lease("shard/parties.004", "two", LONG).await.unwrap().is_some());
    state.release_lease(&fence(term), "one").await.unwrap();
    let next = acquire(state, "two", LONG).await.unwrap();
    assert!(next > term, "{next} {term}");
    assert_eq!(acquire(state, "one", LONG).await, None);
}

pub async fn a_lease_ends_by_itself_and_can_be_taken_over<B: StateBacking>() {
    let backing = B::new().await;
    let state = backing.open().await;
    let state = state.as_ref();
    let begin = Instant::now();
    let term = acquire(state, "one", BRIEF).await.unwrap();
    let next = take_over(state, "two").await;
    assert!(begin.elapsed() >= BRIEF - Duration::from_millis(5), "taken over after {:?}", begin.elapsed());
    assert!(next > term, "{next} {term}");
    assert!(!state.renew_lease(&fence(term), "one", LONG).await.unwrap());
    assert_eq!(acquire(state, "one", LONG).await, None);

    // Nobody took it over, and still it has ended: a new tenure has a new term.
    state.release_lease(&fence(next), "two").await.unwrap();
    let brief = acquire(state, "one", BRIEF).await.unwrap();
    wait::until("end of the lease", SOON, async || write_fenced(state, "x", brief).await.err().ok_or("held"))
        .await;
    assert!(!state.renew_lease(&fence(brief), "one", LONG).await.unwrap());
    assert!(acquire(state, "one", LONG).await.unwrap() > brief);
}

pub async fn only_the_holder_renews_and_releases<B: StateBacking>() {
    let backing = B::new().await;
    let state = backing.open().await;
    let state = state.as_ref();
    let term = acquire(state, "one", LONG).await.unwrap();
    for (fence, holder) in [(fence(term), "two"), (fence(term + 1), "one"), (fence(0), "one")] {
        assert!(!state.renew_lease(&fence, holder, LONG).await.unwrap());
        state.release_lease(&fence, holder).await.unwrap();
        assert_eq!(acquire(state, "two", LONG).await, None, "{fence:?} {holder}");
    }
    assert!(!state.renew_lease(&Fence { lease: "unknown".into(), term: 1 }, "one", LONG).await.unwrap());
    state.release_lease(&fence(term), "one").await.unwrap();
    state.release_lease(&fence(term), "one").await.unwrap();
    assert!(!state.renew_lease(&fence(term), "one", LONG).await.unwrap());
}

pub async fn terms_rise_over_a_crash<B: StateBacking>() {
    let backing = B::new().await;
    let mut state = backing.open().await;
    let mut last = 0;
    for round in 0..3 {
        for holder in ["one", "two"] {
            let term = acquire(state.as_ref(), holder, LONG).await.unwrap();
            assert!(term > last, "round {round}: {term} after {last}");
            last = term;
            state.release_lease(&fence(term), holder).await.unwrap();
        }
        state = backing.crash(state).await;
    }
}

pub async fn of_many_that_ask_one_gets_it<B: StateBacking>() {
    let backing = B::new().await;
    let state = backing.open().await;
    let mut asking = JoinSet::new();
    for number in 0..16 {
        let state = Arc::clone(&state);
        asking.spawn(async move { acquire(state.as_ref(), &format!("worker-{number}"), LONG).await });
    }
    let granted: Vec<u64> = asking.join_all().await.into_iter().flatten().collect();
    assert_eq!(granted.len(), 1, "{granted:?}");
}

pub async fn a_fenced_write_needs_the_present_term<B: StateBacking>() {
    let backing = B::new().await;
    let state = backing.open().await;
    let state = state.as_ref();
    assert_fenced(&write_fenced(state, "x", 1).await);
    let term = acquire(state, "one", LONG).await.unwrap();
    assert_fenced(&write_fenced(state, "x", term + 1).await);
    assert_fenced(&write_fenced(state, "x", 0).await);
    assert_eq!(text(state, KEY).await, None, "what is refused leaves nothing");

    let Written::Done(version) = write_fenced(state, "one", term).await.unwrap() else { panic!("clash") };
    // The fence is asked first: whoever has lost the lease learns that, not of a clash.
    let stale = Write {
        fence: Some(&fence(term + 1)),
        expected: Expected::Version(version + 9),
        ..Write::put(KEY, b"x")
    };
    assert_fenced(&state.write(stale).await);
    let clash = Write { fence: Some(&fence(term)), expected: Expected::Absent, ..Write::put(KEY, b"x") };
    assert_eq!(state.write(clash).await.unwrap(), Written::Clash);

    state.release_lease(&fence(term), "one").await.unwrap();
    assert_fenced(&write_fenced(state, "x", term).await);
    assert_fenced(&state.write(Write { fence: Some(&fence(term)), ..Write::delete(KEY) }).await);
    assert_eq!(state.get(KEY).await.unwrap(), Some(versioned("one", version)));
}

pub async fn a_fenced_write_after_a_takeover_never_happens<B: StateBacking>() {
    let backing = B::new().await;
    let state = backing.open().await;
    let old = acquire(state.as_ref(), "old", BRIEF).await.unwrap();
    let writer = tokio::spawn({
        let state = Arc::clone(&state);
        async move {
            // Frozen, thawed, unaware: it writes as long as it is let.
            while write_fenced(state.as_ref(), "old", old).await.is_ok() {}
        }
    });
    let new = take_over(state.as_ref(), "new").await;
    write_fenced(state.as_ref(), "new", new).await.unwrap();
    for _ in 0..100 {
        assert_eq!(text(state.as_ref(), KEY).await.as_deref(), Some("new"));
        assert_fenced(&write_fenced(state.as_ref(), "old", old).await);
    }
    tokio::time::timeout(SOON, writer).await.expect("the old holder is refused").unwrap();
    assert_eq!(text(state.as_ref(), KEY).await.as_deref(), Some("new"));
}
