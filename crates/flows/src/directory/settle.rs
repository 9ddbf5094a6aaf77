//! One run: goes on until its plan is over. Looks up what the plan asks for, takes its leases, asks the mass-change guard,
//! does the steps in order, and plans again.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use jiff::Timestamp;
use shared::fault::{Fault, FaultKind};
use shared::flow::Run;
use shared::link::Stored;
use shared::names::ODDITIES;
use shared::ports::state::Fence;
use shared::record_key::RecordKey;

use super::action::{Action, Look, Oddity, Plan, Refusal, Verdict};
use super::deciding::Mode;
use super::documents::Documents;
use super::flow::DirectoryFlow;
use super::ids::{DepartmentId, ExternalId, MemberId, TargetId};
use super::key::{Key, Subject};
use super::known::{Answer, Done, Known, Read};
use super::leases::Leases;
use super::link::{Below, DepartmentLink, MemberLink, Note};
use super::plan::plan;
use super::rules::Rules;
use super::target::{MembersWritten, UserWritten};

/// Passes of one run: more is a plan without end.
const PASSES_MAX: u32 = 10_000;
/// Look-ups that are sent at once.
const LOOKS_AT_ONCE: usize = 8;

/// What a run begins with. Links come with the versions that they were read at, so that they can be saved.
#[derive(Debug, Clone, Default)]
pub(super) struct Seed {
    known: Known,
    departments: BTreeMap<DepartmentId, Option<u64>>,
    members: BTreeMap<MemberId, Option<u64>>,
    notes: BTreeMap<(DepartmentId, TargetId), u64>,
}

impl Seed {
    /// Takes what a list says, of WeCom or the target.
    pub(super) fn learn(&mut self, answer: Answer) {
        self.known.learn(answer);
    }

    /// Takes what WeCom's lists say, read a while ago.
    pub(super) fn learn_listed(&mut self, answer: Answer) {
        self.known.learn_listed(answer);
    }

    /// Takes the link of a department as it was read.
    pub(super) fn learn_department_link(&mut self, id: DepartmentId, stored: Option<Stored<DepartmentLink>>) {
        self.departments.insert(id, stored.as_ref().map(|stored| stored.version));
        self.known.learn(Answer::DepartmentLink(id, stored.map(|stored| stored.link)));
    }

    /// Takes the link of a member as it was read.
    pub(super) fn learn_member_link(&mut self, id: &MemberId, stored: Option<Stored<MemberLink>>) {
        self.members.insert(id.clone(), stored.as_ref().map(|stored| stored.version));
        self.known.learn(Answer::MemberLink(id.clone(), stored.map(|stored| Box::new(stored.link))));
    }

    pub(super) fn known(&self) -> &Known {
        &self.known
    }

    pub(super) fn known_mut(&mut self) -> &mut Known {
        &mut self.known
    }

    fn learn_notes(&mut self, id: DepartmentId, notes: Vec<Stored<Note>>) {
        let versions = notes.iter().map(|stored| ((id, stored.link.target.clone()), stored.version));
        self.notes.extend(versions);
        self.known.learn(Answer::Notes(id, notes.into_iter().map(|stored| stored.link).collect()));
    }

    pub(super) fn take(&mut self, found: Found) {
        match found {
            Found::Answer(answer) => self.known.learn(answer),
            Found::DepartmentLink(id, stored) => self.learn_department_link(id, stored),
            Found::MemberLink(id, stored) => self.learn_member_link(&id, stored.map(|stored| *stored)),
            Found::Notes(id, notes) => self.learn_notes(id, notes),
        }
    }

    /// The link of a department as it was looked up, and its version.
    fn department(&self, id: DepartmentId) -> Result<(Option<&DepartmentLink>, Option<u64>), Fault> {
        match (self.known.department_link(id), self.departments.get(&id)) {
            (Ok(link), Some(version)) => Ok((link, *version)),
            _ => Err(not_looked_up(&Key::Department(id))),
        }
    }

    fn member(&self, id: &MemberId) -> Result<(Option<&MemberLink>, Option<u64>), Fault> {
        match (self.known.member_link(id), self.members.get(id)) {
            (Ok(link), Some(version)) => Ok((link, *version)),
            _ => Err(not_looked_up(&Key::Member(id.clone()))),
        }
    }
}

fn not_looked_up(key: &Key) -> Fault {
    Fault::bug("link_not_looked_up", format!("The link of {key} was to be saved before it was read."))
}

/// What a look-up found.
#[derive(Debug)]
pub(super) enum Found {
    Answer(Answer),
    DepartmentLink(DepartmentId, Option<Stored<DepartmentLink>>),
    MemberLink(MemberId, Option<Box<Stored<MemberLink>>>),
    Notes(DepartmentId, Vec<Stored<Note>>),
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settled {
    /// How it stands: never [`Verdict::GoesOn`], [`Verdict::Parks`] or [`Verdict::Refused`], which are faults.
    pub verdict: Verdict,
    /// What was done.
    pub actions: Vec<&'static str>,
    /// What somebody should know of.
    pub oddities: Vec<Oddity>,
}

struct Settling<'a> {
    flow: &'a DirectoryFlow,
    run: &'a Run,
    key: &'a Key,
    mode: Mode,
    rules: &'a Rules,
    now: Timestamp,
    leases: &'a Leases<'a>,
    seed: Seed,
    actions: Vec<&'static str>,
    /// At leases that others have.
    looks: u32,
}

impl DirectoryFlow {
    /// Brings what a key is about in line, with what is known already. `run` says why and under which sweep; its own key
    /// may be another one. A [`FaultKind::Conflict`] is for beginning anew, with nothing known of our store or the target.
    pub(super) async fn settle(
        &self,
        run: &Run,
        key: &Key,
        mode: Mode,
        seed: Seed,
    ) -> Result<Settled, Fault> {
        let leases = Leases::new(&*self.state, &*run.clock, key, self.settings.lease_ttl);
        let (rules, now, actions) = (self.rules().await?, run.clock.now(), Vec::new());
        let settling =
            Settling { flow: self, run, key, mode, rules, now, leases: &leases, seed, actions, looks: 0 };
        // When a lease is lost, what is under way is dropped with the future.
        let result = tokio::select! {
            biased;
            result = settling.go() => result,
            lost = leases.keep() => Err(lost),
        };
        leases.give_back().await;
        result
    }

    /// Answers what a plan asks for. `key` is what the run is about: it fails where WeCom does not answer about that.
    pub(super) async fn look_up(&self, key: &Key, looks: &[Look]) -> Result<Vec<Found>, Fault> {
        let mut found = Vec::with_capacity(looks.len());
        let links = looks.iter().filter_map(|look| match look {
            Look::DepartmentLink(id) => Some(*id),
            _ => None,
        });
        let links: Vec<DepartmentId> = links.collect();
        if links.len() > 1 {
            let stored = self.documents.department_links(&links).await?;
            found.extend(links.iter().zip(stored).map(|(id, stored)| Found::DepartmentLink(*id, stored)));
        }
        let is_open = |look: &&Look| links.len() <= 1 || !matches!(look, Look::DepartmentLink(_));
        let others: Vec<&Look> = looks.iter().filter(is_open).collect();
        for others in others.chunks(LOOKS_AT_ONCE) {
            found.extend(try_join_all(others.iter().map(|look| self.look_up_one(key, look))).await?);
        }
        Ok(found)
    }

    async fn look_up_one(&self, key: &Key, look: &Look) -> Result<Found, Fault> {
        let documents: &Documents = &self.documents;
        Ok(Found::Answer(match look {
            Look::Department(id) => {
                let read = match self.source.department(*id).await {
                    Err(fault) if *key != Key::Department(*id) && is_about_it(&fault) => Read::Unavailable,
                    read => read?,
                };
                Answer::Department(*id, read)
            }
            Look::Member(id) => Answer::Member(id.clone(), Box::new(self.source.member(id).await?)),
            Look::DepartmentLink(id) => {
                return Ok(Found::DepartmentLink(*id, documents.department_link(*id).await?));
            }
            Look::MemberLink(id) => {
                return Ok(Found::MemberLink(id.clone(), documents.member_link(id).await?.map(Box::new)));
            }
            Look::Notes(id) => {
                return Ok(Found::Notes(*id, documents.notes(*id, self.settings.rules.batch_max).await?));
            }
            Look::Rename(old) => Answer::Rename(old.clone(), documents.rename(old).await?),
            Look::Waiting(id) => Answer::Waiting(id.clone(), documents.waiting(id).await?),
            Look::FindGroup(id) => Answer::FoundGroup(id.clone(), self.target.find_group(id).await?),
            Look::Group(id) => Answer::Group(id.clone(), self.target.group(id).await?),
            Look::FindUser(id) => Answer::FoundUser(id.clone(), self.target.find_user(id).await?),
            Look::SecondUser(id, first) => {
                let second = self.target.second_user(id, first).await?;
                Answer::SecondUser(id.clone(), first.clone(), second)
            }
            Look::User(id) => Answer::User(id.clone(), self.target.user(id).await?),
        }))
    }

    pub(super) fn record_key(&self, key: &Key) -> Result<RecordKey, Fault> {
        self.subject_key(&Subject::One(key.clone()))
    }
}

/// Whether a fault is about what was asked for. All else (the account, its limits) is about every run, and passes.
fn is_about_it(fault: &Fault) -> bool {
    match fault.kind {
        FaultKind::Retryable { .. }
        | FaultKind::Parked
        | FaultKind::Conflict
        | FaultKind::Permanent
        | FaultKind::Bug => true,
        FaultKind::Throttled { .. }
        | FaultKind::Busy { .. }
        | FaultKind::Paused { .. }
        | FaultKind::Unauthorized => false,
    }
}

impl Settling<'_> {
    async fn go(mut self) -> Result<Settled, Fault> {
        for _ in 0..PASSES_MAX {
            let plan = plan(self.key, self.seed.known(), self.rules, self.mode, self.now);
            if self.pass(&plan).await? == Pass::Whole && !plan.goes_on() {
                return self.over(plan);
            }
        }
        let text = format!("The plan of {} does not come to an end in {PASSES_MAX} passes.", self.key);
        Err(Fault::bug("plan_without_end", text))
    }

    async fn pass(&mut self, plan: &Plan) -> Result<Pass, Fault> {
        if !plan.looks.is_empty() {
            for found in self.flow.look_up(self.key, &plan.looks).await? {
                self.seed.take(found);
            }
        }
        if let Some(lease) = &plan.lease {
            self.looks += 1;
            if self.leases.take_or_wait(lease, self.looks).await? {
                self.looks = 0;
                self.seed.known.leased(lease.clone());
            } else {
                self.seed.known.look_again(lease);
            }
        }
        if let Some(change) = plan.mass_change {
            let (sweep, id) = (self.run.sweep_id.as_deref(), self.key.to_string());
            self.flow.guard.permit(sweep, &id, change, self.now).await?;
        }
        self.act(&plan.actions).await
    }

    async fn act(&mut self, actions: &[Action]) -> Result<Pass, Fault> {
        let mut rest = actions;
        while let Some((action, after)) = rest.split_first() {
            let hints = rest.iter().map_while(|action| match action {
                Action::Hint(key) => Some(self.flow.record_key(key)),
                _ => None,
            });
            let hints: Vec<RecordKey> = hints.collect::<Result<_, _>>()?;
            if !hints.is_empty() {
                self.publish(&hints).await?;
                let (hinted, after) = rest.split_at(hints.len());
                hinted.iter().for_each(|action| self.seed.known.done(action, Done::Plain));
                rest = after;
                continue;
            }
            let done = self.step(action).await?;
            let is_whole = !matches!(done, Done::NameTaken | Done::GroupGone);
            self.seed.known.done(action, done);
            if !is_whole {
                return Ok(Pass::Broken);
            }
            if self.actions.last() != Some(&action.name()) {
                self.actions.push(action.name());
            }
            rest = after;
        }
        Ok(Pass::Whole)
    }

    /// The fence for a write of state, while everything still holds under which this is written.
    fn fence(&self) -> Result<Option<Fence>, Fault> {
        self.leases.check()?;
        self.run.guard.fence()
    }

    async fn alone<T>(
        &self,
        record: &TargetId,
        write: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        self.flow.write_alone(self.run, self.leases, record, write).await
    }

    async fn publish(&self, keys: &[RecordKey]) -> Result<(), Fault> {
        self.fence()?;
        self.run.hints.hint(self.run, keys).await
    }

    async fn step(&mut self, action: &Action) -> Result<Done, Fault> {
        let fence = self.fence()?;
        let fence = fence.as_ref();
        let (documents, target) = (&self.flow.documents, &self.flow.target);
        match action {
            Action::SaveDepartment(id, link) => {
                let (before, read) = self.seed.department(*id)?;
                let version = documents.save_department(*id, link, before, read, fence).await?;
                self.seed.departments.insert(*id, Some(version));
            }
            Action::DropDepartment(id) => {
                let (before, read) = self.seed.department(*id)?;
                documents.drop_department(*id, before, read, fence).await?;
                self.seed.departments.insert(*id, None);
            }
            Action::SaveMember(id, link) => {
                let (before, read) = self.seed.member(id)?;
                let version = documents.save_member(id, link, before, read, fence).await?;
                self.seed.members.insert(id.clone(), Some(version));
            }
            Action::DropMember(id) => {
                let (before, read) = self.seed.member(id)?;
                documents.drop_member(id, before, read, fence).await?;
                self.seed.members.insert(id.clone(), None);
            }
            Action::SaveRename { old, new } => documents.save_rename(old, new, fence).await?,
            Action::ForgetRename(old) => documents.forget_rename(old, fence).await?,
            Action::CreateGroup { external_id, name } => {
                return Ok(Done::Group(target.create_group(external_id, name).await?));
            }
            Action::UpdateGroup { target: id, expected, name } => {
                let write = target.update_group(id, expected.as_deref(), name);
                return Ok(Done::Group(self.alone(id, write).await?));
            }
            Action::DeleteGroup { target: id } => target.delete_group(id).await?,
            Action::CreateUser { external_id, attributes } => {
                return Ok(user_done(target.create_user(external_id, attributes).await?));
            }
            Action::UpdateUser { target: id, expected, external_id, changes } => {
                if matches!(external_id, ExternalId::Retired(_)) {
                    tracing::warn!(key = %self.key, "A second user of a member is taken out of use: {id}.");
                }
                let write = target.update_user(id, expected.as_deref(), external_id, changes);
                return Ok(user_done(self.alone(id, write).await?));
            }
            Action::DeleteUser { target: id } => target.delete_user(id).await?,
            Action::ChangeMembers { group, add, remove, .. } => {
                match self.alone(group, target.change_members(group, add, remove)).await? {
                    MembersWritten::Done => {}
                    MembersWritten::GroupGone => return Ok(Done::GroupGone),
                }
            }
            Action::PutNotes(notes) => documents.put_notes(notes, fence).await?,
            Action::ForgetNotes(id, notes) => self.forget_notes(*id, notes, fence).await?,
            Action::PutWaiting { leader, member } => documents.put_waiting(leader, member, fence).await?,
            Action::ForgetWaiting { leader, members } => {
                documents.forget_waiting(leader, members, fence).await?;
            }
            Action::Hint(key) => self.publish(&[self.flow.record_key(key)?]).await?,
            Action::HintReports(leader) => self.hint_reports(leader).await?,
            Action::HintBelow { department, below } => self.hint_below(*department, *below).await?,
        }
        Ok(Done::Plain)
    }

    async fn forget_notes(
        &self,
        id: DepartmentId,
        notes: &[Note],
        fence: Option<&Fence>,
    ) -> Result<(), Fault> {
        let version = |note: &Note| self.seed.notes.get(&(id, note.target.clone())).copied();
        let seen = notes.iter().filter_map(|note| Some((note.target.clone(), version(note)?)));
        let seen: Vec<(TargetId, u64)> = seen.collect();
        self.flow.documents.forget_notes(id, &seen, fence).await
    }

    async fn hint_below(&self, id: DepartmentId, below: Below) -> Result<(), Fault> {
        if below.departments {
            self.hint_departments_below(id).await?;
        }
        if below.members {
            self.hint_members_below(id).await?;
        }
        Ok(())
    }

    async fn hint_departments_below(&self, id: DepartmentId) -> Result<(), Fault> {
        let mut after = None;
        loop {
            let page = self.flow.documents.departments_below(id, after.as_deref()).await?;
            let keys = page.records.iter().map(|(id, _)| self.flow.record_key(&Key::Department(*id)));
            self.publish(&keys.collect::<Result<Vec<_>, _>>()?).await?;
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn hint_members_below(&self, id: DepartmentId) -> Result<(), Fault> {
        let mut after = None;
        loop {
            let page = self.flow.documents.members_below(id, after.as_deref()).await?;
            // Nothing changes any more for who is gone.
            let present = page.records.iter().filter(|(_, stored)| stored.link.ended.is_none());
            let keys = present.map(|(id, _)| self.flow.record_key(&Key::Member(id.clone())));
            self.publish(&keys.collect::<Result<Vec<_>, _>>()?).await?;
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn hint_reports(&self, leader: &MemberId) -> Result<(), Fault> {
        let mut after = None;
        loop {
            let page = self.flow.documents.reports(leader, after.as_deref()).await?;
            let keys = page.records.iter().map(|id| self.flow.record_key(&Key::Leader(id.clone())));
            self.publish(&keys.collect::<Result<Vec<_>, _>>()?).await?;
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    fn over(self, plan: Plan) -> Result<Settled, Fault> {
        for oddity in &plan.oddities {
            tracing::warn!(key = %self.key, "{oddity}");
            self.flow.meter.add(&ODDITIES, &[self.run.key.flow().as_str(), oddity.kind()], 1);
        }
        match plan.verdict {
            Verdict::Parks { awaited } => {
                let text =
                    format!("{awaited} has to be brought in line first, and WeCom does not tell of it yet.");
                Err(Fault::parked("dependency_missing", text, self.flow.record_key(&awaited)?))
            }
            Verdict::Refused(Refusal::NameTaken { member, .. }) => {
                let text = format!(
                    "The user of {member} is not written: an account in {} that is not ours has its login name. \
                     Rename that account or have it deleted, or give the member another login in WeCom; then \
                     replay.",
                    self.flow.target.product()
                );
                Err(Fault::permanent("login_name_taken", text))
            }
            verdict @ (Verdict::Converges | Verdict::Ended | Verdict::Invisible | Verdict::NotCreated) => {
                Ok(Settled { verdict, actions: self.actions, oddities: plan.oddities })
            }
            Verdict::GoesOn => Err(Fault::bug("plan_without_end", "A plan ended that goes on.")),
        }
    }
}

/// How far a pass came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// To its end.
    Whole,
    /// A step was not done as asked for: what follows it is left out.
    Broken,
}

fn user_done(written: UserWritten) -> Done {
    match written {
        UserWritten::Done(side) => Done::User(side),
        UserWritten::NameTaken => Done::NameTaken,
    }
}
