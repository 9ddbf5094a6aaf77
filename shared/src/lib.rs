//! The vocabulary and the ports of syncfleet.
//!
//! What every part speaks: envelopes, record keys, faults, settlements, dead letters, and the two ports
//! ([`ports::queue::Queue`], [`ports::state::State`]) with the typed modules over the state port.
//!
//! This crate knows no runtime, no network, no database and no other crate of ours. Everything that decides
//! is a pure function: time, ids and random numbers are arguments.

pub mod change;
pub mod clock;
pub mod contain;
pub mod cursor;
pub mod dead_letter;
pub mod dead_mark;
pub mod envelope;
pub mod fault;
pub mod flow;
pub mod forward;
pub mod generation;
pub mod intent;
pub mod labelled;
pub mod lease;
pub mod link;
pub mod marks;
pub mod membership;
pub mod meter;
pub mod names;
pub mod parking;
pub mod ports;
pub mod record_key;
pub mod replay;
pub mod retry;
pub mod retry_mark;
pub mod routing;
pub mod settlement;
pub mod trace;

/// The version of syncfleet, as printed by every program and written into dead letters.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
