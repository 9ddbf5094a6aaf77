//! The entity type's definition, as recorded from the real system's metadata: it steers validation,
//! views and filters, and is what `Metadata` answers.

use serde_json::{Value, json};

use super::accounts::object;
use crate::upstream::Record;

/// The simulated entity type.
pub(super) const ENTITY_TYPE: &str = "CBeteiligte";

/// Types of the real system that an API user's role can name.
pub(super) const OTHER_TYPES: [&str; 9] =
    ["Account", "Contact", "Lead", "Opportunity", "Meeting", "Call", "Task", "Team", "User"];

/// Attributes that belong to no field.
const PLAIN: [&str; 7] =
    ["id", "deleted", "isFollowed", "followersIds", "followersNames", "versionNumber", "emailAddressData"];

/// Definition of CBeteiligte.
#[derive(Debug, Clone)]
pub(super) struct Definitions {
    entity: Record,
    scope: Record,
    /// Whether the entity type was made.
    exists: bool,
}

/// Why a field is not made or changed.
pub(super) enum FieldRefusal {
    Exists,
    Unknown,
    NoType,
}

impl Definitions {
    pub(super) fn recorded() -> Self {
        let parse = |text| object(serde_json::from_str(text).unwrap_or(Value::Null));
        Self {
            entity: parse(include_str!("data/entity_defs.json")),
            scope: parse(include_str!("data/scopes.json")),
            exists: true,
        }
    }

    /// A system in which nobody has made the entity type yet.
    pub(super) fn absent() -> Self {
        Self { exists: false, ..Self::template() }
    }

    /// The entity type as it is when it has just been made from the template Person.
    fn template() -> Self {
        let mut definitions = Self::recorded();
        if let Some(fields) = definitions.entity.get_mut("fields").and_then(Value::as_object_mut) {
            fields.retain(|_, field| field.get("isCustom") != Some(&json!(true)));
        }
        definitions
    }

    pub(super) fn exists(&self) -> bool {
        self.exists
    }

    /// Makes the entity type.
    pub(super) fn create(&mut self) {
        *self = Self::template();
    }

    /// Makes a field; answers it as the field manager does.
    pub(super) fn create_field(&mut self, body: &Record) -> Result<Record, FieldRefusal> {
        let name = body.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if self.field(&name).is_some() {
            return Err(FieldRefusal::Exists);
        }
        let mut definition = body.clone();
        definition.shift_remove("name");
        Ok(self.save_field(&name, definition, true))
    }

    /// Changes a field. What the body leaves out of a custom field is dropped; a core field falls back on what it was
    /// when the entity type was made.
    pub(super) fn replace_field(&mut self, name: &str, body: &Record) -> Result<Record, FieldRefusal> {
        if !body.contains_key("type") {
            return Err(FieldRefusal::NoType);
        }
        let is_custom = flag(self.field(name).ok_or(FieldRefusal::Unknown)?, "isCustom");
        let core = Self::template();
        let mut definition = core.field(name).filter(|_| !is_custom).cloned().unwrap_or_default();
        definition.extend(body.clone());
        Ok(self.save_field(name, definition, is_custom))
    }

    fn save_field(&mut self, name: &str, mut definition: Record, is_custom: bool) -> Record {
        let label = definition.shift_remove("label").unwrap_or_else(|| json!(name));
        // There is no option for uniqueness, and what is off is not stored.
        definition.retain(|key, value| {
            let is_off = key == "readOnly" && *value == json!(false);
            !(is_off || ["unique", "index", "isCustom"].contains(&key.as_str()))
        });
        match kind(&definition) {
            "enum" => {
                definition.entry("maxLength").or_insert(json!(100));
            }
            "date" | "datetime" => {
                definition.insert("notNull".to_owned(), json!(false));
            }
            _ => {}
        }
        if is_custom {
            definition.insert("isCustom".to_owned(), json!(true));
        }
        if let Some(fields) = self.entity.get_mut("fields").and_then(Value::as_object_mut) {
            fields.insert(name.to_owned(), Value::Object(definition.clone()));
        }
        definition.insert("label".to_owned(), label);
        definition
    }

    /// Fields in the order in which they are validated and shown.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &Record)> {
        let fields = self.entity.get("fields").and_then(Value::as_object);
        fields.into_iter().flatten().filter_map(|(name, field)| Some((name.as_str(), field.as_object()?)))
    }

    pub(super) fn field(&self, name: &str) -> Option<&Record> {
        self.entity.get("fields")?.get(name)?.as_object()
    }

    /// Changes parts of a field's definition, adds a field, or with null removes one.
    pub(super) fn change_field(&mut self, name: &str, change: &Value) -> Result<(), String> {
        let fields = self.entity.get_mut("fields").and_then(Value::as_object_mut).ok_or("no fields")?;
        match change {
            Value::Null => {
                fields.shift_remove(name).ok_or_else(|| format!("there is no field {name}"))?;
            }
            Value::Object(change) => {
                let field = fields.entry(name).or_insert_with(|| json!({}));
                if let Some(field) = field.as_object_mut() {
                    field.extend(change.clone());
                }
            }
            _ => return Err(format!("{name}: a field's definition is an object or null")),
        }
        Ok(())
    }

    /// The attributes a field is made of.
    pub(super) fn attributes_of(name: &str, field: &Record) -> Vec<String> {
        match kind(field) {
            "link" => vec![format!("{name}Id"), format!("{name}Name")],
            "linkMultiple" => vec![format!("{name}Ids"), format!("{name}Names")],
            "email" | "phone" => vec![name.to_owned(), format!("{name}Data")],
            "address" | "map" => Vec::new(),
            _ => vec![name.to_owned()],
        }
    }

    /// Whether a filter or an order may name the attribute.
    pub(super) fn has_attribute(&self, attribute: &str) -> bool {
        PLAIN.contains(&attribute)
            || self
                .fields()
                .any(|(name, field)| Self::attributes_of(name, field).iter().any(|own| own == attribute))
    }

    /// What `Metadata?key=` answers; none when there is nothing (or nothing the user may see).
    pub(super) fn metadata(&self, key: Option<&str>, may_read: bool, has_versions: bool) -> Option<Value> {
        let whole = if may_read && self.exists {
            let mut entity = self.entity.clone();
            if has_versions {
                entity.insert("optimisticConcurrencyControl".to_owned(), json!(true));
            }
            json!({ "entityDefs": { ENTITY_TYPE: entity }, "scopes": { ENTITY_TYPE: self.scope } })
        } else {
            json!({ "entityDefs": {}, "scopes": {} })
        };
        match key {
            None => Some(whole),
            Some(key) => key.split('.').try_fold(&whole, |value, part| value.get(part)).cloned(),
        }
    }
}

/// A field's type.
pub(super) fn kind(field: &Record) -> &str {
    field.get("type").and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn flag(field: &Record, name: &str) -> bool {
    field.get(name) == Some(&Value::Bool(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recorded_definition_can_be_read() {
        let definitions = Definitions::recorded();
        assert_eq!(definitions.fields().count(), 37);
        assert!(definitions.has_attribute("assignedUserId"));
        assert!(!definitions.has_attribute("noAttr"));
        let length =
            definitions.metadata(Some("entityDefs.CBeteiligte.fields.advowareRowId.maxLength"), true, false);
        assert_eq!(length, Some(json!(50)));
        assert_eq!(definitions.metadata(Some("scopes.CNope"), true, false), None);
    }
}
