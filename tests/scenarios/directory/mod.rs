//! The flow `directory` and its targets.

mod burst;
mod contract;
mod counted;
mod espo_company;
mod espo_target;
mod first_sync;
mod fleet_limit;
mod hierarchy;
mod import;
mod independent;
mod installation;
mod parked;
mod place;
mod programs;
mod scim_target;
mod sequences;
mod shown;
mod whole_writes;
