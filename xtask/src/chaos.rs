//! `cargo xtask chaos`: the long form of the chaos suite, for as long as it is told to.

use std::hash::{BuildHasher as _, RandomState};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::run::{Failure, Outcome, command, describe};
use crate::test;

/// What it is played with where nothing is said.
const MINUTES: u64 = 60;

/// What the command line says.
#[derive(Debug, PartialEq)]
struct Wanted {
    minutes: u64,
    seed: u64,
    case: Option<String>,
}

/// How one case went.
struct Played {
    case: String,
    line: Option<String>,
}

/// Plays one case after the other with seeds derived from the first, until the time is over; then prints a table.
///
/// # Errors
/// When an argument is none, a build fails, or a case fails (each is named, with how to play it again).
pub fn run(args: &[&str]) -> Outcome {
    let wanted = read(args, RandomState::new().hash_one(0) >> 32)?;
    println!("seed {}, {} minutes", wanted.seed, wanted.minutes);
    test::prepare()?;
    let cases = cases(wanted.case.as_deref())?;
    let end = Instant::now() + Duration::from_secs(wanted.minutes * 60);
    let mut played = Vec::new();
    for round in 0.. {
        for (number, case) in cases.iter().enumerate() {
            let is_first_round = round == 0 && (number == 0 || wanted.case.is_none());
            if !is_first_round && Instant::now() >= end {
                return conclude(&played);
            }
            played.push(play(case, wanted.seed + round)?);
        }
    }
    conclude(&played)
}

fn read(args: &[&str], seed: u64) -> Result<Wanted, Failure> {
    let mut wanted = Wanted { minutes: MINUTES, seed, case: None };
    for pair in args.chunks(2) {
        let number = |value: &str| value.parse().map_err(|_| Failure(format!("{value} is no number")));
        match pair {
            ["--minutes", value] => wanted.minutes = number(value)?,
            ["--seed", value] => wanted.seed = number(value)?,
            ["--case", value] => wanted.case = Some((*value).to_owned()),
            other => return Err(Failure(format!("unknown: {}", other.join(" ")))),
        }
    }
    Ok(wanted)
}

/// The same packages as at the build of the programs, so that nothing is built twice.
fn suite(args: &[&str]) -> Command {
    command("cargo", &[&["test", "--quiet", "--workspace", "--test", "chaos", "--"], args].concat())
}

fn cases(only: Option<&str>) -> Result<Vec<String>, Failure> {
    let listed = suite(&["--list", "--format", "terse"]).output();
    let listed = listed.map_err(|error| Failure(format!("the cases cannot be listed: {error}")))?;
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    let all = text.lines().filter_map(|line| line.strip_suffix(": test"));
    let cases: Vec<String> =
        all.filter(|case| only.is_none_or(|only| is_named(case, only))).map(str::to_owned).collect();
    if cases.is_empty() {
        let why = format!("no such case; there are:\n{text}{}", String::from_utf8_lossy(&listed.stderr));
        return Err(Failure(why));
    }
    Ok(cases)
}

/// Whether that is its name, with or without what it begins with.
fn is_named(case: &str, name: &str) -> bool {
    case == name || case.rsplit("::").next() == Some(name)
}

/// Plays a case; what it prints passes through, and its last line of counts is kept.
fn play(case: &str, seed: u64) -> Result<Played, Failure> {
    let mut playing = suite(&["--exact", "--nocapture", case]);
    playing.env("CHAOS_FORM", "long").env("CHAOS_SEED", seed.to_string()).stdout(Stdio::piped());
    println!("\n$ {}", describe(&playing));
    let failed = |error: std::io::Error| Failure(format!("{case} does not start: {error}"));
    let mut process = playing.spawn().map_err(failed)?;
    let mut line = None;
    for printed in process.stdout.take().into_iter().flat_map(|output| BufReader::new(output).lines()) {
        let printed = printed.map_err(failed)?;
        println!("{printed}");
        line = printed.strip_prefix("chaos ").map(str::to_owned).or(line);
    }
    process.wait().map_err(failed)?;
    Ok(Played { case: case.to_owned(), line })
}

fn conclude(played: &[Played]) -> Outcome {
    println!("\n{}", table(played));
    let failed = played.iter().filter(|played| !played.is_good()).count();
    if failed == 0 { Ok(()) } else { Err(Failure(format!("{failed} of {} failed", played.len()))) }
}

impl Played {
    fn is_good(&self) -> bool {
        self.line.as_ref().is_some_and(|line| !line.contains("FAILED"))
    }
}

fn table(played: &[Played]) -> String {
    let line = |played: &Played| {
        let verdict = if played.is_good() { "held  " } else { "FAILED" };
        format!("{verdict} {}\n", played.line.as_deref().unwrap_or(&played.case))
    };
    played.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_wanted() {
        let all = ["--minutes", "5", "--seed", "7", "--case", "x"];
        let wanted = Wanted { minutes: 5, seed: 7, case: Some("x".to_owned()) };
        assert_eq!(read(&all, 1).unwrap(), wanted);
        assert_eq!(read(&[], 1).unwrap(), Wanted { minutes: MINUTES, seed: 1, case: None });
        for wrong in [&["--minutes"][..], &["--minutes", "x"], &["--hours", "1"]] {
            assert!(read(wrong, 1).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_case_of_the_long_form_alone_is_found_by_its_own_name() {
        assert!(is_named("long_only::x", "x") && is_named("long_only::x", "long_only::x"));
        assert!(is_named("x", "x") && !is_named("xx", "x"));
    }

    #[test]
    fn a_case_without_a_line_of_counts_has_failed() {
        let played = |line: Option<&str>| Played { case: "x".to_owned(), line: line.map(str::to_owned) };
        assert!(played(Some("x seed=1 lost=0 seconds=3")).is_good());
        assert!(!played(Some("x seed=1 FAILED; again: ...")).is_good());
        assert!(!played(None).is_good());
        assert!(table(&[played(None)]).contains("FAILED x"));
        assert!(conclude(&[played(None)]).is_err());
    }
}
