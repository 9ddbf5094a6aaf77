//! What has to be done. Pure. Nothing is ever removed: no field, no option, no right, no webhook.

use std::fmt;

use serde_json::{Map, Value, json};
use url::Url;

use super::need::mended;
use super::rights::{extended, missing, words};
use super::{EntityFound, EntityNeed, FieldNeed, Found, Lack, Needs, Right, UserFound, lacks};
use crate::{EntityType, EspoId, FieldDefinition, Version};

/// What is wanted of an EspoCRM.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// What the flows in use need.
    pub needs: Vec<Needs>,
    /// The API user's name, where one has to be made.
    pub user: String,
    /// The name of the role that gives what is lacking.
    pub role: String,
    /// Where EspoCRM reaches the producers; `None` makes no webhooks.
    pub webhook_url: Option<Url>,
}

impl Wanted {
    /// What all flows need together, each thing once.
    pub fn merged(&self) -> Needs {
        let nothing =
            Needs { version_min: Version(0, 0, 0), entities: vec![], rights: vec![], webhooks: vec![] };
        self.needs.iter().cloned().fold(nothing, Needs::merge)
    }

    /// The full address of a webhook; none where no webhooks are made.
    fn address(&self, path: &str) -> Option<String> {
        let base = self.webhook_url.as_ref()?.as_str().trim_end_matches('/');
        Some(format!("{base}/webhooks/{path}"))
    }
}

/// One thing to do. Its text says what, for the person who decides whether it is done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make the entity type.
    CreateEntity {
        /// Its name when it is made.
        entity: EntityType,
        /// What EspoCRM is asked for.
        body: Value,
    },
    /// Give its records versions. A flag of its own: EspoCRM 9.2 drops it when an entity type is made.
    SwitchOnVersions {
        /// The entity type.
        entity: EntityType,
    },
    /// Make a field.
    CreateField {
        /// The entity type.
        entity: EntityType,
        /// The field.
        field: String,
        /// Its definition.
        body: Map<String, Value>,
    },
    /// Change a field.
    ChangeField {
        /// The entity type.
        entity: EntityType,
        /// The field.
        field: String,
        /// Its whole definition.
        body: Map<String, Value>,
        /// What becomes other.
        changes: Vec<String>,
    },
    /// Make the role.
    CreateRole {
        /// Its name.
        name: String,
        /// What it gives, by scope.
        data: Map<String, Value>,
        /// Its permissions.
        permissions: Map<String, Value>,
        /// The same in words.
        gives: Vec<String>,
    },
    /// Add rights to the role.
    ExtendRole {
        /// Which.
        id: EspoId,
        /// Its name.
        name: String,
        /// All that it gives then, by scope.
        data: Map<String, Value>,
        /// The permissions that are raised.
        permissions: Map<String, Value>,
        /// What is added, in words.
        gives: Vec<String>,
    },
    /// Make the API user, with the role.
    CreateUser {
        /// Its name.
        name: String,
        /// The role's name.
        role: String,
    },
    /// Put the API user's key where the settings look for it.
    KeepKey {
        /// The API user's name.
        user: String,
    },
    /// Give the API user the role beside those that it has.
    GiveRole {
        /// The user.
        user: EspoId,
        /// The user's name.
        user_name: String,
        /// The roles that it has.
        roles: Vec<EspoId>,
        /// The role's name.
        role: String,
    },
    /// Make a webhook, as the API user, and keep its secret.
    CreateWebhook {
        /// Its event.
        event: String,
        /// Where it goes.
        url: String,
    },
    /// Switch a webhook on, and make it leave out our own writes.
    ChangeWebhook {
        /// Which.
        id: EspoId,
        /// Its event.
        event: String,
    },
    /// Keep the secret of a webhook that is there.
    KeepSecret {
        /// Which.
        id: EspoId,
        /// Its event.
        event: String,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateEntity { entity, body } => {
                let template = body.get("type").and_then(Value::as_str).unwrap_or_default();
                write!(f, "make the entity type {entity} from the template {template}")
            }
            Self::SwitchOnVersions { entity } => {
                write!(f, "switch optimistic concurrency control on for {entity}")
            }
            Self::CreateField { entity, field, body } => {
                let kind = body.get("type").and_then(Value::as_str).unwrap_or_default();
                write!(f, "make the field {entity}.{field} ({kind})")
            }
            Self::ChangeField { entity, field, changes, .. } => {
                write!(f, "change the field {entity}.{field}: {}", changes.join("; "))
            }
            Self::CreateRole { name, gives, .. } => write!(f, "make the role {name}: {}", gives.join(", ")),
            Self::ExtendRole { name, gives, .. } => write!(f, "add to the role {name}: {}", gives.join(", ")),
            Self::CreateUser { name, role } => write!(f, "make the API user {name} with the role {role}"),
            Self::KeepKey { user } => write!(f, "keep the key of the API user {user}"),
            Self::GiveRole { user_name, role, .. } => {
                write!(f, "give the API user {user_name} the role {role}")
            }
            Self::CreateWebhook { event, url } => {
                write!(f, "make the webhook {event} to {url} (skipOwn), and keep its secret")
            }
            Self::ChangeWebhook { id, event } => {
                write!(f, "switch the webhook {event} ({id}) on, without our own writes (skipOwn)")
            }
            Self::KeepSecret { id, event } => write!(f, "keep the secret of the webhook {event} ({id})"),
        }
    }
}

/// Something that a person must change first: what, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle(pub String);

/// What has to be done, and what is in its way.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// What has to be done, in this order.
    pub actions: Vec<Action>,
    /// What is in the way; while there is something, nothing is done.
    pub obstacles: Vec<Obstacle>,
}

impl Plan {
    fn stop(&mut self, text: String) {
        self.obstacles.push(Obstacle(text));
    }
}

/// What has to be done so that an EspoCRM has what is wanted. Pure. Carried out, in whole or in part and whatever was
/// done twice, it leaves only what is still lacking.
pub fn plan_provision(wanted: &Wanted, found: &Found) -> Plan {
    let mut plan = Plan::default();
    let needs = wanted.merged();
    if found.version < needs.version_min {
        let (Found { version, .. }, Needs { version_min, .. }) = (found, &needs);
        plan.stop(format!(
            "EspoCRM is {version}: update it to {version_min} or later, before which webhooks report our own writes."
        ));
        return plan;
    }
    for entity in &needs.entities {
        plan_entity(entity, found.entities.get(&entity.name), &mut plan);
    }
    plan_user(wanted, &needs, found, &mut plan);
    plan_webhooks(wanted, &needs, found, &mut plan);
    plan
}

fn plan_entity(need: &EntityNeed, found: Option<&EntityFound>, plan: &mut Plan) {
    let name = &need.name;
    match (&need.template, found) {
        (Some(template), None) => {
            let body = json!({
                "name": asked_name(name.as_str()), "type": template.name, "labelSingular": template.label,
                "labelPlural": template.label_plural, "stream": true, "optimisticConcurrencyControl": true,
            });
            plan.actions.push(Action::CreateEntity { entity: name.clone(), body });
        }
        (None, None) => {
            plan.stop(format!(
                "EspoCRM has no {name}, which should come with it: install its module, or switch it on."
            ));
            return;
        }
        (_, Some(_)) => {}
    }
    if !found.is_some_and(|found| found.has_versions) {
        plan.actions.push(Action::SwitchOnVersions { entity: name.clone() });
    }
    for field in &need.fields {
        plan_field(need, field, found, plan);
    }
}

/// EspoCRM puts a `C` in front of the name that it is asked for.
fn asked_name(name: &str) -> &str {
    match name.strip_prefix('C') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_uppercase()) => rest,
        _ => name,
    }
}

fn plan_field(of: &EntityNeed, need: &FieldNeed, found: Option<&EntityFound>, plan: &mut Plan) {
    let (entity, attribute) = (&of.name, of.attribute(need));
    // What the template brings along is there as soon as the entity type is.
    let present = match found {
        Some(found) => found.fields.get(&attribute).cloned(),
        None => need.is_native.then(|| need.definition.clone()),
    };
    let Some(present) = present else {
        let mut body = need.definition.clone();
        body.insert("name".to_owned(), json!(need.name));
        plan.actions.push(Action::CreateField { entity: entity.clone(), field: need.name.to_owned(), body });
        return;
    };
    let seen: FieldDefinition = serde_json::from_value(Value::Object(present.clone())).unwrap_or_default();
    let lacks = lacks(need, Some(&seen));
    if lacks.is_empty() {
        return;
    }
    let field = attribute;
    match mended(need, &present, &lacks) {
        Some(body) => {
            let changes = lacks.iter().map(|lack| change(need, lack)).collect();
            plan.actions.push(Action::ChangeField { entity: entity.clone(), field, body, changes });
        }
        None => plan.stop(format!(
            "The field {entity}.{field} is of type {} and must be a stored one of type {}: rename what uses it, remove it, \
             and run this again.",
            seen.kind,
            need.kind()
        )),
    }
}

fn change(need: &FieldNeed, lack: &Lack) -> String {
    match lack {
        Lack::ReadOnly => "writable".to_owned(),
        Lack::Short(present) => {
            format!("maximum length {} instead of {present}", need.length_min.unwrap_or_default())
        }
        Lack::Required => "not required".to_owned(),
        Lack::OptionsNeeded(missing) | Lack::OptionsWished(missing) => {
            let missing: Vec<String> = missing.iter().map(|option| format!("{option:?}")).collect();
            format!("options {} added", missing.join(", "))
        }
        Lack::Missing | Lack::OtherKind(_) | Lack::NotStored => String::new(),
    }
}

fn plan_user(wanted: &Wanted, needs: &Needs, found: &Found, plan: &mut Plan) {
    let rights: Vec<&Right> = needs.rights.iter().collect();
    match &found.user {
        None => {
            plan_role(wanted, found, &rights, plan);
            plan.actions.push(Action::CreateUser { name: wanted.user.clone(), role: wanted.role.clone() });
            plan.actions.push(Action::KeepKey { user: wanted.user.clone() });
        }
        Some(user) if user.kind != "api" => plan.stop(format!(
            "The user {} is of type {}, not api: name another one in provision.espocrm.api_user.",
            user.name, user.kind
        )),
        Some(user) if !user.is_active => {
            plan.stop(format!("The API user {} is switched off: switch it on.", user.name));
        }
        Some(user) => {
            if !found.is_key_known {
                plan.actions.push(Action::KeepKey { user: user.name.clone() });
            }
            give_rights(wanted, found, user, &rights, plan);
        }
    }
}

/// Gives the user what its roles do not, by the one role that is ours.
fn give_rights(wanted: &Wanted, found: &Found, user: &UserFound, rights: &[&Right], plan: &mut Plan) {
    let missing = missing(&user.roles, rights.iter().copied());
    if missing.is_empty() {
        return;
    }
    plan_role(wanted, found, &missing, plan);
    let has_it = found.role.as_ref().is_some_and(|role| user.roles.iter().any(|own| own.id == role.id));
    if !has_it {
        plan.actions.push(Action::GiveRole {
            user: user.id.clone(),
            user_name: user.name.clone(),
            roles: user.roles.iter().map(|role| role.id.clone()).collect(),
            role: wanted.role.clone(),
        });
    }
}

fn plan_role(wanted: &Wanted, found: &Found, rights: &[&Right], plan: &mut Plan) {
    let in_words = |rights: &[&Right]| rights.iter().map(|right| words(right)).collect();
    match &found.role {
        None => {
            let (data, permissions) = extended(&Map::new(), rights);
            let gives = in_words(rights);
            plan.actions.push(Action::CreateRole { name: wanted.role.clone(), data, permissions, gives });
        }
        Some(role) => {
            let missing = missing(std::slice::from_ref(role), rights.iter().copied());
            if missing.is_empty() {
                return;
            }
            let (data, permissions) = extended(&role.data, &missing);
            let (id, name, gives) = (role.id.clone(), role.name.clone(), in_words(&missing));
            plan.actions.push(Action::ExtendRole { id, name, data, permissions, gives });
        }
    }
}

fn plan_webhooks(wanted: &Wanted, needs: &Needs, found: &Found, plan: &mut Plan) {
    for (event, path) in &needs.webhooks {
        let Some(url) = wanted.address(path) else { continue };
        let same = |hook: &&super::WebhookFound| hook.event == *event && hook.url == url;
        let event = event.to_owned();
        // The one that works already, where there are several.
        let best = found.webhooks.iter().filter(same).max_by_key(|hook| (hook.is_active, hook.skip_own));
        let Some(hook) = best else {
            plan.actions.push(Action::CreateWebhook { event, url });
            continue;
        };
        if !hook.is_active || !hook.skip_own {
            plan.actions.push(Action::ChangeWebhook { id: hook.id.clone(), event: event.clone() });
        }
        if !found.secrets_known.contains(&hook.id) {
            plan.actions.push(Action::KeepSecret { id: hook.id.clone(), event });
        }
    }
}
