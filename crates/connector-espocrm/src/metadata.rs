//! What the CRM is: its version, its entity types and their fields.

use std::collections::BTreeMap;
use std::fmt;

use http_client::{Answer, Method, Request};
use serde::Deserialize;
use serde_json::Value;
use shared::fault::Fault;

use crate::{EntityType, EspoCrm, error};

/// A version of EspoCRM, comparable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// Reads `9.2.7`; what follows the third number (`-beta1`) is ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.').map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part.get(..digits)?.parse().ok()
        });
        Some(Self(parts.next()??, parts.next()??, parts.next()??))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The fields of an entity type.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct EntityDefinition {
    /// Fields by name.
    pub fields: BTreeMap<String, FieldDefinition>,
    /// Whether records have versions (`optimisticConcurrencyControl`).
    #[serde(default, rename = "optimisticConcurrencyControl")]
    pub has_versions: bool,
}

/// A field.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FieldDefinition {
    /// `varchar`, `enum`, `int`, `date`, `datetime`, `text`, `personName`, …; empty where it is not said.
    #[serde(rename = "type")]
    pub kind: String,
    /// The options of an enum.
    pub options: Vec<String>,
    /// The types of a phone field.
    pub type_list: Vec<String>,
    /// Whether it must not be empty.
    pub required: bool,
    /// Longest text, in characters.
    pub max_length: Option<u32>,
    /// Whether clients may not write it.
    pub read_only: bool,
    /// Whether it is computed rather than stored.
    pub not_storable: bool,
}

/// What the CRM says about an entity type as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Scope {
    /// Its template: `Person`, `Company`, `Base`, `BasePlus`, `Event`.
    #[serde(rename = "type")]
    pub template: String,
    /// Whether its records have a stream, which [`EspoCrm::note_on_record`] needs.
    pub stream: bool,
    /// Whether it is switched off.
    pub disabled: bool,
}

impl FieldDefinition {
    /// What may be chosen from: the options of an enum, the types of a phone field.
    pub fn choices(&self) -> &[String] {
        if choices_attribute(&self.kind) == TYPE_LIST { &self.type_list } else { &self.options }
    }
}

const TYPE_LIST: &str = "typeList";

/// Where the definition of a field of this type lists what may be chosen from.
pub(crate) fn choices_attribute(kind: &str) -> &'static str {
    if kind == "phone" { TYPE_LIST } else { "options" }
}

impl EspoCrm {
    /// The CRM's version: `GET Settings`. Safe to repeat.
    ///
    /// # Errors
    /// Retryable `answer_unreadable` where the version is missing or no version; else as [`EspoCrm::get`].
    pub async fn version(&self) -> Result<Version, Fault> {
        read_version(&self.send(Request::new(Method::Get, "Settings", &[])).await?)
    }

    /// The fields of an entity type: `GET Metadata?key=entityDefs.{type}`. `None` when the type is unknown or
    /// hidden from the API user. Safe to repeat.
    ///
    /// # Errors
    /// As [`EspoCrm::get`].
    pub async fn entity_definition(
        &self,
        entity_type: &EntityType,
    ) -> Result<Option<EntityDefinition>, Fault> {
        read_metadata(&self.send(metadata_request("entityDefs", entity_type)).await?)
    }

    /// What an entity type is: `GET Metadata?key=scopes.{type}`. `None` when the type is unknown or hidden from
    /// the API user. Safe to repeat.
    ///
    /// # Errors
    /// As [`EspoCrm::get`].
    pub async fn scope(&self, entity_type: &EntityType) -> Result<Option<Scope>, Fault> {
        read_metadata(&self.send(metadata_request("scopes", entity_type)).await?)
    }
}

#[derive(Deserialize)]
struct WireSettings {
    version: String,
}

fn read_version(answer: &Answer) -> Result<Version, Fault> {
    let WireSettings { version } = error::success(answer)?.json()?;
    Version::parse(&version).ok_or_else(|| answer.unreadable("a version that is none"))
}

fn metadata_request(part: &str, entity_type: &EntityType) -> Request {
    Request::new(Method::Get, "Metadata", &[]).query("key", format!("{part}.{entity_type}"))
}

/// What is absent is answered with an empty body, or null.
fn read_metadata<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<Option<T>, Fault> {
    let answer = error::success(answer)?;
    if answer.body().is_empty() && !answer.is_html() {
        return Ok(None);
    }
    match answer.json::<Value>()? {
        Value::Null => Ok(None),
        _ => answer.json().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn versions_are_read_and_compared() {
        assert_eq!(
            read_version(&fixtures::load("002-settings-as-api-user").answer("")).unwrap(),
            Version(9, 2, 7)
        );
        assert_eq!(Version::parse("10.0.0-beta1"), Some(Version(10, 0, 0)));
        assert!(Version(9, 2, 2) <= Version(9, 2, 7) && Version(9, 10, 0) > Version(9, 2, 7));
        for bad in ["", "9", "9.2", "x.y.z", "@@version"] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn fields_have_type_options_and_limits() {
        let recorded = fixtures::load("023-metadata-entitydefs").answer("GET Metadata");
        let definition: EntityDefinition = read_metadata(&recorded).unwrap().unwrap();
        let salutation = definition.fields.get("salutationName").unwrap();
        assert_eq!(salutation.kind, "enum");
        assert_eq!(salutation.options, ["", "Mr.", "Ms.", "Mrs.", "Dr."]);
        let last_name = definition.fields.get("lastName").unwrap();
        assert!(last_name.required && last_name.max_length == Some(100));
        assert!(!definition.fields.contains_key("noSuchField"));
    }

    #[test]
    fn an_entity_type_has_a_template() {
        let scope: Scope = read_metadata(&fixtures::load("024-metadata-scopes").answer("")).unwrap().unwrap();
        assert_eq!(scope, Scope { template: "Person".into(), stream: true, disabled: false });
    }

    #[test]
    fn what_is_absent_is_none_and_a_page_is_a_fault() {
        let answer = |kind, body: &'static str| {
            let answer = Answer::recorded("espocrm", "GET Metadata", 200, &[("Content-Type", kind)], body);
            read_metadata::<Scope>(&answer)
        };
        assert_eq!(answer("application/json", "").unwrap(), None);
        assert_eq!(answer("application/json", "null").unwrap(), None);
        assert!(answer("text/html", "").is_err());
        assert!(answer("application/json", "[1").is_err());
    }
}
