//! Compares the members of one group with those that WeCom lists, and writes what differs in batches.
//!
//! What is written is what list and memory agree on. Where they do not, the member or department is looked at by itself,
//! and brings its memberships with it. Nobody is taken out because a list lacks it: a member is read by itself first. Who is
//! not ours was put there by somebody else, and stays.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use shared::fault::Fault;
use shared::flow::Run;

use super::action::Lease;
use super::deciding::Mode;
use super::documents::Documents;
use super::flow::DirectoryFlow;
use super::ids::{DepartmentId, ExternalId, MemberId, TargetId};
use super::key::Key;
use super::known::Read;
use super::leases::Leases;
use super::link::{DepartmentLink, GroupLink};
use super::memberships::compare_members;
use super::record::Child;
use super::scope::Scope;
use super::target::MembersWritten;
use super::tree::Tree;
use crate::guard::MassChange;

/// Requests that are sent at once.
const AT_ONCE: usize = 8;
/// Links that are read at once.
const LINKS_AT_ONCE: usize = 256;

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct MembersCompared {
    /// Requests that changed the group.
    pub(super) changes: u64,
    /// What has to be looked at by itself: our memory of it says otherwise.
    pub(super) hints: BTreeSet<Key>,
}

struct Comparing<'a> {
    flow: &'a DirectoryFlow,
    run: &'a Run,
    mode: Mode,
    scope: &'a Scope,
    id: DepartmentId,
    group: &'a TargetId,
    leases: &'a Leases<'a>,
    hints: BTreeSet<Key>,
}

/// Who should be in a group.
struct Listing {
    members: BTreeSet<MemberId>,
    /// Whether that is all of them.
    is_whole: bool,
}

impl DirectoryFlow {
    /// Brings the members of a department's group in line with WeCom's lists.
    pub(super) async fn compare_group(
        &self,
        run: &Run,
        mode: Mode,
        scope: &Scope,
        id: DepartmentId,
    ) -> Result<MembersCompared, Fault> {
        let stored = self.documents.department_link(id).await?;
        let Some(link) = stored.as_ref().and_then(|stored| stored.link.group()) else {
            return Ok(MembersCompared::default());
        };
        let leases = Leases::new(&*self.state, &*run.clock, &Key::Members(id), self.settings.lease_ttl);
        let (group, hints) = (&link.target, BTreeSet::new());
        let comparing = Comparing { flow: self, run, mode, scope, id, group, leases: &leases, hints };
        let result = tokio::select! {
            biased;
            result = comparing.go() => result,
            lost = leases.keep() => Err(lost),
        };
        leases.give_back().await;
        result
    }

    /// As a run of a sweep: answers whether anything was written.
    pub(super) async fn sweep_group(&self, run: &Run, id: DepartmentId) -> Result<bool, Fault> {
        let hierarchy = self.rules().await?.hierarchy;
        let tree = Tree::new(self.source.departments().await?.records);
        let scope = Scope::new(&tree, hierarchy);
        if tree.get(id).is_none() {
            return Ok(false);
        }
        let compared = self.compare_group(run, Mode::Sweep, &scope, id).await?;
        self.hint_at(run, compared.hints).await?;
        Ok(compared.changes > 0)
    }
}

impl Comparing<'_> {
    async fn go(mut self) -> Result<MembersCompared, Fault> {
        self.leases.take(&Lease::Members(self.id)).await?;
        let listing = self.listing().await?;
        let mut wanted = self.wanted_members(&listing).await?;
        wanted.extend(self.wanted_groups().await?);
        let Some(there) = self.flow.target.members_of(self.group).await? else {
            return Ok(self.group_gone(0));
        };
        let mut present: BTreeMap<TargetId, Option<ExternalId>> = BTreeMap::new();
        let (wanted_there, others): (Vec<_>, Vec<_>) =
            there.into_iter().partition(|target| wanted.contains_key(target));
        present.extend(wanted_there.into_iter().map(|target| (target, None)));
        for others in others.chunks(AT_ONCE) {
            let owners = try_join_all(others.iter().map(|target| self.owner(target))).await?;
            for (target, owner) in others.iter().zip(owners) {
                let goes = match &owner {
                    Some(owner) => self.goes(owner, &listing).await?,
                    None => false,
                };
                present.insert(target.clone(), owner.filter(|_| goes));
            }
        }
        self.write(&wanted, &present).await
    }

    async fn write(
        self,
        wanted: &BTreeMap<TargetId, Child>,
        present: &BTreeMap<TargetId, Option<ExternalId>>,
    ) -> Result<MembersCompared, Fault> {
        let requests = compare_members(wanted, present, self.flow.settings.rules.batch_max);
        if requests.iter().any(|request| !request.remove.is_empty()) && self.mode == Mode::Sweep {
            let (sweep, key) = (self.run.sweep_id.as_deref(), Key::Members(self.id).to_string());
            let now = self.run.clock.now();
            self.flow.guard.permit(sweep, &key, MassChange::Overwrite, now).await?;
        }
        let mut changes = 0;
        for request in requests {
            self.leases.check()?;
            self.run.guard.fence()?;
            let write = self.flow.target.change_members(self.group, &request.add, &request.remove);
            match self.flow.write_alone(self.run, self.leases, self.group, write).await? {
                MembersWritten::Done => changes += 1,
                MembersWritten::GroupGone => return Ok(self.group_gone(changes)),
            }
        }
        Ok(MembersCompared { changes, hints: self.hints })
    }

    /// Made anew by a run of the department, and its members are told.
    fn group_gone(mut self, changes: u64) -> MembersCompared {
        self.hints.insert(Key::Department(self.id));
        MembersCompared { changes, hints: self.hints }
    }

    async fn listing(&self) -> Result<Listing, Fault> {
        let mut listing = Listing { members: BTreeSet::new(), is_whole: true };
        for ids in self.scope.departments(self.id).chunks(AT_ONCE) {
            for read in try_join_all(ids.iter().map(|id| self.flow.source.members_of(*id))).await? {
                match read {
                    Read::Found(list) => {
                        listing.is_whole &= list.unreadable.is_empty();
                        listing.members.extend(list.records.iter().map(|row| row.id().clone()));
                    }
                    Read::Unknown | Read::Invisible | Read::Unavailable => listing.is_whole = false,
                }
            }
        }
        Ok(listing)
    }

    /// The users of those listed, as far as there are any.
    async fn wanted_members(&mut self, listing: &Listing) -> Result<BTreeMap<TargetId, Child>, Fault> {
        let mut wanted = BTreeMap::new();
        let ids: Vec<&MemberId> = listing.members.iter().collect();
        for ids in ids.chunks(LINKS_AT_ONCE) {
            let ids: Vec<MemberId> = ids.iter().map(|id| (*id).clone()).collect();
            let links = self.documents().member_links(&ids).await?;
            for (id, link) in ids.into_iter().zip(links) {
                let Some(link) = link.map(|stored| stored.link).filter(|link| link.ended.is_none()) else {
                    continue;
                };
                if !link.groups.contains_key(&self.id) {
                    self.hints.insert(Key::Member(id));
                    continue;
                }
                wanted.insert(link.target, Child::Member(id));
            }
        }
        Ok(wanted)
    }

    /// The groups below.
    async fn wanted_groups(&mut self) -> Result<BTreeMap<TargetId, Child>, Fault> {
        let ids = self.scope.groups(self.id);
        let mut wanted = BTreeMap::new();
        let links = self.documents().department_links(ids).await?;
        for (id, link) in ids.iter().zip(links) {
            let link = link.map(|stored| stored.link);
            let Some(link) = link.as_ref().and_then(DepartmentLink::group) else { continue };
            match self.is_placed(link) {
                true => drop(wanted.insert(link.target.clone(), Child::Department(*id))),
                false => drop(self.hints.insert(Key::Department(*id))),
            }
        }
        Ok(wanted)
    }

    fn is_placed(&self, link: &GroupLink) -> bool {
        link.placed.as_ref().is_some_and(|placed| placed.under == self.id)
    }

    fn documents(&self) -> &Documents {
        &self.flow.documents
    }

    /// Whose record it is, where it is ours.
    async fn owner(&self, target: &TargetId) -> Result<Option<ExternalId>, Fault> {
        if let Some(user) = self.flow.target.user(target).await? {
            return Ok(Some(user.external_id));
        }
        Ok(self.flow.target.group(target).await?.map(|group| group.external_id))
    }

    /// Whether one that is not listed is taken out.
    async fn goes(&mut self, owner: &ExternalId, listing: &Listing) -> Result<bool, Fault> {
        match owner {
            ExternalId::Member(id) => {
                let link = self.documents().member_link(id).await?.map(|stored| stored.link);
                let is_remembered = link.as_ref().is_some_and(|link| link.groups.contains_key(&self.id));
                if is_remembered || link.is_none() {
                    self.hints.insert(Key::Member(id.clone()));
                }
                Ok(!is_remembered && listing.is_whole && self.member_goes(id).await?)
            }
            ExternalId::Department(id) => {
                let link = self.documents().department_link(*id).await?.map(|stored| stored.link);
                let is_placed = match link.as_ref().and_then(DepartmentLink::group) {
                    Some(link) => self.is_placed(link),
                    None => false,
                };
                if is_placed || link.is_none() {
                    self.hints.insert(Key::Department(*id));
                }
                Ok(!is_placed)
            }
            // Out of use: it was taken out of its groups.
            ExternalId::Retired(_) => Ok(false),
        }
    }

    async fn member_goes(&self, id: &MemberId) -> Result<bool, Fault> {
        Ok(match self.flow.source.member(id).await? {
            Read::Found(member) => member.departments.is_some_and(|departments| {
                let within = self.scope.departments(self.id);
                departments.iter().all(|department| !within.contains(department))
            }),
            Read::Unknown => true,
            Read::Invisible | Read::Unavailable => false,
        })
    }
}
