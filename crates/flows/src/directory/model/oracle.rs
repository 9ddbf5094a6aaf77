//! What the target must show by what WeCom says, and what it shows.

use std::collections::{BTreeMap, BTreeSet};

use super::super::ids::{DepartmentId, ExternalId, MemberId, TargetId};
use super::super::key::Key;
use super::super::record::{Field, Value, is_active};
use super::super::rules::{Hierarchy, Leavers};
use super::{User, World};

/// What the target shows of us: groups with their parents and names, and users in use with their groups.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Shown {
    pub groups: BTreeMap<DepartmentId, (Option<DepartmentId>, String)>,
    pub users: BTreeMap<MemberId, (String, String, BTreeSet<DepartmentId>)>,
    pub managers: BTreeMap<MemberId, MemberId>,
}

impl World {
    pub fn shown(&self) -> Shown {
        let of = |target: &TargetId| self.groups.get(target).and_then(|group| group.external_id.clone());
        let mut shown = Shown::default();
        for group in self.groups.values() {
            let Some(ExternalId::Department(id)) = group.external_id else { continue };
            assert!(shown.groups.insert(id, (None, group.name.clone())).is_none(), "twice: {id}");
        }
        for group in self.groups.values() {
            let Some(ExternalId::Department(id)) = group.external_id else { continue };
            for child in group.members.iter().filter_map(of) {
                let ExternalId::Department(child) = child else { panic!("{child}") };
                let parent = &mut shown.groups.get_mut(&child).unwrap().0;
                assert_eq!(parent.replace(id), None, "{child} is in two groups");
            }
        }
        let text = |user: &User, field| match user.attributes.get(&field) {
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        };
        let member_of = |user: &User| match &user.external_id {
            Some(ExternalId::Member(id)) => Some(id.clone()),
            _ => None,
        };
        for (target, user) in &self.users {
            let within = self.groups.values().filter(|group| group.members.contains(target));
            let within: BTreeSet<_> = within
                .filter_map(|group| match group.external_id {
                    Some(ExternalId::Department(id)) => Some(id),
                    _ => None,
                })
                .collect();
            let is_active = is_active(&user.attributes);
            let Some(id) = member_of(user) else {
                assert!(user.external_id.is_none() || (!is_active && within.is_empty()), "{user:?}");
                continue;
            };
            let ended = self.member_links.get(&id).is_none_or(|(_, link)| link.ended.is_some());
            if ended {
                assert!(!is_active && within.is_empty(), "ended, but in use: {user:?} {within:?}");
                continue;
            }
            let manager = self.users.get(&TargetId(text(user, Field::Manager))).and_then(member_of);
            shown.managers.extend(manager.map(|manager| (id.clone(), manager)));
            let names = (text(user, Field::UserName), text(user, Field::DisplayName), within);
            assert!(shown.users.insert(id.clone(), names).is_none(), "twice: {id}");
        }
        shown
    }

    /// What the target has to show, by what WeCom says and nothing else.
    pub fn wanted(&self) -> Shown {
        let tree = self.wecom.tree();
        let mut wanted = Shown::default();
        for department in tree.departments() {
            let parent = tree.parent(department.id).filter(|_| self.rules.hierarchy == Hierarchy::Nested);
            let name = match self.rules.hierarchy {
                Hierarchy::Nested => department.display_name(),
                Hierarchy::Flat | Hierarchy::Rollup => {
                    let way = tree.way(department.id).into_iter();
                    let names: Vec<_> = way.filter(|step| step.id.0 != 1).map(|step| step.name).collect();
                    match names.is_empty() {
                        true => department.display_name(),
                        false => names.join(" / "),
                    }
                }
            };
            wanted.groups.insert(department.id, (parent, name));
        }
        for member in self.wecom.members.values() {
            let ids = member.departments.iter().flatten().filter(|id| tree.get(**id).is_some());
            let mut within: BTreeSet<_> = ids.copied().collect();
            if self.rules.hierarchy == Hierarchy::Rollup {
                let above = within.iter().flat_map(|id| tree.way(*id)).map(|step| step.id);
                within = above.collect();
            }
            let name = member.name.clone().unwrap_or_else(|| member.userid.clone());
            wanted.users.insert(member.id.clone(), (member.userid.clone(), name, within));
            let is_there =
                |leader: &&MemberId| **leader != member.id && self.wecom.members.contains_key(*leader);
            let manager = member.leaders.iter().flatten().find(is_there);
            wanted.managers.extend(manager.map(|manager| (member.id.clone(), manager.clone())));
        }
        wanted
    }

    /// That nothing is left to do or lies around.
    pub fn assert_settled(&self) {
        assert!(self.queue.is_empty() && self.later.is_empty(), "{:?} {:?}", self.queue, self.later);
        assert!(self.notes.is_empty(), "{:?}", self.notes);
        assert!(self.leases.is_empty(), "{:?}", self.leases);
        assert!(self.parked.is_empty(), "{:?}", self.parked);
        assert!(self.refused.is_empty(), "{:?}", self.refused);
        if self.rules.leavers == Leavers::Delete {
            // A second account of one external id is kept, out of use.
            let is_first = |id: &ExternalId| !matches!(id, ExternalId::Retired(_));
            let known = self.users.values().filter(|user| user.external_id.as_ref().is_some_and(is_first));
            assert_eq!(known.count(), self.member_links.len());
        }
        for (id, (_, link)) in &self.department_links {
            let Some(link) = link.group() else { continue };
            assert!(self.groups.contains_key(&link.target), "{id}: {link:?}");
            assert_eq!(link.leaving, None);
        }
    }

    /// That all of WeCom is in the target, and nothing else.
    pub fn assert_converged(&self) {
        self.assert_settled();
        assert_eq!(self.shown(), self.wanted());
    }

    /// Looks at everything that is linked.
    pub fn look_at_all(&mut self) {
        let departments: Vec<_> = self.department_links.keys().copied().collect();
        let members: Vec<_> = self.member_links.keys().cloned().collect();
        departments.iter().for_each(|id| self.publish(Key::Department(*id)));
        departments.iter().for_each(|id| self.publish(Key::Members(*id)));
        members.iter().for_each(|id| self.publish(Key::Member(id.clone())));
        members.iter().for_each(|id| self.publish(Key::Leader(id.clone())));
        self.work();
    }

    /// That looking at everything again writes nothing and saves nothing.
    pub fn assert_quiet(&mut self) {
        let before = self.counts.clone();
        self.look_at_all();
        assert_eq!((self.counts.writes, self.counts.saves), (before.writes, before.saves));
    }
}
