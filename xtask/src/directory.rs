//! `cargo xtask directory`: an import of the flow `directory`, of as many departments as wanted, told of leaves first.

use crate::run::{Failure, Outcome, play};
use crate::variables::{self, Wanted};

/// What is played where nothing is said.
const WANTED: [Wanted; 3] = [
    ("--departments", "DIRECTORY_DEPARTMENTS", Some(5_000)),
    ("--seeds", "DIRECTORY_SEEDS", Some(3)),
    ("--seed", "DIRECTORY_SEED", Some(1)),
];

/// Plays an import for each seed, from `--seed` on.
///
/// # Errors
/// When an argument is none, the build fails, or what the target shows differs from what WeCom has: the seed is named.
pub fn run(args: &[&str]) -> Outcome {
    let wanted = variables::read(args, &WANTED)?;
    let number = |variable: &str| {
        let found = wanted.iter().find(|(name, _)| *name == variable);
        found.and_then(|(_, value)| value.parse().ok()).unwrap_or(1_u64)
    };
    let (first, seeds) = (number("DIRECTORY_SEED"), number("DIRECTORY_SEEDS"));
    let last = first.checked_add(seeds).ok_or_else(|| Failure(format!("--seeds {seeds} are too many")))?;
    for seed in first..last {
        let departments = number("DIRECTORY_DEPARTMENTS");
        let variables =
            vec![("DIRECTORY_SEED", seed.to_string()), ("DIRECTORY_DEPARTMENTS", departments.to_string())];
        play("directory::import::an_import_that_is_told_of_leaves_first_ends_as_wecom_has_it", variables)?;
    }
    Ok(())
}
