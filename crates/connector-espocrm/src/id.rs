//! Ids are types, and safe in a path.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is no id. The texts are cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// No record id.
    #[error("'{0}' is no EspoCRM record id (1 to 40 of a-z, A-Z, 0-9, -, _)")]
    Record(String),
    /// No entity type.
    #[error("'{0}' is no EspoCRM entity type (a letter, then letters and digits, at most 80)")]
    EntityType(String),
}

fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}

/// The id of a record: 17 hexadecimal digits where the server made it, another short word for its own users.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EspoId(String);

impl EspoId {
    /// Checks and wraps an id.
    ///
    /// # Errors
    /// [`IdError::Record`] when it is empty, longer than 40, or has characters that no id has.
    pub fn new(id: impl Into<String>) -> Result<Self, IdError> {
        let id = id.into();
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if id.is_empty() || id.len() > 40 || !id.chars().all(allowed) {
            return Err(IdError::Record(shorten(&id)));
        }
        Ok(Self(id))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of an entity type, such as `CBeteiligte`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntityType(String);

impl EntityType {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// [`IdError::EntityType`] when it is empty, longer than 80, or has other characters than letters and digits.
    pub fn new(name: impl Into<String>) -> Result<Self, IdError> {
        let name = name.into();
        let starts = name.starts_with(|c: char| c.is_ascii_alphabetic());
        if !starts || name.len() > 80 || !name.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(IdError::EntityType(shorten(&name)));
        }
        Ok(Self(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_type {
    ($name:ident) => {
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
text_type!(EspoId);
text_type!(EntityType);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_change_a_path_is_no_id() {
        for good in ["6b00526cc80a09e94", "1", "system", "0c4f7c2e-1f8e-4d0a-9d77-1b0f9a2c6e55"] {
            assert!(EspoId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a/b", "..", "a?b", "a b", "ä", &"x".repeat(41)] {
            assert!(EspoId::new(bad).is_err(), "{bad}");
        }
        for bad in ["", "C-B", "1C", "C/..", "C Beteiligte"] {
            assert!(EntityType::new(bad).is_err(), "{bad}");
        }
        assert!(EntityType::new("CBeteiligte").is_ok());
    }
}
