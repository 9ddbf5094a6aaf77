//! Whose members a department's group has, by the tree and how it is shown. Pure.

use std::collections::BTreeMap;

use super::ids::DepartmentId;
use super::rules::Hierarchy;
use super::tree::Tree;

/// Who is directly below whom.
#[derive(Debug, Default)]
pub(super) struct Scope {
    children: BTreeMap<DepartmentId, Vec<DepartmentId>>,
    hierarchy: Hierarchy,
}

impl Scope {
    pub(super) fn new(tree: &Tree, hierarchy: Hierarchy) -> Self {
        let mut children: BTreeMap<DepartmentId, Vec<DepartmentId>> = BTreeMap::new();
        for id in tree.departments().map(|department| department.id) {
            if let Some(parent) = tree.parent(id) {
                children.entry(parent).or_default().push(id);
            }
        }
        Self { children, hierarchy }
    }

    /// The departments whose own members are members of its group, itself first.
    pub(super) fn departments(&self, id: DepartmentId) -> Vec<DepartmentId> {
        let mut found = vec![id];
        if self.hierarchy == Hierarchy::Rollup {
            let mut next = 0;
            // A tree: nobody is met twice.
            while let Some(at) = found.get(next) {
                found.extend(self.children.get(at).into_iter().flatten().copied().collect::<Vec<_>>());
                next += 1;
            }
        }
        found
    }

    /// The departments whose groups are members of its group.
    pub(super) fn groups(&self, id: DepartmentId) -> &[DepartmentId] {
        match self.hierarchy {
            Hierarchy::Nested => self.children.get(&id).map(Vec::as_slice).unwrap_or_default(),
            Hierarchy::Flat | Hierarchy::Rollup => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::department::Department;
    use super::*;

    #[test]
    fn a_group_has_those_below_as_the_hierarchy_says() {
        let of = |(id, parent)| Department {
            id: DepartmentId(id),
            parent: Some(DepartmentId(parent)),
            name: None,
            order: None,
            leaders: None,
        };
        let tree = Tree::new([(1, 0), (2, 1), (3, 1), (4, 3), (5, 4)].map(of));
        let ids = |ids: &[u32]| ids.iter().copied().map(DepartmentId).collect::<Vec<_>>();
        for (hierarchy, departments, groups) in [
            (Hierarchy::Nested, ids(&[3]), ids(&[4])),
            (Hierarchy::Flat, ids(&[3]), ids(&[])),
            (Hierarchy::Rollup, ids(&[3, 4, 5]), ids(&[])),
        ] {
            let scope = Scope::new(&tree, hierarchy);
            assert_eq!(scope.departments(DepartmentId(3)), departments, "{hierarchy:?}");
            assert_eq!(scope.groups(DepartmentId(3)), groups, "{hierarchy:?}");
        }
    }
}
