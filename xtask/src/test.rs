//! `cargo xtask test`: all tests, on a machine that may lack the servers and libraries they need.

use std::path::Path;
use std::process::Command;

use crate::properties::{SEED, SEED_VARIABLE};
use crate::python;
use crate::run::{Failure, Outcome, command, run as execute};

/// The file that is to be there, where the distribution's package puts it, or else the command that is to succeed; and
/// the package.
const NEEDED: [(&str, &str); 3] = [
    ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server"),
    ("/usr/bin/redis-server", "redis-server"),
    ("python3 -m ensurepip --version", "python3-venv"),
];

/// Cases of the chaos suite that `cargo xtask chaos` plays and this does not: they take minutes.
const CHAOS_LONG_FORM_ONLY: [&str; 1] = ["programs_die_at_labelled_points"];

/// What the names of those begin with that have the long form alone, by the suite's own table.
const CHAOS_LONG_ONLY: &str = "long_only::";

/// Prepares the machine, then runs `cargo test --workspace`.
///
/// # Errors
/// As [`prepare`], when the Python packages cannot be installed, or when a test fails.
pub fn run(args: &[&str]) -> Outcome {
    prepare()?;
    python::install()?;
    let mut suite = command("cargo", &[&["test", "--workspace"], args, &skips(args)].concat());
    if std::env::var_os(SEED_VARIABLE).is_none() {
        suite.env(SEED_VARIABLE, SEED);
    }
    // Each message names its place; stacks would push the messages out of a log that keeps its end.
    suite.env("RUST_BACKTRACE", "0");
    execute(suite)
}

fn skips(args: &[&str]) -> Vec<&'static str> {
    let separator = (!args.contains(&"--")).then_some("--");
    let left_out = CHAOS_LONG_FORM_ONLY.iter().chain([&CHAOS_LONG_ONLY]);
    separator.into_iter().chain(left_out.flat_map(|case| ["--skip", case])).collect()
}

/// Installs what is missing and builds the programs that the system tests start.
///
/// # Errors
/// When a server is missing and cannot be installed, or a build fails.
pub fn prepare() -> Outcome {
    let missing = missing(is_there);
    if !missing.is_empty() {
        install(&missing)?;
    }
    execute(command("cargo", &["build", "--workspace", "--bins"]))
}

fn missing(is_there: impl Fn(&str) -> bool) -> Vec<&'static str> {
    NEEDED.iter().filter(|(needed, _)| !is_there(needed)).map(|(_, package)| *package).collect()
}

fn is_there(needed: &str) -> bool {
    let mut words = needed.split(' ');
    match (words.next(), needed.starts_with('/')) {
        (Some(program), false) => {
            Command::new(program).args(words).output().is_ok_and(|it| it.status.success())
        }
        _ => Path::new(needed).exists(),
    }
}

fn install(packages: &[&str]) -> Outcome {
    let names = packages.join(" ");
    let lacking = |why: &str| {
        Failure(format!(
            "the system tests start private RabbitMQ, Redis and SCIM servers and the vendors' client libraries; \
             missing: {names}. {why} \
             Install them (Debian, Ubuntu: `apt-get install -y {names}`) and run this again."
        ))
    };
    if !works("apt-get", "--version") {
        return Err(lacking("There is no apt-get here."));
    }
    let root = is_root();
    if !root && !works("sudo", "--version") {
        return Err(lacking("This user is not root and there is no sudo."));
    }
    println!("Missing for the system tests: {names}. Installing from this machine's distribution:");
    println!("(the tests start servers of their own and do not use a service the packages may start)");
    // Lists of a fresh image are empty; an update that fails may still leave usable ones.
    if let Err(Failure(message)) = execute(apt(root, &["update"])) {
        eprintln!("{message}; trying with the package lists that are here");
    }
    let args = [&["install", "-y", "--no-install-recommends"], packages].concat();
    let installed = execute(apt(root, &args));
    let still_missing = missing(is_there);
    match installed {
        Err(Failure(message)) if !still_missing.is_empty() => Err(lacking(&format!("{message}."))),
        // A package whose service cannot start here ends with an error, yet its programs are there.
        Err(Failure(message)) => {
            eprintln!("{message}, but the programs are there: going on");
            Ok(())
        }
        Ok(()) if !still_missing.is_empty() => {
            Err(lacking("They are installed, but not where Debian's packages put them."))
        }
        Ok(()) => Ok(()),
    }
}

fn apt(root: bool, args: &[&str]) -> Command {
    let words = ["DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300"];
    let (program, first) = if root { ("env", &[][..]) } else { ("sudo", &["env"][..]) };
    command(program, &[first, &words, args].concat())
}

fn works(program: &str, arg: &str) -> bool {
    Command::new(program).arg(arg).output().is_ok_and(|output| output.status.success())
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::describe;

    #[test]
    fn names_the_packages_of_missing_files() {
        assert_eq!(missing(|_| false), ["rabbitmq-server", "redis-server", "python3-venv"]);
        assert_eq!(missing(|path| path.contains("rabbitmq")), ["redis-server", "python3-venv"]);
        assert!(missing(|_| true).is_empty());
    }

    #[test]
    fn looks_for_files_and_tries_commands() {
        assert!(is_there("/") && is_there("cargo --version"));
        assert!(!is_there("/nowhere/at all") && !is_there("cargo --none") && !is_there("no-such-program"));
    }

    #[test]
    fn leaves_out_cases_that_there_are() {
        let suite = include_str!("../../tests/chaos/main.rs");
        assert!(CHAOS_LONG_FORM_ONLY.iter().all(|case| suite.contains(&format!("::{case} "))));
        assert!(suite.contains("mod long_only {"));
        assert_eq!(skips(&[])[..3], ["--", "--skip", CHAOS_LONG_FORM_ONLY[0]]);
        assert_eq!(skips(&[]).last(), Some(&CHAOS_LONG_ONLY));
        assert_eq!(skips(&["--", "one"])[0], "--skip");
    }

    #[test]
    fn asks_no_question() {
        for (root, start) in [(true, "env DEBIAN"), (false, "sudo env DEBIAN")] {
            let line = describe(&apt(root, &["install", "-y", "redis-server"]));
            assert!(line.starts_with(start), "{line}");
            assert!(line.contains("DEBIAN_FRONTEND=noninteractive") && line.contains(" -y "), "{line}");
        }
    }
}
