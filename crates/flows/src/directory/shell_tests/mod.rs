//! The shell: the flow itself, driven as the engine does, on a store, a WeCom and a target in memory.

pub mod chance;
mod documents;
mod first_sync;
mod full_compare;
mod hierarchy;
mod leases;
mod lying;
mod runs;
mod sequences;
mod source;
pub mod stage;
mod store;
mod target;
