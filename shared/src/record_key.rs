//! The record key: what to look at. Two messages of one key never run at the same time.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest accepted id of an anchor record, in bytes.
pub const RECORD_ID_BYTES_MAX: usize = 200;

/// The name of a flow, as in the specification: lower-case letters, digits and `_`, at most 40 of them. Cheap to
/// clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FlowName(Arc<str>);

impl FlowName {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// [`KeyError`] when the name is empty, too long, or has other characters.
    pub fn new(name: impl Into<String>) -> Result<Self, KeyError> {
        let name = name.into();
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.is_empty() || name.len() > 40 || !name.chars().all(allowed) {
            return Err(KeyError::Flow(shorten(&name)));
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for FlowName {
    type Error = KeyError;
    fn try_from(name: String) -> Result<Self, KeyError> {
        Self::new(name)
    }
}

impl From<FlowName> for String {
    fn from(name: FlowName) -> Self {
        name.as_str().to_owned()
    }
}

impl fmt::Display for FlowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Flow and id of the flow's anchor record, printed as `flow:id`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecordKey {
    flow: FlowName,
    id: Arc<str>,
}

impl RecordKey {
    /// Checks and builds a key.
    ///
    /// # Errors
    /// [`KeyError::Id`] when the id is empty, longer than [`RECORD_ID_BYTES_MAX`], or has control characters.
    pub fn new(flow: FlowName, id: impl Into<String>) -> Result<Self, KeyError> {
        let id = id.into();
        if id.is_empty() || id.len() > RECORD_ID_BYTES_MAX || id.chars().any(char::is_control) {
            return Err(KeyError::Id(shorten(&id)));
        }
        Ok(Self { flow, id: id.into() })
    }

    /// The flow.
    pub fn flow(&self) -> &FlowName {
        &self.flow
    }

    /// The id of the anchor record, in the anchor system's own form.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.flow, self.id)
    }
}

impl FromStr for RecordKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (flow, id) = text.split_once(':').ok_or_else(|| KeyError::Shape(shorten(text)))?;
        Self::new(FlowName::new(flow)?, id)
    }
}

impl TryFrom<String> for RecordKey {
    type Error = KeyError;
    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<RecordKey> for String {
    fn from(key: RecordKey) -> Self {
        key.to_string()
    }
}

/// Why a text is no record key. The texts are cut, so that an error never carries a whole payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not a flow name.
    #[error("'{0}' is no flow name (1 to 40 of a-z, 0-9, _)")]
    Flow(String),
    /// Not a record id.
    #[error("'{0}' is no record id (1 to 200 bytes, no control characters)")]
    Id(String),
    /// No colon.
    #[error("'{0}' is no record key (flow:id)")]
    Shape(String),
}

fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_prints_and_parses() {
        let key: RecordKey = "parties:6b00526cc80a09e94".parse().unwrap();
        assert_eq!(key.flow().as_str(), "parties");
        assert_eq!(key.id(), "6b00526cc80a09e94");
        assert_eq!(key.to_string(), "parties:6b00526cc80a09e94");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in ["", "parties", "parties:", "Parties:1", ":1", "parties:a\nb"] {
            assert!(bad.parse::<RecordKey>().is_err(), "{bad:?}");
        }
        assert!(RecordKey::new(FlowName::new("parties").unwrap(), "x".repeat(201)).is_err());
    }

    proptest! {
        #[test]
        fn any_id_that_is_accepted_survives_the_round_trip(id in "\\PC{1,40}") {
            let key = RecordKey::new(FlowName::new("parties").unwrap(), id).unwrap();
            prop_assert_eq!(key.to_string().parse::<RecordKey>().unwrap(), key);
        }
    }
}
