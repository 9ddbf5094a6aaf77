//! The marks of a record key, read together.

use std::collections::HashSet;

use uuid::Uuid;

use crate::dead_mark::{self, DeadMark};
use crate::parking::{self, Parked};
use crate::ports::PortError;
use crate::ports::state::{LOOK_KEYS_MAX, State};
use crate::record_key::{FlowName, RecordKey};
use crate::retry_mark;

/// Kinds of marks.
const KINDS: usize = 3;
/// Most records that are looked for at once.
pub const RECORDS_MAX: usize = LOOK_KEYS_MAX / KINDS;

/// Marks that are read at once.
const PAGE: u32 = 500;

/// What is remembered of a record key beside its links.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks {
    /// Its open dead letters.
    pub dead: Option<DeadMark>,
    /// The message that waits for its next attempt.
    pub retry: Option<Uuid>,
    /// The messages that wait for it.
    pub parked: Vec<Parked>,
}

/// The marks of a key, in one round trip to the store.
///
/// # Errors
/// As the store's. A mark that cannot be read counts as absent.
pub async fn load(state: &dyn State, record: &RecordKey) -> Result<Marks, PortError> {
    let mut found = state.get_many(&keys(record).each_ref().map(String::as_str)).await?.into_iter();
    let mut next = || found.next().flatten();
    Ok(Marks {
        dead: next().and_then(|document| dead_mark::parse(&document)),
        retry: next().and_then(|document| retry_mark::parse(&document)),
        parked: next().and_then(|document| parking::parse(&document)).unwrap_or_default(),
    })
}

/// Which of at most [`RECORDS_MAX`] records have any mark, in one round trip to the store.
///
/// # Errors
/// As the store's.
pub async fn are_marked(state: &dyn State, records: &[RecordKey]) -> Result<Vec<bool>, PortError> {
    let keys: Vec<String> = records.iter().flat_map(keys).collect();
    let present = state.are_present(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    Ok(present.chunks(KINDS).map(|marks| marks.contains(&true)).collect())
}

/// The records of a flow that have an open dead letter or wait for their next attempt; `None` where there are more than
/// `count_max` of them. Read page by page.
///
/// # Errors
/// As the store's.
pub async fn failed(
    state: &dyn State,
    flow: &FlowName,
    count_max: usize,
) -> Result<Option<HashSet<RecordKey>>, PortError> {
    let mut failed = HashSet::new();
    for prefix in [dead_mark::prefix(flow), retry_mark::prefix(flow)] {
        let mut after: Option<String> = None;
        loop {
            let page = state.scan(&prefix, after.as_deref(), PAGE).await?;
            let ids = page.iter().filter_map(|(key, _)| key.strip_prefix(&prefix));
            failed.extend(ids.filter_map(|id| RecordKey::new(flow.clone(), id).ok()));
            if failed.len() > count_max {
                return Ok(None);
            }
            let Some((last, _)) = page.into_iter().next_back() else { break };
            after = Some(last);
        }
    }
    Ok(Some(failed))
}

fn keys(record: &RecordKey) -> [String; KINDS] {
    [dead_mark::key(record), retry_mark::key(record), parking::key(record)]
}
