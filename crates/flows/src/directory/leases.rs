//! The leases of one run: taken as its plan asks for them, renewed while it goes on, given back when it is over. Those of
//! a run that is dropped end by themselves.

use std::fmt::Display;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use sha2::{Digest as _, Sha256};
use shared::clock::Clock;
use shared::fault::{Fault, FaultKind};
use shared::lease::HeldLease;
use shared::ports::state::{Fence, Grant, State};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::action::Lease;
use super::ids::{ExternalId, TargetId};

/// How often a lease that somebody else holds is asked for before the run gives way: about ten seconds, in which a record is
/// written with all that it depends on. A run that gives way has read in vain.
const LOOKS_MAX: u32 = 28;
/// How long to wait between two of them: first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));
/// When a run that gave way is tried again.
const BUSY_PAUSE: Duration = Duration::from_secs(1);
/// How soon a renewal that failed is tried again.
const RENEW_AGAIN: Duration = Duration::from_secs(1);
/// How long giving leases back may take.
const RELEASE_TIME_MAX: Duration = Duration::from_secs(5);

/// Trust ends by the wall clock and by the time that passes in this process, whichever is first.
#[derive(Debug, Clone)]
struct Held {
    lease: HeldLease,
    trusted_until: Instant,
}

impl Held {
    fn new(fence: Fence, asked: Asked, ttl: Duration) -> Self {
        Self {
            lease: HeldLease::new(fence, asked.by_clock, ttl),
            trusted_until: asked.at + HeldLease::trust(ttl),
        }
    }

    fn is_trusted(&self, clock: &dyn Clock) -> bool {
        self.lease.is_trusted(clock.now()) && Instant::now() < self.trusted_until
    }
}

/// When a request was sent.
#[derive(Debug, Clone, Copy)]
struct Asked {
    by_clock: jiff::Timestamp,
    at: Instant,
}

/// The leases of one run.
#[derive(Debug)]
pub(super) struct Leases<'a> {
    state: &'a dyn State,
    clock: &'a dyn Clock,
    holder: String,
    /// How long each lasts without renewal.
    ttl: Duration,
    held: Mutex<Vec<Held>>,
}

fn name_of(lease: &Lease) -> String {
    match lease {
        Lease::Record(ExternalId::Retired(target)) => format!("directory/retired/{}", hash_of(target)),
        Lease::Record(id) => format!("directory/record/{id}"),
        Lease::Members(id) => format!("directory/members/{id}"),
    }
}

/// By the target's own id, which stays when our external id changes.
fn name_of_write(target: &TargetId) -> String {
    format!("directory/write/{}", hash_of(target))
}

fn hash_of(target: &TargetId) -> String {
    hex::encode(Sha256::digest(target.0.as_bytes()))
}

impl<'a> Leases<'a> {
    /// None yet. The holder is this run, and no other one of the same key.
    pub(super) fn new(state: &'a dyn State, clock: &'a dyn Clock, key: &impl Display, ttl: Duration) -> Self {
        let holder = format!("{key}/{:016x}", fastrand::u64(..));
        Self { state, clock, holder, ttl, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Vec<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> Asked {
        Asked { by_clock: self.clock.now(), at: Instant::now() }
    }

    /// Takes a lease. Whoever has it is waited for, but not for long: two runs may wait for each other.
    pub(super) async fn take(&self, lease: &Lease) -> Result<(), Fault> {
        self.take_named(name_of(lease)).await
    }

    /// Takes the lease of one write of a record, after all others; [`Self::give_back_write`] follows at once. So nobody who has
    /// it waits for another lease.
    pub(super) async fn take_write(&self, target: &TargetId) -> Result<(), Fault> {
        self.take_named(name_of_write(target)).await
    }

    /// Gives the lease of a write back. Where that fails it ends by itself.
    pub(super) async fn give_back_write(&self, target: &TargetId) {
        let name = name_of_write(target);
        let is_it = |held: &mut Held| held.lease.fence.lease == name;
        let given: Vec<Held> = self.held().extract_if(.., is_it).collect();
        self.release(&given).await;
    }

    /// As [`Self::take`].
    pub(super) async fn take_named(&self, name: String) -> Result<(), Fault> {
        let mut looks = 0;
        while !self.try_named(&name).await? {
            looks += 1;
            wait(&name, looks).await?;
        }
        Ok(())
    }

    /// Takes a lease, unless somebody else has it: then waits a little, for the `looks`th time, and answers false. What is
    /// known under it may be what that one wrote meanwhile, and no lease needed any more.
    pub(super) async fn take_or_wait(&self, lease: &Lease, looks: u32) -> Result<bool, Fault> {
        let name = name_of(lease);
        if self.try_named(&name).await? {
            return Ok(true);
        }
        wait(&name, looks).await?;
        Ok(false)
    }

    async fn try_named(&self, name: &str) -> Result<bool, Fault> {
        let asked = self.asked();
        let granted = self.state.acquire_lease(name, &self.holder, self.ttl).await?;
        if let Some(Grant { term }) = granted {
            self.held().push(Held::new(Fence { lease: name.to_owned(), term }, asked, self.ttl));
        }
        Ok(granted.is_some())
    }

    /// That all leases are still held: asked before each write.
    pub(super) fn check(&self) -> Result<(), Fault> {
        match self.held().iter().find(|held| !held.is_trusted(self.clock)) {
            Some(held) => Err(lost(&held.lease.fence.lease)),
            None => Ok(()),
        }
    }

    /// Renews the leases; answers when one of them is lost. What is done under them must stop then.
    pub(super) async fn keep(&self) -> Fault {
        let mut wait = HeldLease::renew_every(self.ttl);
        loop {
            sleep(wait).await;
            wait = HeldLease::renew_every(self.ttl);
            let all = self.held().clone();
            for held in all {
                let (asked, fence) = (self.asked(), &held.lease.fence);
                let renewing = self.state.renew_lease(fence, &self.holder, self.ttl);
                match timeout_at(held.trusted_until, renewing).await {
                    Ok(Ok(true)) => self.renewed(fence, asked),
                    Ok(Err(_)) if held.is_trusted(self.clock) => wait = RENEW_AGAIN,
                    Ok(Ok(false) | Err(_)) | Err(_) => return lost(&fence.lease),
                }
            }
        }
    }

    fn renewed(&self, fence: &Fence, asked: Asked) {
        if let Some(held) = self.held().iter_mut().find(|held| held.lease.fence == *fence) {
            *held = Held::new(fence.clone(), asked, self.ttl);
        }
    }

    /// Gives all of them back. One for which that fails ends by itself.
    pub(super) async fn give_back(&self) {
        let all = std::mem::take(&mut *self.held());
        self.release(&all).await;
    }

    async fn release(&self, given: &[Held]) {
        let releases = given.iter().map(|held| self.state.release_lease(&held.lease.fence, &self.holder));
        match timeout(RELEASE_TIME_MAX, join_all(releases)).await {
            Ok(released) => {
                for problem in released.into_iter().filter_map(Result::err) {
                    tracing::warn!("A lease could not be given back; it ends by itself: {problem}");
                }
            }
            Err(_) => tracing::warn!("Leases could not be given back in time; they end by themselves."),
        }
    }
}

/// Waits after so many looks at a lease that somebody else has.
async fn wait(name: &str, looks: u32) -> Result<(), Fault> {
    if looks >= LOOKS_MAX {
        let text = format!("Another run has the lease {name}, and keeps it.");
        return Err(Fault::new(FaultKind::Busy { after: BUSY_PAUSE }, "lease_held", text));
    }
    sleep((PAUSE.0 * 2_u32.saturating_pow(looks.saturating_sub(1).min(8))).min(PAUSE.1)).await;
    Ok(())
}

fn lost(name: &str) -> Fault {
    let text = format!("The lease {name} was lost: nothing more is written; the run is tried again.");
    Fault::new(FaultKind::Busy { after: BUSY_PAUSE }, "lease_lost", text)
}
