//! The flows: what is kept equal between which systems, and who wins.
//!
//! A flow knows [`shared`] and the connectors of its systems; it knows no broker, no store and no HTTP.

pub mod calendar;
mod crm_checks;
pub mod directory;
mod guard;
pub mod parties;
pub mod relay;
pub mod webhook_secrets;
