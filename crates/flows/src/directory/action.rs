//! The steps of a plan, and what a plan amounts to.

use std::fmt;

use super::ids::{DepartmentId, ExternalId, MemberId, TargetId};
use super::key::Key;
use super::link::{Below, DepartmentLink, MemberLink, Note};
use super::record::{Attributes, Child};
use super::tree::Attached;
use crate::guard::MassChange;

/// Something that has to be looked up before more can be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Read the department in WeCom.
    Department(DepartmentId),
    /// Read the member in WeCom.
    Member(MemberId),
    /// Our memory of a department.
    DepartmentLink(DepartmentId),
    /// Our memory of a member.
    MemberLink(MemberId),
    /// The userid that this one was changed to.
    Rename(MemberId),
    /// Find the group with this external id in the target; with several of them, the one with the smallest id.
    FindGroup(ExternalId),
    /// Read a group in the target, without its members.
    Group(TargetId),
    /// Find the user with this external id in the target; with several of them, the one with the smallest id.
    FindUser(ExternalId),
    /// Find another user with the external id of this one.
    SecondUser(ExternalId, TargetId),
    /// Read a user in the target.
    User(TargetId),
    /// What is noted for the members of a department's group, as many as one request writes.
    Notes(DepartmentId),
    /// Who waits for this one as manager.
    Waiting(MemberId),
}

/// What only one run in the fleet does at a time, whatever its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lease {
    /// Creating, ending and renaming the record with this external id: the target does not keep it unique.
    Record(ExternalId),
    /// Writing the members of a department's group.
    Members(DepartmentId),
}

/// One step. Every one may be repeated. After a conflict the run begins anew, with nothing known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Save our memory of a department; a conflict where it changed since it was looked up.
    SaveDepartment(DepartmentId, Box<DepartmentLink>),
    /// Forget a department; a conflict where that changed since it was looked up.
    DropDepartment(DepartmentId),
    /// Save our memory of a member; a conflict where it changed since it was looked up.
    SaveMember(MemberId, Box<MemberLink>),
    /// Forget a member; a conflict where that changed since it was looked up.
    DropMember(MemberId),
    /// Note that a userid was changed.
    SaveRename {
        /// What it was.
        old: MemberId,
        /// What it is.
        new: MemberId,
    },
    /// Forget that a userid was changed: somebody else has it now.
    ForgetRename(MemberId),
    /// Create a group.
    CreateGroup {
        /// Its external id.
        external_id: ExternalId,
        /// Its name.
        name: String,
    },
    /// Write a group; a conflict where it is gone, or changed since it was read.
    UpdateGroup {
        /// Its id.
        target: TargetId,
        /// The version that was read.
        expected: Option<String>,
        /// Its name.
        name: String,
    },
    /// Delete a group; where it is gone, that is done.
    DeleteGroup {
        /// Its id.
        target: TargetId,
    },
    /// Create a user. Where somebody else has its name, that is noted in what is known.
    CreateUser {
        /// Its external id.
        external_id: ExternalId,
        /// What it says.
        attributes: Attributes,
    },
    /// Write attributes of a user; a conflict where it is gone, or changed since it was read. Where somebody else has its name, that is noted in what is known.
    UpdateUser {
        /// Its id.
        target: TargetId,
        /// The version that was read.
        expected: Option<String>,
        /// Its external id: written where it is another one.
        external_id: ExternalId,
        /// What differs.
        changes: Attributes,
    },
    /// Delete a user; where it is gone, that is done.
    DeleteUser {
        /// Its id.
        target: TargetId,
    },
    /// Add members to a group and take some away, in one request. Who is in already, or is not, is no error. Where the group
    /// is gone, that is noted in what is known.
    ChangeMembers {
        /// Whose group.
        department: DepartmentId,
        /// The group's id.
        group: TargetId,
        /// Who is added.
        add: Vec<(Child, TargetId)>,
        /// Who is taken away.
        remove: Vec<(Child, TargetId)>,
    },
    /// Note what is to be written for groups' members. Of one group and target's id the last one counts.
    PutNotes(Vec<(DepartmentId, Note)>),
    /// Forget notes, each only where it still says the same.
    ForgetNotes(DepartmentId, Vec<Note>),
    /// Note that a member waits for its manager. Its link is looked up anew afterwards.
    PutWaiting {
        /// The manager that is not there.
        leader: MemberId,
        /// Who waits.
        member: MemberId,
    },
    /// Nobody of these waits any more.
    ForgetWaiting {
        /// The manager.
        leader: MemberId,
        /// Who waited.
        members: Vec<MemberId>,
    },
    /// Publish a message about this, confirmed before the next step.
    Hint(Key),
    /// Publish messages about the managers of those who report to this one, by our memory: page by page, confirmed.
    HintReports(MemberId),
    /// Publish messages about what is directly below a department, by our memory: page by page, confirmed.
    HintBelow {
        /// Which.
        department: DepartmentId,
        /// What of it.
        below: Below,
    },
}

impl Action {
    /// The word for metrics and outcomes.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SaveDepartment(..) | Self::SaveMember(..) => "save_link",
            Self::DropDepartment(_) | Self::DropMember(_) => "drop_link",
            Self::SaveRename { .. } => "save_rename",
            Self::ForgetRename(_) => "forget_rename",
            Self::CreateGroup { .. } => "create_group",
            Self::UpdateGroup { .. } => "update_group",
            Self::DeleteGroup { .. } => "delete_group",
            Self::CreateUser { .. } => "create_user",
            Self::UpdateUser { .. } => "update_user",
            Self::DeleteUser { .. } => "delete_user",
            Self::ChangeMembers { .. } => "change_members",
            Self::PutNotes(_) => "put_notes",
            Self::ForgetNotes(..) => "forget_notes",
            Self::PutWaiting { .. } => "put_waiting",
            Self::ForgetWaiting { .. } => "forget_waiting",
            Self::Hint(_) => "hint",
            Self::HintReports(_) => "hint_reports",
            Self::HintBelow { .. } => "hint_below",
        }
    }

    /// Whether the target is written.
    pub fn is_upstream_write(&self) -> bool {
        match self {
            Self::CreateGroup { .. }
            | Self::UpdateGroup { .. }
            | Self::DeleteGroup { .. }
            | Self::CreateUser { .. }
            | Self::UpdateUser { .. }
            | Self::DeleteUser { .. }
            | Self::ChangeMembers { .. } => true,
            Self::SaveDepartment(..)
            | Self::DropDepartment(_)
            | Self::SaveMember(..)
            | Self::DropMember(_)
            | Self::SaveRename { .. }
            | Self::ForgetRename(_)
            | Self::PutNotes(_)
            | Self::ForgetNotes(..)
            | Self::PutWaiting { .. }
            | Self::ForgetWaiting { .. }
            | Self::Hint(_)
            | Self::HintReports(_)
            | Self::HintBelow { .. } => false,
        }
    }
}

/// What somebody should know of; none of it keeps a run from succeeding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oddity {
    /// A department is attached to the root.
    Attached(DepartmentId, Attached),
    /// A member has a department that we may not see; it is left out.
    InvisibleDepartment(MemberId, DepartmentId),
    /// We may not see what we have a record of; the record stays as it is.
    Invisible(Key),
    /// A member reports to somebody that is not there.
    UnknownLeader(MemberId, MemberId),
    /// A renamed member had two accounts; this one was taken out of use.
    SecondAccount(MemberId, TargetId),
}

impl Oddity {
    /// What it is, for counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Attached(..) => "attached_to_root",
            Self::InvisibleDepartment(..) => "invisible_department",
            Self::Invisible(_) => "invisible",
            Self::UnknownLeader(..) => "unknown_leader",
            Self::SecondAccount(..) => "second_account",
        }
    }
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attached(id, why) => write!(f, "The department {id} is attached to the root: {why}."),
            Self::InvisibleDepartment(member, id) => {
                write!(f, "{member} is in the department {id}, which we may not see: it is left out.")
            }
            Self::Invisible(key) => {
                write!(f, "We may not see {key} in WeCom any more: what was written stays as it is.")
            }
            Self::UnknownLeader(member, leader) => {
                write!(f, "{member} reports to {leader}, who is not there (yet).")
            }
            Self::SecondAccount(member, target) => {
                write!(f, "{member} had two accounts: {target} was taken out of use.")
            }
        }
    }
}

/// Why something cannot be synchronised as it is: a person has to act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The login name is that of an account which is not ours.
    NameTaken {
        /// Whose account is not written.
        member: MemberId,
        /// The name.
        name: String,
    },
}

/// What a plan amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// More has to be looked up, or follows from the steps: plan again.
    GoesOn,
    /// Both sides agree.
    Converges,
    /// It is gone, and so is what was written for it; or there never was anything.
    Ended,
    /// We may not see it; it is left as it is.
    Invisible,
    /// There is no account, and none is created here.
    NotCreated,
    /// It waits for something else. Nothing is left half done.
    Parks {
        /// For what.
        awaited: Key,
    },
    /// A person has to act.
    Refused(Refusal),
}

/// The decision. In each pass either something is looked up, or a lease is taken, or steps are done, or it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What it amounts to.
    pub verdict: Verdict,
    /// What has to be looked up.
    pub looks: Vec<Look>,
    /// What has to be taken; where somebody else has it, the run is over for now (busy).
    pub lease: Option<Lease>,
    /// The steps, in order.
    pub actions: Vec<Action>,
    /// What the mass-change guard counts before the steps are done.
    pub mass_change: Option<MassChange>,
    /// What somebody should know of, once the run is over.
    pub oddities: Vec<Oddity>,
}

impl Plan {
    pub(super) fn over(verdict: Verdict) -> Self {
        Self {
            verdict,
            looks: Vec::new(),
            lease: None,
            actions: Vec::new(),
            mass_change: None,
            oddities: Vec::new(),
        }
    }

    /// Whether to plan again when this is done.
    pub fn goes_on(&self) -> bool {
        self.verdict == Verdict::GoesOn
    }
}
