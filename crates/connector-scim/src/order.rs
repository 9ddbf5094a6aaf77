//! Operations, and in which order they can be done. Pure.

use std::collections::{HashMap, HashSet};

use crate::patch::{GroupPatch, UserPatch};
use crate::resource::Kind;

/// One of several things to do, see [`crate::Scim::apply`].
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Creates a user.
    CreateUser {
        /// What the others call it.
        reference: String,
        /// Its attributes.
        user: UserPatch,
    },
    /// Creates a group, without members.
    CreateGroup {
        /// What the others call it.
        reference: String,
        /// Its attributes.
        group: GroupPatch,
    },
    /// Writes attributes of a user.
    UpdateUser {
        /// Which.
        user: Target,
        /// What.
        patch: UserPatch,
    },
    /// Writes attributes of a group.
    UpdateGroup {
        /// Which.
        group: Target,
        /// What.
        patch: GroupPatch,
    },
    /// Adds members to a group.
    AddMembers {
        /// To which.
        group: Target,
        /// Whom.
        members: Vec<(Kind, Target)>,
    },
    /// Deletes a user; take it out of groups before.
    DeleteUser {
        /// Which.
        id: String,
    },
    /// Deletes a group; take it out of groups before.
    DeleteGroup {
        /// Which.
        id: String,
    },
}

/// A resource that is there, or that another one of the operations creates.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// By its id.
    Id(String),
    /// By the reference of the operation that creates it.
    New(String),
}

impl Operation {
    /// What it creates is called.
    pub(crate) fn reference(&self) -> Option<&str> {
        match self {
            Self::CreateUser { reference, .. } | Self::CreateGroup { reference, .. } => Some(reference),
            Self::UpdateUser { .. }
            | Self::UpdateGroup { .. }
            | Self::AddMembers { .. }
            | Self::DeleteUser { .. }
            | Self::DeleteGroup { .. } => None,
        }
    }

    /// What it changes.
    pub(crate) fn target(&self) -> Option<(Kind, Target)> {
        match self {
            Self::CreateUser { .. } | Self::CreateGroup { .. } => None,
            Self::UpdateUser { user, .. } => Some((Kind::User, user.clone())),
            Self::UpdateGroup { group, .. } | Self::AddMembers { group, .. } => {
                Some((Kind::Group, group.clone()))
            }
            Self::DeleteUser { id } => Some((Kind::User, Target::Id(id.clone()))),
            Self::DeleteGroup { id } => Some((Kind::Group, Target::Id(id.clone()))),
        }
    }

    /// The references of what must be there before.
    pub(crate) fn needs(&self) -> Vec<&str> {
        let targets: Vec<&Target> = match self {
            Self::UpdateUser { user: target, .. } | Self::UpdateGroup { group: target, .. } => vec![target],
            Self::AddMembers { group, members } => {
                std::iter::once(group).chain(members.iter().map(|(_, member)| member)).collect()
            }
            Self::CreateUser { .. }
            | Self::CreateGroup { .. }
            | Self::DeleteUser { .. }
            | Self::DeleteGroup { .. } => Vec::new(),
        };
        targets
            .into_iter()
            .filter_map(|target| match target {
                Target::New(reference) => Some(reference.as_str()),
                Target::Id(_) => None,
            })
            .collect()
    }
}

/// In which order operations can be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Order {
    /// What can be done side by side, one level after the other.
    pub(crate) levels: Vec<Vec<usize>>,
    /// What refers to something that no operation creates, or creates what another one creates.
    pub(crate) stuck: Vec<usize>,
}

/// What is created comes before what refers to it; what changes the same resource keeps its order.
pub(crate) fn order(operations: &[Operation]) -> Order {
    let mut makers: HashMap<&str, usize> = HashMap::new();
    let mut stuck = HashSet::new();
    for (at, operation) in operations.iter().enumerate() {
        if let Some(reference) = operation.reference()
            && makers.insert(reference, at).is_some()
        {
            stuck.insert(at);
        }
    }
    // Only creates make something, and creates need nothing: what is needed has level 0.
    let mut last: HashMap<(Kind, Target), usize> = HashMap::new();
    let mut levels: Vec<Vec<usize>> = Vec::new();
    for (at, operation) in operations.iter().enumerate() {
        let needs = operation.needs();
        if stuck.contains(&at) || needs.iter().any(|need| !makers.contains_key(need)) {
            stuck.insert(at);
            continue;
        }
        let mut level = usize::from(!needs.is_empty());
        if let Some(target) = operation.target() {
            level = level.max(last.get(&target).map_or(0, |last| last + 1));
            last.insert(target, level);
        }
        if levels.len() <= level {
            levels.resize_with(level + 1, Vec::new);
        }
        levels[level].push(at);
    }
    let mut stuck: Vec<usize> = stuck.into_iter().collect();
    stuck.sort_unstable();
    levels.retain(|level| !level.is_empty());
    Order { levels, stuck }
}

/// Some of the operations: in one request, or one that has to go by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Chunk {
    Bulk(Vec<usize>),
    Single(usize),
}

/// Packs operations into requests, in their order. `bytes` is an operation's size, none where it cannot be in a bulk
/// request; `changes` is what it changes: two changes of one resource are never in one request, in which the service may
/// do them in any order.
pub(crate) fn chunks(
    order: &[usize],
    bytes: impl Fn(usize) -> Option<usize>,
    changes: impl Fn(usize) -> Option<(Kind, Target)>,
    operations_max: usize,
    bytes_max: usize,
) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let (mut used, mut changed) = (0, HashSet::new());
    for at in order {
        let size = bytes(*at).filter(|size| *size <= bytes_max);
        let change = changes(*at);
        let fits = size.is_some_and(|size| used + size <= bytes_max)
            && open.len() < operations_max
            && !change.as_ref().is_some_and(|change| changed.contains(change));
        if !fits && !open.is_empty() {
            chunks.push(Chunk::Bulk(std::mem::take(&mut open)));
            (used, changed) = (0, HashSet::new());
        }
        match size {
            Some(size) => {
                open.push(*at);
                used += size;
                changed.extend(change);
            }
            None => chunks.push(Chunk::Single(*at)),
        }
    }
    if !open.is_empty() {
        chunks.push(Chunk::Bulk(open));
    }
    chunks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn create(reference: &str) -> Operation {
        Operation::CreateGroup { reference: reference.to_owned(), group: GroupPatch::default() }
    }

    fn new(reference: &str) -> Target {
        Target::New(reference.to_owned())
    }

    fn add(group: Target, members: &[&str]) -> Operation {
        Operation::AddMembers { group, members: members.iter().map(|it| (Kind::Group, new(it))).collect() }
    }

    #[test]
    fn what_is_referred_to_comes_first() {
        let operations =
            [add(new("a"), &["b"]), create("b"), create("a"), add(new("a"), &["c"]), create("c")];
        let order = order(&operations);
        assert_eq!(order.levels, [vec![1, 2, 4], vec![0], vec![3]]);
        assert_eq!(order.stuck, [0; 0]);
    }

    #[test]
    fn what_cannot_be_done_is_told() {
        let operations = [create("a"), add(new("a"), &["none"]), create("a"), add(new("none"), &[])];
        let order = order(&operations);
        assert_eq!((order.levels, order.stuck), (vec![vec![0]], vec![1, 2, 3]));
    }

    #[test]
    fn changes_of_one_resource_keep_their_order() {
        let id = || Target::Id("7".to_owned());
        let update = |name: &str| Operation::UpdateGroup {
            group: id(),
            patch: GroupPatch::default().display_name(name),
        };
        let user = Operation::DeleteUser { id: "7".to_owned() };
        let operations = [update("x"), update("y"), user, Operation::DeleteGroup { id: "7".to_owned() }];
        assert_eq!(order(&operations).levels, [vec![0, 2], vec![1], vec![3]]);
        let chunks = chunks(&[0, 2, 1, 3], |_| Some(10), |at| operations[at].target(), 10, 1_000);
        assert_eq!(chunks, [Chunk::Bulk(vec![0, 2]), Chunk::Bulk(vec![1]), Chunk::Bulk(vec![3])]);
    }

    proptest! {
        /// All operations are in one request each, in their order, and no request is larger than it may be.
        #[test]
        fn chunks_cover_all_once(
            sizes in prop::collection::vec((prop::option::weighted(0.9, 1_usize..50), 0_u8..20), 0..60),
            operations_max in 1_usize..10,
            bytes_max in 20_usize..200,
        ) {
            let order: Vec<usize> = (0..sizes.len()).collect();
            let target = |at: usize| Some((Kind::User, Target::Id(sizes[at].1.to_string())));
            let chunks = chunks(&order, |at| sizes[at].0, target, operations_max, bytes_max);
            let mut covered = Vec::new();
            for chunk in chunks {
                match chunk {
                    Chunk::Single(at) => {
                        prop_assert!(sizes[at].0.is_none_or(|size| size > bytes_max));
                        covered.push(at);
                    }
                    Chunk::Bulk(part) => {
                        prop_assert!(!part.is_empty() && part.len() <= operations_max);
                        prop_assert!(part.iter().map(|at| sizes[*at].0.unwrap()).sum::<usize>() <= bytes_max);
                        let distinct: HashSet<u8> = part.iter().map(|at| sizes[*at].1).collect();
                        prop_assert_eq!(distinct.len(), part.len());
                        covered.extend(part);
                    }
                }
            }
            prop_assert_eq!(covered, order);
        }

        /// Every operation has its place or is stuck, and nothing comes before what it needs.
        #[test]
        fn levels_cover_all_once(kinds in prop::collection::vec((0_u8..4, 0_u8..6, 0_u8..6), 0..40)) {
            let operations: Vec<Operation> = kinds
                .iter()
                .map(|(kind, a, b)| match kind {
                    0 | 1 => create(&a.to_string()),
                    2 => add(new(&a.to_string()), &[&b.to_string()]),
                    _ => Operation::DeleteGroup { id: a.to_string() },
                })
                .collect();
            let Order { levels, stuck } = order(&operations);
            let mut made = HashSet::new();
            let mut seen: Vec<usize> = stuck.clone();
            for level in &levels {
                for at in level {
                    prop_assert!(operations[*at].needs().iter().all(|need| made.contains(*need)));
                }
                made.extend(level.iter().filter_map(|at| operations[*at].reference()));
                seen.extend(level);
            }
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..operations.len()).collect::<Vec<_>>());
        }
    }
}
