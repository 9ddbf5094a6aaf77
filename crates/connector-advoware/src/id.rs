//! Ids are types.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why something is no id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdError {
    /// No Beteiligten-Nummer.
    BetNr,
    /// No row version.
    RowId,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BetNr => "no Advoware betNr (a whole number from 1 to 2147483647)",
            Self::RowId => "no Advoware rowId (1 to 200 characters)",
        })
    }
}

impl std::error::Error for IdError {}

/// The key of a party, from 1 on. It fits EspoCRM's `int`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct BetNr(i32);

impl BetNr {
    /// The number.
    pub fn get(self) -> i64 {
        i64::from(self.0)
    }
}

impl TryFrom<i64> for BetNr {
    type Error = IdError;
    fn try_from(number: i64) -> Result<Self, IdError> {
        i32::try_from(number).ok().filter(|n| *n > 0).map(Self).ok_or(IdError::BetNr)
    }
}

impl From<BetNr> for i64 {
    fn from(betnr: BetNr) -> Self {
        betnr.get()
    }
}

impl fmt::Display for BetNr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The version of a party's row: opaque, changes at every write whoever made it, never repeats.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RowId(String);

impl RowId {
    /// Checks and wraps a row version.
    ///
    /// # Errors
    /// [`IdError::RowId`] when it is empty or longer than 200 characters.
    pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        if text.is_empty() || text.chars().count() > 200 {
            return Err(IdError::RowId);
        }
        Ok(Self(text))
    }

    /// The version as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RowId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::new(text)
    }
}

impl From<RowId> for String {
    fn from(row_id: RowId) -> Self {
        row_id.0
    }
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_positive_and_fit_the_crm() {
        assert_eq!(BetNr::try_from(104_860).unwrap().to_string(), "104860");
        for bad in [0, -1, i64::from(i32::MAX) + 1] {
            assert_eq!(BetNr::try_from(bad), Err(IdError::BetNr));
        }
        assert!(RowId::new("").is_err() && RowId::new("x".repeat(201)).is_err());
    }
}
