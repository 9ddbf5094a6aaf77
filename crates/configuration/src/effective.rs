//! The configuration as it is in force, for people: with secrets masked, and where each value came from.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;

use crate::layers::{Layers, Setting, Slot, Value, is_of_pattern};
use crate::problem::Origin;

/// One key with its effective value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EffectiveSetting {
    /// The section, as a dotted path.
    pub section: String,
    /// The key within its section.
    pub name: String,
    /// The value in TOML; a secret is `"***"`.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
    /// For a secret: the reference that it was read by, which is no secret.
    pub reference: Option<String>,
}

/// All keys in the order of the reference.
pub(crate) fn settings(layers: &Layers, secrets: &BTreeSet<String>) -> Vec<EffectiveSetting> {
    let mut settings = Vec::new();
    for (key, slot) in layers.slots.iter().filter(|(key, _)| !is_of_pattern(key)) {
        match slot {
            Slot::One(setting) => {
                let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
                settings.push(effective(section, name, setting, secrets.contains(key)));
            }
            Slot::Map(items) => settings.extend(items.iter().map(|(name, setting)| {
                effective(key, name, setting, secrets.contains(&format!("{key}.{name}")))
            })),
        }
    }
    settings
}

fn effective(section: &str, name: &str, setting: &Setting, is_secret: bool) -> EffectiveSetting {
    let (value, reference) = match &setting.value {
        Value::Text(text) if is_secret && !text.is_empty() => ("\"***\"".to_owned(), Some(text.clone())),
        Value::Text(text) => (toml::Value::from(text.as_str()).to_string(), None),
        Value::Integer(integer) => (integer.to_string(), None),
        Value::Number(number) => (format!("{number:?}"), None),
        Value::Flag(flag) => (flag.to_string(), None),
        Value::Other(what) => ((*what).to_owned(), None),
    };
    let name = toml_key(name);
    EffectiveSetting { section: section.to_owned(), name, value, origin: setting.origin.clone(), reference }
}

fn toml_key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if !name.is_empty() && name.bytes().all(bare) {
        name.to_owned()
    } else {
        toml::Value::from(name).to_string()
    }
}

/// The settings as a TOML document with comments.
pub(crate) fn document(settings: &[EffectiveSetting]) -> String {
    let mut text = String::new();
    let mut section = "";
    for setting in settings {
        if setting.section != section {
            section = &setting.section;
            let _ = writeln!(text, "{}[{section}]", if text.is_empty() { "" } else { "\n" });
        }
        let line = format!("{} = {}", setting.name, setting.value);
        let reference = setting.reference.as_ref().map(|it| format!(", read from {it}")).unwrap_or_default();
        let _ = writeln!(text, "{line:<48} # {}{reference}", setting.origin);
    }
    text
}
