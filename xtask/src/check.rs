//! `cargo xtask check`: everything but the tests. All steps run, so that one look shows all problems.

use crate::run::{Failure, Outcome, command, run as execute};
use crate::{deny, points, tidy};

type Step = (&'static str, fn() -> Outcome);

/// Formatting, tidy, clippy, documentation and deny.
///
/// # Errors
/// When any step fails, naming each.
pub fn run() -> Outcome {
    run_all(&[
        ("formatting", || execute(command("cargo", &["fmt", "--all", "--check"]))),
        ("tidy", tidy::run),
        ("clippy", || {
            let args = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
            execute(command("cargo", &args))
        }),
        ("documentation", || {
            let mut doc = command("cargo", &["doc", "--workspace", "--no-deps"]);
            doc.env("RUSTDOCFLAGS", "-D warnings");
            execute(doc)
        }),
        ("deny", deny::run),
        ("labelled points", points::check),
    ])
}

fn run_all(steps: &[Step]) -> Outcome {
    let mut failed = Vec::new();
    for (name, step) in steps {
        println!("\n=== {name}");
        if let Err(Failure(message)) = step() {
            eprintln!("{message}");
            failed.push(*name);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure(format!("check: {}", failed.join(", ")))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_all_and_names_every_failure() {
        let steps: [Step; 3] = [
            ("one", || Err(Failure("x".into()))),
            ("two", || Ok(())),
            ("three", || Err(Failure("y".into()))),
        ];
        let failure = run_all(&steps).unwrap_err();
        assert_eq!(failure.0, "check: one, three");
    }
}
