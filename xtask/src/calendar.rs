//! `cargo xtask calendar`: a scripted time of the flow `calendar`, as long and with as many people as wanted.
//! Everything goes wrong that can. At its end the store is emptied, and all links come back.

use crate::run::{Failure, Outcome, command, run as execute};

/// What is played where nothing is said: a year of a firm.
const WANTED: [(&str, &str, u64); 3] = [
    ("--days", "CALENDAR_DAYS", 365),
    ("--users", "CALENDAR_USERS", 50),
    ("--meetings", "CALENDAR_MEETINGS", 20_000),
];
const SEED: (&str, &str) = ("--seed", "CALENDAR_SEED");

/// Plays one scripted time, with the optimiser, since it is long.
///
/// # Errors
/// When an argument is none, the build fails, or what the systems say differs from what they must say: the seed is named.
pub fn run(args: &[&str]) -> Outcome {
    let wanted = read(args)?;
    let mut suite = command(
        "cargo",
        &[
            "test",
            "--release",
            "--workspace",
            "--test",
            "scenarios",
            "--",
            "calendar::time::a_month_of_an_office_ends_as_its_people_wrote",
            "--exact",
            "--nocapture",
        ],
    );
    suite.envs(wanted);
    execute(suite)
}

fn read(args: &[&str]) -> Result<Vec<(&'static str, String)>, Failure> {
    let mut wanted: Vec<(&'static str, String)> =
        WANTED.iter().map(|(_, variable, default)| (*variable, default.to_string())).collect();
    for pair in args.chunks(2) {
        let [name, value] = pair else {
            return Err(Failure(format!("unknown: {}", pair.join(" "))));
        };
        let known = WANTED.iter().map(|(name, variable, _)| (*name, *variable)).chain([SEED]);
        let variable = known.into_iter().find(|(known, _)| known == name);
        let (_, variable) = variable.ok_or_else(|| Failure(format!("unknown: {name} {value}")))?;
        let number: u64 = value.parse().map_err(|_| Failure(format!("{value} is no number")))?;
        wanted.retain(|(known, _)| *known != variable);
        wanted.push((variable, number.to_string()));
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_how_much() {
        let of = |args: &[&str], variable: &str| {
            read(args).unwrap().into_iter().find(|(name, _)| *name == variable).map(|(_, value)| value)
        };
        assert_eq!(of(&[], "CALENDAR_DAYS").as_deref(), Some("365"));
        assert_eq!(of(&[], "CALENDAR_SEED"), None);
        let args = ["--days", "3", "--seed", "7"];
        assert_eq!(of(&args, "CALENDAR_DAYS").as_deref(), Some("3"));
        assert_eq!(of(&args, "CALENDAR_SEED").as_deref(), Some("7"));
        assert_eq!(of(&args, "CALENDAR_USERS").as_deref(), Some("50"));
        for bad in [&["--days"][..], &["--days", "x"], &["--other", "1"]] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
