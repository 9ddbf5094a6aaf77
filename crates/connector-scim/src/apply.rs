//! Several operations, by bulk requests or one by one: callers do not see which.

use std::collections::{HashMap, VecDeque};

use futures_util::StreamExt as _;
use http_client::may_have_taken_effect;
use shared::fault::{Fault, FaultKind};

use crate::abilities::BulkLimits;
use crate::bulk::{self, Names};
use crate::client::Scim;
use crate::error::{self, Absence};
use crate::features::Known;
use crate::lists::Key;
use crate::members::MemberChange;
use crate::order::{Chunk, Operation, Order, Target, chunks, order};
use crate::patch::Attributes;
use crate::records::{Created, Written};
use crate::resource::{Kind, Member};

/// What became of one of several operations.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Done; a deletion also of what was not there.
    Done {
        /// The id of what was created, changed or deleted.
        id: String,
        /// Its version now, where the service has versions and says so.
        version: Option<String>,
    },
    /// Another one has the name (409).
    Taken,
    /// What was to be changed is no more.
    Gone,
    /// The service refused it.
    Failed(Fault),
    /// Not done, and not for a reason of its own: the service could not be asked, or what it refers to was not created.
    NotDone(Fault),
    /// Perhaps done: the answer was lost, and what was to be created is not to be found. Look again before it is
    /// repeated.
    Lost(Fault),
}

/// How far a run is.
struct Run<'a> {
    operations: &'a [Operation],
    makers: HashMap<&'a str, usize>,
    ids: HashMap<String, String>,
    outcomes: Vec<Option<Outcome>>,
}

impl<'a> Run<'a> {
    fn new(operations: &'a [Operation], order: &Order) -> Self {
        let mut outcomes = vec![None; operations.len()];
        let mut makers = HashMap::new();
        for (at, operation) in operations.iter().enumerate() {
            if order.stuck.contains(&at) {
                outcomes[at] = Some(Outcome::NotDone(reference_missing()));
            } else if let Some(reference) = operation.reference() {
                makers.insert(reference, at);
            }
        }
        Self { operations, makers, ids: HashMap::new(), outcomes }
    }

    fn is_open(&self, at: usize) -> bool {
        self.outcomes[at].is_none()
    }

    fn set(&mut self, at: usize, outcome: Outcome) {
        if let (Outcome::Done { id, .. }, Some(reference)) = (&outcome, self.operations[at].reference()) {
            self.ids.insert(reference.to_owned(), id.clone());
        }
        self.outcomes[at] = Some(outcome);
    }

    /// Whether what an operation refers to is there, or is made by one of the others that are sent with it.
    fn is_ready(&self, at: usize, beside: &[usize]) -> bool {
        let needs = self.operations[at].needs();
        needs.into_iter().all(|need| {
            self.ids.contains_key(need) || self.makers.get(need).is_some_and(|maker| beside.contains(maker))
        })
    }

    fn id<'b>(&'b self, target: &'b Target) -> Option<&'b str> {
        match target {
            Target::Id(id) => Some(id),
            Target::New(reference) => self.ids.get(reference).map(String::as_str),
        }
    }
}

impl Scim {
    /// Does several things, in an order in which each finds what it refers to: by `POST Bulk`, or one request each, some
    /// side by side. Operations on one resource keep their order. The outcomes are in the order of the operations.
    ///
    /// Nothing is rolled back: what failed is to be planned anew. A create is no safer to repeat than by
    /// [`Self::create_user`]: look up first what may be there. Where an answer is lost, what was to be created is looked
    /// up by its external id.
    ///
    /// # Errors
    /// Where nothing was done, since it could not be found out what the service can: see [`Self::abilities`].
    pub async fn apply(&self, operations: &[Operation]) -> Result<Vec<Outcome>, Fault> {
        let known = self.known().await?;
        let order = order(operations);
        let mut run = Run::new(operations, &order);
        if let Some(limits) = known.abilities.bulk {
            self.apply_in_bulk(known, limits, &order, &mut run).await;
        }
        self.apply_singly(&order, &mut run).await;
        self.look_up_lost(&mut run).await;
        let untold = || Outcome::NotDone(Fault::bug("outcome_missing", "An operation was left out."));
        Ok(run.outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(untold)).collect())
    }

    /// Leaves open what is to be done singly, since the service has no bulk after all.
    async fn apply_in_bulk(&self, known: &Known, limits: BulkLimits, order: &Order, run: &mut Run<'_>) {
        let flat: Vec<usize> = order.levels.iter().flatten().copied().collect();
        let mut pending = VecDeque::from(packed(known, limits, &flat, run));
        while known.bulk.is_on()
            && let Some(chunk) = pending.pop_front()
        {
            match chunk {
                Chunk::Single(at) => self.apply_one(at, run).await,
                Chunk::Bulk(part) => {
                    let too_many = self.apply_chunk(known, &part, run).await;
                    if too_many {
                        let rest = pending.drain(..).flat_map(places);
                        let flat: Vec<usize> = part.into_iter().chain(rest).collect();
                        pending = packed(known, limits, &flat, run).into();
                    }
                }
            }
        }
    }

    /// Sends one bulk request. Answers whether it was too large, and can be tried in parts.
    async fn apply_chunk(&self, known: &Known, part: &[usize], run: &mut Run<'_>) -> bool {
        let mut sent: Vec<usize> = Vec::with_capacity(part.len());
        for at in part {
            if run.is_ready(*at, &sent) {
                sent.push(*at);
            } else {
                run.set(*at, Outcome::NotDone(reference_failed()));
            }
        }
        if sent.is_empty() {
            return false;
        }
        let names = Names { ids: &run.ids, makers: &run.makers };
        let wires: Vec<_> =
            sent.iter().map(|at| bulk::wire(*at, &run.operations[*at], &known.abilities, &names)).collect();
        let tried = self.try_feature(&known.bulk, bulk::request(&wires), error::lacks_bulk).await;
        let read = match tried {
            Ok(None) => return false,
            Ok(Some(answer)) if error::is_too_much(&answer) && known.operations.too_many(sent.len()) => {
                return true;
            }
            // Nothing was done. Sent singly, each tells what is wrong with it.
            Ok(Some(answer)) if matches!(answer.status(), 400 | 413) => {
                for at in sent {
                    self.apply_one(at, run).await;
                }
                return false;
            }
            Ok(Some(answer)) => self.good(&answer).and_then(|answer| bulk::read(answer, &sent)),
            Err(fault) => Err(fault),
        };
        match read {
            Ok(results) => {
                for (at, result) in sent.iter().zip(results) {
                    let outcome = outcome(&run.operations[*at], result, run.is_ready(*at, &[]), run);
                    run.set(*at, outcome);
                }
            }
            Err(fault) => sent.iter().for_each(|at| run.set(*at, undone(fault.clone()))),
        }
        false
    }

    async fn apply_singly(&self, order: &Order, run: &mut Run<'_>) {
        for level in &order.levels {
            let open: Vec<usize> = level.iter().copied().filter(|at| run.is_open(*at)).collect();
            let shared = &*run;
            let doing = open.iter().map(|at| self.one(*at, shared));
            let doing = futures_util::stream::iter(doing).buffered(self.sizes().parallel_max.max(1));
            let outcomes: Vec<Outcome> = doing.collect().await;
            for (at, outcome) in open.into_iter().zip(outcomes) {
                run.set(at, outcome);
            }
        }
    }

    async fn apply_one(&self, at: usize, run: &mut Run<'_>) {
        let outcome = self.one(at, run).await;
        run.set(at, outcome);
    }

    async fn one(&self, at: usize, run: &Run<'_>) -> Outcome {
        if !run.is_ready(at, &[]) {
            return Outcome::NotDone(reference_failed());
        }
        match &run.operations[at] {
            Operation::CreateUser { user, .. } => self.create_one(Kind::User, &user.0).await,
            Operation::CreateGroup { group, .. } => self.create_one(Kind::Group, &group.0).await,
            Operation::UpdateUser { user, patch } => {
                self.update_one(Kind::User, run.id(user), &patch.0).await
            }
            Operation::UpdateGroup { group, patch } => {
                self.update_one(Kind::Group, run.id(group), &patch.0).await
            }
            Operation::AddMembers { group, members } => {
                let Some(group) = run.id(group) else { return Outcome::NotDone(reference_failed()) };
                let member = |(kind, target): &(Kind, Target)| {
                    Some(Member { id: run.id(target)?.to_owned(), kind: Some(*kind) })
                };
                let add = members.iter().filter_map(member).collect();
                let change = MemberChange { add, remove: Vec::new() };
                written(group, self.change_members(group, &change).await)
            }
            Operation::DeleteUser { id } => deleted(id, self.delete_user(id).await),
            Operation::DeleteGroup { id } => deleted(id, self.delete_group(id).await),
        }
    }

    async fn create_one(&self, kind: Kind, attributes: &Attributes) -> Outcome {
        match self.create(kind, attributes).await {
            Ok(Created::Done(made)) => {
                Outcome::Done { id: made.id().to_owned(), version: made.version().map(str::to_owned) }
            }
            Ok(Created::Taken) => Outcome::Taken,
            Err(fault) => undone(fault),
        }
    }

    async fn update_one(&self, kind: Kind, id: Option<&str>, attributes: &Attributes) -> Outcome {
        match id {
            Some(id) => written(id, self.update(kind, id, None, attributes).await),
            None => Outcome::NotDone(reference_failed()),
        }
    }

    /// Looks for what may have been created though the answer was lost.
    async fn look_up_lost(&self, run: &mut Run<'_>) {
        let lost: Vec<(usize, Kind, String)> = (0..run.operations.len())
            .filter(|at| matches!(run.outcomes[*at], Some(Outcome::Lost(_))))
            .filter_map(|at| {
                let (kind, attributes) = match &run.operations[at] {
                    Operation::CreateUser { user, .. } => (Kind::User, &user.0),
                    Operation::CreateGroup { group, .. } => (Kind::Group, &group.0),
                    Operation::UpdateUser { .. }
                    | Operation::UpdateGroup { .. }
                    | Operation::AddMembers { .. }
                    | Operation::DeleteUser { .. }
                    | Operation::DeleteGroup { .. } => return None,
                };
                Some((at, kind, attributes.text("externalId")?.to_owned()))
            })
            .collect();
        for (at, kind, external_id) in lost {
            let found = match self.find(kind, Key::external_id(&external_id)).await {
                Ok(found) => found,
                // Where one cannot be asked for, the others cannot either; they stay lost.
                Err(_) => return,
            };
            if let [one] = found.as_slice() {
                let version = one.version().map(str::to_owned);
                run.set(at, Outcome::Done { id: one.id().to_owned(), version });
            }
        }
    }
}

fn packed(known: &Known, limits: BulkLimits, flat: &[usize], run: &Run<'_>) -> Vec<Chunk> {
    let names = Names { ids: &run.ids, makers: &run.makers };
    let (patch, members_max) = (known.patch.is_on(), known.members.get());
    let bytes = |at: usize| {
        let operation = &run.operations[at];
        let possible = bulk::is_possible(operation, patch, members_max);
        possible.then(|| bulk::bytes(&bulk::wire(at, operation, &known.abilities, &names)))
    };
    let bytes_max = bulk::bytes_max(limits.payload_bytes_max);
    chunks(flat, bytes, |at| run.operations[at].target(), known.operations.get(), bytes_max)
}

fn places(chunk: Chunk) -> Vec<usize> {
    match chunk {
        Chunk::Bulk(part) => part,
        Chunk::Single(at) => vec![at],
    }
}

/// What an operation of a bulk request came to. `is_ready`: what it refers to is there.
fn outcome(operation: &Operation, result: Option<bulk::Result>, is_ready: bool, run: &Run<'_>) -> Outcome {
    let Some(result) = result else {
        let text = "The SCIM service's answer to a bulk request says nothing about this operation; tried again later.";
        return Outcome::Lost(Fault::retryable("bulk_incomplete", text));
    };
    let deletes = matches!(operation, Operation::DeleteUser { .. } | Operation::DeleteGroup { .. });
    let target = operation.target().and_then(|(_, target)| run.id(&target).map(str::to_owned));
    let answer = &result.answer;
    match answer.status() {
        _ if answer.is_success() => match target.or(result.id) {
            Some(id) => Outcome::Done { id, version: result.version },
            None => Outcome::Lost(answer.unreadable("no location in an operation of a bulk request")),
        },
        _ if !is_ready => Outcome::NotDone(reference_failed()),
        409 => Outcome::Taken,
        // Within a bulk answer it is the service that says so, with or without a reason.
        404 | 410 if deletes => Outcome::Done { id: target.unwrap_or_default(), version: None },
        404 | 410 if target.is_some() && error::absence(answer) != Absence::No => Outcome::Gone,
        _ => undone(error::fault(answer)),
    }
}

fn written(id: &str, written: Result<Written, Fault>) -> Outcome {
    match written {
        Ok(Written::Done { version }) => Outcome::Done { id: id.to_owned(), version },
        Ok(Written::Gone) => Outcome::Gone,
        Ok(Written::Taken) => Outcome::Taken,
        Ok(Written::Changed) => {
            let text = "A resource at the SCIM service was changed by others each time it was to be written.";
            Outcome::Failed(Fault::new(FaultKind::Conflict, "modified", text))
        }
        Err(fault) => undone(fault),
    }
}

fn deleted(id: &str, deleted: Result<(), Fault>) -> Outcome {
    match deleted {
        Ok(()) => Outcome::Done { id: id.to_owned(), version: None },
        Err(fault) => undone(fault),
    }
}

fn undone(fault: Fault) -> Outcome {
    // A 501 is a 5xx that says that nothing was done.
    if may_have_taken_effect(&fault) && fault.code != "not_supported" {
        return Outcome::Lost(fault);
    }
    match fault.kind {
        FaultKind::Permanent | FaultKind::Conflict | FaultKind::Bug => Outcome::Failed(fault),
        FaultKind::Retryable { .. }
        | FaultKind::Throttled { .. }
        | FaultKind::Busy { .. }
        | FaultKind::Paused { .. }
        | FaultKind::Parked
        | FaultKind::Unauthorized => Outcome::NotDone(fault),
    }
}

fn reference_missing() -> Fault {
    let text =
        "An operation refers to something that no other one creates, or creates what another one creates.";
    Fault::bug("reference_missing", text)
}

fn reference_failed() -> Fault {
    Fault::retryable(
        "reference_failed",
        "What this operation refers to was not created; see the other operations.",
    )
}

#[cfg(test)]
mod tests;
