//! One shard: hold its lease, have its deliveries pumped, let it go.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shared::lease::LeaseGuard;
use shared::names;
use shared::record_key::FlowName;
use shared::routing::Shard;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::pump::{End, Pump, Shaft};
use crate::trial;

/// First and longest wait before a lost shard is tried again.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// Which shards are being consumed now: what readiness is judged by.
#[derive(Debug, Default)]
pub struct Consuming(Mutex<HashSet<Shard>>);

impl Consuming {
    pub(crate) fn set(&self, shard: &Shard, on: bool) {
        let mut shards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if on {
            shards.insert(shard.clone());
        } else {
            shards.remove(shard);
        }
    }

    /// Whether a shard is consumed.
    pub fn contains(&self, shard: &Shard) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(shard)
    }

    /// How many shards of a flow are consumed.
    pub fn count(&self, flow: &FlowName) -> usize {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .filter(|shard| shard.flow == *flow)
            .count()
    }
}

/// How a shard is told to end.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Take nothing more, finish what runs.
    pub drain: CancellationToken,
    /// Cut off what still runs, and hand it back.
    pub cut: CancellationToken,
}

/// Why the shard is held no longer.
enum Released {
    End(End),
    LeaseLost,
}

/// Serves a shard until it is told to stop and its runs have ended.
pub async fn serve(shaft: Arc<Shaft>, stop: Stop) {
    let (engine, shard) = (&shaft.engine, &shaft.shard);
    let mut wait = RETRY_WAIT.0;
    while !stop.drain.is_cancelled() {
        let acquiring = lease_name(shard);
        let Some(guard) = engine.leases().acquire(&acquiring, &stop.drain).await else { return };
        let guard = Arc::new(guard);
        let began = Instant::now();
        match hold(&shaft, &guard, &stop).await {
            Released::End(End::Stopped) => return,
            Released::End(End::ConsumerLost(problem)) => {
                warn!(shard = %shard, "The shard is not consumed now, trying again: {problem}");
                wait = wait_after(wait, began.elapsed());
                let _ = stop.drain.run_until_cancelled(tokio::time::sleep(wait)).await;
            }
            Released::LeaseLost => {
                engine.meter.add(&names::LEASES_LOST, &[shard.flow.as_str()], 1);
                warn!(shard = %shard, "The shard's lease was lost; its unfinished messages are handed back.");
            }
        }
    }
}

/// How long to wait before a shard is tried again that was consumed for a while: one that was consumed for long
/// begins anew with the shortest wait.
fn wait_after(last: Duration, consumed_for: Duration) -> Duration {
    if consumed_for > RETRY_WAIT.1 { RETRY_WAIT.0 } else { (last * 2).min(RETRY_WAIT.1) }
}

fn lease_name(shard: &Shard) -> String {
    format!("shard/{shard}")
}

/// Consumes under the lease; gives the lease up at the end, unless it is lost.
async fn hold(shaft: &Arc<Shaft>, guard: &Arc<LeaseGuard>, stop: &Stop) -> Released {
    let (engine, shard) = (&shaft.engine, &shaft.shard);
    let mut pump = Pump::new(shaft.clone(), guard.clone());
    let mut consumer = None;
    let consuming = async {
        match engine.queue.consume(shard, engine.settings.prefetch).await {
            Ok(begun) => {
                engine.consuming.set(shard, true);
                pump.run(consumer.insert(begun).as_mut(), &stop.drain).await
            }
            Err(problem) => End::ConsumerLost(problem),
        }
    };
    let leases = engine.leases();
    let released = tokio::select! {
        end = consuming => Released::End(end),
        () = leases.keep(guard) => Released::LeaseLost,
        () = stop.cut.cancelled() => Released::End(End::Stopped),
    };
    // What still runs has ended before anybody holds the lease next, and the consumer ends after its messages.
    pump.cut().await;
    drop(consumer);
    trial::strike_out(engine).await;
    leases.release(guard).await;
    released
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_begin_anew_after_a_good_time() {
        let (shortest, longest) = RETRY_WAIT;
        assert_eq!(wait_after(shortest, Duration::ZERO), shortest * 2);
        assert_eq!(wait_after(longest, Duration::ZERO), longest);
        assert_eq!(wait_after(longest, Duration::from_secs(3_600)), shortest);
    }
}
