//! What a failure means for a calendar, and who is told.

use std::time::Duration;

use jiff::Timestamp;
use shared::fault::{Fault, FaultKind};
use shared::flow::{Failure, Outcome, Run};
use tracing::{error, info, warn};
use vault::{AccountId, CrmUser};

use super::flow::CalendarFlow;
use super::key::Subject;
use super::sides::Provider;

/// How long the link in a notice is good for.
const LINK_LIFE: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Attempts after which what fails for one event is that event's affair.
const PATIENCE: u32 = 2;

/// The first words of log lines.
pub(super) fn label(provider: Provider) -> &'static str {
    match provider {
        Provider::Microsoft => "Outlook sync",
        Provider::Google => "Google sync",
    }
}

/// Whether a person has to connect the account again.
pub(super) fn is_over(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::Unauthorized | FaultKind::Parked)
        && matches!(fault.code, "needs_reconnect" | "not_connected")
}

/// Whether it would fail for all events alike, so that going on with the next one makes no sense.
pub(super) fn is_of_all(fault: &Fault, attempts_before: u32) -> bool {
    match fault.kind {
        FaultKind::Throttled { .. }
        | FaultKind::Busy { .. }
        | FaultKind::Paused { .. }
        | FaultKind::Unauthorized
        | FaultKind::Parked => true,
        FaultKind::Retryable { .. } => attempts_before < PATIENCE,
        FaultKind::Conflict | FaultKind::Permanent | FaultKind::Bug => false,
    }
}

impl CalendarFlow {
    /// The account is over: its user is told once, and its calendar waits until it is connected again, which sends a
    /// message of its own.
    pub(super) async fn ask_to_reconnect(
        &self,
        account: &AccountId,
        fault: &Fault,
        now: Timestamp,
    ) -> Result<Outcome, Fault> {
        let user = account.user().map_or("", CrmUser::as_str);
        let label = self.calendars.provider(account).map_or("Calendar sync", label);
        if fault.code == "not_connected" {
            info!("{label}: The account of user {user} is not connected any more.");
            return Ok(Outcome { converged: true, ..Outcome::default() });
        }
        error!(error.type = fault.code, "{label}: Failed to refresh token for user {user}.");
        let telling = |notice: vault::Notice| async move { self.crm.tell(user, &notice.text).await };
        if let Err(fault) = self.connecting.tell_once(account, LINK_LIFE, now, telling).await {
            warn!(error.type = fault.code, "user {user} could not be told to connect again: {fault}");
        }
        Ok(Outcome { converged: false, ..Outcome::default() })
    }

    /// Tells a user, or who is named for that where the user cannot be told. Holds nothing up.
    pub(super) async fn tell(&self, user: &str, text: &str) {
        let Err(fault) = self.crm.tell(user, text).await else { return };
        warn!(error.type = fault.code, "user {user} could not be told: {fault}");
        let Some(other) = self.settings.notify_user_id.as_deref().filter(|other| *other != user) else {
            return;
        };
        if let Err(fault) = self.crm.tell(other, text).await {
            warn!(error.type = fault.code, "user {other} could not be told instead: {fault}");
        }
    }

    /// A message that fails for good is told to the record's user where there is one; a calendar's failures are the
    /// operator's.
    pub(super) async fn report_failure(&self, run: &Run, failure: &Failure<'_>) -> Result<(), Fault> {
        let (Some(_), Some(Subject::Record(record))) = (failure.dead_letter, Subject::read(run.key.id()))
        else {
            return Ok(());
        };
        let Some(super::crm::CrmFound::Meeting(meeting)) = self.crm.get(&record).await? else {
            return Ok(());
        };
        let Some(user) = meeting.side.assigned_user_id.clone() else { return Ok(()) };
        let text = format!(
            "Synchronisation with the calendars failed for good: **{}**\n\n{}",
            meeting.side.event.subject, failure.fault.text
        );
        self.crm.tell(&user, &text).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_events_failure_holds_nobody_up_and_everybodys_is_not_laid_on_one() {
        let after = Duration::from_secs(1);
        for (kind, attempts_before, expected) in [
            (FaultKind::Throttled { after }, 9, true),
            (FaultKind::Paused { after }, 9, true),
            (FaultKind::Busy { after }, 9, true),
            (FaultKind::Unauthorized, 9, true),
            (FaultKind::Retryable { after: None }, 0, true),
            (FaultKind::Retryable { after: None }, PATIENCE, false),
            (FaultKind::Conflict, 0, false),
            (FaultKind::Permanent, 0, false),
            (FaultKind::Bug, 0, false),
        ] {
            let fault = Fault::new(kind, "test", "a test");
            assert_eq!(is_of_all(&fault, attempts_before), expected, "{kind:?} after {attempts_before}");
        }
    }

    #[test]
    fn only_a_grant_that_is_over_asks_for_a_person() {
        let fault = |kind, code| Fault::new(kind, code, "a test");
        assert!(is_over(&fault(FaultKind::Unauthorized, "needs_reconnect")));
        assert!(is_over(&fault(FaultKind::Unauthorized, "not_connected")));
        assert!(is_over(&fault(FaultKind::Parked, "needs_reconnect")));
        assert!(!is_over(&fault(FaultKind::Unauthorized, "forbidden")));
        assert!(!is_over(&fault(FaultKind::Permanent, "needs_reconnect")));
    }
}
