//! One `betnr`, one record. EspoCRM cannot enforce it, so a document in our store says which record holds a key,
//! taken by compare-and-set when a pair is linked. A key that EspoCRM shows in two records is in dispute: neither
//! is synchronised until it stands in one only, and the other one is put on the list of the next sweep.

use connector_espocrm::{ListQuery, Where};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::fault::{Fault, FaultKind};
use shared::flow::Run;
use shared::ports::state::{Expected, Versioned, Write, Written};

use super::look::Look;
use super::plan::Remote;
use super::{Parties, sweep};

/// Records of one key that a fault names at most.
const OTHERS_MAX: u16 = 20;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    holder: String,
    /// All records that EspoCRM showed with the key, while they are several.
    #[serde(default)]
    disputed: Vec<String>,
}

fn claim_key(bet_nr: i64) -> String {
    format!("betnr/{}/{bet_nr}", super::NAME)
}

impl Parties {
    /// Makes sure that nobody else has the key of what was read. Costs a read of EspoCRM when a pair is linked, or
    /// while the key is in dispute; else one look into our store.
    pub(super) async fn check_claim(&self, run: &Run, look: &Look) -> Result<(), Fault> {
        let (Some(crm), Remote::Found(remote)) = (&look.crm, &look.remote) else { return Ok(()) };
        let (id, bet_nr) = (run.key.id(), remote.bet_nr);
        let linked = look.link.as_ref().is_some_and(|link| link.bet_nr == bet_nr && link.base.is_some());
        let found = self.claim(bet_nr).await?;
        let known = found.as_ref().map(|(claim, _)| claim);
        let quiet = known.is_none_or(|claim| claim.holder == id && claim.disputed.is_empty());
        if quiet && (crm.bet_nr.is_none() || (linked && known.is_some())) {
            return self.hold_claim(run, bet_nr, found).await;
        }
        let others = self.others_with(bet_nr, id).await?;
        if others.is_empty() {
            return self.hold_claim(run, bet_nr, found).await;
        }
        // Who knows of the dispute already is not woken again, or the two would wake each other for ever.
        let known = known.map(|claim| claim.disputed.as_slice()).unwrap_or_default();
        Err(self.dispute(run, bet_nr, &others, known).await?)
    }

    /// Takes a key that nobody else holds; answers whether it is ours now.
    pub(super) async fn take_claim(&self, run: &Run, bet_nr: i64) -> Result<bool, Fault> {
        let found = self.claim(bet_nr).await?;
        if found.as_ref().is_some_and(|(claim, _)| claim.holder != run.key.id()) {
            return Ok(false);
        }
        self.hold_claim(run, bet_nr, found).await.map(|()| true)
    }

    async fn hold_claim(
        &self,
        run: &Run,
        bet_nr: i64,
        found: Option<(Claim, Versioned)>,
    ) -> Result<(), Fault> {
        let wanted = Claim { holder: run.key.id().to_owned(), disputed: Vec::new() };
        if found.as_ref().is_some_and(|(claim, _)| *claim == wanted) {
            return Ok(());
        }
        let expected = found.map_or(Expected::Absent, |(_, document)| Expected::Version(document.version));
        let fence = run.guard.fence()?;
        let (key, value) = (claim_key(bet_nr), to_bytes(&wanted));
        match self.state.write(Write { expected, fence: fence.as_ref(), ..Write::put(&key, &value) }).await? {
            Written::Done(_) => Ok(()),
            Written::Clash => {
                let text = format!("betnr {bet_nr} was linked to another record just now.");
                Err(Fault::new(FaultKind::Conflict, "bet_nr_taken", text))
            }
        }
    }

    async fn claim(&self, bet_nr: i64) -> Result<Option<(Claim, Versioned)>, Fault> {
        let Some(document) = self.state.get(&claim_key(bet_nr)).await? else { return Ok(None) };
        let claim = serde_json::from_slice(&document.value).map_err(|e| {
            Fault::bug("claim_unreadable", format!("The claim of betnr {bet_nr} cannot be read: {e}."))
        })?;
        Ok(Some((claim, document)))
    }

    /// Other records that EspoCRM shows with this key.
    async fn others_with(&self, bet_nr: i64, id: &str) -> Result<Vec<String>, Fault> {
        let query = ListQuery::filtered(Where::equals("betnr", bet_nr)).select(&["id"]).page_size(OTHERS_MAX);
        let page = self.crm.list(&self.entity_type, &query).await?;
        Ok(page.records.iter().map(|r| r.id().to_string()).filter(|other| other != id).collect())
    }

    async fn dispute(
        &self,
        run: &Run,
        bet_nr: i64,
        others: &[String],
        known: &[String],
    ) -> Result<Fault, Fault> {
        let id = run.key.id();
        let disputed: Vec<String> = [id.to_owned()].into_iter().chain(others.iter().cloned()).collect();
        for other in others.iter().filter(|other| !known.contains(other)) {
            let key = sweep::due_key(run.clock.now(), other);
            self.state.write(Write::put(&key, b"{}")).await?;
        }
        let value = to_bytes(&Claim { holder: id.to_owned(), disputed });
        let fence = run.guard.fence()?;
        self.state.write(Write { fence: fence.as_ref(), ..Write::put(&claim_key(bet_nr), &value) }).await?;
        let text = format!(
            "betnr {bet_nr} stands in {} {id} and in {}: which of them belongs to the party cannot be told. Empty \
             it in all but one, then set that one's syncStatus to dirty.",
            self.entity_type,
            others.join(", ")
        );
        Ok(Fault::permanent("bet_nr_not_unique", text))
    }

    /// Which of these keys EspoCRM or our store shows as linked to another record.
    pub(super) async fn taken(&self, keys: &[i64], id: &str) -> Result<Vec<i64>, Fault> {
        let query = ListQuery::filtered(Where::any_of("betnr", keys.iter().map(|n| Value::from(*n))))
            .select(&["id", "betnr"]);
        let page = self.crm.list(&self.entity_type, &query).await?;
        let mut taken = Vec::new();
        for record in page.records.iter().filter(|record| record.id().as_str() != id) {
            taken.extend(record.int("betnr")?);
        }
        for key in keys {
            if self.claim(*key).await?.is_some_and(|(claim, _)| claim.holder != id) {
                taken.push(*key);
            }
        }
        Ok(taken)
    }
}

fn to_bytes(claim: &Claim) -> Vec<u8> {
    // Serialising a plain struct cannot fail.
    serde_json::to_vec(claim).unwrap_or_default()
}
