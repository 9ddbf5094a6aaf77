//! What keeps a decision from going on in this pass: deciding reads as if all were known, and stops where it is not.

use super::action::{Action, Lease, Look, Refusal};
use super::ids::DepartmentId;
use super::key::Key;
use crate::guard::MassChange;

/// What has to happen first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Need {
    /// Something has to be looked up.
    Look(Vec<Look>),
    /// A lease has to be taken.
    Lease(Lease),
    /// Steps have to be done.
    Do(Vec<Action>, Option<MassChange>),
    /// A department is not there.
    Missing(DepartmentId, Why),
    /// These departments are below each other.
    Cycle(Vec<DepartmentId>),
    /// A run of that has to succeed first.
    Park(Key),
    /// A person has to act.
    Refuse(Refusal),
}

/// Why a department is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// WeCom does not know it (yet).
    Unknown,
    /// WeCom does not answer.
    Unavailable,
}

impl Need {
    pub(super) fn look(look: Look) -> Self {
        Self::Look(vec![look])
    }

    pub(super) fn act(actions: Vec<Action>) -> Self {
        Self::Do(actions, None)
    }
}
