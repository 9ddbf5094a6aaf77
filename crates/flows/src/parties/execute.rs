//! One run: read, plan, apply. No decision is taken here.

use shared::fault::{Fault, FaultKind};
use shared::flow::{Outcome, Run};
use shared::intent::{self, Intent};
use shared::names::{CONFLICTS, PLAN_ACTIONS};

use super::action::{Plan, Verdict};
use super::apply::Steps;
use super::look::Look;
use super::lost::Lost;
use super::marker::Marker;
use super::plan::{CreateIntent, plan};
use super::sides::Status;
use super::{Parties, crm_id};

impl Parties {
    pub(super) async fn execute(&self, run: &Run) -> Result<Outcome, Fault> {
        let marker = Marker::new(self, crm_id(&run.key)?);
        marker.beside(self.settings.syncing_status_after, self.converge(run, &marker)).await
    }

    async fn converge(&self, run: &Run, marker: &Marker<'_>) -> Result<Outcome, Fault> {
        let mut look = self.look(&run.key).await?;
        let found = look.crm.as_ref().and_then(|crm| crm.status);
        marker.hold().await.found = found == Some(Status::Syncing);
        self.find_lost_create(run, &mut look).await?;
        self.check_claim(run, &look).await?;

        let held = marker.hold().await;
        let mut version = look.record.as_ref().and_then(|record| record.version());
        if held.status
            && let Some(crm) = &mut look.crm
        {
            crm.status = Some(Status::Syncing);
            version = held.version;
        }
        let rules = self.rules();
        let plan = plan(&look.input(&rules, run.clock.now()))?;
        self.note(run, &plan);
        if let Some(change) = plan.mass_change {
            self.guard.permit(run.sweep_id.as_deref(), run.key.id(), change, run.clock.now()).await?;
        }
        let mut steps = Steps::new(self, run, look, version);
        let mut differs = false;
        if let Some(mut settling) = plan.settling {
            drop(held);
            steps.apply(&plan.actions).await?;
            let held = marker.hold().await;
            if held.status {
                settling.crm.status = Some(Status::Syncing);
                steps.set_version(held.version);
            }
            let end = settling.conclude(&steps.read_back()?, &rules, run.clock.now());
            steps.apply(&end.actions).await?;
            differs = end.differs;
        } else {
            steps.apply(&plan.actions).await?;
            drop(held);
        }
        if differs || steps.edited() {
            let text = format!("The party of {} was edited while it was written.", run.key);
            return Err(Fault::new(FaultKind::Conflict, "edited_meanwhile", text));
        }
        Ok(self.outcome(plan.verdict, steps))
    }

    /// A create whose answer was lost: searches for what it may have left behind, and adopts it.
    async fn find_lost_create(&self, run: &Run, look: &mut Look) -> Result<(), Fault> {
        let (Some(_), None, Some(intent)) = (&look.crm, look.bet_nr(), &look.intent) else { return Ok(()) };
        match self.search_lost(run, intent, look.is_supposed).await? {
            Lost::Nothing => Ok(()),
            Lost::Found(bet_nr) => {
                if !self.take_claim(run, bet_nr).await? {
                    let text = format!("Party {bet_nr} was linked to another record just now.");
                    return Err(Fault::new(FaultKind::Conflict, "bet_nr_taken", text));
                }
                let found = CreateIntent { bet_nr: Some(bet_nr), found: true, ..intent.clone() };
                let declared = Intent { what: found.clone(), at: run.clock.now() };
                intent::declare(&*self.state, &run.key, &declared, run.guard.fence()?.as_ref()).await?;
                tracing::info!(
                    record.id = run.key.id(),
                    "a create whose answer was lost has taken effect; adopted"
                );
                look.intent = Some(found);
                self.look_at_party(look, bet_nr).await
            }
        }
    }

    /// Says what the plan amounts to, in metrics and log.
    fn note(&self, run: &Run, plan: &Plan) {
        if plan.conflicts > 0 {
            let labels = [super::NAME, self.rules.policy.name()];
            self.meter.add(&CONFLICTS, &labels, u64::try_from(plan.conflicts).unwrap_or(u64::MAX));
        }
        for warning in &plan.warnings {
            tracing::warn!(record.id = run.key.id(), "{warning}");
        }
    }

    fn outcome(&self, verdict: Verdict, steps: Steps<'_>) -> Outcome {
        let look_again_at = steps.link().and_then(|link| link.due_at);
        let actions = steps.into_applied();
        for action in &actions {
            self.meter.add(&PLAN_ACTIONS, &[super::NAME, action], 1);
        }
        Outcome { actions, converged: verdict != Verdict::Waits, look_again_at }
    }
}
