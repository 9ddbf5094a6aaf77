//! What is to be done about a member and its user.

use std::collections::{BTreeMap, BTreeSet};

use super::action::{Action, Lease, Look, Oddity, Refusal, Verdict};
use super::deciding::{Deciding, Mode};
use super::departments::note;
use super::ids::{DepartmentId, ExternalId, MemberId, TargetId};
use super::key::Key;
use super::known::Read;
use super::link::{DepartmentLink, GroupLink, MemberLink, Note};
use super::map::{self, Seat};
use super::member::Member;
use super::need::Need;
use super::record::{Attributes, Child, Field, Fingerprint, UserSide, Value, differences, is_active};
use super::rules::{Hierarchy, Leavers};
use crate::guard::MassChange;

impl<'a> Deciding<'a> {
    /// A member that a message is about.
    pub(super) fn member(&mut self, id: &MemberId) -> Result<Verdict, Need> {
        match self.known.member(id)? {
            Read::Found(member) => self.settle_member(member),
            Read::Unknown => self.gone(id),
            Read::Invisible | Read::Unavailable => {
                self.oddities.push(Oddity::Invisible(Key::Member(id.clone())));
                Ok(Verdict::Invisible)
            }
        }
    }

    /// WeCom does not know it.
    fn gone(&mut self, id: &MemberId) -> Result<Verdict, Need> {
        let Some(link) = self.known.member_link(id)? else { return self.end_stray(id) };
        match self.later_names(id)?.1 {
            // It is not gone: its account is about to be moved, or a run that did so was stopped.
            Some(new) => self.move_account(id, new),
            None => self.end_member(id, link),
        }
    }

    /// A member that is gone and not linked. What is there of it was made by a run that was stopped before it could say so,
    /// or in an earlier life of the store.
    fn end_stray(&mut self, id: &MemberId) -> Result<Verdict, Need> {
        self.adopt_stray(id)?;
        match self.mode {
            // Its account may be the renamed member's, and will say so.
            Mode::Sweep => self.later_names(id)?.1.map_or(Ok(Verdict::Ended), |new| self.member(new)),
            Mode::Hint | Mode::FirstSync => Ok(Verdict::Ended),
        }
    }

    /// Links a user of ours that has the external id of this member and is nobody's.
    fn adopt_stray(&self, id: &MemberId) -> Result<(), Need> {
        let external_id = ExternalId::Member(id.clone());
        self.lease(Lease::Record(external_id.clone()))?;
        let Some(side) = self.known.found_user(&external_id)? else { return Ok(()) };
        for later in self.later_names(id)?.0 {
            if self.known.member_link(later)?.is_some_and(|link| link.target == side.target) {
                return Ok(());
            }
        }
        Err(Need::act(vec![save(id, &self.link_of(side, id.as_str()))]))
    }

    /// The userids that it was changed to, one after the other, up to the one that WeCom does not say to be unknown.
    fn later_names(&self, id: &MemberId) -> Result<(Vec<&'a MemberId>, Option<&'a MemberId>), Need> {
        let mut names = Vec::new();
        let mut next = self.known.rename(id)?;
        while let Some(name) = next.filter(|name| *name != id && !names.contains(name)) {
            names.push(name);
            if *self.known.member(name)? != Read::Unknown {
                return Ok((names, Some(name)));
            }
            next = self.known.rename(name)?;
        }
        Ok((names, None))
    }

    fn end_member(&mut self, id: &MemberId, link: &'a MemberLink) -> Result<Verdict, Need> {
        if link.ended.is_some() && link.leaders_due {
            let told = MemberLink { leaders_due: false, ..link.clone() };
            return Err(Need::act(vec![Action::HintReports(id.clone()), save(id, &told)]));
        }
        if link.ended.is_some() && self.rules.leavers == Leavers::Deactivate {
            self.stays_out(id, link)?;
            self.retire_second(id, link)?;
            return Ok(Verdict::Ended);
        }
        self.lease(Lease::Record(ExternalId::Member(id.clone())))?;
        self.take_out(id, link)?;
        let leaving = match self.rules.leavers {
            Leavers::Delete if link.ended.is_some() => {
                let delete = Action::DeleteUser { target: link.target.clone() };
                return Err(tombstone(vec![delete, Action::DropMember(id.clone())]));
            }
            Leavers::Delete => link.leaving.clone(),
            Leavers::Deactivate => {
                if let Some(side) = self.known.user(&link.target)? {
                    self.switch_off(id, side)?;
                }
                BTreeSet::new()
            }
        };
        // Saved before those who reported to it are told: who comes earlier takes it for present.
        let ended = MemberLink {
            written: Fingerprint::default(),
            ended: Some(self.now),
            leaders_due: true,
            leaving,
            ..link.clone()
        };
        Err(tombstone(vec![save(id, &ended)]))
    }

    /// Whom somebody switched on again in the target is switched off. Only a full compare looks.
    fn stays_out(&self, id: &MemberId, link: &MemberLink) -> Result<(), Need> {
        if self.mode != Mode::Sweep {
            return Ok(());
        }
        let Some(side) = self.known.user(&link.target)?.filter(|side| is_active(&side.attributes)) else {
            return Ok(());
        };
        self.lease(Lease::Record(ExternalId::Member(id.clone())))?;
        self.switch_off(id, side)
    }

    fn switch_off(&self, id: &MemberId, side: &UserSide) -> Result<(), Need> {
        let inactive = Attributes::from([(Field::Active, Value::Flag(false))]);
        match update(side, &ExternalId::Member(id.clone()), &inactive) {
            Some(update) => Err(tombstone(vec![update])),
            None => Ok(()),
        }
    }

    /// Takes the user out of its groups; before it is deleted, that is also written.
    fn take_out(&mut self, id: &MemberId, link: &MemberLink) -> Result<(), Need> {
        if !link.groups.is_empty() {
            let mut left = MemberLink { groups: BTreeMap::new(), ..link.clone() };
            left.groups_due.extend(link.groups.keys());
            left.leaving.extend(&left.groups_due);
            return Err(tombstone(vec![save(id, &left)]));
        }
        if !link.groups_due.is_empty() {
            return Err(Need::act(note_due(id, link)));
        }
        if self.rules.leavers == Leavers::Delete {
            for group in &link.leaving {
                self.flush(*group, &link.target)?;
            }
        }
        Ok(())
    }

    fn settle_member(&mut self, member: &Member) -> Result<Verdict, Need> {
        let id = &member.id;
        if self.known.rename(id)?.is_some() {
            return Err(Need::act(vec![Action::ForgetRename(id.clone())]));
        }
        let departments = self.departments_of(member)?;
        let seats: Vec<Seat<'_>> = departments.iter().map(|link| Seat::of(link)).collect();
        let external_id = ExternalId::Member(id.clone());
        if self.known.is_name_taken(&external_id) {
            let name = map::user(member, &seats, self.rules, true).remove(&Field::UserName);
            let name = match name {
                Some(Value::Text(name)) => name,
                _ => String::new(),
            };
            return Err(Need::Refuse(Refusal::NameTaken { member: id.clone(), name }));
        }
        let saved = self.known.member_link(id)?;
        let wanted = map::user(member, &seats, self.rules, false);
        // Another run may have read it since it was listed.
        if self.known.is_listed(&Key::Member(id.clone()))
            && saved.is_some_and(|saved| is_news(saved, &external_id, member, &wanted))
        {
            return Err(Need::look(Look::Member(id.clone())));
        }
        let base = match saved {
            Some(link) => link.clone(),
            None => match self.begin_user(member, &seats)? {
                Some(link) => link,
                None => return Ok(Verdict::NotCreated),
            },
        };
        let mut link = MemberLink {
            userid: member.userid.clone(),
            departments: member.departments.clone().unwrap_or_else(|| base.departments.clone()),
            leaving: match self.rules.leavers {
                Leavers::Deactivate => BTreeSet::new(),
                Leavers::Delete => base.leaving.clone(),
            },
            ended: None,
            ..base
        };
        let is_new = saved.is_none_or(|saved| saved.ended.is_some());
        self.write_user(&mut link, id, &wanted, saved)?;
        if member.departments.is_some() {
            self.change_groups(&mut link, &departments)?;
        }
        let leaders = member.leaders.clone().unwrap_or_else(|| link.leaders.clone());
        link.leaders_due |= is_new || leaders != link.leaders;
        link.leaders = leaders;
        let Some(saved) = saved.filter(|saved| **saved == link) else {
            return Err(Need::act(vec![save(id, &link)]));
        };
        // A run that is stopped before this was noted finds it there. By one run at a time: a note that comes late would
        // say what was the case before.
        if !saved.groups_due.is_empty() && self.mode != Mode::FirstSync {
            self.lease(Lease::Record(external_id))?;
            return Err(Need::act(note_due(id, saved)));
        }
        // Hinted at once more by every run until it is done: the run that saved it may have been stopped.
        if saved.leaders_due
            && self.mode != Mode::FirstSync
            && !self.known.is_hinted(&Key::Leader(id.clone()))
        {
            return Err(Need::act(vec![Action::Hint(Key::Leader(id.clone()))]));
        }
        self.retire_second(id, saved)?;
        Ok(Verdict::Converges)
    }

    /// The groups of its departments, created where they are not there; those that we may not see are left out.
    fn departments_of(&mut self, member: &Member) -> Result<Vec<&'a GroupLink>, Need> {
        let remembered = self.known.member_link(&member.id)?;
        let before = || remembered.map(|link| link.departments.clone()).unwrap_or_default();
        let ids = member.departments.clone().unwrap_or_else(before);
        let looks = self.known.links_to_look_up(&ids);
        if !looks.is_empty() {
            return Err(Need::Look(looks));
        }
        let mut links = Vec::new();
        for id in ids {
            match self.ensure(id, &mut Vec::new())? {
                Some(link) => links.push(link),
                None => self.oddities.push(Oddity::InvisibleDepartment(member.id.clone(), id)),
            }
        }
        Ok(links)
    }

    /// The link of a member that has none: its user is found, a deactivated one as well, or created.
    fn begin_user(&self, member: &Member, seats: &[Seat<'_>]) -> Result<Option<MemberLink>, Need> {
        let external_id = ExternalId::Member(member.id.clone());
        self.lease(Lease::Record(external_id.clone()))?;
        let Some(side) = self.known.found_user(&external_id)? else {
            if !self.rules.creates_users {
                return Ok(None);
            }
            let attributes = map::user(member, seats, self.rules, true);
            return Err(Need::act(vec![Action::CreateUser { external_id, attributes }]));
        };
        Ok(Some(self.link_of(side, &member.userid)))
    }

    fn link_of(&self, side: &UserSide, userid: &str) -> MemberLink {
        MemberLink {
            userid: userid.to_owned(),
            target: side.target.clone(),
            version: side.version.clone(),
            written: Fingerprint::default(),
            departments: Vec::new(),
            groups: BTreeMap::new(),
            groups_due: BTreeSet::new(),
            leaving: BTreeSet::new(),
            leaders: Vec::new(),
            leaders_due: false,
            manager: None,
            ended: None,
            since: self.now,
        }
    }

    fn write_user(
        &self,
        link: &mut MemberLink,
        id: &MemberId,
        wanted: &Attributes,
        saved: Option<&MemberLink>,
    ) -> Result<(), Need> {
        let external_id = ExternalId::Member(id.clone());
        let print = Fingerprint::of_user(&external_id, wanted);
        if link.written == print && self.mode != Mode::Sweep {
            return Ok(());
        }
        let Some(side) = self.known.user(&link.target)? else {
            // Gone from the target: found by its external id, or created, with the next look.
            return Err(Need::act(forget_lost(id, link)));
        };
        let mut wanted = wanted.clone();
        if saved.is_none_or(|saved| saved.ended.is_some()) {
            wanted.entry(Field::Active).or_insert(Value::Flag(true));
        }
        if let Some(update) = update(side, &external_id, &wanted) {
            return Err(Need::Do(vec![update], saved.map(|_| MassChange::Overwrite)));
        }
        link.version = side.version.clone();
        link.written = print;
        Ok(())
    }

    /// Says which groups it is a member of, and where that has to be noted.
    fn change_groups(&self, link: &mut MemberLink, departments: &[&'a GroupLink]) -> Result<(), Need> {
        let wanted = self.groups_of(departments)?;
        let before = std::mem::replace(&mut link.groups, wanted);
        if self.mode != Mode::FirstSync {
            let added = link.groups.iter().filter(|(group, target)| before.get(group) != Some(target));
            let left = before.keys().filter(|group| !link.groups.contains_key(group));
            link.groups_due.extend(added.map(|(group, _)| group).chain(left));
        }
        if self.rules.leavers == Leavers::Delete {
            // Written before the user may be deleted, whoever has to write it.
            link.leaving.extend(before.keys());
            link.leaving.retain(|group| !link.groups.contains_key(group));
        }
        Ok(())
    }

    /// The groups that members of these departments are in.
    pub(super) fn groups_of(
        &self,
        departments: &[&'a GroupLink],
    ) -> Result<BTreeMap<DepartmentId, TargetId>, Need> {
        let mut groups = BTreeMap::new();
        for link in departments {
            groups.insert(link.seen.id, link.target.clone());
            if self.rules.hierarchy != Hierarchy::Rollup {
                continue;
            }
            for step in &link.way {
                if let Some(up) = self.known.department_link(step.id)?.and_then(DepartmentLink::group) {
                    groups.insert(step.id, up.target.clone());
                }
            }
        }
        Ok(groups)
    }

    /// A userid was changed. That is written down first: from then on the old one is not taken for gone.
    pub(super) fn rename(&mut self, old: &MemberId, new: &MemberId) -> Result<Verdict, Need> {
        if self.known.member_link(old)?.is_none() {
            if self.known.rename(old)? == Some(new) {
                self.wake(old)?;
                return self.member(new);
            }
            return match self.known.member(new)? {
                // Where there is no account, only a later message of the old userid could make use of it.
                Read::Found(_) => {
                    self.adopt_stray(old)?;
                    Err(save_rename(old, new))
                }
                Read::Unknown | Read::Invisible | Read::Unavailable => self.member(new),
            };
        }
        if self.known.rename(old)? != Some(new) {
            return match self.known.member(old)? {
                // A message that comes late: somebody else has the old userid now.
                Read::Found(_) => self.member(new),
                Read::Unknown | Read::Invisible | Read::Unavailable => Err(save_rename(old, new)),
            };
        }
        self.move_account(old, new)
    }

    /// Who waits for the old userid as manager waits for the new one.
    fn wake(&self, old: &MemberId) -> Result<(), Need> {
        let waiting = self.known.waiting(old)?;
        if waiting.is_empty() {
            return Ok(());
        }
        let hints = waiting.iter().map(|member| Action::Hint(Key::Leader(member.clone())));
        let forget = Action::ForgetWaiting { leader: old.clone(), members: waiting.to_vec() };
        Err(Need::act(hints.chain([forget]).collect()))
    }

    /// Links the old account to the new userid; where there are two accounts, one is taken out of use.
    fn move_account(&mut self, old: &MemberId, new: &MemberId) -> Result<Verdict, Need> {
        self.lease(Lease::Record(ExternalId::Member(old.clone())))?;
        self.lease(Lease::Record(ExternalId::Member(new.clone())))?;
        let Some(from) = self.known.member_link(old)? else { return self.member(new) };
        let moved =
            || MemberLink { written: Fingerprint::default(), leaders_due: true, ended: None, ..from.clone() };
        match self.known.member_link(new)? {
            None => match self.known.found_user(&ExternalId::Member(new.clone()))? {
                // Created for the new userid by a run that was stopped before it could say so.
                Some(side) if side.target != from.target => {
                    Err(Need::act(vec![save(new, &self.link_of(side, new.as_str()))]))
                }
                _ => Err(Need::act(vec![save(new, &moved()), Action::DropMember(old.clone())])),
            },
            Some(to) if to.target == from.target => Err(Need::act(vec![Action::DropMember(old.clone())])),
            Some(to) if self.is_in_use(to) => {
                self.retire(old, from)?;
                Err(Need::act(vec![Action::DropMember(old.clone())]))
            }
            Some(to) => {
                self.retire(new, to)?;
                Err(Need::act(vec![save(new, &moved()), Action::DropMember(old.clone())]))
            }
        }
    }

    /// Whether people have come to use it: then it stays, though the other one is older.
    fn is_in_use(&self, link: &MemberLink) -> bool {
        let age = self.now.duration_since(link.since);
        let settled = jiff::SignedDuration::try_from(self.rules.settled_after);
        link.ended.is_none() && age > settled.unwrap_or(jiff::SignedDuration::MAX)
    }

    /// Takes the second account of a member out of use: its names are needed for the other one.
    fn retire(&mut self, id: &MemberId, link: &MemberLink) -> Result<(), Need> {
        self.oddities.push(Oddity::SecondAccount(id.clone(), link.target.clone()));
        self.take_out(id, link)?;
        let Some(side) = self.known.user(&link.target)? else { return Ok(()) };
        if self.rules.leavers == Leavers::Delete {
            return Err(tombstone(vec![Action::DeleteUser { target: link.target.clone() }]));
        }
        self.out_of_use(id, side)
    }

    /// The target keeps no external id unique: another user with that of a linked one is nobody's. Only a full compare looks
    /// for it. It is never deleted: in which groups it is, is not known.
    fn retire_second(&mut self, id: &MemberId, link: &MemberLink) -> Result<(), Need> {
        if self.mode != Mode::Sweep {
            return Ok(());
        }
        let external_id = ExternalId::Member(id.clone());
        let Some(side) = self.known.second_user(&external_id, &link.target)? else { return Ok(()) };
        self.lease(Lease::Record(external_id))?;
        self.out_of_use(id, side)
    }

    fn out_of_use(&self, id: &MemberId, side: &UserSide) -> Result<(), Need> {
        let text = format!("{id}.retired.{}", side.target);
        let mut wanted = Attributes::from([(Field::Active, Value::Flag(false))]);
        wanted.insert(Field::UserName, Value::Text(text));
        let wanted = self.rules.form.user(wanted);
        match update(side, &ExternalId::Retired(side.target.clone()), &wanted) {
            Some(update) => Err(tombstone(vec![update])),
            None => Ok(()),
        }
    }
}

/// Whether it says something else than what was written.
fn is_news(saved: &MemberLink, external_id: &ExternalId, member: &Member, wanted: &Attributes) -> bool {
    saved.written != Fingerprint::of_user(external_id, wanted)
        || member.departments.as_ref().is_some_and(|departments| *departments != saved.departments)
        || member.leaders.as_ref().is_some_and(|leaders| *leaders != saved.leaders)
}

fn tombstone(actions: Vec<Action>) -> Need {
    Need::Do(actions, Some(MassChange::Tombstone))
}

fn save_rename(old: &MemberId, new: &MemberId) -> Need {
    Need::act(vec![Action::SaveRename { old: old.clone(), new: new.clone() }])
}

pub(super) fn save(id: &MemberId, link: &MemberLink) -> Action {
    Action::SaveMember(id.clone(), Box::new(link.clone()))
}

/// The notes that are due, by what it is a member of; then the link without them.
fn note_due(id: &MemberId, link: &MemberLink) -> Vec<Action> {
    let wanted = |group| link.groups.contains_key(group);
    let notes = link.groups_due.iter().map(|group| (*group, note_of(id, &link.target, wanted(group))));
    let mut actions = note(notes.collect());
    actions.push(save(id, &MemberLink { groups_due: BTreeSet::new(), ..link.clone() }));
    actions
}

/// A user that is gone from the target. Many services leave it in its groups, where no list of ours would find it. Who reports to
/// it is told when it is forgotten, and waits for the one that is made next; after a stop in between a sweep finds them.
fn forget_lost(id: &MemberId, link: &MemberLink) -> Vec<Action> {
    let groups: BTreeSet<&DepartmentId> = link.groups.keys().chain(&link.groups_due).collect();
    let mut actions =
        note(groups.into_iter().map(|group| (*group, note_of(id, &link.target, false))).collect());
    actions.extend([Action::DropMember(id.clone()), Action::HintReports(id.clone())]);
    actions
}

fn note_of(id: &MemberId, target: &TargetId, wanted: bool) -> Note {
    Note { target: target.clone(), child: Child::Member(id.clone()), wanted }
}

/// Writes what differs; none where nothing does.
pub(super) fn update(side: &UserSide, external_id: &ExternalId, wanted: &Attributes) -> Option<Action> {
    let changes = differences(wanted, &side.attributes);
    (!changes.is_empty() || side.external_id != *external_id).then(|| Action::UpdateUser {
        target: side.target.clone(),
        expected: side.version.clone(),
        external_id: external_id.clone(),
        changes,
    })
}
