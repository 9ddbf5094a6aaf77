//! Recorded answers and vectors, for tests.

use http_client::Answer;
use serde_json::Value;

use crate::SYSTEM;

/// The text of a fixture.
pub(crate) fn text(name: &str) -> String {
    let path = format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The content of a fixture.
pub(crate) fn json(name: &str) -> Value {
    serde_json::from_str(&text(name)).unwrap()
}

/// An answer with this body, as WeCom gives it whatever it means.
pub(crate) fn answer(body: impl Into<String>) -> Answer {
    let headers = [("Content-Type", "application/json; charset=UTF-8")];
    Answer::recorded(SYSTEM, "GET test", 200, &headers, body.into())
}

/// An error in WeCom's words.
pub(crate) fn error(code: i64, said: &str) -> Answer {
    answer(serde_json::json!({"errcode": code, "errmsg": said}).to_string())
}
