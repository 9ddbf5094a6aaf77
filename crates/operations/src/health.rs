//! Whether this process does its work: facts that its parts report, and readiness made of them.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;

/// Most parts that may report; further ones are left out and said so in the log.
const PARTS_MAX: usize = 200;

/// What the parts of this process reported last. Clones share the same facts.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<RwLock<BTreeMap<String, PartState>>>);

/// What one part reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartState {
    /// Whether it works.
    pub ready: bool,
    /// How it stands, or why it does not work.
    pub text: String,
}

/// All parts together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Whether every part works; false while none has reported.
    pub ready: bool,
    /// The parts by name.
    pub parts: BTreeMap<String, PartState>,
}

impl Health {
    /// Health that is not ready before each of `parts` has reported.
    pub fn expecting(parts: &[&str]) -> Self {
        let health = Self::default();
        parts.iter().for_each(|part| health.set(part, Err("has not reported yet".to_owned())));
        health
    }

    /// Reports how a part stands: `Ok` with how it stands, `Err` with why it does not work.
    pub fn set(&self, part: &str, fact: Result<String, String>) {
        let mut parts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if parts.len() >= PARTS_MAX && !parts.contains_key(part) {
            tracing::warn!(part, "too many parts report their health; this one is left out");
            return;
        }
        let ready = fact.is_ok();
        let text = fact.unwrap_or_else(|why| why);
        parts.insert(part.to_owned(), PartState { ready, text });
    }

    /// Takes a part out of account: it ended on purpose.
    pub fn forget(&self, part: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(part);
    }

    /// How all parts stand.
    pub fn readiness(&self) -> Readiness {
        let parts = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        Readiness { ready: !parts.is_empty() && parts.values().all(|part| part.ready), parts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_every_expected_part_has_said_so() {
        let health = Health::expecting(&["queue", "state"]);
        assert!(!health.readiness().ready);
        health.set("queue", Ok("connected".into()));
        assert!(!health.readiness().ready, "state has not reported");
        health.clone().set("state", Ok("connected".into()));
        assert!(health.readiness().ready);
        health.set("consumers_parties", Err("15 of 16 shards consuming".into()));
        assert!(!health.readiness().ready);
        assert_eq!(health.readiness().parts["consumers_parties"].text, "15 of 16 shards consuming");
        health.forget("consumers_parties");
        assert!(health.readiness().ready);
    }

    #[test]
    fn nobody_has_reported_is_not_ready() {
        assert!(!Health::default().readiness().ready);
    }

    #[test]
    fn the_number_of_parts_is_bounded() {
        let health = Health::default();
        (0..2 * PARTS_MAX).for_each(|n| health.set(&format!("part-{n}"), Ok(String::new())));
        assert_eq!(health.readiness().parts.len(), PARTS_MAX);
        health.set("part-0", Err("known parts still report".into()));
        assert!(!health.readiness().ready);
    }
}
