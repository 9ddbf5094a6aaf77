//! What would follow from steps that are not done: for previews. Pure.

use super::action::{Action, Lease};
use super::ids::{DepartmentId, ExternalId, TargetId};
use super::known::{Answer, Done, Known};
use super::link::Note;
use super::record::{GroupSide, UserSide};
use super::settle::Seed;

impl Seed {
    /// As if the lease had been taken. What was read before it counts: there may be steps in it that were not done.
    pub(super) fn pretend_lease(&mut self, lease: &Lease) {
        let before = self.known().clone();
        self.known_mut().leased(lease.clone());
        match lease {
            Lease::Record(ExternalId::Department(id)) => {
                if let Ok(link) = before.department_link(*id) {
                    self.learn(Answer::DepartmentLink(*id, link.cloned()));
                }
            }
            Lease::Record(ExternalId::Member(id)) => {
                if let Ok(link) = before.member_link(id) {
                    self.learn(Answer::MemberLink(id.clone(), link.cloned().map(Box::new)));
                }
            }
            Lease::Record(ExternalId::Retired(_)) => {}
            Lease::Members(id) => {
                if let Ok(notes) = before.notes(*id) {
                    self.learn(Answer::Notes(*id, notes.to_vec()));
                }
            }
        }
    }

    /// As if the steps of a pass had been done.
    pub(super) fn pretend(&mut self, actions: &[Action]) {
        let deletes =
            |action: &Action| matches!(action, Action::DeleteGroup { .. } | Action::DeleteUser { .. });
        let is_deleted = actions.iter().any(deletes);
        for action in actions {
            self.pretend_one(action);
            // The target would be asked, and still has it.
            match action {
                Action::DropDepartment(id) if is_deleted => {
                    self.learn(Answer::FoundGroup(ExternalId::Department(*id), None));
                }
                Action::DropMember(id) if is_deleted => {
                    self.learn(Answer::FoundUser(ExternalId::Member(id.clone()), None));
                }
                _ => {}
            }
        }
    }

    fn pretend_one(&mut self, action: &Action) {
        match action {
            Action::PutNotes(notes) => {
                for (id, note) in notes {
                    let mut all = self.notes_of(*id);
                    all.retain(|other| other.target != note.target);
                    all.push(note.clone());
                    self.learn(Answer::Notes(*id, all));
                }
            }
            Action::ForgetNotes(id, notes) => {
                let mut all = self.notes_of(*id);
                all.retain(|note| !notes.contains(note));
                self.learn(Answer::Notes(*id, all));
            }
            // Ours alone: the store would not know what is above it.
            Action::SaveDepartment(id, link) => {
                self.learn(Answer::DepartmentLink(*id, Some((**link).clone())));
            }
            Action::SaveMember(id, link) => self.learn(Answer::MemberLink(id.clone(), Some(link.clone()))),
            Action::ForgetWaiting { leader, .. } => self.learn(Answer::Waiting(leader.clone(), Vec::new())),
            _ => {
                let done = outcome(action, self.known());
                self.known_mut().done(action, done);
            }
        }
    }

    fn notes_of(&self, id: DepartmentId) -> Vec<Note> {
        self.known().notes(id).map(<[Note]>::to_vec).unwrap_or_default()
    }
}

fn outcome(action: &Action, known: &Known) -> Done {
    let new = |external_id: &ExternalId| TargetId(format!("new {external_id}"));
    match action {
        Action::CreateGroup { external_id, name } => Done::Group(GroupSide {
            target: new(external_id),
            version: None,
            external_id: external_id.clone(),
            name: name.clone(),
        }),
        Action::UpdateGroup { target, name, .. } => match known.group(target) {
            Ok(Some(side)) => Done::Group(GroupSide { name: name.clone(), ..side.clone() }),
            _ => Done::Plain,
        },
        Action::CreateUser { external_id, attributes } => Done::User(UserSide {
            target: new(external_id),
            version: None,
            external_id: external_id.clone(),
            attributes: attributes.clone(),
        }),
        Action::UpdateUser { target, external_id, changes, .. } => match known.user(target) {
            Ok(Some(side)) => {
                let mut side = UserSide { external_id: external_id.clone(), ..side.clone() };
                side.attributes.extend(changes.clone());
                Done::User(side)
            }
            _ => Done::Plain,
        },
        _ => Done::Plain,
    }
}
