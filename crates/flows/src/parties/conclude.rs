//! The second half of the decision: what is saved and written to EspoCRM once it is known what Advoware holds.
//! Pure, as [`super::plan`].

use jiff::Timestamp;
use shared::clock::elapsed;

use super::action::Action;
use super::communications::plan::Agreement;
use super::link::PartyLink;
use super::notice::Notice;
use super::party::{Field, Party};
use super::plan::Rules;
use super::sides::{CrmPatch, CrmSide, RemoteSide, Status};

/// What a plan knows already about its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Settling {
    /// The CRM record as it was read.
    pub crm: CrmSide,
    /// What both sides will have agreed on.
    pub base: Party,
    /// The source of the values for EspoCRM.
    pub target: Party,
    /// Fields to write to EspoCRM.
    pub to_crm: Vec<Field>,
    /// What Advoware is expected to hold, of the fields mapped for this kind of party.
    pub expected: Party,
    /// The link so far.
    pub link: PartyLink,
    /// Whether the store holds just that.
    pub link_stored: bool,
    /// Who has to be told of what.
    pub notices: Vec<Notice>,
    /// What is written of phone numbers and mail addresses; none where they are not synchronised.
    pub communications: Option<Agreement>,
    /// Whether a create comes to its end.
    pub settle_intent: bool,
    /// Whether Advoware's side was found changed.
    pub remote_changed: bool,
}

/// The rest of the steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Conclusion {
    /// The steps, in order.
    pub actions: Vec<Action>,
    /// Advoware holds something else than what was written: somebody wrote in between, so look at it again.
    pub differs: bool,
}

impl Settling {
    /// What follows after a write, with what was read back.
    pub fn conclude(&self, held: &RemoteSide, rules: &Rules, now: Timestamp) -> Conclusion {
        let party = held.party(None, Some(&self.expected));
        let arrived = |entries: &Agreement| entries.has_arrived(&held.communications.entries);
        let differs = party.masked() != self.expected || !self.communications.as_ref().is_none_or(arrived);
        Conclusion { actions: self.actions(held, true, differs, rules, now), differs }
    }

    /// What follows when there was nothing to write to Advoware.
    pub(super) fn conclude_unwritten(&self, held: &RemoteSide, rules: &Rules, now: Timestamp) -> Vec<Action> {
        self.actions(held, false, false, rules, now)
    }

    fn actions(
        &self,
        held: &RemoteSide,
        wrote: bool,
        differs: bool,
        rules: &Rules,
        now: Timestamp,
    ) -> Vec<Action> {
        let mut link = self.link.clone();
        link.bet_nr = held.bet_nr;
        // Without a row id the next look compares, whatever it finds there.
        link.row_id = if differs { None } else { held.row_id.clone() };
        link.base = Some(self.base.clone());
        if let (Some(entries), Some(kinds)) = (&self.communications, &rules.communications) {
            link.communications = entries.memory(&held.communications.entries, kinds);
        }
        link.conflict = None;
        link.attempt = None;
        link.gone = None;
        link.tombstone = None;
        link.schedule(rules.look_again, self.remote_changed || differs, now);
        let save = (!self.link_stored || link != self.link).then(|| Action::SaveLink(Box::new(link)));
        let update = self.patch(held, wrote, differs, rules, now).map(Action::UpdateRecord);
        let notify: Vec<Action> = self.notices.iter().cloned().map(Action::Notify).collect();
        let (update, save): (Vec<_>, Vec<_>) = (update.into_iter().collect(), save.into_iter().collect());
        // The base is saved after the write that makes it true, else a lost write would look like an edit.
        // A write of nothing but the status comes after the base, so that its loss costs no memory.
        let ordered = if self.writes_content() { [update, notify, save] } else { [notify, save, update] };
        let settle = self.settle_intent.then_some(Action::SettleIntent);
        ordered.into_iter().flatten().chain(settle).collect()
    }

    /// What is written to EspoCRM's lists.
    pub(super) fn entries_for_crm(&self) -> Option<&Agreement> {
        self.communications.as_ref().filter(|entries| !entries.to_crm.is_empty())
    }

    fn writes_content(&self) -> bool {
        !self.to_crm.is_empty() || self.entries_for_crm().is_some()
    }

    fn patch(
        &self,
        held: &RemoteSide,
        wrote: bool,
        differs: bool,
        rules: &Rules,
        now: Timestamp,
    ) -> Option<CrmPatch> {
        let crm = &self.crm;
        let stale = crm.last_sync.is_none_or(|at| elapsed(at, now) > rules.last_sync_age_max);
        let key_differs = crm.bet_nr != Some(held.bet_nr);
        let needed = wrote
            || stale
            || key_differs
            || (!differs && crm.row_id != held.row_id)
            || self.writes_content()
            || crm.status != Some(Status::Clean)
            || crm.deleted_at.is_some()
            || crm.error.is_some()
            || crm.retry_count != 0;
        let status = if differs { Status::Dirty } else { Status::Clean };
        needed.then(|| CrmPatch {
            content: (!self.to_crm.is_empty()).then(|| (self.target.clone(), self.to_crm.clone())),
            communications: self
                .entries_for_crm()
                .map(|entries| (entries.crm.clone(), entries.to_crm.clone())),
            bet_nr: key_differs.then_some(held.bet_nr),
            row_id: (!differs && crm.row_id != held.row_id).then(|| held.row_id.clone()),
            last_sync: (!differs).then_some(now),
            deleted_at: crm.deleted_at.is_some().then_some(None),
            error: crm.error.is_some().then_some(None),
            retry_count: (crm.retry_count != 0).then_some(0),
            ..CrmPatch::of(status)
        })
    }
}
