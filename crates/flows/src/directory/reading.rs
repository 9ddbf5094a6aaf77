//! Reads both sides and our memory for a full compare, a step at a time: a step that is dropped is taken again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use futures_util::future::try_join_all;
use shared::fault::Fault;

use super::documents::Documents;
use super::drift::RENAMES_MAX;
use super::first_sync::is_handled_with;
use super::ids::{DepartmentId, MemberId};
use super::known::Read;
use super::lists::Lists;
use super::patience::patiently;
use super::rules::Rules;
use super::source::{Row, Source};
use super::target::Target;

/// Lists of departments, and members, that are read in WeCom at once.
const AT_ONCE: usize = 8;
/// Members read by themselves in one step.
const MEMBERS_MAX: usize = 64;

/// Where it is read from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sides<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) target: &'a dyn Target,
    pub(super) documents: &'a Documents,
    pub(super) rules: &'a Rules,
}

/// Lists that are being read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    lists: Lists,
    stage: Stage,
    /// Members listed by their ids only, and taken note of.
    seen: BTreeSet<MemberId>,
}

#[derive(Debug)]
enum Stage {
    GroupsMemory(Option<String>),
    MembersMemory(Option<String>),
    Departments,
    /// Members of these departments, the last one next, and before them those of which only the id is known.
    Members(Vec<DepartmentId>, VecDeque<MemberId>),
    Groups(Option<String>),
    Users(Option<String>),
    Over,
}

impl Default for Stage {
    fn default() -> Self {
        Self::GroupsMemory(None)
    }
}

impl Reading {
    /// The lists, once all is read.
    pub(super) fn lists(&self) -> Option<&Lists> {
        matches!(self.stage, Stage::Over).then_some(&self.lists)
    }

    /// Reads all, for a person.
    pub(super) async fn all(sides: Sides<'_>) -> Result<Lists, Fault> {
        let mut reading = Self::default();
        while reading.lists().is_none() {
            patiently(async || reading.step(sides).await).await?;
        }
        Ok(reading.lists)
    }

    /// Reads the next part. What is awaited comes first in each, so that nothing is taken twice.
    pub(super) async fn step(&mut self, sides: Sides<'_>) -> Result<(), Fault> {
        let Sides { source, target, documents, rules } = sides;
        let next = match &mut self.stage {
            Stage::GroupsMemory(after) => {
                let page = documents.departments_page(after.as_deref()).await?;
                self.lists.take_groups_memory(page.records.into_iter().map(|(id, it)| (id, it.link)));
                match page.next {
                    Some(after) => Stage::GroupsMemory(Some(after)),
                    None => Stage::MembersMemory(None),
                }
            }
            Stage::MembersMemory(after) => {
                let page = documents.members_page(after.as_deref()).await?;
                self.lists.take_members_memory(page.records.into_iter().map(|(id, it)| (id, it.link)));
                match page.next {
                    Some(after) => Stage::MembersMemory(Some(after)),
                    None => Stage::Departments,
                }
            }
            Stage::Departments => {
                let renames = renames(documents, self.lists.leaders_not_linked()).await?;
                let list = source.departments().await?;
                self.lists.renames = renames;
                self.lists.take_departments(list, rules);
                let all = self.lists.tree.departments().map(|department| department.id);
                Stage::Members(all.collect(), VecDeque::new())
            }
            Stage::Members(left, ids) if ids.is_empty() && left.is_empty() => Stage::Groups(None),
            Stage::Members(left, ids) if ids.is_empty() => {
                let chosen = left.split_at(left.len().saturating_sub(AT_ONCE)).1.to_vec();
                let lists = try_join_all(chosen.iter().map(|id| source.members_of(*id))).await?;
                if let Some(at) = lists.iter().position(|list| *list == Read::Unavailable) {
                    return Err(unavailable(&format!("the members of department {}", chosen[at])));
                }
                left.truncate(left.len() - chosen.len());
                for (id, list) in chosen.into_iter().zip(lists) {
                    let Read::Found(list) = list else {
                        self.lists.cut.insert(id);
                        continue;
                    };
                    if !list.unreadable.is_empty() {
                        self.lists.cut.insert(id);
                    }
                    self.lists.note_unreadable(list.unreadable);
                    for row in list.records {
                        self.lists.take_listing(id, row.id().clone());
                        match row {
                            Row::Whole(member) if is_handled_with(id, &member, &self.lists.tree) => {
                                self.lists.take_member(&member, rules);
                            }
                            Row::Whole(_) => {}
                            Row::Id(id) if self.seen.insert(id.clone()) => ids.push_back(id),
                            Row::Id(_) => {}
                        }
                    }
                }
                return Ok(());
            }
            Stage::Members(_, ids) => {
                let chosen: Vec<MemberId> = ids.iter().take(MEMBERS_MAX).cloned().collect();
                let mut reads = Vec::with_capacity(chosen.len());
                for chosen in chosen.chunks(AT_ONCE) {
                    reads.extend(try_join_all(chosen.iter().map(|id| source.member(id))).await?);
                }
                if let Some(at) = reads.iter().position(|read| *read == Read::Unavailable) {
                    return Err(unavailable(&format!("the member {}", chosen[at])));
                }
                drop(ids.drain(..chosen.len()));
                for (id, read) in chosen.into_iter().zip(reads) {
                    match read {
                        Read::Found(member) => self.lists.take_member(&member, rules),
                        Read::Invisible => self.lists.take_unseen(id),
                        // Gone since it was listed.
                        Read::Unknown | Read::Unavailable => {}
                    }
                }
                return Ok(());
            }
            Stage::Groups(cursor) => {
                let page = target.groups(cursor.as_deref()).await?;
                self.lists.take_groups(page.records);
                page.next.map_or(Stage::Users(None), |next| Stage::Groups(Some(next)))
            }
            Stage::Users(cursor) => {
                let page = target.users(cursor.as_deref()).await?;
                self.lists.take_users(page.records);
                match page.next {
                    Some(next) => Stage::Users(Some(next)),
                    None => {
                        self.seen = BTreeSet::new();
                        self.lists.finish();
                        Stage::Over
                    }
                }
            }
            Stage::Over => return Ok(()),
        };
        self.stage = next;
        Ok(())
    }
}

fn unavailable(what: &str) -> Fault {
    Fault::retryable("wecom_silent", format!("WeCom does not answer about {what} now; it is asked again."))
}

/// What the userids of these were changed to, and those in turn.
async fn renames(
    documents: &Documents,
    mut ids: BTreeSet<MemberId>,
) -> Result<BTreeMap<MemberId, MemberId>, Fault> {
    let mut found = BTreeMap::new();
    for _ in 0..RENAMES_MAX {
        let mut later = BTreeSet::new();
        for id in ids {
            if let Some(new) = documents.rename(&id).await? {
                if !found.contains_key(&new) {
                    later.insert(new.clone());
                }
                found.insert(id, new);
            }
        }
        ids = later;
    }
    Ok(found)
}
