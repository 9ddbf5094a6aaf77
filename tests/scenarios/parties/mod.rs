//! The flow `parties` in this process, against the simulated systems over HTTP and the embedded store.

mod bench;
mod checks;
mod communications;
mod conflicts;
mod creates;
mod deletions;
mod failures;
mod guards;
mod lists;
mod random;
mod sweeps;
mod updates;
mod webhooks;
