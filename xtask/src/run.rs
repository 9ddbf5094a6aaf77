//! Running other programs, visibly.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// What went wrong, for the person at the terminal.
#[derive(Debug)]
pub struct Failure(pub String);

/// Result of a command of this program.
pub type Outcome = Result<(), Failure>;

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Where cargo builds.
pub fn target_dir() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// A command in the repository's root.
pub fn command(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    command
}

/// Prints the command, runs it with this terminal, and says how long it took.
///
/// # Errors
/// When it cannot be started or does not succeed.
pub fn run(mut command: Command) -> Outcome {
    let line = describe(&command);
    println!("\n$ {line}");
    let start = Instant::now();
    let status = command.status().map_err(|error| Failure(format!("`{line}` does not start: {error}")))?;
    println!("({} s)", start.elapsed().as_secs());
    if status.success() { Ok(()) } else { Err(Failure(format!("`{line}` ended with {status}"))) }
}

/// Plays one long test of the scenarios with these variables, with the optimiser.
///
/// # Errors
/// When the build or the test fails.
pub fn play(test: &str, variables: Vec<(&'static str, String)>) -> Outcome {
    let words = [
        "test",
        "--profile",
        "long",
        "--workspace",
        "--test",
        "scenarios",
        "--",
        test,
        "--exact",
        "--nocapture",
    ];
    let mut suite = command("cargo", &words);
    suite.envs(variables);
    run(suite)
}

/// The command as one would type it.
pub fn describe(command: &Command) -> String {
    let env = command.get_envs().filter_map(|(name, value)| {
        value.map(|value| format!("{}='{}' ", name.to_string_lossy(), value.to_string_lossy()))
    });
    let words = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>();
    format!("{}{}", env.collect::<String>(), words.join(" "))
}
