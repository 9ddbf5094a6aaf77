//! `cargo xtask bench`: the measures, against the programs of the release profile.

use crate::run::{Outcome, command, run as execute};

/// Builds the programs that the measures start, then runs `cargo bench`.
///
/// # Errors
/// When a build or the measures fail.
pub fn run() -> Outcome {
    execute(command("cargo", &["build", "--release", "--bin", "producer", "--bin", "worker"]))?;
    execute(command("cargo", &["bench", "--package", "system-tests", "--bench", "measures"]))
}
