//! What an administrator makes: what the recordings do not show by themselves.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use simulators::espocrm::{ADMIN_PASSWORD, API_KEY};
use simulators::{EspocrmOptions, EspocrmSimulator};

use crate::espocrm::{TYPE, call};
use crate::http::{self, Got};
use crate::replay::object;

async fn empty(version: &str) -> EspocrmSimulator {
    let version = version.to_owned();
    let options = EspocrmOptions { version, has_entity_type: false, ..EspocrmOptions::default() };
    EspocrmSimulator::start(options).await.unwrap()
}

pub async fn admin(crm: &EspocrmSimulator, method: &str, path: &str, body: &Value) -> Got {
    let sign_in = format!("Basic {}", STANDARD.encode(format!("admin:{ADMIN_PASSWORD}")));
    let headers = [("Authorization", sign_in.as_str()), ("Content-Type", "application/json")];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    http::send(&crm.base_url(), method, &format!("/api/v1/{path}"), &headers, &body).await.unwrap()
}

async fn with_key(crm: &EspocrmSimulator, key: &str, path: &str, body: &Value) -> Got {
    let headers = [("X-Api-Key", key), ("Content-Type", "application/json")];
    let method = if body.is_null() { "GET" } else { "POST" };
    let body = if body.is_null() { String::new() } else { body.to_string() };
    http::send(&crm.base_url(), method, &format!("/api/v1/{path}"), &headers, &body).await.unwrap()
}

async fn make_entity(crm: &EspocrmSimulator) {
    let body = json!({ "name": "Beteiligte", "type": "Person", "optimisticConcurrencyControl": true });
    let got = admin(crm, "POST", "EntityManager/action/createEntity", &body).await;
    assert_eq!(got.json(), json!({ "name": "CBeteiligte" }));
}

async fn entity(crm: &EspocrmSimulator) -> Value {
    admin(crm, "GET", "Metadata?key=entityDefs.CBeteiligte", &Value::Null).await.json()
}

#[tokio::test]
async fn an_entity_type_is_there_once_it_was_made_and_its_flag_is_dropped_by_9_2() {
    for (version, is_kept) in [("9.2.7", false), ("9.3.10", true)] {
        let crm = empty(version).await;
        let missing = call(&crm, "GET", TYPE, &Value::Null).await;
        assert_eq!((missing.status, missing.reason()), (404, "Controller 'CBeteiligte' does not exist."));
        assert_eq!(admin(&crm, "GET", "Metadata?key=entityDefs.CBeteiligte", &Value::Null).await.body, b"");
        make_entity(&crm).await;
        let made = entity(&crm).await;
        assert_eq!(made["optimisticConcurrencyControl"] == json!(true), is_kept, "{version}");
        assert_eq!(made["fields"]["lastName"]["required"], true);
        assert!(made["fields"]["betnr"].is_null() && made["fields"]["phoneNumber"].is_object());
        let on = json!({ "name": "CBeteiligte", "optimisticConcurrencyControl": true });
        assert_eq!(admin(&crm, "POST", "EntityManager/action/updateEntity", &on).await.json(), true);
        assert_eq!(entity(&crm).await["optimisticConcurrencyControl"], true);
        assert_eq!(call(&crm, "GET", TYPE, &Value::Null).await.status, 200);
        // Who asks for the name with its letter gets two.
        let twice = json!({ "name": "CBeteiligte", "type": "Person" });
        let got = admin(&crm, "POST", "EntityManager/action/createEntity", &twice).await;
        assert_eq!(got.json(), json!({ "name": "CCBeteiligte" }));
        assert_eq!(crm.journal().len(), 3);
    }
}

#[tokio::test]
async fn a_changed_field_loses_what_is_not_repeated_and_needs_its_type() {
    let crm = empty("9.2.7").await;
    make_entity(&crm).await;
    let body = json!({ "type": "enum", "name": "status", "options": ["a"], "default": "a", "unique": true, "index": true });
    let made = admin(&crm, "POST", "Admin/fieldManager/CBeteiligte", &body).await.json();
    assert!(made.get("unique").is_none() && made.get("index").is_none(), "{made}");
    let place = "Admin/fieldManager/CBeteiligte/status";
    let got = admin(&crm, "PUT", place, &json!({ "options": ["a", "b"] })).await;
    assert_eq!((got.status, got.reason()), (500, "No type."));
    admin(&crm, "PUT", place, &json!({ "type": "enum", "options": ["a", "b"] })).await;
    let field = entity(&crm).await["fields"]["status"].clone();
    assert_eq!((field["options"].clone(), field.get("default")), (json!(["a", "b"]), None));
    // A core field falls back on what the template makes it.
    admin(
        &crm,
        "PUT",
        "Admin/fieldManager/CBeteiligte/lastName",
        &json!({ "type": "varchar", "required": false }),
    )
    .await;
    let field = entity(&crm).await["fields"]["lastName"].clone();
    assert_eq!((field["required"].clone(), field["maxLength"].clone()), (json!(false), json!(100)));
}

#[tokio::test]
async fn an_api_user_may_what_its_roles_give_and_administer_nothing() {
    let crm = empty("9.2.7").await;
    let body = json!({ "name": "Sync", "data": { "CBeteiligte": { "read": "all" } } });
    let refused = admin(&crm, "POST", "Role", &body).await;
    assert_eq!((refused.status, refused.reason()), (400, "Bad data. Scope *CBeteiligte* is not allowed."));
    make_entity(&crm).await;
    let role = admin(&crm, "POST", "Role", &body).await.json()["id"].as_str().unwrap().to_owned();
    let user = json!({ "type": "api", "userName": "new", "authMethod": "ApiKey", "isActive": true, "rolesIds": [role] });
    let user = admin(&crm, "POST", "User", &user).await.json();
    let (id, key) = (user["id"].as_str().unwrap(), user["apiKey"].as_str().unwrap());
    let seen = admin(&crm, "GET", &format!("User/{id}"), &Value::Null).await.json();
    assert_eq!((&seen["apiKey"], &seen["rolesIds"]), (&user["apiKey"], &json!([role])));
    let list = admin(
        &crm,
        "GET",
        "User?where[0][type]=equals&where[0][attribute]=userName&where[0][value]=new",
        &Value::Null,
    );
    assert_eq!(list.await.json()["list"][0]["id"], user["id"], "an administrator finds API users");

    assert_eq!(with_key(&crm, key, "CBeteiligte", &Value::Null).await.status, 200);
    let record = json!({ "lastName": "X" });
    assert_eq!(with_key(&crm, key, "CBeteiligte", &record).await.status, 403);
    assert_eq!(with_key(&crm, key, "Webhook", &Value::Null).await.status, 403);
    let more = json!({ "data": { "CBeteiligte": { "read": "all", "create": "yes" }, "Webhook": true } });
    assert_eq!(admin(&crm, "PUT", &format!("Role/{role}"), &more).await.status, 200);
    assert_eq!(with_key(&crm, key, "CBeteiligte", &record).await.status, 200);
    assert_eq!(with_key(&crm, key, "Webhook", &Value::Null).await.status, 200);

    let before = crm.journal().len();
    for path in [
        "EntityManager/action/createEntity",
        "Admin/fieldManager/CBeteiligte",
        "Role",
        "User",
        "Admin/rebuild",
    ] {
        assert_eq!(with_key(&crm, API_KEY, path, &json!({})).await.status, 403, "{path}");
    }
    assert_eq!(crm.journal().len(), before);
}

#[tokio::test]
async fn a_role_given_to_an_old_user_adds_to_what_it_had() {
    let crm = EspocrmSimulator::start(EspocrmOptions::default()).await.unwrap();
    let list = admin(&crm, "GET", "User?select=id,userName", &Value::Null).await.json();
    let users = list["list"].as_array().unwrap().clone();
    let id =
        users.iter().find(|user| user["userName"] == "sync-api").unwrap()["id"].as_str().unwrap().to_owned();
    let old = admin(&crm, "GET", &format!("User/{id}"), &Value::Null).await.json()["rolesIds"].clone();
    assert_eq!(old.as_array().unwrap().len(), 1);
    let first = admin(&crm, "GET", &format!("Role/{}", old[0].as_str().unwrap()), &Value::Null).await.json();
    assert_eq!((&first["messagePermission"], &first["data"]["Webhook"]), (&json!("all"), &json!(true)));
    let role = json!({ "name": "More", "mentionPermission": "all", "data": { "Import": true } });
    let role = admin(&crm, "POST", "Role", &role).await.json()["id"].clone();
    admin(&crm, "PUT", &format!("User/{id}"), &json!({ "rolesIds": [old[0], role] })).await;
    let acl = call(&crm, "GET", "/api/v1/App/user", &Value::Null).await.json()["acl"]["table"].clone();
    assert_eq!(
        (&acl["Import"], &acl["Webhook"], &acl["CBeteiligte"]["edit"]),
        (&json!(true), &json!(true), &json!("all"))
    );
}

#[tokio::test]
async fn webhooks_to_internal_addresses_are_refused_from_9_3_on_unless_they_are_named() {
    let hook = |url: &str| json!({ "event": "CBeteiligte.update", "url": url });
    for version in ["9.2.7", "9.3.10"] {
        let crm =
            EspocrmSimulator::start(EspocrmOptions { version: version.into(), ..EspocrmOptions::default() });
        let crm = crm.await.unwrap();
        for url in
            ["http://127.0.0.1:8080/x", "http://localhost/x", "https://10.1.2.3/x", "http://[::1]:8080/x"]
        {
            let got = call(&crm, "POST", "/api/v1/Webhook", &hook(url)).await;
            assert_eq!(got.status, if version == "9.2.7" { 201 } else { 400 }, "{version} {url}");
            assert_eq!(got.status == 400, String::from_utf8_lossy(&got.body).contains("notInternal"));
        }
        assert_eq!(
            call(&crm, "POST", "/api/v1/Webhook", &hook("https://sync.example.test/x")).await.status,
            201
        );
        crm.configure(&object(json!({ "webhook_allowed_addresses": ["127.0.0.1:8080"] }))).unwrap();
        assert_eq!(call(&crm, "POST", "/api/v1/Webhook", &hook("http://127.0.0.1:8080/x")).await.status, 201);
        let other = call(&crm, "POST", "/api/v1/Webhook", &hook("http://127.0.0.1:8081/x")).await;
        assert_eq!(other.status, if version == "9.2.7" { 201 } else { 400 });
    }
}
