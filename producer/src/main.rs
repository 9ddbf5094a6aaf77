//! The `producer` program: cron sweeps and webhooks become messages.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Turns cron sweeps and webhooks into messages.
///
/// Any number may run side by side: all take webhooks, one at a time fires the sweeps.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The settings; ./syncfleet.toml where none is named.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    producer::program::main(arguments.config.as_deref()).await
}
