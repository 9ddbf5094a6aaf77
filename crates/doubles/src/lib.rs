//! What unit tests of several crates stand on: a state store in memory, and exchanges that were recorded.
//! Only for `dev-dependencies`. A double with a behaviour of its own stays beside the tests that want it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "all of it is a part of tests")]

mod exchange;
mod state;

pub use exchange::{Exchange, Recordings};
pub use state::MemoryState;
