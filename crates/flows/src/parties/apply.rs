//! The steps of a plan, applied one by one. Each asks first whether this run may still write.

use std::collections::BTreeSet;

use connector_advoware::{Communication, Written as Put, may_have_taken_effect};
use connector_espocrm::{EspoId, Record, UserRef};
use shared::fault::{Fault, FaultKind};
use shared::flow::Run;
use shared::intent::{self, Intent};
use shared::labelled;
use shared::link;
use shared::ports::state::{Fence, Write, Written};

use super::action::Action;
use super::communications::{CrmEntry, EntryWrite, RemoteEntry, value};
use super::link::PartyLink;
use super::look::{Look, checked};
use super::notice::Notice;
use super::party::{Field, Party, Salutation};
use super::plan::CreateIntent;
use super::sides::{CrmPatch, CrmSide, RemoteSide};
use super::{Parties, crm_id, map, sweep};

/// A run's progress through its steps.
#[derive(Debug)]
pub(super) struct Steps<'a> {
    parties: &'a Parties,
    run: &'a Run,
    look: Look,
    /// The CRM record's version, where it has one.
    version: Option<u64>,
    /// The key of what is created or written.
    bet_nr: Option<i64>,
    held: Option<RemoteSide>,
    edited: bool,
    applied: Vec<&'static str>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(parties: &'a Parties, run: &'a Run, look: Look, version: Option<u64>) -> Self {
        Self { parties, run, look, version, bet_nr: None, held: None, edited: false, applied: Vec::new() }
    }

    /// What was read back.
    pub(super) fn read_back(&mut self) -> Result<RemoteSide, Fault> {
        self.held.take().ok_or_else(|| Fault::bug("not_read_back", "A write to Advoware was not read back."))
    }

    /// Whether somebody edited the CRM record between our read and our write.
    pub(super) fn edited(&self) -> bool {
        self.edited
    }

    /// Sets the CRM record's version, after another write of ours.
    pub(super) fn set_version(&mut self, version: Option<u64>) {
        self.version = version;
    }

    /// The link as it stands now.
    pub(super) fn link(&self) -> Option<&PartyLink> {
        self.look.link.as_ref()
    }

    /// The upstream writes that were applied, by kind.
    pub(super) fn into_applied(self) -> Vec<&'static str> {
        self.applied
    }

    /// Applies steps in order.
    pub(super) async fn apply(&mut self, actions: &[Action]) -> Result<(), Fault> {
        for action in actions {
            let fence = self.run.guard.fence()?;
            let (before, after) = labels(action);
            labelled::reach(before);
            self.step(action, fence.as_ref()).await?;
            labelled::reach(after);
            if action.is_upstream_write() {
                self.applied.push(action.name());
            }
        }
        Ok(())
    }

    async fn step(&mut self, action: &Action, fence: Option<&Fence>) -> Result<(), Fault> {
        match action {
            Action::DeclareIntent(intent) => self.declare(intent.clone(), fence).await,
            Action::CreateParty(party) => self.create(party, fence).await,
            Action::KeepKey(party) => self.keep_key(party, fence).await,
            Action::UpdateParty { bet_nr, target, fields } => self.put(*bet_nr, target, fields).await,
            Action::WriteEntry { bet_nr, write } => self.write_entry(*bet_nr, write).await,
            Action::ReadBack => self.get().await,
            Action::UpdateRecord(patch) => self.patch(patch).await,
            Action::Notify(notice) => self.notify(notice).await,
            Action::SaveLink(link) => self.save(link, fence).await,
            Action::SettleIntent => Ok(intent::settle(&*self.parties.state, &self.run.key, fence).await?),
        }
    }

    async fn declare(&self, what: CreateIntent, fence: Option<&Fence>) -> Result<(), Fault> {
        let intent = Intent { what, at: self.run.clock.now() };
        Ok(intent::declare(&*self.parties.state, &self.run.key, &intent, fence).await?)
    }

    async fn create(&mut self, party: &Party, fence: Option<&Fence>) -> Result<(), Fault> {
        let fields = map::remote_create(party, &self.parties.table);
        match self.parties.advoware.create(&fields).await {
            Ok(bet_nr) => {
                self.bet_nr = Some(bet_nr.get());
                Ok(())
            }
            Err(fault) => {
                if !may_have_taken_effect(&fault) {
                    // Certainly nothing was created, so there is nothing to search for.
                    intent::settle(&*self.parties.state, &self.run.key, fence).await?;
                }
                Err(fault)
            }
        }
    }

    async fn keep_key(&mut self, party: &Party, fence: Option<&Fence>) -> Result<(), Fault> {
        let bet_nr = self.key()?;
        if !self.parties.take_claim(self.run, bet_nr).await? {
            // Another run took it for its own lost create. The search that follows finds what that one left.
            let text = format!("Party {bet_nr}, created just now, was linked to another record.");
            return Err(Fault::new(FaultKind::Conflict, "bet_nr_taken", text));
        }
        self.declare(CreateIntent { party: party.clone(), bet_nr: Some(bet_nr), found: false }, fence).await
    }

    async fn put(&mut self, bet_nr: i64, target: &Party, fields: &[Field]) -> Result<(), Fault> {
        let Some(party) = self.look.party.take() else {
            return Err(Fault::bug("not_read", "A party was to be written that was not read."));
        };
        let patch = map::remote_patch(target, fields, &self.parties.table);
        match self.parties.advoware.put(&party.merged(&patch)).await? {
            Put::Yes => {
                self.bet_nr = Some(bet_nr);
                Ok(())
            }
            Put::Gone => Err(gone_meanwhile(bet_nr)),
        }
    }

    /// A create whose answer is lost is found by its mark when the party is read again, before any other create.
    async fn write_entry(&mut self, bet_nr: Option<i64>, write: &EntryWrite) -> Result<(), Fault> {
        self.bet_nr = bet_nr.or(self.bet_nr);
        let bet_nr = self.key()?;
        let (key, advoware) = (checked(bet_nr)?, &self.parties.advoware);
        let written = match write {
            EntryWrite::Create { kind, value, remark, online } => {
                let fields = map::communication_fields(value, remark, *online);
                advoware.create_communication(key, *kind, &fields).await?
            }
            EntryWrite::Update(RemoteEntry { id, value, remark, online }) => {
                let fields = map::communication_fields(value, remark, *online);
                advoware.put_communication(key, &Communication { id: *id, fields }).await?
            }
        };
        match written {
            Put::Yes => Ok(()),
            Put::Gone => {
                let text =
                    format!("An entry of party {bet_nr}, or the party, was removed from Advoware meanwhile.");
                Err(Fault::new(FaultKind::Conflict, "gone_meanwhile", text))
            }
        }
    }

    async fn get(&mut self) -> Result<(), Fault> {
        let bet_nr = self.key()?;
        let Some(party) = self.parties.advoware.get(checked(bet_nr)?).await? else {
            return Err(gone_meanwhile(bet_nr));
        };
        self.held =
            Some(map::remote_side(&party, &self.parties.table, self.parties.rules.communications.as_ref())?);
        Ok(())
    }

    async fn patch(&mut self, patch: &CrmPatch) -> Result<(), Fault> {
        let parties = self.parties;
        let id = crm_id(&self.run.key)?;
        if (patch.content.is_some() || patch.communications.is_some()) && self.version.is_none() {
            self.check_unedited(&id).await?;
        }
        let written =
            parties.crm.update(&parties.entity_type, &id, &map::crm_patch(patch), self.version).await;
        match written.map_err(|fault| self.explain(fault, patch))? {
            Some(record) => {
                self.version = record.version();
                self.edited |= self.was_edited(&record, patch)?;
                self.confirm(&id, patch).await
            }
            None => {
                let text = format!("{} {id} was deleted in EspoCRM meanwhile.", parties.entity_type);
                Err(Fault::new(FaultKind::Conflict, "deleted_meanwhile", text))
            }
        }
    }

    /// Without versions EspoCRM cannot refuse to overwrite what a person wrote since the record was read: so it is
    /// read once more, right before.
    async fn check_unedited(&self, id: &EspoId) -> Result<(), Fault> {
        let parties = self.parties;
        let Some(record) = parties.crm.get(&parties.entity_type, id).await? else { return Ok(()) };
        let present = map::crm_side(&record, &parties.table, parties.rules.communications.as_ref())?;
        let same = |crm: &CrmSide| crm.party == present.party && crm.communications == present.communications;
        if self.look.crm.as_ref().is_some_and(|crm| !same(crm)) {
            let text = format!("{} {id} was edited in EspoCRM meanwhile.", parties.entity_type);
            return Err(Fault::new(FaultKind::Conflict, "edited_meanwhile", text));
        }
        Ok(())
    }

    /// The answer to a write can show phone numbers and mail addresses from before it, so they are read once more.
    async fn confirm(&mut self, id: &EspoId, patch: &CrmPatch) -> Result<(), Fault> {
        let Some((entries, classes)) = &patch.communications else { return Ok(()) };
        let (parties, Some(kinds)) = (self.parties, &self.parties.rules.communications) else {
            return Ok(());
        };
        let Some(record) = parties.crm.get(&parties.entity_type, id).await? else { return Ok(()) };
        let compared = |entries: &[CrmEntry]| -> BTreeSet<_> {
            let written = entries.iter().filter(|entry| classes.contains(&entry.class));
            written.map(|e| (value::key(&e.value, kinds.country), e.primary, e.opt_out, e.invalid)).collect()
        };
        self.edited |= compared(&map::crm_communications(&record)?) != compared(entries);
        Ok(())
    }

    /// Whether EspoCRM's answer shows content that was neither read nor written: somebody's edit in between.
    fn was_edited(&self, record: &Record, patch: &CrmPatch) -> Result<bool, Fault> {
        let Some(crm) = &self.look.crm else { return Ok(false) };
        let mut expected = crm.party.clone();
        if let Some((party, fields)) = &patch.content {
            if fields.contains(&Field::Name) && expected.identity.kind != party.identity.kind {
                expected.identity = party.identity.clone();
            }
            fields.iter().for_each(|field| expected.take(*field, party));
        }
        Ok(map::crm_party(record, &self.parties.table)? != expected)
    }

    /// EspoCRM refuses values that are no options of its enums, and names the field only.
    fn explain(&self, fault: Fault, patch: &CrmPatch) -> Fault {
        let Some((party, _)) = &patch.content else { return fault };
        let refused = |field: &str| {
            fault.code == "validation_failed" && fault.text.contains(&format!("the field {field} "))
        };
        if refused("rechtsform")
            && let Some(value) = &party.legal_form
        {
            let text = format!(
                "The legal form \"{value}\" is no option of {}.rechtsform in EspoCRM. Add it there, or correct \
                 rechtsform of the party in Advoware.",
                self.parties.entity_type
            );
            return Fault { text, code: "legal_form_unknown", ..fault };
        }
        if refused("salutationName")
            && let Some(Salutation::Known(word)) = &party.salutation
        {
            self.parties.learn_refused(word);
            let text = format!("EspoCRM has no salutation \"{word}\"; it is left as it is.");
            return Fault { text, kind: FaultKind::Conflict, code: "salutation_unknown", ..fault };
        }
        fault
    }

    /// A notice that cannot be delivered at all does not hold the record up.
    async fn notify(&self, notice: &Notice) -> Result<(), Fault> {
        match self.parties.tell(notice).await {
            Err(fault) if fault.kind == FaultKind::Permanent => {
                let id = self.run.key.id();
                tracing::warn!(record.id = id, error.type = fault.code, "nobody could be told of a conflict: {fault}");
                Ok(())
            }
            other => other,
        }
    }

    async fn save(&mut self, link: &PartyLink, fence: Option<&Fence>) -> Result<(), Fault> {
        let (state, key) = (&*self.parties.state, &self.run.key);
        let due = |link: &PartyLink| link.due_at.map(|at| sweep::due_key(at, key.id()));
        let (before, after) = (self.look.link.as_ref().and_then(due), due(link));
        if let Some(after) = after.as_ref().filter(|after| before.as_ref() != Some(after)) {
            state.write(Write { fence, ..Write::put(after, b"{}") }).await?;
        }
        match link::save(state, key, link, self.look.link_version, fence).await? {
            Written::Done(version) => self.look.link_version = Some(version),
            Written::Clash => {
                let text = format!("The link of {key} was saved by another run meanwhile.");
                return Err(Fault::new(FaultKind::Conflict, "link_changed", text));
            }
        }
        if let Some(before) = before.filter(|before| after.as_ref() != Some(before)) {
            state.write(Write { fence, ..Write::delete(&before) }).await?;
        }
        self.look.link = Some(link.clone());
        Ok(())
    }

    fn key(&self) -> Result<i64, Fault> {
        self.bet_nr.ok_or_else(|| Fault::bug("no_key", "A party was to be read back before it was written."))
    }
}

impl Parties {
    /// Posts a notice.
    pub(super) async fn tell(&self, notice: &Notice) -> Result<(), Fault> {
        let id = EspoId::new(notice.user.id.clone())
            .map_err(|e| Fault::permanent("user_id", format!("{e}; nobody could be told.")))?;
        let user = UserRef { id, name: notice.user.name.clone() };
        self.crm.note_to_users(&[user], &notice.text).await.map(|_| ())
    }

    fn learn_refused(&self, word: &str) {
        let mut refused = self.refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if refused.insert(word.to_owned()) {
            tracing::warn!(
                "EspoCRM has no option \"{word}\" in salutationName: it is left as it is; add it there, or change \
                 flow.parties.salutations"
            );
        }
    }
}

/// The labelled points around a step.
fn labels(action: &Action) -> (&'static str, &'static str) {
    match action {
        Action::DeclareIntent(_) | Action::KeepKey(_) => ("parties.before_intent", "parties.after_intent"),
        Action::SaveLink(_) => ("parties.before_link_save", "parties.after_link_save"),
        Action::SettleIntent => ("parties.before_intent_end", "parties.after_intent_end"),
        Action::ReadBack => ("parties.before_read_back", "parties.after_read_back"),
        _ => ("parties.before_request", "parties.after_request"),
    }
}

fn gone_meanwhile(bet_nr: i64) -> Fault {
    let text = format!("Party {bet_nr} was removed from Advoware meanwhile.");
    Fault::new(FaultKind::Conflict, "gone_meanwhile", text)
}
