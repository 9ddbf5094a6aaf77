//! The recorded exchanges in `fixtures/`.

use doubles::{Exchange, Recordings};
use serde_json::Value;

const RECORDINGS: Recordings =
    Recordings { system: crate::SYSTEM, folder: env!("CARGO_MANIFEST_DIR"), base: "/api/v1/" };

/// Reads `fixtures/{name}.http`.
pub(crate) fn load(name: &str) -> Exchange {
    RECORDINGS.load(name)
}

/// The decoded parameter `searchParams`.
pub(crate) fn search_params(name: &str) -> Value {
    serde_json::from_str(&load(name).query("searchParams").unwrap()).unwrap()
}
