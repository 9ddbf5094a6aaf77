//! Definitions of entity types: they steer validation, views and filters, and are what `Metadata` answers. That of
//! CBeteiligte is recorded; Meeting, Call, Contact and Lead come with the system and have what a calendar needs of them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::accounts::object;
use crate::upstream::Record;

/// The simulated entity type that an administrator makes.
pub(super) const ENTITY_TYPE: &str = "CBeteiligte";

/// The simulated entity types that are there from the beginning.
pub(super) const BUILT_IN: [&str; 4] = ["Meeting", "Call", "Contact", "Lead"];

/// Those of which only an administrator writes records: `users.rs`, `teams.rs`.
pub(super) const PEOPLE: [&str; 2] = ["User", "Team"];

/// The simulated entity type of this name.
pub(super) fn simulated(name: &str) -> Option<&'static str> {
    std::iter::once(ENTITY_TYPE).chain(BUILT_IN).find(|own| *own == name)
}

/// Types of the real system that an API user's role can name.
pub(super) const OTHER_TYPES: [&str; 9] =
    ["Account", "Contact", "Lead", "Opportunity", "Meeting", "Call", "Task", "Team", "User"];

/// Attributes that belong to no field.
const PLAIN: [&str; 7] =
    ["id", "deleted", "isFollowed", "followersIds", "followersNames", "versionNumber", "emailAddressData"];

/// The definitions of all simulated entity types.
#[derive(Debug, Clone)]
pub(super) struct Catalogue {
    /// That of CBeteiligte.
    pub(super) beteiligte: Definitions,
    built_in: Vec<Definitions>,
}

impl Catalogue {
    pub(super) fn new(beteiligte: Definitions) -> Self {
        Self { beteiligte, built_in: BUILT_IN.into_iter().chain(PEOPLE).map(Definitions::built_in).collect() }
    }

    pub(super) fn of(&self, scope: &str) -> &Definitions {
        self.built_in.iter().find(|own| own.name == scope).unwrap_or(&self.beteiligte)
    }

    pub(super) fn of_mut(&mut self, scope: &str) -> &mut Definitions {
        self.built_in.iter_mut().find(|own| own.name == scope).unwrap_or(&mut self.beteiligte)
    }

    /// What `Metadata?key=` answers; none when there is nothing (or nothing the user may see).
    pub(super) fn metadata(&self, key: Option<&str>, may_read: impl Fn(&str) -> bool) -> Option<Value> {
        let (mut entities, mut scopes) = (Record::new(), Record::new());
        for own in std::iter::once(&self.beteiligte).chain(&self.built_in) {
            if own.exists && may_read(own.name) {
                entities.insert(own.name.to_owned(), own.entity_defs());
                scopes.insert(own.name.to_owned(), Value::Object(own.scope.clone()));
            }
        }
        let whole = json!({ "entityDefs": entities, "scopes": scopes });
        match key {
            None => Some(whole),
            Some(key) => key.split('.').try_fold(&whole, |value, part| value.get(part)).cloned(),
        }
    }
}

/// Definition of an entity type.
#[derive(Debug, Clone)]
pub(super) struct Definitions {
    /// Its name.
    pub(super) name: &'static str,
    /// optimisticConcurrencyControl.
    pub(super) has_versions: bool,
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
            name: ENTITY_TYPE,
            has_versions: false,
            entity: parse(include_str!("data/entity_defs.json")),
            scope: parse(include_str!("data/scopes.json")),
            exists: true,
        }
    }

    fn built_in(name: &'static str) -> Self {
        let all: Value = serde_json::from_str(include_str!("data/built_in.json")).unwrap_or(Value::Null);
        let kind = if ["Meeting", "Call"].contains(&name) { "Event" } else { "Person" };
        let scope = if PEOPLE.contains(&name) {
            json!({ "entity": true, "acl": true, "customizable": name != "Team", "preserveAuditLog": true })
        } else {
            json!({
                "entity": true, "acl": true, "customizable": true, "stream": name != "Call", "disabled": false,
                "type": kind, "module": "Crm", "object": true,
            })
        };
        Self {
            name,
            has_versions: false,
            entity: object(all.get(name).cloned().unwrap_or(Value::Null)),
            scope: object(scope),
            exists: true,
        }
    }

    fn is_built_in(&self) -> bool {
        BUILT_IN.contains(&self.name) || PEOPLE.contains(&self.name)
    }

    /// Whether an administrator may add fields.
    pub(super) fn is_customizable(&self) -> bool {
        flag(&self.scope, "customizable")
    }

    /// Whether records have a stream that can be followed.
    pub(super) fn has_stream(&self) -> bool {
        flag(&self.scope, "stream")
    }

    /// Whether records are persons: with a name of several parts, and a look for duplicates.
    pub(super) fn is_person(&self) -> bool {
        self.field("name").is_some_and(|field| kind(field) == "personName")
    }

    /// Order of lists when none is asked for, and whether it is descending.
    pub(super) fn order(&self) -> (&str, bool) {
        let order_by = self.entity.get("collection").and_then(|collection| collection.get("orderBy"));
        (order_by.and_then(Value::as_str).unwrap_or("createdAt"), true)
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
        let asked = body.get("name").and_then(Value::as_str).unwrap_or_default();
        let name = if self.is_built_in() { prefixed(asked) } else { asked.to_owned() };
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
        let core = if self.is_built_in() { Self::built_in(self.name) } else { Self::template() };
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
            "linkMultiple" if field.contains_key("columns") => {
                vec![format!("{name}Ids"), format!("{name}Names"), format!("{name}Columns")]
            }
            "linkMultiple" => vec![format!("{name}Ids"), format!("{name}Names")],
            "linkParent" => vec![format!("{name}Id"), format!("{name}Type"), format!("{name}Name")],
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

    /// Names before `Ids` in what has several.
    pub(super) fn links(&self) -> BTreeSet<String> {
        let attributes = self.fields().flat_map(|(name, field)| Self::attributes_of(name, field));
        let plain = PLAIN.iter().map(|name| (*name).to_owned());
        attributes.chain(plain).filter_map(|name| Some(name.strip_suffix("Ids")?.to_owned())).collect()
    }

    fn entity_defs(&self) -> Value {
        let mut entity = self.entity.clone();
        if self.has_versions {
            entity.insert("optimisticConcurrencyControl".to_owned(), json!(true));
        }
        Value::Object(entity)
    }
}

/// What is made on a type that comes with the system gets a `c` in front.
fn prefixed(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    std::iter::once('c').chain(first).chain(letters).collect()
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
        let catalogue = Catalogue::new(definitions);
        let key = Some("entityDefs.CBeteiligte.fields.advowareRowId.maxLength");
        assert_eq!(catalogue.metadata(key, |_| true), Some(json!(50)));
        assert_eq!(catalogue.metadata(key, |scope| scope == "Meeting"), None);
        assert_eq!(catalogue.metadata(Some("scopes.CNope"), |_| true), None);
    }
}
