//! Partial answers: `fields=nextSyncToken,items(id,start/dateTime)`.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use serde_json::Value;

/// How deep a selection may go; no schema goes deeper.
const DEPTH_MAX: usize = 16;

/// The members that are wanted, each with what is wanted of it; none stands for all.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Selection(BTreeMap<String, Selection>);

impl Selection {
    /// Reads a selector; none when it is none.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut rest = text.chars().peekable();
        let selection = read_list(&mut rest, DEPTH_MAX)?;
        rest.next().is_none().then_some(selection)
    }

    /// What is selected of a value.
    pub(super) fn of(&self, value: &Value) -> Value {
        if self.0.is_empty() {
            return value.clone();
        }
        match value {
            Value::Object(members) => {
                let wanted = |name: &String| self.0.get(name).or_else(|| self.0.get("*"));
                let chosen =
                    members.iter().filter_map(|(name, value)| Some((name.clone(), wanted(name)?.of(value))));
                Value::Object(chosen.collect())
            }
            Value::Array(items) => Value::Array(items.iter().map(|item| self.of(item)).collect()),
            other => other.clone(),
        }
    }

    /// The first member that the schema does not have.
    pub(super) fn unknown(&self, schemas: &Value, schema: &Value) -> Option<String> {
        let schema = match schema["$ref"].as_str() {
            Some(name) => &schemas[name],
            None => schema,
        };
        if schema["type"] == "array" {
            return self.unknown(schemas, &schema["items"]);
        }
        self.0.iter().find_map(|(name, inner)| {
            let own = &schema["properties"][name.as_str()];
            let member = if own.is_null() { &schema["additionalProperties"] } else { own };
            match (name.as_str(), member.is_null()) {
                ("*", _) => None,
                (name, true) => Some(name.to_owned()),
                (_, false) => inner.unknown(schemas, member),
            }
        })
    }
}

fn read_list(rest: &mut Peekable<Chars<'_>>, depth_left: usize) -> Option<Selection> {
    let mut found = Selection::default();
    loop {
        read_item(rest, &mut found, depth_left)?;
        if rest.next_if_eq(&',').is_none() {
            return Some(found);
        }
    }
}

fn read_item(rest: &mut Peekable<Chars<'_>>, into: &mut Selection, depth_left: usize) -> Option<()> {
    let depth_left = depth_left.checked_sub(1)?;
    let mut name = String::new();
    while let Some(letter) = rest.next_if(|letter| letter.is_ascii_alphanumeric() || "*_-".contains(*letter))
    {
        name.push(letter);
    }
    if name.is_empty() {
        return None;
    }
    let inner = into.0.entry(name).or_default();
    if rest.next_if_eq(&'/').is_some() {
        return read_item(rest, inner, depth_left);
    }
    if rest.next_if_eq(&'(').is_some() {
        let list = read_list(rest, depth_left)?;
        inner.0.extend(list.0);
        rest.next_if_eq(&')')?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(fields: &str) -> Value {
        let whole = json!({
            "kind": "k", "nextSyncToken": "t",
            "items": [{ "id": "1", "start": { "date": "d", "timeZone": "z" } }, { "id": "2", "status": "s" }],
        });
        Selection::read(fields).unwrap().of(&whole)
    }

    #[test]
    fn only_what_is_named_is_left() {
        assert_eq!(of("kind"), json!({ "kind": "k" }));
        assert_eq!(of("items/id"), json!({ "items": [{ "id": "1" }, { "id": "2" }] }));
        let expected = json!({ "nextSyncToken": "t", "items": [{ "id": "1", "start": { "date": "d" } }, { "id": "2" }] });
        assert_eq!(of("nextSyncToken,items(id,start/date)"), expected);
        assert_eq!(of("items(id,start(date))")["items"], expected["items"]);
        assert_eq!(of("items/*")["items"][1]["status"], "s");
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for fields in ["", ",", "a,", "a(", "a()", "a)b", "a//b", "a b", "a/"] {
            assert_eq!(Selection::read(fields), None, "{fields}");
        }
        assert_eq!(Selection::read(&format!("a{}", "/a".repeat(100))), None);
    }
}
