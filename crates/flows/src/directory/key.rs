//! What the flow's messages are about, and which of them follow from an event of WeCom. Pure.
//!
//! | record id | what a run of it does |
//! |---|---|
//! | `dept.<id>` | reads the department in WeCom and brings its group in line |
//! | `user.<userid>` | reads the member in WeCom and brings its user in line |
//! | `rename.<old>/<new>` | notes that a userid was changed, moves the account, then as `user.<new>` |
//! | `members.<department>` | writes what is noted for the members of its group, in batches |
//! | `leader.<userid>` | sets the user's manager from what is remembered; reads nothing in WeCom |
//! | `first-sync` | goes on with the first sync |

use std::fmt;
use std::str::FromStr;

use shared::record_key::{FlowName, KeyError, RecordKey};

use super::ids::{DepartmentId, MemberId};

/// What a message is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A department.
    Department(DepartmentId),
    /// A member.
    Member(MemberId),
    /// A change of a userid.
    Rename {
        /// What it was.
        old: MemberId,
        /// What it is.
        new: MemberId,
    },
    /// What is noted for a group's members.
    Members(DepartmentId),
    /// A member's manager.
    Leader(MemberId),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Department(id) => write!(f, "dept.{id}"),
            Self::Member(id) => write!(f, "user.{id}"),
            Self::Rename { old, new } => write!(f, "rename.{old}/{new}"),
            Self::Members(id) => write!(f, "members.{id}"),
            Self::Leader(id) => write!(f, "leader.{id}"),
        }
    }
}

/// A record id that is none of this flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a record of the flow `directory`: dept.ID, user.USERID, rename.OLD/NEW, members.ID, leader.USERID or \
     first-sync"
)]
pub struct NotAKey;

impl FromStr for Key {
    type Err = NotAKey;
    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let (kind, id) = text.split_once('.').ok_or(NotAKey)?;
        let department = || id.parse().map(DepartmentId).map_err(|_| NotAKey);
        let member = |userid| MemberId::new(userid).map_err(|_| NotAKey);
        match kind {
            "dept" => department().map(Self::Department),
            "user" => member(id).map(Self::Member),
            "rename" => {
                let (old, new) = id.split_once('/').ok_or(NotAKey)?;
                Ok(Self::Rename { old: member(old)?, new: member(new)? })
            }
            "members" => department().map(Self::Members),
            "leader" => member(id).map(Self::Leader),
            _ => Err(NotAKey),
        }
    }
}

/// The record id of the first sync.
const FIRST_SYNC: &str = "first-sync";

/// What a message of the flow is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The first sync: its run goes on with it.
    FirstSync,
    /// One record.
    One(Key),
}

impl Subject {
    /// The message key.
    ///
    /// # Errors
    /// Never for ids that were checked.
    pub fn key(&self, flow: &FlowName) -> Result<RecordKey, KeyError> {
        RecordKey::new(flow.clone(), self.to_string())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstSync => f.write_str(FIRST_SYNC),
            Self::One(key) => key.fmt(f),
        }
    }
}

impl FromStr for Subject {
    type Err = NotAKey;
    fn from_str(text: &str) -> Result<Self, NotAKey> {
        match text {
            FIRST_SYNC => Ok(Self::FirstSync),
            _ => text.parse().map(Self::One),
        }
    }
}

/// What a verified callback says, as far as it matters: all else is read in WeCom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Event<'a> {
    /// `ChangeType`.
    pub change: &'a str,
    /// `UserID`.
    pub userid: Option<&'a str>,
    /// `NewUserID`.
    pub new_userid: Option<&'a str>,
    /// `Id`.
    pub department: Option<&'a str>,
}

/// What follows from an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// Something to look at.
    Look(Key),
    /// Nothing that the target has: tags.
    Nothing,
    /// Not usable, with the reason.
    Malformed(String),
}

/// Reads an event. Its payload beyond the ids is not looked at: it may be partial, stale or out of order.
pub fn hint(event: &Event<'_>) -> Hint {
    match event.change {
        "create_user" | "update_user" | "delete_user" => {
            let Some(userid) = event.userid else { return malformed(event, "has no UserID") };
            let renamed = event.new_userid.filter(|new| !new.is_empty());
            match (MemberId::new(userid), renamed.map(MemberId::new).transpose()) {
                (Ok(old), Ok(Some(new))) if new != old => Hint::Look(Key::Rename { old, new }),
                (Ok(id), Ok(_)) => Hint::Look(Key::Member(id)),
                (Err(bad), _) | (_, Err(bad)) => malformed(event, &format!("names something {bad}")),
            }
        }
        "create_party" | "update_party" | "delete_party" => {
            match event.department.and_then(|id| id.trim().parse().ok()).map(DepartmentId) {
                None | Some(DepartmentId::NONE) => malformed(event, "has no usable Id"),
                Some(id) => Hint::Look(Key::Department(id)),
            }
        }
        "update_tag" => Hint::Nothing,
        _ => malformed(event, "is of a kind that is not known"),
    }
}

fn malformed(event: &Event<'_>, why: &str) -> Hint {
    let change: String = event.change.chars().take(40).filter(|c| !c.is_control()).collect();
    Hint::Malformed(format!("the event `{change}` {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back() {
        for text in
            ["dept.12", "user.o.brien@hq", "rename.gen.1/zhang.san", "members.2147483646", "leader.a_b-c"]
        {
            assert_eq!(text.parse::<Key>().unwrap().to_string(), text);
            assert_eq!(text.parse(), Ok(Subject::One(text.parse().unwrap())));
        }
        assert_eq!(Subject::FirstSync.to_string().parse(), Ok(Subject::FirstSync));
        for bad in ["", "dept", "dept.x", "user.", "user.a/b", "rename.a", "rename.a/b/c", "tag.1"] {
            assert_eq!(bad.parse::<Key>(), Err(NotAKey), "{bad}");
        }
    }

    #[test]
    fn the_longest_rename_fits_a_record_key() {
        let long = MemberId::new(&"x".repeat(64)).unwrap();
        let text = Key::Rename { old: long.clone(), new: long }.to_string();
        assert!(text.len() <= shared::record_key::RECORD_ID_BYTES_MAX);
    }

    #[test]
    fn events_are_hints() {
        let user = |change, userid, new_userid| {
            hint(&Event { change, userid: Some(userid), new_userid, department: None })
        };
        let party = |id| hint(&Event { change: "update_party", department: Some(id), ..Event::default() });
        let key = |text: &str| Hint::Look(text.parse().unwrap());
        assert_eq!(user("create_user", "ZhangSan", None), key("user.zhangsan"));
        assert_eq!(user("update_user", "gen1", Some("ZhangSan")), key("rename.gen1/zhangsan"));
        assert_eq!(user("update_user", "gen1", Some("")), key("user.gen1"));
        assert_eq!(user("update_user", "ZhangSan", Some("zhangsan")), key("user.zhangsan"), "only its case");
        assert_eq!(party(" 10 "), key("dept.10"));
        assert_eq!(hint(&Event { change: "update_tag", ..Event::default() }), Hint::Nothing);
        for bad in [
            party("x"),
            party("0"),
            party("-1"),
            party("4294967296"),
            user("delete_user", "a/b", None),
            user("update_user", "a", Some("b c")),
            user("made_up\u{7}", "a", None),
            hint(&Event { change: "create_user", ..Event::default() }),
        ] {
            assert!(matches!(bad, Hint::Malformed(_)), "{bad:?}");
        }
    }
}
