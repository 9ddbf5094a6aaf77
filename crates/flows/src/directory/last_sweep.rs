//! What the last full compare of a sweep found, for people to look at. What it found has been hinted at: whether all is as
//! it should be by now, only the next one says.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::fault::Fault;

use super::drift::{Drift, Drifted};
use super::flow::DirectoryFlow;
use super::lists::Lists;

/// A full compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastSweep {
    /// Which sweep it is of.
    pub sweep_id: String,
    /// When both sides had been read.
    pub read_at: Timestamp,
    /// When the members of all groups had been compared as well; none before that, and where the sweep was cut off.
    pub ended_at: Option<Timestamp>,
    /// Departments and members that WeCom lists.
    pub wecom: u64,
    /// Records of ours in the target, without those that are out of use for good.
    pub target: u64,
    /// How many findings there are of each kind.
    pub counts: BTreeMap<Drifted, u64>,
    /// What could not be read in WeCom: how many.
    pub unreadable: u64,
    /// Departments that are below themselves, or below one that is not there: how many.
    pub odd: u64,
}

impl LastSweep {
    pub(super) fn of(sweep_id: &str, lists: &Lists, drift: &Drift, now: Timestamp) -> Self {
        Self {
            sweep_id: sweep_id.to_owned(),
            read_at: now,
            ended_at: None,
            wecom: drift.facts.wecom,
            target: drift.facts.target,
            counts: drift.counts(),
            unreadable: lists.unreadable.1,
            odd: u64::try_from(lists.tree.problems().len()).unwrap_or(u64::MAX),
        }
    }
}

impl DirectoryFlow {
    /// What the last sweep found; none before the first one.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn last_sweep(&self) -> Result<Option<LastSweep>, Fault> {
        self.documents.last_sweep().await
    }

    /// The members of all groups have been compared.
    pub(super) async fn groups_compared(
        &self,
        sweep_id: &str,
        differing: u64,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let Some(mut last) = self.documents.last_sweep().await?.filter(|last| last.sweep_id == sweep_id)
        else {
            return Ok(());
        };
        if differing > 0 {
            last.counts.insert(Drifted::Members, differing);
        }
        last.ended_at = Some(now);
        self.documents.save_last_sweep(&last).await
    }
}
