//! WeCom, a target, our store and the queue in memory, with workers that apply the steps of plans and may be stopped
//! between any two: for the properties of [`super::plan`]. Stands in for the shell and for the engine.

mod oracle;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;

use super::action::{Action, Lease, Look, Oddity, Refusal, Verdict};
use super::deciding::Mode;
use super::department::Department;
use super::ids::{DepartmentId, ExternalId, MemberId, TargetId};
use super::key::Key;
use super::known::{Answer, Done, Known, Read};
use super::link::{DepartmentLink, MemberLink, Note};
use super::member::Member;
use super::plan::plan;
use super::record::{Attributes, Field, GroupSide, UserSide, Value, differences};
use super::rules::Rules;
use super::tree::Tree;
use crate::guard::MassChange;

pub use oracle::Shown;

#[derive(Debug, Clone, Default)]
pub struct Wecom {
    pub departments: BTreeMap<DepartmentId, Department>,
    pub members: BTreeMap<MemberId, Member>,
    pub invisible: BTreeSet<DepartmentId>,
    /// Members that we may not see, though they are there.
    pub invisible_members: BTreeSet<MemberId>,
    /// Answers nothing.
    pub is_down: bool,
    /// Departments whose reading is answered by nothing.
    pub down: BTreeSet<DepartmentId>,
}

impl Wecom {
    pub fn tree(&self) -> Tree {
        let visible = self.departments.values().filter(|d| !self.invisible.contains(&d.id));
        Tree::new(visible.cloned())
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub external_id: Option<ExternalId>,
    pub name: String,
    pub members: BTreeSet<TargetId>,
    pub version: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct User {
    pub external_id: Option<ExternalId>,
    pub attributes: Attributes,
    pub version: u64,
}

/// A link that a run looked up: it may save it only while nobody else did.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum LinkId {
    Department(DepartmentId),
    Member(MemberId),
}

#[derive(Debug)]
pub struct Run {
    id: u64,
    pub key: Key,
    known: Known,
    mode: Mode,
    seen: BTreeMap<LinkId, u64>,
    pending: VecDeque<Action>,
    end: Option<Verdict>,
    oddities: Vec<Oddity>,
    passes: u32,
    /// It was parked under this, and looks once more whether it still has to wait.
    rechecks: Option<Key>,
    was_released_by: Option<Key>,
}

#[derive(Debug, Clone, Default)]
pub struct Counts {
    pub reads: u64,
    pub writes: u64,
    pub saves: u64,
    pub users_created: u64,
    pub groups_created: u64,
    pub parked: u64,
    pub released: u64,
    pub released_in_vain: u64,
    pub conflicts: u64,
    pub busy: u64,
    pub member_changes: u64,
    pub tombstones: BTreeSet<Key>,
    pub overwrites: BTreeSet<Key>,
}

#[derive(Debug)]
pub struct World {
    pub wecom: Wecom,
    pub groups: BTreeMap<TargetId, Group>,
    pub users: BTreeMap<TargetId, User>,
    pub department_links: BTreeMap<DepartmentId, (u64, DepartmentLink)>,
    pub member_links: BTreeMap<MemberId, (u64, MemberLink)>,
    pub renames: BTreeMap<MemberId, MemberId>,
    pub notes: BTreeMap<(DepartmentId, TargetId), Note>,
    pub waiting: BTreeSet<(MemberId, MemberId)>,
    pub leases: BTreeMap<Lease, u64>,
    pub queue: VecDeque<Key>,
    /// Failed, and tried again later.
    pub later: BTreeSet<Key>,
    pub parked: BTreeMap<Key, BTreeSet<Key>>,
    pub refused: BTreeMap<Key, Refusal>,
    pub oddities: BTreeSet<Oddity>,
    pub rules: Rules,
    pub now: Timestamp,
    pub counts: Counts,
    /// What a full compare found, until its run is over.
    pub swept: BTreeSet<Key>,
    rechecks: BTreeMap<Key, Key>,
    released: BTreeMap<Key, Key>,
    counter: u64,
}

struct Conflict;

impl World {
    pub fn new(rules: Rules) -> Self {
        Self {
            wecom: Wecom::default(),
            groups: BTreeMap::new(),
            users: BTreeMap::new(),
            department_links: BTreeMap::new(),
            member_links: BTreeMap::new(),
            renames: BTreeMap::new(),
            notes: BTreeMap::new(),
            waiting: BTreeSet::new(),
            leases: BTreeMap::new(),
            queue: VecDeque::new(),
            later: BTreeSet::new(),
            parked: BTreeMap::new(),
            refused: BTreeMap::new(),
            oddities: BTreeSet::new(),
            rules,
            now: "2026-11-20T09:15:00Z".parse().unwrap(),
            counts: Counts::default(),
            swept: BTreeSet::new(),
            rechecks: BTreeMap::new(),
            released: BTreeMap::new(),
            counter: 0,
        }
    }

    fn number(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Publishes a message; those waiting for the same key are one.
    pub fn publish(&mut self, key: Key) {
        if !self.queue.contains(&key) {
            self.queue.push_back(key);
        }
    }

    /// Publishes a message of a sweep.
    pub fn publish_swept(&mut self, key: Key) {
        self.swept.insert(key.clone());
        self.publish(key);
    }

    pub fn begin(&mut self, key: Key, mode: Mode, known: Known) -> Run {
        Run {
            id: self.number(),
            rechecks: self.rechecks.remove(&key),
            was_released_by: self.released.remove(&key),
            key,
            known,
            mode,
            seen: BTreeMap::new(),
            pending: VecDeque::new(),
            end: None,
            oddities: Vec::new(),
            passes: 0,
        }
    }

    /// Runs all that waits, one after the other.
    pub fn work(&mut self) {
        self.work_with(1, &mut fastrand::Rng::with_seed(1), 0.0);
    }

    /// Runs all that waits, with so many workers whose steps are mixed, and stops anywhere with that probability a step.
    pub fn work_with(&mut self, workers: usize, rng: &mut fastrand::Rng, stops: f64) {
        let mut runs: Vec<Run> = Vec::new();
        for _ in 0..2_000_000 {
            while runs.len() < workers {
                let is_free = |key: &Key| runs.iter().all(|run| run.key != *key);
                let Some(next) = self.queue.iter().position(is_free) else { break };
                let key = self.queue.remove(next).unwrap();
                let mode = if self.swept.contains(&key) { Mode::Sweep } else { Mode::Hint };
                let run = self.begin(key, mode, Known::default());
                runs.push(run);
            }
            if runs.is_empty() {
                return;
            }
            let chosen = rng.usize(..runs.len());
            if stops > 0.0 && rng.f64() < stops {
                let run = runs.swap_remove(chosen);
                self.give_back(&run);
                self.publish(run.key);
                continue;
            }
            if self.step(&mut runs[chosen]) {
                runs.swap_remove(chosen);
            }
        }
        panic!("does not settle: {:?} {:?}", self.queue, runs);
    }

    fn give_back(&mut self, run: &Run) {
        self.leases.retain(|_, holder| *holder != run.id);
    }

    /// Does one step of a run; true when it is over.
    pub fn step(&mut self, run: &mut Run) -> bool {
        if let Some(action) = run.pending.pop_front() {
            match self.apply(run, &action) {
                Ok(done) => {
                    if matches!(done, Done::NameTaken | Done::GroupGone) {
                        run.pending.clear();
                        run.end = None;
                    }
                    run.known.done(&action, done);
                }
                Err(Conflict) => {
                    self.counts.conflicts += 1;
                    self.give_back(run);
                    let again = self.begin(run.key.clone(), run.mode, Known::default());
                    *run = Run { passes: run.passes, ..again };
                }
            }
            return false;
        }
        if let Some(verdict) = run.end.take() {
            self.finish(run, verdict);
            return true;
        }
        self.pass(run)
    }

    fn pass(&mut self, run: &mut Run) -> bool {
        run.passes += 1;
        assert!(run.passes < 3_000, "a run without end: {run:?}");
        let plan = plan(&run.key, &run.known, &self.rules, run.mode, self.now);
        let kinds = [!plan.looks.is_empty(), plan.lease.is_some(), !plan.actions.is_empty(), !plan.goes_on()];
        let asked = kinds[..3].iter().filter(|kind| **kind).count();
        assert!(
            asked + usize::from(kinds[3]) >= 1 && asked <= 1,
            "a pass of nothing, or of several: {plan:?}"
        );
        for look in &plan.looks {
            match self.answer(run, look) {
                Some(answer) => run.known.learn(answer),
                None => {
                    self.give_back(run);
                    self.later.insert(run.key.clone());
                    return true;
                }
            }
        }
        if let Some(lease) = plan.lease {
            match self.leases.get(&lease) {
                Some(holder) => {
                    assert_ne!(*holder, run.id, "a lease is taken twice: {lease:?}");
                    self.counts.busy += 1;
                    self.give_back(run);
                    self.publish(run.key.clone());
                    return true;
                }
                None => {
                    self.leases.insert(lease.clone(), run.id);
                    run.known.leased(lease);
                }
            }
        }
        match plan.mass_change {
            Some(MassChange::Tombstone) => drop(self.counts.tombstones.insert(run.key.clone())),
            Some(MassChange::Overwrite) => drop(self.counts.overwrites.insert(run.key.clone())),
            None => {}
        }
        run.pending = plan.actions.into();
        if plan.verdict != Verdict::GoesOn {
            run.end = Some(plan.verdict);
            run.oddities = plan.oddities;
        }
        false
    }

    fn finish(&mut self, run: &mut Run, verdict: Verdict) {
        self.give_back(run);
        self.swept.remove(&run.key);
        self.oddities.extend(run.oddities.drain(..));
        self.refused.remove(&run.key);
        if let Some(awaited) = run.rechecks.take()
            && verdict != (Verdict::Parks { awaited: awaited.clone() })
            && let Some(parked) = self.parked.get_mut(&awaited)
        {
            parked.remove(&run.key);
        }
        match verdict {
            Verdict::Parks { awaited } => {
                assert_ne!(awaited, run.key, "waits for itself");
                if run.was_released_by.as_ref() == Some(&awaited) {
                    self.counts.released_in_vain += 1;
                }
                if self.parked.entry(awaited.clone()).or_default().insert(run.key.clone()) {
                    self.counts.parked += 1;
                    // What it waits for may have come in between.
                    self.rechecks.insert(run.key.clone(), awaited);
                    self.queue.push_front(run.key.clone());
                }
                return;
            }
            Verdict::Refused(refusal) => {
                self.refused.insert(run.key.clone(), refusal);
                return;
            }
            Verdict::Converges | Verdict::Ended | Verdict::Invisible | Verdict::NotCreated => {}
            Verdict::GoesOn => panic!("no end"),
        }
        for key in self.parked.remove(&run.key).unwrap_or_default() {
            self.counts.released += 1;
            self.released.insert(key.clone(), run.key.clone());
            self.publish(key);
        }
        self.parked.retain(|_, keys| !keys.is_empty());
    }

    fn answer(&mut self, run: &mut Run, look: &Look) -> Option<Answer> {
        Some(match look {
            Look::Department(id) => {
                self.counts.reads += 1;
                let is_own = run.key == Key::Department(*id);
                let is_down = self.wecom.is_down || self.wecom.down.contains(id);
                let read = match self.wecom.departments.get(id) {
                    _ if is_down && is_own => return None,
                    _ if is_down => Read::Unavailable,
                    _ if self.wecom.invisible.contains(id) => Read::Invisible,
                    Some(department) => Read::Found(department.clone()),
                    None => Read::Unknown,
                };
                Answer::Department(*id, read)
            }
            Look::Member(id) => {
                self.counts.reads += 1;
                let read = match self.wecom.members.get(id) {
                    _ if self.wecom.is_down => return None,
                    _ if self.wecom.invisible_members.contains(id) => Read::Invisible,
                    Some(member) => Read::Found(member.clone()),
                    None => Read::Unknown,
                };
                Answer::Member(id.clone(), Box::new(read))
            }
            Look::DepartmentLink(id) => {
                let found = self.department_links.get(id);
                run.seen.insert(LinkId::Department(*id), found.map_or(0, |found| found.0));
                Answer::DepartmentLink(*id, found.map(|found| found.1.clone()))
            }
            Look::MemberLink(id) => {
                let found = self.member_links.get(id);
                run.seen.insert(LinkId::Member(id.clone()), found.map_or(0, |found| found.0));
                Answer::MemberLink(id.clone(), found.map(|found| Box::new(found.1.clone())))
            }
            Look::Rename(id) => Answer::Rename(id.clone(), self.renames.get(id).cloned()),
            Look::FindGroup(external_id) => {
                let mut found = self.groups.iter();
                let found = found.find(|(_, group)| group.external_id.as_ref() == Some(external_id));
                Answer::FoundGroup(external_id.clone(), found.and_then(|(id, _)| self.group_side(id)))
            }
            Look::Group(id) => Answer::Group(id.clone(), self.group_side(id)),
            Look::FindUser(external_id) => {
                let mut found = self.users.iter();
                let found = found.find(|(_, user)| user.external_id.as_ref() == Some(external_id));
                Answer::FoundUser(external_id.clone(), found.and_then(|(id, _)| self.user_side(id)))
            }
            Look::SecondUser(external_id, first) => {
                let is_second = |user: &User| user.external_id.as_ref() == Some(external_id);
                let second = self.users.iter().find(|(id, user)| *id != first && is_second(user));
                let side = second.and_then(|(id, _)| self.user_side(id));
                Answer::SecondUser(external_id.clone(), first.clone(), side)
            }
            Look::User(id) => Answer::User(id.clone(), self.user_side(id)),
            Look::Notes(id) => {
                let notes = self.notes.iter().filter(|((group, _), _)| group == id);
                Answer::Notes(*id, notes.map(|(_, note)| note.clone()).take(self.rules.batch_max).collect())
            }
            Look::Waiting(leader) => {
                let waiting = self.waiting.iter().filter(|(other, _)| other == leader);
                Answer::Waiting(leader.clone(), waiting.map(|(_, member)| member.clone()).collect())
            }
        })
    }

    fn group_side(&self, id: &TargetId) -> Option<GroupSide> {
        let group = self.groups.get(id)?;
        Some(GroupSide {
            target: id.clone(),
            version: Some(group.version.to_string()),
            external_id: group.external_id.clone()?,
            name: group.name.clone(),
        })
    }

    fn user_side(&self, id: &TargetId) -> Option<UserSide> {
        let user = self.users.get(id)?;
        Some(UserSide {
            target: id.clone(),
            version: Some(user.version.to_string()),
            external_id: user.external_id.clone()?,
            attributes: user.attributes.clone(),
        })
    }

    fn is_name_taken(&self, id: Option<&TargetId>, attributes: &Attributes) -> bool {
        let Some(Value::Text(name)) = attributes.get(&Field::UserName) else { return false };
        self.users.iter().any(|(other, user)| {
            let theirs = match user.attributes.get(&Field::UserName) {
                Some(Value::Text(theirs)) => theirs,
                _ => return false,
            };
            Some(other) != id && theirs.eq_ignore_ascii_case(name)
        })
    }

    /// The revision of a link after it was saved.
    fn save(&mut self, run: &mut Run, id: LinkId, present: u64) -> Result<u64, Conflict> {
        if run.seen[&id] != present {
            return Err(Conflict);
        }
        self.counts.saves += 1;
        let revision = self.number();
        run.seen.insert(id, revision);
        Ok(revision)
    }

    fn apply(&mut self, run: &mut Run, action: &Action) -> Result<Done, Conflict> {
        self.counts.writes += u64::from(action.is_upstream_write());
        match action {
            Action::SaveDepartment(id, link) => {
                let present = self.department_links.get(id).cloned();
                let revision =
                    self.save(run, LinkId::Department(*id), present.as_ref().map_or(0, |link| link.0))?;
                assert_ne!(present.map(|link| link.1).as_ref(), Some(&**link), "saved without a change");
                self.department_links.insert(*id, (revision, (**link).clone()));
            }
            Action::DropDepartment(id) => {
                let present = self.department_links.get(id).map_or(0, |link| link.0);
                self.save(run, LinkId::Department(*id), present)?;
                self.department_links.remove(id);
                run.seen.insert(LinkId::Department(*id), 0);
            }
            Action::SaveMember(id, link) => {
                let present = self.member_links.get(id).cloned();
                let revision =
                    self.save(run, LinkId::Member(id.clone()), present.as_ref().map_or(0, |link| link.0))?;
                assert_ne!(present.map(|link| link.1).as_ref(), Some(&**link), "saved without a change");
                self.member_links.insert(id.clone(), (revision, (**link).clone()));
            }
            Action::DropMember(id) => {
                let present = self.member_links.get(id).map_or(0, |link| link.0);
                self.save(run, LinkId::Member(id.clone()), present)?;
                self.member_links.remove(id);
                run.seen.insert(LinkId::Member(id.clone()), 0);
            }
            Action::SaveRename { old, new } => drop(self.renames.insert(old.clone(), new.clone())),
            Action::ForgetRename(old) => drop(self.renames.remove(old)),
            Action::PutNotes(notes) => {
                for (group, note) in notes {
                    self.notes.insert((*group, note.target.clone()), note.clone());
                }
            }
            Action::ForgetNotes(group, notes) => {
                for note in notes {
                    let id = (*group, note.target.clone());
                    if self.notes.get(&id) == Some(note) {
                        self.notes.remove(&id);
                    }
                }
            }
            Action::PutWaiting { leader, member } => {
                self.waiting.insert((leader.clone(), member.clone()));
            }
            Action::ForgetWaiting { leader, members } => {
                self.waiting.retain(|(other, member)| other != leader || !members.contains(member));
            }
            Action::Hint(key) => self.publish(key.clone()),
            Action::HintReports(leader) => {
                let reports = self.member_links.iter().filter(|(_, (_, link))| link.leaders.contains(leader));
                let reports: Vec<_> = reports.map(|(id, _)| Key::Leader(id.clone())).collect();
                reports.into_iter().for_each(|key| self.publish(key));
            }
            Action::HintBelow { department, below } => {
                let children = self.department_links.iter().filter(|(_, (_, link))| {
                    link.group().is_some_and(|link| link.seen.parent == Some(*department))
                });
                let children: Vec<_> = children.map(|(id, _)| Key::Department(*id)).collect();
                let members = self.member_links.iter();
                let members = members.filter(|(_, (_, link))| link.departments.contains(department));
                let members: Vec<_> = members.map(|(id, _)| Key::Member(id.clone())).collect();
                let told = children.into_iter().filter(|_| below.departments);
                told.chain(members.into_iter().filter(|_| below.members)).for_each(|key| self.publish(key));
            }
            // Gone or written meanwhile: the run begins anew.
            Action::UpdateGroup { target, expected, .. }
                if self.group_side(target).is_none_or(|side| side.version != *expected) =>
            {
                return Err(Conflict);
            }
            Action::UpdateUser { target, expected, .. }
                if self.user_side(target).is_none_or(|side| side.version != *expected) =>
            {
                return Err(Conflict);
            }
            Action::CreateGroup { .. } | Action::UpdateGroup { .. } | Action::DeleteGroup { .. } => {
                return Ok(self.write_group(action));
            }
            Action::CreateUser { .. } | Action::UpdateUser { .. } | Action::DeleteUser { .. } => {
                return Ok(self.write_user(action));
            }
            Action::ChangeMembers { department, group, add, remove } => {
                assert!(self.leases.contains_key(&Lease::Members(*department)));
                assert!(add.len() + remove.len() <= self.rules.batch_max);
                let Some(group) = self.groups.get_mut(group) else { return Ok(Done::GroupGone) };
                self.counts.member_changes += 1;
                group.members.extend(add.iter().map(|(_, target)| target.clone()));
                for (_, target) in remove {
                    group.members.remove(target);
                }
            }
        }
        Ok(Done::Plain)
    }

    fn write_group(&mut self, action: &Action) -> Done {
        let version = self.number();
        let target = match action {
            Action::CreateGroup { external_id, name } => {
                let is_other = |group: &Group| group.external_id.as_ref() != Some(external_id);
                assert!(self.groups.values().all(is_other), "a second group: {external_id}");
                assert!(self.leases.contains_key(&Lease::Record(external_id.clone())));
                self.counts.groups_created += 1;
                let target = TargetId(format!("g{version:06}"));
                let external_id = Some(external_id.clone());
                let group = Group { external_id, name: name.clone(), members: BTreeSet::new(), version };
                self.groups.insert(target.clone(), group);
                target
            }
            Action::UpdateGroup { target, name, .. } => {
                let group = self.groups.get_mut(target).unwrap();
                group.name.clone_from(name);
                group.version = version;
                target.clone()
            }
            Action::DeleteGroup { target } => {
                self.groups.remove(target);
                return Done::Plain;
            }
            _ => panic!("no write of a group: {action:?}"),
        };
        Done::Group(self.group_side(&target).unwrap())
    }

    fn write_user(&mut self, action: &Action) -> Done {
        let version = self.number();
        let target = match action {
            Action::CreateUser { external_id, attributes } => {
                let is_other = |user: &User| user.external_id.as_ref() != Some(external_id);
                assert!(self.users.values().all(is_other), "a second user: {external_id}");
                assert!(self.leases.contains_key(&Lease::Record(external_id.clone())));
                if self.is_name_taken(None, attributes) {
                    return Done::NameTaken;
                }
                self.counts.users_created += 1;
                let target = TargetId(format!("u{version:06}"));
                let external_id = Some(external_id.clone());
                self.users
                    .insert(target.clone(), User { external_id, attributes: attributes.clone(), version });
                target
            }
            Action::UpdateUser { target, external_id, changes, .. } => {
                if self.is_name_taken(Some(target), changes) {
                    return Done::NameTaken;
                }
                let user = self.users.get_mut(target).unwrap();
                let same = user.external_id.as_ref() == Some(external_id)
                    && differences(changes, &user.attributes).is_empty();
                assert!(!same, "a write without a change: {changes:?}");
                user.external_id = Some(external_id.clone());
                user.attributes.extend(changes.clone());
                user.version = version;
                target.clone()
            }
            Action::DeleteUser { target } => {
                let is_member = self.groups.values().any(|group| group.members.contains(target));
                assert!(!is_member, "deleted while it is a member of a group");
                self.users.remove(target);
                return Done::Plain;
            }
            _ => panic!("no write of a user: {action:?}"),
        };
        Done::User(self.user_side(&target).unwrap())
    }
}
