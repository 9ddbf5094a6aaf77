//! The arguments of `directory`.

use clap::{Args, Subcommand};

use crate::cli::JsonArgs;

/// `directory …`
#[derive(Debug, Subcommand)]
pub enum DirectoryCommand {
    /// Begin the first sync: everything in WeCom is compared with the target, and what is lacking is made there.
    ///
    /// That it has begun is kept before anything is written, so it begins once, however often it is asked for: one that is
    /// under way is joined, and after one that is over nothing begins unless --again says so. Workers do the work and go
    /// on with it after any stop. Look first at what it would write: `syncfleet directory diff`.
    FirstSync(FirstSyncArgs),
    /// Show how the first sync stands, and which messages wait for others. Changes nothing.
    Status(StatusArgs),
    /// Compare everything in WeCom with the target, and show what differs, field by field. Writes nothing.
    ///
    /// Reads both sides as a whole, so it takes a while with many members. Ends with 1 where something differs.
    Diff(DiffArgs),
}

/// `directory first-sync`
#[derive(Debug, Clone, Args)]
#[command(after_long_help = "\
Examples:
  syncfleet directory first-sync --by anna
  syncfleet directory first-sync --by anna && syncfleet directory status --watch")]
pub struct FirstSyncArgs {
    /// Begin another one, although one is over.
    #[arg(long)]
    pub again: bool,
    /// Who asks for it; kept with it. The user's name where none is given.
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Output for scripts.
    #[command(flatten)]
    pub json: JsonArgs,
}

/// `directory status`
#[derive(Debug, Clone, Args)]
#[command(
    after_long_help = "Examples:\n  syncfleet directory status --watch\n  syncfleet directory status --json | jq .first_sync.left_seconds"
)]
pub struct StatusArgs {
    /// Go on showing it until the first sync is over.
    #[arg(long, conflicts_with = "json")]
    pub watch: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `directory diff`
#[derive(Debug, Clone, Args)]
#[command(
    after_long_help = "Examples:\n  syncfleet directory diff --limit 100\n  syncfleet directory diff --json > diff.json"
)]
pub struct DiffArgs {
    /// How many differences are shown; all are counted.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub limit: u32,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
