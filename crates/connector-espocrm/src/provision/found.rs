//! What is there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::{EntityType, EspoId, FieldDefinition, Version};

/// What was found in an EspoCRM, of what is needed.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its version.
    pub version: Version,
    /// The entity types that there are, of those that are needed.
    pub entities: BTreeMap<EntityType, EntityFound>,
    /// The role of the configured name.
    pub role: Option<RoleFound>,
    /// The API user.
    pub user: Option<UserFound>,
    /// The API user's webhooks.
    pub webhooks: Vec<WebhookFound>,
    /// The webhooks whose secrets are known here.
    pub secrets_known: BTreeSet<EspoId>,
    /// Whether the API user's key is where the settings look for it.
    pub is_key_known: bool,
}

/// An entity type.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EntityFound {
    /// Its fields' definitions as they are, whole.
    pub fields: BTreeMap<String, Map<String, Value>>,
    /// Whether its records have versions (optimistic concurrency control).
    pub has_versions: bool,
}

impl EntityFound {
    /// A field as a client sees it. One that cannot be understood counts as one of no type.
    pub fn field(&self, name: &str) -> Option<FieldDefinition> {
        let definition = Value::Object(self.fields.get(name)?.clone());
        Some(serde_json::from_value(definition).unwrap_or_default())
    }
}

/// A role.
#[derive(Debug, Clone, PartialEq)]
pub struct RoleFound {
    /// Its id.
    pub id: EspoId,
    /// Its name.
    pub name: String,
    /// Its rights by scope.
    pub data: Map<String, Value>,
    /// Its attributes whose names end in `Permission`.
    pub permissions: Map<String, Value>,
}

/// A user.
#[derive(Debug, Clone, PartialEq)]
pub struct UserFound {
    /// Its id.
    pub id: EspoId,
    /// Its log-in name.
    pub name: String,
    /// `api`, `regular`, …
    pub kind: String,
    /// Whether it may sign in.
    pub is_active: bool,
    /// Its roles.
    pub roles: Vec<RoleFound>,
}

/// A webhook of the API user.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookFound {
    /// Its id.
    pub id: EspoId,
    /// Its event.
    pub event: String,
    /// Where it goes.
    pub url: String,
    /// Whether it is delivered.
    pub is_active: bool,
    /// Whether it leaves out what its owner caused.
    pub skip_own: bool,
}
