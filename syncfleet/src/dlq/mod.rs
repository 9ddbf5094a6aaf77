//! `dlq`: look at dead letters, send them again, or give them up.

mod args;
mod resend;
mod stream;
mod text;

use std::path::Path;
use std::process::ExitCode;

use assembly::Parts;
use assembly::program::{EXIT_UNAVAILABLE, EXIT_USAGE};
use jiff::Timestamp;
use operations::dead_letters::{DeadLetterDesk, DeskError, Filter};
use serde_json::json;
use shared::dead_letter::DeadLetter;
use shared::flow::Preview;

pub use args::{DlqCommand, FilterArgs};

use args::{GroupsArgs, ListArgs, ShowArgs};

use crate::output::{self, EXIT_WRONG, Outcome, fail};
use crate::{operator, plan};

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
        DlqCommand::Edit(args) => counter.edit(args).await,
        DlqCommand::Discard(args) => counter.discard(args).await,
        DlqCommand::Export(args) => counter.export(args).await,
        DlqCommand::Watch(args) => counter.watch(args).await,
        DlqCommand::Rebuild => counter.rebuild().await,
    }
}

struct Counter<'a> {
    parts: &'a Parts,
    desk: &'a DeadLetterDesk,
    now: Timestamp,
}

impl Counter<'_> {
    async fn list(&self, args: &ListArgs) -> Outcome {
        let filter = self.filter(&args.filter);
        let listing = self.desk.list(&filter, args.after, usize::from(args.limit)).await.map_err(refused)?;
        if args.json {
            output::json(&listing);
        } else {
            output::line(text::listing(&listing, args.filter.is_set()));
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn groups(&self, args: &GroupsArgs) -> Outcome {
        let groups = self.desk.groups(&self.filter(&args.filter)).await.map_err(operator::port_failed)?;
        if args.json {
            output::json(&groups);
        } else {
            output::line(text::groups(&groups, args.filter.is_set()));
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn show(&self, args: &ShowArgs) -> Outcome {
        let shown = self.desk.show(args.id).await.map_err(refused)?;
        if args.message {
            output::line(text::message(&shown.letter.message));
            return Ok(ExitCode::SUCCESS);
        }
        let preview = self.preview(&shown.letter).await;
        if args.json {
            let (plan, problem) = match preview {
                Ok(preview) => (Some(preview), None),
                Err(problem) => (None, Some(problem)),
            };
            let (letter, ending) = (&shown.letter, &shown.ending);
            let replays = text::replays(letter);
            output::json(&json!({
                "letter": letter, "ending": ending, "replays": replays, "plan": plan, "plan_problem": problem,
            }));
        } else {
            let preview = preview.map_or_else(|why| format!("{why}\n"), |preview| plan::text(&preview));
            output::line(format!("{}\nA sync would now do this\n{preview}", text::letter(&shown)));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// What a sync would do now, or why nobody knows.
    async fn preview(&self, letter: &DeadLetter) -> Result<Preview, String> {
        let key = letter.key.as_ref().ok_or("The message could not be read, so there is nothing to sync.")?;
        let flow =
            self.parts.flow(key.flow()).ok_or_else(|| format!("Flow {} is not enabled.", key.flow()))?;
        operator::preview(flow.as_ref(), key, self.now)
            .await
            .map_err(|fault| format!("It would fail: {fault}"))
    }

    async fn rebuild(&self) -> Outcome {
        self.desk.rebuild().await.map_err(operator::port_failed)?;
        let count: u64 =
            self.desk.counts().await.map_err(operator::port_failed)?.iter().map(|open| open.count).sum();
        output::line(format!("The list was built anew from the log: {}.", text::open(count)));
        Ok(ExitCode::SUCCESS)
    }

    fn filter(&self, args: &FilterArgs) -> Filter {
        Filter {
            flow: args.flow.clone(),
            reason: args.reason,
            group: args.group.clone(),
            text: args.text.clone(),
            since: args.since.map(|since| since.before(self.now)),
            before: args.before.map(|before| before.before(self.now)),
            key: None,
        }
    }
}

fn refused(error: DeskError) -> ExitCode {
    let code = match &error {
        DeskError::Unknown(_) | DeskError::Dropped(_) | DeskError::Unsendable(_) => EXIT_WRONG,
        DeskError::NameMissing | DeskError::ReasonMissing => EXIT_USAGE,
        DeskError::Port(_) => EXIT_UNAVAILABLE,
    };
    fail(code, error.to_string())
}
