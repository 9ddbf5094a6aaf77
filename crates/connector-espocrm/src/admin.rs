//! What only an administrator may do: entity types, fields, roles, users. Used by provisioning alone.

use http_client::{Answer, Method, Request};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use shared::fault::{Fault, FaultKind};

use crate::provision::{EntityFound, RoleFound, UserFound};
use crate::{EntityType, EspoCrm, EspoId, ListQuery, Order, Where, error};

/// An API user and what it signs in with.
#[derive(Debug, Clone)]
pub struct ApiUser {
    /// The user.
    pub user: UserFound,
    /// Its key, which administrators see.
    pub api_key: Option<SecretString>,
}

impl EspoCrm {
    /// An entity type with the whole definitions of its fields: `GET Metadata`. `None` when it is unknown. Safe to
    /// repeat.
    ///
    /// # Errors
    /// As [`EspoCrm::get`].
    pub async fn entity_found(&self, entity: &EntityType) -> Result<Option<EntityFound>, Fault> {
        let key = format!("entityDefs.{entity}");
        read_entity(&self.send(Request::new(Method::Get, "Metadata", &[]).query("key", key)).await?)
    }

    /// Makes an entity type: `POST EntityManager/action/createEntity`. Answers the name that EspoCRM gave it, with a
    /// `C` in front as a rule. Takes a second. NOT safe to repeat: the second time is a permanent fault.
    ///
    /// # Errors
    /// Permanent where the name is used; else as [`EspoCrm::create`].
    pub async fn create_entity(&self, body: &Value) -> Result<EntityType, Fault> {
        let request = Request::new(Method::Post, "EntityManager/action/createEntity", &[]).json(body);
        let answer = self.send(request).await?;
        let Named { name } = error::success(&answer)?.json()?;
        Ok(name)
    }

    /// Gives the records of an entity type versions: `POST EntityManager/action/updateEntity`. Safe to repeat.
    ///
    /// # Errors
    /// As [`EspoCrm::create`].
    pub async fn switch_on_versions(&self, entity: &EntityType) -> Result<(), Fault> {
        let body = json!({ "name": entity, "optimisticConcurrencyControl": true });
        let request = Request::new(Method::Post, "EntityManager/action/updateEntity", &[]).json(&body);
        error::success(&self.send(request).await?).map(|_| ())
    }

    /// Makes a field: `POST Admin/fieldManager/{type}`. NOT safe to repeat: the second time is a permanent fault.
    ///
    /// # Errors
    /// Permanent where the field is there; else as [`EspoCrm::create`].
    pub async fn create_field(&self, entity: &EntityType, body: &Map<String, Value>) -> Result<(), Fault> {
        let request = Request::new(Method::Post, "Admin/fieldManager/{type}", &[entity.as_str()]).json(body);
        error::success(&self.send(request).await?).map(|_| ())
    }

    /// Changes a field: `PUT Admin/fieldManager/{type}/{field}`. The body is the whole definition with its `type`: what
    /// it leaves out is dropped. Safe to repeat.
    ///
    /// # Errors
    /// As [`EspoCrm::create`].
    pub async fn change_field(
        &self,
        entity: &EntityType,
        field: &str,
        body: &Map<String, Value>,
    ) -> Result<(), Fault> {
        let place = [entity.as_str(), field];
        let request = Request::new(Method::Put, "Admin/fieldManager/{type}/{field}", &place).json(body);
        error::success(&self.send(request).await?).map(|_| ())
    }

    /// The role of a name; always the same one where there are several. Safe to repeat.
    ///
    /// # Errors
    /// As [`EspoCrm::get`].
    pub async fn role_by_name(&self, name: &str) -> Result<Option<RoleFound>, Fault> {
        match self.first("Role", "name", name).await? {
            Some(id) => self.role(&id).await,
            None => Ok(None),
        }
    }

    /// A role: `GET Role/{id}`. Safe to repeat.
    ///
    /// # Errors
    /// As [`EspoCrm::get`].
    pub async fn role(&self, id: &EspoId) -> Result<Option<RoleFound>, Fault> {
        let answer = self.send(Request::new(Method::Get, "Role/{id}", &[id.as_str()])).await?;
        if error::is_gone(&answer) {
            return Ok(None);
        }
        read_role(&answer).map(Some)
    }

    /// Makes a role: `POST Role`. NOT safe to repeat: names are not unique, so look first.
    ///
    /// # Errors
    /// As [`EspoCrm::create`].
    pub async fn create_role(
        &self,
        name: &str,
        data: &Map<String, Value>,
        permissions: &Map<String, Value>,
    ) -> Result<EspoId, Fault> {
        let request = Request::new(Method::Post, "Role", &[]).json(&role_body(Some(name), data, permissions));
        let answer = self.send(request).await?;
        let Identified { id } = error::success(&answer)?.json()?;
        Ok(id)
    }

    /// Changes what a role gives: `PUT Role/{id}`. Safe to repeat.
    ///
    /// # Errors
    /// As [`EspoCrm::create`].
    pub async fn change_role(
        &self,
        id: &EspoId,
        data: &Map<String, Value>,
        permissions: &Map<String, Value>,
    ) -> Result<(), Fault> {
        let body = role_body(None, data, permissions);
        error::success(&self.send(Request::new(Method::Put, "Role/{id}", &[id.as_str()]).json(&body)).await?)
            .map(|_| ())
    }

    /// The user of a log-in name, with its roles and, for an API user, its key. Safe to repeat.
    ///
    /// # Errors
    /// As [`EspoCrm::get`].
    pub async fn api_user_by_name(&self, name: &str) -> Result<Option<ApiUser>, Fault> {
        match self.first("User", "userName", name).await? {
            Some(id) => self.api_user(&id).await,
            None => Ok(None),
        }
    }

    /// A user by its id, as [`EspoCrm::api_user_by_name`].
    ///
    /// # Errors
    /// As [`EspoCrm::get`].
    pub async fn api_user(&self, id: &EspoId) -> Result<Option<ApiUser>, Fault> {
        let answer = self.send(Request::new(Method::Get, "User/{id}", &[id.as_str()])).await?;
        if error::is_gone(&answer) {
            return Ok(None);
        }
        let wire: WireUser = error::success(&answer)?.json()?;
        let mut roles = Vec::new();
        for id in &wire.roles_ids {
            roles.extend(self.role(id).await?);
        }
        let user = UserFound {
            id: wire.id,
            name: wire.user_name,
            kind: wire.kind,
            is_active: wire.is_active,
            roles,
        };
        Ok(Some(ApiUser { user, api_key: wire.api_key.map(SecretString::from) }))
    }

    /// Makes an API user with a role: `POST User`. Answers its id and its key. NOT safe to repeat: the second time is a
    /// permanent fault.
    ///
    /// # Errors
    /// Permanent where the name is taken; else as [`EspoCrm::create`].
    pub async fn create_api_user(&self, name: &str, role: &EspoId) -> Result<(EspoId, SecretString), Fault> {
        let answer = self.send(Request::new(Method::Post, "User", &[]).json(&user_body(name, role))).await?;
        let wire: WireUser = error::success(&answer)?.json()?;
        let key = wire.api_key.ok_or_else(|| answer.unreadable("no key of the new API user"))?;
        Ok((wire.id, key.into()))
    }

    /// Gives a user exactly these roles: `PUT User/{id}`. Safe to repeat.
    ///
    /// # Errors
    /// As [`EspoCrm::create`].
    pub async fn set_roles(&self, user: &EspoId, roles: &[EspoId]) -> Result<(), Fault> {
        let body = json!({ "rolesIds": roles });
        let request = Request::new(Method::Put, "User/{id}", &[user.as_str()]).json(&body);
        error::success(&self.send(request).await?).map(|_| ())
    }

    /// The first by id: lists of equal names are ordered by it.
    async fn first(
        &self,
        entity: &'static str,
        attribute: &str,
        value: &str,
    ) -> Result<Option<EspoId>, Fault> {
        let query = ListQuery::filtered(Where::equals(attribute, value)).select(&["id"]).page_size(1);
        let params = query.order_by(attribute, Order::Ascending).to_json();
        let request = Request::new(Method::Get, entity, &[]).query("searchParams", params.to_string());
        let answer = self.send(request).await?;
        let Listed { list } = error::success(&answer)?.json()?;
        Ok(list.into_iter().next().map(|found| found.id))
    }
}

/// The fault of a webhook's address that EspoCRM refuses as internal, with the line that allows it.
pub(crate) fn internal_address(answer: &Answer, url: &str) -> Option<Fault> {
    let is_internal = answer.status() == 400
        && serde_json::from_slice::<Value>(answer.body()).is_ok_and(|body| {
            body.pointer("/messageTranslation/data/type").and_then(Value::as_str) == Some("notInternal")
        });
    if !is_internal {
        return None;
    }
    let parsed = url::Url::parse(url).ok()?;
    let (host, port) = (parsed.host_str()?, parsed.port_or_known_default()?);
    let text = format!(
        "EspoCRM refuses webhooks to {host}:{port}, which is an internal address. On the server of EspoCRM, add this line \
         to the array in data/config-internal.php, and try again:  'webhookAllowedAddressList' => ['{host}:{port}'],"
    );
    Some(answer.fault(FaultKind::Permanent, "webhook_address_internal", text))
}

#[derive(Deserialize)]
struct Named {
    name: EntityType,
}

#[derive(Deserialize)]
struct Identified {
    id: EspoId,
}

#[derive(Deserialize)]
struct Listed {
    list: Vec<Identified>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireUser {
    id: EspoId,
    user_name: String,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    is_active: bool,
    #[serde(default)]
    roles_ids: Vec<EspoId>,
    api_key: Option<String>,
}

fn user_body(name: &str, role: &EspoId) -> Value {
    json!({ "type": "api", "userName": name, "authMethod": "ApiKey", "isActive": true, "rolesIds": [role] })
}

fn role_body(name: Option<&str>, data: &Map<String, Value>, permissions: &Map<String, Value>) -> Value {
    let mut body = permissions.clone();
    if let Some(name) = name {
        body.insert("name".to_owned(), json!(name));
    }
    body.insert("data".to_owned(), json!(data));
    Value::Object(body)
}

/// PHP writes an empty object as an empty list.
fn read_entity(answer: &Answer) -> Result<Option<EntityFound>, Fault> {
    let answer = error::success(answer)?;
    if answer.body().is_empty() && !answer.is_html() {
        return Ok(None);
    }
    let Value::Object(entity) = answer.json::<Value>()? else { return Ok(None) };
    let fields = entity.get("fields").and_then(Value::as_object).into_iter().flatten();
    let fields =
        fields.filter_map(|(name, field)| Some((name.clone(), field.as_object()?.clone()))).collect();
    let has_versions = entity.get("optimisticConcurrencyControl") == Some(&json!(true));
    Ok(Some(EntityFound { fields, has_versions }))
}

fn read_role(answer: &Answer) -> Result<RoleFound, Fault> {
    let role: Map<String, Value> = error::success(answer)?.json()?;
    let text = |name: &str| role.get(name).and_then(Value::as_str);
    let id = text("id")
        .and_then(|id| EspoId::new(id).ok())
        .ok_or_else(|| answer.unreadable("a role without id"))?;
    let permissions = role.iter().filter(|(name, _)| name.ends_with("Permission"));
    Ok(RoleFound {
        id,
        name: text("name").unwrap_or_default().to_owned(),
        data: role.get("data").and_then(Value::as_object).cloned().unwrap_or_default(),
        permissions: permissions.map(|(name, value)| (name.clone(), value.clone())).collect(),
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::fixtures;

    #[test]
    fn the_recorded_entity_type_and_its_name() {
        let answer = fixtures::load("010-create-entity").answer("");
        let Named { name } = error::success(&answer).unwrap().json().unwrap();
        assert_eq!(name.as_str(), "CBeteiligte");
        let taken = error::fault(&fixtures::load("011-create-entity-existing-409").answer("POST x"));
        assert!(taken.text.contains("'CBeteiligte' is already used"), "{}", taken.text);
        let found = read_entity(&fixtures::load("023-metadata-entitydefs").answer("")).unwrap().unwrap();
        assert!(!found.has_versions && found.field("lastName").unwrap().required);
        assert_eq!(found.fields["syncStatus"]["default"], "pending_sync");
    }

    #[test]
    fn the_recorded_role_and_user() {
        let recorded = fixtures::load("030-create-role");
        let role = read_role(&recorded.answer("")).unwrap();
        assert_eq!((role.name.as_str(), &role.permissions["messagePermission"]), ("Sync", &json!("all")));
        assert_eq!(role.data["Webhook"], json!(true));
        let sent = recorded.request_json();
        let ours = role_body(Some("Sync"), &role.data, &Map::new());
        assert_eq!((&ours["name"], &ours["data"]), (&sent["name"], &sent["data"]));

        let recorded = fixtures::load("031-create-api-user");
        let role = EspoId::new("6b005228471ff6bb8").unwrap();
        assert_eq!(user_body("sync-api2", &role), recorded.request_json());
        let user: WireUser = recorded.answer("").json().unwrap();
        assert_eq!((user.kind.as_str(), user.roles_ids), ("api", vec![role]));
        let key = SecretString::from(user.api_key.unwrap());
        assert_eq!(key.expose_secret(), "6951b034578251eab746983fa302e468");
    }

    #[test]
    fn an_internal_address_is_answered_with_the_line_that_allows_it() {
        let body = r#"{"messageTranslation":{"label":"validationFailure","scope":null,"data":{"field":"url","type":"notInternal"}}}"#;
        let answer =
            Answer::recorded("espocrm", "POST Webhook", 400, &[("Content-Type", "application/json")], body);
        let fault = internal_address(&answer, "http://sync.internal:8080/webhooks/parties/update").unwrap();
        assert!(
            fault.text.contains("'webhookAllowedAddressList' => ['sync.internal:8080'],"),
            "{}",
            fault.text
        );
        let fault = internal_address(&answer, "https://10.0.0.5/webhooks/x").unwrap();
        assert!(fault.text.contains("['10.0.0.5:443']"), "{}", fault.text);
        assert!(internal_address(&fixtures::load("108-400-enum").answer(""), "http://x/").is_none());
    }
}
