//! What is needed, and what of it is lacking.

use serde_json::{Map, Value, json};

use crate::metadata::choices_attribute;
use crate::{EntityType, FieldDefinition, Version};

/// What a flow needs of an EspoCRM.
#[derive(Debug, Clone, PartialEq)]
pub struct Needs {
    /// The oldest version that will do.
    pub version_min: Version,
    /// The entity types whose records the flow handles.
    pub entities: Vec<EntityNeed>,
    /// What the API user must be allowed to do, beside reading its own account.
    pub rights: Vec<Right>,
    /// Webhooks: the event, such as `CBeteiligte.update`, and the path below `/webhooks/` of a producer.
    pub webhooks: Vec<(String, String)>,
}

impl Needs {
    /// What both need, each thing once: several flows share one EspoCRM. Where both need a field, it must do for both, and
    /// is made as the first one says.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.version_min = self.version_min.max(other.version_min);
        for entity in other.entities {
            match self.entities.iter_mut().find(|own| own.name == entity.name) {
                Some(own) => own.merge(entity),
                None => self.entities.push(entity),
            }
        }
        add_new(&mut self.rights, other.rights);
        add_new(&mut self.webhooks, other.webhooks);
        self
    }
}

fn add_new<T: PartialEq>(own: &mut Vec<T>, others: Vec<T>) {
    for other in others {
        if !own.contains(&other) {
            own.push(other);
        }
    }
}

/// A right of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Right {
    /// To do something with all records of a type: `create`, `read`, `edit`, `delete`, `stream`.
    Records(String, &'static str),
    /// A scope that is a mere switch: `Webhook`.
    Switch(&'static str),
    /// A permission of the role itself, at `all`: `messagePermission`.
    Permission(&'static str),
}

/// An entity type.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityNeed {
    /// Its name, with the `C` that EspoCRM puts in front of those that it makes.
    pub name: EntityType,
    /// What it is made from; none for one that comes with EspoCRM.
    pub template: Option<Template>,
    /// Its fields.
    pub fields: Vec<FieldNeed>,
}

impl EntityNeed {
    /// A field's name in records and definitions: what is made for a type that comes with EspoCRM gets a `c` in front.
    pub fn attribute(&self, field: &FieldNeed) -> String {
        if self.template.is_some() || field.is_native {
            return field.name.to_owned();
        }
        prefixed(field.name)
    }

    fn merge(&mut self, other: Self) {
        for field in other.fields {
            match self.fields.iter_mut().find(|own| own.name == field.name) {
                Some(own) => own.merge(field),
                None => self.fields.push(field),
            }
        }
    }
}

/// What EspoCRM calls a field that was made for a type that comes with it: `location` becomes `cLocation`.
fn prefixed(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    std::iter::once('c').chain(first).chain(letters).collect()
}

/// What an entity type is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// The template: `Person`, `Base`, …
    pub name: &'static str,
    /// What one record is called.
    pub label: &'static str,
    /// What several are called.
    pub label_plural: &'static str,
}

/// A field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldNeed {
    /// Its name.
    pub name: &'static str,
    /// Its definition where it has to be made, or as the template makes it: with `type`, `label`, `options`, ….
    pub definition: Map<String, Value>,
    /// Whether the entity type's template brings it along.
    pub is_native: bool,
    /// Least value of its maximum length, in characters.
    pub length_min: Option<u32>,
    /// Options without which it is of no use.
    pub options_needed: Vec<String>,
    /// Options that had better be there; `""` lets it be emptied.
    pub options_wished: Vec<String>,
    /// Whether it must be allowed to be empty.
    pub may_be_empty: bool,
}

impl FieldNeed {
    /// A field that has to be made; `definition` is what EspoCRM's field manager takes.
    pub fn custom(name: &'static str, definition: Value) -> Self {
        Self {
            name,
            definition: object(definition),
            is_native: false,
            length_min: None,
            options_needed: Vec::new(),
            options_wished: Vec::new(),
            may_be_empty: false,
        }
    }

    /// A field that the template brings along as `definition` says.
    pub fn native(name: &'static str, definition: Value) -> Self {
        Self { is_native: true, ..Self::custom(name, definition) }
    }

    /// It must take texts of this length.
    #[must_use]
    pub fn length_min(mut self, characters: u32) -> Self {
        self.length_min = Some(characters);
        self
    }

    /// It must have these options.
    #[must_use]
    pub fn options_needed(mut self, options: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.options_needed = options.into_iter().map(Into::into).collect();
        self
    }

    /// It had better have these options.
    #[must_use]
    pub fn options_wished(mut self, options: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.options_wished = options.into_iter().map(Into::into).collect();
        self
    }

    /// It must be allowed to be empty.
    #[must_use]
    pub fn may_be_empty(mut self) -> Self {
        self.may_be_empty = true;
        self
    }

    fn merge(&mut self, other: Self) {
        self.length_min = self.length_min.max(other.length_min);
        let length = self.definition.get("maxLength").and_then(Value::as_u64);
        if length.zip(self.length_min).is_some_and(|(length, needed)| length < u64::from(needed)) {
            self.definition.insert("maxLength".to_owned(), json!(self.length_min));
        }
        self.may_be_empty |= other.may_be_empty;
        add_new(&mut self.options_needed, other.options_needed);
        add_new(&mut self.options_wished, other.options_wished);
    }

    /// Its type.
    pub fn kind(&self) -> &str {
        self.definition.get("type").and_then(Value::as_str).unwrap_or_default()
    }
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// It is not there.
    Missing,
    /// It has another type.
    OtherKind(String),
    /// It is computed, not stored.
    NotStored,
    /// Clients may not write it.
    ReadOnly,
    /// It takes texts up to this length only.
    Short(u32),
    /// It has not all options; without them it is of no use.
    OptionsNeeded(Vec<String>),
    /// It has not all options that it had better have.
    OptionsWished(Vec<String>),
    /// It must not be empty.
    Required,
}

/// What a field lacks. Pure. A phone field's options are its types. A field of another type or that is not stored
/// lacks only that: nothing can be done to it.
pub fn lacks(need: &FieldNeed, present: Option<&FieldDefinition>) -> Vec<Lack> {
    let Some(present) = present else { return vec![Lack::Missing] };
    if present.kind != need.kind() {
        return vec![Lack::OtherKind(present.kind.clone())];
    }
    if present.not_storable {
        return vec![Lack::NotStored];
    }
    let choices = present.choices();
    // A phone field that lists no types has those of EspoCRM, which are not ours to know.
    let lists_none = present.kind == "phone" && choices.is_empty();
    let missing = |options: &[String]| -> Vec<String> {
        options.iter().filter(|option| !lists_none && !choices.contains(option)).cloned().collect()
    };
    let short = need.length_min.zip(present.max_length).filter(|(needed, present)| present < needed);
    let (needed, wished) = (missing(&need.options_needed), missing(&need.options_wished));
    [
        present.read_only.then_some(Lack::ReadOnly),
        short.map(|(_, present)| Lack::Short(present)),
        (!needed.is_empty()).then_some(Lack::OptionsNeeded(needed)),
        (!wished.is_empty()).then_some(Lack::OptionsWished(wished)),
        (need.may_be_empty && present.required).then_some(Lack::Required),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The definition with which a field lacks none of this: the whole of it, since EspoCRM drops what is not repeated.
/// `None` where nothing helps.
pub(super) fn mended(
    need: &FieldNeed,
    present: &Map<String, Value>,
    lacks: &[Lack],
) -> Option<Map<String, Value>> {
    let mut definition = present.clone();
    definition.shift_remove("isCustom");
    definition.insert("type".to_owned(), json!(need.kind()));
    let attribute = choices_attribute(need.kind());
    let mut options = definition.get(attribute).and_then(Value::as_array).cloned().unwrap_or_default();
    let before = options.len();
    for lack in lacks {
        match lack {
            Lack::Missing | Lack::OtherKind(_) | Lack::NotStored => return None,
            Lack::ReadOnly => {
                definition.insert("readOnly".to_owned(), json!(false));
            }
            Lack::Short(_) => {
                definition.insert("maxLength".to_owned(), json!(need.length_min));
            }
            Lack::Required => {
                definition.insert("required".to_owned(), json!(false));
            }
            Lack::OptionsNeeded(missing) | Lack::OptionsWished(missing) => {
                for option in missing
                    .iter()
                    .filter(|option| !options.contains(&json!(option)))
                    .cloned()
                    .collect::<Vec<_>>()
                {
                    // The empty option stands first, where it is the default of a form.
                    options.insert(if option.is_empty() { 0 } else { options.len() }, json!(option));
                }
            }
        }
    }
    if options.len() > before {
        definition.insert(attribute.to_owned(), Value::Array(options));
    }
    Some(definition)
}

/// The object in a JSON literal.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
