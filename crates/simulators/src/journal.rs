//! The ledger of accepted writes, and what a judge asks of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::store::Line;

/// Fields a system keeps by itself; a write that moves nothing else is a write without a change.
const BOOKKEEPING: [&str; 11] = [
    "modifiedAt",
    "modifiedById",
    "modifiedByName",
    "versionNumber",
    "streamUpdatedAt",
    "rowId",
    "geaendertAm",
    "@odata.etag",
    "etag",
    "changeKey",
    "lastModifiedDateTime",
];

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// A record was made.
    Create,
    /// A record was written, whether or not anything differed.
    Update,
    /// A record was deleted.
    Delete,
}

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A client of the simulated API.
    Api,
    /// A person at the screen of that system (through the control API).
    Person,
    /// The test or demo, laying out what was there before.
    Seed,
}

/// One accepted write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Rises by one with each entry of this simulator, from 1.
    pub sequence: u64,
    /// When, by the simulator's clock.
    pub at: Timestamp,
    /// `espocrm`, `advoware` or `microsoft`.
    pub system: String,
    /// What was done.
    pub operation: Operation,
    /// The kind of record: `CBeteiligte`, `Webhook`, `Note`, `Beteiligte`, `Kommunikation`.
    pub entity: String,
    /// The record's id in its system.
    pub record_id: String,
    /// Who did it.
    pub actor_kind: ActorKind,
    /// The user's name, or `seed`.
    pub actor: String,
    /// The whole record before; none for a create.
    pub before: Option<Value>,
    /// The whole record after; none for a delete.
    pub after: Option<Value>,
}

impl JournalEntry {
    /// The fields that differ between before and after, bookkeeping (`modifiedAt`, `rowId` ...) left out.
    #[must_use]
    pub fn changed_fields(&self) -> Vec<String> {
        let empty = serde_json::Map::new();
        let fields = |side: &Option<Value>| match side {
            Some(Value::Object(fields)) => fields.clone(),
            _ => empty.clone(),
        };
        let (before, after) = (fields(&self.before), fields(&self.after));
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let value = |side: &serde_json::Map<String, Value>, name: &str| {
            let mut value = side.get(name).cloned().unwrap_or(Value::Null);
            // Sub-records have row versions of their own.
            for entry in value.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
                entry.shift_remove("rowId");
            }
            value
        };
        names
            .into_iter()
            .filter(|name| !BOOKKEEPING.contains(&name.as_str()))
            .filter(|name| value(&before, name) != value(&after, name))
            .cloned()
            .collect()
    }
}

/// Updates by an API client after which every field but the bookkeeping ones was as before.
#[must_use]
pub fn writes_without_change(journal: &[JournalEntry]) -> Vec<&JournalEntry> {
    journal
        .iter()
        .filter(|entry| entry.actor_kind == ActorKind::Api && entry.operation == Operation::Update)
        .filter(|entry| entry.changed_fields().is_empty())
        .collect()
}

/// Groups of two or more records that API clients created with the same identity and that were not
/// deleted afterwards. `identity` names what the record stands for, from the record as created (for
/// instance a name that the test made unique); `None` leaves the record out.
pub fn duplicate_creates(
    journal: &[JournalEntry],
    identity: impl Fn(&Value) -> Option<String>,
) -> Vec<Vec<&JournalEntry>> {
    let deleted: BTreeSet<(&str, &str)> = journal
        .iter()
        .filter(|entry| entry.operation == Operation::Delete)
        .map(|entry| (entry.entity.as_str(), entry.record_id.as_str()))
        .collect();
    let mut groups: BTreeMap<(&str, String), Vec<&JournalEntry>> = BTreeMap::new();
    for entry in journal {
        let live = !deleted.contains(&(entry.entity.as_str(), entry.record_id.as_str()));
        if live
            && entry.operation == Operation::Create
            && entry.actor_kind == ActorKind::Api
            && let Some(identity) = entry.after.as_ref().and_then(&identity)
        {
            groups.entry((entry.entity.as_str(), identity)).or_default().push(entry);
        }
    }
    groups.into_values().filter(|group| group.len() > 1).collect()
}

/// Reads the journal that a simulator left in its folder (`espocrm.jsonl`, `advoware.jsonl`).
/// A last line cut short by a kill is passed over.
///
/// # Errors
/// When the file cannot be read, or a line other than a torn last one is no journal line.
pub fn read_file(path: &Path) -> io::Result<Vec<JournalEntry>> {
    let text = std::fs::read(path)?;
    Ok(Line::parse_all(&text)?.0.into_iter().filter_map(|line| line.entry).collect())
}
