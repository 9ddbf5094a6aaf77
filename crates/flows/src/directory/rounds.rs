//! The model's sweep and first sync: what goes over the lists of both sides. Stands in for the shell.

use std::collections::{BTreeMap, BTreeSet};

use super::compare::{Compare, Content, Entry, Facts, Finding, Side, has_other_leaders};
use super::deciding::Mode;
use super::first_sync::{Finished, FirstSync, Task, is_first};
use super::ids::{DepartmentId, ExternalId, MemberId, TargetId};
use super::key::Key;
use super::known::{Answer, Known, Read};
use super::member::Member;
use super::memberships::compare_members;
use super::model::World;
use super::record::{Child, is_active};
use super::rules::Hierarchy;
use super::tree::Tree;

/// What WeCom lists: departments, and the members of each.
#[derive(Debug, Clone)]
pub struct Lists {
    pub tree: Tree,
    pub members: Vec<Member>,
}

impl World {
    pub fn lists(&self) -> Lists {
        let tree = self.wecom.tree();
        let members = self.wecom.members.values().cloned().collect();
        Lists { tree, members }
    }

    /// Compares all there is with what these lists say, in small pages; what differs is hinted at.
    pub fn compare(&mut self, lists: &Lists, page: usize) -> Facts {
        let departments = lists.tree.departments();
        let mut wecom: Vec<Entry> =
            departments.filter_map(|d| Entry::of_department(d.id, &lists.tree, &self.rules)).collect();
        wecom.extend(lists.members.iter().map(|m| Entry::of_member(m, &lists.tree, &self.rules)));
        wecom.sort_by(|one, other| one.external_id.cmp(&other.external_id));
        let users = self.users.values().filter_map(|user| {
            let content = Content::User(user.attributes.clone());
            // Who is gone stays deactivated: the shell leaves these out by their links.
            let external_id = user.external_id.clone()?;
            let is_ended = match &external_id {
                ExternalId::Member(id) => {
                    let is_ended = self.member_links.get(id).is_some_and(|(_, link)| link.ended.is_some());
                    is_ended && (self.wecom.members.contains_key(id) || !is_active(&user.attributes))
                }
                ExternalId::Retired(_) => true,
                ExternalId::Department(_) => false,
            };
            (!is_ended).then_some(Entry { external_id, content })
        });
        let groups = self.groups.values().filter_map(|group| {
            let external_id = group.external_id.clone()?;
            Some(Entry { external_id, content: Content::Group(group.name.clone()) })
        });
        let mut target: Vec<Entry> = groups.chain(users).collect();
        target.sort_by(|one, other| one.external_id.cmp(&other.external_id));
        let mut compare = Compare::default();
        let (mut wecom, mut target) = (wecom.into_iter().peekable(), target.into_iter().peekable());
        let mut findings = Vec::new();
        while let Some(side) = compare.wants() {
            let stream = match side {
                Side::Wecom => &mut wecom,
                Side::Target => &mut target,
            };
            let next: Vec<Entry> = stream.by_ref().take(page).collect();
            let is_last = stream.peek().is_none();
            findings.extend(compare.feed(side, next, is_last).unwrap());
        }
        assert!(compare.is_over());
        let facts = compare.facts();
        if !facts.is_blind() {
            findings.iter().filter_map(Finding::key).for_each(|key| self.publish_swept(key));
        }
        facts
    }

    /// A sweep: the full compare, then the members of each group.
    pub fn sweep(&mut self) -> Facts {
        let lists = self.lists();
        let facts = self.compare(&lists, 3);
        for member in &lists.members {
            let link = self.member_links.get(&member.id);
            if link.is_some_and(|(_, link)| has_other_leaders(member, &link.leaders)) {
                self.publish_swept(Key::Member(member.id.clone()));
            }
        }
        self.work();
        let members: Vec<_> = self.member_links.keys().cloned().collect();
        members.into_iter().for_each(|id| self.publish_swept(Key::Leader(id)));
        self.work();
        // Notes of a run that was stopped before its hint, and had nothing to note when it came again.
        let left: BTreeSet<_> = self.notes.keys().map(|(id, _)| *id).collect();
        left.into_iter().for_each(|id| self.publish(Key::Members(id)));
        self.work();
        for id in lists.tree.departments().map(|department| department.id) {
            self.compare_group(&lists, id);
        }
        facts
    }

    /// Brings a group's members in line with the lists; answers how many requests that took.
    pub fn compare_group(&mut self, lists: &Lists, id: DepartmentId) -> usize {
        let Some(group) = self.department_links.get(&id).and_then(|(_, link)| link.group()) else { return 0 };
        let target = group.target.clone();
        let is_within = |other: &DepartmentId| match self.rules.hierarchy {
            Hierarchy::Rollup => lists.tree.way(*other).iter().any(|step| step.id == id),
            Hierarchy::Nested | Hierarchy::Flat => *other == id,
        };
        let mut wanted: BTreeMap<TargetId, Child> = BTreeMap::new();
        for member in &lists.members {
            if member.departments.iter().flatten().any(is_within)
                && let Some((_, link)) = self.member_links.get(&member.id)
            {
                wanted.insert(link.target.clone(), Child::Member(member.id.clone()));
            }
        }
        if self.rules.hierarchy == Hierarchy::Nested {
            for (child, (_, link)) in &self.department_links {
                if lists.tree.parent(*child) == Some(id) {
                    wanted.extend(link.group().map(|link| (link.target.clone(), Child::Department(*child))));
                }
            }
        }
        let owner = |target: &TargetId| {
            let group = self.groups.get(target).and_then(|group| group.external_id.clone());
            group.or_else(|| self.users.get(target).and_then(|user| user.external_id.clone()))
        };
        let present = self.groups[&target].members.iter().map(|id| (id.clone(), owner(id))).collect();
        let changes = compare_members(&wanted, &present, self.rules.batch_max);
        for change in &changes {
            assert!(change.add.len() + change.remove.len() <= self.rules.batch_max);
            let members = &mut self.groups.get_mut(&target).unwrap().members;
            members.extend(change.add.iter().map(|(_, id)| id.clone()));
            members.retain(|id| change.remove.iter().all(|(_, other)| other != id));
            self.counts.member_changes += 1;
        }
        changes.len()
    }

    /// Does a task of the first sync; false where it was stopped within.
    pub fn first_sync_task(
        &mut self,
        task: &Task,
        rng: &mut fastrand::Rng,
        stops: f64,
        batch: usize,
    ) -> Option<Finished> {
        let lists = self.lists();
        let mut finished = Finished::default();
        match task {
            Task::Departments(ids) => {
                for id in ids {
                    self.settle_listed(Key::Department(*id), &lists, rng, stops)?;
                    finished.done += 1;
                }
            }
            Task::Members(ids, after) => {
                let (batch, reached) = self.listed(&lists, ids, after.as_ref(), batch);
                for member in batch {
                    self.settle_listed(Key::Member(member), &lists, rng, stops)?;
                    finished.done += 1;
                }
                finished.reached = reached;
            }
            Task::Memberships(ids) => {
                for id in ids {
                    self.compare_group(&lists, *id);
                    finished.done += 1;
                }
            }
            Task::Leaders(ids, after) => {
                let (batch, reached) = self.listed(&lists, ids, after.as_ref(), batch);
                for member in batch {
                    self.settle_listed(Key::Leader(member), &lists, rng, stops)?;
                    finished.done += 1;
                }
                finished.reached = reached;
            }
            Task::Strays(_) => {
                let linked: BTreeSet<_> = self.member_links.values().map(|(_, l)| l.target.clone()).collect();
                let groups = self.department_links.values().filter_map(|(_, link)| link.group());
                let linked_groups: BTreeSet<_> = groups.map(|link| link.target.clone()).collect();
                let users = self.users.iter().filter(|(id, _)| !linked.contains(*id));
                let groups = self.groups.iter().filter(|(id, _)| !linked_groups.contains(*id));
                let ids = users.map(|(_, user)| user.external_id.clone());
                let ids: Vec<_> =
                    ids.chain(groups.map(|(_, group)| group.external_id.clone())).flatten().collect();
                for id in ids {
                    if let Some(key) = Finding::Extra(id).key() {
                        self.publish_swept(key);
                    }
                }
            }
        }
        Some(finished)
    }

    fn listed(
        &self,
        lists: &Lists,
        ids: &[DepartmentId],
        after: Option<&MemberId>,
        batch_max: usize,
    ) -> (Vec<MemberId>, Option<(DepartmentId, Option<MemberId>)>) {
        let mut batch = Vec::new();
        for (at, id) in ids.iter().enumerate() {
            let is_here = |member: &&Member| {
                let departments = member.departments.as_deref().unwrap_or_default();
                is_first(*id, departments, &lists.tree) && (at > 0 || Some(&member.id) > after)
            };
            let mut last = None;
            for member in lists.members.iter().filter(is_here) {
                if batch.len() >= batch_max {
                    return (batch, Some((if last.is_some() { *id } else { ids[at - 1] }, last)));
                }
                batch.push(member.id.clone());
                last = Some(member.id.clone());
            }
        }
        (batch, None)
    }

    /// Settles one by what the lists say, without reading it in WeCom.
    fn settle_listed(&mut self, key: Key, lists: &Lists, rng: &mut fastrand::Rng, stops: f64) -> Option<()> {
        let mut known = Known::default();
        for department in lists.tree.departments() {
            known.learn_listed(Answer::Department(department.id, Read::Found(department.clone())));
        }
        if let Key::Member(id) = &key {
            let member = lists.members.iter().find(|member| member.id == *id).unwrap();
            known.learn_listed(Answer::Member(id.clone(), Box::new(Read::Found(member.clone()))));
        }
        let mut run = self.begin(key, Mode::FirstSync, known);
        loop {
            if stops > 0.0 && rng.f64() < stops {
                self.leases.clear();
                return None;
            }
            if self.step(&mut run) {
                return Some(());
            }
        }
    }

    /// The whole first sync, with stops anywhere; answers how often it was resumed.
    pub fn first_sync(&mut self, sync: &mut FirstSync, rng: &mut fastrand::Rng, stops: f64) -> u32 {
        for resumed in 0..100_000 {
            let lists = self.lists();
            let members = u64::try_from(lists.members.len()).unwrap();
            *sync = sync.resume(&lists.tree, Some(members), self.now);
            loop {
                let Some(task) = sync.next(&lists.tree, 7) else { return resumed };
                let Some(finished) = self.first_sync_task(&task, rng, stops, 5) else { break };
                // Stopped after the work, before it is written down.
                if stops > 0.0 && rng.f64() < stops {
                    break;
                }
                *sync = sync.finished(&task, &lists.tree, &finished, self.now);
            }
        }
        panic!("the first sync does not end: {sync:?}");
    }
}
