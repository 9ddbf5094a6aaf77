//! Who the API user is and what it may do; other users.

use std::collections::BTreeMap;

use http_client::{Answer, Method, Request};
use serde::Deserialize;
use serde_json::Value;
use shared::fault::Fault;

use crate::{EspoCrm, EspoId, error};

/// How far a right goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Not at all.
    No,
    /// On one's own records.
    Own,
    /// On the records of one's teams.
    Team,
    /// On all records.
    All,
}

/// The API user, as `App/user` shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct AppUser {
    /// Its id.
    pub id: EspoId,
    /// Its log-in name.
    pub user_name: String,
    /// `api`, `regular`, `admin`, …
    pub kind: String,
    rights: BTreeMap<String, Value>,
}

impl AppUser {
    /// How far a right goes: `scope` is an entity type, `action` one of `create`, `read`, `edit`, `delete`,
    /// `stream`. A scope that is a mere switch (`Webhook`) has its state for every action.
    pub fn right(&self, scope: &str, action: &str) -> Level {
        let level = match self.rights.get(scope) {
            Some(Value::Object(actions)) => actions.get(action).and_then(Value::as_str).unwrap_or("no"),
            Some(Value::Bool(true)) => "yes",
            _ => "no",
        };
        match level {
            "yes" | "all" => Level::All,
            "team" => Level::Team,
            "own" => Level::Own,
            _ => Level::No,
        }
    }
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user's id.
    pub id: EspoId,
    /// The log-in name.
    pub user_name: String,
    /// The full name; may be empty.
    pub name: String,
    /// Whether the user may sign in. Posts to others reach nobody.
    pub is_active: bool,
}

impl EspoCrm {
    /// Who we are and what we may do: `GET App/user`. Safe to repeat. The smallest call that proves the
    /// credentials.
    ///
    /// # Errors
    /// As [`EspoCrm::get`].
    pub async fn app_user(&self) -> Result<AppUser, Fault> {
        read_app_user(&self.send(Request::new(Method::Get, "App/user", &[])).await?)
    }

    /// Reads a user: `GET User/{id}`. `None` when there is none. Needs the role's user permission. Safe to
    /// repeat.
    ///
    /// # Errors
    /// As [`EspoCrm::get`].
    pub async fn user(&self, id: &EspoId) -> Result<Option<User>, Fault> {
        read_user(&self.send(Request::new(Method::Get, "User/{id}", &[id.as_str()])).await?)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireUser {
    id: EspoId,
    user_name: String,
    name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    is_active: bool,
}

#[derive(Deserialize)]
struct WireAppUser {
    user: WireUser,
    acl: WireAcl,
}

#[derive(Deserialize)]
struct WireAcl {
    table: BTreeMap<String, Value>,
}

fn read_app_user(answer: &Answer) -> Result<AppUser, Fault> {
    let WireAppUser { user, acl } = error::success(answer)?.json()?;
    Ok(AppUser {
        id: user.id,
        user_name: user.user_name,
        kind: user.kind.unwrap_or_default(),
        rights: acl.table,
    })
}

fn read_user(answer: &Answer) -> Result<Option<User>, Fault> {
    if error::is_gone(answer) {
        return Ok(None);
    }
    let user: WireUser = error::success(answer)?.json()?;
    Ok(Some(User {
        id: user.id,
        user_name: user.user_name,
        name: user.name.unwrap_or_default(),
        is_active: user.is_active,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn the_rights_of_the_api_user_are_read() {
        let me = read_app_user(&fixtures::load("033-app-user-as-api").answer("GET App/user")).unwrap();
        assert_eq!((me.user_name.as_str(), me.kind.as_str()), ("sync-api", "api"));
        assert_eq!(me.right("Account", "edit"), Level::All);
        assert_eq!(me.right("Account", "create"), Level::All);
        assert_eq!(me.right("Note", "create"), Level::All);
        assert_eq!(me.right("Note", "read"), Level::Own);
        assert_eq!(me.right("GroupEmailFolder", "read"), Level::Team);
        assert_eq!(me.right("User", "edit"), Level::No);
        assert_eq!(me.right("Webhook", "create"), Level::All);
        assert_eq!(me.right("NoSuchType", "read"), Level::No);
    }

    #[test]
    fn a_user_is_read() {
        let user = read_user(&fixtures::load("421-user-read").answer("GET User/{id}")).unwrap().unwrap();
        assert_eq!(
            (user.user_name.as_str(), user.name.as_str(), user.is_active),
            ("anna", "Anna Anwalt", true)
        );
        assert_eq!(read_user(&fixtures::load("044-404-unknown-id").answer("")).unwrap(), None);
    }
}
