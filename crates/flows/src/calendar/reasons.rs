//! What a plan amounts to, in words. Pure.

use super::action::{Action, Ignored, Plan, Skipped, Verdict};

/// Whether a plan creates a meeting in the CRM.
pub(super) fn creates_meeting(plan: &Plan) -> bool {
    plan.actions.iter().any(|action| matches!(action, Action::CreateMeeting { .. }))
}

/// Whether a plan rests on it that a record has no event in the calendar.
pub(super) fn lacks_event(plan: &Plan) -> bool {
    let creates = |action: &Action| matches!(action, Action::CreateEvent { .. } | Action::FindDay { .. });
    let waits = matches!(plan.verdict, Verdict::Ignored(Ignored::OutsideWindow | Ignored::WaitsForEvent));
    waits || plan.actions.iter().any(creates)
}

/// Why nothing can be synchronised, where that is so.
pub(super) fn skipped(plan: &Plan) -> Option<String> {
    match &plan.verdict {
        Verdict::Skipped(Skipped::Event(why)) => {
            Some(format!("The event in the calendar is left alone: {why}."))
        }
        Verdict::Skipped(Skipped::Meeting(why)) => {
            Some(format!("The record in EspoCRM is left alone: {why}."))
        }
        Verdict::Skipped(Skipped::Recurrence) => {
            Some("Outlook has no recurrence of this kind: the meeting stays in EspoCRM only.".to_owned())
        }
        Verdict::Skipped(Skipped::Outgrown) => Some(
            "The series in the calendar is left alone: with the days that it leaves out, its rule is longer than \
             the field cRecurrenceRule of its record. End it in the calendar, and begin another one."
                .to_owned(),
        ),
        Verdict::Converges | Verdict::LooksFirst | Verdict::Ended | Verdict::Ignored(_) => None,
    }
}

/// What a run would do, in one sentence.
pub(super) fn summary(plan: &Plan) -> String {
    let steps: Vec<&str> =
        plan.actions.iter().filter(|action| action.is_upstream_write()).map(Action::name).collect();
    match &plan.verdict {
        Verdict::Converges if steps.is_empty() => "both sides agree".to_owned(),
        Verdict::Converges | Verdict::Ended if !steps.is_empty() => {
            format!("would {}", steps.join(", ").replace('_', " "))
        }
        Verdict::Converges | Verdict::LooksFirst => "has to be looked at first".to_owned(),
        Verdict::Ended => "has come to its end".to_owned(),
        Verdict::Ignored(why) => ignored(*why).to_owned(),
        Verdict::Skipped(_) => skipped(plan).unwrap_or_default(),
    }
}

fn ignored(why: Ignored) -> &'static str {
    match why {
        Ignored::UnknownDeleted => "was deleted, and was never linked",
        Ignored::EndedBefore => "was deleted on one side before, and is not made anew",
        Ignored::OutsideWindow => "lies outside the window that is synchronised",
        Ignored::NotTheirs => "is no meeting of this calendar's user",
        Ignored::NotHeld => "did not take place, and is not brought into a calendar",
        Ignored::Invited => "comes into the calendar by its invitation",
        Ignored::WaitsForEvent => "was born of an event that is not linked yet",
        Ignored::NotReadYet => "waits until the calendar was read from beginning to end",
        Ignored::PartOfSeries => "is part of a series that is held as such",
        Ignored::Nothing => "is on neither side",
    }
}
