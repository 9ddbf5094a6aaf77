//! The simulators, seen from outside: over HTTP, as a client sees them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests, with helpers that clippy does not take for tests"
)]

mod administration;
mod advoware;
mod control;
mod demo_data;
mod espocrm;
mod faults;
mod fixture;
mod google;
mod http;
mod meetings;
mod microsoft;
mod people;
mod replay;
mod restart;
mod scim;
mod screen;
mod webhooks;
mod wecom;
