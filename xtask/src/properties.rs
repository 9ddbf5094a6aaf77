//! `cargo xtask properties`: the tests that try what chance brings, with other seeds than the one of `cargo xtask test`.

use crate::run::{Failure, Outcome, command, run as execute};

/// What proptest takes its seed from.
pub const SEED_VARIABLE: &str = "PROPTEST_RNG_SEED";

/// The seed of `cargo xtask test`: always the same, so that what fails there fails again.
pub const SEED: &str = "1";

/// Seeds played where nothing is said.
const SEEDS: u64 = 10;

/// Runs all unit tests with one seed after the other.
///
/// # Errors
/// When an argument is none, the build fails, or a test fails: the command with its seed is named.
pub fn run(args: &[&str]) -> Outcome {
    let (first, seeds) = read(args)?;
    for seed in (first..).take(usize::try_from(seeds).unwrap_or(usize::MAX)) {
        let mut suite = command("cargo", &["test", "--workspace", "--lib"]);
        suite.env(SEED_VARIABLE, seed.to_string());
        execute(suite)?;
    }
    Ok(())
}

/// The first seed, and how many.
fn read(args: &[&str]) -> Result<(u64, u64), Failure> {
    let (mut first, mut seeds) = (2, SEEDS);
    for pair in args.chunks(2) {
        let wanted = match pair {
            ["--seed", _] => &mut first,
            ["--seeds", _] => &mut seeds,
            _ => return Err(Failure(format!("unknown: {}", pair.join(" ")))),
        };
        *wanted = pair[1].parse().map_err(|_| Failure(format!("{} is no number", pair[1])))?;
    }
    Ok((first, seeds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_which_seeds() {
        assert_eq!(read(&[]).unwrap(), (2, SEEDS));
        assert_eq!(read(&["--seeds", "3", "--seed", "7"]).unwrap(), (7, 3));
        for bad in [&["--seed"][..], &["--seed", "x"], &["--other", "1"]] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
