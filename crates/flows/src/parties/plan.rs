//! The decision: what has to be done so that both sides agree. No clock, no I/O, no randomness; the same input
//! gives the same plan in the same order.
//!
//! A plan that writes to Advoware ends with [`Action::ReadBack`]: what follows depends on what Advoware holds
//! then, and [`super::conclude`] decides it, as purely.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::fault::Fault;

use super::action::{Action, Plan, Verdict};
use super::agree::agree;
use super::communications::kind::Kinds;
use super::communications::plan as communications;
use super::communications::plan::Agreement;
use super::communications::{self as entries, EntryWrite};
use super::conclude::Settling;
use super::link::{LookAgain, PartyLink};
use super::merge::Winner;
use super::notice;
use super::party::{Party, Salutation};
use super::sides::{CrmPatch, CrmSide, RemoteSide, Status};
use crate::guard::MassChange;

/// What stands in `syncErrorMessage` of a record whose party is gone.
pub const GONE_TEXT: &str = "Not found in Advoware";

/// Who wins where both sides changed a field to different values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// EspoCRM.
    #[default]
    CrmWins,
    /// Advoware.
    RemoteWins,
    /// The later change by the systems' own times; EspoCRM where they do not tell.
    NewestWins,
    /// Nobody: a person decides.
    Ask,
}

impl Policy {
    /// The word for configuration and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::CrmWins => "crm_wins",
            Self::RemoteWins => "remote_wins",
            Self::NewestWins => "newest_wins",
            Self::Ask => "ask",
        }
    }

    pub(super) fn winner(self, crm: &CrmSide, remote: &RemoteSide) -> Option<Winner> {
        match self {
            Self::CrmWins => Some(Winner::Crm),
            Self::RemoteWins => Some(Winner::Remote),
            // A missing time counts as unchanged; `None` is less than any time.
            Self::NewestWins if remote.changed_at > crm.modified_at => Some(Winner::Remote),
            Self::NewestWins => Some(Winner::Crm),
            Self::Ask => None,
        }
    }
}

/// What the settings say to a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Who wins.
    pub policy: Policy,
    /// How often to look at a record that nobody reports a change of.
    pub look_again: LookAgain,
    /// Age of `advowareLastSync` from which it is written anew though nothing changed.
    pub last_sync_age_max: Duration,
    /// Salutations that EspoCRM refused, having no such option.
    pub refused_salutations: BTreeSet<String>,
    /// Who is told where the record has no assigned user.
    pub fallback_user_id: Option<String>,
    /// How phone numbers and mail addresses are read; none where they are not synchronised.
    pub communications: Option<Kinds>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            look_again: LookAgain::default(),
            last_sync_age_max: LookAgain::default().max,
            refused_salutations: BTreeSet::new(),
            fallback_user_id: None,
            communications: Some(Kinds::default()),
        }
    }
}

/// A create that was begun: its answer may have been lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateIntent {
    /// What Advoware is asked to create.
    pub party: Party,
    /// The key, once it is known.
    pub bet_nr: Option<i64>,
    /// Whether the key was found by search: then the party may be somebody else's, made at the same time.
    #[serde(default)]
    pub found: bool,
}

/// What is known of Advoware's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// There is no key to read by, and no create whose answer was lost left a party behind.
    None,
    /// Advoware says that there is no party of this key.
    Gone(i64),
    /// The party.
    Found(Box<RemoteSide>),
}

/// Everything a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The CRM record; `None` when the CRM says that it is no more.
    pub crm: Option<&'a CrmSide>,
    /// Advoware's side.
    pub remote: &'a Remote,
    /// Our memory.
    pub link: Option<&'a PartyLink>,
    /// A create without outcome.
    pub intent: Option<&'a CreateIntent>,
    /// The settings.
    pub rules: &'a Rules,
    /// The present time.
    pub now: Timestamp,
}

/// The key of the party: the CRM record's, else the one we remember, else that of a create without outcome.
/// None also where a person emptied `betnr` of a party that is gone: it is to be created anew.
pub fn bet_nr(crm: &CrmSide, link: Option<&PartyLink>, intent: Option<&CreateIntent>) -> Option<i64> {
    crm.bet_nr
        .or_else(|| link.filter(|l| l.gone.is_none()).map(|l| l.bet_nr))
        .or_else(|| intent.and_then(|i| i.bet_nr))
}

/// Decides.
///
/// # Errors
/// A permanent fault where the record cannot be synchronised as it is.
pub fn plan(input: &Input<'_>) -> Result<Plan, Fault> {
    let Some(crm) = input.crm else { return Ok(deleted(input)) };
    match input.remote {
        Remote::None => create(input, crm),
        Remote::Gone(bet_nr) => Ok(gone(input, crm, *bet_nr)),
        Remote::Found(remote) => agree(input, crm, remote),
    }
}

/// The CRM record is no more. Nothing is ever deleted in Advoware: the party may stand in files.
fn deleted(input: &Input<'_>) -> Plan {
    let mut actions = Vec::new();
    let mut mass_change = None;
    if let Some(link) = input.link.filter(|link| link.tombstone.is_none()) {
        let link = PartyLink { tombstone: Some(input.now), due_at: None, conflict: None, ..link.clone() };
        actions.push(Action::SaveLink(Box::new(link)));
        mass_change = Some(MassChange::Tombstone);
    }
    if input.intent.is_some() {
        actions.push(Action::SettleIntent);
    }
    Plan { mass_change, ..Plan::of(Verdict::Deleted, actions) }
}

/// The party is no more. It is never created anew silently.
fn gone(input: &Input<'_>, crm: &CrmSide, bet_nr: i64) -> Plan {
    let said = crm.status == Some(Status::Failed)
        && crm.deleted_at.is_some()
        && crm.bet_nr == Some(bet_nr)
        && crm.error.as_deref() == Some(GONE_TEXT);
    let mut actions = Vec::new();
    if !said {
        actions.push(Action::UpdateRecord(CrmPatch {
            bet_nr: (crm.bet_nr != Some(bet_nr)).then_some(bet_nr),
            deleted_at: crm.deleted_at.is_none().then_some(Some(input.now)),
            error: Some(Some(GONE_TEXT.to_owned())),
            ..CrmPatch::of(Status::Failed)
        }));
    }
    let known = input.link.filter(|link| link.bet_nr == bet_nr);
    let new = || PartyLink::new(bet_nr, input.rules.look_again);
    let link = PartyLink {
        gone: Some(crm.party.clone()),
        conflict: None,
        tombstone: None,
        due_at: None,
        ..known.cloned().unwrap_or_else(new)
    };
    if known != Some(&link) {
        actions.push(Action::SaveLink(Box::new(link)));
    }
    if input.intent.is_some() {
        actions.push(Action::SettleIntent);
    }
    Plan { mass_change: (!said).then_some(MassChange::Tombstone), ..Plan::of(Verdict::Gone, actions) }
}

/// What is created in Advoware of a record.
pub fn to_create(crm: &CrmSide) -> Party {
    let mut party = crm.party.clone().masked();
    if matches!(party.salutation, Some(Salutation::CrmOnly(_))) {
        party.salutation = None;
    }
    party
}

/// There is no key: create in Advoware, unless there is nothing to call the party by.
fn create(input: &Input<'_>, crm: &CrmSide) -> Result<Plan, Fault> {
    if crm.party.identity.is_blank() {
        return Err(no_name(
            "Neither lastName nor firmenname is filled, so there is nothing to create in Advoware",
        ));
    }
    let party = to_create(crm);
    let unknown = matches!(crm.party.salutation, Some(Salutation::CrmOnly(_)));
    let nothing = entries::Remote::default();
    // The key is not known yet; it comes with what is read back.
    let link = fresh(input, 0);
    let agreement = communicate(input, crm, &nothing, &link, Winner::Crm);
    let mut actions = vec![
        Action::DeclareIntent(CreateIntent { party: party.clone(), bet_nr: None, found: false }),
        Action::CreateParty(party.clone()),
        Action::KeepKey(party.clone()),
    ];
    actions.extend(agreement.iter().flat_map(|agreement| write_entries(&agreement.writes, None)));
    actions.push(Action::ReadBack);
    let settling = Settling {
        crm: crm.clone(),
        base: party.clone(),
        target: party.clone(),
        to_crm: Vec::new(),
        expected: party,
        link,
        notices: agreement
            .iter()
            .filter_map(|found| notice::problems(crm, None, &found.news, input.rules))
            .collect(),
        communications: agreement,
        link_stored: false,
        settle_intent: true,
        remote_changed: false,
    };
    let mut warnings = if unknown { vec![SALUTATION_LEFT] } else { Vec::new() };
    warnings.extend(warning(settling.communications.as_ref()));
    Ok(Plan { settling: Some(Box::new(settling)), warnings, ..Plan::of(Verdict::Converges, actions) })
}

pub(super) const SALUTATION_LEFT: &str = "a salutation has no counterpart on the other side and is left as it is; \
     add it to flow.parties.salutations, or its option to EspoCRM";

pub(super) fn no_name(text: &str) -> Fault {
    Fault::permanent("no_name", format!("{text}; fill one of them in."))
}

/// What has to be done for phone numbers and mail addresses; none where they are not synchronised.
pub(super) fn communicate(
    input: &Input<'_>,
    crm: &CrmSide,
    remote: &entries::Remote,
    link: &PartyLink,
    winner: Winner,
) -> Option<Agreement> {
    let kinds = input.rules.communications.as_ref()?;
    let (crm, memory) = (crm.communications.as_slice(), &link.communications);
    Some(communications::plan(&communications::Input { crm, remote, memory, winner, kinds }))
}

/// The steps that write entries.
pub(super) fn write_entries(writes: &[EntryWrite], bet_nr: Option<i64>) -> impl Iterator<Item = Action> {
    writes.iter().map(move |write| Action::WriteEntry { bet_nr, write: write.clone() })
}

/// What the log says of problems that the user is told of.
pub(super) fn warning(agreement: Option<&Agreement>) -> Option<&'static str> {
    let has_news = agreement.is_some_and(|agreement| !agreement.news.is_empty());
    has_news.then_some(
        "a mark in a remark was damaged, or a number cannot be made international; the record's user is told which",
    )
}

/// The link to go on with: ours, or a new one where the key is another than the one we remember.
pub(super) fn fresh(input: &Input<'_>, bet_nr: i64) -> PartyLink {
    match input.link {
        Some(link) if link.bet_nr == bet_nr => link.clone(),
        Some(old) => {
            PartyLink { history: old.history.clone(), ..PartyLink::new(bet_nr, input.rules.look_again) }
        }
        None => PartyLink::new(bet_nr, input.rules.look_again),
    }
}
