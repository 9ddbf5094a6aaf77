//! The command line of `dlq`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use shared::dead_letter::Reason;
use shared::record_key::FlowName;
use uuid::Uuid;

use crate::cli::flow_name;
use crate::since::Since;

/// `dlq …`
#[derive(Debug, Subcommand)]
pub enum DlqCommand {
    /// List open dead letters, newest first. Changes nothing.
    #[command(
        after_long_help = "Examples:\n  syncfleet dlq list --since 24h\n  syncfleet dlq list --flow parties --reason permanent --text rechtsform\n  syncfleet dlq list --after 0192f0c1-2b7e-7c3a-9d55-0242ac120002"
    )]
    List(ListArgs),
    /// Group open dead letters that failed alike: how many, since when. Changes nothing.
    #[command(
        after_long_help = "A group is a flow, a reason, an error code and the error's text without numbers, ids and quoted values.\n\nExamples:\n  syncfleet dlq groups\n  syncfleet dlq list --group 3fa1c09d22b7"
    )]
    Groups(GroupsArgs),
    /// Show one with all attempts, and what a sync would write now.
    #[command(
        after_long_help = "Examples:\n  syncfleet dlq show 0192f0c1-2b7e-7c3a-9d55-0242ac120002\n  syncfleet dlq show 0192f0c1-2b7e-7c3a-9d55-0242ac120002 --message > message.json"
    )]
    Show(ShowArgs),
    /// Send again.
    ///
    /// Replaying is safe to repeat: of one dead letter comes one more life of its message, whoever replays it how
    /// often. What was interrupted is gone on with by the same command.
    #[command(
        after_long_help = "Examples:\n  syncfleet dlq replay 0192f0c1-2b7e-7c3a-9d55-0242ac120002\n  syncfleet dlq replay --all --group 3fa1c09d22b7 --dry-run\n  syncfleet dlq replay --all --reason attempts_spent --per-second 5"
    )]
    Replay(ReplayArgs),
    /// Send an edited message in place of one that failed.
    ///
    /// The message is checked before anything is sent. The log keeps both versions, and who edited. The history of
    /// attempts stays.
    #[command(
        after_long_help = "Examples:\n  syncfleet dlq show ID --message > message.json   # edit it, then:\n  syncfleet dlq edit ID --message message.json --dry-run\n  syncfleet dlq edit ID --message message.json"
    )]
    Edit(EditArgs),
    /// Give up, with a reason that is kept.
    #[command(
        after_long_help = "Examples:\n  syncfleet dlq discard 0192f0c1-2b7e-7c3a-9d55-0242ac120002 --reason 'party was entered twice'\n  syncfleet dlq discard --group 3fa1c09d22b7 --reason 'test records'"
    )]
    Discard(DiscardArgs),
    /// Print whole dead letters, one JSON object a line, oldest first.
    #[command(after_long_help = "Example:\n  syncfleet dlq export --flow parties > dead_letters.jsonl")]
    Export(FilterArgs),
    /// Print each new dead letter as it comes, until Ctrl-C.
    #[command(after_long_help = "Example:\n  syncfleet dlq watch --flow parties")]
    Watch(WatchArgs),
    /// Build the list anew from the log, where it seems wrong. The dead letters themselves are not touched.
    Rebuild,
}

/// Which dead letters.
#[derive(Debug, Clone, Default, Args)]
pub struct FilterArgs {
    /// Only of this flow.
    #[arg(long, value_name = "FLOW", value_parser = flow_name)]
    pub flow: Option<FlowName>,
    /// Only with this reason: attempts_spent, permanent, unreadable, expired, bug, poison.
    #[arg(long, value_name = "REASON", value_parser = reason)]
    pub reason: Option<Reason>,
    /// Only of this group of `dlq groups`.
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// Only with this text in record, error or code; upper and lower case alike.
    #[arg(long, value_name = "TEXT")]
    pub text: Option<String>,
    /// Only younger than this (30m, 24h, 7d) or since this time (2026-11-20T09:00:00Z).
    #[arg(long, value_name = "AGE|TIME", value_parser = crate::since::parse)]
    pub since: Option<Since>,
    /// Only older than this, or before this time.
    #[arg(long, value_name = "AGE|TIME", value_parser = crate::since::parse)]
    pub before: Option<Since>,
}

impl FilterArgs {
    /// Whether any of them was given.
    pub fn is_set(&self) -> bool {
        self.flow.is_some()
            || self.reason.is_some()
            || self.group.is_some()
            || self.text.is_some()
            || self.since.is_some()
            || self.before.is_some()
    }
}

/// `dlq list`
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// Which.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub limit: u16,
    /// The next page: those behind this dead letter, the last one of the page before.
    #[arg(long, value_name = "ID")]
    pub after: Option<Uuid>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `dlq groups`
#[derive(Debug, Clone, Args)]
pub struct GroupsArgs {
    /// Which; a group is shown when it may hold such letters.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `dlq show`
#[derive(Debug, Clone, Args)]
pub struct ShowArgs {
    /// The dead letter's id.
    #[arg(value_name = "ID")]
    pub id: Uuid,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Print the message alone, to be edited.
    #[arg(long, conflicts_with = "json")]
    pub message: bool,
}

/// `dlq replay`
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// Ids of dead letters.
    #[arg(value_name = "ID", required_unless_present = "all")]
    pub ids: Vec<Uuid>,
    /// All that the filters leave.
    #[arg(long, conflicts_with = "ids")]
    pub all: bool,
    /// Which.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Say what would be sent again, and send nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// At most so many a second, so that the upstream systems are not run over.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub per_second: u16,
    /// Who does it; kept with the dead letter. The user's name where none is given.
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// `dlq edit`
#[derive(Debug, Clone, Args)]
pub struct EditArgs {
    /// The dead letter's id.
    #[arg(value_name = "ID")]
    pub id: Uuid,
    /// The file with the edited message; `-` is the standard input.
    #[arg(long, value_name = "FILE")]
    pub message: PathBuf,
    /// Check the message, say what was changed, and send nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Who does it; kept with the dead letter. The user's name where none is given.
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// `dlq discard`
#[derive(Debug, Clone, Args)]
pub struct DiscardArgs {
    /// Ids of dead letters.
    #[arg(value_name = "ID", required_unless_present = "group")]
    pub ids: Vec<Uuid>,
    /// All of this group of `dlq groups`.
    #[arg(long, value_name = "GROUP", conflicts_with = "ids")]
    pub group: Option<String>,
    /// Why.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub reason: String,
    /// Who does it; kept with the dead letter. The user's name where none is given.
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// `dlq watch`
#[derive(Debug, Clone, Args)]
pub struct WatchArgs {
    /// Which.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Print whole dead letters as JSON, one a line.
    #[arg(long)]
    pub json: bool,
}

fn reason(text: &str) -> Result<Reason, String> {
    let all = Reason::ALL;
    all.into_iter()
        .find(|reason| reason.name() == text)
        .ok_or_else(|| format!("expected one of {}", all.map(Reason::name).join(", ")))
}
