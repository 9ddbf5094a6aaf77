//! The mass-change guard of a flow: what one sweep overwrites or ends is counted, and beyond the set share it stops
//! and waits for a person. While one sweep waits, so do the changes of all others.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shared::fault::{Fault, FaultKind};
use shared::labelled;
use shared::meter::Meter;
use shared::names::MASS_CHANGE_GUARD;
use shared::ports::state::{Expected, State, Write, Written};

/// How long what is known of a sweep is kept: longer than its messages live.
const SWEEP_MEMORY: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Seconds after which a run that waits for a release asks again.
const ASK_AGAIN_SECONDS: i64 = 60;
/// Waiting sweeps that are named at most; a sweep comes every few minutes.
const HELD_MAX: usize = 100;
/// How often a clashing write is tried again.
const TRIES_MAX: u32 = 10;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MassChange {
    /// A value is replaced by another, or emptied.
    Overwrite,
    /// A pair comes to its end.
    Tombstone,
}

/// What is known of a sweep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepFacts {
    /// Records in all that it may change, when it began.
    pub records: u64,
    /// When it began.
    pub at: Timestamp,
}

/// The guard of one flow.
#[derive(Debug)]
pub struct MassGuard {
    /// The flow's name, in keys and texts.
    pub flow: &'static str,
    /// The labelled point for the time after which a run that waits for a release asks again.
    pub ask_again_label: &'static str,
    /// Share of the records that a sweep may change, 0 to 1.
    pub share_max: f64,
    /// Number of records up to which the share does not matter.
    pub count_min: u32,
    /// Where it remembers.
    pub state: Arc<dyn State>,
    /// Where it shows that something waits.
    pub meter: Arc<dyn Meter>,
}

/// What waits, and what was released.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct GuardState {
    held: Vec<Held>,
    released_at: Option<Timestamp>,
    released_by: Option<String>,
}

/// A sweep whose changes wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    sweep_id: String,
    since: Timestamp,
    changes: u64,
    records: u64,
}

/// Whether so many changes among so many records need a person. Where the records were not counted, the number
/// alone decides.
fn is_mass_change(changes: u64, records: u64, share_max: f64, count_min: u32) -> bool {
    // Exact up to 2^53 records.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    let share = changes as f64 > share_max * records as f64;
    share && changes > u64::from(count_min)
}

impl MassGuard {
    /// Keeps what the guard has to know of a sweep.
    pub async fn keep_facts(&self, sweep_id: &str, facts: &SweepFacts) -> Result<(), Fault> {
        let value = to_bytes(facts);
        let key = self.facts_key(sweep_id);
        self.state.write(Write { time_to_live: Some(SWEEP_MEMORY), ..Write::put(&key, &value) }).await?;
        let (guard, _) = self.read::<GuardState>(&self.guard_key()).await?.unwrap_or_default();
        self.show(&guard);
        Ok(())
    }

    /// Counts a change that a sweep causes to a record, and permits it. What webhooks and people cause, without a sweep,
    /// is not counted.
    pub async fn permit(
        &self,
        sweep_id: Option<&str>,
        record_id: &str,
        change: MassChange,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let Some(sweep_id) = sweep_id else { return Ok(()) };
        let facts = self.read::<SweepFacts>(&self.facts_key(sweep_id)).await?.map(|(facts, _)| facts);
        let (guard, _) = self.read::<GuardState>(&self.guard_key()).await?.unwrap_or_default();
        self.show(&guard);
        let released = facts.as_ref().is_some_and(|facts| guard.released_at >= Some(facts.at));
        if released {
            return Ok(());
        }
        let records = facts.map_or(0, |facts| facts.records);
        let changes = self.count_change(sweep_id, record_id).await?;
        let held = !guard.held.is_empty();
        if !held && !is_mass_change(changes, records, self.share_max, self.count_min) {
            return Ok(());
        }
        let entry = Held { sweep_id: sweep_id.to_owned(), since: now, changes, records };
        self.hold(entry).await?;
        let what = match change {
            MassChange::Overwrite => "overwrite",
            MassChange::Tombstone => "end",
        };
        let text = format!(
            "One sweep would {what} more than {changes} of {records} records: its changes wait until somebody \
             releases them (syncfleet release {}).",
            self.flow
        );
        Err(Fault::new(FaultKind::Paused { after: self.ask_again() }, "mass_change", text))
    }

    /// Counts a record once for each sweep, however often its run is repeated.
    async fn count_change(&self, sweep_id: &str, record_id: &str) -> Result<u64, Fault> {
        let seen = format!("counted/{}/{sweep_id}/{record_id}", self.flow);
        let mark = Write {
            expected: Expected::Absent,
            time_to_live: Some(SWEEP_MEMORY),
            ..Write::put(&seen, b"{}")
        };
        let amount = match self.state.write(mark).await? {
            Written::Done(_) => 1,
            Written::Clash => 0,
        };
        Ok(self.state.count(&format!("changes/{}/{sweep_id}", self.flow), amount, SWEEP_MEMORY).await?)
    }

    async fn hold(&self, entry: Held) -> Result<(), Fault> {
        self.edit_guard(|guard| {
            let known = guard.held.iter().any(|held| held.sweep_id == entry.sweep_id);
            if known || guard.held.len() >= HELD_MAX {
                return;
            }
            tracing::error!(
                sweep.id = entry.sweep_id,
                changes = entry.changes,
                records = entry.records,
                "a sweep would change too many records; its changes wait for a release"
            );
            guard.held.push(entry.clone());
        })
        .await
        .map(|_| ())
    }

    /// What waits for a release, in one sentence.
    pub async fn held_text(&self) -> Result<Option<String>, Fault> {
        let (guard, _) = self.read::<GuardState>(&self.guard_key()).await?.unwrap_or_default();
        let Some(first) = guard.held.first() else { return Ok(None) };
        let others = match guard.held.len() {
            1 => String::new(),
            n => format!(" (and {} later sweeps)", n - 1),
        };
        Ok(Some(format!(
            "the sweep of {} would change more than {} of {} records{others}: look at some with `syncfleet plan \
             {flow} ID`, then `syncfleet release {flow}`",
            first.since,
            first.changes,
            first.records,
            flow = self.flow
        )))
    }

    /// Releases all sweeps that wait, and those begun until now.
    pub async fn release(&self, by: &str, now: Timestamp) -> Result<u32, Fault> {
        let before = self
            .edit_guard(|guard| {
                if !guard.held.is_empty() {
                    *guard = GuardState {
                        held: Vec::new(),
                        released_at: Some(now),
                        released_by: Some(by.to_owned()),
                    };
                }
            })
            .await?;
        let released = u32::try_from(before.held.len()).unwrap_or(u32::MAX);
        if released > 0 {
            tracing::info!(by, released, "the changes of sweeps that waited were released");
        }
        Ok(released)
    }

    /// Edits the guard's document; answers what it was before.
    async fn edit_guard(&self, edit: impl Fn(&mut GuardState) + Send + Sync) -> Result<GuardState, Fault> {
        let key = self.guard_key();
        for _ in 0..TRIES_MAX {
            let found = self.read::<GuardState>(&key).await?;
            let expected =
                found.as_ref().map_or(Expected::Absent, |(_, version)| Expected::Version(*version));
            let before = found.map(|(guard, _)| guard).unwrap_or_default();
            let mut after = before.clone();
            edit(&mut after);
            self.show(&after);
            if after == before {
                return Ok(before);
            }
            let value = to_bytes(&after);
            if let Written::Done(_) = self.state.write(Write { expected, ..Write::put(&key, &value) }).await?
            {
                return Ok(before);
            }
        }
        Err(Fault::new(
            FaultKind::Paused { after: self.ask_again() },
            "guard_busy",
            "The mass-change guard keeps changing.",
        ))
    }

    fn show(&self, guard: &GuardState) {
        self.meter.set(&MASS_CHANGE_GUARD, &[self.flow], f64::from(u8::from(!guard.held.is_empty())));
    }

    fn ask_again(&self) -> Duration {
        let seconds = labelled::number(self.ask_again_label, ASK_AGAIN_SECONDS);
        Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
    }

    fn guard_key(&self) -> String {
        format!("guard/{}", self.flow)
    }

    fn facts_key(&self, sweep_id: &str) -> String {
        format!("sweep/{}/{sweep_id}", self.flow)
    }

    async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<(T, u64)>, Fault> {
        let Some(document) = self.state.get(key).await? else { return Ok(None) };
        let value = serde_json::from_slice(&document.value).map_err(|e| {
            Fault::bug("state_unreadable", format!("The document {key} cannot be read: {e}."))
        })?;
        Ok(Some((value, document.version)))
    }
}

fn to_bytes(value: &impl Serialize) -> Vec<u8> {
    // Serialising plain structs cannot fail.
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_share_and_number_have_to_be_exceeded() {
        for (changes, records, expected) in [
            (50, 100, false),
            (51, 100, true),
            (51, 1_000, false),
            (200, 1_000, false),
            (201, 1_000, true),
            (51, 0, true),
        ] {
            assert_eq!(is_mass_change(changes, records, 0.2, 50), expected, "{changes} of {records}");
        }
    }
}
