//! The first sync of a company: what is next, how far it is, and that it is begun once. Pure.
//!
//! One document is its record, written where there is none, before anything else is: whoever finds it there joins. What is
//! done in a step is safe to repeat, so a stop costs no more than the step it came in. The plan of each department and
//! member is the ordinary one ([`super::deciding::Mode::FirstSync`]), with WeCom's lists known instead of single reads.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::ids::{DepartmentId, MemberId};
use super::member::Member;
use super::tree::Tree;

/// What is done in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Groups, level by level, parents first.
    Departments,
    /// Users, each once, though listed in several departments.
    Members,
    /// Members of groups, one group after the other.
    Memberships,
    /// Managers.
    Leaders,
    /// Records of ours in the target that are not linked, from an earlier life of this store: each is looked at.
    Strays,
    /// Nothing.
    Done,
}

/// How far it is within its phase.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cursor {
    /// With departments: the level, and for which tree that holds.
    pub level: usize,
    /// See there.
    pub tree: String,
    /// The department that was handled last; its later members may be still to be handled.
    pub department: Option<DepartmentId>,
    /// The member of it that was handled last; none when all of them were.
    pub member: Option<MemberId>,
    /// Where the target's list goes on.
    pub page: Option<String>,
}

/// What was done until when: the rate is counted from there, so that a stop does not make it look slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When.
    pub at: Timestamp,
    /// What was done by then.
    pub done: u64,
}

/// The record of a first sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstSync {
    /// Which one; what it does is counted under it by the mass-change guard.
    pub id: String,
    /// Who asked for it.
    pub by: String,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// What it does now.
    pub phase: Phase,
    /// How far it is with that.
    pub cursor: Cursor,
    /// Departments and members handled, each in each phase.
    pub done: u64,
    /// Those refused or odd; each is reported by itself.
    pub odd: u64,
    /// Departments, as listed.
    pub departments: u64,
    /// Members, as listed; none where that is not known.
    pub members: Option<u64>,
    /// Where the rate is counted from.
    pub mark: Mark,
}

/// What becomes of a request for a first sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// It is begun: the record is written, and only where there is none, or the one that was read.
    Start(Box<FirstSync>),
    /// It is under way: the request joins, and may hint at it, in case nobody works on it.
    Join(Box<FirstSync>),
    /// There was one.
    Refuse(Box<FirstSync>),
}

/// A request for a first sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// The id it would have.
    pub id: &'a str,
    /// Who asks.
    pub by: &'a str,
    /// Whether one that is over is no reason against it.
    pub again: bool,
    /// When.
    pub now: Timestamp,
}

/// Decides about a request.
pub fn begin(found: Option<&FirstSync>, request: &Request<'_>) -> Begin {
    match found {
        Some(found) if found.phase != Phase::Done => return Begin::Join(Box::new(found.clone())),
        Some(found) if !request.again => return Begin::Refuse(Box::new(found.clone())),
        Some(_) | None => {}
    }
    Begin::Start(Box::new(FirstSync {
        id: request.id.to_owned(),
        by: request.by.to_owned(),
        begun_at: request.now,
        ended_at: None,
        phase: Phase::Departments,
        cursor: Cursor::default(),
        done: 0,
        odd: 0,
        departments: 0,
        members: None,
        mark: Mark { at: request.now, done: 0 },
    }))
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Settle these departments, all of one level.
    Departments(Vec<DepartmentId>),
    /// Settle the members listed in these departments, each with its first one ([`is_first`]), by department and userid; in the
    /// first of them after this one.
    Members(Vec<DepartmentId>, Option<MemberId>),
    /// Compare the members of these departments' groups with those listed, and with the groups below them.
    Memberships(Vec<DepartmentId>),
    /// Set the managers of the members of these departments, likewise.
    Leaders(Vec<DepartmentId>, Option<MemberId>),
    /// Hint at the unlinked records on this page of the target's list, the first one for none.
    Strays(Option<String>),
}

/// What became of a task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Finished {
    /// Departments or members that were handled.
    pub done: u64,
    /// Those refused or odd.
    pub odd: u64,
    /// With members: the department that was handled last, and the last member of it where there are more; none where all were.
    pub reached: Option<(DepartmentId, Option<MemberId>)>,
    /// With strays: the next page.
    pub next_page: Option<String>,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// What it does.
    pub phase: Phase,
    /// Departments and members handled, each in each phase.
    pub done: u64,
    /// How many that will be; none where the members are not counted.
    pub total: Option<u64>,
    /// How many a second, since it was last resumed.
    pub per_second: Option<f64>,
    /// How long it will take from now on.
    pub left: Option<Duration>,
}

/// Whether a member is handled with this department: the smallest of its departments that are listed, or the first one
/// listed for those that have none (only WeCom's list of userids names them). Nobody is handled twice, and nothing has to
/// be remembered for it.
pub fn is_first(department: DepartmentId, departments: &[DepartmentId], tree: &Tree) -> bool {
    let listed = departments.iter().copied().filter(|id| tree.get(*id).is_some()).min();
    listed.or_else(|| tree.departments().map(|first| first.id).next()) == Some(department)
}

/// Whether a member that is listed in a department is handled with it: also one that does not name the department.
pub fn is_handled_with(department: DepartmentId, member: &Member, tree: &Tree) -> bool {
    let departments = member.departments.as_deref().unwrap_or_default();
    !departments.contains(&department) || is_first(department, departments, tree)
}

impl FirstSync {
    /// Goes on after a stop, with what the lists say now.
    #[must_use]
    pub fn resume(&self, tree: &Tree, members: Option<u64>, now: Timestamp) -> Self {
        let mark = Mark { at: now, done: self.done };
        let departments = u64::try_from(tree.len()).unwrap_or(u64::MAX);
        Self { mark, departments, members: members.or(self.members), ..self.clone() }
    }

    /// What is to be done next; none when it is over. What the tree has not any more is not asked for.
    pub fn next(&self, tree: &Tree, batch_max: usize) -> Option<Task> {
        let within = || match (&self.cursor.department, &self.cursor.member) {
            (Some(id), Some(member)) if tree.get(*id).is_some() => {
                let ids = std::iter::once(*id).chain(ids_after(Some(*id), tree));
                Some((ids.take(batch_max.max(1)).collect(), Some(member.clone())))
            }
            _ => batch_after(self.cursor.department, tree, batch_max).map(|ids| (ids, None)),
        };
        let mut phase = self.clone();
        loop {
            let task = match phase.phase {
                Phase::Departments => phase.next_level(tree, batch_max).map(Task::Departments),
                _ if phase.phase != self.phase => first_of(phase.phase, tree, batch_max),
                Phase::Members => within().map(|(ids, after)| Task::Members(ids, after)),
                Phase::Memberships => {
                    batch_after(self.cursor.department, tree, batch_max).map(Task::Memberships)
                }
                Phase::Leaders => within().map(|(ids, after)| Task::Leaders(ids, after)),
                Phase::Strays => Some(Task::Strays(self.cursor.page.clone())),
                Phase::Done => return None,
            };
            if task.is_some() {
                return task;
            }
            phase = Self { phase: after(phase.phase), cursor: Cursor::default(), ..phase };
        }
    }

    /// A tree that changed is gone through from its beginning: what is there costs nothing.
    fn next_level(&self, tree: &Tree, batch_max: usize) -> Option<Vec<DepartmentId>> {
        let is_known = self.cursor.tree == print(tree);
        let (level, last) = match is_known {
            true => (self.cursor.level, self.cursor.department),
            false => (0, None),
        };
        let rest = |level: usize, last: Option<DepartmentId>| -> Vec<DepartmentId> {
            let ids = tree.levels().get(level).into_iter().flatten();
            ids.copied().filter(|id| Some(*id) > last).take(batch_max.max(1)).collect()
        };
        let here = rest(level, last);
        let next = if here.is_empty() { rest(level + 1, None) } else { here };
        (!next.is_empty()).then_some(next)
    }

    /// A task was finished: what is saved then. The same task, finished once more, changes nothing but the count.
    #[must_use]
    pub fn finished(&self, task: &Task, tree: &Tree, finished: &Finished, now: Timestamp) -> Self {
        let (phase, cursor) = match task {
            Task::Departments(ids) => (Phase::Departments, self.after_departments(ids, tree)),
            Task::Members(ids, _) => (Phase::Members, after_member(ids, finished)),
            Task::Memberships(ids) => (Phase::Memberships, after_member(ids, &Finished::default())),
            Task::Leaders(ids, _) => (Phase::Leaders, after_member(ids, finished)),
            Task::Strays(_) => {
                (Phase::Strays, Cursor { page: finished.next_page.clone(), ..Cursor::default() })
            }
        };
        let is_over = phase == Phase::Strays && finished.next_page.is_none();
        Self {
            phase: if is_over { Phase::Done } else { phase },
            cursor,
            ended_at: is_over.then_some(now),
            done: self.done.saturating_add(finished.done),
            odd: self.odd.saturating_add(finished.odd),
            ..self.clone()
        }
    }

    fn after_departments(&self, ids: &[DepartmentId], tree: &Tree) -> Cursor {
        let last = ids.last().copied();
        let has = |level: &Vec<DepartmentId>| last.is_some_and(|last| level.contains(&last));
        let level = tree.levels().iter().position(has).unwrap_or(self.cursor.level);
        Cursor { level, tree: print(tree), department: last, ..Cursor::default() }
    }

    /// How it stands.
    pub fn progress(&self, now: Timestamp) -> Progress {
        let total = self.members.map(|members| {
            let each = self.departments.saturating_add(members);
            each.saturating_mul(2).max(self.done)
        });
        let seconds = now.duration_since(self.mark.at).as_secs_f64();
        let since = self.done.saturating_sub(self.mark.done);
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        let per_second = (seconds > 0.0 && since > 0).then(|| since as f64 / seconds);
        let is_over = self.phase == Phase::Done;
        let left = match (total, per_second) {
            _ if is_over => Some(Duration::ZERO),
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
            (Some(total), Some(rate)) => {
                Duration::try_from_secs_f64(total.saturating_sub(self.done) as f64 / rate).ok()
            }
            _ => None,
        };
        Progress { phase: self.phase, done: self.done, total, per_second, left }
    }
}

fn after(phase: Phase) -> Phase {
    match phase {
        Phase::Departments => Phase::Members,
        Phase::Members => Phase::Memberships,
        Phase::Memberships => Phase::Leaders,
        Phase::Leaders => Phase::Strays,
        Phase::Strays | Phase::Done => Phase::Done,
    }
}

fn ids_after(after: Option<DepartmentId>, tree: &Tree) -> impl Iterator<Item = DepartmentId> {
    tree.departments().map(|department| department.id).filter(move |id| Some(*id) > after)
}

fn batch_after(after: Option<DepartmentId>, tree: &Tree, batch_max: usize) -> Option<Vec<DepartmentId>> {
    let ids: Vec<DepartmentId> = ids_after(after, tree).take(batch_max.max(1)).collect();
    (!ids.is_empty()).then_some(ids)
}

fn first_of(phase: Phase, tree: &Tree, batch_max: usize) -> Option<Task> {
    let first = batch_after(None, tree, batch_max);
    match phase {
        Phase::Departments | Phase::Done => None,
        Phase::Members => first.map(|ids| Task::Members(ids, None)),
        Phase::Memberships => first.map(Task::Memberships),
        Phase::Leaders => first.map(|ids| Task::Leaders(ids, None)),
        Phase::Strays => Some(Task::Strays(None)),
    }
}

fn after_member(ids: &[DepartmentId], finished: &Finished) -> Cursor {
    let (department, member) = match &finished.reached {
        Some((department, member)) => (Some(*department), member.clone()),
        None => (ids.last().copied(), None),
    };
    Cursor { department, member, ..Cursor::default() }
}

/// Stands for which departments are where.
fn print(tree: &Tree) -> String {
    let mut hash = Sha256::new();
    for department in tree.departments() {
        let parent = tree.parent(department.id).map_or(0, |parent| parent.0);
        hash.update(department.id.0.to_be_bytes());
        hash.update(parent.to_be_bytes());
    }
    hex::encode(&hash.finalize()[..8])
}
