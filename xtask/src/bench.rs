//! `cargo xtask bench`: the measures, against the programs of the release profile.

use crate::run::{Outcome, command, run as execute};

/// Builds the programs that the measures start, then runs `cargo bench` with these arguments for the measures.
///
/// # Errors
/// When a build or the measures fail.
pub fn run(args: &[&str]) -> Outcome {
    let programs = ["--bin", "producer", "--bin", "worker", "--bin", "syncfleet"];
    execute(command("cargo", &[&["build", "--release"][..], &programs].concat()))?;
    // Without the labelled points of the chaos suite, as the programs are.
    let bench = ["bench", "--package", "system-tests", "--no-default-features", "--bench", "measures", "--"];
    execute(command("cargo", &[&bench[..], args].concat()))
}
