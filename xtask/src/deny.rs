//! `cargo xtask deny`: cargo-deny at a pinned version, with its advisory database where there is a network.

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::run::{Failure, Outcome, command, run as execute, target_dir};

const VERSION: &str = "0.20.2";
/// The exit code of `timeout` when time ran out.
const TIMED_OUT: i32 = 124;

/// Checks licences, sources, versions, and advisories unless their database is out of reach.
///
/// # Errors
/// When the tool cannot be installed or a check fails.
pub fn run() -> Outcome {
    let tool = installed()?;
    let fetched = command("timeout", &["--kill-after=5", "120"])
        .arg(&tool)
        .args(["--locked", "fetch", "db"])
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .map_err(|error| Failure(format!("`timeout` does not start: {error}")))?;
    let mut checks = vec!["--locked", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"];
    match database(&fetched) {
        Database::Fetched => checks.push("advisories"),
        Database::OutOfReach => println!(
            "\n!!! ADVISORIES ARE NOT CHECKED: their database cannot be fetched without a network.\n\
             !!! All else is checked. Run `cargo xtask deny` where github.com can be reached.\n{}",
            String::from_utf8_lossy(&fetched.stderr)
        ),
        Database::Broken(why) => return Err(Failure(format!("the advisory database is not fetched: {why}"))),
    }
    execute(command(&tool, &checks))
}

#[derive(Debug, PartialEq)]
enum Database {
    Fetched,
    OutOfReach,
    Broken(String),
}

fn database(fetch: &Output) -> Database {
    let text = String::from_utf8_lossy(&fetch.stderr).into_owned();
    // Git's words for every failure of the transport: name, route, refusal, proxy.
    let transport_failed =
        text.contains("failed to fetch advisory database") && text.contains("unable to access");
    if fetch.status.success() {
        Database::Fetched
    } else if transport_failed || fetch.status.code() == Some(TIMED_OUT) {
        Database::OutOfReach
    } else {
        Database::Broken(text)
    }
}

fn installed() -> Result<PathBuf, Failure> {
    let folder = target_dir().join("tools");
    let tool = folder.join("bin/cargo-deny");
    let version = Command::new(&tool).arg("--version").output();
    if version.is_ok_and(|output| output.stdout.trim_ascii() == format!("cargo-deny {VERSION}").as_bytes()) {
        return Ok(tool);
    }
    println!("Installing cargo-deny {VERSION} into {}:", folder.display());
    // Its release profile takes ten times as long to build and saves a second per run.
    let mut install = command("cargo", &["install", "--locked", "--debug", "--force"]);
    install.args(["--config", "profile.dev.debug=false", "--root"]).arg(&folder);
    install.arg(format!("cargo-deny@{VERSION}"));
    execute(install)?;
    Ok(tool)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    fn fetch(code: i32, stderr: &str) -> Database {
        let status = ExitStatus::from_raw(code << 8);
        database(&Output { status, stdout: Vec::new(), stderr: stderr.into() })
    }

    #[test]
    fn only_a_missing_network_excuses_from_advisories() {
        let no_network = "[ERROR] failed to fetch database: failed to fetch advisory database \
             https://github.com/RustSec/advisory-db with cli: failed to clone: [..]\n\
             fatal: unable to access 'https://github.com/RustSec/advisory-db/': Could not resolve host: github.com";
        assert_eq!(fetch(0, ""), Database::Fetched);
        assert_eq!(fetch(1, no_network), Database::OutOfReach);
        assert_eq!(fetch(TIMED_OUT, ""), Database::OutOfReach);
        assert!(matches!(fetch(1, "[ERROR] failed to parse config"), Database::Broken(_)));
        assert!(matches!(fetch(1, "failed to fetch advisory database: disk full"), Database::Broken(_)));
    }
}
