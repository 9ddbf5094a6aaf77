//! Answers as EspoCRM words them.

use serde_json::{Value, json};

use super::validation::Invalid;
use crate::wire::Answer;

/// JSON as PHP writes it: `/` and everything beyond ASCII escaped.
pub(super) fn php_json(value: &Value) -> String {
    let mut text = String::new();
    for character in value.to_string().chars() {
        match character {
            '/' => text.push_str("\\/"),
            character if character.is_ascii() => text.push(character),
            character => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    text
}

/// A body with the headers of a good answer.
pub(super) fn ok(value: &Value) -> Answer {
    Answer::status(200)
        .with("Content-Type", "application/json")
        .with("X-App-Timestamp", "1795182835")
        .with("Expires", "0")
        .with("Cache-Control", "no-store, no-cache, must-revalidate, post-check=0, pre-check=0")
        .body(php_json(value))
}

/// A refusal with a reason and no body.
pub(super) fn refuse(status: u16, reason: &str) -> Answer {
    Answer::status(status).with("Content-Type", "application/json").with("X-Status-Reason", reason)
}

/// 400 for a field.
pub(super) fn invalid(entity_type: &str, invalid: &Invalid) -> Answer {
    let Invalid { field, kind } = invalid;
    let reason =
        format!("Field validation failure; entityType: {entity_type}, field: {field}, type: {kind}.");
    refuse(400, &reason).body(php_json(&json!({
        "messageTranslation": {
            "label": "validationFailure", "scope": null, "data": { "field": field, "type": kind },
        }
    })))
}

/// The router's own errors.
pub(super) fn routing(status: u16, text: &str) -> Answer {
    Answer::status(status)
        .with("Content-Type", "application/json")
        .body(json!({ "message": text }).to_string())
}

/// A path known to the router, with another method.
pub(super) fn method_not_allowed(allow: &str) -> Answer {
    routing(405, "405 Method Not Allowed").with("Allow", allow)
}

/// Part of the real system, not of this simulator: never mistaken for a real answer.
pub(super) fn not_simulated(what: &str) -> Answer {
    Answer::json(501, &json!({ "message": format!("not simulated: {what}") }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_escaped_as_php_does() {
        assert_eq!(
            php_json(&json!({"a": "M\u{fc}ller ./. \u{1f600}"})),
            r#"{"a":"M\u00fcller .\/. \ud83d\ude00"}"#
        );
    }
}
