//! One account's limits for the whole fleet.
//!
//! The processes share one small document in the state store ([`ledger`]). Each looks at it about twice a second
//! while it uses the account, never per request, and writes it when something changes ([`seat`] says when, and what
//! holds meanwhile). All of that is pure; [`store`] reads and writes.

pub(crate) mod ledger;
pub(crate) mod seat;
pub(crate) mod store;

#[cfg(test)]
mod simulation;

use std::sync::Arc;

use shared::ports::state::State;

/// Where the fleet shares the limits of an account.
#[derive(Debug, Clone)]
pub struct Fleet {
    pub(crate) state: Arc<dyn State>,
    pub(crate) account: String,
}

impl Fleet {
    /// The account of `system` that `identity` names: the address, and who signs in. The same for every process
    /// that uses the account; holds no secrets. Only its hash is kept.
    pub fn new(state: Arc<dyn State>, system: &str, identity: &[&str]) -> Self {
        let hash = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, identity.join("\n").as_bytes());
        Self { state, account: format!("{system}-{}", hash.simple()) }
    }
}
