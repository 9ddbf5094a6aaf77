//! Defaults, file and environment laid over each other. `config/default.toml` says which keys there are and of
//! which type; this module knows nothing else about any key.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use toml::de::{DeTable, DeValue};

use crate::problem::{Origin, Problem};

/// The defaults, and with them the schema.
pub const DEFAULTS: &str = include_str!("../../../config/default.toml");
/// What environment variables that set a key begin with.
pub(crate) const PREFIX: &str = "SYNCFLEET__";
/// Tables whose keys are the operator's own.
const MAPS: &[&str] = &[
    "vault.old_keys",
    "flow.parties.salutations",
    "flow.parties.communications.kinds",
    "flow.parties.communications.types",
    "flow.parties.communications.mirrors",
    "flow.parties.webhook_secrets",
    "flow.calendar.webhook_secrets",
];
/// The name of a table that is a pattern: its keys, with its values, are those of each table beside it under a name of
/// the operator's own.
const PATTERN: &str = "*";
/// Tables beside a pattern that have keys of their own.
const BUILT_IN: &[&str] = &["provider.microsoft", "provider.google"];
/// Tables whose patterns' tables have names in lower case, also where a variable names them.
const LOWER_CASE: &[&str] = &["provider", "flow.directory.relay"];
/// Most tables of one pattern.
const ITEMS_MAX: usize = 1_000;
/// Longest name of one, in bytes.
const ITEM_BYTES_MAX: usize = 64;

/// A value as it was written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Number(f64),
    Flag(bool),
    /// A type that no key has: a date, a list, a table.
    Other(&'static str),
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setting {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// What a key stands for.
#[derive(Debug, Clone)]
pub(crate) enum Slot {
    One(Setting),
    /// A table with keys of the operator's own.
    Map(BTreeMap<String, Setting>),
}

/// All keys with their effective values, in the order of `config/default.toml`.
#[derive(Debug, Clone)]
pub(crate) struct Layers {
    pub(crate) slots: Vec<(String, Slot)>,
    /// Where each key stands.
    places: HashMap<String, usize>,
}

impl Layers {
    /// The defaults alone.
    pub(crate) fn of_defaults(problems: &mut Vec<Problem>) -> Self {
        let mut layers = Self { slots: Vec::new(), places: HashMap::new() };
        let (document, errors) = DeTable::parse_recoverable(DEFAULTS);
        problems.extend(errors.iter().map(|error| syntax_problem(error, "default.toml", DEFAULTS)));
        layers.declare(document.get_ref(), "");
        layers.find_places();
        layers
    }

    fn declare(&mut self, table: &DeTable<'_>, prefix: &str) {
        for (name, value) in table {
            let key = join(prefix, name.get_ref());
            match value.get_ref() {
                DeValue::Table(items) if MAPS.contains(&key.as_str()) => {
                    let items = items.iter().map(|(name, value)| {
                        let value = value_of(value.get_ref());
                        (name.get_ref().to_string(), Setting { value, origin: Origin::Default })
                    });
                    self.slots.push((key, Slot::Map(items.collect())));
                }
                DeValue::Table(inner) => self.declare(inner, &key),
                value => {
                    let setting = Setting { value: value_of(value), origin: Origin::Default };
                    self.slots.push((key, Slot::One(setting)));
                }
            }
        }
    }

    /// Lays the operator's file over what is there.
    pub(crate) fn lay_file(&mut self, path: &str, text: &str, problems: &mut Vec<Problem>) {
        let (document, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            FileLayer { layers: self, path, text, problems }.walk(document.get_ref(), "");
        } else {
            problems.extend(errors.iter().map(|error| syntax_problem(error, path, text)));
        }
    }

    /// Lays the environment over what is there. Variables without our prefix are none of our business.
    pub(crate) fn lay_environment(
        &mut self,
        environment: &BTreeMap<String, String>,
        problems: &mut Vec<Problem>,
    ) {
        for (variable, text) in environment.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
            let origin = Origin::Environment { variable: variable.clone() };
            let path: Vec<&str> = variable[PREFIX.len()..].split("__").collect();
            let key = self.key_of_variable(&path);
            let (item, table) = path
                .split_last()
                .map_or(("", String::new()), |(item, table)| (*item, table.join(".").to_lowercase()));
            if is_of_pattern(&key) {
                problems.push(self.unknown(key, origin));
            } else if let Some(Slot::One(setting)) = self.get_mut(&key) {
                let value = typed_like(&setting.value, text);
                *setting = Setting { value, origin };
            } else if let Some(Slot::Map(items)) = self.get_mut(&table) {
                items.insert(item.to_owned(), Setting { value: Value::Text(text.clone()), origin });
            } else {
                problems.push(self.unknown(key, origin));
            }
        }
    }

    /// The slot of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Slot> {
        self.slots.get(*self.places.get(key)?).map(|(_, slot)| slot)
    }

    /// The text of a key.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Slot::One(Setting { value: Value::Text(text), .. }) => Some(text),
            _ => None,
        }
    }

    fn find_places(&mut self) {
        self.places = self.slots.iter().enumerate().map(|(place, (key, _))| (key.clone(), place)).collect();
    }

    /// The key that a variable sets. The names of tables of the operator's own stay as they are written.
    fn key_of_variable(&mut self, path: &[&str]) -> String {
        let key = path.join(".").to_lowercase();
        if let [tables @ .., item, name] = path
            && self.get(&key).is_none()
        {
            let table = tables.join(".").to_lowercase();
            let is_lower = LOWER_CASE.contains(&table.as_str());
            let item = if is_lower { item.to_lowercase() } else { (*item).to_owned() };
            if self.lay_item(&table, &item) {
                return format!("{table}.{item}.{}", name.to_lowercase());
            }
        }
        key
    }

    /// Makes the keys of a table of the operator's own, where `table` has a pattern; answers whether they are there.
    fn lay_item(&mut self, table: &str, item: &str) -> bool {
        let key = join(table, item);
        if item != PATTERN && self.is_section(&key) {
            return true;
        }
        let pattern = format!("{table}.{PATTERN}.");
        let Some(at) = self.slots.iter().position(|(key, _)| key.starts_with(&pattern)) else { return false };
        if !is_item(item) || self.items(table).len() >= ITEMS_MAX {
            return false;
        }
        let like = self
            .slots
            .iter()
            .filter_map(|(known, slot)| Some((join(&key, known.strip_prefix(&pattern)?), slot.clone())));
        let slots: Vec<(String, Slot)> = like.collect();
        self.slots.splice(at..at, slots);
        self.find_places();
        true
    }

    /// The names of the tables of the operator's own beside a pattern.
    pub(crate) fn items(&self, table: &str) -> Vec<String> {
        let pattern = format!("{table}.{PATTERN}.");
        let Some(first) = self.slots.iter().find_map(|(key, _)| key.strip_prefix(&pattern)) else {
            return Vec::new();
        };
        let of_pattern = self.slots.iter().filter_map(|(key, _)| {
            let (item, name) = key.strip_prefix(table)?.strip_prefix('.')?.split_once('.')?;
            (name == first && item != PATTERN).then(|| item.to_owned())
        });
        // A built-in table beside the pattern may have keys of the same name.
        of_pattern.filter(|item| !BUILT_IN.contains(&join(table, item).as_str())).collect()
    }

    fn get_mut(&mut self, key: &str) -> Option<&mut Slot> {
        self.slots.get_mut(*self.places.get(key)?).map(|(_, slot)| slot)
    }

    fn is_section(&self, key: &str) -> bool {
        self.slots.iter().any(|(k, _)| k.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
    }

    fn unknown(&self, key: String, origin: Origin) -> Problem {
        let hint = self.similar(&key).map(|known| format!("did you mean {known}?")).unwrap_or_default();
        Problem {
            origin,
            key,
            found: "an unknown key".into(),
            expected: "a key of config/default.toml".into(),
            hint,
        }
    }

    /// The known key or section nearest to a mistyped one: few letters differ, or it stands in the wrong section.
    fn similar(&self, key: &str) -> Option<&str> {
        let sections = self.slots.iter().flat_map(|(k, _)| k.match_indices('.').map(|(at, _)| &k[..at]));
        let sections: BTreeSet<&str> = sections.collect();
        let known = self.slots.iter().map(|(k, _)| k.as_str()).chain(sections);
        let nearest = known.map(|k| (strsim::damerau_levenshtein(k, key), k)).min();
        let last = |k: &str| k.rsplit('.').next().map(str::to_owned);
        nearest
            .filter(|(distance, _)| *distance <= 3)
            .map(|(_, k)| k)
            .or_else(|| self.slots.iter().map(|(k, _)| k.as_str()).find(|k| last(k) == last(key)))
    }
}

struct FileLayer<'a> {
    layers: &'a mut Layers,
    path: &'a str,
    text: &'a str,
    problems: &'a mut Vec<Problem>,
}

impl FileLayer<'_> {
    fn walk(&mut self, table: &DeTable<'_>, prefix: &str) {
        for (name, value) in table {
            let key = join(prefix, name.get_ref());
            let origin = self.origin(name.span().start);
            let is_table = matches!(value.get_ref(), DeValue::Table(_));
            let section = self.layers.get(&key).is_none()
                && (self.layers.is_section(&key)
                    || (is_table && self.layers.lay_item(prefix, name.get_ref())));
            match (self.layers.get_mut(&key), value.get_ref()) {
                // As in a file that was made of the reference.
                (Some(Slot::One(setting)), value)
                    if is_of_pattern(&key) && setting.value == value_of(value) => {}
                (Some(Slot::One(_)), _) if is_of_pattern(&key) => self.problems.push(Problem {
                    origin,
                    key,
                    found: "a value in a pattern (not shown)".into(),
                    expected: "the same key in a table of its own name".into(),
                    hint: String::new(),
                }),
                (Some(Slot::One(setting)), value) => *setting = Setting { value: value_of(value), origin },
                (Some(Slot::Map(_)), DeValue::Table(items)) => self.lay_map(&key, items),
                (None, DeValue::Table(inner)) if section => self.walk(inner, &key),
                (slot, value) if slot.is_some() || section => self.problems.push(Problem {
                    found: describe(&value_of(value)),
                    expected: format!("a table, [{key}]"),
                    hint: String::new(),
                    origin,
                    key,
                }),
                _ => self.problems.push(self.layers.unknown(key, origin)),
            }
        }
    }

    fn lay_map(&mut self, key: &str, items: &DeTable<'_>) {
        let items = items.iter().map(|(name, value)| {
            let origin = self.origin(name.span().start);
            (name.get_ref().to_string(), Setting { value: value_of(value.get_ref()), origin })
        });
        let items = items.collect();
        if let Some(slot) = self.layers.get_mut(key) {
            *slot = Slot::Map(items);
        }
    }

    fn origin(&self, offset: usize) -> Origin {
        Origin::File { path: self.path.to_owned(), line: line_of(self.text, offset) }
    }
}

/// Whether it can be the name of a table of the operator's own.
fn is_item(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    (1..=ITEM_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

/// Whether a key stands in a pattern, and so is none that has a value.
pub(crate) fn is_of_pattern(key: &str) -> bool {
    key.split('.').any(|part| part == PATTERN)
}

fn syntax_problem(error: &toml::de::Error, path: &str, text: &str) -> Problem {
    let line = error.span().map_or(0, |span| line_of(text, span.start));
    let written = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let key = written.split_once('=').map_or("", |(key, _)| key.trim());
    Problem {
        origin: Origin::File { path: path.to_owned(), line },
        key: key.to_owned(),
        found: format!("a line that is no TOML ({})", error.message()),
        expected: "key = value, with text in quotation marks".into(),
        hint: String::new(),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

fn value_of(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or(Value::Other("a whole number that is too large"), Value::Integer),
        DeValue::Float(number) => number.as_str().parse().map_or(Value::Other("a number"), Value::Number),
        DeValue::Boolean(flag) => Value::Flag(*flag),
        DeValue::Datetime(_) => Value::Other("a date or time"),
        DeValue::Array(_) => Value::Other("a list"),
        DeValue::Table(_) => Value::Other("a table"),
    }
}

/// The text of an environment variable in the type that the default has; left as text where it does not fit.
fn typed_like(like: &Value, text: &str) -> Value {
    let digits = text.replace('_', "");
    let typed = match like {
        Value::Integer(_) => digits.parse().ok().map(Value::Integer),
        Value::Number(_) => digits.parse().ok().map(Value::Number),
        Value::Flag(_) => text.parse().ok().map(Value::Flag),
        Value::Text(_) | Value::Other(_) => None,
    };
    typed.unwrap_or_else(|| Value::Text(text.to_owned()))
}

/// A value as problems show it; long texts are cut.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("{:?}", shared::fault::cut(text, 80)),
        Value::Integer(integer) => integer.to_string(),
        Value::Number(number) => format!("{number:?}"),
        Value::Flag(flag) => flag.to_string(),
        Value::Other(what) => (*what).to_owned(),
    }
}
