//! The nightly full compare, a page at a time. It only hints: the run of each key reads in WeCom what is the case.
//!
//! What is read is held by this process until the sweep is through. Another process that goes on with the sweep reads it
//! anew, and goes on after the key that was published last.

use std::ops::Bound;
use std::time::Duration;

use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::fault::Fault;
use shared::flow::{SweepHit, SweepPage};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::drift::{self, Drift, MembersDrift};
use super::first_sync::Phase;
use super::flow::DirectoryFlow;
use super::ids::DepartmentId;
use super::key::Key;
use super::last_sweep::LastSweep;
use super::lists::Lists;
use super::reading::{Reading, Sides};
use super::rules::Rules;
use crate::guard::SweepFacts;

/// How long a page reads on before it answers, and is asked for again.
const READING_TIME: Duration = Duration::from_secs(60);
/// Records on one page.
const HITS_MAX: usize = 1_000;
/// Groups whose members are read in one page.
const GROUPS_MAX: usize = 200;
/// Groups whose members are read at once.
const GROUPS_AT_ONCE: usize = 8;

/// Odd departments that are logged, at most.
const PROBLEMS_MAX: usize = 20;

/// Where a sweep goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "snake_case")]
enum Place {
    /// Both sides are to be read.
    Reading,
    /// What differs, after this key.
    Records { after: Option<String> },
    /// Members of groups, after this department's; of those before, so many groups differ.
    Groups {
        after: Option<DepartmentId>,
        #[serde(default)]
        differing: u64,
    },
    /// Groups for whose members something is still noted, after this one.
    Notes { after: Option<DepartmentId> },
}

/// What is held of the sweep that is under way.
#[derive(Debug, Default)]
pub(super) struct Sweeping(Mutex<Option<Held>>);

#[derive(Debug)]
struct Held {
    sweep_id: String,
    reading: Reading,
    drift: Option<Drift>,
}

#[cfg(test)]
impl Sweeping {
    /// Whether nothing is held.
    pub(super) fn is_forgotten(&self) -> bool {
        self.0.try_lock().is_ok_and(|held| held.is_none())
    }
}

type Found = (Vec<Key>, Option<Place>);

impl DirectoryFlow {
    pub(super) fn sides<'a>(&'a self, rules: &'a Rules) -> Sides<'a> {
        Sides { source: &*self.source, target: &*self.target, documents: &self.documents, rules }
    }

    pub(super) async fn sweep_page(
        &self,
        cursor: Option<&Value>,
        sweep_id: &str,
        now: Timestamp,
    ) -> Result<SweepPage, Fault> {
        // A cursor that cannot be read starts over, which is safe.
        let place = cursor.and_then(|value| serde_json::from_value(value.clone()).ok());
        let (keys, next) = match place {
            None => return self.sweep_begins().await,
            Some(Place::Notes { after }) => self.sweep_notes(after).await?,
            Some(place) => {
                let found = self.sweep_lists(place, sweep_id, now).await;
                // Nobody goes on with it: what was read would be held until the next one.
                if found.as_ref().is_err_and(|fault| !fault.kind.may_pass()) {
                    *self.sweeping.0.lock().await = None;
                }
                found?
            }
        };
        let hit = |key: &Key| self.record_key(key).map(|key| SweepHit { key, changed_at: None });
        Ok(page(keys.iter().map(hit).collect::<Result<_, _>>()?, next.as_ref()))
    }

    /// Before the first sync, and while it is under way, there is nothing to compare.
    async fn sweep_begins(&self) -> Result<SweepPage, Fault> {
        let Some(sync) = self.first_sync().await? else {
            tracing::info!("No first sync was asked for yet: the sweep of the directory does nothing.");
            return Ok(SweepPage::default());
        };
        if sync.phase != Phase::Done {
            tracing::info!(
                first_sync.id = sync.id,
                "The first sync is under way: the sweep only hints at it."
            );
            return Ok(page(vec![SweepHit { key: self.first_sync_key(), changed_at: None }], None));
        }
        Ok(page(Vec::new(), Some(&Place::Reading)))
    }

    async fn sweep_lists(&self, place: Place, sweep_id: &str, now: Timestamp) -> Result<Found, Fault> {
        let rules = self.rules().await?;
        let mut sweeping = self.sweeping.0.lock().await;
        if sweeping.as_ref().is_some_and(|held| held.sweep_id != sweep_id) {
            *sweeping = None;
        }
        let held = sweeping.get_or_insert_with(|| Held {
            sweep_id: sweep_id.to_owned(),
            reading: Reading::default(),
            drift: None,
        });
        let until = Instant::now() + READING_TIME;
        while held.reading.lists().is_none() {
            if Instant::now() >= until {
                return Ok((Vec::new(), Some(place)));
            }
            held.reading.step(self.sides(rules)).await?;
        }
        let Held { reading, drift, .. } = held;
        let Some(lists) = reading.lists() else { return Ok((Vec::new(), Some(place))) };
        let drift = match drift {
            Some(drift) => drift,
            None => drift.insert(self.find_drift(lists, rules)?),
        };
        let (keys, next) = match place {
            Place::Reading => {
                report(lists, drift);
                let facts = SweepFacts { records: drift.facts.records(), at: now };
                self.guard.keep_facts(sweep_id, &facts).await?;
                self.documents.save_last_sweep(&LastSweep::of(sweep_id, lists, drift, now)).await?;
                records_after(drift, None)
            }
            Place::Records { after } => records_after(drift, after.and_then(|text| text.parse().ok())),
            Place::Groups { after, differing } => {
                let (keys, next) = self.sweep_groups(lists, after).await?;
                let found = keys.iter().filter(|key| matches!(key, Key::Members(_))).count();
                let differing = differing.saturating_add(u64::try_from(found).unwrap_or(u64::MAX));
                match next {
                    Some(after) => (keys, Some(Place::Groups { after: Some(after), differing })),
                    None => {
                        self.groups_compared(sweep_id, differing, now).await?;
                        (keys, Some(Place::Notes { after: None }))
                    }
                }
            }
            Place::Notes { after } => self.sweep_notes(after).await?,
        };
        if matches!(next, Some(Place::Notes { .. }) | None) {
            *sweeping = None;
        }
        Ok((keys, next))
    }

    /// Where WeCom shows nothing of what we have, nothing is hinted at: a right was lost.
    pub(super) fn find_drift(&self, lists: &Lists, rules: &Rules) -> Result<Drift, Fault> {
        let drift = drift::find(lists, rules)
            .map_err(|e| Fault::bug("lists_out_of_order", format!("Both sides cannot be compared: {e}.")))?;
        if drift.facts.is_blind() {
            let text = format!(
                "WeCom shows no department and no member, and {} has {} records of ours: that is a right that was \
                 lost, not a company that was emptied. Nothing is looked at. Give the application its visible scope \
                 in WeCom's administration; the next sweep compares again.",
                self.target.product(),
                drift.facts.target
            );
            return Err(Fault::permanent("wecom_shows_nothing", text));
        }
        Ok(drift)
    }

    /// The next groups whose members differ, and the last one that was looked at; none where that was the last of all.
    async fn sweep_groups(
        &self,
        lists: &Lists,
        after: Option<DepartmentId>,
    ) -> Result<(Vec<Key>, Option<DepartmentId>), Fault> {
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let rest = lists.groups.range(range).map(|(id, _)| *id);
        let chosen: Vec<DepartmentId> =
            rest.filter(|id| lists.tree.get(*id).is_some()).take(GROUPS_MAX).collect();
        let mut keys = Vec::new();
        for ids in chosen.chunks(GROUPS_AT_ONCE) {
            for (id, found) in ids.iter().zip(self.group_drifts(lists, ids).await?) {
                match found {
                    None => keys.push(Key::Department(*id)),
                    Some(found) if found == MembersDrift::default() => {}
                    Some(_) => keys.push(Key::Members(*id)),
                }
            }
        }
        if !keys.is_empty() {
            tracing::info!(groups = keys.len(), "The members of groups differ.");
        }
        let is_last = chosen.len() < GROUPS_MAX;
        Ok((keys, chosen.last().copied().filter(|_| !is_last)))
    }

    /// How the members of these groups differ; none for a group that is gone.
    pub(super) async fn group_drifts(
        &self,
        lists: &Lists,
        ids: &[DepartmentId],
    ) -> Result<Vec<Option<MembersDrift>>, Fault> {
        let groups = ids.iter().filter_map(|id| lists.groups.get(id));
        let present = try_join_all(groups.map(|group| self.target.members_of(&group.target))).await?;
        let compared = ids.iter().zip(present);
        Ok(compared.map(|(id, present)| Some(drift::members(lists, *id, &present?))).collect())
    }

    /// What a run that was stopped noted and nobody wrote.
    async fn sweep_notes(&self, mut after: Option<DepartmentId>) -> Result<Found, Fault> {
        let mut keys = Vec::new();
        while keys.len() < HITS_MAX {
            let Some(id) = self.documents.noted_group(after).await? else { return Ok((keys, None)) };
            keys.push(Key::Members(id));
            after = Some(id);
        }
        Ok((keys, Some(Place::Notes { after })))
    }
}

fn page(records: Vec<SweepHit>, next: Option<&Place>) -> SweepPage {
    SweepPage { records, next: next.map(|next| serde_json::to_value(next).unwrap_or_default()) }
}

fn records_after(drift: &Drift, after: Option<Key>) -> Found {
    let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
    let mut rest = drift.found.range::<Key, _>(range).map(|(key, _)| key.clone());
    let keys: Vec<Key> = rest.by_ref().take(HITS_MAX).collect();
    let next = match (keys.last(), rest.next()) {
        (Some(last), Some(_)) => Place::Records { after: Some(last.to_string()) },
        _ => Place::Groups { after: None, differing: 0 },
    };
    (keys, Some(next))
}

fn report(lists: &Lists, drift: &Drift) {
    let facts = drift.facts;
    tracing::info!(
        wecom = facts.wecom,
        target = facts.target,
        equal = facts.equal,
        differs = facts.differs,
        missing = facts.missing,
        extra = facts.extra,
        doubles = facts.doubles,
        found = drift.found.len(),
        unreadable = lists.unreadable.1,
        "Both sides of the directory were compared."
    );
    for sentence in &lists.unreadable.0 {
        tracing::warn!("Something in WeCom cannot be read: {sentence}");
    }
    for problem in lists.tree.problems().iter().take(PROBLEMS_MAX) {
        tracing::warn!(?problem, "A department is odd.");
    }
}
