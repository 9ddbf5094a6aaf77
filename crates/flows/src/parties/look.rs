//! What is read before a plan: our memory, the CRM record, the party.

use connector_advoware::{self as advoware, BetNr};
use connector_espocrm::Record;
use jiff::Timestamp;
use shared::fault::Fault;
use shared::record_key::RecordKey;
use shared::{generation, intent, link};

use super::link::PartyLink;
use super::map;
use super::plan::{self, CreateIntent, Input, Remote, Rules};
use super::sides::CrmSide;
use super::{Parties, crm_id};

/// Everything that was read.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) record: Option<Record>,
    pub(super) crm: Option<CrmSide>,
    pub(super) link: Option<PartyLink>,
    pub(super) link_version: Option<u64>,
    pub(super) intent: Option<CreateIntent>,
    /// Whether the intent is only supposed, from what the record holds now.
    pub(super) is_supposed: bool,
    /// The party as it came, to be given back whole.
    pub(super) party: Option<advoware::Party>,
    pub(super) remote: Remote,
}

impl Look {
    pub(super) fn input<'a>(&'a self, rules: &'a Rules, now: Timestamp) -> Input<'a> {
        Input {
            crm: self.crm.as_ref(),
            remote: &self.remote,
            link: self.link.as_ref(),
            intent: self.intent.as_ref(),
            rules,
            now,
        }
    }

    pub(super) fn bet_nr(&self) -> Option<i64> {
        plan::bet_nr(self.crm.as_ref()?, self.link.as_ref(), self.intent.as_ref())
    }
}

impl Parties {
    /// Reads; writes nothing.
    pub(super) async fn look(&self, key: &RecordKey) -> Result<Look, Fault> {
        let id = crm_id(key)?;
        let stored = link::load::<PartyLink>(&*self.state, key).await?;
        let intent = intent::pending::<CreateIntent>(&*self.state, key).await?;
        let record = self.crm.get(&self.entity_type, &id).await?;
        let mut crm = record
            .as_ref()
            .map(|record| map::crm_side(record, &self.table, self.rules.communications.as_ref()))
            .transpose()?;
        if let Some(crm) = &mut crm {
            self.recall_time(crm).await?;
        }
        let (link, link_version) = match stored {
            Some(stored) => (Some(stored.link), Some(stored.version)),
            None => (None, None),
        };
        let mut look = Look {
            record,
            crm,
            link,
            link_version,
            intent: intent.map(|intent| intent.what),
            is_supposed: false,
            party: None,
            remote: Remote::None,
        };
        match look.bet_nr() {
            Some(bet_nr) => self.look_at_party(&mut look, bet_nr).await?,
            None if look.intent.is_none() => {
                look.intent = self.forgotten_intent(&look).await?;
                look.is_supposed = look.intent.is_some();
            }
            None => {}
        }
        Ok(look)
    }

    /// The store may have been lost with an intent in it: a record that was there before is treated as if it had one.
    async fn forgotten_intent(&self, look: &Look) -> Result<Option<CreateIntent>, Fault> {
        let (Some(record), Some(crm)) = (&look.record, &look.crm) else { return Ok(None) };
        if crm.party.identity.is_blank() {
            return Ok(None);
        }
        let Some(release) = generation::last_release(&*self.state).await? else { return Ok(None) };
        let is_younger = record.timestamp("createdAt")?.is_some_and(|at| at > release.at);
        let intent = CreateIntent { party: plan::to_create(crm), bet_nr: None, found: false };
        Ok((!is_younger).then_some(intent))
    }

    pub(super) async fn look_at_party(&self, look: &mut Look, bet_nr: i64) -> Result<(), Fault> {
        look.party = self.advoware.get(checked(bet_nr)?).await?;
        look.remote = match &look.party {
            Some(party) => {
                let side = map::remote_side(party, &self.table, self.rules.communications.as_ref())?;
                Remote::Found(Box::new(side))
            }
            None => Remote::Gone(bet_nr),
        };
        Ok(())
    }
}

/// A key that can be one.
pub(super) fn checked(bet_nr: i64) -> Result<BetNr, Fault> {
    BetNr::try_from(bet_nr).map_err(|e| {
        Fault::permanent("bet_nr_invalid", format!("betnr {bet_nr} is {e}; correct it in EspoCRM."))
    })
}
