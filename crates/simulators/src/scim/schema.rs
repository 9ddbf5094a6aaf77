//! The attributes that users and groups have, and what values they take: `data/schemas.json`, which is what `Schemas`
//! publishes. RFC 7643, sections 3.1, 4, 7 and 8.7.1; what is not simulated is left out of it.

use std::sync::LazyLock;

use serde::Deserialize;
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

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Type {
    String,
    Boolean,
    Reference,
    Complex,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Mutability {
    ReadWrite,
    Immutable,
    ReadOnly,
}

/// An attribute, or a part of one.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attribute {
    /// As the schema spells it.
    pub(super) name: String,
    #[serde(rename = "type")]
    value_type: Type,
    multi_valued: bool,
    mutability: Mutability,
    #[serde(default, rename = "subAttributes")]
    parts: Vec<Attribute>,
}

impl Attribute {
    fn of_service(name: &str) -> Self {
        Self { mutability: Mutability::ReadOnly, ..Self::text(name) }
    }

    fn text(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            value_type: Type::String,
            multi_valued: false,
            mutability: Mutability::ReadWrite,
            parts: Vec::new(),
        }
    }

    fn extension(schema: &str, mut parts: Vec<Self>) -> Self {
        // Clients that take an extension for a resource name its schema in it.
        parts.push(Self::of_service("schemas"));
        Self { value_type: Type::Complex, parts, ..Self::text(schema) }
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.mutability == Mutability::ReadOnly
    }

    pub(super) fn is_list(&self) -> bool {
        self.multi_valued
    }

    /// One value with parts: also the extension.
    pub(super) fn is_whole(&self) -> bool {
        self.value_type == Type::Complex && !self.multi_valued
    }

    pub(super) fn part(&self, name: &str) -> Option<&Self> {
        find(&self.parts, name)
    }
}

/// What is published, and the attributes by it.
#[derive(Default)]
struct Schemas {
    published: Vec<Value>,
    user: Vec<Attribute>,
    group: Vec<Attribute>,
}

static SCHEMAS: LazyLock<Schemas> =
    LazyLock::new(|| Schemas::read(include_str!("data/schemas.json")).unwrap_or_default());

impl Schemas {
    fn read(text: &str) -> Option<Self> {
        let published: Vec<Value> = serde_json::from_str(text).ok()?;
        let attributes = |id: &str| {
            let schema = published.iter().find(|schema| schema["id"] == id)?;
            Vec::<Attribute>::deserialize(&schema["attributes"]).ok()
        };
        let common = || ["id", "meta", "schemas"].map(Attribute::of_service).into_iter();
        let common = || common().chain([Attribute::text("externalId")]);
        let user = common().chain(attributes(Kind::User.schema())?);
        let user = user.chain([Attribute::extension(ENTERPRISE, attributes(ENTERPRISE)?)]).collect();
        let group = common().chain(attributes(Kind::Group.schema())?).collect();
        Some(Self { user, group, published })
    }
}

/// A schema as it is published, without where it is found.
pub(super) fn published(id: &str) -> Option<&'static Value> {
    SCHEMAS.published.iter().find(|schema| schema["id"] == id)
}

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

    pub(super) fn attribute(self, name: &str) -> Option<&'static Attribute> {
        match self {
            Self::User => find(&SCHEMAS.user, name),
            Self::Group => find(&SCHEMAS.group, name),
        }
    }
}

fn find<'a>(all: &'a [Attribute], name: &str) -> Option<&'a Attribute> {
    all.iter().find(|known| known.name.eq_ignore_ascii_case(name))
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
    kept(body, |name| kind.attribute(name))
}

fn kept<'a>(given: &Record, known: impl Fn(&str) -> Option<&'a Attribute>) -> Result<Record, Refusal> {
    let mut kept = Record::new();
    for (name, value) in given {
        let unknown = || Refusal::bad("invalidSyntax", format!("Extra inputs are not permitted: {name}"));
        let attribute = known(name).ok_or_else(unknown)?;
        if let Some(value) = checked(attribute, value)? {
            kept.insert(attribute.name.clone(), value);
        }
    }
    Ok(kept)
}

/// A value as it is kept; none where there is none, or it is the service's.
pub(super) fn checked(attribute: &Attribute, value: &Value) -> Result<Option<Value>, Refusal> {
    if is_nothing(value) || attribute.is_read_only() {
        return Ok(None);
    }
    let kept = match value {
        Value::Array(list) if attribute.multi_valued => {
            let list: Result<Vec<Value>, Refusal> = list.iter().map(|item| one(attribute, item)).collect();
            Value::Array(list?)
        }
        _ if attribute.multi_valued => return Err(wrong(attribute, "array")),
        value => one(attribute, value)?,
    };
    Ok(Some(kept).filter(|kept| !is_nothing(kept)))
}

/// One value, or one of several.
pub(super) fn one(attribute: &Attribute, value: &Value) -> Result<Value, Refusal> {
    match (attribute.value_type, value) {
        (Type::String | Type::Reference, Value::String(_)) | (Type::Boolean, Value::Bool(_)) => {
            Ok(value.clone())
        }
        // As some clients say it.
        (Type::Boolean, Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(json!(true)),
        (Type::Boolean, Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(json!(false)),
        (Type::Complex, Value::Object(given)) => Ok(Value::Object(kept(given, |name| attribute.part(name))?)),
        (Type::String | Type::Reference, _) => Err(wrong(attribute, "string")),
        (Type::Boolean, _) => Err(wrong(attribute, "boolean")),
        (Type::Complex, _) => Err(wrong(attribute, "dictionary")),
    }
}

fn wrong(attribute: &Attribute, what: &str) -> Refusal {
    Refusal::value(format!("Input should be a valid {what}: {}", attribute.name))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_are_read() {
        for (name, is_list) in
            [("USERNAME", false), ("emails", true), ("externalId", false), (ENTERPRISE, false)]
        {
            assert_eq!(Kind::User.attribute(name).map(Attribute::is_list), Some(is_list), "{name}");
        }
        assert!(Kind::Group.attribute("members").unwrap().part("$REF").is_some());
        assert!(Kind::User.attribute(ENTERPRISE).unwrap().part("manager").unwrap().part("value").is_some());
        assert!(Kind::User.attribute("meta").unwrap().is_read_only());
        assert_eq!(published(ENTERPRISE).unwrap()["name"], "EnterpriseUser");
    }

    #[test]
    fn parts_are_checked_as_the_whole_is() {
        let emails = Kind::User.attribute("emails").unwrap();
        let given = json!([{ "VALUE": "a@x.test", "primary": "True", "display": null }]);
        let kept = json!([{ "value": "a@x.test", "primary": true }]);
        assert_eq!(checked(emails, &given), Ok(Some(kept)));
        for wrong in [json!([{ "value": 7 }]), json!([{ "mail": "a@x.test" }]), json!(["a@x.test"])] {
            assert_eq!(checked(emails, &wrong).unwrap_err().status, 400, "{wrong}");
        }
    }
}
