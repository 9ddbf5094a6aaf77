//! The producer: cron sweeps and webhooks become messages.
//!
//! [`run::run`] serves the webhooks ([`webhook`]) in every producer, and keeps their messages on local disk
//! ([`spool`]) while the broker is away ([`intake`]); the sweeps ([`sweep`]) are fired at their cron times
//! ([`schedule`]) by the one that holds the leader's lease ([`leader`]). Each says that it lives ([`presence`]).

mod accounts;
mod body;
pub mod connect;
pub mod forward;
pub mod gate;
pub mod intake;
pub mod leader;
pub mod presence;
pub mod program;
pub mod run;
pub mod schedule;
pub mod spool;
pub mod sweep;
pub mod webhook;

#[cfg(test)]
mod tests;
