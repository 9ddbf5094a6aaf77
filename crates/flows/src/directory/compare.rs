//! The full compare of both sides, as streams in bounded memory. Pure.
//!
//! Both are fed in pages sorted by external id, as each side asks for them; no more than a page of each is held. What is
//! found is a hint: the run of each reads it in WeCom by its id before anything is ended, and asks the mass-change guard.

use std::collections::VecDeque;

use super::department::Department;
use super::ids::{DepartmentId, ExternalId, MemberId};
use super::key::Key;
use super::link::Step;
use super::map::{self, Seat};
use super::member::Member;
use super::record::{Attributes, differences, is_active};
use super::rules::Rules;
use super::tree::Tree;

/// What one side says of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A group's name.
    Group(String),
    /// A user's attributes. What WeCom does not tell is not compared.
    User(Attributes),
}

impl Content {
    /// Whether it is a user that the target says to be in use.
    pub fn is_active(&self) -> bool {
        match self {
            Self::Group(_) => false,
            Self::User(attributes) => is_active(attributes),
        }
    }
}

/// A record on one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which.
    pub external_id: ExternalId,
    /// What it says: on WeCom's side what is wanted.
    pub content: Content,
}

impl Entry {
    /// What is wanted of a department; none where the tree does not have it.
    pub fn of_department(id: DepartmentId, tree: &Tree, rules: &Rules) -> Option<Self> {
        tree.get(id)?;
        let content = Content::Group(map::group_name(&tree.way(id), rules));
        Some(Self { external_id: ExternalId::Department(id), content })
    }

    /// What is wanted of a member.
    pub fn of_member(member: &Member, tree: &Tree, rules: &Rules) -> Self {
        let ids = member.departments.iter().flatten();
        let departments: Vec<_> = ids.filter_map(|id| Some((tree.way(*id), tree.get(*id)?))).collect();
        let seats: Vec<Seat<'_>> =
            departments.iter().map(|(way, department)| seat(way, department)).collect();
        let content = Content::User(map::user(member, &seats, rules, false));
        Self { external_id: ExternalId::Member(member.id.clone()), content }
    }
}

/// Whether a member reports to others than we remember: looked at with the compare, which does not see managers.
pub fn has_other_leaders(member: &Member, remembered: &[MemberId]) -> bool {
    member.leaders.as_ref().is_some_and(|leaders| leaders != remembered)
}

/// A side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What WeCom lists.
    Wecom,
    /// What the target lists and is ours.
    Target,
}

/// What differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It is not in the target.
    Missing(ExternalId),
    /// WeCom does not list it.
    Extra(ExternalId),
    /// It says something else.
    Differs(ExternalId),
    /// The target has it more than once.
    Double(ExternalId),
}

impl Finding {
    /// What to look at; accounts taken out of use are nobody's.
    pub fn key(&self) -> Option<Key> {
        let (Self::Missing(id) | Self::Extra(id) | Self::Differs(id) | Self::Double(id)) = self;
        match id {
            ExternalId::Department(id) => Some(Key::Department(*id)),
            ExternalId::Member(id) => Some(Key::Member(id.clone())),
            ExternalId::Retired(_) => None,
        }
    }
}

/// What was compared, for the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// Records in WeCom.
    pub wecom: u64,
    /// Records of ours in the target.
    pub target: u64,
    /// The same on both sides.
    pub equal: u64,
    /// Different.
    pub differs: u64,
    /// Not in the target.
    pub missing: u64,
    /// Not in WeCom's list.
    pub extra: u64,
    /// More than once in the target.
    pub doubles: u64,
}

/// A page that is not sorted as agreed: comparing it would find differences that are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} comes out of order: nothing more can be compared; sort the pages by external id")]
pub struct OutOfOrder(pub ExternalId);

/// A compare under way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Compare {
    wecom: Stream,
    target: Stream,
    facts: Facts,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Stream {
    entries: VecDeque<Entry>,
    last: Option<ExternalId>,
    is_over: bool,
}

impl Compare {
    /// Whose next page is needed; none when it is over.
    pub fn wants(&self) -> Option<Side> {
        let is_short = |stream: &Stream| stream.entries.is_empty() && !stream.is_over;
        match (is_short(&self.wecom), is_short(&self.target)) {
            (true, _) => Some(Side::Wecom),
            (_, true) => Some(Side::Target),
            _ => None,
        }
    }

    /// Takes a page of a side, and says what is found by it. An empty page is no end.
    ///
    /// # Errors
    /// [`OutOfOrder`]; what was found before it stands.
    pub fn feed(
        &mut self,
        side: Side,
        page: impl IntoIterator<Item = Entry>,
        is_last: bool,
    ) -> Result<Vec<Finding>, OutOfOrder> {
        let mut findings = Vec::new();
        let stream = match side {
            Side::Wecom => &mut self.wecom,
            Side::Target => &mut self.target,
        };
        for entry in page {
            match stream.last.as_ref().map(|last| last.cmp(&entry.external_id)) {
                Some(std::cmp::Ordering::Greater) => return Err(OutOfOrder(entry.external_id)),
                // WeCom lists a member in each of its departments.
                Some(std::cmp::Ordering::Equal) if side == Side::Wecom => continue,
                Some(std::cmp::Ordering::Equal) => {
                    self.facts.doubles += 1;
                    findings.push(Finding::Double(entry.external_id));
                    continue;
                }
                Some(std::cmp::Ordering::Less) | None => {}
            }
            stream.last = Some(entry.external_id.clone());
            stream.entries.push_back(entry);
        }
        stream.is_over |= is_last;
        while let Some(finding) = self.step() {
            findings.extend(finding);
        }
        Ok(findings)
    }

    /// Compares the next one; none when a side has to be fed first, or it is over.
    fn step(&mut self) -> Option<Option<Finding>> {
        let (wecom, target) = (self.wecom.entries.front(), self.target.entries.front());
        let order = match (wecom, target) {
            (Some(wecom), Some(target)) => wecom.external_id.cmp(&target.external_id),
            (Some(_), None) if self.target.is_over => std::cmp::Ordering::Less,
            (None, Some(_)) if self.wecom.is_over => std::cmp::Ordering::Greater,
            _ => return None,
        };
        let wecom = if order.is_le() { self.wecom.entries.pop_front() } else { None };
        let target = if order.is_ge() { self.target.entries.pop_front() } else { None };
        self.facts.wecom += u64::from(wecom.is_some());
        self.facts.target += u64::from(target.is_some());
        Some(match (wecom, target) {
            (Some(wecom), Some(target)) if is_equal(&wecom.content, &target.content) => {
                self.facts.equal += 1;
                None
            }
            (Some(wecom), Some(_)) => {
                self.facts.differs += 1;
                Some(Finding::Differs(wecom.external_id))
            }
            (Some(wecom), None) => {
                self.facts.missing += 1;
                Some(Finding::Missing(wecom.external_id))
            }
            (None, target) => {
                self.facts.extra += 1;
                target.map(|target| Finding::Extra(target.external_id))
            }
        })
    }

    /// Whether both sides were compared to their ends.
    pub fn is_over(&self) -> bool {
        let is_through = |stream: &Stream| stream.is_over && stream.entries.is_empty();
        is_through(&self.wecom) && is_through(&self.target)
    }

    /// What was compared so far.
    pub fn facts(&self) -> Facts {
        self.facts
    }
}

impl Facts {
    /// Records that the sweep may change, for the mass-change guard. Never counted by what WeCom lists: a list that was
    /// cut off must not make the guard more patient.
    pub fn records(&self) -> u64 {
        self.target
    }

    /// Whether WeCom shows nothing of what we have: a right that was lost, not a company that was emptied. Nothing is
    /// hinted at then.
    pub fn is_blind(&self) -> bool {
        self.wecom == 0 && self.target > 0
    }
}

fn is_equal(wanted: &Content, present: &Content) -> bool {
    match (wanted, present) {
        (Content::Group(wanted), Content::Group(present)) => wanted == present,
        (Content::User(wanted), Content::User(present)) => differences(wanted, present).is_empty(),
        _ => false,
    }
}

fn seat<'a>(way: &'a [Step], department: &'a Department) -> Seat<'a> {
    Seat { way, leaders: department.leaders.as_deref().unwrap_or_default() }
}
