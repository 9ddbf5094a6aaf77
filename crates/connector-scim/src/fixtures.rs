//! The recorded exchanges in `fixtures/`.

use doubles::{Exchange, Recordings};
use http_client::Answer;

const RECORDINGS: Recordings =
    Recordings { system: crate::SYSTEM, folder: env!("CARGO_MANIFEST_DIR"), base: "/v2/" };

/// Reads `fixtures/{name}.http`.
pub(crate) fn load(name: &str) -> Exchange {
    RECORDINGS.load(name)
}

/// The recorded answer, as if the connector had received it.
pub(crate) fn answer(name: &str) -> Answer {
    let exchange = load(name);
    exchange.answer(&format!("{} test", exchange.method))
}

/// An answer that nobody recorded.
pub(crate) fn made(status: u16, kind: &str, body: &str) -> Answer {
    Answer::recorded(crate::SYSTEM, "GET test", status, &[("Content-Type", kind)], body.to_owned())
}
