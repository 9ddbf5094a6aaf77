//! Users of the simulated CRM and what their roles allow.

use serde_json::{Value, json};

use crate::upstream::Record;

/// How a user proves who he is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// `Authorization: Basic` or `Espo-Authorization`; people and admins.
    Password(String),
    /// `X-Api-Key`; API users with authMethod ApiKey.
    ApiKey(String),
    /// `X-Hmac-Authorization`; API users with authMethod Hmac.
    Hmac {
        /// First part of the header.
        api_key: String,
        /// Signs method and path.
        secret_key: String,
    },
}

/// User.type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountKind {
    /// May do everything.
    Admin,
    /// A person.
    Regular,
    /// A program.
    Api,
}

/// What a role gives.
#[derive(Debug, Clone, Default)]
pub struct Role {
    /// Per scope: `{"create":"yes","read":"all",...}` with `all`, `team`, `own`, `no`; or a switch.
    pub scopes: Record,
    /// May post to other users.
    pub message_permission: bool,
    /// May mention other users.
    pub mention_permission: bool,
    /// May assign records to other users.
    pub assignment_permission: bool,
}

impl Role {
    /// The role of the recorded API user: everything on CBeteiligte, reading users, webhooks; and, which was not recorded,
    /// on leads.
    #[must_use]
    pub fn sync() -> Self {
        let all = json!({"create": "yes", "read": "all", "edit": "all", "delete": "all", "stream": "all"});
        let scopes = json!({
            "CBeteiligte": all, "Contact": all, "Lead": all, "Account": all, "Meeting": all, "Call": all, "Task": all,
            "User": {"read": "all", "edit": "no", "create": "no"},
            "Team": {"read": "all"},
            "Webhook": true, "Import": false, "Calendar": true, "ExternalAccount": true,
        });
        Self {
            scopes: object(scopes),
            message_permission: true,
            mention_permission: false,
            assignment_permission: true,
        }
    }

    /// The level of an action on a scope: `all`, `team`, `own`, `yes` or `no`.
    pub(super) fn level(&self, scope: &str, action: &str) -> &str {
        match self.scopes.get(scope) {
            Some(Value::Object(actions)) => actions.get(action).and_then(Value::as_str).unwrap_or("no"),
            Some(Value::Bool(true)) => "yes",
            Some(_) => "no",
            None => match (scope, action) {
                ("Note", "create") => "yes",
                ("Note" | "Notification" | "User", "read") => "own",
                _ => "no",
            },
        }
    }
}

/// A user.
#[derive(Debug, Clone)]
pub struct Account {
    /// Record id.
    pub id: String,
    /// Log-in name.
    pub user_name: String,
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: String,
    /// E-mail address.
    pub email: Option<String>,
    /// Title.
    pub title: Option<String>,
    /// User.type.
    pub kind: AccountKind,
    /// How he logs in.
    pub credential: Credential,
    /// An inactive user cannot log in.
    pub is_active: bool,
    /// What he may do; admins may do everything.
    pub role: Role,
}

impl Account {
    /// An API user.
    #[must_use]
    pub fn api(id: &str, user_name: &str, credential: Credential, role: Role) -> Self {
        Self {
            id: id.to_owned(),
            user_name: user_name.to_owned(),
            first_name: None,
            last_name: user_name.to_owned(),
            email: None,
            title: None,
            kind: AccountKind::Api,
            credential,
            is_active: true,
            role,
        }
    }

    /// A person who signs in with `<user_name>-password` and may do what the recorded API user may.
    #[must_use]
    pub fn person(id: &str, user_name: &str, first_name: &str, last_name: &str, email: &str) -> Self {
        Self {
            first_name: Some(first_name.to_owned()),
            last_name: last_name.to_owned(),
            email: Some(email.to_owned()),
            kind: AccountKind::Regular,
            ..Self::api(id, user_name, Credential::Password(format!("{user_name}-password")), Role::sync())
        }
    }

    /// First and last name.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.first_name {
            Some(first) => format!("{first} {}", self.last_name),
            None => self.last_name.clone(),
        }
    }

    pub(super) fn level(&self, scope: &str, action: &str) -> &str {
        match (self.kind, action) {
            (AccountKind::Admin, "create") => "yes",
            (AccountKind::Admin, _) => "all",
            _ => self.role.level(scope, action),
        }
    }

    /// Whether the role lets this user do it to this record.
    pub(super) fn may(&self, scope: &str, action: &str, record: &Record) -> bool {
        let is_mine = |field: &str| record.get(field).and_then(Value::as_str) == Some(&self.id);
        match self.level(scope, action) {
            "all" | "yes" => true,
            "own" | "team" => is_mine("createdById") || is_mine("assignedUserId") || is_mine("userId"),
            _ => false,
        }
    }
}

/// The object in a JSON literal.
pub(super) fn object(value: Value) -> Record {
    match value {
        Value::Object(fields) => fields,
        _ => Record::new(),
    }
}
