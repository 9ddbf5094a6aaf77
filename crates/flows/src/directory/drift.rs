//! What differs, by what both sides and our memory say. Pure. Every finding is a hint: the run of its key reads what is
//! the case before anything is written.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;

use serde::{Deserialize, Serialize};

use super::compare::{Compare, Content, Entry, Facts, Finding, OutOfOrder, Side};
use super::ids::{DepartmentId, ExternalId, MemberId, TargetId};
use super::key::Key;
use super::lists::{Lists, Remembered};
use super::record::{Field, Value};
use super::rules::Rules;

/// Entries that are unpacked at once.
const PAGE: usize = 500;
/// Changes of a userid that are followed, one after the other.
pub(super) const RENAMES_MAX: usize = 10;

/// What is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drifted {
    /// It is not in the target.
    Missing,
    /// WeCom does not list it.
    Extra,
    /// The target says something else.
    Differs,
    /// The target has it more than once.
    Double,
    /// It reports to others than we remember.
    Leaders,
    /// Its manager is another one.
    Manager,
    /// We remember it, and neither side has it.
    Lost,
    /// A run was stopped before all that follows from it was done.
    Unfinished,
    /// The members of its group are others.
    Members,
}

/// What a full compare found, without the members of groups.
#[derive(Debug, Default)]
pub(super) struct Drift {
    pub(super) facts: Facts,
    /// What to look at, and why.
    pub(super) found: BTreeMap<Key, Drifted>,
}

impl Drift {
    fn add(&mut self, key: Key, why: Drifted) {
        self.found.entry(key).or_insert(why);
    }

    /// How many there are of each kind.
    pub(super) fn counts(&self) -> BTreeMap<Drifted, u64> {
        let mut counts = BTreeMap::new();
        self.found.values().for_each(|why| *counts.entry(*why).or_default() += 1);
        counts
    }
}

/// Compares everything but the members of groups.
pub(super) fn find(lists: &Lists, rules: &Rules) -> Result<Drift, OutOfOrder> {
    let mut drift = Drift::default();
    let mut compare = Compare::default();
    let (mut wecom, mut target) =
        (lists.wanted_entries(rules).peekable(), lists.present_entries().peekable());
    while let Some(side) = compare.wants() {
        let (page, is_last) = match side {
            Side::Wecom => page_of(&mut wecom),
            Side::Target => page_of(&mut target),
        };
        for finding in compare.feed(side, page, is_last)? {
            if let Some(key) = finding.key() {
                drift.add(key, why(&finding));
            }
        }
    }
    drift.facts = compare.facts();
    find_groups(lists, &mut drift);
    find_members(lists, &mut drift);
    Ok(drift)
}

fn page_of(entries: &mut Peekable<impl Iterator<Item = Entry>>) -> (Vec<Entry>, bool) {
    let page = entries.by_ref().take(PAGE).collect();
    (page, entries.peek().is_none())
}

fn why(finding: &Finding) -> Drifted {
    match finding {
        Finding::Missing(_) => Drifted::Missing,
        Finding::Extra(_) => Drifted::Extra,
        Finding::Differs(_) => Drifted::Differs,
        Finding::Double(_) => Drifted::Double,
    }
}

fn find_groups(lists: &Lists, drift: &mut Drift) {
    for (id, group) in &lists.groups {
        let is_lost = lists.tree.get(*id).is_none() && lists.present(&ExternalId::Department(*id)).is_none();
        match (group.is_unfinished, is_lost) {
            (true, _) => drift.add(Key::Department(*id), Drifted::Unfinished),
            (_, true) => drift.add(Key::Department(*id), Drifted::Lost),
            _ => {}
        }
    }
}

fn find_members(lists: &Lists, drift: &mut Drift) {
    // Of who is gone, those who reported to it are to be told by its own run.
    let is_unfinished = |link: &&Remembered| link.are_groups_due || (link.is_ended && link.are_leaders_due);
    for link in lists.links.iter().filter(is_unfinished) {
        drift.add(Key::Member(link.id.clone()), Drifted::Unfinished);
    }
    let present = |link: &Remembered| lists.present(&ExternalId::Member(link.id.clone()));
    let live = || lists.links.iter().filter(|link| !link.is_ended);
    // A target that keeps no managers shows none: then our memory of what was written has to do.
    let tells_managers = live().any(|link| present(link).is_some_and(|(_, it)| manager_in(&it).is_some()));
    for link in live() {
        let user = present(link);
        if lists.has_other_leaders(&link.id) {
            drift.add(Key::Member(link.id.clone()), Drifted::Leaders);
        }
        let Some((target, content)) = user else {
            if !lists.is_wanted(&link.id) {
                drift.add(Key::Member(link.id.clone()), Drifted::Lost);
            }
            continue;
        };
        let shown = match tells_managers {
            true if *target == *link.target => manager_in(&content).unwrap_or_default(),
            _ => link.manager.as_deref().unwrap_or_default().to_owned(),
        };
        if shown != manager(lists, link).unwrap_or_default() {
            drift.add(Key::Leader(link.id.clone()), Drifted::Manager);
        }
        if link.are_leaders_due {
            drift.add(Key::Leader(link.id.clone()), Drifted::Unfinished);
        }
    }
}

/// The manager that a user has in the target; none where the target says nothing about managers.
pub(super) fn manager_in(content: &Content) -> Option<String> {
    let Content::User(attributes) = content else { return None };
    match attributes.get(&Field::Manager)? {
        Value::Text(text) => Some(text.clone()),
        Value::Flag(_) | Value::Texts(_) => None,
    }
}

/// The user of the first one that a member reports to and that is there: as [`super::plan`] decides it.
pub(super) fn manager<'a>(lists: &'a Lists, link: &Remembered) -> Option<&'a str> {
    let others = link.leaders.iter().filter(|leader| **leader != link.id);
    let targets = others.filter_map(|leader| target_of(lists, leader));
    targets.into_iter().find(|target| **target != *link.target)
}

fn target_of<'a>(lists: &'a Lists, leader: &MemberId) -> Option<&'a str> {
    let mut at = leader;
    for _ in 0..RENAMES_MAX {
        if let Some(link) = lists.link(at).filter(|link| !link.is_ended) {
            return Some(&link.target);
        }
        at = lists.renames.get(at)?;
    }
    None
}

/// In how many members a group differs from what WeCom lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MembersDrift {
    /// Members that it should have.
    pub missing: u64,
    /// Members of ours that it should not have.
    pub extra: u64,
}

/// Compares the members that a department's group has with those listed. Who has no user yet brings its own memberships.
pub(super) fn members(lists: &Lists, id: DepartmentId, present: &BTreeSet<TargetId>) -> MembersDrift {
    let departments = lists.scope.departments(id);
    let listed = departments.iter().filter_map(|id| lists.listed.get(id)).flatten();
    let links = listed.filter_map(|id| lists.link(id)).filter(|link| !link.is_ended);
    let mut wanted: BTreeSet<&str> = links.map(|link| &*link.target).collect();
    let groups = lists.scope.groups(id).iter().filter_map(|id| lists.groups.get(id));
    wanted.extend(groups.map(|group| group.target.0.as_str()));
    let missing = wanted.iter().filter(|target| !present.contains(&TargetId((**target).to_owned())));
    let is_ours = |target: &&TargetId| {
        matches!(lists.owner(&target.0), Some(ExternalId::Member(_) | ExternalId::Department(_)))
    };
    let is_whole = departments.iter().all(|id| !lists.cut.contains(id));
    let extra = present.iter().filter(|target| !wanted.contains(target.0.as_str())).filter(is_ours);
    MembersDrift { missing: count(missing), extra: if is_whole { count(extra) } else { 0 } }
}

fn count(found: impl Iterator) -> u64 {
    u64::try_from(found.count()).unwrap_or(u64::MAX)
}
