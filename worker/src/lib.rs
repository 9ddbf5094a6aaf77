//! The worker: messages become converged records.
//!
//! [`run::run`] announces the worker, serves the shards that rendezvous hashing gives it ([`fleet`]), each under
//! a renewed lease ([`shard`]). Within a shard, messages are grouped by key ([`waiting`]): different keys run at
//! once, one key never twice. [`dispatch`] runs the flow's handler and is the only place that settles deliveries.

pub mod dispatch;
pub mod fleet;
pub mod incoming;
pub mod poison;
pub mod program;
pub mod run;
pub mod shard;
pub mod waiting;

#[cfg(test)]
mod tests;
