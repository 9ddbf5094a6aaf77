//! `config`: check and explain the configuration.

use std::path::Path;
use std::process::ExitCode;

use assembly::program::{EXIT_CONFIGURATION, load_configuration};
use configuration::Config;

use crate::cli::ConfigCommand;
use crate::output::{self, Outcome};

/// Runs the command.
pub fn run(file: Option<&Path>, command: &ConfigCommand) -> Outcome {
    match command {
        ConfigCommand::Default => output::line(configuration::DEFAULTS),
        ConfigCommand::Check(args) if args.json => return check_json(file),
        ConfigCommand::Check(_) => output::line(load_configuration(file)?.masked()),
    }
    Ok(ExitCode::SUCCESS)
}

fn check_json(file: Option<&Path>) -> Outcome {
    match Config::load(file, configuration::environment()) {
        Ok(config) => {
            output::json(&config.effective());
            Ok(ExitCode::SUCCESS)
        }
        Err(problems) => {
            output::json(&problems);
            Err(ExitCode::from(EXIT_CONFIGURATION))
        }
    }
}
