//! Leases against a store that does as it is told.

use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use shared::clock::ManualClock;
use shared::flow::Guard as _;
use shared::ports::state::{Versioned, Write, Written};

use super::*;

const TTL: Duration = Duration::from_secs(30);
const ANSWERS: u8 = 0;
const IS_AWAY: u8 = 1;
const HANGS: u8 = 2;
const IS_SLOW: u8 = 3;

/// A store with one lease, which nobody else wants.
#[derive(Debug, Default)]
struct Store(AtomicU8);

impl Store {
    async fn behave(&self) -> Result<(), PortError> {
        match self.0.load(Ordering::SeqCst) {
            ANSWERS => Ok(()),
            IS_AWAY => Err(PortError::Unavailable("away".into())),
            IS_SLOW => {
                sleep(TTL / 10).await;
                Ok(())
            }
            _ => std::future::pending().await,
        }
    }
}

#[async_trait]
impl State for Store {
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Versioned>>, PortError> {
        Ok(vec![None; keys.len()])
    }

    async fn write(&self, _: Write<'_>) -> Result<Written, PortError> {
        Ok(Written::Clash)
    }

    async fn scan(&self, _: &str, _: Option<&str>, _: u32) -> Result<Vec<(String, Versioned)>, PortError> {
        Ok(Vec::new())
    }

    async fn acquire_lease(&self, _: &str, _: &str, _: Duration) -> Result<Option<Grant>, PortError> {
        self.behave().await.map(|()| Some(Grant { term: 1 }))
    }

    async fn renew_lease(&self, _: &Fence, _: &str, _: Duration) -> Result<bool, PortError> {
        self.behave().await.map(|()| true)
    }

    async fn release_lease(&self, _: &Fence, _: &str) -> Result<(), PortError> {
        self.behave().await
    }

    async fn count(&self, _: &str, _: u64, _: Duration) -> Result<u64, PortError> {
        Ok(0)
    }

    async fn ping(&self) -> Result<(), PortError> {
        self.behave().await
    }
}

/// A holder whose wall clock stands still, as one that is set back again and again.
struct Holder {
    store: Store,
    clock: Arc<dyn Clock>,
}

impl Holder {
    fn new() -> Self {
        Self { store: Store::default(), clock: Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH)) }
    }

    fn keeper(&self) -> LeaseKeeper<'_> {
        LeaseKeeper { state: &self.store, clock: &self.clock, holder: "worker-1", ttl: TTL }
    }

    async fn acquired(&self) -> LeaseGuard {
        self.keeper().acquire("shard/parties.000", &CancellationToken::new()).await.unwrap()
    }

    /// How long a lease is kept after the store's behaviour has changed.
    async fn kept_for(&self, behaviour: u8) -> Duration {
        let guard = self.acquired().await;
        self.store.0.store(behaviour, Ordering::SeqCst);
        let began = Instant::now();
        assert!(timeout(TTL * 20, self.keeper().keep(&guard)).await.is_ok(), "the lease is kept for ever");
        assert!(guard.fence().is_err(), "what is lost is still trusted");
        began.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_lost_before_the_store_lets_go_when_the_store_is_away_whatever_the_wall_clock_says() {
    let kept = Holder::new().kept_for(IS_AWAY).await;
    assert!(kept > TTL / 2 && kept < TTL, "{kept:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_lost_before_the_store_lets_go_when_its_renewal_hangs() {
    let kept = Holder::new().kept_for(HANGS).await;
    assert!(kept > TTL / 2 && kept < TTL, "{kept:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_kept_while_the_store_answers() {
    let holder = Holder::new();
    let guard = holder.acquired().await;
    assert!(timeout(TTL * 20, holder.keeper().keep(&guard)).await.is_err(), "the lease was let go");
    assert!(guard.fence().is_ok());
}

#[tokio::test(start_paused = true)]
async fn giving_a_lease_up_ends_though_the_store_hangs() {
    let holder = Holder::new();
    let guard = holder.acquired().await;
    holder.store.0.store(HANGS, Ordering::SeqCst);
    assert!(timeout(TTL * 20, holder.keeper().release(&guard)).await.is_ok(), "it hangs with the store");
    assert!(guard.fence().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_granted_after_the_stop_is_not_left_behind() {
    let holder = Holder::new();
    holder.store.0.store(IS_SLOW, Ordering::SeqCst);
    let (keeper, stop) = (holder.keeper(), CancellationToken::new());
    let stopping = async {
        sleep(TTL / 20).await;
        stop.cancel();
    };
    let (guard, ()) = tokio::join!(keeper.acquire("shard/parties.000", &stop), stopping);
    assert!(guard.is_some(), "the store has granted it, and nobody would give it up");
    assert!(keeper.acquire("shard/parties.000", &stop).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_waiting_for_a_store_that_is_away() {
    for behaviour in [IS_AWAY, HANGS] {
        let holder = Holder::new();
        holder.store.0.store(behaviour, Ordering::SeqCst);
        let (keeper, stop) = (holder.keeper(), CancellationToken::new());
        let stopping = async {
            sleep(TTL * 3).await;
            stop.cancel();
        };
        let waiting = async { tokio::join!(keeper.acquire("shard/parties.000", &stop), stopping) };
        let (guard, ()) = timeout(TTL * 20, waiting).await.expect("it waits for ever");
        assert!(guard.is_none());
    }
}
