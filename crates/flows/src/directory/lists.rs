//! What both sides and our memory say of everything, held at once and small: what a full compare goes over.

use std::collections::{BTreeMap, BTreeSet};

use super::compare::{Content, Entry, has_other_leaders};
use super::department::Department;
use super::ids::{DepartmentId, ExternalId, MemberId, TargetId};
use super::link::{DepartmentLink, MemberLink};
use super::member::Member;
use super::packed::Packed;
use super::record::{Attributes, GroupSide, UserSide};
use super::rules::Rules;
use super::scope::Scope;
use super::source::Listed;
use super::tree::Tree;

/// Sentences about what could not be read that are kept, at most.
const SENTENCES_MAX: usize = 20;

/// A member as WeCom says it is.
#[derive(Debug)]
struct Wanted {
    id: MemberId,
    content: Packed,
    /// Whether it reports to others than we remember.
    has_other_leaders: bool,
}

/// A record of ours in the target.
#[derive(Debug)]
struct Present {
    external_id: ExternalId,
    target: Box<str>,
    content: Packed,
}

/// What we remember of a member.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) id: MemberId,
    pub(super) target: Box<str>,
    pub(super) leaders: Box<[MemberId]>,
    pub(super) manager: Option<Box<str>>,
    pub(super) is_ended: bool,
    /// Whether its manager has still to be looked at.
    pub(super) are_leaders_due: bool,
    /// Whether memberships have still to be noted.
    pub(super) are_groups_due: bool,
}

/// What we remember of a department's group.
#[derive(Debug)]
pub(super) struct RememberedGroup {
    pub(super) target: TargetId,
    /// Whether something follows from it that has still to be told, or done.
    pub(super) is_unfinished: bool,
}

/// What both sides and our memory say. It is filled in this order: links, the tree, members, the target; then
/// [`Self::finish`].
#[derive(Debug, Default)]
pub(super) struct Lists {
    pub(super) tree: Tree,
    pub(super) scope: Scope,
    /// By id.
    pub(super) links: Vec<Remembered>,
    pub(super) groups: BTreeMap<DepartmentId, RememberedGroup>,
    /// Userids that were changed, of leaders that are not linked.
    pub(super) renames: BTreeMap<MemberId, MemberId>,
    /// The members that WeCom lists in each department.
    pub(super) listed: BTreeMap<DepartmentId, Vec<MemberId>>,
    /// Departments of whose members the list is not all there is.
    pub(super) cut: BTreeSet<DepartmentId>,
    /// What could not be read: some of the sentences, and their number.
    pub(super) unreadable: (Vec<String>, u64),
    wanted: Vec<Wanted>,
    present: Vec<Present>,
    /// Of `present`, by the target's id.
    by_target: Vec<u32>,
}

impl Lists {
    /// A page of departments' links.
    pub(super) fn take_groups_memory(
        &mut self,
        page: impl IntoIterator<Item = (DepartmentId, DepartmentLink)>,
    ) {
        for (id, link) in page {
            let DepartmentLink::Linked(link) = link else { continue };
            let is_unfinished =
                !link.below_due.is_nothing() || link.leaving.is_some() || !link.placed_due.is_empty();
            self.groups.insert(id, RememberedGroup { target: link.target, is_unfinished });
        }
    }

    /// A page of members' links, in the order of ids.
    pub(super) fn take_members_memory(&mut self, page: impl IntoIterator<Item = (MemberId, MemberLink)>) {
        self.links.extend(page.into_iter().map(|(id, link)| Remembered {
            id,
            target: link.target.0.into(),
            leaders: link.leaders.into(),
            manager: link.manager.map(|manager| manager.0.into()),
            is_ended: link.ended.is_some(),
            are_leaders_due: link.leaders_due,
            are_groups_due: !link.groups_due.is_empty(),
        }));
    }

    /// The departments that WeCom lists.
    pub(super) fn take_departments(&mut self, list: Listed<Department>, rules: &Rules) {
        self.note_unreadable(list.unreadable);
        self.tree = Tree::new(list.records);
        self.scope = Scope::new(&self.tree, rules.hierarchy);
    }

    /// Somebody is listed in a department.
    pub(super) fn take_listing(&mut self, department: DepartmentId, id: MemberId) {
        self.listed.entry(department).or_default().push(id);
    }

    /// A member, by what WeCom says of it; once or several times.
    pub(super) fn take_member(&mut self, member: &Member, rules: &Rules) {
        let content = Entry::of_member(member, &self.tree, rules).content;
        let has_other_leaders =
            self.link(&member.id).is_some_and(|link| has_other_leaders(member, &link.leaders));
        let id = member.id.clone();
        self.wanted.push(Wanted { id, content: Packed::new(content), has_other_leaders });
    }

    /// A member that we may not look at: nothing of it is compared.
    pub(super) fn take_unseen(&mut self, id: MemberId) {
        let content = Packed::new(Content::User(Attributes::new()));
        self.wanted.push(Wanted { id, content, has_other_leaders: false });
    }

    /// Sentences about what could not be read.
    pub(super) fn note_unreadable(&mut self, sentences: Vec<String>) {
        let (kept, count) = &mut self.unreadable;
        *count = count.saturating_add(u64::try_from(sentences.len()).unwrap_or(u64::MAX));
        let room = SENTENCES_MAX.saturating_sub(kept.len());
        kept.extend(sentences.into_iter().take(room));
    }

    /// A page of the target's groups.
    pub(super) fn take_groups(&mut self, page: Vec<GroupSide>) {
        self.present.extend(page.into_iter().map(|side| Present {
            external_id: side.external_id,
            target: side.target.0.into(),
            content: Packed::new(Content::Group(side.name)),
        }));
    }

    /// A page of the target's users.
    pub(super) fn take_users(&mut self, page: Vec<UserSide>) {
        self.present.extend(page.into_iter().map(|side| Present {
            external_id: side.external_id,
            target: side.target.0.into(),
            content: Packed::new(Content::User(side.attributes)),
        }));
    }

    /// All is there: it is put in order.
    pub(super) fn finish(&mut self) {
        self.wanted.sort_by(|one, other| one.id.cmp(&other.id));
        self.wanted.dedup_by(|one, other| one.id == other.id);
        self.present.sort_by(|one, other| {
            let ids = one.external_id.cmp(&other.external_id);
            // The one that is found by its external id comes first.
            ids.then_with(|| one.target.cmp(&other.target))
        });
        // Pages are no snapshot: what moves meanwhile comes twice.
        self.present
            .dedup_by(|one, other| (&one.external_id, &one.target) == (&other.external_id, &other.target));
        let count = u32::try_from(self.present.len()).unwrap_or(u32::MAX);
        self.by_target = (0..count).collect();
        let target = |at: &u32| self.present.get(*at as usize).map(|present| &present.target);
        self.by_target.sort_by(|one, other| target(one).cmp(&target(other)));
    }

    /// What WeCom wants, in order.
    pub(super) fn wanted_entries<'a>(&'a self, rules: &'a Rules) -> impl Iterator<Item = Entry> + 'a {
        let departments = self.tree.departments().map(|department| department.id);
        let groups = departments.filter_map(|id| Entry::of_department(id, &self.tree, rules));
        groups.chain(self.wanted.iter().map(|wanted| Entry {
            external_id: ExternalId::Member(wanted.id.clone()),
            content: wanted.content.content(),
        }))
    }

    /// What the target has, in order; without those who are gone and stay, out of use. One that somebody switched on again
    /// is not.
    pub(super) fn present_entries(&self) -> impl Iterator<Item = Entry> + '_ {
        let is_out = |present: &Present| match &present.external_id {
            ExternalId::Member(id) => {
                let is_ended = self.link(id).is_some_and(|it| it.is_ended && it.target == present.target);
                // One that WeCom lists again is missing, whatever its user says.
                is_ended && (self.is_wanted(id) || !present.content.content().is_active())
            }
            ExternalId::Retired(_) => true,
            ExternalId::Department(_) => false,
        };
        let present = self.present.iter().filter(move |present| !is_out(present));
        present.map(|present| Entry {
            external_id: present.external_id.clone(),
            content: present.content.content(),
        })
    }

    /// What WeCom wants of one.
    pub(super) fn wanted(&self, id: &ExternalId, rules: &Rules) -> Option<Content> {
        match id {
            ExternalId::Department(id) => {
                Entry::of_department(*id, &self.tree, rules).map(|entry| entry.content)
            }
            ExternalId::Member(id) => self.wanted_of(id).map(|wanted| wanted.content.content()),
            ExternalId::Retired(_) => None,
        }
    }

    fn wanted_of(&self, id: &MemberId) -> Option<&Wanted> {
        let at = self.wanted.binary_search_by(|wanted| wanted.id.cmp(id)).ok()?;
        self.wanted.get(at)
    }

    /// Whether WeCom lists a member.
    pub(super) fn is_wanted(&self, id: &MemberId) -> bool {
        self.wanted_of(id).is_some()
    }

    /// Whether a member reports to others than we remember.
    pub(super) fn has_other_leaders(&self, id: &MemberId) -> bool {
        self.wanted_of(id).is_some_and(|wanted| wanted.has_other_leaders)
    }

    /// What the target says of one, and its id there.
    pub(super) fn present(&self, id: &ExternalId) -> Option<(&str, Content)> {
        let at = self.present.partition_point(|present| present.external_id < *id);
        let found = self.present.get(at).filter(|present| present.external_id == *id)?;
        Some((&found.target, found.content.content()))
    }

    /// Whose record in the target this is.
    pub(super) fn owner(&self, target: &str) -> Option<&ExternalId> {
        let present = |at: &u32| self.present.get(*at as usize);
        let is_before = |at: &u32| present(at).is_some_and(|present| *present.target < *target);
        let at = self.by_target.get(self.by_target.partition_point(is_before))?;
        present(at).filter(|present| *present.target == *target).map(|present| &present.external_id)
    }

    /// What we remember of a member.
    pub(super) fn link(&self, id: &MemberId) -> Option<&Remembered> {
        let at = self.links.binary_search_by(|link| link.id.cmp(id)).ok()?;
        self.links.get(at)
    }

    /// The leaders that are not there under their userid: it may have been changed.
    pub(super) fn leaders_not_linked(&self) -> BTreeSet<MemberId> {
        let live = self.links.iter().filter(|link| !link.is_ended);
        let leaders = live.flat_map(|link| link.leaders.iter());
        leaders.filter(|id| self.link(id).is_none_or(|link| link.is_ended)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_on_two_pages_is_there_once_and_two_records_are_two() {
        let external_id: ExternalId = "wecom:user:lisi".parse().unwrap();
        let user = |target: &str| UserSide {
            target: TargetId(target.to_owned()),
            version: None,
            external_id: external_id.clone(),
            attributes: Attributes::new(),
        };
        let mut lists = Lists::default();
        lists.take_users(vec![user("b"), user("a")]);
        lists.take_users(vec![user("b")]);
        lists.finish();
        assert_eq!(lists.present_entries().count(), 2);
        assert_eq!(lists.present(&external_id).unwrap().0, "a");
        assert_eq!(lists.owner("b"), Some(&external_id));
    }
}
