//! Both systems and our store in memory, applying the steps of plans, with failing writes and stops anywhere:
//! for the properties of [`super::plan`].

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use shared::clock::later;
use shared::fault::Fault;

use super::action::{Action, Plan, Verdict};
use super::communications::{Class, CrmEntry, EntryWrite, Remote as Communications, RemoteEntry};
use super::link::PartyLink;
use super::map::is_candidate;
use super::notice::Notice;
use super::party::{Field, Party};
use super::plan::{CreateIntent, Input, Remote, Rules, bet_nr, plan};
use super::sides::{CrmPatch, CrmSide, RemoteSide};

/// When the run is stopped: before or after the effect of its n-th step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    pub step: usize,
    pub after_effect: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct World {
    pub crm: Option<CrmSide>,
    pub parties: BTreeMap<i64, RemoteSide>,
    pub link: Option<PartyLink>,
    pub intent: Option<CreateIntent>,
    pub notices: Vec<Notice>,
    pub creates: u32,
    pub puts: u32,
    pub entry_writes: u32,
    pub patches: u32,
    pub rules: Rules,
    pub now: Timestamp,
    pub row: u64,
    /// A person's edit in Advoware between our PUT and our GET.
    pub intruder: Option<(Field, Option<String>)>,
}

#[derive(Debug, PartialEq)]
pub enum End {
    Done(Verdict),
    Stopped,
    Differs,
    Refused(Fault),
}

impl World {
    pub fn remote(&self) -> Option<&RemoteSide> {
        let crm = self.crm.as_ref()?;
        self.parties.get(&bet_nr(crm, self.link.as_ref(), self.intent.as_ref())?)
    }

    fn read(&mut self) -> Remote {
        let Some(crm) = &self.crm else { return Remote::None };
        let mut key = bet_nr(crm, self.link.as_ref(), self.intent.as_ref());
        if let (None, Some(intent)) = (key, &mut self.intent) {
            let fits = |found: &&RemoteSide| is_candidate(found, &intent.party);
            key = self.parties.values().find(fits).map(|found| found.bet_nr);
            (intent.bet_nr, intent.found) = (key, key.is_some());
        }
        match key {
            None => Remote::None,
            Some(key) => self
                .parties
                .get(&key)
                .cloned()
                .map_or(Remote::Gone(key), |party| Remote::Found(Box::new(party))),
        }
    }

    pub fn plan(&mut self) -> Result<Plan, Fault> {
        let remote = self.read();
        plan(&Input {
            crm: self.crm.as_ref(),
            remote: &remote,
            link: self.link.as_ref(),
            intent: self.intent.as_ref(),
            rules: &self.rules,
            now: self.now,
        })
    }

    /// One run, a second after the last one.
    pub fn run(&mut self, stop: Option<Stop>) -> End {
        self.now = later(self.now, Duration::from_secs(1));
        let plan = match self.plan() {
            Ok(plan) => plan,
            Err(fault) => return End::Refused(fault),
        };
        let mut stepper = Stepper { stop, step: 0, key: None, held: None };
        if plan.actions.iter().any(|action| !stepper.apply(self, action)) {
            return End::Stopped;
        }
        let Some(settling) = plan.settling else { return End::Done(plan.verdict) };
        let held = stepper.held.clone().expect("a plan with more to settle ends with reading back");
        let end = settling.conclude(&held, &self.rules.clone(), self.now);
        if end.actions.iter().any(|action| !stepper.apply(self, action)) {
            return End::Stopped;
        }
        if end.differs { End::Differs } else { End::Done(plan.verdict) }
    }

    /// Runs until nothing is planned any more.
    pub fn settle(&mut self) -> Result<(), Fault> {
        for _ in 0..6 {
            match self.plan() {
                Err(fault) => return Err(fault),
                Ok(plan) if plan.actions.is_empty() => return Ok(()),
                Ok(_) => {}
            }
            if let End::Refused(fault) = self.run(None) {
                return Err(fault);
            }
        }
        panic!("does not settle: {self:#?}");
    }

    fn patch(&mut self, patch: &CrmPatch) {
        self.patches += 1;
        let crm = self.crm.as_mut().expect("only a record that was read is written");
        let before = crm.clone();
        crm.status = Some(patch.status);
        if let Some((party, fields)) = &patch.content {
            write(&mut crm.party, party, fields);
            assert_ne!(before.party, crm.party, "content is written without a change");
        }
        if let Some((entries, classes)) = &patch.communications {
            crm.communications = write_lists(&crm.communications, entries, classes);
            assert_ne!(before.communications, crm.communications, "lists are written without a change");
        }
        crm.bet_nr = patch.bet_nr.or(crm.bet_nr);
        crm.row_id = patch.row_id.clone().unwrap_or(crm.row_id.take());
        crm.last_sync = patch.last_sync.or(crm.last_sync);
        crm.deleted_at = patch.deleted_at.unwrap_or(crm.deleted_at);
        crm.error = patch.error.clone().unwrap_or(crm.error.take());
        crm.retry_count = patch.retry_count.unwrap_or(crm.retry_count);
        assert_ne!(before, *crm, "a write without a change");
        crm.modified_at = Some(self.now);
    }
}

struct Stepper {
    stop: Option<Stop>,
    step: usize,
    key: Option<i64>,
    held: Option<RemoteSide>,
}

impl Stepper {
    /// Applies one step; false when the run is stopped at it.
    fn apply(&mut self, world: &mut World, action: &Action) -> bool {
        let here = self.stop.filter(|stop| stop.step == self.step);
        self.step += 1;
        if here.is_some_and(|stop| !stop.after_effect) {
            return false;
        }
        self.effect(world, action);
        here.is_none()
    }

    fn effect(&mut self, world: &mut World, action: &Action) {
        match action {
            Action::DeclareIntent(intent) => world.intent = Some(intent.clone()),
            Action::CreateParty(party) => {
                world.creates += 1;
                world.row += 1;
                let key = 1_000 + i64::from(world.creates);
                world.parties.insert(key, remote_of(key, world.row, party, world.now));
                self.key = Some(key);
            }
            Action::KeepKey(party) => {
                world.intent = Some(CreateIntent { party: party.clone(), bet_nr: self.key, found: false });
            }
            Action::UpdateParty { bet_nr, target, fields } => {
                world.puts += 1;
                world.row += 1;
                self.key = Some(*bet_nr);
                let (row, now) = (world.row, world.now);
                let remote = world.parties.get_mut(bet_nr).expect("only what was read is written");
                let before = remote.clone();
                write_remote(remote, target, fields);
                assert_ne!(before, *remote, "a PUT without a change");
                (remote.row_id, remote.changed_at) = (Some(format!("row{row}")), Some(now));
            }
            Action::WriteEntry { bet_nr, write } => {
                world.entry_writes += 1;
                world.row += 1;
                self.key = bet_nr.or(self.key);
                let (row, now) = (world.row, world.now);
                let key = self.key.expect("a party was read or created");
                let remote = world.parties.get_mut(&key).expect("only what was read is written");
                let before = remote.communications.clone();
                write_entry(&mut remote.communications.entries, write);
                assert_ne!(before, remote.communications, "an entry is written without a change");
                (remote.row_id, remote.changed_at) = (Some(format!("row{row}")), Some(now));
            }
            Action::ReadBack => {
                let key = self.key.expect("something was written");
                if let Some((field, value)) = world.intruder.take() {
                    world.row += 1;
                    let row = world.row;
                    let remote = world.parties.get_mut(&key).expect("it was written just now");
                    edit_remote(remote, field, value);
                    remote.row_id = Some(format!("row{row}"));
                }
                self.held = world.parties.get(&key).cloned();
            }
            Action::UpdateRecord(patch) => world.patch(patch),
            Action::Notify(notice) => world.notices.push(notice.clone()),
            Action::SaveLink(link) => {
                assert_ne!(world.link.as_ref(), Some(link.as_ref()), "the link is saved without a change");
                world.link = Some((**link).clone());
            }
            Action::SettleIntent => world.intent = None,
        }
    }
}

pub fn remote_of(key: i64, row: u64, party: &Party, now: Timestamp) -> RemoteSide {
    RemoteSide {
        bet_nr: key,
        row_id: Some(format!("row{row}")),
        name: party.identity.name.clone(),
        first_name: party.identity.first_name.clone(),
        legal_form: party.legal_form.clone(),
        salutation: party.salutation.clone(),
        birth_date: party.birth_date,
        register_number: party.register_number.clone(),
        communications: Communications::default(),
        changed_at: Some(now),
    }
}

/// As Advoware stores it: ids are never given out twice, and nothing is deleted.
pub fn write_entry(entries: &mut Vec<RemoteEntry>, write: &EntryWrite) {
    match write {
        EntryWrite::Create { value, remark, online, .. } => {
            let id = entries.iter().map(|entry| entry.id).fold(100, i64::max) + 1;
            entries.push(RemoteEntry { id, value: value.clone(), remark: remark.clone(), online: *online });
        }
        EntryWrite::Update(written) => {
            let entry = entries.iter_mut().find(|entry| entry.id == written.id).expect("only what was read");
            entry.clone_from(written);
        }
    }
}

/// As EspoCRM stores it: a list is replaced as a whole, national numbers are refused.
fn write_lists(before: &[CrmEntry], entries: &[CrmEntry], classes: &[Class]) -> Vec<CrmEntry> {
    let listed =
        |list: &[CrmEntry], class| list.iter().filter(|e| e.class == class).cloned().collect::<Vec<_>>();
    let list = |class: &Class| {
        let list = listed(if classes.contains(class) { entries } else { before }, *class);
        let valid = |entry: &CrmEntry| {
            *class == Class::Mail || entry.value.starts_with('+') || before.contains(entry)
        };
        assert!(list.iter().all(valid), "EspoCRM refuses {list:?}");
        list
    };
    Class::ALL.iter().flat_map(list).collect()
}

/// As EspoCRM's fields are filled: a name of another kind takes the place of all names.
pub fn write(to: &mut Party, from: &Party, fields: &[Field]) {
    for field in fields {
        if *field == Field::Name && to.identity.kind != from.identity.kind {
            to.identity = from.identity.clone();
        }
        to.take(*field, from);
    }
}

pub fn write_remote(to: &mut RemoteSide, from: &Party, fields: &[Field]) {
    for field in fields {
        match field {
            Field::Name => to.name.clone_from(&from.identity.name),
            Field::FirstName => to.first_name.clone_from(&from.identity.first_name),
            Field::LegalForm => to.legal_form.clone_from(&from.legal_form),
            Field::Salutation => to.salutation.clone_from(&from.salutation),
            Field::BirthDate => to.birth_date = from.birth_date,
            Field::RegisterNumber => to.register_number.clone_from(&from.register_number),
        }
    }
}

pub fn edit_remote(remote: &mut RemoteSide, field: Field, value: Option<String>) {
    match field {
        Field::Name => remote.name = value,
        Field::FirstName => remote.first_name = value,
        Field::LegalForm => remote.legal_form = value,
        Field::Salutation | Field::BirthDate => {}
        Field::RegisterNumber => remote.register_number = value,
    }
}
