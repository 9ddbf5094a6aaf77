//! The vendor's own description: which operations there are, which query options each has, which bodies are well-formed.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// One operation of the description.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Operation {
    /// Query options it knows.
    #[serde(default)]
    pub(super) query: Vec<String>,
    /// Type of its body.
    pub(super) body: Option<String>,
    /// Members of an action's body.
    pub(super) members: Option<Vec<String>>,
    /// Schema of a body that has no name.
    schema: Option<Value>,
}

impl Operation {
    pub(super) fn has_body(&self) -> bool {
        self.body.is_some() || self.members.is_some() || self.schema.is_some()
    }
}

#[derive(Debug, Deserialize)]
struct Operations {
    paths: BTreeMap<String, BTreeMap<String, Operation>>,
}

/// What the description says about a request's method and path.
#[derive(Debug)]
pub(super) enum Found {
    /// The path's template and the operation.
    Operation(&'static str, &'static Operation),
    /// The path is there, the method is not.
    NoMethod,
    /// No such path.
    Nothing,
}

struct Description {
    operations: Operations,
    definitions: Map<String, Value>,
    validators: BTreeMap<String, Validator>,
}

fn description() -> Option<&'static Description> {
    static DESCRIPTION: OnceLock<Result<Description, String>> = OnceLock::new();
    match DESCRIPTION.get_or_init(load) {
        Ok(description) => Some(description),
        Err(error) => {
            tracing::error!(%error, "the description of Microsoft Graph could not be read");
            None
        }
    }
}

fn load() -> Result<Description, String> {
    let operations = serde_json::from_str(include_str!("data/graph_operations.json"));
    let operations: Operations = operations.map_err(|error| error.to_string())?;
    let schemas: Value =
        serde_json::from_str(include_str!("data/graph_schemas.json")).map_err(|error| error.to_string())?;
    let definitions = schemas["$defs"].as_object().cloned().unwrap_or_default();
    let mut validators = BTreeMap::new();
    for name in definitions.keys() {
        let schema = json!({ "$ref": format!("#/$defs/{name}"), "$defs": definitions });
        let validator = jsonschema::validator_for(&schema).map_err(|error| error.to_string())?;
        validators.insert(name.clone(), validator);
    }
    for (path, methods) in &operations.paths {
        for (method, operation) in methods {
            if let Some(schema) = &operation.schema {
                let validator = jsonschema::validator_for(schema).map_err(|error| error.to_string())?;
                validators.insert(format!("{method} {path}"), validator);
            }
        }
    }
    Ok(Description { operations, definitions, validators })
}

/// Looks a path up; its segments are decoded and begin behind the version.
pub(super) fn find(method: &str, segments: &[String]) -> Found {
    let Some(description) = description() else { return Found::Nothing };
    let mut segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if let ["users", _, ..] = segments.as_slice() {
        segments.splice(0..2, ["me"]);
    }
    for segment in &mut segments {
        let name = segment.strip_prefix("microsoft.graph.").unwrap_or(segment);
        *segment = name.strip_suffix("()").unwrap_or(name);
    }
    let fits = |template: &str| {
        let parts = template.split('/').skip(1);
        parts.clone().count() == segments.len()
            && parts.zip(&segments).all(|(part, segment)| {
                if part.starts_with('{') { !segment.is_empty() } else { part == *segment }
            })
    };
    match description.operations.paths.iter().find(|(template, _)| fits(template)) {
        None => Found::Nothing,
        Some((template, methods)) => match methods.get(method) {
            Some(operation) => Found::Operation(template, operation),
            None => Found::NoMethod,
        },
    }
}

/// The body of a request with its enumerations in the service's case; an error says what the description has against it.
pub(super) fn read_body(
    method: &str,
    template: &str,
    operation: &Operation,
    mut body: Value,
) -> Result<Map<String, Value>, String> {
    if let Some(name) = &operation.body {
        fold(&json!({ "$ref": format!("#/$defs/{name}") }), &mut body);
        conforms(name, &body)?;
    } else if let Some(members) = &operation.members {
        let Value::Object(sent) = body else { return Err("the body is no object".to_owned()) };
        let mut named = Map::new();
        for (name, value) in sent {
            let known = members.iter().find(|member| member.eq_ignore_ascii_case(&name));
            let known =
                known.ok_or_else(|| format!("the parameter {name} does not exist in method {template}"))?;
            named.insert(known.clone(), value);
        }
        return Ok(named);
    } else if operation.schema.is_some() {
        conforms(&format!("{method} {template}"), &body)?;
    }
    match body {
        Value::Object(body) => Ok(body),
        _ => Err("the body is no object".to_owned()),
    }
}

/// An event as a person's hand writes it: as a client would, and with the case of enumerations folded.
pub(super) fn read_event(mut body: Value) -> Result<Map<String, Value>, String> {
    fold(&json!({ "$ref": "#/$defs/event" }), &mut body);
    conforms("event", &body)?;
    match body {
        Value::Object(body) => Ok(body),
        _ => Err("the event is no object".to_owned()),
    }
}

/// Whether a value is one of the named type (`event`, `eventDeltaPage`, `error`, ...), as the vendor describes it.
///
/// # Errors
/// Says what the description has against it.
pub fn conforms(name: &str, value: &Value) -> Result<(), String> {
    let validator = description().and_then(|description| description.validators.get(name));
    let validator = validator.ok_or_else(|| format!("the description has no type {name}"))?;
    let errors: Vec<String> = validator
        .iter_errors(value)
        .take(3)
        .map(|error| format!("{} at '{}'", shortened(&error.to_string()), error.instance_path()))
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= 300 {
        text.to_owned()
    } else {
        text.chars().take(300).collect::<String>() + "…"
    }
}

/// Puts every enumeration in the case in which the service answers it.
fn fold(schema: &Value, value: &mut Value) {
    let Some(description) = description() else { return };
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
        if let Some(definition) = description.definitions.get(name) {
            fold(definition, value);
        }
        return;
    }
    if let (Some(members), Value::String(text)) = (schema["enum"].as_array(), &mut *value) {
        let known = members.iter().filter_map(Value::as_str).find(|member| member.eq_ignore_ascii_case(text));
        if let Some(known) = known {
            known.clone_into(text);
        }
    }
    for alternative in schema["anyOf"].as_array().into_iter().flatten() {
        fold(alternative, value);
    }
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if let Some(schema) = schema["properties"].get(name.as_str()) {
                    fold(schema, member);
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                fold(&schema["items"], item);
            }
        }
        _ => {}
    }
}

/// Whether the type has a member of that name, for `$select`.
pub(super) fn has_member(name: &str, member: &str) -> bool {
    let definition = description().and_then(|description| description.definitions.get(name));
    definition.is_some_and(|definition| definition["properties"].get(member).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &str) -> Vec<String> {
        path.split('/').map(str::to_owned).collect()
    }

    #[test]
    fn functions_have_three_names_and_a_user_is_as_me() {
        for path in [
            "me/calendarView/delta",
            "me/calendarView/delta()",
            "users/anna@kanzlei.example/calendarView/microsoft.graph.delta()",
        ] {
            let Found::Operation(template, operation) = find("GET", &segments(path)) else {
                panic!("{path}")
            };
            assert_eq!(template, "/me/calendarView/delta");
            assert!(operation.query.iter().any(|option| option == "$deltatoken"));
        }
        assert!(matches!(find("PUT", &segments("me/events")), Found::NoMethod));
        assert!(matches!(find("GET", &segments("me/messages")), Found::Nothing));
    }

    #[test]
    fn a_body_is_closed_and_its_case_is_folded() {
        let Found::Operation(template, operation) = find("POST", &segments("me/events")) else { panic!() };
        let read = |body| read_body("POST", template, operation, body);
        let body =
            read(json!({ "showAs": "OOF", "body": { "contentType": "HTML", "content": "" } })).unwrap();
        assert_eq!((&body["showAs"], &body["body"]["contentType"]), (&json!("oof"), &json!("html")));
        for body in [
            json!({ "subjct": "x" }),
            json!({ "subject": 1 }),
            json!({ "showAs": "asleep" }),
            json!({ "body": { "content": "x", "colour": "red" } }),
            json!([]),
        ] {
            assert!(read(body.clone()).is_err(), "{body}");
        }
    }

    #[test]
    fn an_action_takes_its_parameters_in_any_case() {
        let Found::Operation(template, operation) = find("POST", &segments("me/events/x/accept")) else {
            panic!()
        };
        let read = |body| read_body("POST", template, operation, body);
        assert_eq!(read(json!({ "sendResponse": false })).unwrap()["SendResponse"], false);
        assert!(read(json!({ "sendMail": false })).is_err());
    }
}
