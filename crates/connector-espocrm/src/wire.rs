//! What is written: attributes in three states, and the check that the server kept them.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::values;

/// A partial write. Each attribute is in one of three states: left out (stays as it is), null (cleared), or a
/// value.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(transparent)]
pub struct Patch(Map<String, Value>);

impl Patch {
    /// A patch that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets an attribute; `None` clears it. An empty text is sent as null, since EspoCRM refuses `""` for dates
    /// and takes it for 0 in numbers; only an enum that has an empty option keeps it apart, see
    /// [`Patch::set_raw`].
    #[must_use]
    pub fn set(mut self, attribute: &str, value: impl Into<Value>) -> Self {
        let value = match value.into() {
            Value::String(text) if text.is_empty() => Value::Null,
            value => value,
        };
        self.0.insert(attribute.to_owned(), value);
        self
    }

    /// Clears an attribute.
    #[must_use]
    pub fn clear(self, attribute: &str) -> Self {
        self.set(attribute, Value::Null)
    }

    /// Sets an attribute to exactly this.
    #[must_use]
    pub fn set_raw(mut self, attribute: &str, value: Value) -> Self {
        self.0.insert(attribute.to_owned(), value);
        self
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The attributes, in the order in which they were set.
    pub fn attributes(&self) -> &Map<String, Value> {
        &self.0
    }
}

/// The attributes that EspoCRM did not keep as they were sent: unknown to it, read-only, or changed by a formula
/// of its own. It says nothing about that, so the answer is compared with what was sent.
pub(crate) fn dropped<'a>(sent: &'a Patch, answer: &Map<String, Value>, created: bool) -> Vec<&'a str> {
    let kept = |name: &str, value: &Value| match answer.get(name) {
        Some(now) => means_the_same(value, now),
        // The answer to a create leaves out what is null.
        None => created && means_the_same(value, &Value::Null),
    };
    let checked = sent.0.iter().filter(|(name, _)| is_comparable(name));
    checked.filter(|(name, value)| !kept(name, value)).map(|(name, _)| name.as_str()).collect()
}

/// Phone numbers are rewritten by the server, and the answer to a write can show the `…Data` from before it.
fn is_comparable(attribute: &str) -> bool {
    !matches!(attribute, "phoneNumber" | "phoneNumberData" | "emailAddressData")
}

fn means_the_same(sent: &Value, now: &Value) -> bool {
    match (sent, now) {
        (Value::Array(_) | Value::Object(_), Value::Array(_) | Value::Object(_)) => true,
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::String(text), Value::Number(number)) => text.trim() == number.to_string(),
        _ => as_text(sent).is_some_and(|sent| as_text(now) == Some(sent)) || sent == now,
    }
}

/// Texts and null in one form; a text of several lines is kept by the server as it is, a varchar is trimmed.
fn as_text(value: &Value) -> Option<Option<&str>> {
    match value {
        Value::Null => Some(None),
        Value::String(text) => Some(values::normalise(text)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use serde_json::json;

    fn check(fixture: &str, created: bool, expected: &[&str]) {
        let exchange = fixtures::load(fixture);
        let sent = Patch(exchange.request_json().as_object().unwrap().clone());
        let answer = exchange.answer_json();
        assert_eq!(dropped(&sent, answer.as_object().unwrap(), created), expected, "{fixture}");
    }

    #[test]
    fn what_the_server_kept_and_what_it_dropped() {
        check("101-create", true, &[]);
        check("103-put-partial", false, &[]);
        check("105-put-null", false, &[]);
        check("122-put-version-ok", false, &[]);
        check("121-put-text-plain-ignored", false, &["firstName"]);
        check(
            "106-put-unknown-and-readonly",
            false,
            &["noSuchAttribute", "deleted", "id", "createdAt", "createdById", "modifiedAt"],
        );
        check("119-normalisation-trim", false, &[]);
    }

    #[test]
    fn absent_null_and_empty_are_told_apart_where_it_matters() {
        let patch = Patch::new().set("a", "").clear("b").set("c", "x");
        assert_eq!(serde_json::to_value(&patch).unwrap(), json!({"a": null, "b": null, "c": "x"}));
        let answer = json!({"a": null, "c": "x"});
        assert_eq!(dropped(&patch, answer.as_object().unwrap(), true), [""; 0]);
        assert_eq!(dropped(&patch, answer.as_object().unwrap(), false), ["b"]);
    }

    #[test]
    fn numbers_compare_by_value() {
        for (sent, now, same) in [
            (json!(5), json!(5.0), true),
            (json!("123"), json!(123), true),
            (json!(1.5), json!(1), false),
            (json!(true), json!(true), true),
            (json!(true), json!(false), false),
            (json!("x"), json!(null), false),
        ] {
            assert_eq!(means_the_same(&sent, &now), same, "{sent} {now}");
        }
    }
}
