//! The shell: the flow itself, driven as the engine does, on a store, a WeCom and a target in memory.

pub mod chance;
mod documents;
mod leases;
mod runs;
mod sequences;
mod source;
pub mod stage;
mod store;
mod target;
