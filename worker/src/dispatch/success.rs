//! Settling what succeeded.

use shared::clock::{elapsed, later};
use shared::envelope::{Cause, Envelope};
use shared::flow::Outcome;
use shared::ports::PortError;
use shared::ports::queue::{Outbound, Receipt};
use shared::settlement::Settlement;
use shared::{labelled, marks, names, retry_mark};
use tracing::{debug, info, warn};

use super::{Dispatch, STORE_PAUSE};
use crate::parking;

impl Dispatch<'_> {
    /// Notes a success that did something, or whose messages an earlier run may have done something for.
    pub(super) async fn succeeded(
        &self,
        envelope: &Envelope,
        outcome: &Outcome,
        receipt: Box<dyn Receipt>,
    ) -> Result<bool, PortError> {
        let now = self.engine.clock.now();
        let flow = self.key.flow().as_str();
        if let Err(problem) = self.clear_marks(outcome.converged).await {
            return Box::pin(self.postpone(envelope, receipt, &problem)).await;
        }
        if outcome.converged && !outcome.actions.is_empty() {
            let seconds = elapsed(envelope.first_seen, now).as_secs_f64();
            self.engine.meter.observe(&names::CONVERGENCE, &[flow], seconds);
        }
        say(outcome, envelope.cause);
        labelled::reach("worker.before_ack");
        receipt.ack().await?;
        self.count(&Settlement::Ack);
        Ok(true)
    }

    /// A success that did nothing, of a record that has not failed: it is settled without waiting for the store, which only
    /// knows of what is parked.
    pub(super) async fn found_nothing(
        &self,
        envelope: &Envelope,
        outcome: &Outcome,
        receipt: Box<dyn Receipt>,
    ) -> Result<bool, PortError> {
        say(outcome, envelope.cause);
        labelled::reach("worker.before_ack");
        receipt.ack().await?;
        self.count(&Settlement::Ack);
        labelled::reach("worker.before_marks");
        let cleared = self.clear_marks(outcome.converged).await;
        if let Err(problem) = &cleared {
            Box::pin(self.run_once_more(envelope, problem)).await;
        }
        Ok(cleared.is_ok())
    }

    /// What the success clears could not be cleared, and the message is settled already: it is published once more.
    async fn run_once_more(&self, envelope: &Envelope, problem: &PortError) {
        warn!("What the run clears could not be cleared; the message waits and runs again: {problem}");
        let not_before = Some(later(self.engine.clock.now(), STORE_PAUSE));
        let outbound = Outbound { not_before, ..Outbound::of(envelope, self.flow.spec().shards) };
        if let Err(problem) = self.engine.queue.publish(&[outbound]).await {
            warn!(
                "Nor can it be published: what is parked waits for the record's next run, or for an hour: {problem}"
            );
        }
    }

    /// Takes away what a success settles. Asked for after the run, so that what was marked during it is seen.
    async fn clear_marks(&self, converged: bool) -> Result<(), PortError> {
        if self.engine.marked.ask(self.key).await? {
            Box::pin(self.clear_those_there(converged)).await?;
        }
        Ok(())
    }

    async fn clear_those_there(&self, converged: bool) -> Result<(), PortError> {
        let state = self.engine.state.as_ref();
        let marks = marks::load(state, self.key).await?;
        if let Some(dead) = marks.dead.filter(|_| converged) {
            let worker = &self.engine.settings.name;
            let now = self.engine.clock.now();
            self.engine.desk.close_superseded(self.key, &dead.letters, worker, now).await?;
        }
        if converged {
            parking::release(self.engine, self.key, &marks.parked).await?;
        }
        if marks.retry.is_some()
            && let Err(problem) = retry_mark::clear(state, self.key).await
        {
            warn!("The mark of a waiting retry could not be removed; it ends by itself: {problem}");
        }
        Ok(())
    }
}

fn say(outcome: &Outcome, cause: Cause) {
    let cause = cause.name();
    if outcome.actions.is_empty() {
        debug!(cause, "The record was looked at; nothing differed.");
    } else {
        info!(actions = outcome.actions.join(","), cause, "The record was looked at.");
    }
}
