//! What is to be done about a department and its group.

use std::collections::BTreeSet;

use super::action::{Action, Lease, Look, Oddity, Verdict};
use super::deciding::{Deciding, Mode};
use super::department::Department;
use super::ids::{DepartmentId, ExternalId};
use super::key::Key;
use super::known::Read;
use super::link::{Below, DepartmentLink, GroupLink, Note, Placed, Step};
use super::map;
use super::need::{Need, Why};
use super::record::{Child, Fingerprint, GroupSide};
use super::rules::{GroupNames, Hierarchy};
use super::tree::Attached;
use crate::guard::MassChange;

/// Levels of a tree that are followed, at most; WeCom permits 15.
const LEVELS_MAX: usize = 100;

/// Where a department belongs.
struct Place<'a> {
    parent: Option<&'a GroupLink>,
    attached: Option<Attached>,
}

impl<'a> Deciding<'a> {
    /// A department that a message is about.
    pub(super) fn department(&mut self, id: DepartmentId) -> Result<Verdict, Need> {
        match self.known.department(id)? {
            Read::Found(department) => {
                self.settle(department, &mut Vec::new())?;
                Ok(Verdict::Converges)
            }
            Read::Unknown => self.end_department(id),
            Read::Invisible => self.invisible_department(id),
            Read::Unavailable => Err(Need::Missing(id, Why::Unavailable)),
        }
    }

    fn invisible_department(&mut self, id: DepartmentId) -> Result<Verdict, Need> {
        match self.known.department_link(id)? {
            // We had it: a right was lost, which says nothing about the department.
            Some(DepartmentLink::Linked(_)) => {
                self.oddities.push(Oddity::Invisible(Key::Department(id)));
                Ok(Verdict::Invisible)
            }
            Some(DepartmentLink::Invisible { .. }) => Ok(Verdict::Invisible),
            None => Err(self.note_invisible(id)),
        }
    }

    fn note_invisible(&self, id: DepartmentId) -> Need {
        let link = DepartmentLink::Invisible { since: self.now };
        Need::act(vec![Action::SaveDepartment(id, Box::new(link))])
    }

    /// The group of a department that something depends on: where there is none, it is created, and before it those
    /// above it. None where we may not see it.
    pub(super) fn ensure(
        &mut self,
        id: DepartmentId,
        stack: &mut Vec<DepartmentId>,
    ) -> Result<Option<&'a GroupLink>, Need> {
        let saved = self.known.department_link(id)?;
        match saved {
            Some(DepartmentLink::Linked(link)) if !self.is_placing(link) => return Ok(Some(link)),
            Some(DepartmentLink::Invisible { since }) if self.is_fresh(*since) => return Ok(None),
            Some(DepartmentLink::Linked(_) | DepartmentLink::Invisible { .. }) | None => {}
        }
        // Taken before WeCom is read: who is not the one to create it has not read it in vain.
        self.lease(Lease::Record(ExternalId::Department(id)))?;
        match (self.known.department(id)?, saved.and_then(DepartmentLink::group)) {
            (Read::Found(department), _) => self.settle(department, stack).map(Some),
            (_, Some(link)) => Ok(Some(link)),
            (Read::Unknown, None) => Err(Need::Missing(id, Why::Unknown)),
            (Read::Unavailable, None) => Err(Need::Missing(id, Why::Unavailable)),
            (Read::Invisible, None) => Err(self.note_invisible(id)),
        }
    }

    /// Whether the run that placed it was stopped before it had noted that, or is at it.
    fn is_placing(&self, link: &GroupLink) -> bool {
        !link.placed_due.is_empty() && self.mode != Mode::FirstSync
    }

    fn is_fresh(&self, since: jiff::Timestamp) -> bool {
        let age = self.now.duration_since(since);
        age <= jiff::SignedDuration::try_from(self.rules.invisible_again).unwrap_or(jiff::SignedDuration::MAX)
    }

    /// Brings the group of a department that is there in line. `stack`: those that depend on it.
    pub(super) fn settle(
        &mut self,
        department: &Department,
        stack: &mut Vec<DepartmentId>,
    ) -> Result<&'a GroupLink, Need> {
        let id = department.id;
        stack.push(id);
        let place = self.place(department, stack);
        stack.pop();
        let place = place?;
        let saved = self.known.department_link(id)?.and_then(DepartmentLink::group);
        // Another run may have read it since it was listed.
        if self.known.is_listed(&Key::Department(id)) && saved.is_some_and(|saved| saved.seen != *department)
        {
            return Err(Need::look(Look::Department(id)));
        }
        // Kept only where something is made of it: whoever is below has to be told when it changes.
        let above = place.parent.filter(|_| self.rules.groups_have_ways());
        let mut way = above.map(|parent| parent.way.clone()).unwrap_or_default();
        way.push(Step { id, name: department.display_name() });
        let base = match saved {
            Some(link) => link.clone(),
            None => self.begin_group(department, &way)?,
        };
        let mut link = GroupLink {
            seen: department.clone(),
            parent: place.parent.map(|parent| parent.seen.id),
            attached: place.attached,
            way,
            leaving: None,
            ..base
        };
        self.write_group(&mut link, saved)?;
        self.place_group(&mut link, place.parent);
        let mut actions = Vec::new();
        match saved {
            _ if self.mode == Mode::FirstSync => {}
            // Told before it is saved: who comes too early finds the lease taken, and comes again.
            None => actions.push(Action::HintBelow { department: id, below: Below::ALL }),
            Some(saved) => link.below_due = link.below_due.and(self.below(saved, &link)),
        }
        let Some(saved) = saved.filter(|saved| **saved == link) else {
            actions.push(save(&link));
            return Err(Need::act(actions));
        };
        if self.is_placing(saved) {
            // By one run at a time: a note that comes late would say what was the case before.
            self.lease(Lease::Record(ExternalId::Department(id)))?;
        }
        if self.is_placing(saved) || !saved.below_due.is_nothing() {
            return Err(Need::act(self.tell(saved)));
        }
        self.oddities.extend(saved.attached.map(|why| Oddity::Attached(id, why)));
        Ok(saved)
    }

    /// The link of a department that has none: its group is found, or created.
    fn begin_group(&self, department: &Department, way: &[Step]) -> Result<GroupLink, Need> {
        let external_id = ExternalId::Department(department.id);
        self.lease(Lease::Record(external_id.clone()))?;
        let Some(side) = self.known.found_group(&external_id)? else {
            let name = map::group_name(way, self.rules);
            return Err(Need::act(vec![Action::CreateGroup { external_id, name }]));
        };
        Ok(link_of(side, department.clone()))
    }

    fn write_group(&self, link: &mut GroupLink, saved: Option<&GroupLink>) -> Result<(), Need> {
        let external_id = ExternalId::Department(link.seen.id);
        let name = map::group_name(&link.way, self.rules);
        let wanted = Fingerprint::of_group(&external_id, &name);
        if link.written == wanted && self.mode != Mode::Sweep {
            return Ok(());
        }
        let Some(side) = self.known.group(&link.target)? else {
            return Err(Need::act(forget_lost(link)));
        };
        if side.name != name {
            let update =
                Action::UpdateGroup { target: side.target.clone(), expected: side.version.clone(), name };
            return Err(Need::Do(vec![update], saved.map(|_| MassChange::Overwrite)));
        }
        link.version = side.version.clone();
        link.written = wanted;
        Ok(())
    }

    /// What follows from a link for others, once it is saved: a run that is stopped before it was told finds it there.
    fn tell(&self, saved: &GroupLink) -> Vec<Action> {
        let (mut told, mut actions) = (saved.clone(), Vec::new());
        if self.is_placing(saved) {
            actions = note_placed(&mut told);
        }
        if !saved.below_due.is_nothing() {
            actions.push(Action::HintBelow { department: saved.seen.id, below: saved.below_due });
            told.below_due = Below::default();
        }
        actions.push(save(&told));
        actions
    }

    /// Says of which group it is a member, and where that has to be noted.
    fn place_group(&self, link: &mut GroupLink, parent: Option<&GroupLink>) {
        let wanted = match self.rules.hierarchy {
            Hierarchy::Nested => parent,
            Hierarchy::Flat | Hierarchy::Rollup => None,
        };
        let wanted = wanted.map(|up| Placed { under: up.seen.id, group: up.target.clone() });
        let before = std::mem::replace(&mut link.placed, wanted);
        if before != link.placed && self.mode != Mode::FirstSync {
            let due = before.iter().chain(&link.placed).map(|placed| placed.under);
            link.placed_due.extend(due);
        }
    }

    /// What below changes with it.
    fn below(&self, saved: &GroupLink, link: &GroupLink) -> Below {
        let has_other_way = saved.way != link.way;
        let has_other_name = saved.way.last() != link.way.last();
        let shows_name = self.rules.user_department == Some(GroupNames::Name);
        let has_other_leaders = saved.seen.leaders != link.seen.leaders;
        Below {
            departments: has_other_way && self.rules.groups_have_ways(),
            members: (has_other_way && self.rules.members_have_ways())
                || (has_other_name && shows_name)
                || has_other_leaders,
        }
    }

    fn place(&mut self, department: &Department, stack: &mut Vec<DepartmentId>) -> Result<Place<'a>, Need> {
        let id = department.id;
        let attached = match department.parent {
            _ if self.broken.contains(&id) => Attached::Cycle,
            Some(DepartmentId::NONE) => return Ok(Place { parent: None, attached: None }),
            Some(_) if id == DepartmentId::ROOT => Attached::Cycle,
            None => Attached::NoParent,
            Some(parent) if parent == id => Attached::OwnParent,
            Some(parent) => match self.under(id, parent, stack) {
                Ok(Some(link)) => return Ok(Place { parent: Some(link), attached: None }),
                Ok(None) => Attached::InvisibleParent(parent),
                Err(Need::Cycle(ids)) if ids.iter().min() == Some(&id) => Attached::Cycle,
                Err(Need::Missing(missing, Why::Unknown))
                    if missing == parent && self.may_be_orphan(id, parent)? =>
                {
                    Attached::UnknownParent(parent)
                }
                Err(need) => return Err(need),
            },
        };
        let root = match id == DepartmentId::ROOT || stack.contains(&DepartmentId::ROOT) {
            true => None,
            false => match self.ensure(DepartmentId::ROOT, stack) {
                Err(Need::Missing(_, Why::Unknown)) => None,
                root => root?,
            },
        };
        Ok(Place { parent: root, attached: Some(attached) })
    }

    /// Whether it is no use to wait for its parent. An event may come before that of its parent; a list has both.
    fn may_be_orphan(&self, id: DepartmentId, parent: DepartmentId) -> Result<bool, Need> {
        let link = self.known.department_link(id)?.and_then(DepartmentLink::group);
        let was = link.and_then(|link| link.attached) == Some(Attached::UnknownParent(parent));
        Ok(was || self.mode != Mode::Hint)
    }

    fn under(
        &mut self,
        id: DepartmentId,
        parent: DepartmentId,
        stack: &mut Vec<DepartmentId>,
    ) -> Result<Option<&'a GroupLink>, Need> {
        if let Some(first) = stack.iter().position(|other| *other == parent) {
            return Err(Need::Cycle(stack[first..].to_vec()));
        }
        let Some(link) = self.ensure(parent, stack)? else { return Ok(None) };
        if self.known.department_link(id)?.is_some() {
            self.untangle(id, parent, stack)?;
        }
        Ok(Some(link))
    }

    /// Where by our memory its new parent is below it, that memory is older than what WeCom says: two moves came in the
    /// wrong order, or one was lost. Those in between are read again, and moved first.
    fn untangle(
        &mut self,
        id: DepartmentId,
        parent: DepartmentId,
        stack: &mut Vec<DepartmentId>,
    ) -> Result<(), Need> {
        let (mut between, mut at) = (Vec::new(), parent);
        while at != id {
            if between.len() >= LEVELS_MAX || between.contains(&at) {
                return Ok(());
            }
            between.push(at);
            let link = self.known.department_link(at)?.and_then(DepartmentLink::group);
            match link.and_then(|link| link.parent) {
                Some(up) => at = up,
                None => return Ok(()),
            }
        }
        for other in &between {
            match self.known.department(*other)? {
                Read::Found(fresh) => {
                    let link = self.known.department_link(*other)?.and_then(DepartmentLink::group);
                    if link.is_none_or(|link| link.seen.parent != fresh.parent) {
                        self.settle(fresh, stack)?;
                    }
                }
                Read::Unavailable => return Err(Need::Missing(*other, Why::Unavailable)),
                Read::Unknown | Read::Invisible => {}
            }
        }
        between.push(id);
        Err(Need::Cycle(between))
    }

    /// Attaches the one of a cycle that it is broken at, though the message is about another one.
    pub(super) fn break_cycle(&mut self, cycle: &[DepartmentId]) -> Result<(), Need> {
        let Some(smallest) = cycle.iter().min().copied() else { return Ok(()) };
        self.broken.insert(smallest);
        match self.known.department(smallest)? {
            Read::Found(department) => self.settle(department, &mut Vec::new()).map(|_| ()),
            Read::Unknown | Read::Invisible | Read::Unavailable => {
                Err(Need::Missing(smallest, Why::Unavailable))
            }
        }
    }

    /// A group of ours that is not linked, of a department that is gone: linked first, so that it can be ended. It was made by
    /// a run that was stopped before it could say so, or in an earlier life of the store.
    fn adopt_stray_group(&self, id: DepartmentId) -> Result<Verdict, Need> {
        let nothing = Department { id, parent: None, name: None, order: None, leaders: None };
        let external_id = ExternalId::Department(id);
        self.lease(Lease::Record(external_id.clone()))?;
        match self.known.found_group(&external_id)? {
            Some(side) => Err(Need::act(vec![save(&link_of(side, nothing))])),
            None => Ok(Verdict::Ended),
        }
    }

    /// WeCom does not know it: its group is taken out of the one above, then deleted.
    fn end_department(&mut self, id: DepartmentId) -> Result<Verdict, Need> {
        let link = match self.known.department_link(id)? {
            None => return self.adopt_stray_group(id),
            Some(DepartmentLink::Invisible { .. }) => {
                return Err(Need::act(vec![Action::DropDepartment(id)]));
            }
            Some(DepartmentLink::Linked(link)) => link,
        };
        self.lease(Lease::Record(ExternalId::Department(id)))?;
        if let Some(placed) = &link.placed {
            let mut left = GroupLink { placed: None, leaving: Some(placed.under), ..(**link).clone() };
            left.placed_due.insert(placed.under);
            return Err(Need::Do(vec![save(&left)], Some(MassChange::Tombstone)));
        }
        if !link.placed_due.is_empty() {
            let mut told = (**link).clone();
            let mut actions = note_placed(&mut told);
            actions.push(save(&told));
            return Err(Need::act(actions));
        }
        if let Some(under) = link.leaving {
            self.flush(under, &link.target)?;
        }
        let mut actions = Vec::new();
        let notes = self.known.notes(id)?;
        if !notes.is_empty() {
            actions.push(Action::ForgetNotes(id, notes.to_vec()));
            return Err(Need::act(actions));
        }
        actions.push(Action::DeleteGroup { target: link.target.clone() });
        actions.push(Action::DropDepartment(id));
        Err(Need::Do(actions, Some(MassChange::Tombstone)))
    }
}

fn link_of(side: &GroupSide, seen: Department) -> GroupLink {
    GroupLink {
        seen,
        target: side.target.clone(),
        version: side.version.clone(),
        written: Fingerprint::default(),
        parent: None,
        attached: None,
        way: Vec::new(),
        placed: None,
        placed_due: BTreeSet::new(),
        leaving: None,
        below_due: Below::default(),
    }
}

fn save(link: &GroupLink) -> Action {
    Action::SaveDepartment(link.seen.id, Box::new(DepartmentLink::Linked(Box::new(link.clone()))))
}

fn note_of(link: &GroupLink, wanted: bool) -> Note {
    Note { target: link.target.clone(), child: Child::Department(link.seen.id), wanted }
}

/// The notes that are due, by where it is.
fn note_placed(link: &mut GroupLink) -> Vec<Action> {
    let due = std::mem::take(&mut link.placed_due).into_iter();
    let is_here = |under| link.placed.as_ref().is_some_and(|placed| placed.under == under);
    note(due.map(|under| (under, note_of(link, is_here(under)))).collect())
}

/// Our memory of a group that is gone from the target; what is left of it elsewhere goes as well.
fn forget_lost(link: &GroupLink) -> Vec<Action> {
    let mut left = link.placed_due.clone();
    left.extend(link.placed.iter().map(|placed| placed.under));
    let mut actions = note(left.into_iter().map(|under| (under, note_of(link, false))).collect());
    actions.push(Action::DropDepartment(link.seen.id));
    actions
}

/// Notes, and hints at the groups whose members they are about.
pub(super) fn note(notes: Vec<(DepartmentId, Note)>) -> Vec<Action> {
    if notes.is_empty() {
        return Vec::new();
    }
    let mut groups: Vec<DepartmentId> = notes.iter().map(|(id, _)| *id).collect();
    groups.sort_unstable();
    groups.dedup();
    let hints = groups.into_iter().map(|id| Action::Hint(Key::Members(id)));
    std::iter::once(Action::PutNotes(notes)).chain(hints).collect()
}
