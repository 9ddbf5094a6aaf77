//! Ids are types.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU32;

/// Longest id of a member, in characters.
pub const USER_ID_CHARS_MAX: usize = 64;

/// Why something is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// No id of a member.
    #[error("no WeCom userid (1 to 64 characters without blanks)")]
    User,
    /// No id of a department.
    #[error("no WeCom department id (a whole number from 1 to 4294967295)")]
    Department,
}

/// The id of a member: the login. Ids that differ in case only are the same one; each keeps its spelling.
#[derive(Debug, Clone)]
pub struct UserId {
    spelled: String,
    key: String,
}

impl UserId {
    /// Checks and wraps an id. What the vendor documents (letters, digits, `_-@.`) is narrower.
    ///
    /// # Errors
    /// [`IdError::User`].
    pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
        let spelled = text.into();
        let odd = |c: char| c.is_whitespace() || c.is_control();
        if spelled.is_empty() || spelled.chars().count() > USER_ID_CHARS_MAX || spelled.contains(odd) {
            return Err(IdError::User);
        }
        let key = spelled.to_lowercase();
        Ok(Self { spelled, key })
    }

    /// As WeCom spells it: for requests and display.
    pub fn as_str(&self) -> &str {
        &self.spelled
    }

    /// In lower case: for keys and comparisons.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl PartialEq for UserId {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for UserId {}

impl PartialOrd for UserId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for UserId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

impl Hash for UserId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spelled)
    }
}

/// The id of a department. Ids are reused, and a child's may be smaller than its parent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DepartmentId(NonZeroU32);

impl DepartmentId {
    /// The company itself, where it is visible.
    pub const ROOT: Self = Self(NonZeroU32::MIN);

    /// The number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl TryFrom<u64> for DepartmentId {
    type Error = IdError;
    fn try_from(number: u64) -> Result<Self, IdError> {
        u32::try_from(number).ok().and_then(NonZeroU32::new).map(Self).ok_or(IdError::Department)
    }
}

impl std::str::FromStr for DepartmentId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        text.trim().parse::<u64>().map_err(|_| IdError::Department)?.try_into()
    }
}

impl fmt::Display for DepartmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn members_differ_by_more_than_case() {
        let (one, other) = (UserId::new("ZhangSan").unwrap(), UserId::new("zhangsan").unwrap());
        assert_eq!(one, other);
        assert_eq!((one.as_str(), one.key(), one.to_string().as_str()), ("ZhangSan", "zhangsan", "ZhangSan"));
        assert_eq!(HashSet::from([one, other]).len(), 1);
        for bad in ["", "a b", "a\n", &"x".repeat(65)] {
            assert_eq!(UserId::new(bad), Err(IdError::User));
        }
        assert!(UserId::new("o.brien@hq_1-2").is_ok() && UserId::new("x".repeat(64)).is_ok());
    }

    #[test]
    fn departments_are_positive_32_bit_numbers() {
        assert_eq!(" 2147483646".parse::<DepartmentId>().unwrap().get(), 2_147_483_646);
        assert_eq!("4294967295".parse::<DepartmentId>().unwrap().get(), u32::MAX);
        assert_eq!(DepartmentId::ROOT.to_string(), "1");
        for bad in ["", "0", "-1", "4294967296", "1.5", "一"] {
            assert_eq!(bad.parse::<DepartmentId>(), Err(IdError::Department), "{bad}");
        }
    }
}
