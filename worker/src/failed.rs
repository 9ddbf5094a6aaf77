//! Which records of a shard may have an open dead letter or a retry that waits: those that had one when the shard was
//! taken, and what failed here since. Who holds the shard runs its records alone, so that nobody else
//! marks them, but for an operator's `dlq rebuild`.

use std::collections::HashSet;

use shared::marks;
use shared::ports::state::State;
use shared::record_key::RecordKey;
use shared::routing::Shard;
use tracing::debug;

/// Most records that are kept; where there are more, each may be one.
const RECORDS_MAX: usize = 2_000;

/// The records. A record stays until the shard is taken anew.
#[derive(Debug, Default)]
pub struct Failed(Option<HashSet<RecordKey>>);

impl Failed {
    /// Reads those that were marked before the shard was taken. Where they cannot be read, each may be one.
    pub async fn load(state: &dyn State, shard: &Shard) -> Self {
        match marks::failed(state, &shard.flow, RECORDS_MAX).await {
            Ok(failed) => Self(failed),
            Err(problem) => {
                debug!(shard = %shard, "Which records have failed is not known: {problem}");
                Self(None)
            }
        }
    }

    /// Whether a record may be one.
    pub fn may_have(&self, record: &RecordKey) -> bool {
        self.0.as_ref().is_none_or(|failed| failed.contains(record))
    }

    /// A run of the record did not succeed.
    pub fn add(&mut self, record: &RecordKey) {
        let Some(failed) = &mut self.0 else { return };
        failed.insert(record.clone());
        if failed.len() > RECORDS_MAX {
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: usize) -> RecordKey {
        format!("parties:{number}").parse().unwrap()
    }

    #[test]
    fn where_too_many_have_failed_each_may_have() {
        let mut failed = Failed(Some(HashSet::new()));
        (0..RECORDS_MAX).for_each(|number| failed.add(&record(number)));
        assert!(failed.may_have(&record(0)) && !failed.may_have(&record(RECORDS_MAX)));
        failed.add(&record(RECORDS_MAX));
        assert!(failed.may_have(&record(RECORDS_MAX + 1)));
    }
}
