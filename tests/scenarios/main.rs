//! The real programs against simulated systems, on real servers.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod fleet;
