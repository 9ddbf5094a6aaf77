//! What is to be written for the members of a group: what was noted, in batches; and with a full compare, the
//! difference.

use std::collections::BTreeMap;

use super::action::{Action, Lease, Verdict};
use super::deciding::Deciding;
use super::ids::{DepartmentId, ExternalId, TargetId};
use super::key::Key;
use super::link::{DepartmentLink, GroupLink, Note};
use super::need::Need;
use super::record::{Child, Fingerprint};

impl Deciding<'_> {
    /// The members of a group that a message is about.
    pub(super) fn memberships(&mut self, id: DepartmentId) -> Result<Verdict, Need> {
        self.flush_batch(id)?;
        Ok(Verdict::Converges)
    }

    /// Writes what is noted for a group until nothing is noted about this one.
    pub(super) fn flush(&self, id: DepartmentId, target: &TargetId) -> Result<(), Need> {
        self.lease(Lease::Members(id))?;
        match self.known.notes(id)?.iter().any(|note| note.target == *target) {
            true => self.flush_batch(id),
            false if self.known.notes(id)?.len() >= self.rules.batch_max => self.flush_batch(id),
            false => Ok(()),
        }
    }

    fn flush_batch(&self, id: DepartmentId) -> Result<(), Need> {
        self.lease(Lease::Members(id))?;
        let notes = self.known.notes(id)?;
        if notes.is_empty() {
            return Ok(());
        }
        let batch: Vec<Note> = notes.iter().take(self.rules.batch_max).cloned().collect();
        let Some(DepartmentLink::Linked(link)) = self.known.department_link(id)? else {
            // A department that is gone has no members; one that is there again has notes of its own.
            return Err(Need::act(vec![Action::ForgetNotes(id, batch)]));
        };
        if self.known.is_group_gone(id) {
            return Err(self.make_anew(id, link));
        }
        let of = |wanted| {
            let chosen = batch.iter().filter(|note| note.wanted == wanted);
            chosen.map(|note| (note.child.clone(), note.target.clone())).collect()
        };
        let change = Action::ChangeMembers {
            department: id,
            group: link.target.clone(),
            add: of(true),
            remove: of(false),
        };
        Err(Need::act(vec![change, Action::ForgetNotes(id, batch)]))
    }

    /// The group is gone from the target: it is made anew by a run of the department, for which the members wait.
    fn make_anew(&self, id: DepartmentId, link: &GroupLink) -> Need {
        if link.written == Fingerprint::default() {
            return Need::Park(Key::Department(id));
        }
        let unsure = GroupLink { written: Fingerprint::default(), ..link.clone() };
        let save = Action::SaveDepartment(id, Box::new(DepartmentLink::Linked(Box::new(unsure))));
        Need::act(vec![save, Action::Hint(Key::Department(id))])
    }
}

/// One request that changes a group's members.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MembersChange {
    /// Who is added.
    pub add: Vec<(Child, TargetId)>,
    /// Who is taken away.
    pub remove: Vec<(Child, TargetId)>,
}

/// What differs between a group's members and those wanted, in requests of so many changes at most.
///
/// `present` names whose record each one is, by our memory of target ids: who is not ours was put there by somebody else,
/// and stays.
pub fn compare_members(
    wanted: &BTreeMap<TargetId, Child>,
    present: &BTreeMap<TargetId, Option<ExternalId>>,
    batch_max: usize,
) -> Vec<MembersChange> {
    let add = wanted.iter().filter(|(target, _)| !present.contains_key(target));
    let add = add.map(|(target, child)| (true, child.clone(), target.clone()));
    let ours = present.iter().filter(|(target, _)| !wanted.contains_key(target));
    let remove = ours.filter_map(|(target, external_id)| match external_id {
        Some(ExternalId::Member(id)) => Some((false, Child::Member(id.clone()), target.clone())),
        Some(ExternalId::Department(id)) => Some((false, Child::Department(*id), target.clone())),
        Some(ExternalId::Retired(_)) | None => None,
    });
    let changes: Vec<_> = add.chain(remove).collect();
    let of = |batch: &[(bool, Child, TargetId)], wanted: bool| {
        let chosen = batch.iter().filter(|(add, ..)| *add == wanted);
        chosen.map(|(_, child, target)| (child.clone(), target.clone())).collect()
    };
    let batches = changes.chunks(batch_max.max(1));
    batches.map(|batch| MembersChange { add: of(batch, true), remove: of(batch, false) }).collect()
}
