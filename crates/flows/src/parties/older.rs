//! Where EspoCRM's time decides (data of an older integration until both sides have agreed, and the policy
//! `newest_wins`), a status that we write moves it. So the time is kept before such a write, and put back when it
//! is asked for.

use std::time::Duration;

use connector_espocrm::Record;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::fault::Fault;
use shared::ports::state::Write;

use super::party::Party;
use super::sides::CrmSide;
use super::{Parties, Policy, map};

/// How long a time is kept; whatever fails for longer is looked at by a person.
const KEPT_FOR: Duration = Duration::from_secs(90 * 24 * 3_600);

/// A record before our first write.
#[derive(Debug, Serialize, Deserialize)]
struct Untouched {
    party: Party,
    modified_at: Option<Timestamp>,
}

fn name(id: &str) -> String {
    format!("untouched/{}/{id}", super::NAME)
}

impl Parties {
    /// Whether the times decide: for data of an older integration, as far as the record says, and by policy.
    fn times_decide(&self, crm: &CrmSide) -> bool {
        let is_older = crm.bet_nr.is_some() && crm.row_id.is_none() && crm.last_sync.is_some();
        is_older || self.rules.policy == Policy::NewestWins
    }

    /// Keeps the time of a record that is about to get a status of ours.
    pub(super) async fn keep_time(&self, record: &Record) -> Result<(), Fault> {
        let mut crm = map::crm_side(record, &self.table, None)?;
        if !self.times_decide(&crm) {
            return Ok(());
        }
        // What was kept before goes on to count.
        self.recall_time(&mut crm).await?;
        let untouched = Untouched { party: crm.party, modified_at: crm.modified_at };
        // Serialising a plain struct cannot fail.
        let value = serde_json::to_vec(&untouched).unwrap_or_default();
        let name = name(&crm.id);
        let write = Write { time_to_live: Some(KEPT_FOR), ..Write::put(&name, &value) };
        Ok(self.state.write(write).await.map(|_| ())?)
    }

    /// Puts the kept time in place, unless a person has changed the record since.
    pub(super) async fn recall_time(&self, crm: &mut CrmSide) -> Result<(), Fault> {
        if !self.times_decide(crm) {
            return Ok(());
        }
        let Some(document) = self.state.get(&name(&crm.id)).await? else { return Ok(()) };
        let kept: Option<Untouched> = serde_json::from_slice(&document.value).ok();
        if let Some(kept) = kept.filter(|kept| kept.party == crm.party) {
            crm.modified_at = kept.modified_at;
        }
        Ok(())
    }
}
