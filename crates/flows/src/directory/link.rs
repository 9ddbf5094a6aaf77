//! Our memory of what was written for a department or member.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::department::Department;
use super::ids::{DepartmentId, MemberId, TargetId};
use super::record::{Child, Fingerprint};
use super::tree::Attached;

/// What we remember of a department.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DepartmentLink {
    /// We may not see it; so that its members do not ask for it again and again.
    Invisible {
        /// When that was said.
        since: Timestamp,
    },
    /// It has a group.
    Linked(Box<GroupLink>),
}

impl DepartmentLink {
    /// Its group, if it has any.
    pub fn group(&self) -> Option<&GroupLink> {
        match self {
            Self::Invisible { .. } => None,
            Self::Linked(link) => Some(link),
        }
    }
}

/// A department on the way to another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Which.
    pub id: DepartmentId,
    /// Its name.
    pub name: String,
}

/// Of which group a group is a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The department.
    pub under: DepartmentId,
    /// Its group: another one when the department was deleted and made anew.
    pub group: TargetId,
}

/// A department and its group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupLink {
    /// What WeCom said of it.
    pub seen: Department,
    /// The group's id.
    pub target: TargetId,
    /// The group's version after our last look.
    pub version: Option<String>,
    /// What was written; the default when that is not known.
    pub written: Fingerprint,
    /// The one above it here, which may be another than it says.
    pub parent: Option<DepartmentId>,
    /// Why it is not where its parent says.
    pub attached: Option<Attached>,
    /// The way to it from the top, itself last; only itself where no names or memberships follow from the way.
    pub way: Vec<Step>,
    /// With nested groups: of which group it is a member.
    pub placed: Option<Placed>,
    /// The groups whose notes about it may be missing, or say otherwise than `placed`: noted once more before anything
    /// else.
    pub placed_due: BTreeSet<DepartmentId>,
    /// The group that it is being taken out of before it is deleted.
    pub leaving: Option<DepartmentId>,
    /// What is below and has still to be told that this one changed.
    pub below_due: Below,
}

/// What is directly below a department.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Below {
    /// The departments whose parent it is by what they say ([`GroupLink::seen`]).
    pub departments: bool,
    /// The members that have it among their departments.
    pub members: bool,
}

impl Below {
    /// Everything.
    pub const ALL: Self = Self { departments: true, members: true };

    /// Whether it is nothing.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// This and that.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { departments: self.departments || other.departments, members: self.members || other.members }
    }
}

/// A member and its user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberLink {
    /// The userid as WeCom spells it.
    pub userid: String,
    /// The user's id.
    pub target: TargetId,
    /// The user's version after our last look.
    pub version: Option<String>,
    /// What was written, without the manager; the default when that is not known.
    pub written: Fingerprint,
    /// Its departments, as WeCom said: those that we may not see as well.
    pub departments: Vec<DepartmentId>,
    /// The groups that it is a member of.
    pub groups: BTreeMap<DepartmentId, TargetId>,
    /// The groups whose notes about it may be missing, or say otherwise than `groups`: noted once more before anything
    /// else.
    pub groups_due: BTreeSet<DepartmentId>,
    /// The groups that it is or was taken out of: that is written before it is deleted.
    pub leaving: BTreeSet<DepartmentId>,
    /// Whom it reports to, as WeCom said.
    pub leaders: Vec<MemberId>,
    /// Whether its manager, and those who wait for it as theirs, have still to be looked at; of who is gone, those who
    /// reported to it.
    pub leaders_due: bool,
    /// The manager as written.
    pub manager: Option<TargetId>,
    /// Since when the member is gone, and the account deactivated.
    pub ended: Option<Timestamp>,
    /// Since when there is this link.
    pub since: Timestamp,
}

/// A change to a group's members that is still to be written. There is one for a group and a target's id: a later one
/// takes its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Note {
    /// The id of the user or group in the target.
    pub target: TargetId,
    /// Who that is.
    pub child: Child,
    /// Whether it is to be a member.
    pub wanted: bool,
}
