//! Ids of WeCom, and what we put with the target's records.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What our external ids begin with; what has none of them is not ours.
pub const PREFIX: &str = "wecom:";
/// Longest userid, in characters.
pub const USERID_CHARS_MAX: usize = 64;

/// A department's id. Given anew after a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DepartmentId(pub u32);

impl DepartmentId {
    /// What the root names as its parent.
    pub const NONE: Self = Self(0);
    /// The company itself; not visible to every application.
    pub const ROOT: Self = Self(1);
}

impl fmt::Display for DepartmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A member's userid in lower case: WeCom's uniqueness ignores case, and its events spell it in their own way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MemberId(String);

/// Why a text is no userid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a userid: 1 to 64 printable ASCII characters without slash and blank; what names it is left alone, \
     correct it in WeCom"
)]
pub struct BadUserid;

impl MemberId {
    /// Checks and folds.
    ///
    /// # Errors
    /// [`BadUserid`] for what WeCom does not permit.
    pub fn new(userid: &str) -> Result<Self, BadUserid> {
        let fits = |c: char| c.is_ascii_graphic() && c != '/';
        if userid.is_empty() || userid.len() > USERID_CHARS_MAX || !userid.chars().all(fits) {
            return Err(BadUserid);
        }
        Ok(Self(userid.to_ascii_lowercase()))
    }

    /// As text, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for MemberId {
    type Error = BadUserid;
    fn try_from(userid: String) -> Result<Self, BadUserid> {
        Self::new(&userid)
    }
}

impl From<MemberId> for String {
    fn from(id: MemberId) -> Self {
        id.0
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The target's own id of a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TargetId(pub String);

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands with a record of ours in the target, and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ExternalId {
    /// A group.
    Department(DepartmentId),
    /// A user.
    Member(MemberId),
    /// A second account of a renamed member, taken out of use; the target's id tells them apart.
    Retired(TargetId),
}

impl fmt::Display for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Department(id) => write!(f, "{PREFIX}dept:{id}"),
            Self::Member(id) => write!(f, "{PREFIX}user:{id}"),
            Self::Retired(id) => write!(f, "{PREFIX}retired:{id}"),
        }
    }
}

/// A text that is no external id of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an external id of ours: the record is somebody else's")]
pub struct NotOurs;

impl FromStr for ExternalId {
    type Err = NotOurs;
    fn from_str(text: &str) -> Result<Self, NotOurs> {
        let (kind, id) = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once(':')).ok_or(NotOurs)?;
        match kind {
            "dept" => id.parse().map(|id| Self::Department(DepartmentId(id))).map_err(|_| NotOurs),
            "user" => MemberId::new(id).map(Self::Member).map_err(|_| NotOurs),
            "retired" => Ok(Self::Retired(TargetId(id.to_owned()))),
            _ => Err(NotOurs),
        }
    }
}

impl TryFrom<String> for ExternalId {
    type Error = NotOurs;
    fn try_from(text: String) -> Result<Self, NotOurs> {
        text.parse()
    }
}

impl From<ExternalId> for String {
    fn from(id: ExternalId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn userids_ignore_case_and_have_bounds() {
        assert_eq!(MemberId::new("ZhangSan"), MemberId::new("zhangsan"));
        assert_eq!(MemberId::new("O.Brien@hq").unwrap().as_str(), "o.brien@hq");
        for bad in ["", "a b", "a/b", "张三", "a\n", &"x".repeat(65)] {
            assert_eq!(MemberId::new(bad), Err(BadUserid), "{bad}");
        }
    }

    #[test]
    fn external_ids_are_read_back_and_others_are_not_ours() {
        let member = ExternalId::Member(MemberId::new("LiSi").unwrap());
        for (id, text) in [
            (ExternalId::Department(DepartmentId(2_147_483_646)), "wecom:dept:2147483646"),
            (member, "wecom:user:lisi"),
            (ExternalId::Retired(TargetId("a:b".to_owned())), "wecom:retired:a:b"),
        ] {
            assert_eq!(id.to_string(), text);
            assert_eq!(text.parse(), Ok(id));
        }
        for other in ["", "lisi", "wecom:", "wecom:dept:", "wecom:dept:x", "wecom:tag:1", "other:user:lisi"] {
            assert_eq!(other.parse::<ExternalId>(), Err(NotOurs), "{other}");
        }
    }
}
