//! What the record's user sees of a failed run.

use connector_espocrm::{Patch, Record};
use shared::fault::{Fault, FaultKind, cut};
use shared::flow::{Failure, Run};
use shared::link;

use super::link::PartyLink;
use super::notice::{self, Notice};
use super::sides::Status;
use super::{Parties, crm_id, map};

/// Longest `syncErrorMessage`, in characters, as the field is set up.
const ERROR_CHARS_MAX: usize = 2_000;

impl Parties {
    /// Writes status, error and count into the record, in one request, and tells its user of a dead letter. What
    /// costs no attempt is not the record's failure and is not written.
    pub(super) async fn report_failure(&self, run: &Run, failure: &Failure<'_>) -> Result<(), Fault> {
        let counts = matches!(failure.fault.kind, FaultKind::Retryable { .. } | FaultKind::Conflict);
        let dead = failure.dead_letter.is_some();
        if !counts && !dead {
            return Ok(());
        }
        let error = cut(&failure.fault.text, ERROR_CHARS_MAX);
        let mut patch = Patch::new();
        if dead || !self.is_being_asked(run).await? {
            let status = if dead { Status::PermanentlyFailed } else { Status::Failed };
            patch = patch.set("syncStatus", status.word());
        }
        let patch = patch.set("syncErrorMessage", error.as_str()).set("syncRetryCount", failure.attempts);
        let id = crm_id(&run.key)?;
        let Some(present) = self.crm.get(&self.entity_type, &id).await? else { return Ok(()) };
        run.guard.fence()?;
        let record = if holds(&present, &patch) {
            present
        } else {
            self.keep_time(&present).await?;
            match self.crm.update(&self.entity_type, &id, &patch, None).await? {
                Some(record) => record,
                None => return Ok(()),
            }
        };
        if !dead {
            return Ok(());
        }
        let assigned = map::assigned_user(&record);
        let Some(user) = notice::recipient(assigned.as_ref(), self.rules.fallback_user_id.as_deref()) else {
            return Ok(());
        };
        let text = notice::failed(&map::title(&record), &error);
        self.tell(&Notice { user, text }).await
    }

    /// Whether a person was asked about a conflict: the status is theirs then, since clearing it is their answer.
    async fn is_being_asked(&self, run: &Run) -> Result<bool, Fault> {
        let stored = link::load::<PartyLink>(&*self.state, &run.key).await?;
        Ok(stored
            .and_then(|stored| stored.link.conflict)
            .is_some_and(|open| open.asked && open.winner.is_none()))
    }
}

/// Whether a record already is as a patch would make it.
fn holds(record: &Record, patch: &Patch) -> bool {
    patch.attributes().iter().all(|(name, value)| record.attributes().get(name) == Some(value))
}
