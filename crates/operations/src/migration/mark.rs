//! What a store says of the migration that it takes part in.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::ports::PortError;
use shared::ports::state::{State, Write};
use shared::record_key::FlowName;
use uuid::Uuid;

/// What a queue remembers that takes part in a migration, or was migrated away: so that a producer sees it whose store
/// is away.
pub const QUEUE: &str = "migration";
/// Why nobody may publish into such a queue.
pub const QUEUE_OBSTACLE: &str = "this queue is being migrated, or was migrated away: run `syncfleet migrate` to its \
     end, or start the programs with the new settings";
/// The key of the mark.
pub(super) const KEY: &str = "migration";

/// What part a store takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// It is being moved away from here.
    Leaving,
    /// It was moved away from here; what is held here grows old.
    Left,
    /// It is being moved here, and is not complete.
    Arriving,
}

/// The mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Which migration.
    pub id: Uuid,
    /// What part this store takes in it.
    pub part: Part,
    /// The other side's name.
    pub other: String,
    /// When it began.
    pub at: Timestamp,
    /// What was moved of each flow so far.
    pub moved: BTreeMap<FlowName, Moved>,
}

/// Messages that were moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Moved {
    /// How many: published there and removed here.
    pub messages: u64,
    /// The sum over them: of the first eight bytes of the SHA-256 of each, wrapping.
    pub checksum: u64,
    /// Messages that are being moved now.
    pub under_way: u64,
    /// Messages that were under way when it was interrupted: so many may be there once more than counted.
    pub interrupted: u64,
}

impl Mark {
    /// A mark of a migration that begins.
    pub(super) fn new(id: Uuid, part: Part, other: &str, at: Timestamp) -> Self {
        Self { id, part, other: other.to_owned(), at, moved: BTreeMap::new() }
    }
}

/// Why nobody may serve this store; none when everything is as it should be.
///
/// # Errors
/// As the store's.
pub async fn obstacle(state: &dyn State) -> Result<Option<String>, PortError> {
    let Some(mark) = load(state).await? else { return Ok(None) };
    let Mark { other, at, .. } = &mark;
    Ok(Some(match mark.part {
        Part::Left => format!(
            "the installation was migrated to {other} at {at}: configure that one; what is held here grows old, and \
             can be cleared"
        ),
        Part::Leaving => {
            format!("a migration to {other} has begun at {at} and not ended: run `syncfleet migrate` again")
        }
        Part::Arriving => {
            format!("a migration from {other} has begun at {at} and not ended: run `syncfleet migrate` again")
        }
    }))
}

/// Reads the mark.
///
/// # Errors
/// As the store's; [`PortError::Misconfigured`] when it cannot be read.
pub(super) async fn load(state: &dyn State) -> Result<Option<Mark>, PortError> {
    let Some(document) = state.get(KEY).await? else { return Ok(None) };
    serde_json::from_slice(&document.value).map(Some).map_err(|error| {
        PortError::Misconfigured(format!(
            "the document '{KEY}' cannot be read, written by a newer version? {error}"
        ))
    })
}

pub(super) async fn save(state: &dyn State, mark: &Mark) -> Result<(), PortError> {
    // Serialising plain structs with string keys cannot fail.
    let value = serde_json::to_vec(mark).unwrap_or_default();
    state.write(Write::put(KEY, &value)).await.map(|_| ())
}

pub(super) async fn remove(state: &dyn State) -> Result<(), PortError> {
    state.write(Write::delete(KEY)).await.map(|_| ())
}
