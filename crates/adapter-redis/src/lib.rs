//! The state port over Redis 7 (or Valkey): one primary, append-only file on; replicas only to fail over to.
//!
//! Every operation that compares before it writes is one Lua script, so it is one atomic step; time is the
//! server's. Versions and terms are at least the server's time in microseconds, so they rise even when the
//! server comes back with older data than it had.
//!
//! This crate knows no flow, no queue and no upstream.

mod check;
mod connection;
mod error;
mod keys;
mod options;
mod scripts;
mod state;
mod transfer;

pub use options::Options;
pub use state::RedisState;
