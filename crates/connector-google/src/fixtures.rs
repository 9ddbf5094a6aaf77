//! The vendor's examples, for tests.

use http_client::Answer;
use serde_json::Value;

use crate::SYSTEM;

/// The text of an example.
pub(crate) fn text(name: &str) -> String {
    let path = format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// An example as an answer with a good status.
pub(crate) fn answer(name: &str) -> Answer {
    Answer::recorded(SYSTEM, "GET test", 200, &[("Content-Type", "application/json")], text(name))
}

/// An example of an error, with the status that it names.
pub(crate) fn error(name: &str, headers: &[(&str, &str)]) -> Answer {
    let body = text(&format!("{name}.json"));
    let status = serde_json::from_str::<Value>(&body).unwrap()["error"]["code"].as_u64().unwrap();
    let headers = [&[("Content-Type", "application/json; charset=UTF-8")], headers].concat();
    Answer::recorded(SYSTEM, "PATCH test", u16::try_from(status).unwrap(), &headers, body)
}
