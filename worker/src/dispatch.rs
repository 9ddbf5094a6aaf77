//! One run of one key, and the settlement of the messages it was run for.

mod success;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use shared::clock::{elapsed, later};
use shared::contain::contained;
use shared::dead_letter::{DeadLetter, DeadLetterEvent, Reason};
use shared::envelope::{Attempt, Cause, Envelope};
use shared::fault::Fault;
use shared::flow::{Failure, Flow, Guard, Outcome, Run};
use shared::parking::Parking;
use shared::ports::PortError;
use shared::ports::queue::Receipt;
use shared::record_key::RecordKey;
use shared::settlement::{Circumstances, Settlement, decide};
use shared::{dead_mark, labelled, marks, names, retry_mark};
use tracing::{Instrument, error, info, warn};
use uuid::Uuid;

use crate::held::Held;
use crate::parking;
use crate::run::Engine;
use crate::trial::{self, Begun, Running};
use crate::turns::Place;
use crate::{incoming, lives};

/// Longest time the flow may take to tell the record's user about a failure.
const REPORT_TIME_MAX: Duration = Duration::from_secs(20);
/// First wait before telling of a dead letter is tried again; doubled each time.
const REPORT_PAUSE: Duration = Duration::from_millis(500);
/// How long a message waits when the store fails after its run.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// How a run ended for its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It succeeded, and had begun to read then.
    Succeeded(Timestamp),
    /// It failed; its messages are settled.
    Failed,
    /// Its messages could not be settled and come again, perhaps at once.
    Unsettled,
}

/// Runs the key once for all its messages and settles them. Dropped, it ends the run before anything else can
/// happen: the handler is no task of its own. `may_have_failed` as [`Failed`](crate::failed::Failed) knows of the key.
pub async fn run(
    engine: &Engine,
    flow: &Arc<dyn Flow>,
    guard: Arc<dyn Guard>,
    key: &RecordKey,
    held: Vec<Held>,
    may_have_failed: bool,
    place: &mut Place,
) -> Ended {
    let mut held = held;
    if held.iter().any(|held| held.envelope.cause == Cause::Replay) {
        held = match Box::pin(lives::without_copies(engine, held)).await {
            Ok(held) if held.is_empty() => return Ended::Failed,
            Ok(held) => held,
            Err(problem) => {
                warn!("The lives of replayed messages cannot be looked up, so they come again: {problem}");
                return Ended::Unsettled;
            }
        };
    }
    let envelopes: Vec<&Envelope> = held.iter().map(|h| &h.envelope).collect();
    let spokesman = Box::new(held.swap_remove(incoming::spokesman(&envelopes)));
    let span = tracing::info_span!(
        "process",
        flow.name = %key.flow(),
        record.id = %key.id(),
        trace.id = %spokesman.envelope.trace.trace_id(),
    );
    Dispatch { engine, flow, guard, key, may_have_failed }.run(spokesman, held, place).instrument(span).await
}

struct Dispatch<'a> {
    engine: &'a Engine,
    flow: &'a Arc<dyn Flow>,
    guard: Arc<dyn Guard>,
    key: &'a RecordKey,
    may_have_failed: bool,
}

/// How a run ended, before anything is settled.
struct Attempted {
    run: Run,
    result: Result<Outcome, (Fault, Settlement)>,
    /// The handler ran more than once.
    ran_again: bool,
    /// When it began to read.
    read_at: Timestamp,
}

impl Dispatch<'_> {
    async fn run(&self, spokesman: Box<Held>, mut others: Vec<Held>, place: &mut Place) -> Ended {
        let waiting = self.waiting(spokesman.envelope.cause).await;
        let covered = {
            let all = std::iter::once(&*spokesman).chain(&others).map(|held| &held.envelope);
            incoming::is_covered(&all.collect::<Vec<_>>(), waiting)
        };
        if covered {
            others.push(*spokesman);
            self.acknowledge(others).await;
            return Ended::Failed;
        }
        let came_back = spokesman.came_back() || others.iter().any(Held::came_back);
        let is_new = !self.may_have_failed && spokesman.is_new() && others.iter().all(Held::is_new);
        let admitted = if came_back {
            Box::pin(self.admit(&spokesman.envelope, spokesman.redeliveries, place)).await
        } else {
            Ok(None)
        };
        let labels = [self.key.flow().as_str()];
        let meter = &self.engine.meter;
        let started = self.engine.clock.now();
        meter.observe(
            &names::DELIVERY_WAIT,
            &labels,
            elapsed(spokesman.envelope.time, started).as_secs_f64(),
        );
        meter.shift(&names::DELIVERIES_IN_PROGRESS, &labels, 1.0);
        let in_progress = on_drop(|| meter.shift(&names::DELIVERIES_IN_PROGRESS, &labels, -1.0));

        let (running, attempted) = match admitted {
            Ok(running) => {
                let is_suspect = running.as_ref().is_some_and(Running::is_alone);
                let mut attempted = self.attempt(&spokesman.envelope, is_suspect).await;
                if matches!(attempted.result, Err((_, Settlement::Park(_)))) {
                    attempted = Box::pin(self.park(&spokesman.envelope, attempted)).await;
                }
                (running, attempted)
            }
            Err(refused) => {
                let (run, read_at) = (self.run_of(&spokesman.envelope, true), started);
                (None, Attempted { run, result: Err(refused), ran_again: false, read_at })
            }
        };
        let Attempted { run, result, ran_again, read_at } = attempted;
        labelled::reach("worker.after_run");
        let decided = match &result {
            Ok(_) | Err((_, Settlement::Park(_) | Settlement::DeadLetter(_))) => true,
            Err((_, settlement)) => matches!(settlement, Settlement::Retry { counts: true, .. }),
        };
        // What comes seldom is boxed: every run is as large as the largest of its parts.
        let settled = match result {
            Ok(outcome)
                if is_new && !ran_again && outcome.actions.is_empty() && self.engine.marked.is_idle() =>
            {
                self.found_nothing(&spokesman.envelope, &outcome, spokesman.receipt).await
            }
            Ok(outcome) => self.succeeded(&spokesman.envelope, &outcome, spokesman.receipt).await,
            Err((fault, settlement)) => {
                Box::pin(self.failed(&run, &fault, settlement, *spokesman, started)).await
            }
        };
        drop(in_progress);
        meter.observe(
            &names::DELIVERY_DURATION,
            &labels,
            elapsed(started, self.engine.clock.now()).as_secs_f64(),
        );
        match running {
            Some(running) => {
                Box::pin(trial::end(self.engine, running, decided && settled.is_ok())).await;
            }
            None if came_back && decided && settled.is_ok() => {
                _ = Box::pin(trial::clear(self.engine, self.key)).await;
            }
            None => {}
        }
        match settled {
            Ok(succeeded) => {
                self.acknowledge(others).await;
                if succeeded { Ended::Succeeded(read_at) } else { Ended::Failed }
            }
            Err(problem) => {
                warn!("A delivery could not be settled and comes again: {problem}");
                Ended::Unsettled
            }
        }
    }

    /// The message that waits for the key's next attempt, asked for only by what came from a sweep:
    /// that would only begin a second life beside it. A store that does not answer knows of none.
    async fn waiting(&self, cause: Cause) -> Option<Uuid> {
        if cause != Cause::Sweep {
            return None;
        }
        marks::load(self.engine.state.as_ref(), self.key).await.unwrap_or_default().retry
    }

    /// Notes that the run begins. One that may have killed its workers waits to be alone, and is refused when there
    /// is enough evidence.
    async fn admit(
        &self,
        envelope: &Envelope,
        redeliveries: u32,
        place: &mut Place,
    ) -> Result<Option<Running>, (Fault, Settlement)> {
        let unavailable = |problem: PortError| {
            let fault = problem.into();
            let settlement = decide(&fault, self.circumstances(envelope, 0), &self.flow.spec().retry);
            (fault, settlement)
        };
        let earlier = match trial::begin(self.engine, self.key).await.map_err(unavailable)? {
            Begun::Noted(running) => return Ok(Some(running)),
            Begun::Suspect(earlier) => earlier,
        };
        if trial::is_poison(&earlier) {
            let verdict = trial::verdict(&earlier, redeliveries);
            return Err((verdict, Settlement::DeadLetter(Reason::Poison)));
        }
        let wait = trial::wait(&earlier, self.engine.settings.trial_wait);
        info!(
            workers_ended = earlier.len(),
            "The record was running when its workers ended: it runs alone, in {} ms.",
            wait.as_millis()
        );
        if !place.be_alone(wait).await {
            return Err((Fault::retryable("stopping", "the shard is being let go"), Settlement::Return));
        }
        trial::begin_alone(self.engine, self.key, &earlier).await.map(Some).map_err(unavailable)
    }

    /// What waits for another record is parked, and then looked at once more: a success of that record is seen by
    /// this look, or sees what is parked.
    async fn park(&self, envelope: &Envelope, first: Attempted) -> Attempted {
        let Err((fault, Settlement::Park(awaited))) = &first.result else { return first };
        let parked = match parking::park(self.engine, envelope, awaited, self.flow.spec().retry.age_max).await
        {
            Ok((Parking::Covered, _)) => return first,
            Ok((Parking::Begun, parked)) => parked,
            Ok((Parking::Full, _)) => return self.instead(envelope, parking::full(fault), first),
            Err(problem) => return self.instead(envelope, problem.into(), first),
        };
        let second = self.attempt(envelope, first.run.is_suspect).await;
        let second = Attempted { ran_again: true, ..second };
        if matches!(&second.result, Err((_, Settlement::Park(still))) if still == awaited) {
            return second;
        }
        if let Err(problem) = shared::parking::remove(self.engine.state.as_ref(), awaited, &[parked]).await {
            warn!(
                "A message that waits no longer could not be taken away, and is released once more: {problem}"
            );
        }
        match &second.result {
            Err((fault, Settlement::Park(_))) => self.instead(envelope, parking::changed(fault), second),
            _ => second,
        }
    }

    /// The attempt with another fault in the place of its own.
    fn instead(&self, envelope: &Envelope, fault: Fault, attempted: Attempted) -> Attempted {
        let settlement = decide(&fault, self.circumstances(envelope, 0), &self.flow.spec().retry);
        Attempted { result: Err((fault, settlement)), ..attempted }
    }

    fn circumstances(&self, envelope: &Envelope, reruns: u32) -> Circumstances {
        Circumstances {
            attempts_before: envelope.attempt,
            reruns,
            age: elapsed(envelope.first_seen, self.engine.clock.now()),
            random: fastrand::f64(),
        }
    }

    fn run_of(&self, envelope: &Envelope, is_suspect: bool) -> Run {
        Run {
            key: self.key.clone(),
            operation: envelope.operation,
            cause: envelope.cause,
            sweep_id: envelope.sweep_id.clone(),
            attempts_before: envelope.attempt,
            is_suspect,
            trace_id: envelope.trace.trace_id(),
            guard: self.guard.clone(),
            clock: self.engine.clock.clone(),
            hints: self.engine.hints.clone(),
        }
    }

    /// Runs the handler, over again at once where the decision says so.
    async fn attempt(&self, envelope: &Envelope, is_suspect: bool) -> Attempted {
        let run = self.run_of(envelope, is_suspect);
        let mut reruns = 0;
        loop {
            let read_at = self.engine.clock.at_earliest();
            let fault = match self.handle(&run).await {
                Ok(outcome) => return Attempted { run, result: Ok(outcome), ran_again: reruns > 0, read_at },
                Err(fault) => fault,
            };
            match decide(&fault, self.circumstances(envelope, reruns), &self.flow.spec().retry) {
                Settlement::RunAgain => reruns += 1,
                settlement => {
                    let result = Err((fault, settlement));
                    return Attempted { run, result, ran_again: reruns > 0, read_at };
                }
            }
        }
    }

    /// The handler within the flow's time limit; a panic is a fault.
    async fn handle(&self, run: &Run) -> Result<Outcome, Fault> {
        let limit = self.flow.spec().run_time_max;
        let watched = self.engine.watchdog.watched(self.key, limit, contained(self.looked_at(run)));
        match tokio::time::timeout(limit, watched).await {
            Ok(result) => result.flatten(),
            Err(_) => {
                let text = format!("the run took longer than {} s and was cancelled", limit.as_secs());
                Err(Fault::retryable("run_timeout", text))
            }
        }
    }

    async fn looked_at(&self, run: &Run) -> Result<Outcome, Fault> {
        labelled::handle("worker.handle", run.key.id());
        self.flow.handle(run).await
    }

    async fn failed(
        &self,
        run: &Run,
        fault: &Fault,
        settlement: Settlement,
        held: Held,
        started: Timestamp,
    ) -> Result<bool, PortError> {
        let now = self.engine.clock.now();
        match &settlement {
            Settlement::Retry { delay, counts } => {
                let envelope =
                    if *counts { self.after(held.envelope, fault, started) } else { held.envelope };
                if *counts {
                    warn!(
                        fault = fault.kind.name(),
                        code = fault.code,
                        attempt = envelope.attempt,
                        "The attempt failed, the next comes in {} s: {fault}",
                        delay.as_secs()
                    );
                    self.report(run, fault, envelope.attempt, None).await;
                } else {
                    info!(
                        fault = fault.kind.name(),
                        code = fault.code,
                        "The message waits {} s: {fault}",
                        delay.as_secs()
                    );
                }
                if let Err(problem) =
                    retry_mark::set(self.engine.state.as_ref(), self.key, envelope.id, *delay).await
                {
                    warn!(
                        "The waiting retry could not be marked; a sweep may look at the record before: {problem}"
                    );
                }
                held.receipt.retry(envelope.to_bytes().into(), later(now, *delay)).await?;
            }
            Settlement::Park(_) => {
                info!(code = fault.code, "The message is parked: {fault}");
                held.receipt.ack().await?;
            }
            Settlement::DeadLetter(reason) => {
                let state = self.engine.state.as_ref();
                if let Err(problem) = dead_mark::add(state, self.key, held.envelope.id, started).await {
                    return self.postpone(&held.envelope, held.receipt, &problem).await;
                }
                let envelope = self.after(held.envelope, fault, started);
                self.bury(run, fault, *reason, &envelope, held.receipt).await?;
            }
            Settlement::Ack | Settlement::RunAgain | Settlement::Return => held.receipt.give_back().await?,
        }
        self.count(&settlement);
        Ok(false)
    }

    /// Writes the letter, tells the record's user, acknowledges: in this order nobody is told of a letter that is not
    /// there, and after a crash in between the message comes again and is told of again.
    async fn bury(
        &self,
        run: &Run,
        fault: &Fault,
        reason: Reason,
        envelope: &Envelope,
        receipt: Box<dyn Receipt>,
    ) -> Result<(), PortError> {
        error!(
            fault = fault.kind.name(),
            code = fault.code,
            reason = reason.name(),
            attempt = envelope.attempt,
            "The message becomes a dead letter: {fault}"
        );
        let worker = &self.engine.settings.name;
        let letter = DeadLetter::of_envelope(envelope, reason, fault, worker, self.engine.clock.now());
        let opened = DeadLetterEvent::Opened { letter: Box::new(letter) };
        self.engine.queue.append_dead_letter_event(&opened).await?;
        labelled::reach("worker.after_letter_appended");
        self.engine.meter.add(&names::DEAD_LETTERS_OPENED, &[self.key.flow().as_str(), reason.name()], 1);
        self.report(run, fault, envelope.attempt, Some(reason)).await;
        receipt.ack().await
    }

    /// The store failed while the run's outcome was being noted: the message waits a little and runs again.
    async fn postpone(
        &self,
        envelope: &Envelope,
        receipt: Box<dyn Receipt>,
        problem: &PortError,
    ) -> Result<bool, PortError> {
        warn!("The run's outcome could not be noted; the message waits and runs again: {problem}");
        let not_before = later(self.engine.clock.now(), STORE_PAUSE);
        receipt.retry(envelope.to_bytes().into(), not_before).await?;
        self.count(&Settlement::Retry { delay: STORE_PAUSE, counts: false });
        Ok(false)
    }

    /// The message after this failed attempt.
    fn after(&self, envelope: Envelope, fault: &Fault, started: Timestamp) -> Envelope {
        let duration = elapsed(started, self.engine.clock.now());
        envelope.after_attempt(Attempt {
            at: started,
            worker: self.engine.settings.name.clone(),
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            fault: fault.kind.name().to_owned(),
            code: fault.code.to_owned(),
            text: fault.text.clone(),
        })
    }

    async fn report(&self, run: &Run, fault: &Fault, attempts: u32, dead_letter: Option<Reason>) {
        let failure = Failure { fault, attempts, dead_letter };
        match tokio::time::timeout(REPORT_TIME_MAX, self.tell(run, &failure)).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Err(panic)) => error!("The record's user could not be told: {panic}"),
            Ok(Ok(Err(problem))) => warn!("The record's user could not be told: {problem}"),
            Err(_) => warn!("The record's user could not be told within {} s.", REPORT_TIME_MAX.as_secs()),
        }
    }

    /// Of a dead letter nobody tells later, so telling is tried again; a failed attempt is followed by another.
    async fn tell(&self, run: &Run, failure: &Failure<'_>) -> Result<Result<(), Fault>, Fault> {
        let mut pause = REPORT_PAUSE;
        loop {
            match contained(self.flow.report(run, failure)).await {
                Ok(Err(fault)) if failure.dead_letter.is_some() && fault.kind.may_pass() => {
                    info!("The record's user is told again in {} ms: {fault}", pause.as_millis());
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                told => return told,
            }
        }
    }

    async fn acknowledge(&self, others: Vec<Held>) {
        let flow = self.key.flow().as_str();
        // Together: one after the other, each would wait until the last one is written.
        for outcome in join_all(others.into_iter().map(|held| held.receipt.ack())).await {
            match outcome {
                Ok(()) => {
                    self.engine.meter.add(&names::MESSAGES_COALESCED, &[flow], 1);
                    self.count(&Settlement::Ack);
                }
                Err(problem) => {
                    warn!("A covered message could not be acknowledged and comes again: {problem}")
                }
            }
        }
    }

    fn count(&self, settlement: &Settlement) {
        self.engine.meter.add(&names::DELIVERIES, &[self.key.flow().as_str(), settlement.name()], 1);
    }
}

/// Runs `end` when dropped, also when the run is aborted.
fn on_drop<F: FnMut()>(end: F) -> impl Drop {
    struct OnDrop<F: FnMut()>(F);
    impl<F: FnMut()> Drop for OnDrop<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    OnDrop(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of<'a, F: Future>(
        _: impl FnOnce(
            &'a Engine,
            &'a Arc<dyn Flow>,
            Arc<dyn Guard>,
            &'a RecordKey,
            Vec<Held>,
            bool,
            &'a mut Place,
        ) -> F,
    ) -> usize {
        size_of::<F>()
    }

    /// A run is moved some times before it begins, and allocated: what comes seldom is kept elsewhere.
    #[test]
    fn a_run_is_small() {
        let bytes = bytes_of(run);
        assert!(bytes <= 2_048, "{bytes} bytes");
    }
}
