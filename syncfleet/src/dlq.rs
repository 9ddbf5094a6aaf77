//! `dlq`: look at dead letters, send them again, or give them up.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use assembly::Parts;
use assembly::program::{EXIT_UNAVAILABLE, EXIT_USAGE};
use jiff::Timestamp;
use operations::dead_letters::{
    DeadLetterDesk, DeskError, Filter, Group, LetterSummary, Listing, ReplayReport, Selection,
};
use serde_json::json;
use shared::dead_letter::DeadLetter;
use shared::fault::cut;
use uuid::Uuid;

use crate::cli::{
    DlqCommand, DlqDiscardArgs, DlqGroupsArgs, DlqListArgs, DlqReplayArgs, DlqShowArgs, FilterArgs,
};
use crate::output::{self, EXIT_WRONG, Outcome, counted, fail};
use crate::{operator, plan};

/// Longest text of a line in a list, in characters; `show` has all of it.
const TEXT_CHARS_MAX: usize = 160;

/// Runs the command.
pub async fn run(file: Option<&Path>, command: &DlqCommand) -> Outcome {
    let (_, parts) = operator::visit(file)?;
    let desk = DeadLetterDesk::new(parts.queue.clone(), parts.state.clone(), parts.topologies());
    let counter = Counter { parts: &parts, desk: &desk, now: parts.clock.now() };
    match command {
        DlqCommand::List(args) => counter.list(args).await,
        DlqCommand::Groups(args) => counter.groups(args).await,
        DlqCommand::Show(args) => counter.show(args).await,
        DlqCommand::Replay(args) => counter.replay(args).await,
        DlqCommand::Discard(args) => counter.discard(args).await,
    }
}

struct Counter<'a> {
    parts: &'a Parts,
    desk: &'a DeadLetterDesk,
    now: Timestamp,
}

impl Counter<'_> {
    async fn list(&self, args: &DlqListArgs) -> Outcome {
        let filter = self.filter(&args.filter);
        let listing = self.desk.list(&filter, 0, args.limit).await.map_err(operator::port_failed)?;
        if args.json {
            output::json(&listing);
        } else {
            output::line(listing_text(&listing));
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn groups(&self, args: &DlqGroupsArgs) -> Outcome {
        let groups = self.desk.groups(&self.filter(&args.filter)).await.map_err(operator::port_failed)?;
        if args.json {
            output::json(&groups);
        } else {
            output::line(groups_text(&groups));
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn show(&self, args: &DlqShowArgs) -> Outcome {
        let letter = self.desk.show(args.id).await.map_err(refused)?;
        let preview = self.preview(&letter).await;
        if args.json {
            let (plan, problem) = match preview {
                Ok(preview) => (Some(preview), None),
                Err(problem) => (None, Some(problem)),
            };
            output::json(&json!({ "letter": letter, "plan": plan, "plan_problem": problem }));
        } else {
            let preview = preview.map_or_else(|why| format!("{why}\n"), |preview| plan::text(&preview));
            output::line(format!("{}\nA sync would now do this\n{preview}", letter_text(&letter)));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What a sync would do now, or why nobody knows.
    async fn preview(&self, letter: &DeadLetter) -> Result<shared::flow::Preview, String> {
        let key = letter.key.as_ref().ok_or("The message could not be read, so there is nothing to sync.")?;
        let flow =
            self.parts.flow(key.flow()).ok_or_else(|| format!("Flow {} is not enabled.", key.flow()))?;
        flow.preview(key, self.now).await.map_err(|fault| format!("It would fail: {fault}"))
    }

    async fn replay(&self, args: &DlqReplayArgs) -> Outcome {
        let selections = match args.ids.as_slice() {
            [] => vec![Selection::Matching(self.filter(&args.filter))],
            ids => ids.iter().copied().map(Selection::One).collect(),
        };
        if !args.ids.is_empty() && args.filter.is_set() {
            return Err(fail(EXIT_USAGE, "name ids or filters, not both"));
        }
        if args.dry_run {
            return self.dry_run(args).await;
        }
        let by = operator::name(args.by.as_deref())?;
        self.parts.queue.prepare(&self.parts.topologies()).await.map_err(operator::port_failed)?;
        let mut report = ReplayReport::default();
        for selection in selections {
            let part = self.desk.replay(&selection, &by, self.now).await.map_err(refused)?;
            report.replayed.extend(part.replayed);
            report.refused.extend(part.refused);
        }
        for refusal in &report.refused {
            fail(EXIT_WRONG, format!("dead letter {} stays as it is: {}", refusal.letter, refusal.why));
        }
        output::line(format!("{} sent again by {by}.", counted(report.replayed.len(), "dead letter")));
        Ok(ExitCode::from(if report.refused.is_empty() { 0 } else { EXIT_WRONG }))
    }

    async fn dry_run(&self, args: &DlqReplayArgs) -> Outcome {
        let filter = self.filter(&args.filter);
        let listing = self.desk.list(&filter, 0, usize::MAX).await.map_err(operator::port_failed)?;
        let is_open = |id: &Uuid| listing.letters.iter().any(|letter| letter.id == *id);
        if let Some(id) = args.ids.iter().find(|id| !is_open(id)) {
            return Err(refused(DeskError::Unknown(*id)));
        }
        let is_meant = |letter: &LetterSummary| args.ids.is_empty() || args.ids.contains(&letter.id);
        let letters: Vec<LetterSummary> = listing.letters.into_iter().filter(is_meant).collect();
        let count = counted(letters.len(), "dead letter");
        let total = letters.len();
        let table = listing_text(&Listing { letters, total, unreadable: 0, is_cut: false });
        output::line(format!("{table}{count} would be sent again. Nothing was sent."));
        Ok(ExitCode::SUCCESS)
    }

    async fn discard(&self, args: &DlqDiscardArgs) -> Outcome {
        let by = operator::name(args.by.as_deref())?;
        let mut discarded: Vec<Uuid> = Vec::new();
        for id in &args.ids {
            let closed = self.desk.discard(&Selection::One(*id), &by, &args.reason, self.now).await;
            discarded.extend(closed.map_err(refused)?);
        }
        output::line(format!("{} discarded by {by}.", counted(discarded.len(), "dead letter")));
        Ok(ExitCode::SUCCESS)
    }

    fn filter(&self, args: &FilterArgs) -> Filter {
        Filter {
            flow: args.flow.clone(),
            reason: args.reason,
            text: args.text.clone(),
            since: args.since.map(|since| since.before(self.now)),
            ..Filter::default()
        }
    }
}

fn refused(error: DeskError) -> ExitCode {
    let code = match &error {
        DeskError::Unknown(_) | DeskError::Closed(_) => EXIT_WRONG,
        DeskError::NameMissing | DeskError::ReasonMissing => EXIT_USAGE,
        DeskError::Port(_) => EXIT_UNAVAILABLE,
    };
    fail(code, error.to_string())
}

/// To the second: nobody reads more in a table.
fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

fn listing_text(listing: &Listing) -> String {
    let mut text = match listing.letters.as_slice() {
        [] => "No dead letter is open.\n".to_owned(),
        letters => output::table(
            ["ID", "RECORD", "REASON", "CODE", "SINCE", "TEXT"],
            letters.iter().map(|letter| {
                [
                    letter.id.to_string(),
                    letter.key.as_ref().map_or_else(|| letter.flow_name().to_owned(), ToString::to_string),
                    letter.reason.name().to_owned(),
                    letter.code.clone(),
                    time(letter.at),
                    cut(&letter.text, TEXT_CHARS_MAX),
                ]
            }),
        ),
    };
    let hidden = listing.total.saturating_sub(listing.letters.len());
    if hidden > 0 {
        let _ = writeln!(text, "… and {hidden} more: use --limit, or the filters.");
    }
    if listing.is_cut {
        text.push_str("More are open than can be listed; the newest are left out until some are closed.\n");
    }
    if listing.unreadable > 0 {
        let _ =
            writeln!(text, "{} in the log cannot be read.", counted(to_usize(listing.unreadable), "record"));
    }
    text
}

fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn groups_text(groups: &[Group]) -> String {
    if groups.is_empty() {
        return "No dead letter is open.\n".to_owned();
    }
    let rows = groups.iter().map(|group| {
        [
            group.count.to_string(),
            group.flow.clone(),
            group.reason.name().to_owned(),
            group.code.clone(),
            time(group.first),
            time(group.last),
            cut(&group.text, TEXT_CHARS_MAX),
        ]
    });
    output::table(["OPEN", "FLOW", "REASON", "CODE", "FIRST", "LAST", "FOR INSTANCE"], rows)
}

fn letter_text(letter: &DeadLetter) -> String {
    let record = letter.key.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
    let mut rows = vec![
        ["id".to_owned(), letter.id.to_string()],
        ["record".to_owned(), record],
        ["reason".to_owned(), letter.reason.name().to_owned()],
        ["error".to_owned(), format!("{} ({})", letter.text, letter.code)],
        ["since".to_owned(), time(letter.at)],
        ["worker".to_owned(), format!("{} ({})", letter.worker, letter.version)],
    ];
    if let Some(first_seen) = letter.first_seen {
        rows.push(["first seen".to_owned(), time(first_seen)]);
    }
    if !letter.trace_id.is_empty() {
        rows.push(["trace".to_owned(), letter.trace_id.clone()]);
    }
    if let Some(answer) = &letter.answer {
        let status = answer.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        rows.push(["answer".to_owned(), format!("{} {}: {status}", answer.system, answer.operation)]);
        if !answer.excerpt.is_empty() {
            rows.push(["excerpt".to_owned(), answer.excerpt.clone()]);
        }
    }
    let attempts = letter.attempts.iter().enumerate().map(|(number, attempt)| {
        [
            (number + 1).to_string(),
            time(attempt.at),
            format!("{} ms", attempt.duration_ms),
            attempt.worker.clone(),
            format!("{} ({})", cut(&attempt.text, TEXT_CHARS_MAX), attempt.code),
        ]
    });
    let mut text = output::table(["", ""], rows);
    if !letter.attempts.is_empty() {
        let _ = write!(text, "\n{}", output::table(["ATTEMPT", "AT", "TOOK", "WORKER", "ERROR"], attempts));
    }
    let _ = writeln!(text, "\nThe message\n{}", letter.message);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::dead_letter::Reason;

    fn letter() -> DeadLetter {
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let mut letter = DeadLetter::of_bytes(
            b"{}",
            None,
            Reason::Permanent,
            "validation_failed",
            "rechtsform: no such option",
            "host-1",
            now,
        );
        letter.key = Some("parties:6b00526cc80a09e94".parse().unwrap());
        letter.version = "0.1.0".into();
        letter
    }

    fn listing(letters: Vec<LetterSummary>, total: usize) -> String {
        listing_text(&Listing { letters, total, unreadable: 0, is_cut: false })
    }

    fn summary() -> LetterSummary {
        let letter = letter();
        LetterSummary {
            id: letter.id,
            flow: letter.flow,
            key: letter.key,
            reason: letter.reason,
            fault: letter.fault,
            code: letter.code,
            text: letter.text,
            attempts: 1,
            first_seen: None,
            at: letter.at,
            worker: letter.worker,
            trace_id: String::new(),
        }
    }

    #[test]
    fn a_list_says_what_it_leaves_out() {
        insta::assert_snapshot!(listing(vec![summary()], 7), @r"
        ID                                    RECORD                     REASON     CODE               SINCE                 TEXT
        44136fa3-55b3-878a-9146-ad16f7e8649e  parties:6b00526cc80a09e94  permanent  validation_failed  2026-11-20 12:00:00Z  rechtsform: no such option
        … and 6 more: use --limit, or the filters.
        ");
        assert_eq!(listing(Vec::new(), 0), "No dead letter is open.\n");
    }

    #[test]
    fn a_letter_is_shown_whole() {
        insta::assert_snapshot!(letter_text(&letter()), @r"
        id      44136fa3-55b3-878a-9146-ad16f7e8649e
        record  parties:6b00526cc80a09e94
        reason  permanent
        error   rechtsform: no such option (validation_failed)
        since   2026-11-20 12:00:00Z
        worker  host-1 (0.1.0)

        The message
        {}
        ");
    }
}
