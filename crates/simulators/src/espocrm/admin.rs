//! What an administrator does: entity types, fields, roles, API users; people and teams are in `people.rs` and `teams.rs`.

use std::io;
use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Espocrm;
use super::accounts::{Account, AccountKind, Credential, Role, object};
use super::answers::{not_simulated, ok, php_json, refuse};
use super::definitions::{ENTITY_TYPE, FieldRefusal, OTHER_TYPES, PEOPLE, simulated};
use super::list::{self, Source};
use super::records::body;
use super::validation::stamp;
use crate::journal::{ActorKind, Operation};
use crate::store::{Note, Store};
use crate::upstream::Record;
use crate::wire::{Answer, Request};

/// Templates of entity types.
const TEMPLATES: [&str; 5] = ["Base", "BasePlus", "Event", "Person", "Company"];
/// Scopes that are switches of a role.
const SWITCHES: [&str; 4] = ["Webhook", "Calendar", "ExternalAccount", "Import"];
/// Permissions of a role, in the order of answers.
const PERMISSIONS: [&str; 12] = [
    "assignmentPermission",
    "userPermission",
    "messagePermission",
    "portalPermission",
    "groupEmailAccountPermission",
    "exportPermission",
    "massUpdatePermission",
    "dataPrivacyPermission",
    "followerManagementPermission",
    "auditPermission",
    "mentionPermission",
    "userCalendarPermission",
];

impl Espocrm {
    /// Major and minor version.
    fn version(&self) -> (u32, u32) {
        let mut parts = self.options.version.split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }

    /// From 9.3 on, webhooks go to no internal address that is not named in a file of the server.
    pub(super) fn refuses_address(&self, url: &str) -> bool {
        let Ok(url) = url::Url::parse(url) else { return false };
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return false };
        let is_internal = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
            Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local(),
            Err(_) => host == "localhost",
        };
        self.version() >= (9, 3) && is_internal && !self.allowed_addresses.contains(&format!("{host}:{port}"))
    }

    pub(super) fn administrate(
        &mut self,
        store: &mut Store,
        now: Timestamp,
        admin: &Account,
        request: &Request,
        path: &[&str],
    ) -> io::Result<Answer> {
        let body = match body(request) {
            Ok(body) => body,
            Err(answer) => return Ok(answer),
        };
        let answered = match (request.method.as_str(), path) {
            ("POST", ["EntityManager", "action", "createEntity"]) => self.create_entity(&body),
            ("POST", ["EntityManager", "action", "updateEntity"]) => self.update_entity(&body),
            ("POST", ["Admin", "rebuild"]) => Ok(Answered::read(ok(&json!(true)))),
            ("POST", ["Admin", "fieldManager", name]) if self.is_defined(name) => {
                self.create_field(name, &body)
            }
            ("PUT", ["Admin", "fieldManager", name, field]) if self.is_defined(name) => {
                self.change_field(name, field, &body)
            }
            ("GET", ["Role"]) => Ok(Answered::read(self.role_list(request))),
            ("GET", ["Role", id]) => self.role(id).map(|role| Answered::read(ok(&Value::Object(role)))),
            ("POST", ["Role"]) => self.create_role(now, &body),
            ("PUT" | "PATCH", ["Role", id]) => self.change_role(id, &body),
            ("POST", ["User"]) if text(&body, "type") == "api" => self.create_user(now, admin, &body),
            ("PUT" | "PATCH", ["User", id]) if body.contains_key("rolesIds") => {
                self.change_user(admin, id, &body)
            }
            (_, ["User", ..]) => return self.write_user(store, now, admin, request, path, &body),
            (method, path) => Err(not_simulated(&format!("{method} {}", path.join("/")))),
        };
        let Answered { answer, change } = match answered {
            Ok(answered) => answered,
            Err(refusal) => return Ok(refusal),
        };
        if let Some((operation, entity, record_id)) = change {
            let note = Note {
                operation,
                entity,
                record_id,
                actor_kind: ActorKind::Api,
                actor: admin.user_name.clone(),
                before: None,
                after: Some(Value::Object(body)),
            };
            store.commit(now, Some(note), Vec::new())?;
        }
        Ok(answer)
    }

    fn create_entity(&mut self, body: &Record) -> Result<Answered, Answer> {
        let (asked, template) = (text(body, "name"), text(body, "type"));
        if !TEMPLATES.contains(&template) {
            return Err(refuse(500, &format!("Type '{template}' does not exist.")));
        }
        let name = format!("C{asked}");
        if self.others.contains(&name) || self.is_there(&name) {
            let reason = format!("Name '{name}' is already used.");
            let translation = json!({ "messageTranslation": {
                "label": "nameIsAlreadyUsed", "scope": "EntityManager", "data": { "name": name },
            }});
            return Err(refuse(409, &reason).body(php_json(&translation)));
        }
        if name == ENTITY_TYPE && template == "Person" {
            // 9.2 takes the flag and drops it.
            let asked = body.get("optimisticConcurrencyControl") == Some(&json!(true));
            let has_versions = asked && self.version() >= (9, 3);
            self.catalogue.beteiligte.create();
            self.catalogue.beteiligte.has_versions = has_versions;
        } else {
            self.others.insert(name.clone());
        }
        Ok(Answered::changed(ok(&json!({ "name": name })), Operation::Create, "EntityManager", &name))
    }

    fn update_entity(&mut self, body: &Record) -> Result<Answered, Answer> {
        let name = text(body, "name");
        if !self.is_defined(name) {
            return Err(not_simulated(&format!("updateEntity of {name}")));
        }
        self.check_customizable(name)?;
        if let Some(Value::Bool(on)) = body.get("optimisticConcurrencyControl") {
            self.catalogue.of_mut(name).has_versions = *on;
        }
        Ok(Answered::changed(ok(&json!(true)), Operation::Update, "EntityManager", name))
    }

    /// Whether there is a simulated entity type of this name.
    pub(super) fn is_there(&self, name: &str) -> bool {
        simulated(name).is_some_and(|scope| self.definitions(scope).exists())
    }

    /// Whether there are definitions of this entity type.
    fn is_defined(&self, name: &str) -> bool {
        self.is_there(name) || PEOPLE.contains(&name)
    }

    fn check_customizable(&self, name: &str) -> Result<(), Answer> {
        match self.definitions(name).is_customizable() {
            true => Ok(()),
            false => Err(refuse(500, &format!("Entity type {name} is not customizable."))),
        }
    }

    fn create_field(&mut self, scope: &str, body: &Record) -> Result<Answered, Answer> {
        self.check_customizable(scope)?;
        let name = text(body, "name").to_owned();
        let made = self.catalogue.of_mut(scope).create_field(body);
        let shown = made.map_err(|refusal| field_refused(&refusal, scope, &name))?;
        Ok(Answered::changed(ok(&Value::Object(shown)), Operation::Create, "Field", &name))
    }

    fn change_field(&mut self, scope: &str, name: &str, body: &Record) -> Result<Answered, Answer> {
        self.check_customizable(scope)?;
        let changed = self.catalogue.of_mut(scope).replace_field(name, body);
        let shown = changed.map_err(|refusal| field_refused(&refusal, scope, name))?;
        Ok(Answered::changed(ok(&Value::Object(shown)), Operation::Update, "Field", name))
    }

    /// The roles there are: those that were made, and one for each API user that was there from the beginning.
    fn all_roles(&self) -> Vec<Record> {
        let first = self.accounts().iter().filter(|account| account.kind == AccountKind::Api);
        let first = first.map(|account| (first_role_id(account), account));
        let first = first.filter(|(id, _)| !self.roles.contains_key(id));
        first.map(|(id, account)| first_role(&id, account)).chain(self.roles.values().cloned()).collect()
    }

    fn role(&self, id: &str) -> Result<Record, Answer> {
        let found = self.all_roles().into_iter().find(|role| role.get("id") == Some(&json!(id)));
        found.ok_or_else(|| refuse(404, &format!("Record {id} does not exist.")))
    }

    fn role_list(&self, request: &Request) -> Answer {
        let roles = self.all_roles();
        let source = Source {
            records: roles.iter().collect(),
            may_read: &|_| true,
            show: &Record::clone,
            get: &|role, name| vec![role.get(name).cloned().unwrap_or(Value::Null)],
            is_attribute: &|name| ["id", "name"].contains(&name) || PERMISSIONS.contains(&name),
            always: &[],
            order: ("name", false),
            show_link: &list::plain_link,
            is_uncounted: false,
        };
        list::answer(request, &source)
    }

    /// Refuses a scope that a role cannot name.
    fn check_scopes(&self, body: &Record) -> Result<(), Answer> {
        let scopes = body
            .get("data")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(scope, _)| scope.as_str());
        let is_known = |scope: &str| {
            OTHER_TYPES.contains(&scope)
                || SWITCHES.contains(&scope)
                || self.others.contains(scope)
                || self.is_there(scope)
        };
        match scopes.into_iter().find(|scope| !is_known(scope)) {
            Some(scope) => Err(refuse(400, &format!("Bad data. Scope *{scope}* is not allowed."))),
            None => Ok(()),
        }
    }

    fn create_role(&mut self, now: Timestamp, body: &Record) -> Result<Answered, Answer> {
        self.check_scopes(body)?;
        let id = self.ids.next(now);
        let mut role = object(json!({ "id": id, "name": text(body, "name"), "deleted": false }));
        for permission in PERMISSIONS {
            role.insert(permission.to_owned(), body.get(permission).cloned().unwrap_or(json!("not-set")));
        }
        role.insert("data".to_owned(), body.get("data").cloned().unwrap_or(json!({})));
        role.insert("fieldData".to_owned(), body.get("fieldData").cloned().unwrap_or(json!({})));
        role.insert("createdAt".to_owned(), json!(stamp(now)));
        role.insert("modifiedAt".to_owned(), json!(stamp(now)));
        let shown = ok(&Value::Object(role.clone()));
        self.roles.insert(id.clone(), role);
        Ok(Answered::changed(shown, Operation::Create, "Role", &id))
    }

    fn change_role(&mut self, id: &str, body: &Record) -> Result<Answered, Answer> {
        self.check_scopes(body)?;
        let mut role = self.role(id)?;
        for name in PERMISSIONS.iter().chain(&["name", "data", "fieldData"]) {
            if let Some(value) = body.get(*name) {
                role.insert((*name).to_owned(), value.clone());
            }
        }
        self.roles.insert(id.to_owned(), role.clone());
        let holders: Vec<String> = self.accounts().iter().map(|account| account.id.clone()).collect();
        holders.iter().for_each(|user| self.apply_roles(user));
        Ok(Answered::changed(ok(&Value::Object(role)), Operation::Update, "Role", id))
    }

    fn role_ids(&self, account: &Account) -> Vec<String> {
        match self.roles_of.get(&account.id) {
            Some(ids) => ids.clone(),
            None if account.kind == AccountKind::Api => vec![first_role_id(account)],
            None => Vec::new(),
        }
    }

    /// Gives a user the highest of what its roles give.
    fn apply_roles(&mut self, user: &str) {
        let Some(account) = self.accounts().iter().find(|account| account.id == user) else { return };
        let roles: Vec<Record> = self.role_ids(account).iter().filter_map(|id| self.role(id).ok()).collect();
        if let Some(account) = self.options.accounts.iter_mut().find(|account| account.id == user)
            && account.kind == AccountKind::Api
        {
            account.role = highest(&roles);
        }
    }

    fn create_user(&mut self, now: Timestamp, admin: &Account, body: &Record) -> Result<Answered, Answer> {
        let name = text(body, "userName");
        if text(body, "authMethod") != "ApiKey" {
            return Err(not_simulated("POST User of type api without ApiKey"));
        }
        if self.accounts().iter().any(|account| account.user_name == name) {
            return Err(refuse(409, "userNameExists"));
        }
        let id = self.ids.next(now);
        let key = Uuid::new_v4().simple().to_string();
        let mut account = Account::api(&id, name, Credential::ApiKey(key), Role::default());
        account.is_active = body.get("isActive") == Some(&json!(true));
        self.options.accounts.push(account.clone());
        self.roles_of.insert(id.clone(), texts(body, "rolesIds"));
        self.apply_roles(&id);
        let mut shown = object(json!({
            "id": id, "name": name, "deleted": false, "userName": name, "type": "api", "lastName": name,
            "isActive": account.is_active, "createdAt": stamp(now), "modifiedAt": stamp(now), "lastAccess": null,
            "targetListIsOptedOut": false, "emailAddressIsOptedOut": false, "emailAddressIsInvalid": false,
            "phoneNumberIsOptedOut": false, "phoneNumberIsInvalid": false,
            "emailAddressData": [], "phoneNumberData": [], "defaultTeamName": null,
            "teamsIds": [], "teamsNames": {}, "teamsColumns": {}, "portalsIds": [], "portalsNames": {},
            "portalRolesIds": [], "portalRolesNames": {}, "contactName": null, "accountsIds": [], "accountsNames": {},
            "avatarId": null, "avatarName": null, "createdById": admin.id, "createdByName": admin.name(),
            "dashboardTemplateName": null, "workingTimeCalendarName": null, "layoutSetName": null,
        }));
        shown.extend(self.secrets_of(&account));
        Ok(Answered::changed(ok(&Value::Object(shown)), Operation::Create, "User", &id))
    }

    fn change_user(&mut self, admin: &Account, id: &str, body: &Record) -> Result<Answered, Answer> {
        if !self.accounts().iter().any(|account| account.id == id) {
            return Err(refuse(404, &format!("Record {id} not found.")));
        }
        // A role that came with the user is one like others from now on.
        for role in self.all_roles() {
            let id = text(&role, "id").to_owned();
            self.roles.entry(id).or_insert(role);
        }
        self.roles_of.insert(id.to_owned(), texts(body, "rolesIds"));
        self.apply_roles(id);
        Ok(Answered::changed(self.user(admin, id), Operation::Update, "User", id))
    }

    /// What an administrator sees of a user beside the rest.
    pub(super) fn secrets_of(&self, account: &Account) -> Record {
        let (method, api_key, secret_key) = match &account.credential {
            Credential::Password(_) => (Value::Null, None, None),
            Credential::ApiKey(key) => (json!("ApiKey"), Some(key), None),
            Credential::Hmac { api_key, secret_key } => (json!("Hmac"), Some(api_key), Some(secret_key)),
        };
        let ids = self.role_ids(account);
        let name =
            |id: &String| (id.clone(), self.role(id).ok().and_then(|role| role.get("name").cloned()).into());
        let names: Record = ids.iter().map(name).collect();
        let mut shown = object(json!({ "authMethod": method, "rolesIds": ids, "rolesNames": names }));
        for (name, secret) in [("apiKey", api_key), ("secretKey", secret_key)] {
            if let Some(secret) = secret {
                shown.insert(name.to_owned(), json!(secret));
            }
        }
        shown
    }
}

/// An answer, and what the journal says of it.
struct Answered {
    answer: Answer,
    change: Option<(Operation, &'static str, String)>,
}

impl Answered {
    fn read(answer: Answer) -> Self {
        Self { answer, change: None }
    }

    fn changed(answer: Answer, operation: Operation, entity: &'static str, id: &str) -> Self {
        Self { answer, change: Some((operation, entity, id.to_owned())) }
    }
}

pub(super) fn text<'r>(record: &'r Record, name: &str) -> &'r str {
    record.get(name).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn texts(record: &Record, name: &str) -> Vec<String> {
    let list = record.get(name).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn field_refused(refusal: &FieldRefusal, scope: &str, field: &str) -> Answer {
    match refusal {
        FieldRefusal::NoType => refuse(500, "No type."),
        FieldRefusal::Unknown => not_simulated(&format!("a change of {field}, which is not there")),
        FieldRefusal::Exists => {
            let reason = format!("Field '{field}' already exists in '{scope}'.");
            refuse(409, &reason).body(php_json(&json!({ "messageTranslation": {
                "label": "fieldAlreadyExists", "scope": "FieldManager",
                "data": { "field": field, "entityType": scope },
            }})))
        }
    }
}

fn first_role_id(account: &Account) -> String {
    format!("role-{}", account.id)
}

/// The role of an API user that was there from the beginning, as a record.
fn first_role(id: &str, account: &Account) -> Record {
    let level = |on: bool| if on { "all" } else { "not-set" };
    object(json!({
        "id": id, "name": format!("Role of {}", account.user_name), "deleted": false,
        "assignmentPermission": level(account.role.assignment_permission), "userPermission": "all",
        "messagePermission": level(account.role.message_permission),
        "mentionPermission": level(account.role.mention_permission),
        "data": account.role.scopes, "fieldData": {},
    }))
}

fn rank(level: &Value) -> u8 {
    match level {
        Value::Bool(true) => 3,
        Value::String(level) => match level.as_str() {
            "all" | "yes" => 3,
            "team" => 2,
            "own" => 1,
            _ => 0,
        },
        _ => 0,
    }
}

fn highest(roles: &[Record]) -> Role {
    let gives = |permission: &str| roles.iter().any(|role| text(role, permission) == "all");
    let mut highest = Role {
        message_permission: gives("messagePermission"),
        mention_permission: gives("mentionPermission"),
        assignment_permission: gives("assignmentPermission"),
        ..Role::default()
    };
    for (scope, given) in roles.iter().filter_map(|role| role.get("data")?.as_object()).flatten() {
        let slot = highest.scopes.entry(scope.clone()).or_insert_with(|| given.clone());
        if let (Value::Object(slot), Value::Object(given)) = (&mut *slot, given) {
            for (action, level) in given {
                let present = slot.entry(action.clone()).or_insert_with(|| level.clone());
                if rank(level) > rank(present) {
                    *present = level.clone();
                }
            }
        } else if given.is_object() || rank(given) > rank(slot) {
            *slot = given.clone();
        }
    }
    highest
}
