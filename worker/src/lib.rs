//! The worker: messages become converged records.
//!
//! [`run::run`] announces the worker, serves the shards that rendezvous hashing gives it ([`fleet`]), each under
//! a renewed lease ([`shard`]). Within a shard ([`pump`]), messages are grouped by key ([`waiting`]): different keys
//! run at once, one key never twice. [`dispatch`] runs the flow's handler and settles what it was run for; a handler
//! that never comes back is the [`watchdog`]'s business.

pub mod dispatch;
pub mod failed;
pub mod fleet;
pub mod held;
pub mod hints;
pub mod incoming;
pub mod lives;
pub mod marked;
pub mod parking;
pub mod program;
pub mod pump;
pub mod run;
pub mod shard;
pub mod trial;
pub mod turns;
pub mod waiting;
pub mod watchdog;

#[cfg(test)]
mod tests;
