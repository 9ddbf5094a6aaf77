//! Both records are there: what has to be written so that they agree. Pure.

use jiff::Timestamp;
use shared::fault::Fault;

use super::action::{Action, Plan, Verdict};
use super::communications::plan::Agreement;
use super::conclude::Settling;
use super::link::{Attempt, ConflictField, OpenConflict, Overwritten, PartyLink, Subject};
use super::merge::{Merged, Winner, merge};
use super::notice::{self, Notice};
use super::party::{Field, Party, Salutation};
use super::plan::{Input, Rules, SALUTATION_LEFT, communicate, fresh, no_name, warning, write_entries};
use super::sides::{CrmPatch, CrmSide, RemoteSide, Status};
use crate::guard::MassChange;

/// How two records are compared.
enum Basis {
    /// Field by field with what both last agreed on.
    Agreed(Party),
    /// There is nothing agreed on: one side's record counts as a whole.
    Whole(Winner),
    /// There is nothing agreed on, and both changed since an older integration: every difference is a conflict.
    Unclear,
}

impl Basis {
    fn of(input: &Input<'_>, crm: &CrmSide, remote: &RemoteSide) -> Self {
        let link = input.link.filter(|link| link.bet_nr == remote.bet_nr);
        if let Some((link, base)) = link.and_then(|link| Some((link, link.base.clone()?))) {
            let Some(attempt) = &link.attempt else { return Self::Agreed(base) };
            let theirs = remote.party(Some(&attempt.target), None);
            return Self::Agreed(attempt.bring_forward(&base, &crm.party, &theirs));
        }
        if let Some(intent) = input.intent.filter(|i| i.bet_nr == Some(remote.bet_nr)) {
            let ours = !intent.found || remote.party(None, Some(&intent.party)).masked() == intent.party;
            return if ours { Self::Agreed(intent.party.clone()) } else { Self::Whole(Winner::Crm) };
        }
        if crm.row_id.is_some() {
            return Self::Whole(Winner::Crm);
        }
        // Data of an older integration. A missing time counts as unchanged.
        let since =
            |at: Option<Timestamp>| matches!((at, crm.last_sync), (Some(at), Some(last)) if at > last);
        match (since(crm.modified_at), since(remote.changed_at)) {
            (true, true) => Self::Unclear,
            (false, true) => Self::Whole(Winner::Remote),
            (true, false) | (false, false) => Self::Whole(Winner::Crm),
        }
    }

    /// What both last agreed on.
    fn agreed(&self) -> Option<&Party> {
        if let Self::Agreed(base) = self { Some(base) } else { None }
    }

    fn compare(&self, crm: &Party, remote: &Party, winner: Winner, rules: &Rules) -> Merged {
        let refused = |word: &str| rules.refused_salutations.contains(word);
        let whole = |winner| match winner {
            Winner::Crm => merge(&beaten(remote, crm), crm, remote, winner, &refused),
            Winner::Remote => merge(&beaten(crm, remote), crm, remote, winner, &refused),
        };
        match self {
            Self::Agreed(base) => merge(base, crm, remote, winner, &refused),
            Self::Whole(side) => whole(*side),
            Self::Unclear => {
                let mut merged = whole(winner);
                merged.conflicts = [merged.to_crm.clone(), merged.to_remote.clone()].concat();
                merged
            }
        }
    }
}

/// The record that loses as the base, so that only the winner's differs from it. An empty salutation says nothing
/// about one that the winner's system has no word for: that is left as it is.
fn beaten(loser: &Party, winner: &Party) -> Party {
    let foreign = matches!(loser.salutation, Some(Salutation::CrmOnly(_) | Salutation::RemoteOnly(_)));
    let salutation = loser.salutation.clone().filter(|_| !(foreign && winner.salutation.is_none()));
    Party { salutation, ..loser.clone() }
}

pub(super) fn agree(input: &Input<'_>, crm: &CrmSide, remote: &RemoteSide) -> Result<Plan, Fault> {
    let basis = Basis::of(input, crm, remote);
    let theirs = remote.party(basis.agreed(), Some(&crm.party));
    let pair = Pair { input, crm, remote, theirs, basis };
    let before = fresh(input, remote.bet_nr);
    let mut merged = pair.merge(Winner::Crm);
    let mut entries = pair.communicate(&before, Winner::Crm);
    let mut draft = Draft { link: before.clone(), notice: None, conflicts: 0 };
    let mut fields = conflict_fields(&merged.conflicts, &crm.party, &pair.theirs);
    fields.extend(entries.iter().flat_map(|entries| entries.conflicts.iter().cloned()));
    if fields.is_empty() {
        pair.draft_whole(&mut draft, &merged);
        pair.draft_agreement(&mut draft);
    } else {
        let winner = decided(&before, crm, &fields).or_else(|| input.rules.policy.winner(crm, remote));
        let Some(winner) = winner else { return Ok(wait(input, crm, before, fields)) };
        if merged.conflicts.is_empty() {
            pair.draft_whole(&mut draft, &merged);
        }
        merged = pair.merge(winner);
        entries = pair.communicate(&before, winner);
        pair.draft_conflict(&mut draft, fields, winner);
    }
    let named = merged.to_crm.contains(&Field::Name) || merged.to_remote.contains(&Field::Name);
    if named && merged.target.identity.is_blank() {
        return Err(no_name("The name was emptied on one side; the other side's is not emptied for it"));
    }
    Ok(pair.finish(merged, entries, draft, &before))
}

/// Two records, and how they are compared.
struct Pair<'a> {
    input: &'a Input<'a>,
    crm: &'a CrmSide,
    remote: &'a RemoteSide,
    theirs: Party,
    basis: Basis,
}

/// What of the link and the notices is settled before anything is written.
struct Draft {
    link: PartyLink,
    notice: Option<Notice>,
    conflicts: usize,
}

impl Pair<'_> {
    fn merge(&self, winner: Winner) -> Merged {
        self.basis.compare(&self.crm.party, &self.theirs, winner, self.input.rules)
    }

    fn communicate(&self, link: &PartyLink, winner: Winner) -> Option<Agreement> {
        communicate(self.input, self.crm, &self.remote.communications, link, winner)
    }

    fn tell(&self, fields: &[ConflictField], winner: Option<Winner>) -> Option<Notice> {
        notice::decided(self.crm, self.remote.bet_nr, fields, winner, self.input.rules)
    }

    fn draft_conflict(&self, draft: &mut Draft, fields: Vec<ConflictField>, winner: Winner) {
        let open = draft.link.conflict.take();
        let asked = open.as_ref().is_some_and(|open| open.asked);
        draft.link.remember(losers(&fields, winner, self.input.now));
        let conflict = match open {
            // What is left of a conflict that an earlier attempt has begun to resolve.
            Some(open) if open.winner.is_some() && open.covers(&fields) => open,
            _ => OpenConflict { fields, asked, winner: Some(winner) },
        };
        if !asked {
            draft.conflicts = conflict.fields.len();
            draft.notice = self.tell(&conflict.fields, Some(winner));
        }
        draft.link.conflict = Some(conflict);
        if self.basis.agreed().is_none() && draft.link.base.is_none() {
            draft.link.base = Some(self.loser(winner));
        }
    }

    /// One side's record counts as a whole: what it overwrites is kept.
    fn draft_whole(&self, draft: &mut Draft, merged: &Merged) {
        if let Basis::Whole(winner) = self.basis {
            let fields = [merged.to_crm.clone(), merged.to_remote.clone()].concat();
            if !fields.is_empty() {
                let fields = conflict_fields(&fields, &self.crm.party, &self.theirs);
                draft.link.remember(losers(&fields, winner, self.input.now));
                draft.link.base = Some(self.loser(winner));
            }
        }
    }

    fn draft_agreement(&self, draft: &mut Draft) {
        // A conflict that an earlier attempt resolved without getting as far as telling anybody.
        if let Some(open) = draft.link.conflict.as_ref().filter(|open| !open.asked) {
            draft.notice = self.tell(&open.fields, open.winner);
        }
    }

    /// Where there is nothing agreed on, the record that loses is the base: an attempt after this one then sees
    /// the same changes, whatever our own writes have done to the times.
    fn loser(&self, winner: Winner) -> Party {
        match winner {
            Winner::Crm => beaten(&self.theirs, &self.crm.party),
            Winner::Remote => beaten(&self.crm.party, &self.theirs),
        }
    }

    fn problems(&self, entries: Option<&Agreement>) -> Option<Notice> {
        notice::problems(self.crm, Some(self.remote.bet_nr), &entries?.news, self.input.rules)
    }

    /// Whether Advoware's side was changed. A salutation that stays different is no news.
    fn remote_changed(&self, merged: &Merged) -> bool {
        let Some(base) = self.basis.agreed() else { return !merged.to_crm.is_empty() };
        let mut theirs = self.theirs.clone().masked();
        if merged.salutation_left {
            theirs.salutation.clone_from(&base.salutation);
        }
        theirs != base.clone().masked()
    }

    fn finish(
        self,
        merged: Merged,
        entries: Option<Agreement>,
        mut draft: Draft,
        before: &PartyLink,
    ) -> Plan {
        let mut plan = Plan::of(Verdict::Converges, Vec::new());
        plan.conflicts = draft.conflicts;
        let overwrites = overwrites(&merged, &self.crm.party, &self.theirs)
            || entries.as_ref().is_some_and(|entries| entries.overwrites);
        plan.mass_change = overwrites.then_some(MassChange::Overwrite);
        plan.warnings.extend(warning(entries.as_ref()));
        if merged.salutation_left {
            plan.warnings.push(SALUTATION_LEFT);
        }
        // What is about to be written and overwritten, and who has to be told, is kept before it can be lost.
        if !merged.to_crm.is_empty() || !merged.to_remote.is_empty() {
            let (target, to_crm, to_remote) =
                (merged.target.clone(), merged.to_crm.clone(), merged.to_remote.clone());
            draft.link.attempt = Some(Attempt { target, to_crm, to_remote });
            draft.link.base = self.basis.agreed().cloned().or(draft.link.base);
        }
        if let Some(entries) = entries.as_ref().filter(|entries| !entries.is_quiet()) {
            draft.link.communications = entries.begun.clone();
            // Both say the same of the rest: without a base, an edit of it that comes before this run's end would
            // lose as at a first sync.
            draft.link.base.get_or_insert_with(|| merged.base.clone());
        }
        let keep = draft.link != *before;
        if keep {
            plan.actions.push(Action::SaveLink(Box::new(draft.link.clone())));
        }
        let settling = Settling {
            remote_changed: self.remote_changed(&merged)
                || entries.as_ref().is_some_and(|entries| !entries.to_crm.is_empty()),
            expected: expected(&self.theirs, &merged),
            crm: self.crm.clone(),
            base: merged.base,
            target: merged.target.clone(),
            to_crm: merged.to_crm,
            link_stored: keep || self.input.link == Some(&draft.link),
            link: draft.link,
            notices: draft.notice.into_iter().chain(self.problems(entries.as_ref())).collect(),
            communications: entries,
            settle_intent: self.input.intent.is_some(),
        };
        let writes =
            settling.communications.as_ref().map(|entries| entries.writes.as_slice()).unwrap_or_default();
        if merged.to_remote.is_empty() && writes.is_empty() {
            let rest = settling.conclude_unwritten(self.remote, self.input.rules, self.input.now);
            plan.actions.extend(rest);
            return plan;
        }
        // The whole party goes first: it holds fields that show the entries, as they were read.
        let bet_nr = self.remote.bet_nr;
        if !merged.to_remote.is_empty() {
            plan.actions.push(Action::UpdateParty {
                bet_nr,
                target: merged.target,
                fields: merged.to_remote,
            });
        }
        plan.actions.extend(write_entries(writes, Some(bet_nr)));
        plan.actions.push(Action::ReadBack);
        plan.settling = Some(Box::new(settling));
        plan
    }
}

/// Who wins, where that is decided already: by an attempt that did not reach its end, or by a person who was
/// asked and has cleared the status (what EspoCRM says now is their decision).
fn decided(link: &PartyLink, crm: &CrmSide, fields: &[ConflictField]) -> Option<Winner> {
    let open = link.conflict.as_ref()?;
    if open.winner.is_some() && open.covers(fields) {
        return open.winner;
    }
    let cleared = matches!(crm.status, None | Some(Status::Clean | Status::Dirty | Status::PendingSync));
    (open.asked && cleared).then_some(Winner::Crm)
}

/// Nothing is written but the question.
fn wait(input: &Input<'_>, crm: &CrmSide, mut link: PartyLink, fields: Vec<ConflictField>) -> Plan {
    let mut plan = Plan::of(Verdict::Waits, Vec::new());
    let asked = link.conflict.as_ref().is_some_and(|open| open.asked && open.fields == fields);
    if !asked {
        plan.conflicts = fields.len();
        link.conflict = Some(OpenConflict { fields: fields.clone(), asked: false, winner: None });
        if input.link != Some(&link) {
            plan.actions.push(Action::SaveLink(Box::new(link.clone())));
        }
    }
    if crm.status != Some(Status::Conflict) {
        plan.actions.push(Action::UpdateRecord(CrmPatch {
            error: Some(Some(notice::waiting_text(&fields))),
            bet_nr: (crm.bet_nr != Some(link.bet_nr)).then_some(link.bet_nr),
            ..CrmPatch::of(Status::Conflict)
        }));
    }
    if !asked {
        let told = notice::asked(crm, link.bet_nr, &fields, input.rules);
        plan.actions.extend(told.map(Action::Notify));
        link.conflict = Some(OpenConflict { fields, asked: true, winner: None });
        link.schedule(input.rules.look_again, false, input.now);
        plan.actions.push(Action::SaveLink(Box::new(link)));
    } else {
        link.schedule(input.rules.look_again, false, input.now);
        if input.link != Some(&link) {
            plan.actions.push(Action::SaveLink(Box::new(link)));
        }
    }
    plan
}

fn conflict_fields(fields: &[Field], crm: &Party, remote: &Party) -> Vec<ConflictField> {
    let whole = crm.identity.kind != remote.identity.kind;
    let shown = |party: &Party, field| match (field, &party.identity.first_name) {
        (Field::Name, Some(first)) if whole => {
            Some([first, party.identity.name.as_deref().unwrap_or_default()].join(" ").trim().to_owned())
        }
        _ => party.text(field),
    };
    fields
        .iter()
        .map(|field| {
            let (crm, remote) = (shown(crm, *field), shown(remote, *field));
            ConflictField { field: Subject::Field(*field), crm, remote }
        })
        .collect()
}

/// The values that lose, for the history. An empty one is nothing to keep.
fn losers(fields: &[ConflictField], winner: Winner, now: Timestamp) -> Vec<Overwritten> {
    let of = |system, field, lost: &Option<String>, by: &Option<String>| {
        lost.as_ref().map(|lost| Overwritten::new(now, system, field, lost, by.clone()))
    };
    let entry = |f: &ConflictField| match winner {
        Winner::Crm => of("advoware", f.field, &f.remote, &f.crm),
        Winner::Remote => of("espocrm", f.field, &f.crm, &f.remote),
    };
    fields.iter().filter_map(entry).collect()
}

/// What Advoware holds after the write, if nobody else writes.
fn expected(theirs: &Party, merged: &Merged) -> Party {
    let mut party = theirs.clone();
    merged.to_remote.iter().for_each(|field| party.take(*field, &merged.target));
    party.identity.kind = merged.target.identity.kind;
    party.masked()
}

/// Whether a value that is there would be replaced or emptied, on either side.
fn overwrites(merged: &Merged, crm: &Party, remote: &Party) -> bool {
    merged.to_crm.iter().any(|field| crm.text(*field).is_some())
        || merged.to_remote.iter().any(|field| remote.text(*field).is_some())
}
