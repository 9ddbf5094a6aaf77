//! What a test plays, as told on the command line: numbers that it reads from variables.

use crate::run::Failure;

/// An argument, the variable that it sets, and what it is where nothing is said.
pub type Wanted = (&'static str, &'static str, Option<u64>);

/// Reads pairs of an argument and a number.
///
/// # Errors
/// When an argument is not among those wanted, or its value is no number.
pub fn read(args: &[&str], wanted: &[Wanted]) -> Result<Vec<(&'static str, String)>, Failure> {
    let defaults = wanted.iter().filter_map(|(_, variable, default)| Some((*variable, (*default)?)));
    let mut read: Vec<(&'static str, String)> =
        defaults.map(|(variable, default)| (variable, default.to_string())).collect();
    for pair in args.chunks(2) {
        let [name, value] = pair else {
            return Err(Failure(format!("unknown: {}", pair.join(" "))));
        };
        let variable = wanted.iter().find(|(known, ..)| known == name).map(|(_, variable, _)| *variable);
        let variable = variable.ok_or_else(|| Failure(format!("unknown: {name} {value}")))?;
        let number: u64 = value.parse().map_err(|_| Failure(format!("{value} is no number")))?;
        read.retain(|(known, _)| *known != variable);
        read.push((variable, number.to_string()));
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: [Wanted; 2] = [("--days", "DAYS", Some(365)), ("--seed", "SEED", None)];

    #[test]
    fn the_command_line_says_how_much() {
        let of = |args: &[&str], variable: &str| {
            let read = read(args, &WANTED).unwrap();
            read.into_iter().find(|(name, _)| *name == variable).map(|(_, value)| value)
        };
        assert_eq!(of(&[], "DAYS").as_deref(), Some("365"));
        assert_eq!(of(&[], "SEED"), None);
        let args = ["--days", "3", "--seed", "7"];
        assert_eq!(of(&args, "DAYS").as_deref(), Some("3"));
        assert_eq!(of(&args, "SEED").as_deref(), Some("7"));
        for bad in [&["--days"][..], &["--days", "x"], &["--other", "1"]] {
            assert!(read(bad, &WANTED).is_err(), "{bad:?}");
        }
    }
}
