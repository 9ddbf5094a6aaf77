//! One suite per port, run on every backing; and the harness' own tests.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod backing;
mod backing_embedded;
mod backing_fleet;
mod embedded_kills;
mod embedded_processes;
mod engine;
mod intents;
mod letters;
mod limits;
mod outage;
mod parking;
mod processes;
mod queue;
mod state;
mod transfer;
