//! The first sync as runs of its record: each does tasks for a part of the time that a run may take, writes down how far
//! it is after each, and asks for the next run. A stop costs the task it came in, and that may be repeated.

use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use shared::envelope::Cause;
use shared::fault::{Fault, FaultKind};
use shared::flow::{Outcome, Run};
use shared::record_key::RecordKey;
use tokio::time::Instant;

use super::deciding::Mode;
use super::first_sync::{Finished, FirstSync, Phase, Task};
use super::flow::DirectoryFlow;
use super::ids::DepartmentId;
use super::key::{Key, Subject};
use super::known::{Answer, Read};
use super::leases::Leases;
use super::members_compare::MembersCompared;
use super::patience::Patience;
use super::roll::{Gathered, Roll};
use super::scope::Scope;
use super::settle::{Seed, Settled};
use super::tree::Tree;
use crate::guard::SweepFacts;

/// Held by the run that goes on with it.
const LEASE: &str = "directory/first-sync";
/// Share of the time of a run after which the next one goes on: what is begun by then has time to end.
const PORTIONS: u32 = 3;
/// Departments, or members, in one task.
const TASK_MAX: usize = 100;
/// The same while the record is suspected of ending its workers.
const SUSPECTED_TASK_MAX: usize = 10;
/// How often one is begun anew when another run came between.
const TRIES_MAX: u32 = 3;
/// Attempts after which one that keeps failing is left to a run of its own.
const ATTEMPTS_MAX: u32 = 2;
/// When a run that got further before it failed is tried again.
const AGAIN_AFTER: std::time::Duration = std::time::Duration::from_secs(5);

/// A portion of the first sync.
pub(super) struct Portion<'a> {
    pub(super) flow: &'a DirectoryFlow,
    /// What the portion does is counted under the id of the first sync.
    pub(super) run: Run,
    pub(super) tree: Tree,
    pub(super) scope: Scope,
    roll: Roll,
    /// Departments, or members, in one task.
    pub(super) task_max: usize,
    /// What the next task is about, where it was read already.
    ahead: Option<Gathered>,
    actions: BTreeSet<&'static str>,
}

/// Something to settle, with what WeCom's lists say of it.
pub(super) type Listed = (Key, Vec<Answer>);

impl DirectoryFlow {
    /// Goes on with the first sync, where one is under way.
    pub(super) async fn handle_first_sync(&self, run: &Run) -> Result<Outcome, Fault> {
        let leases = Leases::new(&*self.state, &*run.clock, &Subject::FirstSync, self.settings.lease_ttl);
        let result = tokio::select! {
            biased;
            result = self.go_on(run, &leases) => result,
            lost = leases.keep() => Err(lost),
        };
        leases.give_back().await;
        result
    }

    async fn go_on(&self, run: &Run, leases: &Leases<'_>) -> Result<Outcome, Fault> {
        let nothing = Outcome { converged: true, ..Outcome::default() };
        leases.take_named(LEASE.to_owned()).await?;
        let Some(stored) = self.documents.first_sync().await? else { return Ok(nothing) };
        if stored.link.phase == Phase::Done {
            return Ok(nothing);
        }
        let ends_at = Instant::now() + self.settings.run_time_max / PORTIONS;
        let tree = self.whole_tree().await?;
        // Once is enough: it says how far it is, and asks WeCom for the ids of the whole company.
        let members = match stored.link.members {
            Some(_) => None,
            None => self.source.count_members().await?,
        };
        let mut sync = stored.link.resume(&tree, members, run.clock.now());
        let mut version = self.save_progress(run, leases, &sync, stored.version).await?;
        self.keep_first_sync_facts(&sync).await?;
        let counted = Run { sweep_id: Some(sync.id.clone()), ..run.clone() };
        let scope = Scope::new(&tree, self.rules().await?.hierarchy);
        let (roll, actions) = (Roll::default(), BTreeSet::new());
        let task_max = if run.is_suspect { SUSPECTED_TASK_MAX } else { TASK_MAX };
        let mut portion =
            Portion { flow: self, run: counted, tree, scope, roll, task_max, ahead: None, actions };
        let mut is_further = false;
        while let Some(task) = sync.next(&portion.tree, task_max) {
            if is_further && (run.is_suspect || Instant::now() >= ends_at) {
                let progress = sync.progress(run.clock.now());
                tracing::info!(
                    first_sync.id = sync.id,
                    phase = ?progress.phase,
                    done = progress.done,
                    total = progress.total,
                    per_second = progress.per_second,
                    seconds_left = progress.left.map(|left| left.as_secs()),
                    "The first sync goes on."
                );
                run.guard.fence()?;
                run.hints.hint(run, &[self.first_sync_key()]).await?;
                return Ok(portion.outcome());
            }
            let finished = portion.done(&task, &sync).await.map_err(|fault| at_no_cost(fault, is_further))?;
            is_further = true;
            sync = sync.finished(&task, &portion.tree, &finished, run.clock.now());
            version = self.save_progress(run, leases, &sync, version).await?;
        }
        tracing::info!(
            first_sync.id = sync.id,
            departments = sync.departments,
            members = sync.members,
            odd = sync.odd,
            "The first sync is through."
        );
        Ok(portion.outcome())
    }

    /// Asks for runs of these.
    pub(super) async fn hint_at(&self, run: &Run, keys: impl IntoIterator<Item = Key>) -> Result<(), Fault> {
        let keys: Vec<Key> = keys.into_iter().collect();
        if keys.is_empty() {
            return Ok(());
        }
        let keys: Vec<RecordKey> = keys.iter().map(|key| self.record_key(key)).collect::<Result<_, _>>()?;
        run.guard.fence()?;
        run.hints.hint(run, &keys).await
    }

    /// The departments as a tree. Where WeCom shows none at all, that is no company.
    async fn whole_tree(&self) -> Result<Tree, Fault> {
        let list = self.source.departments().await?;
        for sentence in &list.unreadable {
            tracing::warn!("A department cannot be read: {sentence}");
        }
        let tree = Tree::new(list.records);
        if tree.is_empty() {
            let text = "WeCom shows no department: nothing is synchronised. Give the application its visible scope in \
                        WeCom's administration, then replay.";
            return Err(Fault::permanent("wecom_shows_nothing", text));
        }
        Ok(tree)
    }

    async fn save_progress(
        &self,
        run: &Run,
        leases: &Leases<'_>,
        sync: &FirstSync,
        read: u64,
    ) -> Result<u64, Fault> {
        leases.check()?;
        let fence = run.guard.fence()?;
        let saved = self.documents.save_first_sync(sync, Some(read), fence.as_ref()).await?;
        saved.ok_or_else(|| {
            let text = "The record of the first sync was written by somebody else; this run gives way.";
            Fault::new(FaultKind::Conflict, "first_sync_changed", text)
        })
    }

    /// What is listed is in the target by the time that anything is ended.
    async fn keep_first_sync_facts(&self, sync: &FirstSync) -> Result<(), Fault> {
        let records = sync.departments.saturating_add(sync.members.unwrap_or_default());
        self.guard.keep_facts(&sync.id, &SweepFacts { records, at: sync.begun_at }).await
    }
}

/// A run that got further costs no attempt: only one that stands still comes to its end.
fn at_no_cost(fault: Fault, is_further: bool) -> Fault {
    match fault.kind {
        FaultKind::Retryable { after } if is_further => {
            Fault { kind: FaultKind::Paused { after: after.unwrap_or(AGAIN_AFTER) }, ..fault }
        }
        _ => fault,
    }
}

impl Portion<'_> {
    fn outcome(&self) -> Outcome {
        Outcome { actions: self.actions.iter().copied().collect(), converged: true, look_again_at: None }
    }

    async fn done(&mut self, task: &Task, sync: &FirstSync) -> Result<Finished, Fault> {
        match task {
            Task::Memberships(ids) => self.memberships(ids).await,
            Task::Strays(page) => {
                let mut patience = Patience::of_a_run();
                loop {
                    let result = self.strays(page.as_deref()).await;
                    if !patience.waits_out(result.as_ref().err()).await {
                        break result;
                    }
                }
            }
            Task::Departments(_) | Task::Members(..) | Task::Leaders(..) => {
                self.settle_listed(task, sync).await
            }
        }
    }

    /// Settles what WeCom lists. What the next task is about is read meanwhile, so that the target does not wait for WeCom.
    async fn settle_listed(&mut self, task: &Task, sync: &FirstSync) -> Result<Finished, Fault> {
        let mut roll = std::mem::take(&mut self.roll);
        let Gathered { keys, finished, .. } = match self.ahead.take().filter(|ahead| ahead.is_of(task)) {
            Some(ahead) => ahead,
            None => self.gather(task, &mut roll).await?,
        };
        let after = sync.finished(task, &self.tree, &finished, self.run.clock.now());
        let next = after.next(&self.tree, self.task_max).filter(|next| is_more_of(task, next));
        let reading = async {
            match &next {
                // What hinders this hinders the next task as well, which says so.
                Some(next) if !self.run.is_suspect => self.gather(next, &mut roll).await.ok(),
                _ => None,
            }
        };
        let (settled, ahead) = tokio::join!(self.settle_all(keys), reading);
        (self.roll, self.ahead) = (roll, ahead);
        let (settled, actions) = settled?;
        self.actions.extend(actions);
        Ok(and(settled, finished))
    }

    /// A department and those above it.
    pub(super) fn way_up(&self, id: DepartmentId) -> Vec<Answer> {
        let up = std::iter::successors(Some(id), |id| self.tree.parent(*id));
        let listed = up.filter_map(|id| Some((id, self.tree.get(id)?.clone())));
        listed.map(|(id, department)| Answer::Department(id, Read::Found(department))).collect()
    }

    /// Compares their groups, some at once. Where one fails in a way that passes, those under way are waited for and the task
    /// ends: it is repeated, and what is done by then costs a look.
    async fn memberships(&mut self, ids: &[DepartmentId]) -> Result<Finished, Fault> {
        let at_once = self.flow.settings.first_sync_concurrency_max.max(1);
        let (mut ids, mut under_way) = (ids.iter().copied(), FuturesUnordered::new());
        let (mut finished, mut hints, mut failed) = (Finished::default(), BTreeSet::new(), None);
        loop {
            while failed.is_none() && under_way.len() < at_once {
                let Some(id) = ids.next() else { break };
                under_way.push(compare_listed(self.flow, &self.run, &self.scope, id));
            }
            match under_way.next().await {
                None => break,
                Some((_, Ok(compared))) => {
                    finished.done += 1;
                    if compared.changes > 0 {
                        self.actions.insert("change_members");
                    }
                    hints.extend(compared.hints);
                }
                Some((id, Err(fault))) if is_of_its_own(&fault) || self.may_be_left(&fault) => {
                    tracing::warn!(department = %id, "The first sync leaves a group's members to a run of their own: {fault}");
                    finished.done += 1;
                    finished.odd += 1;
                    hints.insert(Key::Members(id));
                }
                Some((_, Err(fault))) => failed = failed.or(Some(fault)),
            }
        }
        drop(under_way);
        match failed {
            Some(fault) => Err(fault),
            None => {
                self.flow.hint_at(&self.as_sweep(), hints).await?;
                Ok(finished)
            }
        }
    }

    /// Settles them, some at once. Where one fails in a way that passes, those under way are waited for and the task ends:
    /// it is repeated. One that a person has to look at is left to a run of its own.
    async fn settle_all(&self, keys: Vec<Listed>) -> Result<(Finished, BTreeSet<&'static str>), Fault> {
        let at_once = self.flow.settings.first_sync_concurrency_max.max(1);
        let is_single = keys.len() == 1;
        let (mut keys, mut under_way) = (keys.into_iter(), FuturesUnordered::new());
        let (mut finished, mut aside, mut failed) = (Finished::default(), Vec::new(), Vec::new());
        let mut actions = BTreeSet::new();
        loop {
            while failed.iter().all(|(_, fault)| self.may_be_left(fault)) && under_way.len() < at_once {
                let Some((key, answers)) = keys.next() else { break };
                under_way.push(settle_one(self.flow, &self.run, key, answers));
            }
            match under_way.next().await {
                None => break,
                Some((_, Ok(settled))) => {
                    finished.done += 1;
                    finished.odd += u64::from(!settled.oddities.is_empty());
                    actions.extend(settled.actions);
                }
                Some((key, Err(fault))) if is_of_its_own(&fault) => {
                    tracing::warn!(%key, "The first sync leaves one to a run of its own: {fault}");
                    aside.push(key);
                }
                Some((key, Err(fault))) => failed.push((key, fault)),
            }
        }
        drop(under_way);
        // One that fails again and again, where others do not, must not keep the company from its first sync.
        let is_theirs = is_single || finished.done > 0;
        if let Some(at) = failed.iter().position(|(_, fault)| !is_theirs || !self.may_be_left(fault)) {
            let (key, fault) = failed.swap_remove(at);
            return Err(Fault { text: format!("{key}: {}", fault.text), ..fault });
        }
        for (key, fault) in failed {
            tracing::warn!(%key, "The first sync leaves one that keeps failing to a run of its own: {fault}");
            aside.push(key);
        }
        let count = u64::try_from(aside.len()).unwrap_or(u64::MAX);
        self.flow.hint_at(&self.run, aside).await?;
        Ok((Finished { done: finished.done + count, odd: finished.odd + count, ..finished }, actions))
    }

    /// Whether one that failed so may be left to a run of its own: it was tried before.
    fn may_be_left(&self, fault: &Fault) -> bool {
        let costs = matches!(fault.kind, FaultKind::Retryable { .. } | FaultKind::Conflict);
        costs && self.run.attempts_before >= ATTEMPTS_MAX
    }

    /// As the run of a sweep: what is hinted at is looked for in the target as well, and counted.
    pub(super) fn as_sweep(&self) -> Run {
        Run { cause: Cause::Sweep, ..self.run.clone() }
    }
}

/// Whether a task is of the same kind as the one before, so that nothing of that one bears on what it is about.
fn is_more_of(task: &Task, next: &Task) -> bool {
    matches!((task, next), (Task::Members(..), Task::Members(..)) | (Task::Leaders(..), Task::Leaders(..)))
}

fn and(settled: Finished, listed: Finished) -> Finished {
    Finished { odd: settled.odd.saturating_add(listed.odd), done: settled.done, ..listed }
}

/// Whether a fault is of the one that was settled, and not of the fleet or the moment.
fn is_of_its_own(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::Parked | FaultKind::Permanent | FaultKind::Bug)
}

async fn compare_listed(
    flow: &DirectoryFlow,
    run: &Run,
    scope: &Scope,
    id: DepartmentId,
) -> (DepartmentId, Result<MembersCompared, Fault>) {
    let mut patience = Patience::of_a_run();
    loop {
        let result = flow.compare_group(run, Mode::FirstSync, scope, id).await;
        if !patience.waits_out(result.as_ref().err()).await {
            return (id, result);
        }
    }
}

async fn settle_one(
    flow: &DirectoryFlow,
    run: &Run,
    key: Key,
    answers: Vec<Answer>,
) -> (Key, Result<Settled, Fault>) {
    let (mut patience, mut tries, mut is_listed) = (Patience::of_a_run(), 1, true);
    loop {
        let mut seed = Seed::default();
        answers.iter().filter(|_| is_listed).cloned().for_each(|answer| seed.learn_listed(answer));
        let result = flow.settle(run, &key, Mode::FirstSync, seed).await;
        let failed = result.as_ref().err();
        // Maybe with news: what was listed may be old.
        let came_between =
            failed.is_some_and(|fault| matches!(fault.kind, FaultKind::Conflict | FaultKind::Busy { .. }));
        if came_between && tries < TRIES_MAX {
            (tries, is_listed) = (tries + 1, false);
        } else if !patience.waits_out(failed).await {
            return (key, result);
        }
    }
}
