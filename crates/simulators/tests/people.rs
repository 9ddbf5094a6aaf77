//! Users and teams: what the recordings do not show by themselves.

use serde_json::{Value, json};
use simulators::espocrm::PERSON_ID;
use simulators::{EspocrmSimulator, Operation};

use crate::administration::admin;
use crate::espocrm::{call, start};
use crate::http::Got;

async fn make(crm: &EspocrmSimulator, name: &str) -> Got {
    admin(crm, "POST", "User", &json!({ "userName": name, "lastName": "Li", "isActive": true })).await
}

fn id(got: &Got) -> String {
    got.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn only_an_administrator_writes_users_and_teams() {
    let crm = start().await;
    let team = id(&admin(&crm, "POST", "Team", &json!({ "name": "Notariat" })).await);
    let user = id(&make(&crm, "lisi").await);
    let writes = crm.journal().len();
    let (link, ids) = (format!("Team/{team}/users"), json!({ "ids": [user] }));
    for (method, path, reason) in [
        ("POST", "Team".to_owned(), "No create access."),
        ("PUT", format!("Team/{team}"), "No edit access."),
        ("DELETE", format!("Team/{team}"), "No delete access."),
        ("POST", "User".to_owned(), "No create access."),
        ("PUT", format!("User/{user}"), "No edit access."),
        ("DELETE", format!("User/{user}"), "No delete access."),
        ("POST", link.clone(), "No record access for link operation (Team:users)."),
        ("DELETE", link.clone(), "No record access for link operation (Team:users)."),
    ] {
        let got = call(&crm, method, &format!("/api/v1/{path}"), &ids).await;
        assert_eq!((got.status, got.reason()), (403, reason), "{method} {path}");
    }
    assert_eq!(crm.journal().len(), writes);
    assert_eq!(admin(&crm, "POST", &link, &ids).await.json(), true);
    let shown = call(&crm, "GET", &format!("/api/v1/User/{user}"), &Value::Null).await.json();
    assert_eq!((&shown["teamsIds"], &shown["teamsNames"][&team]), (&json!([team]), &json!("Notariat")));
}

#[tokio::test]
async fn log_in_names_are_taken_once_and_have_few_characters() {
    let crm = start().await;
    assert_eq!(make(&crm, "lisi").await.status, 200);
    let taken = make(&crm, "lisi").await;
    assert_eq!((taken.status, taken.reason(), taken.body.len()), (409, "userNameExists", 0));
    let path = format!("User/{PERSON_ID}");
    let taken = admin(&crm, "PUT", &path, &json!({ "userName": "lisi" })).await;
    assert_eq!((taken.status, taken.reason()), (409, "userNameExists"));
    assert_eq!(admin(&crm, "PUT", &path, &json!({ "userName": "anna" })).await.status, 200, "its own");
    for (name, kind) in [("LiSi", "valid"), ("li si", "valid"), ("李四", "valid"), ("", "required")] {
        let got = make(&crm, name).await;
        assert_eq!(got.status, 400, "{name}");
        assert_eq!(got.json()["messageTranslation"]["data"], json!({ "field": "userName", "type": kind }));
    }
    assert_eq!(make(&crm, &"x".repeat(51)).await.json()["messageTranslation"]["data"]["type"], "maxLength");
}

#[tokio::test]
async fn links_are_made_one_after_the_other_until_one_is_not_there() {
    let crm = start().await;
    let team = id(&admin(&crm, "POST", "Team", &json!({ "name": "Notariat" })).await);
    let (one, other) = (id(&make(&crm, "one").await), id(&make(&crm, "other").await));
    let path = format!("Team/{team}/users");
    let got = admin(&crm, "POST", &path, &json!({ "ids": [one, "6b0000000000000aa", other] })).await;
    assert_eq!((got.status, got.header("x-status-reason"), got.body.len()), (404, None, 0));
    assert_eq!(crm.teams()[0]["usersIds"], json!([one]));
    assert_eq!(admin(&crm, "POST", &path, &json!({ "ids": [one, other] })).await.json(), true);
    assert_eq!(admin(&crm, "DELETE", &path, &json!({ "id": one })).await.json(), true);
    assert_eq!(admin(&crm, "DELETE", &path, &json!({ "id": one })).await.json(), true, "repeated");
    let filter = json!({ "where": [{ "type": "linkedWith", "attribute": "teams", "value": [team] }] });
    let filter: String = url::form_urlencoded::byte_serialize(filter.to_string().as_bytes()).collect();
    let listed = admin(&crm, "GET", &format!("User?searchParams={filter}"), &Value::Null).await.json();
    assert_eq!((&listed["total"], &listed["list"][0]["id"]), (&json!(1), &json!(other)));
    let links = crm.journal().into_iter().filter(|entry| entry.entity == "TeamUser");
    let links: Vec<Operation> = links.map(|entry| entry.operation).collect();
    assert_eq!(links, [Operation::Create, Operation::Create, Operation::Delete]);
    let unknown = admin(&crm, "POST", &format!("Team/{team}/nolink"), &json!({ "id": one })).await;
    assert_eq!(unknown.reason(), "Entity Team does not have link nolink.");
}

#[tokio::test]
async fn users_take_fields_and_versions_and_teams_do_not() {
    let crm = start().await;
    let field = json!({ "type": "varchar", "name": "wecomId", "maxLength": 100 });
    assert_eq!(admin(&crm, "POST", "Admin/fieldManager/User", &field).await.status, 200);
    let refused = admin(&crm, "POST", "Admin/fieldManager/Team", &field).await;
    assert_eq!((refused.status, refused.reason()), (500, "Entity type Team is not customizable."));
    let versions = json!({ "name": "User", "optimisticConcurrencyControl": true });
    assert_eq!(admin(&crm, "POST", "EntityManager/action/updateEntity", &versions).await.json(), true);
    let path = format!("User/{PERSON_ID}");
    let before = admin(&crm, "GET", &path, &Value::Null).await.json();
    assert_eq!((&before["cWecomId"], &before["versionNumber"]), (&Value::Null, &Value::Null));
    let written = admin(&crm, "PUT", &path, &json!({ "cWecomId": "wecom:user:anna" })).await.json();
    assert_eq!((&written["cWecomId"], &written["versionNumber"]), (&json!("wecom:user:anna"), &json!(1)));
    assert_eq!(written["userName"], "anna");
}

#[tokio::test]
async fn who_is_deleted_is_gone_for_all_but_an_administrator_who_reads_it_by_its_id() {
    let crm = start().await;
    let user = id(&make(&crm, "lisi").await);
    let path = format!("User/{user}");
    assert_eq!(admin(&crm, "DELETE", &path, &Value::Null).await.json(), true);
    assert_eq!(admin(&crm, "GET", &path, &Value::Null).await.json()["deleted"], true);
    assert_eq!(call(&crm, "GET", &format!("/api/v1/{path}"), &Value::Null).await.status, 404);
    assert_eq!(admin(&crm, "PUT", &path, &json!({ "title": "x" })).await.status, 404);
    assert_eq!(make(&crm, "lisi").await.status, 200, "the name is free again");
    let own = crm.users().into_iter().find(|user| user["userName"] == "admin").unwrap();
    let path = format!("User/{}", own["id"].as_str().unwrap());
    assert_eq!(admin(&crm, "DELETE", &path, &Value::Null).await.reason(), "Can't delete own user.");
    assert_eq!(admin(&crm, "PUT", &path, &json!({ "isActive": false })).await.json()["isActive"], true);
}
