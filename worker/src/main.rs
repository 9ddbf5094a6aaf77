//! The `worker` program: messages become converged records.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Looks at the records that messages name, and makes both sides agree.
///
/// Any number may run side by side: each record is handled by one of them at a time.
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
    worker::program::main(arguments.config.as_deref()).await
}
