//! One suite per port, run on every backing; and the harness' own tests.
#![expect(clippy::unwrap_used, reason = "tests")]

mod processes;
