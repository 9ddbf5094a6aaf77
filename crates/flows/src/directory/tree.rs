//! The departments as a tree, whatever list they come from. Pure, and never fails: what does not fit is attached to
//! the root, and reported.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::department::Department;
use super::ids::DepartmentId;
use super::link::Step;

/// Why a department is not where its parent says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Attached {
    /// It names no parent.
    NoParent,
    /// It names itself.
    OwnParent,
    /// Its parent is not there.
    UnknownParent(DepartmentId),
    /// Its parent is outside what we may see.
    InvisibleParent(DepartmentId),
    /// It is below itself; of a cycle's departments the one with the smallest id is attached, the others stay below it.
    Cycle,
}

impl fmt::Display for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoParent => f.write_str("it names no parent"),
            Self::OwnParent => f.write_str("it names itself as its parent"),
            Self::UnknownParent(parent) => write!(f, "WeCom does not know its parent {parent}"),
            Self::InvisibleParent(parent) => write!(f, "we may not see its parent {parent}"),
            Self::Cycle => f.write_str("it is below itself"),
        }
    }
}

/// What is odd about a list of departments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TreeProblem {
    /// It is attached to the root.
    Attached(DepartmentId, Attached),
    /// It is listed more than once, differently.
    Double(DepartmentId),
    /// It has no name.
    NoName(DepartmentId),
}

/// The departments as a tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    departments: BTreeMap<DepartmentId, Department>,
    parents: BTreeMap<DepartmentId, DepartmentId>,
    levels: Vec<Vec<DepartmentId>>,
    problems: Vec<TreeProblem>,
}

impl Tree {
    /// Builds it; the order of the list makes no difference.
    pub fn new(list: impl IntoIterator<Item = Department>) -> Self {
        let mut tree = Self::default();
        tree.take(list);
        tree.find_parents();
        tree.break_cycles();
        tree.sort_into_levels();
        tree.problems.sort();
        tree.problems.dedup();
        tree
    }

    fn take(&mut self, list: impl IntoIterator<Item = Department>) {
        for department in list.into_iter().filter(|department| department.id != DepartmentId::NONE) {
            let id = department.id;
            let other = self.departments.get(&id);
            if other.is_some_and(|other| *other != department) {
                self.problems.push(TreeProblem::Double(id));
            }
            if other.is_none_or(|other| department < *other) {
                self.departments.insert(id, department);
            }
        }
    }

    fn find_parents(&mut self) {
        for (id, department) in &self.departments {
            if department.name.as_deref().is_none_or(|name| name.trim().is_empty()) {
                self.problems.push(TreeProblem::NoName(*id));
            }
            let attached = match department.parent {
                Some(DepartmentId::NONE) => continue,
                // Everything is below the root.
                Some(_) if *id == DepartmentId::ROOT => Attached::Cycle,
                None => Attached::NoParent,
                Some(parent) if parent == *id => Attached::OwnParent,
                Some(parent) if !self.departments.contains_key(&parent) => Attached::UnknownParent(parent),
                Some(parent) => {
                    self.parents.insert(*id, parent);
                    continue;
                }
            };
            self.problems.push(TreeProblem::Attached(*id, attached));
            if self.departments.contains_key(&DepartmentId::ROOT) && *id != DepartmentId::ROOT {
                self.parents.insert(*id, DepartmentId::ROOT);
            }
        }
    }

    /// Everybody has one parent, so a way up ends at a root or comes back to itself.
    fn break_cycles(&mut self) {
        let mut seen = BTreeSet::new();
        for start in self.departments.keys() {
            let (mut way, mut at) = (Vec::new(), *start);
            while seen.insert(at) {
                way.push(at);
                match self.parents.get(&at) {
                    Some(parent) => at = *parent,
                    None => break,
                }
            }
            let Some(first) = way.iter().position(|id| *id == at && self.parents.contains_key(id)) else {
                continue;
            };
            let Some(smallest) = way[first..].iter().min().copied() else { continue };
            self.problems.push(TreeProblem::Attached(smallest, Attached::Cycle));
            let root = DepartmentId::ROOT;
            match self.departments.contains_key(&root) && smallest != root {
                true => self.parents.insert(smallest, root),
                false => self.parents.remove(&smallest),
            };
        }
    }

    fn sort_into_levels(&mut self) {
        let mut below: BTreeMap<DepartmentId, Vec<DepartmentId>> = BTreeMap::new();
        for (child, parent) in &self.parents {
            below.entry(*parent).or_default().push(*child);
        }
        let is_top = |id: &DepartmentId| !self.parents.contains_key(id);
        let mut level: Vec<DepartmentId> = self.departments.keys().copied().filter(is_top).collect();
        while !level.is_empty() {
            let mut next: Vec<_> = level.iter().filter_map(|id| below.get(id)).flatten().copied().collect();
            next.sort_unstable();
            self.levels.push(std::mem::replace(&mut level, next));
        }
    }

    /// The departments, parents first: each level sorted by id.
    pub fn levels(&self) -> &[Vec<DepartmentId>] {
        &self.levels
    }

    /// One of them.
    pub fn get(&self, id: DepartmentId) -> Option<&Department> {
        self.departments.get(&id)
    }

    /// The one above it here.
    pub fn parent(&self, id: DepartmentId) -> Option<DepartmentId> {
        self.parents.get(&id).copied()
    }

    /// The way to it from the top, itself last.
    pub fn way(&self, id: DepartmentId) -> Vec<Step> {
        let up = std::iter::successors(Some(id), |id| self.parent(*id));
        let named = |id| Some(Step { id, name: self.get(id)?.display_name() });
        let mut way: Vec<Step> = up.filter_map(named).collect();
        way.reverse();
        way
    }

    /// All of them.
    pub fn departments(&self) -> impl Iterator<Item = &Department> {
        self.departments.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.departments.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.departments.is_empty()
    }

    /// What is odd about the list, sorted.
    pub fn problems(&self) -> &[TreeProblem] {
        &self.problems
    }
}
