//! The flow `directory` and its targets.

mod espo_target;
