//! What the product can do, in numbers: `cargo xtask bench`. Prints one table: each figure beside the ceiling that
//! was measured in turns with it, and the goal.
//!
//! The programs are those of the release profile. Named measures run alone (`cargo xtask bench overhead drain`);
//! `--quick` runs everything once and tiny, to see that it works; `--full` fills queues with 1,000,000 messages and syncs
//! 100,000 members.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for developers"
)]

mod callbacks;
mod contender;
mod directory;
mod drain;
mod embedded;
mod flow;
mod installation;
mod intake;
mod letters;
mod load;
mod overhead;
mod processes;
mod resources;
mod servers;
mod stub;
mod sweep;
mod sync;
mod table;

use std::process::ExitCode;

use servers::Servers;
use table::Table;

/// The measures by name, in their order.
const MEASURES: [&str; 10] = [
    "sync",
    "sweep",
    "directory",
    "overhead",
    "drain",
    "embedded",
    "intake",
    "callbacks",
    "letters",
    "resources",
];

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Once, and tiny.
    Quick,
    /// What the figures need.
    Usual,
    /// The same, with the longest queues.
    Full,
}

impl Size {
    /// So many runs, or one.
    pub fn runs(self, usual: usize) -> usize {
        if self == Self::Quick { 1 } else { usual }
    }

    /// So many things, or a twentieth of them.
    pub fn of(self, usual: usize) -> usize {
        if self == Self::Quick { usual / 20 } else { usual }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [contender::WORD, ..] => return contender::main(&args[1..]).await,
        [intake::WORD, ..] => return intake::serve(&args[1..]).await,
        [directory::systems::WORD, ..] => return directory::systems::serve(&args[1..]).await,
        // `cargo test --benches` and `cargo bench -- --list` must not take minutes.
        words if words.contains(&"--list") || words.contains(&"--test") => return ExitCode::SUCCESS,
        _ => {}
    }
    // Cargo adds `--bench` by itself.
    let (flags, names): (Vec<String>, Vec<String>) =
        args.into_iter().filter(|arg| arg != "--bench").partition(|arg| arg.starts_with("--"));
    let size = match flags.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => Size::Usual,
        ["--quick"] => Size::Quick,
        ["--full"] => Size::Full,
        _ => return wrong_use(),
    };
    if names.iter().any(|name| !MEASURES.contains(&name.as_str())) {
        return wrong_use();
    }
    println!("{}", measure(&names, size).await);
    ExitCode::SUCCESS
}

fn wrong_use() -> ExitCode {
    eprintln!("usage: cargo xtask bench [--quick | --full] [{}]", MEASURES.join(" | "));
    ExitCode::from(64)
}

async fn measure(names: &[String], size: Size) -> Table {
    let mut table = Table::default();
    let chosen = |name: &str| names.is_empty() || names.iter().any(|chosen| chosen == name);
    if chosen("sync") {
        sync::measure(&mut table, size).await;
    }
    if chosen("sweep") {
        for has_wide_limits in [false, true] {
            sweep::measure(&mut table, has_wide_limits, size).await;
        }
    }
    if chosen("directory") {
        directory::measure(&mut table, size).await;
    }
    if chosen("embedded") {
        embedded::measure(&mut table, size).await;
    }
    if ["overhead", "drain", "intake", "callbacks", "letters", "resources"].into_iter().any(chosen) {
        let servers = Servers::start().await;
        if chosen("overhead") {
            overhead::measure(&mut table, &servers, size).await;
        }
        if chosen("drain") {
            drain::measure(&mut table, &servers, size).await;
        }
        if chosen("intake") {
            intake::measure(&mut table, &servers, size).await;
        }
        if chosen("callbacks") {
            callbacks::measure(&mut table, &servers, size).await;
        }
        if chosen("letters") {
            letters::measure(&mut table, &servers, size).await;
        }
        if chosen("resources") {
            resources::measure(&mut table, &servers, size).await;
        }
    }
    table
}
