//! The producer: cron sweeps and webhooks become messages.
//!
//! [`run::run`] serves the webhooks ([`webhook`]) in every producer; the sweeps ([`sweep`]) are fired at their
//! cron times ([`schedule`]) by the one that holds the leader's lease ([`leader`]).

pub mod leader;
pub mod program;
pub mod run;
pub mod schedule;
pub mod sweep;
pub mod webhook;

#[cfg(test)]
mod tests;
