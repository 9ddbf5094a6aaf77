//! The steps of a plan, and what a plan amounts to.

use super::communications::EntryWrite;
use super::conclude::Settling;
use super::link::PartyLink;
use super::notice::Notice;
use super::party::{Field, Party};
use super::plan::CreateIntent;
use super::sides::CrmPatch;
use crate::guard::MassChange;

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Write down what is about to be created.
    DeclareIntent(CreateIntent),
    /// POST to Advoware.
    CreateParty(Party),
    /// Write down the key that the create answered with.
    KeepKey(Party),
    /// PUT to Advoware: what was read, with these fields taken from the party.
    UpdateParty {
        /// The key.
        bet_nr: i64,
        /// The source of the values.
        target: Party,
        /// Which of them.
        fields: Vec<Field>,
    },
    /// POST or PUT of a Kommunikation.
    WriteEntry {
        /// The party's key; none for the one that was created just now.
        bet_nr: Option<i64>,
        /// What is written.
        write: EntryWrite,
    },
    /// GET from Advoware what was written, with its new row id.
    ReadBack,
    /// PATCH to EspoCRM.
    UpdateRecord(CrmPatch),
    /// Tell a user.
    Notify(Notice),
    /// Save our memory.
    SaveLink(Box<PartyLink>),
    /// The create has its outcome, and it is saved.
    SettleIntent,
}

impl Action {
    /// The word for metrics and outcomes.
    pub fn name(&self) -> &'static str {
        match self {
            Self::DeclareIntent(_) => "declare_intent",
            Self::CreateParty(_) => "create_party",
            Self::KeepKey(_) => "keep_key",
            Self::UpdateParty { .. } => "update_party",
            Self::WriteEntry { write: EntryWrite::Create { .. }, .. } => "create_entry",
            Self::WriteEntry { write: EntryWrite::Update(_), .. } => "update_entry",
            Self::ReadBack => "read_back",
            Self::UpdateRecord(_) => "update_record",
            Self::Notify(_) => "notify",
            Self::SaveLink(_) => "save_link",
            Self::SettleIntent => "settle_intent",
        }
    }

    /// Whether a system other than our own store is written.
    pub fn is_upstream_write(&self) -> bool {
        matches!(
            self,
            Self::CreateParty(_)
                | Self::UpdateParty { .. }
                | Self::WriteEntry { .. }
                | Self::UpdateRecord(_)
                | Self::Notify(_)
        )
    }
}

/// What a plan amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Both sides will agree, or agree already.
    Converges,
    /// A person decides.
    Waits,
    /// The party is gone from Advoware.
    Gone,
    /// The CRM record is gone.
    Deleted,
}

/// The decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What it amounts to.
    pub verdict: Verdict,
    /// The steps, in order.
    pub actions: Vec<Action>,
    /// What is left to decide after [`Action::ReadBack`]; none when the steps are complete.
    pub settling: Option<Box<Settling>>,
    /// What the mass-change guard counts.
    pub mass_change: Option<MassChange>,
    /// Fields in conflict that are decided, or asked about, for the first time.
    pub conflicts: usize,
    /// What somebody should know, for the log; no personal data.
    pub warnings: Vec<&'static str>,
}

impl Plan {
    /// A plan of nothing but these steps.
    pub fn of(verdict: Verdict, actions: Vec<Action>) -> Self {
        Self { verdict, actions, settling: None, mass_change: None, conflicts: 0, warnings: Vec::new() }
    }
}
