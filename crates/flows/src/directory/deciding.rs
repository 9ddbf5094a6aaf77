//! One pass of deciding: what every part of it needs.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::action::{Lease, Oddity};
use super::ids::DepartmentId;
use super::known::Known;
use super::need::Need;
use super::rules::Rules;

/// For what a plan is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// For a hint: what follows for others is noted and hinted at.
    Hint,
    /// For what a full compare found, or a person asks for: the target is read even where we know what was written or that it
    /// is out of use, what WeCom does not know is searched for there, though it is not linked, and a department without
    /// parent is attached to the root.
    Sweep,
    /// Within the first sync: memberships and managers have phases of their own, and a department without parent is
    /// attached to the root at once.
    FirstSync,
}

/// One pass.
pub(super) struct Deciding<'a> {
    pub(super) known: &'a Known,
    pub(super) rules: &'a Rules,
    pub(super) mode: Mode,
    pub(super) now: Timestamp,
    pub(super) oddities: Vec<Oddity>,
    /// Departments that a cycle is broken at.
    pub(super) broken: BTreeSet<DepartmentId>,
}

impl Deciding<'_> {
    pub(super) fn lease(&self, lease: Lease) -> Result<(), Need> {
        match self.known.has_lease(&lease) {
            true => Ok(()),
            false => Err(Need::Lease(lease)),
        }
    }
}
