//! The attributes that users and groups have, and what values they take. RFC 7643, sections 4 and 7.

use serde_json::{Value, json};

use super::refusal::Refusal;
use crate::upstream::Record;

pub(super) const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// What a resource is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    User,
    Group,
}

/// What an attribute holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Flag,
    /// One value with these parts.
    Whole(&'static [&'static str]),
    /// A list of values with these parts.
    List(&'static [&'static str]),
    /// Attributes of its own: the extension.
    Extension,
    /// The service's own.
    ReadOnly,
}

/// An attribute with its name as the schema spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attribute {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
}

const NAME: &[&str] =
    &["formatted", "familyName", "givenName", "middleName", "honorificPrefix", "honorificSuffix"];
const VALUES: &[&str] = &["value", "display", "type", "primary", "$ref"];
const ADDRESS: &[&str] =
    &["formatted", "streetAddress", "locality", "region", "postalCode", "country", "type", "primary"];
const MANAGER: &[&str] = &["value", "$ref", "displayName"];

const COMMON: &[(&str, Shape)] = &[
    ("externalId", Shape::Text),
    ("id", Shape::ReadOnly),
    ("meta", Shape::ReadOnly),
    ("schemas", Shape::ReadOnly),
];
const USER: &[(&str, Shape)] = &[
    ("userName", Shape::Text),
    ("name", Shape::Whole(NAME)),
    ("displayName", Shape::Text),
    ("nickName", Shape::Text),
    ("profileUrl", Shape::Text),
    ("title", Shape::Text),
    ("userType", Shape::Text),
    ("preferredLanguage", Shape::Text),
    ("locale", Shape::Text),
    ("timezone", Shape::Text),
    ("active", Shape::Flag),
    ("emails", Shape::List(VALUES)),
    ("phoneNumbers", Shape::List(VALUES)),
    ("ims", Shape::List(VALUES)),
    ("photos", Shape::List(VALUES)),
    ("addresses", Shape::List(ADDRESS)),
    ("entitlements", Shape::List(VALUES)),
    ("roles", Shape::List(VALUES)),
    ("groups", Shape::ReadOnly),
    (ENTERPRISE, Shape::Extension),
];
const GROUP: &[(&str, Shape)] = &[("displayName", Shape::Text), ("members", Shape::List(VALUES))];
const EXTENSION: &[(&str, Shape)] = &[
    ("employeeNumber", Shape::Text),
    ("costCenter", Shape::Text),
    ("organization", Shape::Text),
    ("division", Shape::Text),
    ("department", Shape::Text),
    ("manager", Shape::Whole(MANAGER)),
];

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::User, Self::Group];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
        }
    }

    /// Its endpoint, and the table that it is kept in.
    pub(super) fn endpoint(self) -> &'static str {
        match self {
            Self::User => "Users",
            Self::Group => "Groups",
        }
    }

    pub(super) fn schema(self) -> &'static str {
        match self {
            Self::User => "urn:ietf:params:scim:schemas:core:2.0:User",
            Self::Group => "urn:ietf:params:scim:schemas:core:2.0:Group",
        }
    }

    /// What it cannot be without.
    pub(super) fn required(self) -> &'static str {
        match self {
            Self::User => "userName",
            Self::Group => "displayName",
        }
    }

    pub(super) fn attribute(self, name: &str) -> Option<Attribute> {
        let own = match self {
            Self::User => USER,
            Self::Group => GROUP,
        };
        find(COMMON, name).or_else(|| find(own, name))
    }
}

/// An attribute of the extension.
pub(super) fn extended(name: &str) -> Option<Attribute> {
    find(EXTENSION, name)
}

fn find(all: &[(&'static str, Shape)], name: &str) -> Option<Attribute> {
    let found = all.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(name, shape)| Attribute { name, shape: *shape })
}

/// Null, the empty list and the empty object are no value.
pub(super) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(parts) => parts.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A whole resource as it is kept, of what a client gives: in the schema's spelling, without what is the service's.
pub(super) fn resource(kind: Kind, body: &Value) -> Result<Record, Refusal> {
    let body = body.as_object().ok_or_else(|| Refusal::bad("invalidSyntax", "Input should be an object"))?;
    let mut kept = Record::new();
    for (name, value) in body {
        let unknown = || Refusal::bad("invalidSyntax", format!("Extra inputs are not permitted: {name}"));
        let attribute = kind.attribute(name).ok_or_else(unknown)?;
        if let Some(value) = checked(attribute, value)? {
            kept.insert(attribute.name.to_owned(), value);
        }
    }
    Ok(kept)
}

/// A value as it is kept; none where there is none, or it is the service's.
pub(super) fn checked(attribute: Attribute, value: &Value) -> Result<Option<Value>, Refusal> {
    if is_nothing(value) || attribute.shape == Shape::ReadOnly {
        return Ok(None);
    }
    let wrong = |what: &str| Refusal::value(format!("Input should be a valid {what}: {}", attribute.name));
    let kept = match attribute.shape {
        Shape::Text => json!(value.as_str().ok_or_else(|| wrong("string"))?),
        Shape::Flag => match value {
            Value::Bool(flag) => json!(flag),
            Value::String(text) if text.eq_ignore_ascii_case("true") => json!(true),
            Value::String(text) if text.eq_ignore_ascii_case("false") => json!(false),
            _ => return Err(wrong("boolean")),
        },
        Shape::Whole(parts) => object(parts, value).ok_or_else(|| wrong("dictionary"))?,
        Shape::List(parts) => {
            let list = value.as_array().ok_or_else(|| wrong("array"))?;
            let list: Option<Vec<Value>> = list.iter().map(|item| object(parts, item)).collect();
            Value::Array(list.ok_or_else(|| wrong("list of objects"))?)
        }
        Shape::Extension => {
            let own = value.as_object().ok_or_else(|| wrong("dictionary"))?;
            let mut kept = Record::new();
            for (name, value) in own {
                let unknown =
                    || Refusal::bad("invalidSyntax", format!("Extra inputs are not permitted: {name}"));
                let attribute = extended(name).ok_or_else(unknown)?;
                if let Some(value) = checked(attribute, value)? {
                    kept.insert(attribute.name.to_owned(), value);
                }
            }
            Value::Object(kept)
        }
        Shape::ReadOnly => return Ok(None),
    };
    Ok(Some(kept).filter(|kept| !is_nothing(kept)))
}

/// An object with its parts in the schema's spelling; none where it has others.
fn object(parts: &[&str], value: &Value) -> Option<Value> {
    let mut kept = Record::new();
    for (name, value) in value.as_object()? {
        let part = parts.iter().find(|part| part.eq_ignore_ascii_case(name))?;
        if !is_nothing(value) {
            kept.insert((*part).to_owned(), value.clone());
        }
    }
    Some(Value::Object(kept))
}

/// As a service keeps it that spells things in its own way.
pub(super) fn normalise(resource: &mut Record) {
    for (name, value) in resource.iter_mut() {
        match (name.as_str(), value) {
            ("externalId", _) => {}
            ("userName", Value::String(text)) => *text = text.trim().to_lowercase(),
            (_, Value::String(text)) => *text = text.trim().to_owned(),
            ("emails", Value::Array(list)) => {
                each_value(list, |text| text.trim().to_lowercase());
                list.reverse();
            }
            ("phoneNumbers", Value::Array(list)) => {
                each_value(list, |text| format!("tel:{}", text.replace([' ', '-', '(', ')'], "")));
                list.reverse();
            }
            _ => {}
        }
    }
}

fn each_value(list: &mut [Value], spell: impl Fn(&str) -> String) {
    for item in list {
        if let Some(Value::String(text)) = item.get_mut("value")
            && !text.starts_with("tel:")
        {
            *text = spell(text);
        }
    }
}
