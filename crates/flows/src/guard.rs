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
/// Waiting sweeps that are shown one by one.
const SHOWN_MAX: usize = 5;
/// Released sweeps that are remembered: all that can wait at once, of two releases.
const RELEASED_MAX: usize = 2 * HELD_MAX;
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
    /// The sweeps that waited when somebody released them, the last ones.
    #[serde(default)]
    released: Vec<String>,
    /// How many records the largest of them would change, as it was shown: a sweep that had begun by then and did not wait
    /// yet finds most of the same. None where that was not kept.
    #[serde(default)]
    released_changes: Option<u64>,
}

impl GuardState {
    /// Whether so many changes of a sweep were released.
    fn is_released(&self, sweep_id: &str, begun_at: Option<Timestamp>, changes: u64) -> bool {
        let had_begun = begun_at.is_some() && self.released_at >= begun_at;
        let is_like_shown = self.released_changes.is_none_or(|shown| changes <= shown);
        self.released.iter().any(|id| id == sweep_id) || (had_begun && is_like_shown)
    }

    /// Without what waits, which somebody was shown and releases. `changes` are how many there are by now, of each.
    fn release(&mut self, changes: &[u64], by: &str, now: Timestamp) {
        self.released.extend(self.held.drain(..).map(|held| held.sweep_id));
        let forgotten = self.released.len().saturating_sub(RELEASED_MAX);
        self.released.drain(..forgotten);
        self.released_changes = changes.iter().max().copied();
        (self.released_at, self.released_by) = (Some(now), Some(by.to_owned()));
    }
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

/// What waits, and how many records each would change by now.
fn held_text(flow: &str, held: &[Held], changes: &[u64]) -> String {
    let one = |(held, changes): (&Held, &u64)| {
        format!("the sweep of {} would change {changes} of {} records", held.since, held.records)
    };
    let shown: Vec<String> = held.iter().zip(changes).take(SHOWN_MAX).map(one).collect();
    let later = changes.get(SHOWN_MAX..).unwrap_or_default();
    let later = match later.iter().max() {
        None => String::new(),
        Some(most) => format!(", {} later ones {most} each at most", later.len()),
    };
    format!(
        "{}{later} (as counted by now): look at some with `syncfleet plan {flow} ID`, then `syncfleet release {flow}`",
        shown.join(", ")
    )
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
        let changes = self.count_change(sweep_id, record_id).await?;
        if guard.is_released(sweep_id, facts.as_ref().map(|facts| facts.at), changes) {
            return Ok(());
        }
        let records = facts.map_or(0, |facts| facts.records);
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
            "One sweep would {what} {changes} of {records} records or more: its changes wait until somebody releases them \
             (syncfleet release {}).",
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
        self.count(sweep_id, amount).await
    }

    /// The records that a sweep would change, with so many more.
    async fn count(&self, sweep_id: &str, more: u64) -> Result<u64, Fault> {
        Ok(self.state.count(&format!("changes/{}/{sweep_id}", self.flow), more, SWEEP_MEMORY).await?)
    }

    /// How many records each of these would change by now: those that wait are counted as well.
    async fn changes(&self, held: &[Held]) -> Result<Vec<u64>, Fault> {
        let mut changes = Vec::with_capacity(held.len());
        for held in held {
            changes.push(self.count(&held.sweep_id, 0).await?.max(held.changes));
        }
        Ok(changes)
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
        if guard.held.is_empty() {
            return Ok(None);
        }
        Ok(Some(held_text(self.flow, &guard.held, &self.changes(&guard.held).await?)))
    }

    /// Releases all sweeps that wait; of those that had begun by then and do not wait yet, as many changes as were shown.
    pub async fn release(&self, by: &str, now: Timestamp) -> Result<u32, Fault> {
        let (guard, _) = self.read::<GuardState>(&self.guard_key()).await?.unwrap_or_default();
        let changes = self.changes(&guard.held).await?;
        let edit = |guard: &mut GuardState| {
            if !guard.held.is_empty() {
                guard.release(&changes, by, now);
            }
        };
        let before = self.edit_guard(edit).await?;
        let released = u32::try_from(before.held.len()).unwrap_or(u32::MAX);
        if released > 0 {
            tracing::info!(by, released, ?changes, "the changes of sweeps that waited were released");
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

    use doubles::MemoryState;
    use shared::meter::NoMeter;

    fn guard() -> MassGuard {
        MassGuard {
            flow: "directory",
            ask_again_label: "directory.ask_again_seconds",
            share_max: 0.2,
            count_min: 50,
            state: Arc::new(MemoryState::default()),
            meter: Arc::new(NoMeter),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    impl MassGuard {
        async fn begins(&self, sweep_id: &str, second: i64) {
            self.keep_facts(sweep_id, &SweepFacts { records: 200, at: at(second) }).await.unwrap();
        }

        /// How many of so many records' changes are permitted.
        async fn permitted(&self, sweep_id: &str, records: u64) -> u64 {
            let mut permitted = 0;
            for n in 0..records {
                let result =
                    self.permit(Some(sweep_id), &n.to_string(), MassChange::Tombstone, at(100)).await;
                permitted += u64::from(result.is_ok());
            }
            permitted
        }
    }

    #[tokio::test]
    async fn what_waits_is_shown_with_what_has_come_to_it_by_now() {
        let guard = guard();
        assert_eq!(guard.held_text().await.unwrap(), None);
        guard.begins("s1", 1).await;
        guard.begins("s2", 2).await;
        assert_eq!((guard.permitted("s1", 120).await, guard.permitted("s2", 3).await), (50, 0));
        insta::assert_snapshot!(guard.held_text().await.unwrap().unwrap(), @"the sweep of 1970-01-01T00:01:40Z would change 120 of 200 records, the sweep of 1970-01-01T00:01:40Z would change 3 of 200 records (as counted by now): look at some with `syncfleet plan directory ID`, then `syncfleet release directory`");
        for n in 3..10 {
            guard.begins(&format!("s{n}"), n).await;
            guard.permitted(&format!("s{n}"), n.unsigned_abs()).await;
        }
        insta::assert_snapshot!(guard.held_text().await.unwrap().unwrap(), @"the sweep of 1970-01-01T00:01:40Z would change 120 of 200 records, the sweep of 1970-01-01T00:01:40Z would change 3 of 200 records, the sweep of 1970-01-01T00:01:40Z would change 3 of 200 records, the sweep of 1970-01-01T00:01:40Z would change 4 of 200 records, the sweep of 1970-01-01T00:01:40Z would change 5 of 200 records, 4 later ones 9 each at most (as counted by now): look at some with `syncfleet plan directory ID`, then `syncfleet release directory`");
    }

    #[tokio::test]
    async fn a_release_frees_what_was_shown_and_no_larger_one() {
        let guard = guard();
        for (n, sweep_id) in ["s1", "same", "larger", "far larger"].into_iter().enumerate() {
            guard.begins(sweep_id, i64::try_from(n).unwrap()).await;
        }
        guard.permitted("s1", 120).await;
        guard.permitted("larger", 150).await;
        assert_eq!(guard.release("anna", at(10)).await.unwrap(), 2);
        // More of what was shown may come.
        assert_eq!((guard.permitted("s1", 130).await, guard.permitted("larger", 150).await), (130, 150));
        assert_eq!(guard.permitted("same", 120).await, 120, "it finds what is not done yet once more");
        assert_eq!(guard.permitted("far larger", 180).await, 150, "nobody was shown that");
        assert!(guard.held_text().await.unwrap().unwrap().contains("180 of 200"));
        assert_eq!(guard.permitted("s1", 130).await, 130, "what was released stays so");
        assert_eq!(guard.release("anna", at(11)).await.unwrap(), 1);
        assert_eq!(guard.permitted("far larger", 180).await, 180);
        guard.begins("next", 12).await;
        assert_eq!(guard.permitted("next", 120).await, 50, "what begins later is another matter");
    }

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
