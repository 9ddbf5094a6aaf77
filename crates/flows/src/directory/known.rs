//! What a run knows so far. The shell fills it: it answers what a plan asks for, and says what became of its steps.
//!
//! All of it is one run's: nothing is kept beyond it. What WeCom said is asked for once.

use std::collections::{BTreeMap, BTreeSet};

use super::action::{Action, Lease, Look};
use super::department::Department;
use super::ids::{DepartmentId, ExternalId, MemberId, TargetId};
use super::key::Key;
use super::link::{DepartmentLink, MemberLink, Note};
use super::member::Member;
use super::need::Need;
use super::record::{GroupSide, UserSide};

/// What WeCom says to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read<T> {
    /// Here it is.
    Found(T),
    /// There is none: 60003, 60123, 60111. Only the answer to this very question says so, never its absence from a list.
    Unknown,
    /// We may not see it: 60011, 50002.
    Invisible,
    /// It does not answer now. Only of what the run is not about: else the run fails with the connector's fault.
    Unavailable,
}

/// The answer to a [`Look`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Look::Department`].
    Department(DepartmentId, Read<Department>),
    /// To [`Look::Member`].
    Member(MemberId, Box<Read<Member>>),
    /// To [`Look::DepartmentLink`].
    DepartmentLink(DepartmentId, Option<DepartmentLink>),
    /// To [`Look::MemberLink`].
    MemberLink(MemberId, Option<Box<MemberLink>>),
    /// To [`Look::Rename`].
    Rename(MemberId, Option<MemberId>),
    /// To [`Look::FindGroup`].
    FoundGroup(ExternalId, Option<GroupSide>),
    /// To [`Look::Group`].
    Group(TargetId, Option<GroupSide>),
    /// To [`Look::FindUser`].
    FoundUser(ExternalId, Option<UserSide>),
    /// To [`Look::SecondUser`].
    SecondUser(ExternalId, TargetId, Option<UserSide>),
    /// To [`Look::User`].
    User(TargetId, Option<UserSide>),
    /// To [`Look::Notes`].
    Notes(DepartmentId, Vec<Note>),
    /// To [`Look::Waiting`].
    Waiting(MemberId, Vec<MemberId>),
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// It was done.
    Plain,
    /// The group as it is now.
    Group(GroupSide),
    /// The user as it is now.
    User(UserSide),
    /// Nothing was written: somebody else has the login name.
    NameTaken,
    /// Nothing was written: the group is gone.
    GroupGone,
}

/// What a run knows so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    departments: BTreeMap<DepartmentId, Read<Department>>,
    members: BTreeMap<MemberId, Read<Member>>,
    department_links: BTreeMap<DepartmentId, Option<DepartmentLink>>,
    member_links: BTreeMap<MemberId, Option<MemberLink>>,
    renames: BTreeMap<MemberId, Option<MemberId>>,
    found_groups: BTreeMap<ExternalId, Option<GroupSide>>,
    groups: BTreeMap<TargetId, Option<GroupSide>>,
    found_users: BTreeMap<ExternalId, Option<UserSide>>,
    second_users: BTreeMap<(ExternalId, TargetId), Option<UserSide>>,
    users: BTreeMap<TargetId, Option<UserSide>>,
    notes: BTreeMap<DepartmentId, Vec<Note>>,
    waiting: BTreeMap<MemberId, Vec<MemberId>>,
    waits: BTreeSet<(MemberId, MemberId)>,
    leases: BTreeSet<Lease>,
    names_taken: BTreeSet<ExternalId>,
    groups_gone: BTreeSet<DepartmentId>,
    hinted: BTreeSet<Key>,
    listed: BTreeSet<Key>,
}

impl Known {
    /// Takes an answer.
    pub fn learn(&mut self, answer: Answer) {
        match answer {
            Answer::Department(id, read) => {
                self.listed.remove(&Key::Department(id));
                self.departments.insert(id, read);
            }
            Answer::Member(id, read) => {
                self.listed.remove(&Key::Member(id.clone()));
                self.members.insert(id, *read);
            }
            Answer::DepartmentLink(id, link) => drop(self.department_links.insert(id, link)),
            Answer::MemberLink(id, link) => drop(self.member_links.insert(id, link.map(|link| *link))),
            Answer::Rename(old, new) => drop(self.renames.insert(old, new)),
            Answer::FoundGroup(external_id, side) => drop(self.found_groups.insert(external_id, side)),
            Answer::Group(target, side) => drop(self.groups.insert(target, side)),
            Answer::FoundUser(external_id, side) => drop(self.found_users.insert(external_id, side)),
            Answer::SecondUser(external_id, first, side) => {
                drop(self.second_users.insert((external_id, first), side));
            }
            Answer::User(target, side) => drop(self.users.insert(target, side)),
            Answer::Notes(id, notes) => drop(self.notes.insert(id, notes)),
            Answer::Waiting(id, members) => drop(self.waiting.insert(id, members)),
        }
    }

    /// Takes an answer that stood in a list, which may be older than what another run has read since.
    pub fn learn_listed(&mut self, answer: Answer) {
        let key = match &answer {
            Answer::Department(id, _) => Some(Key::Department(*id)),
            Answer::Member(id, _) => Some(Key::Member(id.clone())),
            _ => None,
        };
        self.learn(answer);
        self.listed.extend(key);
    }

    /// A lease was taken. What others may have done before that is looked up anew.
    pub fn leased(&mut self, lease: Lease) {
        self.look_again(&lease);
        self.leases.insert(lease);
    }

    /// What a lease is about is looked up anew.
    pub fn look_again(&mut self, lease: &Lease) {
        match lease {
            Lease::Record(ExternalId::Department(id)) => drop(self.department_links.remove(id)),
            // An account may have been moved along a chain of names.
            Lease::Record(ExternalId::Member(_)) => {
                self.member_links.clear();
                self.renames.clear();
            }
            Lease::Record(ExternalId::Retired(_)) => {}
            Lease::Members(id) => drop(self.notes.remove(id)),
        }
    }

    /// The leases that the run holds: they are given back when it is over.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.leases.iter()
    }

    /// A step was done.
    pub fn done(&mut self, action: &Action, done: Done) {
        match (action, done) {
            (_, Done::Group(side)) => {
                self.found_groups.insert(side.external_id.clone(), Some(side.clone()));
                self.groups.insert(side.target.clone(), Some(side));
            }
            (_, Done::User(side)) => {
                let is_other = |second: &UserSide| second.target != side.target;
                self.second_users.retain(|_, second| second.as_ref().is_none_or(is_other));
                self.found_users.insert(side.external_id.clone(), Some(side.clone()));
                self.users.insert(side.target.clone(), Some(side));
            }
            (
                Action::CreateUser { external_id, .. } | Action::UpdateUser { external_id, .. },
                Done::NameTaken,
            ) => drop(self.names_taken.insert(external_id.clone())),
            (Action::ChangeMembers { department, .. }, Done::GroupGone) => {
                self.groups_gone.insert(*department);
            }
            (action, _) => self.remember(action),
        }
    }

    /// What one has come below may have changed before it was found there, and told it nothing: of the two runs one sees the
    /// other.
    fn look_above_again(&mut self, before: Option<&DepartmentLink>, link: &DepartmentLink) {
        let said = |link: &DepartmentLink| link.group().and_then(|link| link.seen.parent);
        if before.and_then(said) != said(link)
            && let Some(up) = link.group().and_then(|link| link.parent)
        {
            self.department_links.remove(&up);
        }
    }

    fn remember(&mut self, action: &Action) {
        match action {
            Action::SaveDepartment(id, link) => {
                let before = self.department_links.insert(*id, Some((**link).clone())).flatten();
                self.look_above_again(before.as_ref(), link);
            }
            Action::DropDepartment(id) => {
                self.department_links.insert(*id, None);
                self.found_groups.remove(&ExternalId::Department(*id));
            }
            Action::SaveMember(id, link) => {
                let before = self.member_links.insert(id.clone(), Some((**link).clone())).flatten();
                let was_in = before.map(|link| link.departments).unwrap_or_default();
                let added = link.departments.iter().filter(|id| !was_in.contains(id));
                added.for_each(|id| drop(self.department_links.remove(id)));
            }
            Action::DropMember(id) => {
                self.member_links.insert(id.clone(), None);
                self.found_users.remove(&ExternalId::Member(id.clone()));
            }
            Action::SaveRename { old, new } => drop(self.renames.insert(old.clone(), Some(new.clone()))),
            Action::ForgetRename(old) => drop(self.renames.insert(old.clone(), None)),
            Action::DeleteGroup { target } => drop(self.groups.insert(target.clone(), None)),
            Action::DeleteUser { target } => drop(self.users.insert(target.clone(), None)),
            Action::PutNotes(notes) => notes.iter().for_each(|(id, _)| drop(self.notes.remove(id))),
            Action::ForgetNotes(id, _) => drop(self.notes.remove(id)),
            Action::PutWaiting { leader, member } => {
                self.member_links.remove(leader);
                self.waits.insert((leader.clone(), member.clone()));
            }
            Action::Hint(key) => drop(self.hinted.insert(key.clone())),
            // There may be more of them than were told in one go.
            Action::ForgetWaiting { leader, .. } => drop(self.waiting.remove(leader)),
            Action::CreateGroup { .. }
            | Action::UpdateGroup { .. }
            | Action::CreateUser { .. }
            | Action::UpdateUser { .. }
            | Action::ChangeMembers { .. }
            | Action::HintReports(_)
            | Action::HintBelow { .. } => {}
        }
    }

    pub(super) fn department(&self, id: DepartmentId) -> Result<&Read<Department>, Need> {
        self.departments.get(&id).ok_or_else(|| Need::look(Look::Department(id)))
    }

    pub(super) fn member(&self, id: &MemberId) -> Result<&Read<Member>, Need> {
        self.members.get(id).ok_or_else(|| Need::look(Look::Member(id.clone())))
    }

    pub(super) fn department_link(&self, id: DepartmentId) -> Result<Option<&DepartmentLink>, Need> {
        let link = self.department_links.get(&id).ok_or_else(|| Need::look(Look::DepartmentLink(id)))?;
        Ok(link.as_ref())
    }

    pub(super) fn member_link(&self, id: &MemberId) -> Result<Option<&MemberLink>, Need> {
        let link = self.member_links.get(id).ok_or_else(|| Need::look(Look::MemberLink(id.clone())))?;
        Ok(link.as_ref())
    }

    pub(super) fn rename(&self, old: &MemberId) -> Result<Option<&MemberId>, Need> {
        let new = self.renames.get(old).ok_or_else(|| Need::look(Look::Rename(old.clone())))?;
        Ok(new.as_ref())
    }

    pub(super) fn found_group(&self, external_id: &ExternalId) -> Result<Option<&GroupSide>, Need> {
        let look = || Need::look(Look::FindGroup(external_id.clone()));
        Ok(self.found_groups.get(external_id).ok_or_else(look)?.as_ref())
    }

    pub(super) fn found_user(&self, external_id: &ExternalId) -> Result<Option<&UserSide>, Need> {
        let look = || Need::look(Look::FindUser(external_id.clone()));
        Ok(self.found_users.get(external_id).ok_or_else(look)?.as_ref())
    }

    pub(super) fn second_user(
        &self,
        external_id: &ExternalId,
        first: &TargetId,
    ) -> Result<Option<&UserSide>, Need> {
        let key = (external_id.clone(), first.clone());
        let look = || Need::look(Look::SecondUser(key.0.clone(), key.1.clone()));
        Ok(self.second_users.get(&key).ok_or_else(look)?.as_ref())
    }

    /// A group by its id; what was found by its external id need not be read again.
    pub(super) fn group(&self, target: &TargetId) -> Result<Option<&GroupSide>, Need> {
        if let Some(side) = self.groups.get(target) {
            return Ok(side.as_ref());
        }
        let found = self.found_groups.values().flatten().find(|side| side.target == *target);
        found.map(Some).ok_or_else(|| Need::look(Look::Group(target.clone())))
    }

    /// A user by its id; what was found by its external id need not be read again.
    pub(super) fn user(&self, target: &TargetId) -> Result<Option<&UserSide>, Need> {
        if let Some(side) = self.users.get(target) {
            return Ok(side.as_ref());
        }
        let mut all = self.found_users.values().chain(self.second_users.values()).flatten();
        let found = all.find(|side| side.target == *target);
        found.map(Some).ok_or_else(|| Need::look(Look::User(target.clone())))
    }

    pub(super) fn notes(&self, id: DepartmentId) -> Result<&[Note], Need> {
        let notes = self.notes.get(&id).ok_or_else(|| Need::look(Look::Notes(id)))?;
        Ok(notes)
    }

    pub(super) fn waiting(&self, leader: &MemberId) -> Result<&[MemberId], Need> {
        let members = self.waiting.get(leader).ok_or_else(|| Need::look(Look::Waiting(leader.clone())))?;
        Ok(members)
    }

    /// Which of the links of these departments have not been looked up: one trip for all.
    pub(super) fn links_to_look_up(&self, ids: &[DepartmentId]) -> Vec<Look> {
        let unknown = ids.iter().filter(|id| !self.department_links.contains_key(id));
        unknown.map(|id| Look::DepartmentLink(*id)).collect()
    }

    pub(super) fn has_lease(&self, lease: &Lease) -> bool {
        self.leases.contains(lease)
    }

    pub(super) fn is_name_taken(&self, external_id: &ExternalId) -> bool {
        self.names_taken.contains(external_id)
    }

    pub(super) fn is_group_gone(&self, id: DepartmentId) -> bool {
        self.groups_gone.contains(&id)
    }

    pub(super) fn is_hinted(&self, key: &Key) -> bool {
        self.hinted.contains(key)
    }

    /// Whether what WeCom says of it is from a list.
    pub(super) fn is_listed(&self, key: &Key) -> bool {
        self.listed.contains(key)
    }

    pub(super) fn waits(&self, leader: &MemberId, member: &MemberId) -> bool {
        self.waits.contains(&(leader.clone(), member.clone()))
    }
}
