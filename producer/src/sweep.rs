//! Sweeps: at each tick, page through what a flow's search finds and publish it. The cursor moves only after
//! its messages are durable, so that a sweep goes on where it stood after a crash or a change of leader.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use operations::sweep_state::{SweepState, cursor_name};
use shared::clock::elapsed;
use shared::contain::contained;
use shared::dead_mark::DeadMark;
use shared::envelope::{Cause, Operation};
use shared::fault::{Fault, FaultKind};
use shared::flow::{Flow, Guard, SweepHit, SweepPage};
use shared::lease::LeaseGuard;
use shared::ports::PortError;
use shared::ports::queue::Outbound;
use shared::ports::state::State;
use shared::{cursor, marks, names};
use tracing::{error, info, warn};

use crate::run::Engine;
use crate::schedule::Schedule;

/// How often the schedule is looked at, at the least; shorter where the next tick is nearer.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(30);
/// First and longest wait before a page that failed is tried again.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Fires a flow's sweeps while the leader's lease holds.
pub async fn fire(engine: Arc<Engine>, flow: Arc<dyn Flow>, guard: Arc<LeaseGuard>) {
    let name = flow.spec().name.clone();
    let Some(schedule) = engine.settings.schedules.get(&name).cloned() else { return };
    let sweeper = Sweeper { engine: &engine, flow: &flow, guard: &guard };
    let mut wait = RETRY_WAIT.0;
    loop {
        let pause = match sweeper.look(&schedule).await {
            Ok(pause) => {
                wait = RETRY_WAIT.0;
                pause
            }
            Err(fault) => {
                warn!(flow.name = %name, "The sweep stands still, trying on in {} s: {fault}", wait.as_secs());
                let pause = wait;
                wait = (wait * 2).min(RETRY_WAIT.1);
                pause
            }
        };
        tokio::time::sleep(pause).await;
    }
}

struct Sweeper<'a> {
    engine: &'a Engine,
    flow: &'a Arc<dyn Flow>,
    guard: &'a LeaseGuard,
}

impl Sweeper<'_> {
    /// Goes on with an unfinished sweep or fires a due tick; answers how long to wait for the next look.
    async fn look(&self, schedule: &Schedule) -> Result<Duration, Fault> {
        let state = self.engine.state.as_ref();
        let name = cursor_name(&self.flow.spec().name);
        let known: Option<SweepState> = cursor::load(state, &name).await?;
        if let Some(at) = known.as_ref().and_then(|sweep| sweep.last_success) {
            self.show_last_success(at);
        }
        let now = self.engine.clock.now();
        let unfinished = known.as_ref().filter(|sweep| sweep.unfinished).cloned();
        if let Some(sweep) = unfinished {
            info!(flow.name = %self.flow.spec().name, "An unfinished sweep goes on.");
            self.run(sweep).await?;
        } else if let Some(tick) = schedule.due(known.as_ref().map(|sweep| sweep.tick), now) {
            let last_success = known.and_then(|sweep| sweep.last_success);
            let sweep_id = tick.to_string();
            let sweep = SweepState { tick, sweep_id, unfinished: true, from: None, last_success };
            self.save(&sweep).await?;
            self.run(sweep).await?;
        }
        let now = self.engine.clock.now();
        let next = schedule.next_after(now).map_or(LOOK_EVERY_MAX, |tick| elapsed(now, tick));
        Ok(next.min(LOOK_EVERY_MAX))
    }

    async fn run(&self, mut sweep: SweepState) -> Result<(), Fault> {
        let labels = [self.flow.spec().name.as_str()];
        let started = self.engine.clock.now();
        let (mut published, mut skipped) = (0usize, 0usize);
        while sweep.unfinished {
            let page = match self.page(&sweep).await {
                Err(fault) if is_hopeless(&fault) && sweep.from.is_some() => {
                    // The next tick begins anew; what stays is that the last success grows old.
                    self.save(&SweepState { unfinished: false, from: None, ..sweep }).await?;
                    return Err(fault);
                }
                page => page?,
            };
            let found = page.records.len();
            let batch = self.messages(page.records, &sweep.sweep_id).await?;
            skipped += found - batch.len();
            published += batch.len();
            self.publish(&batch).await?;
            sweep.unfinished = page.next.is_some();
            sweep.from = page.next;
            if !sweep.unfinished {
                sweep.last_success = Some(self.engine.clock.now());
            }
            self.save(&sweep).await?;
        }
        let now = self.engine.clock.now();
        let meter = &self.engine.meter;
        meter.observe(&names::SWEEP_DURATION, &labels, elapsed(started, now).as_secs_f64());
        self.show_last_success(now);
        meter.add(&names::SWEEP_KEYS, &[labels[0], "published"], published as u64);
        meter.add(&names::SWEEP_KEYS, &[labels[0], "skipped"], skipped as u64);
        info!(flow.name = labels[0], published, skipped, "The sweep is through.");
        Ok(())
    }

    /// Publishes a page under the lease. The lease is asked for last, and before each batch; what is not confirmed when
    /// trust in it ends is cut off, the end being looked at first: a leader that was frozen must not go on publishing
    /// when it wakes up.
    async fn publish(&self, batch: &[Outbound]) -> Result<(), Fault> {
        for part in batch.chunks(self.engine.settings.publish_batch_max.max(1)) {
            let trusted_for = self.guard.trusted_for()?;
            tokio::select! {
                biased;
                () = tokio::time::sleep(trusted_for) => return Err(unconfirmed().into()),
                outcome = self.engine.publish(part, Cause::Sweep, self.flow.spec()) => outcome?,
            }
        }
        Ok(())
    }

    async fn page(&self, sweep: &SweepState) -> Result<SweepPage, Fault> {
        let (now, limit) = (self.engine.clock.now(), self.engine.settings.sweep_page_time_max);
        let finding = contained(self.flow.sweep(sweep.from.as_ref(), &sweep.sweep_id, now));
        match tokio::time::timeout(limit, finding).await {
            Ok(page) => page.flatten(),
            Err(_) => {
                let text = format!(
                    "no page of the sweep was found within {} s; it is looked for again from the same place",
                    limit.as_secs()
                );
                Err(Fault::retryable("sweep_timeout", text))
            }
        }
    }

    fn show_last_success(&self, at: Timestamp) {
        let labels = [self.flow.spec().name.as_str()];
        self.engine.meter.set(&names::SWEEP_LAST_SUCCESS, &labels, at.as_duration().as_secs_f64());
    }

    async fn messages(&self, hits: Vec<SweepHit>, sweep_id: &str) -> Result<Vec<Outbound>, PortError> {
        let mut batch = Vec::with_capacity(hits.len());
        for hit in hits {
            if is_left_alone(self.engine.state.as_ref(), &hit).await? {
                continue;
            }
            let mut envelope = self.engine.envelope(hit.key, Operation::Check, Cause::Sweep);
            envelope.sweep_id = Some(sweep_id.to_owned());
            batch.push(Outbound::of(&envelope, self.flow.spec().shards));
        }
        Ok(batch)
    }

    async fn save(&self, sweep: &SweepState) -> Result<(), Fault> {
        let Some(fence) = self.guard.fence()? else { return Ok(()) };
        let name = cursor_name(&self.flow.spec().name);
        cursor::save(self.engine.state.as_ref(), &name, sweep, &fence).await.map(|_| ()).map_err(|problem| {
            error!(flow.name = %self.flow.spec().name, "The sweep's cursor could not be saved: {problem}");
            problem.into()
        })
    }
}

fn unconfirmed() -> PortError {
    let why =
        "the queue did not confirm a page of the sweep while the lease was trusted; it is published again";
    PortError::Unavailable(why.to_owned())
}

/// Whether going on from the same place can only fail again.
fn is_hopeless(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::Permanent | FaultKind::Bug)
}

/// Whether a record is skipped: its next attempt is on its way, or it has an open dead letter and has not
/// changed since the attempt that failed.
async fn is_left_alone(state: &dyn State, hit: &SweepHit) -> Result<bool, PortError> {
    let marks = marks::load(state, &hit.key).await?;
    let is_dead = |dead: DeadMark| hit.changed_at.is_some_and(|changed| changed <= dead.failed_at);
    Ok(marks.retry.is_some() || marks.dead.is_some_and(is_dead))
}
