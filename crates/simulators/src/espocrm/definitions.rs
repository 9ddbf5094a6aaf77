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
}

impl Definitions {
    pub(super) fn recorded() -> Self {
        let parse = |text| object(serde_json::from_str(text).unwrap_or(Value::Null));
        Self {
            entity: parse(include_str!("data/entity_defs.json")),
            scope: parse(include_str!("data/scopes.json")),
        }
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
    pub(super) fn metadata(&self, key: Option<&str>, may_read: bool) -> Option<Value> {
        let whole = if may_read {
            json!({ "entityDefs": { ENTITY_TYPE: self.entity }, "scopes": { ENTITY_TYPE: self.scope } })
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
            definitions.metadata(Some("entityDefs.CBeteiligte.fields.advowareRowId.maxLength"), true);
        assert_eq!(length, Some(json!(50)));
        assert_eq!(definitions.metadata(Some("scopes.CNope"), true), None);
    }
}
