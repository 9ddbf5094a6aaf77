//! `cargo xtask model`: random edits of a party's master data, phone numbers and mail addresses, with many more seeds
//! than the tests play.

use crate::run::{Failure, Outcome, command, run as execute};
use crate::test;

/// Seeds played in one process, where nothing is said.
const SEEDS: u64 = 1_000;
/// Seeds played by real programs on RabbitMQ and Redis, where nothing is said.
const FLEET_SEEDS: u64 = 50;

/// What the command line says.
#[derive(Debug, PartialEq)]
struct Wanted {
    seeds: u64,
    fleet_seeds: u64,
    first: Option<u64>,
}

/// Plays the model-based tests of the flow `parties`.
///
/// # Errors
/// When an argument is none, a build fails, or a seed fails: it is named.
pub fn run(args: &[&str]) -> Outcome {
    let wanted = read(args)?;
    test::prepare()?;
    let mut suite = command(
        "cargo",
        &[
            "test",
            "--workspace",
            "--test",
            "scenarios",
            "--",
            "parties::random",
            "--nocapture",
            "--test-threads=1",
        ],
    );
    suite.env("MODEL_SEEDS", wanted.seeds.to_string());
    suite.env("MODEL_FLEET_SEEDS", wanted.fleet_seeds.to_string());
    if let Some(first) = wanted.first {
        suite.env("MODEL_FIRST_SEED", first.to_string());
    }
    execute(suite)
}

fn read(args: &[&str]) -> Result<Wanted, Failure> {
    let mut wanted = Wanted { seeds: SEEDS, fleet_seeds: FLEET_SEEDS, first: None };
    for pair in args.chunks(2) {
        let number = |value: &str| value.parse().map_err(|_| Failure(format!("{value} is no number")));
        match pair {
            ["--seeds", value] => wanted.seeds = number(value)?,
            ["--fleet-seeds", value] => wanted.fleet_seeds = number(value)?,
            ["--seed", value] => wanted.first = Some(number(value)?),
            other => return Err(Failure(format!("unknown: {}", other.join(" ")))),
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_how_many_and_which() {
        let wanted = |seeds, fleet_seeds, first| Wanted { seeds, fleet_seeds, first };
        assert_eq!(read(&[]).unwrap(), wanted(1_000, 50, None));
        assert_eq!(
            read(&["--seeds", "1", "--fleet-seeds", "0", "--seed", "7"]).unwrap(),
            wanted(1, 0, Some(7))
        );
        for bad in [&["--seeds"][..], &["--seeds", "x"], &["--other", "1"]] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
