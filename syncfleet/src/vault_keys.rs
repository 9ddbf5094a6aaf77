//! `vault`: keys for the secrets in the state store.

use std::process::ExitCode;

use secrecy::ExposeSecret as _;
use vault::Key;

use crate::cli::VaultCommand;
use crate::output::{self, Outcome};

/// Runs the command.
pub fn run(command: &VaultCommand) -> Outcome {
    match command {
        VaultCommand::NewKey => output::line(Key::generate().expose_secret()),
    }
    Ok(ExitCode::SUCCESS)
}
