//! The vendor's own description of the API (a discovery document, pruned to what is simulated), and what of a request
//! lies outside it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use jiff::Timestamp;
use jsonschema::Validator;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::fields::Selection;
use crate::wire::Request;

const DOCUMENT: &str = include_str!("data/calendar.v3.json");
/// Words of discovery schemas that JSON Schema does not know or means otherwise.
const FOREIGN_WORDS: [&str; 5] = ["id", "format", "annotations", "default", "readOnly"];

/// A method of the API.
#[derive(Debug)]
pub(super) struct Method {
    pub(super) id: String,
    verb: String,
    path: Vec<String>,
    parameters: BTreeMap<String, Value>,
    pub(super) scopes: BTreeSet<String>,
    body: Option<Validator>,
    /// Schema of the answer, as a reference.
    answer: Value,
}

/// A request that fits the description.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: &'static Method,
    /// Decoded, in the order of the path.
    pub(super) path: BTreeMap<String, String>,
    /// Decoded, in order; only names that the method or every method has.
    pub(super) query: Vec<(String, String)>,
    /// The body, when the method takes one.
    pub(super) body: Map<String, Value>,
}

impl Call {
    pub(super) fn path(&self, name: &str) -> &str {
        self.path.get(name).map(String::as_str).unwrap_or_default()
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn parameters<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn is_on(&self, name: &str) -> bool {
        self.parameter(name) == Some("true")
    }

    pub(super) fn time(&self, name: &str) -> Option<Timestamp> {
        self.parameter(name)?.parse().ok()
    }

    pub(super) fn number(&self, name: &str) -> Option<usize> {
        self.parameter(name)?.parse().ok()
    }
}

/// All methods.
#[derive(Debug)]
pub(super) struct Description {
    methods: Vec<Method>,
    schemas: Value,
}

/// The description, read once per process.
pub(super) fn get() -> Result<&'static Description, String> {
    static READ: OnceLock<Result<Description, String>> = OnceLock::new();
    READ.get_or_init(|| Description::read(DOCUMENT)).as_ref().map_err(Clone::clone)
}

impl Description {
    fn read(document: &str) -> Result<Self, String> {
        let document: Value = serde_json::from_str(document).map_err(|error| error.to_string())?;
        let members = |value: &Value| value.as_object().cloned().unwrap_or_default();
        let mut methods = Vec::new();
        for resource in members(&document["resources"]).values() {
            for method in members(&resource["methods"]).values() {
                methods.push(Method::read(&document, method)?);
            }
        }
        Ok(Self { methods, schemas: document["schemas"].clone() })
    }

    /// The method that a request's verb and path name.
    pub(super) fn method(&self, request: &Request, path: &[&str]) -> Option<&Method> {
        let decoded = decoded(path);
        self.methods.iter().find(|method| method.verb == request.method && method.path_of(&decoded).is_some())
    }

    fn check_fields(&self, method: &Method, fields: &str) -> Result<(), String> {
        let selection = Selection::read(fields).ok_or_else(|| format!("Invalid field selection {fields}"))?;
        match selection.unknown(&self.schemas, &method.answer) {
            Some(unknown) => Err(format!("Invalid field selection {unknown}")),
            None => Ok(()),
        }
    }

    /// What the request is by the description, or what of it lies outside.
    pub(super) fn call(&'static self, request: &Request, path: &[&str]) -> Result<Call, String> {
        let Some(method) = self.method(request, path) else {
            return Err(format!("there is no method {} {}", request.method, request.path));
        };
        let decoded = decoded(path);
        let query: Vec<(String, String)> = request.query_pairs().collect();
        let mut seen = BTreeSet::new();
        for (name, value) in &query {
            let Some(parameter) = method.parameters.get(name).filter(|of| of["location"] == "query") else {
                return Err(format!("{} has no parameter {name}", method.id));
            };
            if !seen.insert(name.as_str()) && parameter["repeated"] != true {
                return Err(format!("parameter {name} is given twice"));
            }
            check_parameter(name, parameter, value)?;
            if name == "fields" {
                self.check_fields(method, value)?;
            }
        }
        for (name, parameter) in &method.parameters {
            if parameter["location"] == "query"
                && parameter["required"] == true
                && !seen.contains(name.as_str())
            {
                return Err(format!("parameter {name} is missing"));
            }
        }
        let body = method.read_body(&request.body)?;
        Ok(Call { method, path: method.path_of(&decoded).unwrap_or_default(), query, body })
    }
}

impl Method {
    fn read(document: &Value, method: &Value) -> Result<Self, String> {
        let text = |name: &str| method[name].as_str().unwrap_or_default().to_owned();
        let mut parameters = BTreeMap::new();
        for source in [&document["parameters"], &method["parameters"]] {
            let own = source.as_object().cloned().unwrap_or_default();
            parameters.extend(own);
        }
        let scopes = method["scopes"].as_array().into_iter().flatten();
        let id = text("id");
        let body = match method["request"]["$ref"].as_str() {
            Some(name) => Some(validator(&document["schemas"], name, &id)?),
            None => None,
        };
        Ok(Self {
            verb: text("httpMethod"),
            path: text("path").split('/').map(str::to_owned).collect(),
            parameters,
            scopes: scopes.filter_map(Value::as_str).map(str::to_owned).collect(),
            body,
            answer: method["response"].clone(),
            id,
        })
    }

    /// The parameters in the path, if it is one of this method's.
    fn path_of(&self, segments: &[String]) -> Option<BTreeMap<String, String>> {
        if self.path.len() != segments.len() {
            return None;
        }
        let mut found = BTreeMap::new();
        for (wanted, segment) in self.path.iter().zip(segments) {
            match wanted.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some(name) => {
                    found.insert(name.to_owned(), segment.clone());
                }
                None if wanted == segment => {}
                None => return None,
            }
        }
        Some(found)
    }

    fn read_body(&self, bytes: &[u8]) -> Result<Map<String, Value>, String> {
        let Some(validator) = &self.body else {
            return match bytes {
                [] => Ok(Map::new()),
                _ => Err(format!("{} takes no body", self.id)),
            };
        };
        let body: Map<String, Value> = serde_json::from_slice(bytes)
            .map_err(|error| format!("the body is not a JSON object: {error}"))?;
        // Null stands for "not there", in a PATCH for "remove".
        let body = Value::Object(body);
        let problems: Vec<String> = validator
            .iter_errors(&without_nulls(&body))
            .map(|error| format!("the body does not fit at {}: {error}", error.instance_path()))
            .collect();
        match (problems.is_empty(), body) {
            (true, Value::Object(body)) => Ok(body),
            _ => Err(problems.join("; ")),
        }
    }
}

/// Removes members that are null, at every depth.
pub(super) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .iter()
                .filter(|(_, member)| !member.is_null())
                .map(|(name, member)| (name.clone(), without_nulls(member)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

fn decoded(path: &[&str]) -> Vec<String> {
    path.iter().map(|segment| percent_decoded(segment)).collect()
}

fn percent_decoded(segment: &str) -> String {
    // A plus sign is itself in a path.
    let pairs = format!("x={}", segment.replace('+', "%2B").replace('&', "%26"));
    form_urlencoded::parse(pairs.as_bytes()).map(|(_, value)| value.into_owned()).next().unwrap_or_default()
}

fn check_parameter(name: &str, parameter: &Value, value: &str) -> Result<(), String> {
    let bound = |which: &str| parameter[which].as_str().and_then(|bound| bound.parse::<i64>().ok());
    let is_right = match parameter["type"].as_str() {
        Some("boolean") => matches!(value, "true" | "false"),
        Some("integer") => value.parse::<i64>().is_ok_and(|number| {
            bound("minimum").is_none_or(|least| number >= least)
                && bound("maximum").is_none_or(|most| number <= most)
        }),
        _ => match (parameter["enum"].as_array(), parameter["format"].as_str()) {
            (Some(allowed), _) => allowed.iter().any(|one| one == value),
            (None, Some("date-time")) => !value.contains('[') && value.parse::<Timestamp>().is_ok(),
            _ => true,
        },
    };
    if is_right { Ok(()) } else { Err(format!("{value:?} is no value of parameter {name}")) }
}

/// A validator for the body of one method: JSON Schema made of the discovery schemas, closed against unknown members.
fn validator(schemas: &Value, name: &str, method_id: &str) -> Result<Validator, String> {
    let definitions: Map<String, Value> = schemas
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, schema)| (name.clone(), json_schema(schema, method_id)))
        .collect();
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$ref": format!("#/definitions/{name}"),
        "definitions": definitions,
    });
    jsonschema::draft7::new(&schema).map_err(|error| format!("schema {name}: {error}"))
}

fn json_schema(schema: &Value, method_id: &str) -> Value {
    let Some(members) = schema.as_object() else { return schema.clone() };
    if let Some(name) = members.get("$ref").and_then(Value::as_str) {
        return json!({ "$ref": format!("#/definitions/{name}") });
    }
    let mut made = Map::new();
    for (word, value) in members {
        match word.as_str() {
            word if FOREIGN_WORDS.contains(&word) => {}
            "type" if value == "any" => {}
            // 64-bit numbers travel as strings; the vendor's guides show plain ones, which are taken too.
            "type" if matches!(members.get("format").and_then(Value::as_str), Some("int64" | "uint64")) => {
                made.insert("type".to_owned(), json!(["string", "integer"]));
            }
            "properties" => {
                let properties = value.as_object().cloned().unwrap_or_default();
                let is_required = |schema: &Value| {
                    let methods = schema["annotations"]["required"].as_array();
                    methods.into_iter().flatten().any(|id| id == method_id)
                };
                let required: Vec<&String> = properties
                    .iter()
                    .filter(|(_, schema)| is_required(schema))
                    .map(|(name, _)| name)
                    .collect();
                made.insert("required".to_owned(), json!(required));
                made.insert("additionalProperties".to_owned(), json!(false));
                let properties: Map<String, Value> = properties
                    .iter()
                    .map(|(name, schema)| (name.clone(), json_schema(schema, method_id)))
                    .collect();
                made.insert("properties".to_owned(), Value::Object(properties));
            }
            "items" | "additionalProperties" => {
                made.insert(word.clone(), json_schema(value, method_id));
            }
            _ => {
                made.insert(word.clone(), value.clone());
            }
        }
    }
    Value::Object(made)
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;
    use axum::http::{HeaderMap, Method, Uri};

    use super::*;

    fn call(method: &str, target: &str, body: &str) -> Result<Call, String> {
        let uri: Uri = target.parse().unwrap();
        let method: Method = method.parse().unwrap();
        let body = Bytes::from(body.to_owned());
        let request = Request::new(&method, &uri, HeaderMap::new(), body, [127, 0, 0, 1].into());
        get().unwrap().call(&request, &request.segments())
    }

    #[test]
    fn paths_parameters_and_bodies_are_those_of_the_document() {
        let id = |method: &str, target: &str, body: &str| {
            call(method, target, body).map(|call| call.method.id.clone())
        };
        let event = r#"{"start":{"date":"2026-01-01"},"end":{"date":"2026-01-02"}}"#;
        for (method, target, body, expected) in [
            ("GET", "/users/me/calendarList?maxResults=5&alt=json", "", "calendar.calendarList.list"),
            ("GET", "/calendars/primary/events?syncToken=x", "", "calendar.events.list"),
            ("POST", "/calendars/primary/events?sendUpdates=none", event, "calendar.events.insert"),
            (
                "POST",
                "/calendars/primary/events/watch",
                r#"{"expiration":1,"id":"a"}"#,
                "calendar.events.watch",
            ),
            ("POST", "/channels/stop", r#"{"id":"a","resourceId":"b"}"#, "calendar.channels.stop"),
            ("PATCH", "/calendars/a%40b.example/events/1", r#"{"location":null}"#, "calendar.events.patch"),
        ] {
            assert_eq!(id(method, target, body), Ok(expected.to_owned()), "{target}");
        }
        assert_eq!(
            call("GET", "/calendars/a%40b.example/events/x", "").unwrap().path("calendarId"),
            "a@b.example"
        );
        for (method, target, body) in [
            ("GET", "/calendars/primary/event", ""),
            ("DELETE", "/users/me/calendarList", ""),
            ("GET", "/calendars/primary/events?nope=1", ""),
            ("GET", "/calendars/primary/events?maxResults=0", ""),
            ("GET", "/calendars/primary/events?maxResults=1&maxResults=2", ""),
            ("GET", "/calendars/primary/events?singleEvents=yes", ""),
            ("GET", "/calendars/primary/events?timeMin=2026-01-01T00:00:00", ""),
            ("GET", "/calendars/primary/events?orderBy=nope", ""),
            ("POST", "/calendars/primary/events", r#"{"start":{"date":"2026-01-01"}}"#),
            ("POST", "/calendars/primary/events?sendUpdates=nobody", event),
            ("PATCH", "/calendars/primary/events/1", r#"{"sumary":"x"}"#),
            ("PATCH", "/calendars/primary/events/1", r#"{"start":{"datetime":"x"}}"#),
            ("PATCH", "/calendars/primary/events/1", r#"{"attendees":[{"mail":"x"}]}"#),
            ("PATCH", "/calendars/primary/events/1", r#"{"summary":7}"#),
            ("PATCH", "/calendars/primary/events/1", r#"[]"#),
            ("POST", "/calendars/primary/events/1/move", ""),
            ("DELETE", "/calendars/primary/events/1", "{}"),
        ] {
            assert!(call(method, target, body).is_err(), "{method} {target} {body}");
        }
    }
}
