//! The ports: what an adapter implements. One conformance suite per port runs on every adapter.

pub mod queue;
pub mod state;
pub mod token_source;
pub mod transfer;

/// Why a port could not do what was asked: which port, what was tried, why, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// The broker or store does not answer; trying again later may help.
    #[error("{0}")]
    Unavailable(String),
    /// No room: disk full, queue full, memory alarm. Nothing was taken.
    #[error("{0}")]
    Full(String),
    /// Wrong set-up: topology mismatch, wrong credentials, data of a newer version. A person must act.
    #[error("{0}")]
    Misconfigured(String),
    /// A fencing token is out of date: somebody else holds the lease now.
    #[error("{0}")]
    Fenced(String),
    /// The store is not the one this process works with: it was emptied, or is an older copy. Nothing was read or
    /// written; a person must look and release ([`crate::generation`]).
    #[error("{0}")]
    Lost(String),
}

impl From<PortError> for crate::fault::Fault {
    fn from(error: PortError) -> Self {
        use crate::fault::{Fault, FaultKind};
        use std::time::Duration;
        let text = error.to_string();
        match error {
            PortError::Unavailable(_) => {
                Fault::new(FaultKind::Paused { after: Duration::from_secs(5) }, "port_unavailable", text)
            }
            PortError::Full(_) => {
                Fault::new(FaultKind::Paused { after: Duration::from_secs(30) }, "port_full", text)
            }
            PortError::Misconfigured(_) => {
                Fault::new(FaultKind::Paused { after: Duration::from_secs(60) }, "port_misconfigured", text)
            }
            PortError::Lost(_) => {
                Fault::new(FaultKind::Paused { after: Duration::from_secs(5) }, "store_lost", text)
            }
            PortError::Fenced(_) => {
                Fault::new(FaultKind::Busy { after: Duration::from_secs(1) }, "fenced", text)
            }
        }
    }
}
