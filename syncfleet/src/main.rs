//! The operator's program: run everything on one machine, show it, check it, look into it, put it right.
//!
//! [`cli`] is the manual, each command is a file, and [`output`] is the only place that prints. Commands end with
//! an exit code after they have said why.

mod accounts;
mod cli;
mod config;
mod demo;
mod directory;
mod dlq;
mod doctor;
mod fleet;
mod health;
mod http;
mod keys;
mod migrate;
mod operator;
mod output;
mod parked;
mod plan;
mod provision;
mod release;
mod simulators;
mod since;
mod status;
mod sync;
mod up;
mod vault_keys;

use std::process::ExitCode;

use assembly::program::EXIT_USAGE;
use clap::Parser as _;

use cli::{Cli, Command};
use output::Outcome;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to be done where not even the help can be printed.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    run(cli).await.unwrap_or_else(|code| code)
}

async fn run(cli: Cli) -> Outcome {
    let file = cli.config.as_deref();
    match cli.command {
        Command::Up => up::run(file).await,
        Command::Demo(args) => demo::run(&args).await,
        Command::Doctor(args) => doctor::run(file, args.json).await,
        Command::Plan(args) => plan::run(file, &args).await,
        Command::Sync(args) => sync::run(file, &args).await,
        Command::Status(args) => status::run(file, args.json).await,
        Command::Dlq(command) => dlq::run(file, &command).await,
        Command::Parked(command) => parked::run(file, &command).await,
        Command::Migrate(args) => migrate::run(file, &args).await,
        Command::Release(args) => release::run(file, &args).await,
        Command::Provision(args) => provision::run(file, &args).await,
        Command::Directory(command) => directory::run(file, &command).await,
        Command::Accounts(command) => accounts::run(file, &command).await,
        Command::Vault(command) => vault_keys::run(file, &command).await,
        Command::Config(command) => config::run(file, &command),
        Command::Health(args) => health::run(&args).await,
        Command::Simulators(args) => simulators::run(&args).await,
    }
}
